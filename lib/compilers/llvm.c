/* What Triton does between llir and PTX, through LLVM's C interface: the llir is optimised already, so inline
   what may be inlined, generate code, and edit the lines that LLVM writes otherwise than Triton wants them.
 */
#include "compilers/llvm.h"

#include "base/buffer.h"
#include "compilers/llvm_address.h"
#include "compilers/llvm_literals.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/IRReader.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <llvm/Config/llvm-config.h>

#include <ctype.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char triple[] = "nvptx64-nvidia-cuda";

/* What LLVM 22 knows, with the PTX version that each processor needs at least. Asked for another, LLVM only
   warns on stderr and falls back to sm_30. */
static const struct processor {
    const char *name;
    uint32_t ptx_version;
} processors[] = {{"sm_50", 40},   {"sm_52", 41},   {"sm_53", 42},   {"sm_60", 50},   {"sm_61", 50},
                  {"sm_62", 50},   {"sm_70", 60},   {"sm_72", 61},   {"sm_75", 63},   {"sm_80", 70},
                  {"sm_86", 71},   {"sm_87", 74},   {"sm_88", 90},   {"sm_89", 78},   {"sm_90", 78},
                  {"sm_90a", 80},  {"sm_100", 86},  {"sm_100a", 86}, {"sm_100f", 88}, {"sm_101", 86},
                  {"sm_101a", 86}, {"sm_101f", 88}, {"sm_103", 88},  {"sm_103a", 88}, {"sm_103f", 88},
                  {"sm_110", 90},  {"sm_110a", 90}, {"sm_110f", 90}, {"sm_120", 87},  {"sm_120a", 87},
                  {"sm_120f", 88}, {"sm_121", 88},  {"sm_121a", 88}, {"sm_121f", 88}};
static const uint32_t ptx_versions[] = {40, 41, 42, 43, 50, 60, 61, 62, 63, 64, 65, 70, 71, 72, 73,
                                        74, 75, 76, 77, 78, 80, 81, 82, 83, 84, 85, 86, 87, 88, 90};
enum { DEFAULT_PTX_VERSION = 87, FIRST_WITH_SUFFIX = 90 };

typedef struct job {
    const tr__llvm_request *request;
    tr__buffer text, log;
    bool erred, abandoned;
    tr__llvm_outcome when_fatal;
    char cpu[16], features[16];
    uint32_t ptx_version;
    char *message; /* made by LLVM */
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMTargetMachineRef machine;
    LLVMMemoryBufferRef assembly;
    jmp_buf fatal; /* where LLVM's fatal errors lead: it would abort after its handler */
} job;

static _Thread_local job *current;

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *user) {
    static const char *const severities[] = {[LLVMDSError] = "error",
                                             [LLVMDSWarning] = "warning",
                                             [LLVMDSRemark] = "remark",
                                             [LLVMDSNote] = "note"};
    job *j = user;
    LLVMDiagnosticSeverity severity = LLVMGetDiagInfoSeverity(info);
    if (severity == LLVMDSRemark) return;
    char *text = LLVMGetDiagInfoDescription(info);
    if (severity == LLVMDSError && !j->erred) {
        j->erred = true;
        tr__buffer first = j->log; /* what failed comes first: the message is made of it */
        j->log = (tr__buffer){0};
        tr__buffer_printf(&j->log, "error: %s\n", text);
        if (first.size) tr__buffer_append(&j->log, first.data, first.size);
        tr__buffer_release(&first);
    } else {
        tr__buffer_printf(&j->log, "%s: %s\n", severities[severity], text);
    }
    LLVMDisposeMessage(text);
}

static void on_fatal(const char *reason) {
    if (!current) return;
    tr__buffer_printf(&current->log, "%s%s\n", current->erred ? "fatal: " : "", reason);
    longjmp(current->fatal, 1);
}

/* Options that only LLVM's command line has, and that are the process's: shared memory is addressed with 32
   bits, and products of 32-bit numbers are made 64 bits wide, as Triton does. */
static void initialise(void) {
    static const char *const arguments[] = {"triton-runner", "-nvptx-short-ptr", "-nvptx-mad-wide-opt"};
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    LLVMInstallFatalErrorHandler(on_fatal);
    LLVMParseCommandLineOptions(3, arguments, "");
}

static const struct processor *find_processor(const char *name) {
    for (size_t i = 0; i < sizeof processors / sizeof *processors; i++)
        if (!strcmp(processors[i].name, name)) return &processors[i];
    return NULL;
}

static tr__llvm_outcome choose_target(job *j) {
    const tr__llvm_request *request = j->request;
    size_t length = strlen(request->arch);
    bool bare = length > 3 && isdigit((unsigned char)request->arch[length - 1]);
    bool suffix = bare && atoi(request->arch + 3) >= FIRST_WITH_SUFFIX;
    snprintf(j->cpu, sizeof j->cpu, "%s%s", request->arch, suffix ? "a" : "");
    const struct processor *processor = find_processor(j->cpu);
    if (!processor) {
        tr__buffer_printf(&j->log, "LLVM %s does not know the processor %s\n", LLVM_VERSION_STRING,
                          request->arch);
        return TR__LLVM_BAD_REQUEST;
    }
    uint32_t least = processor->ptx_version, feature = 0;
    j->ptx_version = request->ptx_version;
    if (!j->ptx_version) j->ptx_version = least > DEFAULT_PTX_VERSION ? least : DEFAULT_PTX_VERSION;
    for (size_t i = 0; i < sizeof ptx_versions / sizeof *ptx_versions; i++)
        if (ptx_versions[i] <= j->ptx_version) feature = ptx_versions[i];
    if (feature < least) {
        tr__buffer_printf(&j->log, "PTX %u.%u does not know %s, which needs %u.%u or later\n",
                          j->ptx_version / 10, j->ptx_version % 10, j->cpu, least / 10, least % 10);
        return TR__LLVM_BAD_REQUEST;
    }
    snprintf(j->features, sizeof j->features, "+ptx%u", feature);
    return TR__LLVM_DONE;
}

static tr__llvm_outcome prepare_text(job *j) {
    const tr__llvm_request *request = j->request;
    tr__llvm_position where;
    if (memchr(request->text, '\0', request->size)) {
        tr__buffer_printf(&j->log, "%s: binary data where LLVM IR as text is wanted\n", request->name);
        return TR__LLVM_MALFORMED;
    }
    bool fits = tr__llvm_rewrite_literals(request->text, request->size, &j->text, &where);
    if (j->text.failed) return TR__LLVM_OUT_OF_MEMORY;
    if (fits) return TR__LLVM_DONE;
    tr__buffer_printf(&j->log, "%s:%u:%u: brackets nest too deep\n", request->name, where.line, where.column);
    return TR__LLVM_MALFORMED;
}

static tr__llvm_outcome parse(job *j) {
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRange(j->text.data ? j->text.data : "",
                                                                       j->text.size, j->request->name, true);
    bool failed = LLVMParseIRInContext2(j->context, buffer, &j->module, &j->message);
    LLVMDisposeMemoryBuffer(buffer);
    if (failed) {
        tr__buffer_printf(&j->log, "%s\n", j->message);
        return TR__LLVM_MALFORMED;
    }
    if (!LLVMVerifyModule(j->module, LLVMReturnStatusAction, &j->message)) return TR__LLVM_DONE;
    tr__buffer_printf(&j->log, "%s: %s\n", j->request->name, j->message);
    return TR__LLVM_MALFORMED;
}

static bool has_attribute(LLVMValueRef function, const char *name) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    return LLVMGetEnumAttributeAtIndex(function, LLVMAttributeFunctionIndex, kind);
}

/* The C interface can't set TargetOptions::AllowFPOpFusion; the flag on each instruction says the same. */
static void allow_fusion(LLVMValueRef function) {
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function); block;
         block = LLVMGetNextBasicBlock(block)) {
        for (LLVMValueRef i = LLVMGetFirstInstruction(block); i; i = LLVMGetNextInstruction(i)) {
            LLVMOpcode code = LLVMGetInstructionOpcode(i);
            if (code == LLVMFAdd || code == LLVMFSub || code == LLVMFMul || code == LLVMFNeg)
                LLVMSetFastMathFlags(i, LLVMGetFastMathFlags(i) | LLVMFastMathAllowContract);
        }
    }
}

static void prepare_functions(job *j) {
    unsigned always_inline = LLVMGetEnumAttributeKindForName("alwaysinline", strlen("alwaysinline"));
    for (LLVMValueRef function = LLVMGetFirstFunction(j->module); function;
         function = LLVMGetNextFunction(function)) {
        if (LLVMIsDeclaration(function)) continue;
        if (!has_attribute(function, "noinline") && !has_attribute(function, "optnone"))
            LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex,
                                    LLVMCreateEnumAttribute(j->context, always_inline, 0));
        if (j->request->fp_fusion) allow_fusion(function);
        tr__llvm_split_addresses(j->context, function);
    }
}

static tr__llvm_outcome make_machine(job *j) {
    LLVMTargetRef target;
    if (LLVMGetTargetFromTriple(triple, &target, &j->message)) {
        tr__buffer_printf(&j->log, "%s\n", j->message);
        return TR__LLVM_BAD_REQUEST;
    }
    LLVMTargetMachineOptionsRef options = LLVMCreateTargetMachineOptions();
    LLVMTargetMachineOptionsSetCPU(options, j->cpu);
    LLVMTargetMachineOptionsSetFeatures(options, j->features);
    LLVMTargetMachineOptionsSetABI(options, "shortptr");
    LLVMTargetMachineOptionsSetCodeGenOptLevel(options, LLVMCodeGenLevelAggressive);
    LLVMTargetMachineOptionsSetRelocMode(options, LLVMRelocPIC);
    j->machine = LLVMCreateTargetMachineWithOptions(target, triple, options);
    LLVMDisposeTargetMachineOptions(options);
    LLVMSetTargetMachineAsmVerbosity(j->machine, true);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(j->machine);
    LLVMSetModuleDataLayout(j->module, layout);
    LLVMSetTarget(j->module, triple);
    LLVMDisposeTargetData(layout);
    return TR__LLVM_DONE;
}

static tr__llvm_outcome generate(job *j) {
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef failure = LLVMRunPasses(j->module, "always-inline,verify", j->machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (failure) {
        char *text = LLVMGetErrorMessage(failure);
        tr__buffer_printf(&j->log, "%s\n", text);
        LLVMDisposeErrorMessage(text);
        return TR__LLVM_REFUSED;
    }
    LLVMDisposeMessage(j->message); /* the verifier's, "" */
    j->message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(j->machine, j->module, LLVMAssemblyFile, &j->message,
                                            &j->assembly)) {
        tr__buffer_printf(&j->log, "%s\n", j->message);
        return TR__LLVM_REFUSED;
    }
    return j->erred ? TR__LLVM_REFUSED : TR__LLVM_DONE;
}

/* `.version` says what was asked for even where LLVM knows no newer one; `, debug` behind the target would
   keep ptxas from optimising. */
static tr__llvm_outcome edit(job *j, tr__llvm_result *result) {
    const char *text = LLVMGetBufferStart(j->assembly);
    size_t size = LLVMGetBufferSize(j->assembly);
    const char *version = memmem(text, size, "\n.version ", 10);
    const char *target = version ? memmem(version, (size_t)(text + size - version), "\n.target ", 9) : NULL;
    if (!target) {
        tr__buffer_puts(&j->log, "LLVM wrote no .version and .target\n");
        return TR__LLVM_REFUSED;
    }
    const char *target_end = strchr(target + 1, '\n');
    tr__buffer ptx = {0};
    tr__buffer_append(&ptx, text, (size_t)(version - text));
    tr__buffer_printf(&ptx, "\n.version %u.%u", j->ptx_version / 10, j->ptx_version % 10);
    const char *version_end = strchr(version + 1, '\n');
    tr__buffer_append(&ptx, version_end, (size_t)(target - version_end));
    const char *debug = memmem(target, (size_t)(target_end - target), ", debug", 7);
    tr__buffer_append(&ptx, target, (size_t)((debug ? debug : target_end) - target));
    tr__buffer_append(&ptx, target_end, (size_t)(text + size - target_end));
    result->ptx_size = ptx.size;
    result->ptx = tr__buffer_take(&ptx);
    return result->ptx ? TR__LLVM_DONE : TR__LLVM_OUT_OF_MEMORY;
}

static tr__llvm_outcome walk(job *j, tr__llvm_result *result) {
    tr__llvm_outcome outcome = choose_target(j);
    if (!outcome) outcome = prepare_text(j);
    if (outcome) return outcome;
    j->context = LLVMContextCreate();
    LLVMContextSetDiagnosticHandler(j->context, on_diagnostic, j);
    j->when_fatal = TR__LLVM_MALFORMED;
    if ((outcome = parse(j))) return outcome;
    j->when_fatal = TR__LLVM_REFUSED;
    prepare_functions(j);
    if ((outcome = make_machine(j))) return outcome;
    if ((outcome = generate(j))) return outcome;
    return edit(j, result);
}

static tr__llvm_outcome run(job *j, tr__llvm_result *result) {
    if (setjmp(j->fatal)) {
        j->abandoned = true;
        return j->when_fatal;
    }
    current = j;
    return walk(j, result);
}

/* The log's first line, without the word "error" that its place in the result says already. */
static char *first_line(const char *log) {
    size_t length = strcspn(log, "\n");
    const char *word = strstr(log, "error: ");
    if (!word || word >= log + length) return strndup(log, length);
    char *line = NULL;
    int before = (int)(word - log), after = (int)(log + length - word - 7);
    return asprintf(&line, "%.*s%.*s", before, log, after, word + 7) < 0 ? NULL : line;
}

static void release(job *j) {
    if (!j->abandoned) { /* what a fatal error left half done is lost: about 1 MB */
        if (j->message) LLVMDisposeMessage(j->message);
        if (j->assembly) LLVMDisposeMemoryBuffer(j->assembly);
        if (j->machine) LLVMDisposeTargetMachine(j->machine);
        if (j->module) LLVMDisposeModule(j->module);
        if (j->context) LLVMContextDispose(j->context);
    }
    tr__buffer_release(&j->text);
    tr__buffer_release(&j->log);
    free(j);
}

static tr__llvm_outcome compile(const tr__llvm_request *request, tr__llvm_result *result) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise);
    *result = (tr__llvm_result){0};
    job *j = calloc(1, sizeof *j);
    if (!j) return TR__LLVM_OUT_OF_MEMORY;
    j->request = request;
    tr__llvm_outcome outcome = run(j, result);
    current = NULL;
    if (j->log.failed) outcome = TR__LLVM_OUT_OF_MEMORY;
    if (j->log.size) result->log = tr__buffer_take(&j->log);
    if (outcome) result->message = first_line(result->log ? result->log : "LLVM gives no reason");
    release(j);
    return outcome;
}

__attribute__((visibility("default")))
const tr__llvm_plugin tr_llvm_plugin_1 = {LLVM_VERSION_STRING, compile};
