/* stages/: what each text tells of itself, and line:column of what is malformed. */
#include "base/file.h"
#include "pipeline.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGES TR_SOURCE_DIR "/examples/kernels/stages/"

static tr_status read_text(tr_stage stage, const char *text, tr__record *record, tr_error **error) {
    tr__blob *blob = tr__blob_create(text, strlen(text));
    tr_status status = tr__stage_read(stage, blob, "f", NULL, record, error);
    tr__blob_release(blob);
    return status;
}

static void reads_the_example_kernels(void **state) {
    static const struct {
        const char *name;
        size_t params;
        tr_type last;
    } kernels[] = {{"vector_add", 4, TR_TYPE_I32},
                   {"softmax", 5, TR_TYPE_I32},
                   {"layer_norm", 9, TR_TYPE_F32},
                   {"matmul", 9, TR_TYPE_I32},
                   {"matmul_tma", 6, TR_TYPE_I32}};
    for (int i = 0; i < 5 * 5 * 2; i++) {
        tr_stage stage = TR_STAGE_TTIR + i % 5;
        const char *name = kernels[i / 5 % 5].name, *arch = i / 25 ? "sm_90" : "sm_89";
        char path[4200], json[4200];
        snprintf(path, sizeof path, STAGES "%s/%s.%s", arch, name, tr__stage_name(stage));
        snprintf(json, sizeof json, STAGES "%s/%s.json", arch, name);
        tr__blob *bytes, *metadata;
        assert_int_equal(tr__file_read(path, 1 << 24, &bytes, NULL), TR_OK);
        assert_int_equal(tr__file_read(json, 1 << 24, &metadata, NULL), TR_OK);
        assert_int_equal(tr__stage_of_content(bytes->data, bytes->size), stage);
        assert_int_equal(tr__stage_of_name(path), stage);
        for (int with = 0; with < 2; with++) {
            tr__record *record = tr__record_create();
            tr_error *error = NULL;
            if (with) tr__record_read(record, metadata->data, metadata->size, json, NULL);
            if (tr__stage_read(stage, bytes, path, NULL, record, &error))
                fail_msg("%s", tr_error_message(error));
            assert_string_equal(record->kernel, name);
            assert_int_equal(record->num_warps, 4);
            if (stage >= TR_STAGE_PTX || with) assert_string_equal(record->arch, arch);
            bool tail =
                stage >= TR_STAGE_LLIR && !with; /* without metadata it can't be told from arguments */
            if (stage < TR_STAGE_CUBIN) {
                assert_int_equal(record->param_count, kernels[i / 5 % 5].params + tail);
                if (!tail)
                    assert_int_equal(record->params[record->param_count - 1].type, kernels[i / 5 % 5].last);
                assert_int_equal(record->params[0].type, TR_TYPE_PTR);
                if (stage < TR_STAGE_LLIR) assert_int_equal(record->params[0].divisibility, 16);
            } else {
                assert_false(record->params_known);
                assert_in_range(record->registers, 16, 255);
            }
            tr__record_release(record);
        }
        tr__blob_release(bytes);
        tr__blob_release(metadata);
    }
}

/* A record's parameters against the kernel's own list: what is left over is the hidden tail. */
static void counts_the_hidden_tail(void **state) {
    static const char json[] = "{\"triton_runner\":{\"parameters\":[{\"type\":\"*fp32\"}]}}";
    static const char head[] = ".version 8.7\n.target sm_90a\n.visible .entry k(\n.param .u64 .ptr k_0";
    static const struct {
        const char *more;
        tr_status status;
        uint32_t hidden;
    } cases[] = {{"", TR_OK, 0},
                 {",\n.param .u64 .ptr k_1", TR_OK, 1},
                 {",\n.param .u64 .ptr k_1, .param .u64 k_2", TR_OK, 2},
                 {",\n.param .u32 k_1", TR_E_PARSE, 0},
                 {",\n.param .u64 k_1, .param .u64 k_2, .param .u64 k_3", TR_E_PARSE, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        tr__record *record = tr__record_create();
        tr__record_read(record, json, strlen(json), "r", NULL);
        assert_int_equal(record->param_count, 1);
        snprintf(text, sizeof text, "%s%s)\n{ ret; }\n", head, cases[i].more);
        assert_int_equal(read_text(TR_STAGE_PTX, text, record, NULL), cases[i].status);
        if (!cases[i].status) {
            assert_int_equal(record->hidden_count, cases[i].hidden);
            assert_true(record->hidden_known);
        }
        tr__record_release(record);
    }
}

static void reads_descriptors(void **state) {
    tr__record *record = tr__record_create();
    assert_int_equal(
        read_text(TR_STAGE_TTIR,
                  "module {\n tt.func public @k(%d: !tt.tensordesc<tensor<64x32xf16>>, %d.s: i32, %s1: i32, "
                  "%t0: i64, %t1: i64, %n: i8) {\n tt.return\n }\n}\n",
                  record, NULL),
        TR_OK);
    assert_int_equal(record->param_count, 2);
    assert_int_equal(record->params[0].type, TR_TYPE_TENSOR_MAP);
    assert_int_equal(record->params[0].descriptor.rank, 2);
    assert_int_equal(record->params[0].descriptor.block[1], 32);
    assert_string_equal(record->params[1].name, "n");
    tr__record_release(record);

    /* A text without metadata does not tell of what a tensor map is; the record that is kept can be read again. */
    record = tr__record_create();
    assert_int_equal(
        read_text(TR_STAGE_LLIR,
                  "define ptx_kernel void @k(ptr byval([128 x i8]) align 64 %0, i32 %1) { ret void }\n",
                  record, NULL),
        TR_OK);
    char *written = NULL;
    tr__record *again = tr__record_create();
    assert_int_equal(tr__record_write(record, &written, NULL), TR_OK);
    assert_int_equal(tr__record_read(again, written, strlen(written), "written", NULL), TR_OK);
    assert_int_equal(again->param_count, 2);
    assert_int_equal(again->params[0].type, TR_TYPE_TENSOR_MAP);
    assert_int_equal(again->params[0].descriptor.rank, 0);
    free(written);
    tr__record_release(again);
    tr__record_release(record);

    /* Below sm_90 a descriptor is a pointer with shape and strides; how many flags are among them, the text tells. */
    static const char json[] = "{\"triton_runner\":{\"parameters\":[{\"type\":\"tensordesc<fp16[64]>\"}]}}";
    record = tr__record_create();
    tr__record_read(record, json, strlen(json), "r", NULL);
    assert_int_equal(
        read_text(TR_STAGE_LLIR,
                  "define ptx_kernel void @k(ptr addrspace(1) %0, i64 %1, i64 %2, i1 %3, i32 %4, i64 %5, "
                  "ptr addrspace(1) %6, ptr addrspace(1) %7) #0 { ret void }\n"
                  "attributes #0 = { \"nvvm.reqntid\"=\"256\" \"nvvm.cluster_dim\"=\"2\" }\n",
                  record, NULL),
        TR_OK);
    assert_false(record->params[0].descriptor.encoded);
    assert_int_equal(record->params[0].descriptor.flags, 1);
    assert_int_equal(record->hidden_count, 2);
    assert_int_equal(record->num_warps, 8);
    assert_int_equal(record->num_ctas, 2);
    tr__record_release(record);
}

#define FUNC "tt.func public @k(%x: !tt.ptr<f32>) { tt.return }"
#define GPU  "module attributes {\"ttg.num-warps\" = 4 : i32, ttg.target = \"cuda:90\"} { " FUNC " }"
#define HEAD ".version 8.7\n.target sm_90a\n"

static const struct bad {
    tr_stage stage;
    const char *text, *message;
    tr_status status;
} bad[] = {
    {TR_STAGE_TTIR, "module {\n  " FUNC "\n", "f:3:1: the text ends, but the '{' of 1:8 is still open",
     TR_E_PARSE},
    {TR_STAGE_TTIR, "module {\n  " FUNC " )\n}", "f:2:53: ')' does not close the '{' of 1:8", TR_E_PARSE},
    {TR_STAGE_TTIR, "}", "f:1:1: '}' closes nothing", TR_E_PARSE},
    {TR_STAGE_TTIR, "module {}", "f:1:1: there is no kernel in it, that is, no public tt.func", TR_E_PARSE},
    {TR_STAGE_TTIR, "tt.func private @k() { }", "there is no kernel in it", TR_E_PARSE},
    {TR_STAGE_TTIR, "tt.func public @k(%x: tensor<4xf32>) { }", "f:1:23: 'tensor<4xf32>' is no type",
     TR_E_PARSE},
    {TR_STAGE_TTIR, "tt.func public @k(%x: !tt.ptr<f32> {tt.divisibility = 3 : i32}) { }",
     "f:1:55: tt.divisibility must be a power of two", TR_E_PARSE},
    {TR_STAGE_TTIR, "tt.func public @k(x: i32) { }", "f:1:19: expected '%', found 'x'", TR_E_PARSE},
    {TR_STAGE_TTIR, "tt.func public k() { }", "f:1:16: expected '@'", TR_E_PARSE},
    {TR_STAGE_TTIR, "tt.func public @k() { \"abc\n }", "f:1:23: the string does not end in its line",
     TR_E_PARSE},
    {TR_STAGE_TTIR, "tt.func public @k() { \x01 }", "f:1:23: byte 0x01 does not belong", TR_E_PARSE},
    {TR_STAGE_TTIR, FUNC "\ntt.func public @l() { }", "f: 2 kernels; say which", TR_E_INVALID_ARGUMENT},
    {TR_STAGE_TTIR, GPU, "this is ttgir, not ttir", TR_E_PARSE},
    {TR_STAGE_TTGIR, FUNC, "this is ttir, not ttgir", TR_E_PARSE},
    {TR_STAGE_TTGIR, "module attributes {\"ttg.num-warps\" = 4 : i32} { " FUNC " }",
     "f:1:1: the module has no ttg.target", TR_E_PARSE},
    {TR_STAGE_TTGIR, "module attributes {ttg.target = \"cuda:90\"} { " FUNC " }",
     "f:1:1: the module has no ttg.num-warps", TR_E_PARSE},
    {TR_STAGE_TTGIR,
     "module attributes {\"ttg.num-warps\" = 4 : i32, ttg.target = \"hip:gfx942\"} { " FUNC " }",
     "f:1:61: ttg.target must be", TR_E_PARSE},
    {TR_STAGE_TTGIR,
     "module attributes {\"ttg.num-warps\" = 99 : i32, ttg.target = \"cuda:90\"} { " FUNC " }",
     "f:1:38: 'num-warps' must be a number from 1 to 32", TR_E_PARSE},
    {TR_STAGE_LLIR, "define void @k() { ret void }", "no function of calling convention ptx_kernel",
     TR_E_PARSE},
    {TR_STAGE_LLIR, "define ptx_kernel void @k(<4 x i32> %0) { ret void }",
     "f:1:27: no type that a kernel's argument", TR_E_PARSE},
    {TR_STAGE_LLIR, "define ptx_kernel void @k(i32 %0) { ret void",
     "f:1:45: the text ends, but the '{' of 1:35", TR_E_PARSE},
    {TR_STAGE_LLIR,
     "define ptx_kernel void @k(i32 %0) #0 { ret void }\nattributes #0 = { \"nvvm.reqntid\"=\"2048\" }",
     "kernel 'k' wants 2048 threads in a CTA", TR_E_RESOURCE},
    {TR_STAGE_PTX, ".target sm_90\n.entry k() { ret; }", "f:1:1: PTX without a .version directive",
     TR_E_PARSE},
    {TR_STAGE_PTX, ".version 8.7\n.entry k() { ret; }", "f:1:1: PTX without a .target directive", TR_E_PARSE},
    {TR_STAGE_PTX, ".version x\n", "f:1:10: expected a version", TR_E_PARSE},
    {TR_STAGE_PTX, ".version 8.7\n.target gfx942\n", "f:2:9: expected an architecture like sm_90",
     TR_E_PARSE},
    {TR_STAGE_PTX, HEAD ".address_size 32\n", "f:3:15: only 64-bit PTX", TR_E_UNSUPPORTED},
    {TR_STAGE_PTX, HEAD, "there is no kernel in it, that is, no .entry", TR_E_PARSE},
    {TR_STAGE_PTX, HEAD ".entry k(.param k_0) { ret; }", "f:3:17: expected a parameter's type and name",
     TR_E_PARSE},
    {TR_STAGE_PTX, HEAD ".entry k(.param .b8 k_0[99999]) { ret; }", "f:3:25: expected a parameter's size",
     TR_E_PARSE},
    {TR_STAGE_PTX, HEAD ".entry k() .reqntid 2048 { ret; }", "f:3:12: 2048 threads in a CTA", TR_E_RESOURCE},
    {TR_STAGE_PTX, HEAD ".entry k() .reqntid 48, 1, 1 { ret; }", "only whole warps", TR_E_UNSUPPORTED},
    {TR_STAGE_PTX, HEAD ".entry k() .reqntid 256 .reqntid 128 { ret; }", "a second .reqntid", TR_E_PARSE},
    {TR_STAGE_PTX, HEAD ".entry k() .reqnctapercluster 32 { ret; }", "no GPU has more than 16",
     TR_E_RESOURCE},
    {TR_STAGE_PTX, HEAD ".entry k() { ret; /* ", "f:3:19: the comment does not end", TR_E_PARSE},
    {TR_STAGE_CUBIN, "\177ELF", "f: 4 bytes are less than an ELF header", TR_E_PARSE},
    {TR_STAGE_CUBIN, "text", "f: not an ELF image", TR_E_PARSE},
    {TR_STAGE_PYTHON, "import triton\n", "no function decorated with @triton.jit", TR_E_PARSE},
    {TR_STAGE_PYTHON, "@triton.jit\ndef a(): pass\n@triton.jit\ndef b(): pass\n", "f: 2 kernels",
     TR_E_INVALID_ARGUMENT},
};

static void says_what_is_wrong(void **state) {
    int failed = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tr__record *record = tr__record_create();
        tr_error *error = NULL;
        tr_status status = read_text(bad[i].stage, bad[i].text, record, &error);
        if (status != bad[i].status || !strstr(tr_error_message(error), bad[i].message))
            print_error("case %zu: %s: '%s' lacks '%s'\n", i, tr_status_name(status), tr_error_message(error),
                        bad[i].message),
                failed++;
        tr_error_destroy(error);
        tr__record_release(record);
    }
    assert_int_equal(failed, 0);
}

static void refuses_deep_nesting_and_noise(void **state) {
    enum { DEEP = 100000 };
    char *text = malloc(DEEP + 1);
    for (tr_stage stage = TR_STAGE_TTIR; stage <= TR_STAGE_PTX; stage++) {
        memset(text, '(', DEEP);
        text[DEEP] = 0;
        tr_error *error = NULL;
        tr__record *record = tr__record_create();
        assert_int_equal(read_text(stage, text, record, &error), TR_E_PARSE);
        assert_string_equal(tr_error_message(error), "f:1:201: brackets nested deeper than 200");
        tr_error_destroy(error);
        for (uint32_t i = 0, word = 1; i < DEEP; i++)
            text[i] = (char)((word = word * 1664525 + 1013904223) >> 24 | 1);
        assert_true(read_text(stage, text, record, NULL) != TR_OK);
        tr__record_release(record);
    }
    free(text);
}

/* Whatever is cut off or flipped, the readers stay inside; the sanitizers look. */
static void survives_damage(void **state) {
    static const char *const names[] = {"vector_add.ttir", "vector_add.ttgir", "vector_add.llir",
                                        "vector_add.ptx", "vector_add.cubin"};
    for (int i = 0; i < 5; i++) {
        char path[4200];
        tr__blob *bytes;
        snprintf(path, sizeof path, STAGES "sm_90/%s", names[i]);
        assert_int_equal(tr__file_read(path, 1 << 24, &bytes, NULL), TR_OK);
        for (uint32_t n = 0, word = 7; n < 2000; n++) {
            word = word * 1664525 + 1013904223;
            size_t size = n % 2 ? bytes->size : word % bytes->size;
            tr__blob *damaged = tr__blob_create(bytes->data, size);
            if (n % 2) damaged->data[word % size] ^= (char)(1 << (word >> 29));
            tr__record *record = tr__record_create();
            tr__stage_read(TR_STAGE_TTIR + i, damaged, "f", NULL, record, NULL);
            tr__stage_of_content(damaged->data, size);
            tr__record_release(record);
            tr__blob_release(damaged);
        }
        tr__blob_release(bytes);
    }
}

static void finds_kernels_in_python(void **state) {
    tr__record *record = tr__record_create();
    assert_int_equal(
        read_text(TR_STAGE_PYTHON,
                  "import torch\nimport triton\n@triton.autotune(\n  configs=[])\n@triton.jit(do_not=1)\n"
                  "def scale(x, n: tl.constexpr):\n  pass\ndef host(): pass\n",
                  record, NULL),
        TR_OK);
    assert_string_equal(record->kernel, "scale");
    tr__record_release(record);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_example_kernels),
        cmocka_unit_test(counts_the_hidden_tail),
        cmocka_unit_test(reads_descriptors),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(refuses_deep_nesting_and_noise),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(finds_kernels_in_python),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
