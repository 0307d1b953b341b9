/* What the CPU device counts of a launch, against numbers worked out by hand. */
#include "cpu_driver.h"

#include <jansson.h>

size_t trcpu_counters(char *json, size_t size);

/* Each of 64 threads loads a float 128 bytes from its neighbour's, stores it to shared memory 8 bytes from
   its neighbour's, reads it back, and the first 40 threads store it side by side. */
static const char PTX[] = ".version 8.4\n"
                          ".target sm_80\n"
                          ".address_size 64\n"
                          ".visible .entry counted(.param .u64 in, .param .u64 out)\n"
                          "{\n"
                          "    .reg .pred %p<2>; .reg .b32 %r<6>; .reg .b64 %rd<7>;\n"
                          "    .shared .align 8 .b8 tile[512];\n"
                          "    .loc 1 3 0\n"
                          "    ld.param.u64 %rd1, [in];\n"
                          "    ld.param.u64 %rd2, [out];\n"
                          "    mov.u32 %r1, %tid.x;\n"
                          "    mul.wide.u32 %rd3, %r1, 128;\n"
                          "    add.s64 %rd4, %rd1, %rd3;\n"
                          "    .loc 1 4 0\n"
                          "    ld.global.b32 %r2, [%rd4];\n"
                          "    shl.b32 %r3, %r1, 3;\n"
                          "    mov.u32 %r4, tile;\n"
                          "    add.s32 %r4, %r4, %r3;\n"
                          "    st.shared.b32 [%r4], %r2;\n"
                          "    ld.shared.b32 %r5, [%r4];\n"
                          "    setp.lt.u32 %p1, %r1, 40;\n"
                          "    mul.wide.u32 %rd5, %r1, 4;\n"
                          "    add.s64 %rd6, %rd2, %rd5;\n"
                          "    .loc 1 9 0\n"
                          "    @%p1 st.global.b32 [%rd6], %r5;\n"
                          "    ret;\n"
                          "}\n"
                          ".file 1 \"/src/counted.py\"\n";

static json_int_t number(const json_t *of, const char *outer, const char *inner) {
    const json_t *value = json_object_get(of, outer);
    value = inner ? json_object_get(value, inner) : value;
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static json_t *told(void) {
    size_t size = trcpu_counters(NULL, 0);
    char *text = malloc(size + 1);
    assert_int_equal(trcpu_counters(text, size + 1), size);
    json_t *out = json_loads(text, 0, NULL);
    free(text);
    assert_non_null(out);
    return out;
}

static void counts_what_a_launch_does(void **state) {
    CUmodule module;
    CUfunction function;
    CUdeviceptr in = allocate_zeros(64 * 128), out = allocate_zeros(64 * 4);
    void *params[] = {&in, &out};
    OK(cuModuleLoadData(&module, PTX));
    OK(cuModuleGetFunction(&function, module, "counted"));
    OK(cuLaunchKernel(function, 3, 1, 1, 64, 1, 1, 0, NULL, params, NULL));
    OK(cuCtxSynchronize());
    json_t *all = told(), *launch = json_array_get(json_object_get(all, "launches"), 0);
    assert_int_equal(number(all, "launch_count", NULL), 1);
    assert_string_equal(json_string_value(json_object_get(launch, "kernel")), "counted");
    /* 3 CTAs of 2 warps; 16 instructions each. */
    assert_int_equal(number(launch, "warp_instructions", NULL), 3 * 2 * 16);
    assert_int_equal(number(launch, "thread_instructions", NULL), 3 * (64 * 15 + 40));
    assert_int_equal(number(launch, "divergent", NULL), 0);
    assert_int_equal(number(launch, "predicated_off", NULL), 0);
    assert_int_equal(number(launch, "bytes", "global_read"), 3 * 64 * 4);
    assert_int_equal(number(launch, "bytes", "global_written"), 3 * 40 * 4);
    assert_int_equal(number(launch, "bytes", "shared_read"), 3 * 64 * 4);
    assert_int_equal(number(launch, "bytes", "shared_written"), 3 * 64 * 4);
    /* Loads: 32 sectors a warp. Stores: 4 of the first warp, 1 of the second's 8 lanes. */
    assert_int_equal(number(launch, "global", "requests"), 3 * 4);
    assert_int_equal(number(launch, "global", "sectors"), 3 * (32 + 32 + 4 + 1));
    /* Every second word: two passes each. */
    assert_int_equal(number(launch, "shared", "requests"), 3 * 4);
    assert_int_equal(number(launch, "shared", "passes"), 3 * 8);
    assert_int_equal(number(launch, "shared", "conflicts"), 3 * 4);
    assert_int_equal(number(launch, "families", "st.shared"), 6);
    assert_int_equal(number(launch, "families", "add"), 3 * 6);
    const json_t *lines = json_object_get(launch, "lines"), *last = json_array_get(lines, 2);
    assert_int_equal(json_array_size(lines), 3);
    assert_string_equal(json_string_value(json_object_get(last, "file")), "/src/counted.py");
    assert_int_equal(number(last, "line", NULL), 9);
    assert_int_equal(number(last, "global", "sectors"), 3 * 5);
    json_decref(all);
    OK(cuModuleUnload(module));
    OK(cuMemFree_v2(in));
    OK(cuMemFree_v2(out));
}

/* One warp: what a transposing kernel does to shared memory, an atomic for all, a cp.async, and two ldmatrix. */
static const char MORE[] = ".version 8.4\n"
                           ".target sm_80\n"
                           ".address_size 64\n"
                           ".visible .entry more(.param .u64 in, .param .u64 out)\n"
                           "{\n"
                           "    .reg .pred %p<2>; .reg .b32 %r<16>; .reg .b64 %rd<7>;\n"
                           "    .shared .align 16 .b8 tile[8192];\n"
                           "    .loc 1 1 0\n"
                           "    ld.param.u64 %rd1, [in];\n"
                           "    ld.param.u64 %rd2, [out];\n"
                           "    mov.u32 %r1, %tid.x;\n"
                           "    mov.u32 %r2, tile;\n"
                           "    mad.lo.u32 %r3, %r1, 128, %r2;\n" /* a column of a tile of 32 words */
                           "    mad.lo.u32 %r4, %r1, 132, %r2;\n" /* the same, padded */
                           "    mad.lo.u32 %r5, %r1, 16, %r2;\n"
                           "    mul.wide.u32 %rd3, %r1, 16;\n"
                           "    add.s64 %rd4, %rd1, %rd3;\n"
                           "    .loc 1 11 0\n"
                           "    st.shared.b32 [%r3], %r1;\n"
                           "    .loc 1 12 0\n"
                           "    st.shared.b32 [%r4], %r1;\n"
                           "    .loc 1 13 0\n"
                           "    atom.global.add.u32 %r6, [%rd2], %r1;\n"
                           "    .loc 1 14 0\n"
                           "    setp.lt.u32 %p1, %r1, 24;\n"
                           "    selp.b32 %r7, 16, 0, %p1;\n" /* the last eight read nothing */
                           "    bar.sync 0;\n"
                           "    .loc 1 15 0\n"
                           "    cp.async.cg.shared.global [%r5], [%rd4], 16, %r7;\n"
                           "    .loc 1 16 0\n"
                           "    cp.async.commit_group;\n"
                           "    cp.async.wait_group 0;\n"
                           "    bar.sync 0;\n"
                           "    .loc 1 17 0\n"
                           "    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r8, %r9, %r10, %r11}, [%r5];\n"
                           "    .loc 1 18 0\n"
                           "    ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r12}, [%r3];\n"
                           "    ret;\n"
                           "}\n"
                           ".file 1 \"/src/more.py\"\n";

static const json_t *line_of(const json_t *launch, int line) {
    size_t index;
    const json_t *found = NULL, *at;
    json_array_foreach(json_object_get(launch, "lines"), index, at) if (number(at, "line", NULL) == line)
        found = at;
    assert_non_null(found);
    return found;
}

static void counts_conflicts_copies_and_atomics(void **state) {
    CUmodule module;
    CUfunction function;
    CUdeviceptr in = allocate_zeros(512), out = allocate_zeros(4);
    void *params[] = {&in, &out};
    OK(cuModuleLoadData(&module, MORE));
    OK(cuModuleGetFunction(&function, module, "more"));
    OK(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, NULL, params, NULL));
    OK(cuCtxSynchronize());
    json_t *all = told();
    const json_t *launches = json_object_get(all, "launches"),
                 *launch = json_array_get(launches, json_array_size(launches) - 1);
    /* 32 lanes, one bank: 32 passes where one would do. With a word of padding a row it is one. */
    assert_int_equal(number(line_of(launch, 11), "shared", "passes"), 32);
    assert_int_equal(number(line_of(launch, 11), "shared", "conflicts"), 31);
    assert_int_equal(number(line_of(launch, 12), "shared", "passes"), 1);
    assert_int_equal(number(line_of(launch, 12), "shared", "conflicts"), 0);
    /* All lanes add to one word: a sector, read and written. */
    assert_int_equal(number(line_of(launch, 13), "global", "sectors"), 1);
    assert_int_equal(number(line_of(launch, 13), "bytes", "global_read"), 32 * 4);
    assert_int_equal(number(line_of(launch, 13), "bytes", "global_written"), 32 * 4);
    /* 24 lanes read 16 bytes side by side: 12 sectors. All write them: eight lanes a pass. */
    const json_t *copy = line_of(launch, 15);
    assert_int_equal(number(copy, "bytes", "global_read"), 24 * 16);
    assert_int_equal(number(copy, "global", "sectors"), 12);
    assert_int_equal(number(copy, "bytes", "shared_written"), 32 * 16);
    assert_int_equal(number(copy, "shared", "passes"), 4);
    assert_int_equal(number(copy, "shared", "conflicts"), 0);
    /* Four matrices of rows side by side; then one whose eight rows begin at the same bank. */
    assert_int_equal(number(line_of(launch, 17), "bytes", "shared_read"), 512);
    assert_int_equal(number(line_of(launch, 17), "shared", "passes"), 4);
    assert_int_equal(number(line_of(launch, 17), "shared", "conflicts"), 0);
    assert_int_equal(number(line_of(launch, 18), "bytes", "shared_read"), 128);
    assert_int_equal(number(line_of(launch, 18), "shared", "passes"), 8);
    assert_int_equal(number(line_of(launch, 18), "shared", "conflicts"), 7);
    json_decref(all);
    OK(cuModuleUnload(module));
    OK(cuMemFree_v2(in));
    OK(cuMemFree_v2(out));
}

static int start_counting(void **state) {
    setenv("TRITON_RUNNER_CPU_COUNTERS", "1", 1);
    setenv("TRITON_RUNNER_CPU_CHECKS", "none", 1); /* the last ldmatrix reads words that nobody set */
    return start_driver(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_what_a_launch_does),
                                       cmocka_unit_test(counts_conflicts_copies_and_atomics)};
    return cmocka_run_group_tests(tests, start_counting, stop_driver);
}
