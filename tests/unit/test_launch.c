/* Launching on the no-op driver: what reaches cuLaunchKernelEx, in which context, and what is kept for how long. */
#include "launch.h"
#include "stub.h"

typedef struct fixture {
    tr_runner *runner;
    CUstream stream;
} fixture;

static int begin(void **state) {
    static fixture made;
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    stub_reset();
    options.cache_dir = "";
    assert_int_equal(tr_runner_create(&options, &made.runner, NULL), TR_OK);
    stub_record(true);
    *state = &made;
    return 0;
}

/* The end of each test: nothing is left. */
static void end(fixture *f) {
    tr_runner_destroy(f->runner);
    tr__settle();
    assert_int_equal(stub_alive(STUB_MODULE), 0);
    assert_int_equal(stub_alive(STUB_MEMORY), 0);
    assert_int_equal(stub_alive(STUB_PRIMARY), 0);
    assert_int_equal(stub_alive(STUB_USER_OBJECT), 0);
    CUcontext current;
    assert_int_equal(cuCtxGetCurrent(&current), 0);
    assert_null(current);
}

#define ok(call, error)                                                                                      \
    do {                                                                                                     \
        tr_status got = call;                                                                                \
        if (got) fail_msg("%s: %s", tr_status_name(got), tr_error_message(error));                           \
        assert_null(error);                                                                                  \
    } while (0)

static tr_launch_config grid(uint32_t x, uint32_t y, uint32_t z) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = x, config.grid[1] = y, config.grid[2] = z;
    return config;
}

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

/* ---- contexts ---- */

static void test_contexts(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "nop", "", NULL);
    const stub_launch *launch = stub_last_launch();
    tr_error *error;
    CUcontext other, primary, popped;
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    primary = launch->context;
    assert_non_null(primary);
    assert_int_equal(cuCtxGetCurrent(&popped), 0);
    assert_null(popped);

    assert_int_equal(cuCtxCreate_v2(&other, 0, 1), 0);
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    assert_ptr_equal(launch->context, other);
    assert_int_equal(stub_alive(STUB_MODULE), 2);
    unsigned long loads = stub_calls("cuModuleLoadDataEx");
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    ok(tr_kernel_load(kernel, &error), error);
    assert_int_equal(stub_calls("cuModuleLoadDataEx"), loads);
    assert_int_equal(cuCtxGetCurrent(&popped), 0);
    assert_ptr_equal(popped, other);
    cuCtxPopCurrent_v2(&popped);
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    assert_ptr_equal(launch->context, primary);

    /* A context of the same address as one that is gone gets its own module. */
    cuCtxDestroy_v2(other);
    for (int i = 0; i < 20; i++) {
        loads = stub_calls("cuModuleLoadDataEx");
        assert_int_equal(cuCtxCreate_v2(&other, 0, 1), 0);
        ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
        assert_int_equal(stub_calls("cuModuleLoadDataEx"), loads + 1);
        cuCtxDestroy_v2(other);
    }
    unsigned long unloads = stub_calls("cuModuleUnload");
    tr_kernel_destroy(kernel);
    assert_int_equal(stub_calls("cuModuleUnload") - unloads, 1); /* the others went with their contexts */
    tr_runner_destroy(f->runner);
    f->runner = NULL;
    assert_int_equal(stub_alive(STUB_MODULE), 21);
    stub_reset();
    end(f);
}

static void test_one_module_for_two_kernels(void **state) {
    fixture *f = *state;
    tr_program *program = make_program(f->runner, "twice", "i32", NULL);
    tr_kernel *kernels[2];
    for (int i = 0; i < 2; i++) assert_int_equal(tr_kernel_create(program, &kernels[i], NULL), TR_OK);
    tr_program_destroy(program);
    assert_int_equal(stub_alive(STUB_MODULE), 1);
    tr_kernel_destroy(kernels[0]);
    assert_int_equal(stub_alive(STUB_MODULE), 1);
    tr_kernel_destroy(kernels[1]);
    assert_int_equal(stub_alive(STUB_MODULE), 0);
    end(f);
}

static void test_seal(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "sealed", "", NULL), *again, *never;
    tr_program *same = make_program(f->runner, "sealed", "", NULL),
               *new = make_program(f->runner, "new", "", NULL);
    tr_error *error;
    CUcontext other;
    ok(tr_runner_seal(f->runner, &error), error);
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    ok(tr_kernel_create(same, &again, &error), error); /* its module is there */
    assert_int_equal(tr_kernel_create(new, &never, &error), TR_E_SEALED);
    assert_null(never);
    assert_non_null(strstr(tr_error_message(error), "kernel 'new' is not loaded"));
    tr_error_destroy(error);
    assert_int_equal(cuCtxCreate_v2(&other, 0, 1), 0);
    assert_int_equal(tr_launch(kernel, NULL, NULL, 0, &error), TR_E_SEALED);
    tr_error_destroy(error);
    assert_int_equal(tr_kernel_load(kernel, &error), TR_E_SEALED);
    tr_error_destroy(error);
    cuCtxDestroy_v2(other);
    ok(tr_launch(kernel, NULL, NULL, 0, &error), error);
    tr_program_destroy(same);
    tr_program_destroy(new);
    tr_kernel_destroy(again);
    tr_kernel_destroy(kernel);
    end(f);
}

/* ---- scratch and graphs ---- */

static void as_scratching(tr__record *record) {
    record->global_scratch = (tr__scratch){384, 128};
    record->profile_scratch = (tr__scratch){100, 512};
    record->num_ctas = 2;
}

static uint64_t hidden(int index) {
    uint64_t value;
    memcpy(&value, stub_last_launch()->buffer + 8 + 8 * index, 8);
    return value;
}

static void test_scratch(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "scratching", "i32", as_scratching);
    tr_launch_config config = grid(3, 2, 1);
    tr_arg arg = tr_arg_i32(9);
    tr_error *error;
    size_t bytes, alignment;
    CUstream stream;
    ok(tr_kernel_workspace(kernel, config.grid, &bytes, &alignment, &error), error);
    assert_int_equal(alignment, 512);
    assert_int_equal(bytes, (12 * 384 + 511) / 512 * 512 + 12 * 100);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    uint64_t global = hidden(0), profile = hidden(1);
    assert_true(global && global % 512 == 0 && profile == global + (12 * 384 + 511) / 512 * 512);
    unsigned long allocations = stub_calls("cuMemAlloc");
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_true(hidden(0) == global && stub_calls("cuMemAlloc") == allocations);

    CUcontext primary = stub_last_launch()->context;
    cuCtxPushCurrent_v2(primary);
    assert_int_equal(cuStreamCreate(&stream, 0), 0);
    config.stream = stream;
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_true(hidden(0) != global); /* two streams never share */

    config.flags = TR_LAUNCH_WORKSPACE;
    config.workspace = 0x10200, config.workspace_size = bytes;
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_true(hidden(0) == 0x10200 && hidden(1) == 0x10200 + (12 * 384 + 511) / 512 * 512);
    config.workspace_size--;
    assert_int_equal(tr_launch(kernel, &config, &arg, 1, &error), TR_E_RESOURCE);
    tr_error_destroy(error);
    config.workspace_size++, config.workspace = 0x10208;
    assert_int_equal(tr_launch(kernel, &config, &arg, 1, &error), TR_E_RESOURCE);
    tr_error_destroy(error);
    cuStreamDestroy_v2(stream);
    cuCtxPopCurrent_v2(&primary);
    tr_kernel_destroy(kernel);
    end(f);
}

static void test_capture(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "captured", "i32", as_scratching);
    tr_kernel *stranger = make_kernel(f->runner, "stranger", "i32", NULL);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_arg arg = tr_arg_i32(9);
    tr_error *error;
    CUcontext context;
    CUstream stream;
    CUgraph graph;
    assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0);
    assert_int_equal(cuStreamCreate(&stream, 0), 0);
    config.stream = stream;
    ok(tr_kernel_load(kernel, &error), error);
    assert_int_equal(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), 0);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    uint64_t scratch = hidden(0);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_int_equal(stub_alive(STUB_USER_OBJECT), 2); /* the module, once, and the scratch, once */
    assert_true(hidden(0) == scratch);
    assert_int_equal(tr_launch(stranger, &config, &arg, 1, &error), TR_E_INVALID_ARGUMENT);
    assert_non_null(strstr(tr_error_message(error), "call tr_kernel_load before the capture begins"));
    tr_error_destroy(error);
    assert_int_equal(cuStreamEndCapture(stream, &graph), 0);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_true(hidden(0) != scratch);

    long modules = stub_alive(STUB_MODULE);
    tr_kernel_destroy(kernel);                              /* the graph goes on */
    assert_int_equal(stub_alive(STUB_MODULE), modules - 1); /* that of the runner's own context */
    cuGraphDestroy(graph);
    assert_int_equal(stub_alive(STUB_MODULE), modules - 1);
    tr_kernel_destroy(stranger); /* any call that may use the driver releases what graphs kept */
    assert_int_equal(stub_alive(STUB_MODULE), 0);
    cuStreamDestroy_v2(stream);
    tr_runner_destroy(f->runner);
    f->runner = NULL;
    cuCtxDestroy_v2(context);
    end(f);
}

/* From a new runner to a launch, in a graph too; what fails must say so, and leave nothing behind. */
static unsigned long until_destroyed; /* calls before the end began, which has no one to tell */

static tr_status live(tr_error **error) {
    tr_runner *runner;
    tr_kernel *kernel = NULL;
    tr_launch_config config = grid(2, 1, 1);
    tr_arg arg = tr_arg_i32(1);
    uint64_t ptr = 0;
    if (tr_runner_create(NULL, &runner, NULL)) return TR_E_OUT_OF_MEMORY;
    tr_program *program = make_program(runner, "living", "i32", as_scratching);
    tr_status status = tr_kernel_create(program, &kernel, error);
    if (!status) status = tr_launch(kernel, &config, &arg, 1, error);
    if (!status) status = tr_device_alloc(runner, 64, &ptr, error);
    if (!status) status = tr_device_synchronize(runner, error);
    if (!status)
        status = tr_device_free(runner, ptr, error);
    else
        tr_device_free(runner, ptr, NULL);
    until_destroyed = stub_calls(NULL);
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    tr__settle();
    return status;
}

/* Calls whose failure has no one to tell, or that fail again, and then are told, at the launch. */
static bool is_silent(const char *call) {
    static const char *const silent[] = {"cuCtxPopCurrent",     "cuModuleUnload",
                                         "cuMemFree",           "cuCtxGetId",
                                         "cuStreamIsCapturing", "cuThreadExchangeStreamCaptureMode",
                                         "cuStreamGetId",       "cuDevicePrimaryCtxRelease",
                                         "cuGetErrorName",      "cuGetErrorString"};
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
        if (!strcmp(call, silent[i])) return true;
    return false;
}

/* The n-th word. */
static void word(const char *text, unsigned long n, char out[64]) {
    while (--n && text) text = strchr(text, ' ') ? strchr(text, ' ') + 1 : NULL;
    snprintf(out, 64, "%.*s", text ? (int)strcspn(text, " ") : 0, text ? text : "");
}

static void test_each_call_fails(void **state) {
    tr_error *error = NULL;
    unsigned long n = 1, told = 0;
    char failing[64], next[64];
    end(*state);
    stub_reset();
    stub_record(true);
    assert_int_equal(live(&error), TR_OK);
    char *calls = strdup(stub_recorded());
    for (unsigned long last = until_destroyed; n <= last; n++) {
        CUcontext left;
        word(calls, n, failing);
        word(calls, n + 1, next);
        bool is_asked_again = !strcmp(failing, "cuCtxGetCurrent") && !strcmp(failing, next);
        stub_reset();
        stub_fail(NULL, n, CUDA_ERROR_UNKNOWN, false);
        error = NULL;
        tr_status status = live(&error);
        tr_error_destroy(error);
        assert_true(stub_failed());
        if (!status && !is_silent(failing) && !is_asked_again)
            fail_msg("call %lu, %s, failed, and nobody said so", n, failing);
        told += status != TR_OK;
        while (!cuCtxPopCurrent_v2(&left))
            ;
        stub_reset();
        error = NULL;
        if (live(&error)) fail_msg("after call %lu, %s, failed: %s", n, failing, tr_error_message(error));
        assert_int_equal(stub_alive(STUB_KINDS), 0);
    }
    print_message("%lu calls, of which %lu failures are told\n", n - 1, told);
    assert_true(n > 40);
    free(calls);
    stub_reset();
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

/* A stream that the driver does not want to be asked about: nothing is loaded for the launch, and it says so. */
static void test_stream_that_cannot_be_asked(void **state) {
    fixture *f = *state;
    CUcontext context;
    CUstream stream;
    tr_error *error;
    tr_kernel *kernel = make_kernel(f->runner, "asked", "i32", NULL);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_arg arg = tr_arg_i32(1);
    assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0); /* the kernel is not loaded there */
    assert_int_equal(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), 0);
    config.stream = stream;
    unsigned long loads = stub_calls("cuModuleLoadDataEx");
    stub_fail("cuStreamIsCapturing", 1, CUDA_ERROR_INVALID_HANDLE, false);
    assert_int_equal(tr_launch(kernel, &config, &arg, 1, &error), TR_E_DRIVER);
    assert_non_null(strstr(tr_error_message(error), "launching asked failed with CUDA_ERROR_INVALID_HANDLE"));
    tr_error_destroy(error);
    assert_int_equal(stub_calls("cuModuleLoadDataEx"), loads);
    ok(tr_launch(kernel, &config, &arg, 1, &error), error);
    assert_int_equal(stub_calls("cuModuleLoadDataEx"), loads + 1);
    cuStreamDestroy_v2(stream);
    tr_kernel_destroy(kernel);
    cuCtxDestroy_v2(context);
    end(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_arguments, begin),
        cmocka_unit_test_setup(test_configs, begin),
        cmocka_unit_test_setup(test_many_arguments, begin),
        cmocka_unit_test_setup(test_attributes, begin),
        cmocka_unit_test_setup(test_overrides, begin),
        cmocka_unit_test_setup(test_questions, begin),
        cmocka_unit_test_setup(test_contexts, begin),
        cmocka_unit_test_setup(test_one_module_for_two_kernels, begin),
        cmocka_unit_test_setup(test_seal, begin),
        cmocka_unit_test_setup(test_scratch, begin),
        cmocka_unit_test_setup(test_capture, begin),
        cmocka_unit_test_setup(test_each_call_fails, begin),
        cmocka_unit_test_setup(test_calls, begin),
        cmocka_unit_test_setup(test_stream_that_cannot_be_asked, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
