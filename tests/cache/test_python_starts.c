/* A start at Python is found again as long as all that it was made from is as it was, and only then. For each Triton
   of TRITON_RUNNER_PYTHON; skipped without one. */
#include "triton_runner.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static char root[] = "/tmp/tr-test-python-XXXXXX";
static char folder[128], cache[128];
static const char *version; /* of the Triton under test */

static void write_file(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0 && !fclose(file));
    usleep(60000); /* what is read in the moment when it is written is not kept */
}

static void make_folder(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static const char kernel_text[] = "import triton\n"
                                  "import triton.language as tl\n"
                                  "import module_that_is_missing\n"
                                  "from helper import scale\n"
                                  "from package import inner\n"
                                  "%s\n"
                                  "@triton.jit\n"
                                  "def kernel(x, BLOCK: tl.constexpr):\n"
                                  "    at = tl.arange(0, BLOCK)\n"
                                  "    tl.store(x + at, inner.shift(scale(tl.load(x + at))))\n";

static void write_kernel(const char *more) {
    char text[2048];
    snprintf(text, sizeof text, kernel_text, more);
    write_file("kernel.py", text);
}

static void write_helper(const char *factor) {
    char text[512];
    snprintf(text, sizeof text,
             "import triton\nimport triton.language as tl\nFACTOR = tl.constexpr(%s)\n"
             "@triton.jit\ndef scale(x):\n    return x * FACTOR\n",
             factor);
    write_file("helper.py", text);
}

static int fresh(void **state) {
    static int number;
    snprintf(folder, sizeof folder, "%s/%d", root, number);
    snprintf(cache, sizeof cache, "%s/%d-cache", root, number++);
    assert_int_equal(mkdir(folder, 0700), 0);
    make_folder("package");
    write_file("package/__init__.py", "");
    write_file("package/offset.py", "import triton.language as tl\nOFFSET = tl.constexpr(7.0)\n");
    write_file("package/inner.py", "import triton\nfrom .offset import OFFSET\n"
                                   "@triton.jit\ndef shift(x):\n    return x + OFFSET\n");
    write_helper("3.0");
    write_kernel("");
    return 0;
}

static long counted(tr_runner *runner) {
    char *json;
    assert_int_equal(tr_runner_report(runner, TR_REPORT_COUNTERS, &json, NULL), TR_OK);
    json_t *report = json_loads(json, 0, NULL);
    long value = (long)json_integer_value(json_object_get(report, "compiled"));
    json_decref(report);
    tr_free(json);
    return value;
}

static int workers(void) { /* each has a folder in TMPDIR */
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/tmp/triton-runner-*", root);
    if (glob(pattern, 0, NULL, &found)) return 0;
    int count = (int)found.gl_pathc;
    globfree(&found);
    return count;
}

static tr_runner *make_runner(void) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *runner;
    options.cache_dir = cache;
    options.triton = version;
    assert_int_equal(tr_runner_create(&options, &runner, NULL), TR_OK);
    return runner;
}

static tr_program *compile_to(tr_runner *runner, tr_stage stage) {
    char path[256];
    snprintf(path, sizeof path, "%s/kernel.py", folder);
    tr_load_options load = TR_LOAD_OPTIONS_INIT;
    tr_compile_options how = TR_COMPILE_OPTIONS_INIT;
    load.kernel = "kernel", load.signature = "*fp32:16, 128";
    how.arch = "sm_80";
    tr_program *python = NULL, *made = NULL;
    tr_error *error;
    if (tr_load_stage(runner, TR_STAGE_PYTHON, path, &load, &python, &error) ||
        tr_compile_to(python, stage, &how, &made, &error))
        fail_msg("%s\n%s", tr_error_message(error), tr_error_log(error));
    tr_program_destroy(python);
    return made;
}

/* 1: compiled, 0: found; text (may be NULL): its ttir. */
static long ask(tr_runner *runner, char **text) {
    const void *data;
    size_t size;
    long before = counted(runner);
    tr_program *ttir = compile_to(runner, TR_STAGE_TTIR);
    tr_program_bytes(ttir, &data, &size);
    if (text) *text = strndup(data, size);
    tr_program_destroy(ttir);
    return counted(runner) - before;
}

static long ask_anew(char **text) {
    int before = workers();
    tr_runner *runner = make_runner();
    long compiled = ask(runner, text);
    if (!compiled) assert_int_equal(workers(), before); /* none is started for what is found */
    tr_runner_destroy(runner);
    return compiled;
}

static void assert_has(const char *number) {
    char *text;
    ask_anew(&text);
    if (!strstr(text, number)) fail_msg("no %s in\n%s", number, text);
    free(text);
}

static void found_again(void **state) {
    tr_runner *runner = make_runner();
    assert_int_equal(ask(runner, NULL), 1);
    assert_int_equal(ask(runner, NULL), 0); /* in memory */
    assert_int_equal(ask_anew(NULL), 0);    /* on disk */
    write_file("unrelated.py", "a = 1\n");
    assert_int_equal(ask(runner, NULL), 0);
    write_file("unrelated.py", "a = 2\n");
    write_helper("3.0"); /* the same again */
    assert_int_equal(ask(runner, NULL), 0);
    assert_int_equal(ask_anew(NULL), 0);
    assert_int_equal(tr_runner_seal(runner, NULL), TR_OK);
    tr_runner_destroy(runner);
}

/* From the kernel to PTX, with what it passed. */
static void compile_whole(tr_program *passed[], bool compiled) {
    tr_runner *runner = make_runner();
    tr_program *ptx = compile_to(runner, TR_STAGE_PTX);
    assert_int_equal(counted(runner), compiled);
    assert_int_equal(tr_runner_seal(runner, NULL), TR_OK); /* what was passed is at hand */
    for (tr_stage stage = TR_STAGE_TTIR; stage <= TR_STAGE_PTX; stage++) {
        tr_program *again;
        assert_int_equal(tr_program_at(ptx, stage, &passed[stage], NULL), TR_OK);
        assert_int_equal(tr_program_at(ptx, stage, &again, NULL), TR_OK);
        assert_ptr_equal(again, passed[stage]);
        tr_program_destroy(again);
    }
    tr_program_destroy(ptx);
    tr_runner_destroy(runner);
}

static void found_with_what_it_passed(void **state) {
    tr_program *made[TR_STAGE_PTX + 1], *found[TR_STAGE_PTX + 1];
    compile_whole(made, true);
    compile_whole(found, false);
    for (tr_stage stage = TR_STAGE_TTIR; stage <= TR_STAGE_PTX; stage++) {
        const void *a, *b;
        size_t a_size, b_size;
        assert_int_equal(tr_program_bytes(made[stage], &a, &a_size), TR_OK);
        assert_int_equal(tr_program_bytes(found[stage], &b, &b_size), TR_OK);
        assert_int_equal(a_size, b_size);
        assert_memory_equal(a, b, a_size + 1); /* and the NUL */
        assert_string_equal(tr_program_metadata(made[stage]), tr_program_metadata(found[stage]));
        tr_program_destroy(made[stage]);
        tr_program_destroy(found[stage]);
    }
}

static void changes_are_seen(void **state) {
    tr_runner *runner = make_runner();
    assert_int_equal(ask(runner, NULL), 1);
    assert_has("3.000000e+00");
    write_helper("5.0");
    assert_int_equal(ask(runner, NULL), 1);
    assert_int_equal(ask_anew(NULL), 0);
    assert_has("5.000000e+00");
    write_file("package/offset.py", "import triton.language as tl\nOFFSET = tl.constexpr(9.0)\n");
    assert_int_equal(ask_anew(NULL), 1); /* a global, two imports away */
    assert_int_equal(ask(runner, NULL), 0);
    assert_has("9.000000e+00");
    write_kernel("# another text");
    assert_int_equal(ask(runner, NULL), 1);
    tr_runner_destroy(runner);
}

static void what_is_searched_is_seen(void **state) {
    tr_runner *runner = make_runner();
    assert_int_equal(ask(runner, NULL), 1);
    write_file("module_that_is_missing.py", "");
    assert_int_equal(ask(runner, NULL), 1);
    assert_int_equal(ask(runner, NULL), 0);
    make_folder("helper"); /* a folder alone shadows nothing, but it could */
    ask(runner, NULL);
    assert_int_equal(ask(runner, NULL), 0);
    write_file("helper/__init__.py", "import triton\nimport triton.language as tl\n"
                                     "@triton.jit\ndef scale(x):\n    return x * 11.0\n");
    assert_int_equal(ask(runner, NULL), 1);
    assert_has("1.100000e+01");
    tr_runner_destroy(runner);
}

static void what_is_read_is_seen(void **state) {
    write_file("number", "17.0");
    write_kernel("import os\nPLACE = os.path.dirname(__file__)\n"
                 "with open(os.path.join(PLACE, 'number')) as file:\n    NUMBER = float(file.read())\n"
                 "if os.path.exists(os.path.join(PLACE, 'switch')):\n    NUMBER = 19.0\n"
                 "HOME = os.environ.get('HOME', '')\n"
                 "NUMBER = tl.constexpr(23.0 if HOME == '/nowhere' else NUMBER)\n"
                 "@triton.jit\ndef scale(x):\n    return x * NUMBER\n");
    assert_int_equal(ask_anew(NULL), 1);
    assert_has("1.700000e+01");
    assert_int_equal(ask_anew(NULL), 0);
    write_file("number", "18.0");
    assert_int_equal(ask_anew(NULL), 1);
    assert_has("1.800000e+01");
    write_file("switch", "");
    assert_int_equal(ask_anew(NULL), 1);
    assert_has("1.900000e+01");
    char *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    setenv("HOME", "/nowhere", 1);
    assert_int_equal(ask_anew(NULL), 1);
    assert_has("2.300000e+01");
    if (home)
        setenv("HOME", home, 1);
    else
        unsetenv("HOME");
    free(home);
}

static void archives_are_seen(void **state) {
    char command[512];
    write_file("inzip.py", "import triton.language as tl\nNUMBER = tl.constexpr(31.0)\n");
    snprintf(command, sizeof command,
             "cd '%s' && /usr/bin/python3 -m zipfile -c modules.zip inzip.py && rm inzip.py", folder);
    if (system(command)) skip();
    usleep(60000);
    write_kernel(
        "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'modules.zip'))\n"
        "from inzip import NUMBER\n@triton.jit\ndef scale(x):\n    return x * NUMBER\n");
    assert_int_equal(ask_anew(NULL), 1);
    assert_int_equal(ask_anew(NULL), 0);
    write_file("inzip.py", "import triton.language as tl\nNUMBER = tl.constexpr(37.0)\n");
    if (system(command)) fail();
    usleep(60000);
    assert_int_equal(ask_anew(NULL), 1);
    assert_has("3.700000e+01");
}

static void what_cannot_be_checked_is_not_kept(void **state) {
    static const char *const lines[] = {
        "import os\nos.listdir(os.path.dirname(__file__))",
        "import subprocess\nsubprocess.run(['/bin/true'])",
        "import socket\nsocket.socket()",
        "open('/proc/self/stat').read()",
        "import os\nopen(os.path.join(os.path.dirname(__file__), 'made'), 'w')",
        "import ctypes\nctypes.CDLL('libc.so.6')"};
    tr_runner *runner = make_runner();
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        write_kernel(lines[i]);
        assert_int_equal(ask(runner, NULL), 1);
        if (ask(runner, NULL) != 1) fail_msg("kept: %s", lines[i]);
    }
    write_kernel("exec('NUMBER = 1')"); /* what it executes comes from what was read */
    assert_int_equal(ask(runner, NULL), 1);
    assert_int_equal(ask(runner, NULL), 0);
    tr_runner_destroy(runner);
}

/* The helper is replaced without a pause, and asked for at once: never an old result. */
static void never_stale(void **state) {
    tr_runner *runner = make_runner();
    for (int i = 0; i < 25; i++) {
        char text[256], path[256], number[32], *ttir;
        snprintf(text, sizeof text, "import triton\n@triton.jit\ndef scale(x):\n    return x * 1%02d.0\n", i);
        snprintf(path, sizeof path, "%s/helper.py", folder);
        FILE *file = fopen(path, "w");
        assert_true(file && fputs(text, file) >= 0 && !fclose(file));
        ask(runner, &ttir);
        snprintf(number, sizeof number, "1.%02d0000e+02", i);
        if (!strstr(ttir, number)) fail_msg("round %d: no %s in\n%s", i, number, ttir);
        free(ttir);
    }
    tr_runner_destroy(runner);
}

static void other_places(void **state) {
    assert_int_equal(ask_anew(NULL), 1);
    char moved[sizeof folder];
    assert_true(snprintf(moved, sizeof moved, "%.100s-moved", folder) < (int)sizeof moved);
    assert_int_equal(rename(folder, moved), 0);
    memcpy(folder, moved, sizeof folder);
    assert_int_equal(ask_anew(NULL), 1); /* the path is in the debug information */
    assert_int_equal(ask_anew(NULL), 0);
}

static int make_root(void **state) {
    char path[64];
    if (!mkdtemp(root)) return -1;
    snprintf(path, sizeof path, "%s/tmp", root);
    mkdir(path, 0700);
    return setenv("TMPDIR", path, 1);
}

static int remove_root(void **state) {
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static int test_version(void) {
    printf("Triton %s\n", version);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(found_again, fresh),
        cmocka_unit_test_setup(found_with_what_it_passed, fresh),
        cmocka_unit_test_setup(changes_are_seen, fresh),
        cmocka_unit_test_setup(what_is_searched_is_seen, fresh),
        cmocka_unit_test_setup(what_is_read_is_seen, fresh),
        cmocka_unit_test_setup(archives_are_seen, fresh),
        cmocka_unit_test_setup(what_cannot_be_checked_is_not_kept, fresh),
        cmocka_unit_test_setup(never_stale, fresh),
        cmocka_unit_test_setup(other_places, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* One asks while another's result is kept already: each has its own. */
static void versions_are_kept_apart(void **state) {
    const json_t *list = *state;
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < json_array_size(list); i++) {
            version = json_string_value(json_object_get(json_array_get(list, i), "version"));
            assert_int_equal(ask_anew(NULL), round == 0);
        }
}

int main(void) {
    tr_runner *runner;
    char *json;
    if (make_root(NULL) || tr_runner_create(NULL, &runner, NULL) ||
        tr_runner_report(runner, TR_REPORT_DOCTOR, &json, NULL))
        return EXIT_FAILURE;
    tr_runner_destroy(runner);
    json_t *report = json_loads(json, 0, NULL);
    json_t *list = json_object_get(json_object_get(report, "triton"), "installations");
    tr_free(json);
    int failed = 0;
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count; i++) {
        version = json_string_value(json_object_get(json_array_get(list, i), "version"));
        failed += test_version();
    }
    const struct CMUnitTest last[] = {
        cmocka_unit_test_prestate_setup_teardown(versions_are_kept_apart, NULL, NULL, list)};
    if (count > 1 && !fresh(NULL)) failed += cmocka_run_group_tests(last, NULL, NULL);
    json_decref(report);
    remove_root(NULL);
    if (!count) printf("no Triton is here: TRITON_RUNNER_PYTHON names none\n");
    return !count ? 77 : failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
