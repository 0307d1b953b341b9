/* Plans on the no-op driver: what the driver is told and when, what a refused change leaves, what outlives what. */
#include "launch.h"
#include "launch/plan.h"
#include "stub.h"

typedef struct fixture {
    tr_runner *runner;
    tr_plan *plan;
    tr_kernel *add;
} fixture;

#define ok(call)                                                                                             \
    do {                                                                                                     \
        tr_error *told = NULL;                                                                               \
        tr_status got = call;                                                                                \
        if (got) fail_msg("%s: %s", tr_status_name(got), tr_error_message(told));                            \
    } while (0)

/* The status, and words that the message must have. */
#define refused(call, status, words)                                                                         \
    do {                                                                                                     \
        tr_error *told = NULL;                                                                               \
        assert_int_equal(call, status);                                                                      \
        if (!strstr(tr_error_message(told), words))                                                          \
            fail_msg("'%s' lacks '%s'", tr_error_message(told), words);                                      \
        tr_error_destroy(told);                                                                              \
    } while (0)

static int begin(void **state) {
    static fixture made;
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    stub_reset();
    setenv("TRITON_RUNNER_CUDADEVRT", "", 1); /* the host tells all changes */
    options.cache_dir = "";
    assert_int_equal(tr_runner_create(&options, &made.runner, NULL), TR_OK);
    ok(tr_plan_create(made.runner, &made.plan, &told));
    made.add = make_kernel(made.runner, "add", "*fp32:16, *fp32:16, i32", NULL);
    stub_record(true);
    *state = &made;
    return 0;
}

static int end(void **state) {
    fixture *f = *state;
    tr_kernel_destroy(f->add);
    tr_plan_destroy(f->plan);
    tr_runner_destroy(f->runner);
    tr__settle();
    for (stub_kind kind = 0; kind < STUB_KINDS; kind++)
        if (kind != STUB_STREAM) assert_int_equal(stub_alive(kind), 0);
    return 0;
}

static uint32_t add_entry(fixture *f, uint64_t a, int32_t n, uint32_t x) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = x;
    const tr_arg args[] = {tr_arg_ptr(a), tr_arg_ptr(0x200), tr_arg_i32(n)};
    uint32_t index = 99;
    ok(tr_plan_add(f->plan, f->add, &config, args, 3, NULL, 0, &index, &told));
    return index;
}

static unsigned long sets(void) {
    return stub_calls("cuGraphExecKernelNodeSetParams");
}

static int32_t last_n(void) {
    int32_t n;
    memcpy(&n, stub_last_launch()->buffer + 16, sizeof n);
    return n;
}

static void tells_only_what_changed(void **state) {
    fixture *f = *state;
    for (uint32_t i = 0; i < 50; i++) assert_int_equal(add_entry(f, 0x100, (int32_t)i, 4), i);
    ok(tr_plan_launch(f->plan, NULL, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(stub_calls("cuGraphAddKernelNode"), 50);
    assert_int_equal(stub_calls("cuGraphInstantiateWithFlags"), 1);
    assert_int_equal(stub_calls("cuGraphLaunch"), 2);
    assert_int_equal(sets(), 0);

    const uint32_t grid[3] = {7, 2, 1};
    const tr_arg args[] = {tr_arg_ptr(0x300), tr_arg_ptr(0x400), tr_arg_i32(1234)};
    ok(tr_plan_set(f->plan, 20, grid, args, 3, &told));
    ok(tr_plan_set(f->plan, 20, grid, args, 3, &told)); /* twice before a launch: told once */
    assert_int_equal(sets(), 0);
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(sets(), 1);
    assert_int_equal(last_n(), 1234);
    assert_int_equal(stub_last_launch()->grid[0], 7);
    assert_int_equal(stub_last_launch()->grid[1], 2);

    ok(tr_plan_set(f->plan, 20, grid, args, 3, &told)); /* the same again: nothing to tell */
    ok(tr_plan_set(f->plan, 20, NULL, NULL, 0, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(sets(), 1);
    const uint32_t other[3] = {9, 1, 1};
    ok(tr_plan_set(f->plan, 20, other, NULL, 0, &told)); /* the grid alone; arguments as they were */
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(last_n(), 1234);
    assert_int_equal(stub_last_launch()->grid[0], 9);
    assert_int_equal(stub_calls("cuGraphInstantiateWithFlags"), 1);

    add_entry(f, 0x100, 1, 1); /* another entry: a graph of its own */
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(stub_calls("cuGraphInstantiateWithFlags"), 2);
}

/* ---- changes told on the device ---- */

static void use_device_runtime(void) {
    static const stub_parameter parameters[] = {{0, 8}, {8, 4}, {12, 4}, {16, 4}}; /* as "telling" has them */
    setenv("TRITON_RUNNER_CUDADEVRT", "/proc/self/exe", 1); /* the no-op driver links anything */
    stub_set_parameters(parameters, 4);
}

typedef struct telling {
    const char *page;
    uint32_t stride, count, ticket;
} telling;

static telling last_telling(void) {
    telling telling;
    memcpy(&telling, stub_last_launch()->buffer, sizeof telling);
    return telling;
}

typedef struct told {
    uint64_t node;
    uint32_t grid[3], size, state, done;
    char params[];
} told;

/* What the graph's first node is told to do: the n-th record of its page. */
static const told *told_record(uint32_t n) {
    return (const told *)(last_telling().page + 16 + last_telling().stride * (size_t)n);
}

/* The i32 in its arguments. */
static int32_t told_n(uint32_t n) {
    int32_t value;
    assert_true(told_record(n)->size >= 20);
    memcpy(&value, told_record(n)->params + 16, sizeof value);
    return value;
}

static void tells_the_device(void **state) {
    fixture *f = *state;
    uint32_t grid[3] = {5, 2, 1};
    use_device_runtime();
    for (uint32_t i = 0; i < 10; i++) assert_int_equal(add_entry(f, 0x100, (int32_t)i, 4), i);
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(stub_calls("cuGraphAddKernelNode"), 11); /* one that tells the others */
    assert_int_equal(stub_calls("cuGraphNodeSetEnabled"), 1); /* it has nothing to tell yet */
    const tr_arg args[] = {tr_arg_ptr(0x300), tr_arg_ptr(0x400), tr_arg_i32(77)};
    for (uint32_t i = 3; i < 6; i++) ok(tr_plan_set(f->plan, i, grid, args, 3, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(sets(), 1); /* of its own arguments */
    assert_int_equal(last_telling().count, 3);
    assert_int_equal(last_telling().stride, 32 + 48);
    assert_int_equal(stub_last_launch()->grid[0], 1);
    assert_int_equal(stub_last_launch()->block[0], 512);
    assert_int_equal(stub_last_launch()->shared, 16 * (128 + 32 + 48));
    for (uint32_t i = 0; i < 3; i++) {
        assert_memory_equal(told_record(i)->grid, grid, sizeof grid);
        assert_int_equal(told_n(i), 77);
        assert_int_equal(told_record(i)->state, 1); /* runs, as before */
    }
    ok(tr_plan_launch(f->plan, NULL, &told)); /* nothing: switched off */
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(sets(), 1);
    assert_int_equal(stub_calls("cuGraphNodeSetEnabled"), 3);
    ok(tr_plan_enable(f->plan, 4, 0, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(last_telling().count, 1);
    assert_int_equal(told_record(0)->state, 2); /* is switched, and does not run */
    assert_int_equal(told_record(0)->size, 0);
    assert_int_equal(stub_calls("cuGraphInstantiateWithFlags"), 1);
    assert_int_equal(stub_alive(STUB_HOST_MEMORY), 2); /* the kernel never says that it has read the first */
}

/* A driver that can't change one of the kernels on the device: as if there was no device runtime. */
static void tells_the_host_after_all(void **state) {
    fixture *f = *state;
    use_device_runtime();
    for (uint32_t i = 0; i < 10; i++) add_entry(f, 0x100, (int32_t)i, 4);
    stub_fail("cuGraphKernelNodeSetAttribute", 7, CUDA_ERROR_NOT_SUPPORTED, true);
    ok(tr_plan_launch(f->plan, NULL, &told));
    stub_fail(NULL, 1, CUDA_SUCCESS, false);
    const tr_arg args[] = {tr_arg_ptr(0x300), tr_arg_ptr(0x400), tr_arg_i32(77)};
    stub_record(true);
    for (uint32_t i = 3; i < 6; i++) ok(tr_plan_set(f->plan, i, NULL, args, 3, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(sets(), 3);
    assert_int_equal(last_n(), 77);
}

static void a_refused_change_changes_nothing(void **state) {
    fixture *f = *state;
    add_entry(f, 0x100, 5, 4);
    ok(tr_plan_launch(f->plan, NULL, &told));
    const uint32_t huge[3] = {1, 70000, 1}, fine[3] = {2, 1, 1};
    tr_arg args[] = {tr_arg_ptr(0x108), tr_arg_ptr(0x200), tr_arg_i32(6)};
    refused(tr_plan_set(f->plan, 0, fine, args, 3, &told), TR_E_SIGNATURE, "16");
    args[0] = tr_arg_ptr(0x110);
    refused(tr_plan_set(f->plan, 0, huge, args, 3, &told), TR_E_RESOURCE, "70000");
    refused(tr_plan_set(f->plan, 0, fine, args, 2, &told), TR_E_SIGNATURE, "2");
    refused(tr_plan_set(f->plan, 1, fine, args, 3, &told), TR_E_INVALID_ARGUMENT, "no entry 1");
    refused(tr_plan_set(f->plan, 0, fine, NULL, 3, &told), TR_E_INVALID_ARGUMENT, "NULL");
    refused(tr_plan_set_copy(f->plan, 0, 1, 2, 3, &told), TR_E_INVALID_ARGUMENT, "is a kernel, not a copy");
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(sets(), 0);
    ok(tr_plan_set(f->plan, 0, fine, args, 3, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(last_n(), 6);
}

static void switches(void **state) {
    fixture *f = *state;
    add_entry(f, 0x100, 5, 4);
    add_entry(f, 0x100, 6, 0); /* an empty grid: no launch, and no error */
    uint32_t copy, fill;
    ok(tr_plan_add_copy(f->plan, 0x1000, 0x2000, 64, NULL, 0, &copy, &told));
    ok(tr_plan_add_fill(f->plan, 0x1000, 0, 0, NULL, 0, &fill, &told)); /* nothing to fill */
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(stub_calls("cuGraphNodeSetEnabled"), 1);
    assert_int_equal(stub_calls("cuGraphAddMemcpyNode"), 1);
    assert_int_equal(stub_calls("cuGraphAddMemsetNode"), 0);

    ok(tr_plan_enable(f->plan, 0, 0, &told));
    ok(tr_plan_enable(f->plan, 0, 0, &told));
    ok(tr_plan_enable(f->plan, copy, 0, &told));
    const uint32_t grid[3] = {3, 1, 1}, none[3] = {3, 0, 1};
    ok(tr_plan_set(f->plan, 1, grid, NULL, 0, &told)); /* its grid is not empty any more */
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(stub_calls("cuGraphNodeSetEnabled"), 4);
    ok(tr_plan_enable(f->plan, 0, 1, &told));
    ok(tr_plan_set(f->plan, 1, none, NULL, 0, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(stub_calls("cuGraphNodeSetEnabled"), 6);
    assert_int_equal(stub_calls("cuGraphInstantiateWithFlags"), 1);

    ok(tr_plan_set_fill(f->plan, fill, 0x1000, 7, 64,
                        &told)); /* was an empty node; the stub takes anything */
    ok(tr_plan_launch(f->plan, NULL, &told));
    refused(tr_plan_enable(f->plan, 9, 1, &told), TR_E_INVALID_ARGUMENT, "no entry 9");
}

static void without_switches(void **state) {
    fixture *f = *state;
    f->plan->driver->cuGraphNodeSetEnabled = NULL; /* an older driver */
    add_entry(f, 0x100, 5, 4);
    add_entry(f, 0x100, 6, 0);
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(stub_calls("cuGraphAddKernelNode"), 1);
    assert_int_equal(stub_calls("cuGraphAddEmptyNode"), 1);
    ok(tr_plan_enable(f->plan, 0, 0, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(stub_calls("cuGraphAddEmptyNode"), 3); /* built again */
}

static void dependencies(void **state) {
    fixture *f = *state;
    const tr_arg args[] = {tr_arg_ptr(0x100), tr_arg_ptr(0x200), tr_arg_i32(1)};
    const uint32_t none[1] = {0}, first[] = {0}, both[] = {0, 1}, later[] = {5}, twice[] = {0, 0};
    uint32_t index;
    ok(tr_plan_add(f->plan, f->add, NULL, args, 3, none, 0, &index, &told)); /* after nothing */
    ok(tr_plan_add(f->plan, f->add, NULL, args, 3, first, 1, &index, &told));
    ok(tr_plan_add(f->plan, f->add, NULL, args, 3, first, 1, &index, &told));
    ok(tr_plan_add(f->plan, f->add, NULL, args, 3, both, 2, &index, &told));
    assert_int_equal(index, 3);
    refused(tr_plan_add(f->plan, f->add, NULL, args, 3, later, 1, &index, &told), TR_E_INVALID_ARGUMENT,
            "earlier");
    refused(tr_plan_add(f->plan, f->add, NULL, args, 3, twice, 2, &index, &told), TR_E_INVALID_ARGUMENT,
            "both");
    refused(tr_plan_add(f->plan, f->add, NULL, args, 3, NULL, 2, &index, &told), TR_E_INVALID_ARGUMENT,
            "NULL");
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(stub_calls("cuGraphAddKernelNode"), 4);
}

static void with_scratch(tr__record *record) {
    record->global_scratch = (tr__scratch){1024, 128};
}

static uint64_t scratch_of_last(void) {
    uint64_t pointer;
    memcpy(&pointer, stub_last_launch()->buffer + 8, sizeof pointer);
    return pointer;
}

/* Entries that follow each other share; those that may overlap do not; what grows does not take what runs away. */
static void scratch(void **state) {
    fixture *f = *state;
    tr_kernel *kernel = make_kernel(f->runner, "scratchy", "*fp32", with_scratch);
    const tr_arg args[] = {tr_arg_ptr(0x100)};
    const uint32_t root[] = {0}, grid[3] = {100, 1, 1};
    uint64_t at[4];
    uint32_t before[4][1] = {{0}, {0}, {0}, {1}};
    for (uint32_t i = 0; i < 4; i++) {
        ok(tr_plan_add(f->plan, kernel, NULL, args, 1, i ? before[i] : root, i ? 1 : 0, NULL, &told));
        ok(tr_plan_launch(f->plan, NULL, &told)); /* the build tells entries in order: the last is this one */
        at[i] = scratch_of_last();
        assert_true(at[i] && at[i] % 128 == 0);
    }
    assert_true(at[1] == at[0]); /* 1 comes after 0 */
    assert_true(at[2] != at[1]); /* 2 beside 1 */
    assert_true(at[3] == at[1]); /* 3 after 1 */
    assert_int_equal(stub_alive(STUB_MEMORY), 2);
    ok(tr_plan_set(f->plan, 3, grid, NULL, 0, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_true(scratch_of_last() != at[3]);
    assert_int_equal(stub_alive(STUB_MEMORY), 3); /* 0 and 1 keep theirs */
    ok(tr_plan_set(f->plan, 1, grid, NULL, 0, &told));
    assert_int_equal(stub_alive(STUB_MEMORY), 3); /* and 1 finds room in what 3 made */

    stub_fail("cuMemAlloc", 1, CUDA_ERROR_OUT_OF_MEMORY, false);
    const uint32_t larger[3] = {1000, 1, 1};
    refused(tr_plan_set(f->plan, 3, larger, NULL, 0, &told), TR_E_OUT_OF_MEMORY, "OUT_OF_MEMORY");
    stub_record(true);
    ok(tr_plan_set(f->plan, 3, grid, args, 1, &told)); /* as it was: nothing changed */
    unsigned long told_so_far = sets();
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(sets(), told_so_far + 1); /* entry 1 alone */

    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.flags = TR_LAUNCH_WORKSPACE;
    config.workspace = 0x10000;
    config.workspace_size = 1024;
    ok(tr_plan_add(f->plan, kernel, &config, args, 1, NULL, 0, NULL, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(scratch_of_last(), 0x10000);
    refused(tr_plan_set(f->plan, 4, grid, NULL, 0, &told), TR_E_RESOURCE, "102400 bytes");
    tr_kernel_destroy(kernel);
}

static void outlives_its_kernel(void **state) {
    fixture *f = *state;
    add_entry(f, 0x100, 5, 4);
    tr_kernel_destroy(f->add);
    f->add = NULL;
    assert_int_equal(stub_alive(STUB_MODULE), 1);
    ok(tr_plan_launch(f->plan, NULL, &told));
    const tr_arg args[] = {tr_arg_ptr(0x300), tr_arg_ptr(0x400), tr_arg_i32(17)};
    ok(tr_plan_set(f->plan, 0, NULL, args, 3, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(last_n(), 17);
}

/* The driver fails at each of its calls in turn; afterwards the same plan does what was asked. */
static int fail_in_turn(fixture *f, int entries) {
    int points = 0;
    for (unsigned long nth = 1;; nth++) {
        tr_plan_destroy(f->plan);
        ok(tr_plan_create(f->runner, &f->plan, &told));
        for (int i = 0; i < entries; i++) add_entry(f, 0x100, i, 4);
        uint32_t empty = add_entry(f, 0x100, 3, 0);
        stub_fail(NULL, nth, CUDA_ERROR_INVALID_VALUE, false);
        const tr_arg args[] = {tr_arg_ptr(0x300), tr_arg_ptr(0x400), tr_arg_i32((int)nth)};
        tr_error *error = NULL;
        tr_status first = tr_plan_launch(f->plan, NULL, &error);
        if (!first) {
            ok(tr_plan_set(f->plan, 2, NULL, args, 3, &told));
            first = tr_plan_launch(f->plan, NULL, &error);
        }
        bool failed = stub_failed();
        if (first) assert_true(failed && (first == TR_E_DRIVER || first == TR_E_INVALID_ARGUMENT) && error);
        tr_error_destroy(error);
        stub_fail(NULL, 1, CUDA_SUCCESS, false);
        for (CUcontext left; !cuCtxPopCurrent_v2(&left);) /* the failed call was the one that pops it */
            ;
        stub_record(true);
        ok(tr_plan_launch(f->plan, NULL, &told)); /* what the failure left to be told */
        const tr_arg again[] = {tr_arg_ptr(0x300), tr_arg_ptr(0x400), tr_arg_i32(-1)};
        ok(tr_plan_set(f->plan, empty, (const uint32_t[3]){1, 1, 1}, again, 3, &told));
        ok(tr_plan_launch(f->plan, NULL, &told));
        if (f->plan->updater) {
            assert_int_equal(told_n(0), -1);
        } else {
            assert_int_equal(last_n(), -1);
        }
        if (!failed) return points;
        points++;
    }
}

static void a_failing_driver(void **state) {
    assert_true(fail_in_turn(*state, 3) >= 12);
}

static void a_failing_driver_that_tells_the_device(void **state) {
    fixture *f = *state;
    use_device_runtime();
    assert_true(fail_in_turn(f, 9) >= 40);
    assert_non_null(f->plan->updater);
}

static void in_a_capture(void **state) {
    fixture *f = *state;
    CUstream stream;
    CUgraph graph;
    CUcontext context;
    add_entry(f, 0x100, 5, 4);
    assert_int_equal(cuDevicePrimaryCtxRetain(&context, 0), 0);
    assert_int_equal(cuCtxPushCurrent_v2(context), 0);
    assert_int_equal(cuStreamCreate(&stream, 0), 0);
    assert_int_equal(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED), 0);
    refused(tr_plan_launch(f->plan, stream, &told), TR_E_INVALID_ARGUMENT, "captured");
    stub_fail("cuStreamIsCapturing", 1, CUDA_ERROR_INVALID_HANDLE, false);
    refused(tr_plan_launch(f->plan, stream, &told), TR_E_DRIVER, "cuStreamIsCapturing failed");
    assert_int_equal(stub_calls("cuGraphCreate"), 0);
    assert_int_equal(cuStreamEndCapture(stream, &graph), 0);
    cuGraphDestroy(graph);
    ok(tr_plan_launch(f->plan, stream, &told));
    cuStreamDestroy_v2(stream);
    assert_int_equal(cuCtxPopCurrent_v2(&context), 0);
    assert_int_equal(cuDevicePrimaryCtxRelease_v2(0), 0);
}

static void recording(void **state) {
    fixture *f = *state;
    CUstream stream, other;
    CUcontext context;
    assert_int_equal(cuDevicePrimaryCtxRetain(&context, 0), 0);
    assert_int_equal(cuCtxPushCurrent_v2(context), 0);
    assert_int_equal(cuStreamCreate(&stream, 0), 0);
    assert_int_equal(cuStreamCreate(&other, 0), 0);
    uint32_t first, count;
    refused(tr_plan_recorded(f->plan, &first, &count, &told), TR_E_INVALID_ARGUMENT, "not recording");
    add_entry(f, 0x100, 1, 1);
    ok(tr_plan_record(f->plan, stream, &told));
    refused(tr_plan_record(f->plan, stream, &told), TR_E_INVALID_ARGUMENT, "already");
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    unsigned long launches = stub_calls("cuLaunchKernelEx");
    for (int i = 0; i < 3; i++) {
        const tr_arg args[] = {tr_arg_ptr(0x300), tr_arg_ptr(0x400), tr_arg_i32(i)};
        config.stream = stream;
        ok(tr_launch(f->add, &config, args, 3, &told));
        config.stream = other; /* not recorded: launched */
        ok(tr_launch(f->add, &config, args, 3, &told));
    }
    assert_int_equal(stub_calls("cuLaunchKernelEx"), launches + 3);
    ok(tr_plan_recorded(f->plan, &first, &count, &told));
    assert_int_equal(first, 1);
    assert_int_equal(count, 3);
    assert_int_equal(stub_alive(STUB_GRAPH), 0);
    ok(tr_plan_launch(f->plan, other, &told));
    assert_int_equal(stub_calls("cuGraphAddKernelNode"), 4);
    assert_int_equal(last_n(), 2);
    config.stream = stream;
    const tr_arg args[] = {tr_arg_ptr(0x300), tr_arg_ptr(0x400), tr_arg_i32(9)};
    ok(tr_launch(f->add, &config, args, 3, &told)); /* over: launched again */
    assert_int_equal(stub_calls("cuLaunchKernelEx"), launches + 4);
    ok(tr_plan_record(f->plan, stream, &told)); /* and left so: the plan's end ends it */
    tr_plan_destroy(f->plan);
    f->plan = NULL;
    ok(tr_launch(f->add, &config, args, 3, &told));
    assert_int_equal(stub_calls("cuLaunchKernelEx"), launches + 5);
    cuStreamDestroy_v2(stream);
    cuStreamDestroy_v2(other);
    assert_int_equal(cuCtxPopCurrent_v2(&context), 0);
    assert_int_equal(cuDevicePrimaryCtxRelease_v2(0), 0);
}

/* What is loaded in the plan's context can be added; nothing else, and nothing else fails. */
static void sealed(void **state) {
    fixture *f = *state;
    const tr_arg args[] = {tr_arg_ptr(0x300), tr_arg_ptr(0x400), tr_arg_i32(17)};
    CUcontext context;
    tr_plan *elsewhere;
    add_entry(f, 0x100, 5, 4);
    ok(tr_runner_seal(f->runner, &told));
    add_entry(f, 0x100, 6, 4);
    ok(tr_plan_launch(f->plan, NULL, &told));
    ok(tr_plan_set(f->plan, 1, NULL, args, 3, &told));
    ok(tr_plan_launch(f->plan, NULL, &told));
    assert_int_equal(last_n(), 17);
    assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0);
    ok(tr_plan_create(f->runner, &elsewhere, &told));
    refused(tr_plan_add(elsewhere, f->add, NULL, args, 3, NULL, 0, NULL, &told), TR_E_SEALED, "add");
    tr_plan_destroy(elsewhere);
    assert_int_equal(cuCtxDestroy_v2(context), 0);
}

/* Made and ended after each of the things that can be done with it; also with its context gone. */
static void ends_at_any_moment(void **state) {
    fixture *f = *state;
    use_device_runtime();
    for (int steps = 0; steps < 7; steps++) {
        CUcontext context = NULL;
        CUstream stream = NULL;
        const tr_arg args[] = {tr_arg_ptr(0x300), tr_arg_ptr(0x400), tr_arg_i32(steps)};
        tr_plan_destroy(f->plan);
        if (steps == 6) assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0);
        ok(tr_plan_create(f->runner, &f->plan, &told));
        for (int i = 0; i < 9 && steps > 0 && steps < 6; i++) add_entry(f, 0x100, i, 4);
        if (steps > 1 && steps < 6) ok(tr_plan_launch(f->plan, NULL, &told));
        if (steps == 6) ok(tr_plan_add_copy(f->plan, 0x1000, 0x2000, 64, NULL, 0, NULL, &told));
        if (steps > 2 && steps < 6) ok(tr_plan_set(f->plan, 3, NULL, args, 3, &told));
        if (steps > 3 && steps < 6) ok(tr_plan_launch(f->plan, NULL, &told));
        if (steps == 5) ok(tr_plan_enable(f->plan, 3, 0, &told));
        if (steps == 5) {
            assert_int_equal(cuCtxCreate_v2(&context, 0, 0), 0);
            assert_int_equal(cuStreamCreate(&stream, 0), 0);
            ok(tr_plan_record(f->plan, stream, &told));
        }
        if (steps == 6) {
            assert_int_equal(cuCtxDestroy_v2(context), 0);
            refused(tr_plan_launch(f->plan, NULL, &told), TR_E_INVALID_ARGUMENT, "not the current one");
        }
        tr_plan_destroy(f->plan);
        f->plan = NULL;
        if (steps == 5) {
            cuStreamDestroy_v2(stream);
            assert_int_equal(cuCtxDestroy_v2(context), 0);
        }
    }
}

static void wrong_calls(void **state) {
    fixture *f = *state;
    tr_plan *none = (tr_plan *)f;
    tr_runner *other;
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    refused(tr_plan_create(NULL, &none, &told), TR_E_INVALID_ARGUMENT, "runner is NULL");
    assert_null(none);
    refused(tr_plan_create(f->runner, NULL, &told), TR_E_INVALID_ARGUMENT, "out is NULL");
    refused(tr_plan_launch(NULL, NULL, &told), TR_E_INVALID_ARGUMENT, "plan is NULL");
    refused(tr_plan_add(f->plan, NULL, NULL, NULL, 0, NULL, 0, NULL, &told), TR_E_INVALID_ARGUMENT,
            "kernel is NULL");
    refused(tr_plan_add(f->plan, f->add, NULL, NULL, 0, NULL, 0, NULL, &told), TR_E_SIGNATURE, "3");
    assert_int_equal(tr_runner_create(&options, &other, NULL), TR_OK);
    tr_kernel *foreign = make_kernel(other, "foreign", "", NULL);
    refused(tr_plan_add(f->plan, foreign, NULL, NULL, 0, NULL, 0, NULL, &told), TR_E_INVALID_ARGUMENT,
            "another runner");
    tr_kernel_destroy(foreign);
    tr_runner_destroy(other);
    ok(tr_plan_launch(f->plan, NULL, &told)); /* an empty plan */
    assert_int_equal(stub_calls("cuGraphLaunch"), 0);
    tr_plan_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tells_only_what_changed, begin, end),
        cmocka_unit_test_setup_teardown(tells_the_device, begin, end),
        cmocka_unit_test_setup_teardown(tells_the_host_after_all, begin, end),
        cmocka_unit_test_setup_teardown(a_refused_change_changes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(switches, begin, end),
        cmocka_unit_test_setup_teardown(without_switches, begin, end),
        cmocka_unit_test_setup_teardown(dependencies, begin, end),
        cmocka_unit_test_setup_teardown(scratch, begin, end),
        cmocka_unit_test_setup_teardown(outlives_its_kernel, begin, end),
        cmocka_unit_test_setup_teardown(a_failing_driver, begin, end),
        cmocka_unit_test_setup_teardown(a_failing_driver_that_tells_the_device, begin, end),
        cmocka_unit_test_setup_teardown(in_a_capture, begin, end),
        cmocka_unit_test_setup_teardown(recording, begin, end),
        cmocka_unit_test_setup_teardown(sealed, begin, end),
        cmocka_unit_test_setup_teardown(ends_at_any_moment, begin, end),
        cmocka_unit_test_setup_teardown(wrong_calls, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
