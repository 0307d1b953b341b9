/* compilers/ptxas*: what it says is read, the right tool is found, it is called as each Triton calls it. Most
   of it runs shell scripts that stand in for ptxas and write their own arguments where the cubin should go.
 */
#include "base/file.h"
#include "compilers/ptxas.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const char log_of_two[] = "ptxas info    : 8 bytes gmem\n"
                                 "ptxas info    : Compiling entry function 'first' for 'sm_90a'\n"
                                 "ptxas info    : Function properties for first\n"
                                 "    16 bytes stack frame, 24 bytes spill stores, 32 bytes spill loads\n"
                                 "ptxas info    : Used 255 registers, used 1 barriers, 1024 bytes smem, 568 "
                                 "bytes cmem[0], 8 bytes cmem[2]\n"
                                 "ptxas info    : Compile time = 12.340 ms\n"
                                 "ptxas info    : Compiling entry function 'first_too' for 'sm_90a'\n"
                                 "ptxas info    : Function properties for first_too\n"
                                 "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                                 "ptxas info    : Used 26 registers, used 0 barriers\n"
                                 "ptxas info    : Function properties for called\n"
                                 "    96 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n";

static void check_usage(const char *kernel, const char *expected) {
    json_t *usage = tr__ptxas_usage(log_of_two, kernel);
    char *text = json_dumps(usage, JSON_SORT_KEYS | JSON_COMPACT);
    assert_string_equal(text, expected);
    free(text);
    json_decref(usage);
}

static void reads_usage(void **state) {
    static const char first[] = "{\"barriers\":1,\"constant_bytes\":576,\"local_bytes\":16,\"registers\":255,"
                                "\"spill_load_bytes\":32,\"spills\":24,\"static_shared\":1024}";
    static const char last[] = "{\"barriers\":0,\"constant_bytes\":0,\"local_bytes\":0,\"registers\":26,"
                               "\"spill_load_bytes\":0,\"spills\":0,\"static_shared\":0}";
    check_usage("first", first);
    check_usage("first_too", last);
    check_usage(NULL, last);
    assert_null(tr__ptxas_usage(log_of_two, "firs"));
    assert_null(tr__ptxas_usage("", NULL));
    assert_null(tr__ptxas_usage("ptxas warning : nothing\n\n", "first"));
}

static void reads_errors(void **state) {
    static const struct {
        const char *log, *message;
    } cases[] = {
        {"ptxas info    : x\nptxas /a b.ptx, line 17; error   : Not a name of any known instruction: 'ad'\n"
         "ptxas fatal   : Ptx assembly aborted due to errors\n",
         "k.ptx:17: Not a name of any known instruction: 'ad'"},
        {"ptxas-blackwell fatal   : Value 'sm_130' is not defined for option 'gpu-name'",
         "k.ptx: Value 'sm_130' is not defined for option 'gpu-name'"},
        {"", NULL},
        {"error", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *message = tr__ptxas_first_error(cases[i].log, "k.ptx");
        if (cases[i].message)
            assert_string_equal(message, cases[i].message);
        else
            assert_null(message);
        free(message);
    }
}

/* ---- stand-ins ---- */

static tr__native *native;
static char folder[] = "/tmp/test_ptxas_XXXXXX";

static const char *place(const char *name) {
    static char path[8][256];
    static unsigned next;
    char *at = path[next++ % 8];
    snprintf(at, sizeof path[0], "%s/%s", folder, name);
    return at;
}

static void stand_in(const char *name, const char *version, const char *body) {
    char script[2048];
    int length = snprintf(script, sizeof script,
                          "#!/bin/sh\nif [ \"$1\" = --version ]; then echo x >>%s.asked\n"
                          "echo 'Cuda compilation tools, release 0.0, V%s'; exit 0; fi\n%s\n",
                          place(name), version, body);
    tr_error *error = NULL;
    assert_int_equal(tr__file_write(place(name), script, (size_t)length, &error), TR_OK);
    assert_int_equal(chmod(place(name), 0755), 0);
}

static const char write_arguments[] = "shift 0; echo \"$@\" >&3; echo 'ptxas info    : said' >&2";

typedef struct outcome {
    tr_status status;
    tr_error *error;
    tr__compile_result result;
} outcome;

static outcome compile(tr__compile_request request, const char *text, const char *version) {
    outcome made = {0};
    tr__blob *source = tr__blob_create(text, strlen(text));
    tr__ptxas_triton triton = {.site = version ? folder : NULL, .version = version};
    request.from = TR_STAGE_PTX;
    request.to = TR_STAGE_CUBIN;
    request.source = source;
    if (!request.arch) request.arch = "sm_90";
    made.status = tr__ptxas_compile(native, &request, version ? &triton : NULL, &made.result, &made.error);
    tr__blob_release(source);
    return made;
}

static void expect_cubin(outcome made, const char *cubin) {
    if (made.status) print_error("%s\n", tr_error_message(made.error));
    assert_int_equal(made.status, TR_OK);
    assert_string_equal(made.result.stages[TR_STAGE_CUBIN]->data, cubin);
    tr__compile_result_release(&made.result);
}

static void expect_failure(outcome made, tr_status status, const char *part) {
    assert_int_equal(made.status, status);
    assert_int_equal(tr_error_stage(made.error), TR_STAGE_CUBIN);
    if (!strstr(tr_error_message(made.error), part)) print_error("%s\n", tr_error_message(made.error));
    assert_non_null(strstr(tr_error_message(made.error), part));
    assert_null(made.result.stages[TR_STAGE_CUBIN]);
    tr__compile_result_release(&made.result);
    tr_error_destroy(made.error);
}

#define TAIL " /proc/self/fd//////0 -o /proc/self/fd////////3\n"

static void calls_as_each_triton(void **state) {
    stand_in("triton/backends/nvidia/bin/ptxas", "12.8.93", write_arguments);
    tr__compile_request request = {0};
    expect_cubin(compile(request, "", "3.2.0"), "-lineinfo -v --gpu-name=sm_90a" TAIL);
    expect_cubin(compile(request, "", "3.7.1"), "-lineinfo -v --regAllocOptLevel=2 --gpu-name=sm_90a" TAIL);

    request.options = json_pack("{s:b, s:s, s:s}", "enable_fp_fusion", 0, "ptx_options", "-a  b",
                                "instrumentation_mode", "consan");
    request.arch = "sm_86";
    expect_cubin(compile(request, "", "3.3.1"), "-lineinfo --fmad=false -v --gpu-name=sm_86" TAIL);
    expect_cubin(compile(request, "", "3.4.0"), "-lineinfo --fmad=false -v -a b --gpu-name=sm_86" TAIL);
    expect_cubin(compile(request, "", "3.9.0"),
                 "-lineinfo --fmad=false -v --regAllocOptLevel=2 -a b --opt-level 1 "
                 "--gpu-name=sm_86" TAIL);
    json_decref((json_t *)request.options);

    request = (tr__compile_request){
        .environment = (const char *const[]){"DISABLE_PTXAS_OPT=1", "TRITON_DISABLE_LINE_INFO=0", NULL}};
    expect_cubin(compile(request, "", "3.4.0"), "-lineinfo -v --opt-level 0 --gpu-name=sm_90a" TAIL);
    expect_cubin(compile(request, "", "3.5.1"), "-g -v --opt-level 0 --gpu-name=sm_90a" TAIL);
    request.environment = (const char *const[]){"TRITON_DISABLE_LINE_INFO=1", NULL};
    expect_cubin(compile(request, "", "3.2.0"), "-v --gpu-name=sm_90a" TAIL);
    expect_cubin(compile(request, "", "3.3.0"), "-lineinfo -suppress-debug-info -v --gpu-name=sm_90a" TAIL);

    request = (tr__compile_request){.metadata = json_pack("{s:s}", "triton_version", "3.7.0")};
    setenv("TRITON_RUNNER_PTXAS", place("triton/backends/nvidia/bin/ptxas"), 1);
    expect_cubin(compile(request, "", NULL), "-lineinfo -v --regAllocOptLevel=2 --gpu-name=sm_90a" TAIL);
    unsetenv("TRITON_RUNNER_PTXAS");
    json_decref((json_t *)request.metadata);
}

static void lowers_a_version_too_new(void **state) {
    stand_in("triton/backends/nvidia/bin/ptxas", "12.8.93", "cat /proc/self/fd/0 >&3");
    tr__compile_request request = {.path = "k.ptx"};
    outcome made = compile(request, "//\n// c\n\n.version 9.4\n.target sm_90a // .version 9.4\n", "3.4.0");
    assert_non_null(strstr(made.result.log, ".version 9.4 is read as 8.7"));
    assert_string_equal(made.result.maker, "ptxas 12.8.93");
    expect_cubin(made, "//\n// c\n\n.version 8.7\n.target sm_90a // .version 9.4\n");
    expect_cubin(compile(request, " .version 8.7\n", "3.4.0"), " .version 8.7\n");
    expect_cubin(compile(request, "what.version 9.7\n.version 9.4", "3.4.0"),
                 "what.version 9.7\n.version 9.4");
}

static void finds_the_first_that_will_do(void **state) {
    stand_in("triton/backends/nvidia/bin/ptxas", "12.4.99", "echo wheel >&3");
    stand_in("triton/backends/nvidia/bin/ptxas-blackwell", "13.4.1", "echo newer >&3");
    stand_in("named", "12.9.1", "echo named >&3");
    setenv("TRITON_RUNNER_PTXAS", place("named"), 1);
    tr__compile_request request = {.arch = "sm_90"};
    expect_cubin(compile(request, "", "3.8.0"), "wheel\n");
    expect_cubin(compile(request, "", "3.9.0"), "newer\n");
    expect_cubin(compile(request, "", NULL), "named\n");
    request.arch = "sm_120";
    expect_cubin(compile(request, "", "3.8.0"), "newer\n");
    unlink(place("triton/backends/nvidia/bin/ptxas-blackwell"));
    expect_cubin(compile(request, "", "3.8.0"), "named\n"); /* 12.4 does not know sm_120 */
    request.environment = (const char *const[]){"TRITON_PTXAS_BLACKWELL_PATH=/nowhere", NULL};
    expect_cubin(compile(request, "", "3.8.0"), "named\n");

    assert_int_equal(chdir(folder), 0);
    setenv("TRITON_RUNNER_PTXAS", "./named", 1);
    expect_cubin(compile((tr__compile_request){0}, "", NULL), "named\n");
    assert_int_equal(chdir("/"), 0);

    setenv("PATH", "", 1);
    setenv("CUDA_HOME", folder, 1);
    stand_in("bin/ptxas", "11.8.1", "echo toolkit >&3");
    request = (tr__compile_request){.arch = "sm_60"};
    stand_in("named", "13.0.1", "echo named >&3");
    expect_cubin(compile(request, "", NULL), "toolkit\n");
    unsetenv("CUDA_HOME");
    unsetenv("TRITON_RUNNER_PTXAS");
    request.arch = "sm_50";
    if (access("/usr/local/cuda/bin/ptxas", X_OK))
        expect_failure(compile(request, "", NULL), TR_E_COMPILER_MISSING, "set TRITON_RUNNER_PTXAS");
}

static void asks_for_the_version_once(void **state) {
    stand_in("triton/backends/nvidia/bin/ptxas", "12.8.1", "echo 1 >&3");
    unlink(place("triton/backends/nvidia/bin/ptxas.asked"));
    for (int i = 0; i < 3; i++) expect_cubin(compile((tr__compile_request){0}, "", "3.4.0"), "1\n");
    tr__blob *asked = NULL;
    assert_int_equal(tr__file_read(place("triton/backends/nvidia/bin/ptxas.asked"), 100, &asked, NULL),
                     TR_OK);
    assert_string_equal(asked->data, "x\n");
    tr__blob_release(asked);
}

static int32_t cancel(void *user, tr_stage reached, double seconds) {
    assert_int_equal(reached, TR_STAGE_PTX);
    static int asked; /* about every 50 ms */
    return ++asked > 2;
}

static void fails_in_every_way(void **state) {
    tr__compile_request request = {.path = "my.ptx"};
    stand_in("triton/backends/nvidia/bin/ptxas", "12.8.2",
             "echo 'ptxas /proc/self/fd//////0, line 3; error   : Bad' >&2; echo part >&3; exit 255");
    outcome made = compile(request, "", "3.4.0");
    assert_string_equal(tr_error_log(made.error), "ptxas my.ptx, line 3; error   : Bad\n");
    expect_failure(made, TR_E_COMPILE, "my.ptx:3: Bad");

    stand_in("triton/backends/nvidia/bin/ptxas", "12.8.3", "kill -SEGV $$");
    expect_failure(compile(request, "", "3.4.0"), TR_E_COMPILER_CRASHED, "signal 11");
    stand_in("triton/backends/nvidia/bin/ptxas", "12.8.4", "true");
    expect_failure(compile(request, "", "3.4.0"), TR_E_COMPILE, "no cubin");
    stand_in("triton/backends/nvidia/bin/ptxas", "12.8.5", "sleep 10");
    request.timeout_ms = 100;
    expect_failure(compile(request, "", "3.4.0"), TR_E_TIMEOUT, "0.1 s");
    request.timeout_ms = 0;
    request.progress = cancel;
    expect_failure(compile(request, "", "3.4.0"), TR_E_CANCELLED, "cancelled");
    request = (tr__compile_request){.arch = "gfx90a"};
    made = compile(request, "", "3.4.0");
    assert_int_equal(made.status, TR_E_INVALID_ARGUMENT);
    tr_error_destroy(made.error);
}

static int make_folder(void **state) {
    char command[256];
    if (!mkdtemp(folder)) return 1;
    if (tr__native_create(TR_BINARY_DIR "/libexec/" TR__HELPER_FILE, "", &native, NULL)) return 1;
    snprintf(command, sizeof command, "mkdir -p %s/triton/backends/nvidia/bin %s/bin", folder, folder);
    return system(command);
}

static int remove_folder(void **state) {
    char command[256];
    tr__native_destroy(native);
    snprintf(command, sizeof command, "/bin/rm -r %s", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_usage),
        cmocka_unit_test(reads_errors),
        cmocka_unit_test(calls_as_each_triton),
        cmocka_unit_test(lowers_a_version_too_new),
        cmocka_unit_test(asks_for_the_version_once),
        cmocka_unit_test(fails_in_every_way),
        cmocka_unit_test(finds_the_first_that_will_do),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
