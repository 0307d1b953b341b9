/* Launching on the no-op driver: what reaches cuLaunchKernelEx, and that nothing else is called. */
#include "launch_fixture.h"
#include "stub.h"

static void test_arguments(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "add", "*fp32:16, *fp32:16, i32, fp16, i1, fp64", NULL);
    struct {
        uint64_t a, b;
        int32_t n;
        uint16_t half;
        uint8_t flag;
        double d;
        uint64_t hidden[2];
    } expected = {0x100, 0x200, -7, 0x3c00, 1, 2.5, {0, 0}};
    tr_arg args[] = {tr_arg_ptr(0x100),          tr_arg_ptr(0x200),         tr_arg_i32(-7),
                     {TR_TYPE_F16, 0, {.f = 1}}, {TR_TYPE_I1, 0, {.i = 1}}, {TR_TYPE_F64, 0, {.f = 2.5}}};
    tr_launch_config config = grid(3, 4, 5);
    tr_error *error;
    ok(tr_launch(kernel, &config, args, 6, &error), error);
    const stub_launch *launch = stub_last_launch();
    assert_string_equal(launch->name, "add");
    assert_int_equal(launch->buffer_size, sizeof expected);
    const char *at = (const char *)launch->buffer;
    assert_memory_equal(at, &expected, 23);
    assert_memory_equal(at + offsetof(
                                 struct {
                                     char c[24];
                                     double d;
                                 },
                                 d),
                        &expected.d, 24);
    assert_true(launch->grid[0] == 3 && launch->grid[1] == 4 && launch->grid[2] == 5);
    assert_true(launch->block[0] == 128 && launch->block[1] == 1 && launch->block[2] == 1);
    assert_true(launch->shared == 0 && launch->attribute_count == 0 && !launch->stream);

    char packed[256];
    int64_t size;
    assert_int_equal(tr_kernel_attribute(kernel, TR_ATTRIBUTE_PACKED_SIZE, &size, NULL), TR_OK);
    assert_int_equal(size, sizeof expected);
    ok(tr_kernel_pack(kernel, args, 6, packed, sizeof packed, &error), error);
    stub_record(true);
    config.stream = CU_STREAM_PER_THREAD;
    ok(tr_launch_packed(kernel, &config, packed, (size_t)size, &error), error);
    assert_memory_equal(launch->buffer, packed, (size_t)size);
    assert_ptr_equal(launch->stream, CU_STREAM_PER_THREAD);
    tr_kernel_destroy(kernel);
    end(f);
}

static void test_configs(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "nop", "", NULL);
    const stub_launch *launch = stub_last_launch();
    tr_error *error;
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    assert_true(launch->grid[0] == 1 && launch->grid[1] == 1 && launch->grid[2] == 1);
    struct {
        tr_launch_config config;
        uint64_t later[2];
    } newer = {TR_LAUNCH_CONFIG_INIT, {0, 0}};
    newer.config.struct_size = sizeof newer;
    newer.config.grid[1] = 7;
    ok(tr_launch(kernel, &newer.config, NULL, 0, &error), error);
    assert_int_equal(launch->grid[1], 7);
    tr_launch_config zero = {0};
    ok(tr_launch(kernel, &zero, NULL, 0, &error), error);
    assert_int_equal(launch->grid[1], 1);

    unsigned long launches = stub_calls("cuLaunchKernelEx");
    for (int i = 0; i < 3; i++) {
        tr_launch_config empty = grid(5, 5, 5);
        empty.grid[i] = 0;
        ok(tr_launch(kernel, &empty, NULL, 0, &error), error);
    }
    assert_int_equal(stub_calls("cuLaunchKernelEx"), launches); /* an empty grid: no launch, no error */
    tr_kernel_destroy(kernel);
    end(f);
}

static void test_many_arguments(void **state) {
    fixture *f = *state;
    enum { COUNT = 500 };
    char *signature = calloc(COUNT, 5);
    tr_arg args[COUNT];
    for (int i = 0; i < COUNT; i++) {
        strcat(signature, i ? ",i64" : "i64");
        args[i] = tr_arg_i64(i * 3);
    }
    tr_kernel *kernel = make_kernel(f->runner, "many", signature, NULL);
    tr_error *error;
    ok(tr_launch(kernel, NULL, args, COUNT, &error), error);
    for (int i = 0; i < COUNT; i++) {
        int64_t value;
        memcpy(&value, stub_last_launch()->buffer + 8 * i, 8);
        assert_int_equal(value, i * 3);
    }
    char packed[COUNT * 8 + 16];
    ok(tr_kernel_pack(kernel, args, COUNT, packed, sizeof packed, &error), error);
    ok(tr_launch_packed(kernel, NULL, packed, sizeof packed, &error), error);
    assert_memory_equal(stub_last_launch()->buffer, packed, sizeof packed);
    tr_kernel_destroy(kernel);
    free(signature);
    end(f);
}

/* ---- attributes ---- */

static void as_cluster_of_old(tr__record *record) { /* ≤ 3.5 */
    record->num_ctas = 4;
    record->cluster[0] = 2, record->cluster[1] = 2, record->cluster[2] = 1;
}

static void as_cluster_of_16(tr__record *record) { /* ≥ 3.6 */
    record->num_ctas = 16;
    record->programmatic = true;
    record->shared = 200 << 10;
}

static void as_cooperative(tr__record *record) {
    record->cooperative = true;
    record->num_warps = 8;
}

static const CUlaunchAttributeValue *attribute(CUlaunchAttributeID id) {
    const stub_launch *launch = stub_last_launch();
    for (unsigned i = 0; i < launch->attribute_count; i++)
        if (launch->attributes[i].id == id) return &launch->attributes[i].value;
    return NULL;
}

static void test_attributes(void **state) {
    fixture *f = *state;
    tr_launch_config config = grid(3, 5, 7);
    tr_error *error;
    const stub_launch *launch = stub_last_launch();
    tr_kernel *kernel = make_kernel(f->runner, "old", "", as_cluster_of_old);
    ok(tr_launch(kernel, &config, NULL, 0, &error), error);
    assert_true(launch->grid[0] == 6 && launch->grid[1] == 10 && launch->grid[2] == 7);
    const CUlaunchAttributeValue *value = attribute(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
    assert_true(value && value->clusterDim.x == 2 && value->clusterDim.y == 2 && value->clusterDim.z == 1);
    value = attribute(CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE);
    assert_true(value && value->clusterSchedulingPolicyPreference == CU_CLUSTER_SCHEDULING_POLICY_SPREAD);
    assert_int_equal(launch->attribute_count, 2);
    tr_kernel_destroy(kernel);

    kernel = make_kernel(f->runner, "large", "", as_cluster_of_16);
    ok(tr_launch(kernel, &config, NULL, 0, &error), error);
    assert_true(launch->grid[0] == 48 && launch->grid[1] == 5 && launch->grid[2] == 7);
    value = attribute(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
    assert_true(value && value->clusterDim.x == 16 && value->clusterDim.y == 1);
    value = attribute(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
    assert_true(value && value->programmaticStreamSerializationAllowed == 1);
    assert_int_equal(launch->shared, 200 << 10);
    void *function;
    int set = 0;
    assert_int_equal(tr_kernel_function(kernel, &function, NULL), TR_OK);
    assert_int_equal(cuFuncGetAttribute(&set, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, function),
                     0);
    assert_int_equal(set, 1);
    assert_int_equal(cuFuncGetAttribute(&set, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, function), 0);
    assert_int_equal(set, 232448);
    tr_kernel_destroy(kernel);

    kernel = make_kernel(f->runner, "together", "", as_cooperative);
    config = grid(8 * 132, 1, 1);
    ok(tr_launch(kernel, &config, NULL, 0, &error), error);
    assert_int_equal(attribute(CU_LAUNCH_ATTRIBUTE_COOPERATIVE)->cooperative, 1);
    assert_int_equal(launch->block[0], 256);
    config.grid[1] = 2;
    assert_int_equal(tr_launch(kernel, &config, NULL, 0, &error), TR_E_RESOURCE);
    assert_non_null(strstr(tr_error_message(error), "2112 were asked for, 1056 fit"));
    tr_error_destroy(error);
    tr_kernel_destroy(kernel);
    end(f);
}

static void as_programmatic(tr__record *record) {
    record->programmatic = true;
    record->global_scratch = (tr__scratch){64, 16};
}

/* What the caller overrides for one launch, and not for the next. */
static void test_overrides(void **state) {
    fixture *f = *state;
    tr_error *error;
    const stub_launch *launch = stub_last_launch();
    tr_kernel *kernel = make_kernel(f->runner, "plain", "i32", NULL);
    tr_kernel *eager = make_kernel(f->runner, "eager", "i32", as_programmatic);
    tr_launch_config config = grid(1, 1, 1);
    tr_arg arg = tr_arg_i32(1);
    config.flags = TR_LAUNCH_PRIORITY | TR_LAUNCH_CARVEOUT | TR_LAUNCH_OVERLAP;
    config.priority = -3, config.carveout = 40;
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_int_equal(launch->attribute_count, 3);
    assert_int_equal(attribute(CU_LAUNCH_ATTRIBUTE_PRIORITY)->priority, -3);
    assert_int_equal(attribute(CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)->sharedMemCarveout, 40);
    assert_non_null(attribute(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION));
    config.flags = 0;
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_int_equal(launch->attribute_count, 0);

    /* Scratch is shared by the launches of a stream, but not by launches that overlap. */
    unsigned long temporary = stub_calls("cuMemAllocAsync");
    ok(tr_launch(eager, &config, &arg, 1, &error), error);
    assert_int_equal(launch->attribute_count, 1);
    assert_int_equal(stub_calls("cuMemAllocAsync"), temporary + 1);
    assert_int_equal(stub_calls("cuMemFreeAsync"), stub_calls("cuMemAllocAsync"));
    config.flags = TR_LAUNCH_NO_OVERLAP;
    ok(tr_launch(eager, &config, &arg, 1, &error), error);
    assert_int_equal(launch->attribute_count, 0);
    assert_int_equal(stub_calls("cuMemAllocAsync"), temporary + 1);

    tr_kernel *pointing = make_kernel(f->runner, "pointing", "*fp32, *fp32", NULL);
    uint64_t ptr;
    ok(tr_device_alloc(f->runner, 64, &ptr, &error), error);
    config.flags = TR_LAUNCH_CHECK_POINTERS;
    const tr_arg good[] = {tr_arg_ptr(ptr), tr_arg_ptr(0)}, bad[] = {tr_arg_ptr(ptr), tr_arg_ptr(0x1234)};
    ok(tr_launch(pointing, &config, good, 2, &error), error);
    assert_int_equal(tr_launch(pointing, &config, bad, 2, &error), TR_E_SIGNATURE);
    assert_string_equal(tr_error_message(error),
                        "argument 1 of 'pointing': pointer 0x1234 is no address that the "
                        "driver knows: the host's, freed, or never allocated");
    tr_error_destroy(error);
    ok(tr_device_free(f->runner, ptr, &error), error);
    tr_kernel_destroy(pointing);
    tr_kernel_destroy(eager);
    tr_kernel_destroy(kernel);
    end(f);
}

static void test_questions(void **state) {
    fixture *f = *state;
    stub_set_function_attribute(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, 100);
    stub_set_function_attribute(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, 64);
    stub_set_function_attribute(CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES, 12);
    tr_kernel *kernel = make_kernel(f->runner, "asked", "*fp16:16, i32:1, i32:16", as_cooperative);
    static const struct {
        tr_attribute attribute;
        int64_t value;
    } expected[] = {
        {TR_ATTRIBUTE_NUM_WARPS, 8},    {TR_ATTRIBUTE_NUM_CTAS, 1},       {TR_ATTRIBUTE_SHARED, 100},
        {TR_ATTRIBUTE_REGISTERS, 32},   {TR_ATTRIBUTE_SPILLS, 16},        {TR_ATTRIBUTE_LOCAL, 64},
        {TR_ATTRIBUTE_CONSTANT, 12},    {TR_ATTRIBUTE_MAX_THREADS, 1024}, {TR_ATTRIBUTE_BLOCKS_PER_SM, 8},
        {TR_ATTRIBUTE_PACKED_SIZE, 32},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        int64_t value = -1;
        assert_int_equal(tr_kernel_attribute(kernel, expected[i].attribute, &value, NULL), TR_OK);
        assert_int_equal(value, expected[i].value);
    }
    assert_int_equal(tr_kernel_param_count(kernel), 3);
    tr_param_info info = TR_PARAM_INFO_INIT;
    assert_int_equal(tr_kernel_param(kernel, 0, &info), TR_OK);
    assert_true(info.type == TR_TYPE_PTR && info.element == TR_TYPE_F16 && info.divisibility == 16 &&
                info.size == 8);
    assert_int_equal(tr_kernel_param(kernel, 1, &info), TR_OK);
    assert_true(info.flags == TR_PARAM_FOLDED && info.constant == 1 && info.size == 0);
    assert_int_equal(tr_kernel_param(kernel, 2, &info), TR_OK);
    assert_true(info.offset == 8 && info.size == 4 && info.alignment == 4 && info.divisibility == 16 &&
                !info.flags);
    struct {
        tr_param_info info;
        uint64_t later;
    } newer = {TR_PARAM_INFO_INIT, 77};
    newer.info.struct_size = sizeof newer;
    assert_int_equal(tr_kernel_param(kernel, 2, &newer.info), TR_OK);
    assert_true(newer.later == 0 && newer.info.offset == 8);
    tr_kernel_destroy(kernel);
    end(f);
}

/* A launch costs the driver's calls and no other: no allocation, no lookup of anything. The default stream, which cannot
   be captured, is not asked. */
static void test_calls(void **state) {
    fixture *f = *state;
    CUcontext context;
    CUstream stream;
    tr_error *error;
    tr_kernel *kernel = make_kernel(f->runner, "hot", "i32", NULL);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_arg arg = tr_arg_i32(1);
    assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    stub_record(true);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_string_equal(stub_recorded(), "cuCtxGetId cuLaunchKernelEx");
    stub_record(false);
    assert_int_equal(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), 0);
    config.stream = stream;
    stub_record(true);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_string_equal(stub_recorded(), "cuCtxGetId cuStreamIsCapturing cuLaunchKernelEx");
    assert_int_equal(cuStreamDestroy_v2(stream), 0);
    /* Without a context nobody asks for the id of none; and with one again, for nothing else. */
    assert_int_equal(cuCtxPopCurrent_v2(&context), 0);
    config.stream = NULL;
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    stub_record(true);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_string_equal(stub_recorded(), "cuCtxGetCurrent cuCtxGetCurrent cuCtxPushCurrent cuCtxGetId "
                                         "cuLaunchKernelEx cuCtxPopCurrent");
    assert_int_equal(cuCtxPushCurrent_v2(context), 0);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    stub_record(true);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_string_equal(stub_recorded(), "cuCtxGetId cuLaunchKernelEx");
    tr_kernel_destroy(kernel);
    cuCtxDestroy_v2(context);
    end(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_arguments, begin),      cmocka_unit_test_setup(test_configs, begin),
        cmocka_unit_test_setup(test_many_arguments, begin), cmocka_unit_test_setup(test_attributes, begin),
        cmocka_unit_test_setup(test_overrides, begin),      cmocka_unit_test_setup(test_questions, begin),
        cmocka_unit_test_setup(test_calls, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
