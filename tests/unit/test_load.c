/* tr_runner_create, tr_load_stage, tr_program_*: what a caller sees of a program before anything is compiled. */
#include "base/file.h"
#include "triton_runner.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAGES TR_SOURCE_DIR "/examples/kernels/stages/sm_90/"

static tr_runner *runner;
static char folder[] = "/tmp/test_load.XXXXXX";

static int setup(void **state) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.cache_dir = "";
    return !mkdtemp(folder) || tr_runner_create(&options, &runner, NULL);
}

static int teardown(void **state) {
    char command[64];
    tr_runner_destroy(runner);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text) {
    assert_int_equal(tr__file_write(in_folder(name), text, strlen(text), NULL), TR_OK);
}

static tr_program *load(const char *path) {
    tr_program *program;
    tr_error *error;
    if (tr_load_stage(runner, TR_STAGE_AUTO, path, NULL, &program, &error))
        fail_msg("%s", tr_error_message(error));
    assert_null(error);
    return program;
}

static void expect(tr_stage stage, const char *path, const tr_load_options *options, tr_status wanted,
                   const char *message) {
    tr_program *program = (tr_program *)runner;
    tr_error *error = NULL;
    tr_status status = tr_load_stage(runner, stage, path, options, &program, &error);
    if (status != wanted || !strstr(tr_error_message(error), message))
        fail_msg("%s: '%s' lacks '%s'", tr_status_name(status), tr_error_message(error), message);
    assert_null(program);
    tr_error_destroy(error);
    assert_int_equal(tr_load_stage(runner, stage, path, options, &program, NULL), wanted);
}

static tr_load_options text(const char *data) {
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    options.data = data;
    options.size = strlen(data);
    return options;
}

/* A folder of Triton's cache: metadata from the .json, arguments from the .ttir beside. */
static void reads_a_cache_folder(void **state) {
    static const char *const endings[] = {"ttir", "ttgir", "llir", "ptx", "cubin"};
    for (int i = 0; i < 5; i++) {
        char path[4200];
        snprintf(path, sizeof path, STAGES "matmul_tma.%s", endings[i]);
        tr_program *program = load(path);
        assert_int_equal(tr_program_stage(program), TR_STAGE_TTIR + i);
        assert_string_equal(tr_program_kernel(program), "matmul_tma");
        assert_string_equal(tr_program_log(program), "");
        const char *json = tr_program_metadata(program);
        assert_non_null(strstr(json, "\"shared\":49176"));
        assert_non_null(strstr(json, "\"parameters\":[{\"divisibility\":16,\"type\":\"*fp16\"}"));
        assert_true(!strstr(json, "\"hidden\":[\"global_scratch\"]") == (i < 2));
        tr_program_destroy(program);
    }
}

static void saves_and_loads_alone(void **state) {
    static const char *const endings[] = {"ttir", "ttgir", "llir", "ptx", "cubin"};
    for (int i = 0; i < 5; i++) {
        char path[4200], name[64];
        const void *before, *after;
        size_t before_size, after_size;
        snprintf(path, sizeof path, STAGES "layer_norm.%s", endings[i]);
        snprintf(name, sizeof name, "alone.%s", endings[i]);
        tr_program *program = load(path);
        assert_int_equal(tr_program_save(program, in_folder(name), NULL), TR_OK);
        tr_program *again = load(in_folder(name));
        tr_program_bytes(program, &before, &before_size);
        tr_program_bytes(again, &after, &after_size);
        assert_int_equal(before_size, after_size);
        assert_memory_equal(before, after, before_size);
        assert_string_equal(tr_program_metadata(program), tr_program_metadata(again));
        tr_program_destroy(program);
        tr_program_destroy(again);
        unlink(in_folder(name));
    }
}

static const char two[] = "tt.func public @a(%x: i32) { }\ntt.func public @b(%y: i64) { }\n";

static void chooses_among_kernels(void **state) {
    tr_load_options options = text(two);
    tr_program *program;
    tr_error *error;
    assert_int_equal(tr_load_stage(runner, TR_STAGE_AUTO, NULL, &options, &program, &error),
                     TR_E_INVALID_ARGUMENT);
    assert_string_equal(tr_error_log(error), "a\nb");
    assert_int_equal(tr_error_stage(error), TR_STAGE_TTIR);
    tr_error_destroy(error);
    options.kernel = "c";
    expect(TR_STAGE_TTIR, NULL, &options, TR_E_INVALID_ARGUMENT, "<memory>: no kernel 'c' in it");
    options.kernel = "b";
    assert_int_equal(tr_load_stage(runner, TR_STAGE_TTIR, "name.ttir", &options, &program, NULL), TR_OK);
    assert_string_equal(tr_program_kernel(program), "b");
    assert_non_null(strstr(tr_program_metadata(program), "\"type\":\"i64\""));
    tr_program_destroy(program);
}

static void prefers_what_the_caller_gives(void **state) {
    write_file("k.ttir",
               "tt.func public @k() { }\n// triton-runner-record: {\"num_warps\":8,\"shared\":1}\n");
    write_file("k.json", "{\"num_warps\": 16}");
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_program *program = load(in_folder("k.ttir"));
    assert_non_null(strstr(tr_program_metadata(program), "\"num_warps\":8"));
    tr_program_destroy(program);
    options.metadata = "{\"num_warps\": 2}";
    assert_int_equal(tr_load_stage(runner, TR_STAGE_TTIR, in_folder("k.ttir"), &options, &program, NULL),
                     TR_OK);
    assert_non_null(strstr(tr_program_metadata(program), "\"num_warps\":2"));
    assert_null(strstr(tr_program_metadata(program), "shared"));
    const void *data;
    size_t size;
    tr_program_bytes(program, &data, &size);
    assert_int_equal(size, 23);
    tr_program_destroy(program);
    write_file("k.ttir", "tt.func public @k() { }");
    program = load(in_folder("k.ttir"));
    assert_non_null(strstr(tr_program_metadata(program), "\"num_warps\":16"));
    tr_program_destroy(program);
}

static void refuses_what_lies(void **state) {
    static const char ptx[] =
        ".version 8.7\n.target sm_80\n.entry k(.param .u64 .ptr a) .reqntid 128 { ret; }";
    tr_load_options options = text(ptx);
    static const struct {
        const char *json, *message;
        tr_status status;
    } lies[] = {
        {"{\"name\": \"other\"}", "no kernel 'other' in it, as the metadata have it", TR_E_INVALID_ARGUMENT},
        {"{\"target\": {\"backend\": \"cuda\", \"arch\": 90}}", "it is for sm_80, but its metadata say sm_90",
         TR_E_INVALID_ARGUMENT},
        {"{\"num_warps\": 8}", "is built for 4 warps, but its metadata say num_warps = 8",
         TR_E_INVALID_ARGUMENT},
        {"{\"shared\": 200000}", "needs 200000 bytes of shared memory; a CTA on sm_80 has at most 166912",
         TR_E_RESOURCE},
        {"{\"shared\": 0, \"global_scratch_size\": 0, \"profile_scratch_size\": 0}",
         "ends in 2 hidden pointers, but its 1 parameters don't", TR_E_PARSE},
        {"{\"triton_runner\": {\"parameters\": [{\"type\": \"i32\"}]}}",
         "<memory>:3:10: kernel 'k' has 1 parameters", TR_E_PARSE},
        {"{", "tr_load_options.metadata:1:2: the text ends inside a value", TR_E_PARSE},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        options.metadata = lies[i].json;
        expect(TR_STAGE_PTX, NULL, &options, lies[i].status, lies[i].message);
    }
}

static void refuses_bad_calls(void **state) {
    tr_load_options options = text("");
    expect(TR_STAGE_AUTO, NULL, NULL, TR_E_INVALID_ARGUMENT, "neither a path nor data");
    expect(7, "x.ptx", NULL, TR_E_INVALID_ARGUMENT, "7 is no stage");
    expect(TR_STAGE_AUTO, "/nowhere/x.ptx", NULL, TR_E_IO, "/nowhere/x.ptx");
    expect(TR_STAGE_AUTO, "/", NULL, TR_E_IO, "not a regular file");
    expect(TR_STAGE_AUTO, NULL, &options, TR_E_INVALID_ARGUMENT, "neither its name nor its content");
    expect(TR_STAGE_PTX, NULL, &options, TR_E_PARSE, "<memory>:1:1: it is empty, where ptx was expected");
    options = text(".version 8.7\n.target sm_90\n");
    expect(TR_STAGE_TTIR, "k", &options, TR_E_PARSE, "k:1:1: this is ptx, not ttir");
    options = text("import triton\n@triton.jit\ndef k(x): pass\n");
    options.signature = "float";
    expect(TR_STAGE_AUTO, NULL, &options, TR_E_PARSE, "signature:1:1: expected a type");
    options.struct_size = 1 << 20;
    expect(TR_STAGE_AUTO, NULL, &options, TR_E_INVALID_ARGUMENT, "tr_load_options.struct_size");
    assert_int_equal(tr_load_stage(NULL, 0, "x", NULL, NULL, NULL), TR_E_INVALID_ARGUMENT);
}

static void keeps_the_python_signature(void **state) {
    tr_load_options options = text("import triton\n@triton.jit\ndef k(x): pass\n");
    options.signature = "*fp32 : 16";
    tr_program *program;
    assert_int_equal(tr_load_stage(runner, TR_STAGE_AUTO, NULL, &options, &program, NULL), TR_OK);
    assert_int_equal(tr_program_stage(program), TR_STAGE_PYTHON);
    assert_non_null(strstr(tr_program_metadata(program), "[{\"divisibility\":16,\"type\":\"*fp32\"}]"));
    tr_program *at;
    tr_error *error;
    assert_int_equal(tr_program_at(program, TR_STAGE_PYTHON, &at, NULL), TR_OK);
    tr_program_destroy(at);
    assert_int_equal(tr_program_at(program, TR_STAGE_PTX, &at, &error), TR_E_INVALID_ARGUMENT);
    assert_null(at);
    tr_error_destroy(error);
    tr_program_destroy(program);
}

static const char *const bad_environment[] = {"A=1", "=2", NULL};

static void refuses_bad_compiles(void **state) {
    static const struct {
        tr_stage stage;
        tr_compile_options options;
        const char *message;
    } cases[] = {
        {TR_STAGE_TTIR, TR_COMPILE_OPTIONS_INIT, "there is no way back to ttir"},
        {9, TR_COMPILE_OPTIONS_INIT, "9 is no stage"},
        {TR_STAGE_CUBIN, {.struct_size = sizeof(tr_compile_options), .arch = "gfx942"}, "arch is 'gfx942'"},
        {TR_STAGE_CUBIN,
         {.struct_size = sizeof(tr_compile_options), .arch = "sm_80"},
         "lowered for sm_90 already"},
        {TR_STAGE_CUBIN,
         {.struct_size = sizeof(tr_compile_options), .options = "{\"num_warps\": 8}"},
         "option 'num_warps' is baked in: ttgir is where it is read"},
        {TR_STAGE_CUBIN,
         {.struct_size = sizeof(tr_compile_options), .options = "{\"maxnreg\": 8}"},
         "is baked in: llir"},
        {TR_STAGE_CUBIN,
         {.struct_size = sizeof(tr_compile_options), .options = "{\"warps\": 8}"},
         "'warps' is not one"},
        {TR_STAGE_CUBIN,
         {.struct_size = sizeof(tr_compile_options), .options = "{\"enable_fp_fusion\": 1}"},
         "option 'enable_fp_fusion' must be true or false, not 1"},
        {TR_STAGE_CUBIN, {.struct_size = sizeof(tr_compile_options), .options = "[]"}, "must be an object"},
        {TR_STAGE_CUBIN,
         {.struct_size = sizeof(tr_compile_options), .options = "{\"a\""},
         "tr_compile_options.options:1:"},
        {TR_STAGE_CUBIN,
         {.struct_size = sizeof(tr_compile_options), .llvm = "gcc"},
         "tr_compile_options.llvm is 'gcc'"},
        {TR_STAGE_CUBIN, {.struct_size = sizeof(tr_compile_options), .assembler = "as"}, "assembler is 'as'"},
        {TR_STAGE_CUBIN,
         {.struct_size = sizeof(tr_compile_options), .environment = bad_environment},
         "'=2' is not NAME=value"},
    };
    tr_program *program = load(STAGES "vector_add.ptx"), *out;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_error *error = NULL;
        tr_status status = tr_compile_to(program, cases[i].stage, &cases[i].options, &out, &error);
        if (status != TR_E_INVALID_ARGUMENT || !strstr(tr_error_message(error), cases[i].message))
            fail_msg("%s: '%s' lacks '%s'", tr_status_name(status), tr_error_message(error),
                     cases[i].message);
        assert_null(out);
        tr_error_destroy(error);
    }
    assert_int_equal(tr_compile_to(program, TR_STAGE_PTX, NULL, &out, NULL), TR_OK);
    assert_ptr_equal(out, program); /* already there */
    tr_program_destroy(out);
    tr_compile_options launch = TR_COMPILE_OPTIONS_INIT; /* what only a launch reads is never too late */
    launch.options = "{\"launch_pdl\": true}";
    assert_int_equal(tr_compile_to(program, TR_STAGE_PTX, &launch, &out, NULL), TR_OK);
    assert_non_null(strstr(tr_program_metadata(out), "\"launch_pdl\":true"));
    assert_non_null(strstr(tr_program_metadata(program), "\"launch_pdl\":false"));
    tr_program_destroy(out);
    tr_program_destroy(program);
}

/* Each kind of option, right and wrong. A Triton that nobody has is asked for, so that what is right goes no further. */
static void checks_each_option(void **state) {
    static const struct {
        const char *file, *options, *message; /* NULL: it is right */
    } cases[] = {
        {"vector_add.ttgir", "{\"extern_libs\": [[\"a\", \"/a.bc\"], [\"b\", \"/b.bc\"]]}", NULL},
        {"vector_add.ttgir", "{\"extern_libs\": {\"a\": \"/a.bc\"}}", NULL},
        {"vector_add.ttgir", "{\"extern_libs\": []}", NULL},
        {"vector_add.ttgir", "{\"extern_libs\": [[\"a\"]]}", "a list of name and path"},
        {"vector_add.ttgir", "{\"extern_libs\": [[\"a\", 1]]}", "a list of name and path"},
        {"vector_add.ttgir", "{\"extern_libs\": [\"ab\"]}", "a list of name and path"},
        {"vector_add.ttgir", "{\"extern_libs\": \"a\"}", "a list of name and path"},
        {"vector_add.ttir", "{\"cluster_dims\": [1, 2, 1]}", NULL},
        {"vector_add.ttir", "{\"cluster_dims\": [1, 2]}", "three integers"},
        {"vector_add.ttir", "{\"cluster_dims\": [1, 0, 1]}", "three integers"},
        {"vector_add.ttir", "{\"num_warps\": 32}", NULL},
        {"vector_add.ttir", "{\"num_warps\": 3}", "a power of two in its range"},
        {"vector_add.ttir", "{\"num_warps\": 64}", "a power of two in its range"},
        {"vector_add.ttir", "{\"num_warps\": \"4\"}", "a power of two in its range"},
        {"vector_add.ttir", "{\"num_stages\": null}", NULL},
        {"vector_add.ttir", "{\"num_stages\": 65}", "an integer in its range"},
        {"vector_add.ttir", "{\"instrumentation_mode\": 1}", "a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[300];
        tr_error *error = NULL;
        tr_compile_options options = TR_COMPILE_OPTIONS_INIT;
        snprintf(path, sizeof path, STAGES "%s", cases[i].file);
        tr_program *program = load(path), *out;
        options.triton = "0.0.0", options.options = cases[i].options;
        tr_status status = tr_compile_to(program, TR_STAGE_LLIR, &options, &out, &error),
                  wanted = cases[i].message ? TR_E_INVALID_ARGUMENT : TR_E_COMPILER_MISSING;
        const char *words = cases[i].message ? cases[i].message : "Triton 0.0.0 is not here";
        if (status != wanted || !strstr(tr_error_message(error), words))
            fail_msg("%s: %s: '%s' lacks '%s'", cases[i].options, tr_status_name(status),
                     tr_error_message(error), words);
        assert_null(out);
        tr_error_destroy(error);
        tr_program_destroy(program);
    }
}

static void seals(void **state) {
    tr_runner *sealed;
    tr_program *program, *out;
    tr_error *error;
    tr_load_options options = text(".version 8.7\n.target sm_80\n.entry k() { ret; }");
    assert_int_equal(tr_runner_create(NULL, &sealed, NULL), TR_OK);
    assert_int_equal(tr_runner_seal(sealed, NULL), TR_OK);
    assert_int_equal(tr_load_stage(sealed, TR_STAGE_AUTO, STAGES "softmax.ptx", NULL, &program, NULL),
                     TR_E_SEALED);
    assert_int_equal(tr_load_stage(sealed, TR_STAGE_AUTO, NULL, &options, &program, NULL), TR_OK);
    tr_runner_destroy(sealed); /* the program keeps it */
    assert_int_equal(tr_compile_to(program, TR_STAGE_CUBIN, NULL, &out, &error), TR_E_SEALED);
    assert_string_equal(tr_error_message(error),
                        "the runner is sealed, and the cubin of kernel 'k' for sm_80 is not compiled yet");
    tr_error_destroy(error);
    tr_program_destroy(program);
}

static void refuses_bad_runners(void **state) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *out;
    tr_error *error;
    options.device = "gpu";
    assert_int_equal(tr_runner_create(&options, &out, &error), TR_E_INVALID_ARGUMENT);
    assert_null(out);
    assert_non_null(strstr(tr_error_message(error), "'gpu'"));
    tr_error_destroy(error);
    assert_int_equal(tr_runner_create(&options, NULL, NULL), TR_E_INVALID_ARGUMENT);
    assert_int_equal(tr_runner_seal(NULL, NULL), TR_E_INVALID_ARGUMENT);
    tr_runner_destroy(NULL);
    tr_program_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_cache_folder),       cmocka_unit_test(saves_and_loads_alone),
        cmocka_unit_test(chooses_among_kernels),      cmocka_unit_test(prefers_what_the_caller_gives),
        cmocka_unit_test(refuses_what_lies),          cmocka_unit_test(refuses_bad_calls),
        cmocka_unit_test(keeps_the_python_signature), cmocka_unit_test(refuses_bad_compiles),
        cmocka_unit_test(checks_each_option),         cmocka_unit_test(seals),
        cmocka_unit_test(refuses_bad_runners),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
