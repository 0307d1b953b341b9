/* compilers/native.c, llvm.c, helper.c: llir becomes PTX in the helper and here, the same bytes; what kills LLVM kills
   no one else; what is wrong is said with its place. nvJitLink where there is one. */
#include "base/file.h"
#include "compilers/native.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

static tr__native *native;

#define KERNEL                                                                                               \
    "define ptx_kernel void @k(ptr addrspace(1) %p) {\n  %x = load float, ptr addrspace(1) %p\n"             \
    "  %m = fmul float %x, %x\n  %y = fadd float %m, %x\n  store float %y, ptr addrspace(1) %p\n  ret "      \
    "void\n}\n"

typedef struct outcome {
    tr_status status;
    tr_error *error;
    tr__compile_result result;
} outcome;

static outcome compile(const char *text, size_t size, tr__compile_request request, bool in_process) {
    outcome made = {0};
    tr__blob *source = tr__blob_create(text, size);
    assert_non_null(source);
    if (!request.from) request.from = TR_STAGE_LLIR, request.to = TR_STAGE_PTX;
    request.source = source;
    if (!request.arch) request.arch = "sm_90";
    made.status = tr__native_compile(native, &request, in_process, &made.result, &made.error);
    tr__blob_release(source);
    return made;
}

static outcome compile_text(const char *text, tr__compile_request request) {
    return compile(text, strlen(text), request, false);
}

static void release(outcome *made) {
    tr__compile_result_release(&made->result);
    tr_error_destroy(made->error);
}

static const char *ptx_of(const outcome *made) {
    if (made->status) print_error("%s\n", tr_error_message(made->error));
    assert_int_equal(made->status, TR_OK);
    assert_null(made->error);
    return made->result.stages[TR_STAGE_PTX]->data;
}

static void contains(const char *text, const char *part) {
    if (!strstr(text, part)) print_error("'%s' is not in\n%s\n", part, text);
    assert_non_null(strstr(text, part));
}

static void expect_failure(const char *text, size_t size, tr__compile_request request, tr_status status,
                           const char *part) {
    outcome made = compile(text, size, request, false);
    contains(tr_error_message(made.error), part);
    assert_int_equal(made.status, status);
    assert_null(made.result.stages[TR_STAGE_PTX]);
    release(&made);
}

static const char *const kernels[] = {"vector_add", "softmax", "layer_norm", "matmul", "matmul_tma"};

static tr__blob *read_stage(const char *kernel, const char *suffix) {
    char path[512];
    snprintf(path, sizeof path, TR_SOURCE_DIR "/examples/kernels/stages/sm_90/%s.%s", kernel, suffix);
    tr__blob *blob = NULL;
    assert_int_equal(tr__file_read(path, 1 << 24, &blob, NULL), TR_OK);
    return blob;
}

static void compiles_alike_here_and_there(void **state) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        tr__blob *llir = read_stage(kernels[i], "llir");
        tr__compile_request request = {.metadata = json_pack("{s:s}", "triton_version", "3.4.0")};
        outcome there = compile(llir->data, llir->size, request, false);
        outcome here = compile(llir->data, llir->size, request, true);
        assert_string_equal(ptx_of(&there), ptx_of(&here));
        contains(ptx_of(&there), "\n.version 8.7\n.target sm_90a\n");
        contains(there.result.maker, "llvm 22.");
        assert_string_equal(there.result.maker, here.result.maker);
        assert_null(there.result.log);
        assert_null(here.result.log);
        assert_true(there.result.seconds[TR_STAGE_PTX] > 0);
        release(&there);
        release(&here);
        tr__blob_release(llir);
        json_decref((json_t *)request.metadata);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing for the host's wait() to find */
    assert_int_equal(errno, ECHILD);
}

/* The table in llvm.c is right when LLVM takes each name at its word and prints no warning. */
static void knows_every_architecture(void **state) {
    static const char *const archs[][2] = {
        {"sm_50", "sm_50"},     {"sm_52", "sm_52"},     {"sm_53", "sm_53"},     {"sm_60", "sm_60"},
        {"sm_61", "sm_61"},     {"sm_62", "sm_62"},     {"sm_70", "sm_70"},     {"sm_72", "sm_72"},
        {"sm_75", "sm_75"},     {"sm_80", "sm_80"},     {"sm_86", "sm_86"},     {"sm_87", "sm_87"},
        {"sm_88", "sm_88"},     {"sm_89", "sm_89"},     {"sm_90", "sm_90a"},    {"sm_90a", "sm_90a"},
        {"sm_100", "sm_100a"},  {"sm_100a", "sm_100a"}, {"sm_100f", "sm_100f"}, {"sm_101", "sm_101a"},
        {"sm_101f", "sm_101f"}, {"sm_103", "sm_103a"},  {"sm_103f", "sm_103f"}, {"sm_110", "sm_110a"},
        {"sm_110f", "sm_110f"}, {"sm_120", "sm_120a"},  {"sm_120f", "sm_120f"}, {"sm_121", "sm_121a"},
        {"sm_121f", "sm_121f"}};
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        outcome made = compile_text(KERNEL, (tr__compile_request){.arch = archs[i][0]});
        char target[32];
        snprintf(target, sizeof target, "\n.target %s\n", archs[i][1]);
        contains(ptx_of(&made), target);
        assert_null(made.result.log);
        release(&made);
    }
    tr__compile_request request = {.arch = "sm_42"};
    expect_failure(KERNEL, strlen(KERNEL), request, TR_E_UNSUPPORTED, "does not know the processor sm_42");
    request.arch = "gfx942";
    expect_failure(KERNEL, strlen(KERNEL), request, TR_E_INVALID_ARGUMENT, "like \"sm_90\"");
}

static void check_version(const char *options, const char *arch, const char *line) {
    tr__compile_request request = {.arch = arch, .options = json_loads(options, 0, NULL)};
    outcome made = compile_text(KERNEL, request);
    contains(ptx_of(&made), line);
    assert_null(made.result.log);
    release(&made);
    json_decref((json_t *)request.options);
}

static void writes_the_version_asked_for(void **state) {
    check_version("{}", "sm_80", "\n.version 8.7\n");
    check_version("{}", "sm_103", "\n.version 8.8\n");
    check_version("{\"ptx_version\": 82}", "sm_80", "\n.version 8.2\n");
    check_version("{\"ptx_version\": 93}", "sm_100", "\n.version 9.3\n"); /* newer than LLVM's newest */
    check_version("{\"ptx_version\": null, \"triton_version\": \"3.2.0\"}", "sm_90", "\n.version 8.4\n");
    check_version("{\"triton_version\": \"3.2.0\"}", "sm_120", "\n.version 8.7\n");
    check_version("{\"triton_version\": \"3.9.0\"}", "sm_89", "\n.version 8.8\n");
    check_version("{\"triton_version\": \"3.9.1\"}", "sm_90", "\n.version 9.4\n");
    check_version("{\"triton_version\": \"4.0.0\"}", "sm_90", "\n.version 8.7\n");
    json_t *options = json_pack("{s:i}", "ptx_version", 80);
    tr__compile_request request = {.arch = "sm_100", .options = options};
    expect_failure(KERNEL, strlen(KERNEL), request, TR_E_UNSUPPORTED, "sm_100a, which needs 8.6");
    json_decref(options);
}

static void fuses_unless_told_not_to(void **state) {
    outcome fused = compile_text(KERNEL, (tr__compile_request){0});
    contains(ptx_of(&fused), "fma.rn.f32");
    json_t *metadata = json_pack("{s:b}", "enable_fp_fusion", 0),
           *options = json_pack("{s:b}", "enable_fp_fusion", 1);
    tr__compile_request request = {.metadata = metadata};
    outcome separate = compile_text(KERNEL, request);
    assert_null(strstr(ptx_of(&separate), "fma"));
    contains(ptx_of(&separate), "mul");
    request.options = options; /* what is asked for now comes before what the record says */
    outcome again = compile_text(KERNEL, request);
    assert_string_equal(ptx_of(&again), ptx_of(&fused));
    release(&fused);
    release(&separate);
    release(&again);
    json_decref(metadata);
    json_decref(options);
}

static void check_address(const char *base, const char *part, const char *offset) {
    char text[512];
    snprintf(text, sizeof text,
             "define ptx_kernel void @k(ptr addrspace(3) %%p, i32 %%x, i1 %%c) {\n  %%b = %s\n  %%i = xor "
             "i32 %%b, 288\n"
             "  %%a = getelementptr inbounds i8, ptr addrspace(3) %%p, i32 %%i\n  store i8 1, ptr "
             "addrspace(3) %%a\n"
             "  ret void\n}\n",
             base);
    outcome made = compile_text(text, (tr__compile_request){0});
    contains(ptx_of(&made), part);
    contains(ptx_of(&made), offset);
    release(&made);
}

/* 288 is 256 + 32: what is known not to be in the base is added, the rest stays in the xor. */
static void splits_addresses_where_it_may(void **state) {
    check_address("and i32 %x, 254", ", 32;", "+256]");
    check_address("and i32 %x, 222", "and.b32",
                  "+288]"); /* neither is in the base: nothing is left of the xor */
    check_address("and i32 %x, 510", ", 288;", "st.shared.b8 \t[%r");
    check_address("shl i32 %x, 9", "shl.b32", "+288]");
    check_address("shl i32 %x, 6", ", 256;", "+32]");
    check_address("lshr i32 %x, 24", ", 32;", "+256]");
    check_address("select i1 %c, i32 0, i32 255", "32, 223,", "+256]"); /* xor 32 of either */
    check_address("select i1 %c, i32 %x, i32 255", ", 288;", "st.shared.b8 \t[%r");
    check_address("add i32 %x, 512", ", 288;", "st.shared.b8 \t[%r");
}

static void says_what_and_where(void **state) {
    tr__compile_request request = {.path = "my/add.llir"};
    static const struct {
        const char *text;
        tr_status status;
        const char *part;
    } cases[] = {
        {"define void @f(ptr %x) {\n  %1 = load i32, ptr %y\n  ret void\n}\n", TR_E_PARSE,
         "my/add.llir:2:22: use of undefined value '%y'"},
        {"define i32 @f(i32 %x) {\n  ret i64 %x\n}\n", TR_E_PARSE, "my/add.llir:2:"},
        {"define void @f(", TR_E_PARSE, "my/add.llir:1:16: expected type"},
        {"not IR", TR_E_PARSE, "my/add.llir:1:1: expected top-level entity"},
        {"define i32 @f(i1 %c) {\n  br i1 %c, label %a, label %b\na:\n  %x = add i32 1, 1\n  br label "
         "%b\nb:\n"
         "  ret i32 %x\n}\n",
         TR_E_PARSE, "Instruction does not dominate all uses!"},
        {"declare i32 @llvm.x86.rdpid()\ndefine i32 @f() {\n  %x = call i32 @llvm.x86.rdpid()\n  ret i32 "
         "%x\n}\n",
         TR_E_COMPILE, "LLVM: Cannot select: "},
        {"define fp128 @f(fp128 %x) {\n  %y = fadd fp128 %x, %x\n  ret fp128 %y\n}\n", TR_E_COMPILE,
         "library call"},
        {"define i32 @f() {\n  %x = call i32 asm \"no $0, $7;\", \"=r\"()\n  ret i32 %x\n}\n", TR_E_COMPILE,
         "Invalid $ operand number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_failure(cases[i].text, strlen(cases[i].text), request, cases[i].status, cases[i].part);
    expect_failure("BC\xc0\xde\0\0", 6, request, TR_E_PARSE, "binary data");
    outcome here = compile(cases[0].text, strlen(cases[0].text), request, true);
    assert_string_equal(tr_error_message(here.error), cases[0].part);
    contains(tr_error_log(here.error), "^"); /* the line, with a caret under the place */
    assert_int_equal(tr_error_stage(here.error), TR_STAGE_LLIR);
    release(&here);
}

static char *repeat(const char *before, const char *piece, size_t count, const char *after) {
    tr__buffer text = {0};
    tr__buffer_puts(&text, before);
    for (size_t i = 0; i < count; i++) tr__buffer_puts(&text, piece);
    tr__buffer_puts(&text, after);
    return tr__buffer_take(&text);
}

/* 100,000 named types, each inside the next; the same for metadata. */
static char *chain(const char *first, const char *link, const char *last) {
    tr__buffer text = {0};
    tr__buffer_puts(&text, first);
    for (int i = 0; i < 100000; i++) {
        tr__buffer_printf(&text, link, i);
        tr__buffer_printf(&text, "%d }\n", i + 1);
    }
    tr__buffer_puts(&text, last);
    return tr__buffer_take(&text);
}

static void next_is_right(void) {
    outcome next = compile_text(KERNEL, (tr__compile_request){0});
    contains(ptx_of(&next), ".visible .entry k(");
    release(&next);
}

/* Of these LLVM takes one thing for another, and what it finds there decides: it may crash, or take no notice. */
static void survives_wrong_annotations(void **state) {
#define ANNOTATED(text)                                                                                      \
    "define void @f() {\n  ret void\n}\n!nvvm.annotations = !{!0}\n!0 = !{ptr @f, " text "}\n"
    static const char *const texts[] = {ANNOTATED("!\"kernel\""), ANNOTATED("!\"maxntidx\", !\"x\""),
                                        ANNOTATED("!\"align\", null")};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        outcome made = compile_text(texts[i], (tr__compile_request){0});
        if (made.status) {
            assert_int_equal(made.status, TR_E_COMPILER_CRASHED);
            contains(tr_error_message(made.error), "LLVM: crashed ");
        } else {
            contains(ptx_of(&made), " f(");
        }
        release(&made);
        next_is_right();
    }
}

static void survives_hostile_text(void **state) {
    char *const crashing[] = {
        chain("", "%%t%d = type { %%t", "%t100000 = type { i32 }\n@g = external global %t0\n"),
        chain("!named = !{!0}\n", "!%d = !{ !", "!100000 = !{}\n")};
    char *const deep[] = {repeat("@g = external global ", "{ ", 100000, ""),
                          repeat("@g = global i64 ", "add (i64 ", 20000, ""),
                          repeat("!0 = ", "!{", 50000, "")};
    for (size_t i = 0; i < sizeof crashing / sizeof *crashing; i++) {
        assert_non_null(crashing[i]);
        expect_failure(crashing[i], strlen(crashing[i]), (tr__compile_request){0}, TR_E_COMPILER_CRASHED,
                       "LLVM: crashed ");
        next_is_right();
        free(crashing[i]);
    }
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
        assert_non_null(deep[i]);
        expect_failure(deep[i], strlen(deep[i]), (tr__compile_request){0}, TR_E_PARSE,
                       "brackets nest too deep");
        free(deep[i]);
    }
}

/* Bytes changed, lines lost, doubled or swapped, an end cut off: the same hundred texts each time. */
static void mutate(char *text, size_t *size, uint32_t *random) {
    *random = *random * 1664525 + 1013904223;
    size_t at = *random >> 8 & 0xffffff;
    at %= *size;
    char *line = memrchr(text, '\n', at), *end = memchr(text + at, '\n', *size - at);
    switch (*random >> 4 & 3) {
    case 0: text[at] = (char)(*random >> 16 & 0x7f) | 1; break;
    case 1: *size = at + 1; break;
    case 2:
        if (line && end) memmove(line, end, *size - (size_t)(end - text)), *size -= (size_t)(end - line);
        break;
    default:
        for (size_t i = at; i + 1 < *size && text[i + 1] != '\n'; i++) text[i] = text[i + 1];
    }
}

static void survives_mutated_text(void **state) {
    tr__blob *llir = read_stage("softmax", "llir");
    uint32_t random = 7, refused = 0;
    for (int i = 0; i < 100; i++) {
        char *text = strdup(llir->data);
        assert_non_null(text);
        size_t size = llir->size;
        for (int k = 0; k <= i % 4; k++) mutate(text, &size, &random);
        outcome made = compile(text, size, (tr__compile_request){.timeout_ms = 20000}, false);
        if (made.status && made.status != TR_E_PARSE && made.status != TR_E_COMPILE)
            fail_msg("mutation %d: %s", i, tr_error_message(made.error));
        refused += made.status != TR_OK;
        release(&made);
        free(text);
    }
    assert_in_range(refused, 30, 99);
    tr__blob_release(llir);
}

static int32_t cancel(void *user, tr_stage reached, double seconds) {
    static int asked; /* about every 50 ms */
    return ++asked > 2;
}

static void ends_what_takes_too_long(void **state) {
    char *endless = repeat("define <100000 x float> @f(<100000 x float> %x) {\n", "\n", 1,
                           "%y = fadd <100000 x float> %x, %x\n  ret <100000 x float> %y\n}\n");
    assert_non_null(endless);
    tr__compile_request request = {.timeout_ms = 200};
    expect_failure(endless, strlen(endless), request, TR_E_TIMEOUT, "LLVM: did not finish within 0.2 s");
    request = (tr__compile_request){.progress = cancel};
    expect_failure(endless, strlen(endless), request, TR_E_CANCELLED, "cancelled");
    free(endless);
    outcome next = compile_text(KERNEL, (tr__compile_request){0});
    contains(ptx_of(&next), ".visible .entry k(");
    release(&next);
}

static void reads_literals_of_newer_llvms(void **state) {
    static const struct {
        const char *newer, *older;
    } cases[] = {{"fadd float %x, f0x3FB8AA3B", "fadd float %x, 0x3FF7154760000000"},
                 {"fadd float %x, -inf", "fadd float %x, 0xFFF0000000000000"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char frame[] = "define float @f(float %%x) {\n  %%y = %s\n  ret float %%y\n}\n";
        char newer[256], older[256];
        snprintf(newer, sizeof newer, frame, cases[i].newer);
        snprintf(older, sizeof older, frame, cases[i].older);
        outcome a = compile_text(newer, (tr__compile_request){0}),
                b = compile_text(older, (tr__compile_request){0});
        assert_string_equal(ptx_of(&a), ptx_of(&b));
        release(&a);
        release(&b);
    }
}

enum { THREADS = 4, ROUNDS = 5 };

static void *compile_often(void *expected) {
    tr__blob *llir = read_stage("softmax", "llir");
    size_t same = 0;
    for (int i = 0; i < ROUNDS; i++) {
        tr__compile_request request = {
            .from = TR_STAGE_LLIR, .to = TR_STAGE_PTX, .source = llir, .arch = "sm_90"};
        tr__compile_result result = {.log = NULL};
        if (!tr__native_compile(native, &request, i % 2, &result, NULL))
            same += !strcmp(result.stages[TR_STAGE_PTX]->data, expected);
        tr__compile_result_release(&result);
    }
    tr__blob_release(llir);
    return (void *)same;
}

static void serves_threads_side_by_side(void **state) {
    tr__blob *llir = read_stage("softmax", "llir");
    outcome expected = compile(llir->data, llir->size, (tr__compile_request){0}, false);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, compile_often, (void *)ptx_of(&expected)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *same;
        pthread_join(threads[i], &same);
        assert_int_equal((size_t)same, ROUNDS);
    }
    release(&expected);
    tr__blob_release(llir);
}

static void tells_what_is_missing(void **state) {
    tr__native *without = NULL;
    assert_int_equal(tr__native_create("/nowhere/helper", "/nowhere/plugin.so", &without, NULL), TR_OK);
    tr__blob *source = tr__blob_create(KERNEL, strlen(KERNEL));
    tr__compile_request request = {
        .from = TR_STAGE_LLIR, .to = TR_STAGE_PTX, .source = source, .arch = "sm_90"};
    tr__compile_result result = {.log = NULL};
    tr_error *error = NULL;
    assert_int_equal(tr__native_compile(without, &request, false, &result, &error), TR_E_COMPILER_MISSING);
    contains(tr_error_message(error), "/nowhere/helper");
    tr__compile_result_release(&result);
    tr_error_destroy(error);
    tr__native_destroy(without);

    error = NULL;
    assert_int_equal(
        tr__native_create(TR_BINARY_DIR "/libexec/" TR__HELPER_FILE, "/nowhere/plugin.so", &without, NULL),
        TR_OK);
    assert_int_equal(tr__native_compile(without, &request, false, &result, &error), TR_E_COMPILER_MISSING);
    contains(tr_error_message(error), "/nowhere/plugin.so");
    tr__compile_result_release(&result);
    tr_error_destroy(error);
    tr__native_destroy(without);
    tr__blob_release(source);
}

static void links_with_nvjitlink(void **state) {
    char *version = NULL;
    if (tr__native_nvjitlink_version(native, &version, NULL)) {
        print_message("no nvJitLink here\n");
        skip();
    }
    free(version);
    tr__blob *ptx = read_stage("softmax", "ptx");
    tr__compile_request request = {.from = TR_STAGE_PTX, .to = TR_STAGE_CUBIN};
    outcome there = compile(ptx->data, ptx->size, request, false),
            here = compile(ptx->data, ptx->size, request, true);
    assert_int_equal(there.status, TR_OK);
    assert_int_equal(here.status, TR_OK);
    assert_true(tr__blob_equal(there.result.stages[TR_STAGE_CUBIN], here.result.stages[TR_STAGE_CUBIN]));
    assert_memory_equal(there.result.stages[TR_STAGE_CUBIN]->data,
                        "\x7f"
                        "ELF",
                        4);
    contains(there.result.maker, "nvjitlink ");
    assert_true(json_integer_value(json_object_get(there.result.extra, "registers")) > 0);
    release(&there);
    release(&here);
    static const char wrong[] =
        ".version 8.7\n.target sm_90a\n.address_size 64\n.visible .entry k()\n{\n  nonsense;\n}\n";
    outcome failed = compile_text(wrong, request);
    assert_int_equal(failed.status, TR_E_COMPILE);
    contains(tr_error_message(failed.error), "kernel.ptx:6: ");
    release(&failed);
    tr__blob_release(ptx);
}

static int start(void **state) {
    return tr__native_create(TR_BINARY_DIR "/libexec/" TR__HELPER_FILE,
                             TR_BINARY_DIR "/libexec/" TR__PLUGIN_FILE, &native, NULL);
}

static int stop(void **state) {
    tr__native_destroy(native);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiles_alike_here_and_there), cmocka_unit_test(knows_every_architecture),
        cmocka_unit_test(writes_the_version_asked_for),  cmocka_unit_test(fuses_unless_told_not_to),
        cmocka_unit_test(says_what_and_where),           cmocka_unit_test(survives_hostile_text),
        cmocka_unit_test(survives_wrong_annotations),    cmocka_unit_test(splits_addresses_where_it_may),
        cmocka_unit_test(survives_mutated_text),         cmocka_unit_test(ends_what_takes_too_long),
        cmocka_unit_test(reads_literals_of_newer_llvms), cmocka_unit_test(serves_threads_side_by_side),
        cmocka_unit_test(tells_what_is_missing),         cmocka_unit_test(links_with_nvjitlink),
    };
    if (!tr__file_exists(TR_BINARY_DIR "/libexec/" TR__PLUGIN_FILE)) {
        puts("the LLVM plugin was not built: LLVM 22 was not found");
        return 77;
    }
    return cmocka_run_group_tests(tests, start, stop);
}
