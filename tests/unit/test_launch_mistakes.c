/* Wrong calls, each with its status and its words: none reaches the device, and after each a right launch works. */
#include "launch.h"
#include "stub.h"

#include "launch/tensor_map.h"

static tr_runner *runner;
static tr_kernel *right; /* of "*fp32:16, i32, i32:1, fp16, i1, tensordesc<fp16[64, 64]>" */
static tr_tensor_map map;
static tr_arg good[6];
static int mistakes;

enum { KNOWN = 6 };
static const char *const SIGNATURE = "*fp32:16, i32, i32:1, fp16, i1, tensordesc<fp16[64, 64]>";

static void as_encoded(tr__record *record) {
    static const char *const names[] = {"x", "n", "one", "half", "flag", "desc"};
    for (size_t i = 0; i < record->param_count && i < KNOWN; i++)
        assert_true(tr__record_set_text(&record->params[i].name, names[i]));
}

static void launch_right(void) {
    tr_error *error;
    tr_status status = tr_launch(right, NULL, good, KNOWN, &error);
    if (status) fail_msg("a right launch: %s", tr_error_message(error));
}

/* The call must fail so, without a launch; the same call without an error object gives the same status. */
#define wrong(status, words, call)                                                                           \
    do {                                                                                                     \
        tr_error *error = NULL;                                                                              \
        unsigned long launches = stub_calls("cuLaunchKernelEx");                                             \
        judge(call, error, status, words, #call);                                                            \
        assert_int_equal(stub_calls("cuLaunchKernelEx"), launches);                                          \
        tr_error_destroy(error);                                                                             \
        launch_right();                                                                                      \
    } while (0)

static void judge_message(tr_status got, const tr_error *error, tr_status status, const char *words,
                          const char *call) {
    if (got != status)
        fail_msg("%s gave %s, not %s: %s", call, tr_status_name(got), tr_status_name(status),
                 tr_error_message(error));
    if (!error || !strstr(tr_error_message(error), words))
        fail_msg("%s said '%s', not '%s'", call, tr_error_message(error), words);
    mistakes++;
}
#define judge(call, error, status, words, text)                                                              \
    do {                                                                                                     \
        tr_status got = call;                                                                                \
        judge_message(got, error, status, words, text);                                                      \
    } while (0)

/* ---- creating ---- */

static void unknown_params(tr__record *record) {
    record->params_known = false;
}
static void unknown_resources(tr__record *record) {
    record->resources_known = false;
}
static void im2col(tr__record *record) {
    record->params[0].descriptor.im2col = true;
}
static void odd_promise(tr__record *record) {
    record->params[0].divisibility = 24;
}
static void odd_scratch(tr__record *record) {
    record->global_scratch = (tr__scratch){8, 12};
}
static void contradicting(tr__record *record) {
    record->num_ctas = 4, record->cluster[0] = 2;
}
static void much_shared(tr__record *record) {
    record->shared = 300 << 10;
}
static void many_warps(tr__record *record) {
    record->num_warps = 64;
}
static void much_tensor_memory(tr__record *record) {
    record->tensor_memory = 1024;
}
static void clustered(tr__record *record) {
    record->num_ctas = 2;
}
static void cluster_of_32(tr__record *record) {
    record->num_ctas = 32;
}
static void cooperative(tr__record *record) {
    record->cooperative = true;
}
static void other_name(tr__record *record) {
    tr__record_set_text(&record->kernel, "elsewhere");
}
static void one_hidden(tr__record *record) {
    record->hidden_count = 1;
}
static void unfolded(tr__record *record) {
    record->params[2].folded = false;
}
static void wider(tr__record *record) {
    record->params[1].type = TR_TYPE_I64;
}
static void unguessable(tr__record *record) {
    record->hidden_known = false, record->hidden_count = 0;
    record->params[1].folded = record->params[2].folded = true;
}
static void tensor_element(tr__record *record) {
    record->params[1].type = TR_TYPE_F8E5M2;
}

static tr_status create(const char *signature, adjust *adjust, tr_error **error) {
    tr_program *program = make_program(runner, "made", signature, adjust);
    tr_kernel *kernel = (tr_kernel *)1;
    long modules = stub_alive(STUB_MODULE);
    tr_status status = tr_kernel_create(program, &kernel, error);
    if (status) assert_null(kernel);
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    assert_int_equal(stub_alive(STUB_MODULE), modules);
    return status;
}

static tr_status create_failing(const char *call, CUresult result, tr_error **error) {
    stub_fail(call, 1, result, false);
    tr_status status = create("i32", NULL, error);
    assert_true(stub_failed());
    stub_fail(NULL, 0, CUDA_SUCCESS, false);
    return status;
}

static void test_creating(void **state) {
    tr_kernel *kernel;
    wrong(TR_E_INVALID_ARGUMENT, "program is NULL", tr_kernel_create(NULL, &kernel, &error));
    tr_program *program = make_program(runner, "made", "", NULL);
    wrong(TR_E_INVALID_ARGUMENT, "out is NULL", tr_kernel_create(program, NULL, &error));
    tr_program_destroy(program);
    wrong(TR_E_INVALID_ARGUMENT, "what parameters it takes is recorded nowhere",
          create("i32", unknown_params, &error));
    wrong(TR_E_INVALID_ARGUMENT,
          "shared memory and scratch sizes are recorded nowhere; load it with its metadata",
          create("i32", unknown_resources, &error));
    wrong(TR_E_UNSUPPORTED, "im2col", create("tensordesc<fp16[8, 8]>", im2col, &error));
    wrong(TR_E_UNSUPPORTED, "a multiple of 24; only powers of two", create("i32", odd_promise, &error));
    wrong(TR_E_INVALID_ARGUMENT, "aligned to 12", create("i32", odd_scratch, &error));
    wrong(TR_E_INVALID_ARGUMENT, "num_ctas is 4, cluster_dims 2 x", create("i32", contradicting, &error));
    wrong(TR_E_RESOURCE, "needs 307200 bytes of shared memory per CTA, but this device has 232448",
          create("i32", much_shared, &error));
    wrong(TR_E_RESOURCE, "64 warps, 2048 threads", create("i32", many_warps, &error));
    wrong(TR_E_RESOURCE, "1024 columns of tensor memory", create("i32", much_tensor_memory, &error));
    wrong(TR_E_RESOURCE, "clusters of 32 CTAs, but 16", create("i32", cluster_of_32, &error));
    stub_set_attribute(CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 0);
    wrong(TR_E_UNSUPPORTED, "clusters of 2 CTAs, which devices have from sm_90 on",
          create("i32", clustered, &error));
    stub_set_attribute(CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 1);
    stub_set_attribute(CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 0);
    wrong(TR_E_UNSUPPORTED, "needs a cooperative launch", create("i32", cooperative, &error));
    stub_set_attribute(CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1);
    wrong(TR_E_SIGNATURE, "CUDA_ERROR_NOT_FOUND (500)", create("i32", other_name, &error));
    wrong(TR_E_SIGNATURE, "kernel 'made' has 4 parameters, hidden ones included, but its record describes 3",
          create("i32, i32", one_hidden, &error));
    wrong(TR_E_SIGNATURE, "kernel 'made' has 4 parameters, hidden ones included, but its record describes 5",
          create("i32, i32, i32:1", unfolded, &error));
    wrong(TR_E_SIGNATURE,
          "parameter 1 of kernel 'made' lies at offset 8 with 8 bytes by its record, but at offset 4 with 4",
          create("i32, i32, i32", wider, &error));
    wrong(TR_E_SIGNATURE, "has 5 parameters, but 1 are recorded",
          create("i64, i64, i64", unguessable, &error));
    wrong(TR_E_SIGNATURE, "type fp8e5m2, which no argument can have",
          create("i32, i32", tensor_element, &error));
}

static void test_driver_refuses(void **state) {
    wrong(TR_E_UNSUPPORTED,
          "built for sm_90, this device is sm_90: cuModuleLoadDataEx failed with "
          "CUDA_ERROR_NO_BINARY_FOR_GPU",
          create_failing("cuModuleLoadDataEx", CUDA_ERROR_NO_BINARY_FOR_GPU, &error));
    wrong(TR_E_UNSUPPORTED, "lower its .version",
          create_failing("cuModuleLoadDataEx", CUDA_ERROR_UNSUPPORTED_PTX_VERSION, &error));
    wrong(TR_E_COMPILE, "tr_error_log says why",
          create_failing("cuModuleLoadDataEx", CUDA_ERROR_INVALID_PTX, &error));
    wrong(TR_E_PARSE, "neither PTX nor a cubin",
          create_failing("cuModuleLoadDataEx", CUDA_ERROR_INVALID_IMAGE, &error));
    wrong(TR_E_COMPILER_MISSING, "libnvidia-ptxjitcompiler",
          create_failing("cuModuleLoadDataEx", CUDA_ERROR_JIT_COMPILER_NOT_FOUND, &error));
    wrong(TR_E_OUT_OF_MEMORY, "no memory left",
          create_failing("cuModuleLoadDataEx", CUDA_ERROR_OUT_OF_MEMORY, &error));
    wrong(TR_E_DRIVER, "CUDA_ERROR_UNKNOWN (999)",
          create_failing("cuModuleGetFunction", CUDA_ERROR_UNKNOWN, &error));
    wrong(TR_E_DRIVER, "looking at the device", create_failing("cuCtxGetDevice", CUDA_ERROR_UNKNOWN, &error));
    wrong(TR_E_DRIVER, "looking at the device",
          create_failing("cuDeviceGetAttribute", CUDA_ERROR_UNKNOWN, &error));
    wrong(TR_E_DRIVER, "cuFuncGetAttribute",
          create_failing("cuFuncGetAttribute", CUDA_ERROR_UNKNOWN, &error));
    wrong(TR_E_DRIVER, "cuFuncGetParamInfo",
          create_failing("cuFuncGetParamInfo", CUDA_ERROR_UNKNOWN, &error));
    wrong(TR_E_DRIVER, "cuCtxPushCurrent", create_failing("cuCtxPushCurrent", CUDA_ERROR_UNKNOWN, &error));
}

/* ---- arguments ---- */

static tr_status launch_with(size_t index, tr_arg argument, tr_error **error) {
    tr_arg args[KNOWN];
    char packed[512];
    memcpy(args, good, sizeof args);
    args[index] = argument;
    tr_status packing = tr_kernel_pack(right, args, KNOWN, packed, sizeof packed, error);
    tr_error_destroy(error ? *error : NULL);
    tr_status launching = tr_launch(right, NULL, args, KNOWN, error);
    assert_int_equal(packing, launching);
    return launching;
}

static tr_arg arg_i(tr_type type, int64_t value) {
    return (tr_arg){.type = type, .value.i = value};
}

static tr_arg arg_f(tr_type type, double value) {
    return (tr_arg){.type = type, .value.f = value};
}

static void test_arguments(void **state) {
    static tr_tensor_map never, other;
    memcpy(&other, &map, sizeof other);
    other.opaque[offsetof(tr__tensor_map, made_for) / 8] ^= 2;
    wrong(TR_E_SIGNATURE, "argument 0 'x' of 'right' was promised to be a multiple of 16",
          launch_with(0, tr_arg_ptr(8), &error));
    wrong(TR_E_SIGNATURE, "takes pointer, but i64 4096 was given", launch_with(0, tr_arg_i64(4096), &error));
    wrong(TR_E_SIGNATURE, "takes pointer, but u64 4096 was given",
          launch_with(0, arg_i(TR_TYPE_U64, 4096), &error));
    wrong(TR_E_SIGNATURE, "takes pointer, but fp32 1 was given", launch_with(0, tr_arg_f32(1), &error));
    wrong(TR_E_SIGNATURE, "takes pointer, but a tensor map was given",
          launch_with(0, tr_arg_map(&map), &error));
    wrong(TR_E_SIGNATURE,
          "argument 1 'n' of 'right' takes i32, -2147483648 to 2147483647, but i64 1099511627776",
          launch_with(1, tr_arg_i64(1ll << 40), &error));
    wrong(TR_E_SIGNATURE, "but i32 4294967296 was given",
          launch_with(1, arg_i(TR_TYPE_I32, 1ll << 32), &error));
    wrong(TR_E_SIGNATURE, "but u32 2147483648 was given",
          launch_with(1, arg_i(TR_TYPE_U32, 1ll << 31), &error));
    wrong(TR_E_SIGNATURE, "but u64 18446744073709551615 was given",
          launch_with(1, arg_i(TR_TYPE_U64, -1), &error));
    wrong(TR_E_SIGNATURE, "takes i32, but fp64 3 was given", launch_with(1, arg_f(TR_TYPE_F64, 3), &error));
    wrong(TR_E_SIGNATURE, "takes i32, but pointer 0x3 was given", launch_with(1, tr_arg_ptr(3), &error));
    wrong(TR_E_SIGNATURE, "takes i32, but type number 0 was given", launch_with(1, (tr_arg){0}, &error));
    wrong(TR_E_SIGNATURE, "takes i32, but type number -1 was given",
          launch_with(1, (tr_arg){.type = -1}, &error));
    wrong(TR_E_SIGNATURE, "takes i32, but type number 24 was given",
          launch_with(1, arg_i(TR_TYPE_F8E4M3, 0), &error));
    wrong(TR_E_SIGNATURE, "tr_arg.reserved is 1", launch_with(1, (tr_arg){TR_TYPE_I32, 1, {0}}, &error));
    wrong(TR_E_SIGNATURE, "argument 2 'one' of 'right' was compiled in as 1, but i32 2 was given",
          launch_with(2, tr_arg_i32(2), &error));
    wrong(TR_E_SIGNATURE, "was compiled in as 1, but i64 0 was given", launch_with(2, tr_arg_i64(0), &error));
    wrong(TR_E_SIGNATURE, "takes i32, but fp32 1 was given", launch_with(2, tr_arg_f32(1), &error));
    wrong(TR_E_SIGNATURE, "takes fp16, a finite value of magnitude up to 65504, but fp32 65520",
          launch_with(3, tr_arg_f32(65520), &error));
    wrong(TR_E_SIGNATURE, "but fp16 -1e+06 was given", launch_with(3, arg_f(TR_TYPE_F16, -1e6), &error));
    wrong(TR_E_SIGNATURE, "takes fp16, but i32 1 was given", launch_with(3, tr_arg_i32(1), &error));
    wrong(TR_E_SIGNATURE, "argument 4 'flag' of 'right' takes i1, 0 to 1, but i1 2 was given",
          launch_with(4, arg_i(TR_TYPE_I1, 2), &error));
    wrong(TR_E_SIGNATURE, "but i32 -1 was given", launch_with(4, tr_arg_i32(-1), &error));
    wrong(TR_E_SIGNATURE, "takes a tensor map, but NULL was given", launch_with(5, tr_arg_map(NULL), &error));
    wrong(TR_E_SIGNATURE, "was never encoded", launch_with(5, tr_arg_map(&never), &error));
    wrong(TR_E_SIGNATURE, "descriptor of another shape or type", launch_with(5, tr_arg_map(&other), &error));
    wrong(TR_E_SIGNATURE, "takes tensor map, but pointer 0x10 was given",
          launch_with(5, tr_arg_ptr(16), &error));
}

static tr_status launch_i8(int64_t value, const char *type, tr_error **error) {
    tr_kernel *kernel = make_kernel(runner, "small", type, NULL);
    tr_arg argument = tr_arg_i64(value);
    tr_status status = tr_launch(kernel, NULL, &argument, 1, error);
    tr_kernel_destroy(kernel);
    return status;
}

static void test_small_integers(void **state) {
    wrong(TR_E_SIGNATURE, "takes u8, 0 to 255, but i64 -1 was given", launch_i8(-1, "u8", &error));
    wrong(TR_E_SIGNATURE, "takes u8, 0 to 255, but i64 256 was given", launch_i8(256, "u8", &error));
    wrong(TR_E_SIGNATURE, "takes i8, -128 to 127, but i64 128 was given", launch_i8(128, "i8", &error));
    wrong(TR_E_SIGNATURE, "takes i16, -32768 to 32767, but i64 -32769 was given",
          launch_i8(-32769, "i16", &error));
    wrong(TR_E_SIGNATURE, "takes u64, 0 to 18446744073709551615, but i64 -1 was given",
          launch_i8(-1, "u64", &error));
}

/* ---- calls ---- */

static tr_launch_config configured(uint32_t x, uint32_t y, uint32_t z) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = x, config.grid[1] = y, config.grid[2] = z;
    return config;
}

static tr_status launch_grid(uint32_t x, uint32_t y, uint32_t z, tr_error **error) {
    tr_launch_config config = configured(x, y, z);
    return tr_launch(right, &config, good, KNOWN, error);
}

static tr_status launch_config(size_t size, uint32_t flags, char last, tr_error **error) {
    struct {
        tr_launch_config config;
        char later[16];
    } newer = {TR_LAUNCH_CONFIG_INIT, {0}};
    newer.config.struct_size = size;
    newer.config.flags = flags;
    newer.later[7] = last;
    return tr_launch(right, &newer.config, good, KNOWN, error);
}

static void test_calls(void **state) {
    char packed[512];
    wrong(TR_E_INVALID_ARGUMENT, "it is NULL", tr_launch(NULL, NULL, good, KNOWN, &error));
    wrong(TR_E_INVALID_ARGUMENT, "args is NULL", tr_launch(right, NULL, NULL, KNOWN, &error));
    wrong(TR_E_SIGNATURE,
          "'right' takes 6 arguments (x: pointer, n: i32, one: i32, half: fp16, flag: i1, desc: tensor "
          "map), but 5 were given",
          tr_launch(right, NULL, good, 5, &error));
    wrong(TR_E_SIGNATURE, "but 7 were given", tr_launch(right, NULL, good, 7, &error));
    wrong(TR_E_SIGNATURE, "but 0 were given", tr_launch(right, NULL, NULL, 0, &error));
    wrong(TR_E_RESOURCE, "2147483648 x 1 x 1 is over the limit of 2147483647 x 65535 x 65535",
          launch_grid(1u << 31, 1, 1, &error));
    wrong(TR_E_RESOURCE, "1 x 65536 x 1 is over", launch_grid(1, 65536, 1, &error));
    wrong(TR_E_RESOURCE, "1 x 1 x 65536 is over", launch_grid(1, 1, 65536, &error));
    wrong(TR_E_INVALID_ARGUMENT, "struct_size is 0; begin with TR_LAUNCH_CONFIG_INIT",
          launch_config(0, 0, 0, &error));
    wrong(TR_E_INVALID_ARGUMENT, "struct_size is 12", launch_config(12, 0, 0, &error));
    wrong(TR_E_INVALID_ARGUMENT, "struct_size is 1048576", launch_config(1 << 20, 0, 0, &error));
    wrong(TR_E_UNSUPPORTED, "at byte 63", launch_config(sizeof(tr_launch_config) + 16, 0, 1, &error));
    wrong(TR_E_INVALID_ARGUMENT, "both TR_LAUNCH_OVERLAP and TR_LAUNCH_NO_OVERLAP",
          launch_config(sizeof(tr_launch_config), TR_LAUNCH_OVERLAP | TR_LAUNCH_NO_OVERLAP, 0, &error));
    tr_launch_config carved = configured(1, 1, 1);
    carved.flags = TR_LAUNCH_CARVEOUT, carved.carveout = 101;
    wrong(TR_E_INVALID_ARGUMENT, "carveout is 101 percent", tr_launch(right, &carved, good, KNOWN, &error));
    wrong(TR_E_SIGNATURE, "argument 0 'x' of 'right': pointer 0x10 is no address that the driver knows",
          launch_config(sizeof(tr_launch_config), TR_LAUNCH_CHECK_POINTERS, 0, &error));
    wrong(TR_E_INVALID_ARGUMENT, "flags is 0x80000000",
          launch_config(sizeof(tr_launch_config), 1u << 31, 0, &error));

    wrong(TR_E_INVALID_ARGUMENT, "kernel is NULL",
          tr_kernel_pack(NULL, good, KNOWN, packed, sizeof packed, &error));
    wrong(TR_E_INVALID_ARGUMENT, "buffer is NULL", tr_kernel_pack(right, good, KNOWN, NULL, 512, &error));
    wrong(TR_E_INVALID_ARGUMENT, "args is NULL", tr_kernel_pack(right, NULL, KNOWN, packed, 512, &error));
    wrong(TR_E_INVALID_ARGUMENT, "but the buffer has 16",
          tr_kernel_pack(right, good, KNOWN, packed, 16, &error));
    wrong(TR_E_SIGNATURE, "but 2 were given", tr_kernel_pack(right, good, 2, packed, sizeof packed, &error));
    int64_t size;
    assert_int_equal(tr_kernel_attribute(right, TR_ATTRIBUTE_PACKED_SIZE, &size, NULL), TR_OK);
    assert_int_equal(tr_kernel_pack(right, good, KNOWN, packed, sizeof packed, NULL), TR_OK);
    wrong(TR_E_INVALID_ARGUMENT, "kernel is NULL",
          tr_launch_packed(NULL, NULL, packed, (size_t)size, &error));
    wrong(TR_E_INVALID_ARGUMENT, "buffer is NULL", tr_launch_packed(right, NULL, NULL, (size_t)size, &error));
    wrong(TR_E_SIGNATURE, "bytes, but 8 were given", tr_launch_packed(right, NULL, packed, 8, &error));
    packed[0] = 1;
    wrong(TR_E_SIGNATURE, "argument 0 'x' of 'right' was promised to be a multiple of 16",
          tr_launch_packed(right, NULL, packed, (size_t)size, &error));
    tr_launch_config config = configured(1, 1, 1);
    wrong(TR_E_SIGNATURE, "was promised to be a multiple of 16",
          tr_launch_packed(right, &config, packed, (size_t)size, &error));
}

static void test_questions(void **state) {
    int64_t value = 7;
    void *function;
    size_t bytes;
    uint32_t grid[3] = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
    wrong(TR_E_INVALID_ARGUMENT, "kernel is NULL",
          tr_kernel_attribute(NULL, TR_ATTRIBUTE_SHARED, &value, &error));
    assert_int_equal(value, 0);
    wrong(TR_E_INVALID_ARGUMENT, "out is NULL",
          tr_kernel_attribute(right, TR_ATTRIBUTE_SHARED, NULL, &error));
    wrong(TR_E_INVALID_ARGUMENT, "attribute 99 is none", tr_kernel_attribute(right, 99, &value, &error));
    wrong(TR_E_INVALID_ARGUMENT, "kernel is NULL", tr_kernel_function(NULL, &function, &error));
    assert_null(function);
    wrong(TR_E_INVALID_ARGUMENT, "cufunction is NULL", tr_kernel_function(right, NULL, &error));
    wrong(TR_E_INVALID_ARGUMENT, "kernel is NULL", tr_kernel_load(NULL, &error));
    wrong(TR_E_INVALID_ARGUMENT, "kernel is NULL", tr_kernel_workspace(NULL, grid, &bytes, NULL, &error));
    wrong(TR_E_INVALID_ARGUMENT, "grid is NULL", tr_kernel_workspace(right, NULL, &bytes, NULL, &error));
    wrong(TR_E_INVALID_ARGUMENT, "bytes is NULL", tr_kernel_workspace(right, grid, NULL, NULL, &error));
    wrong(TR_E_RESOURCE, "4294967295 x 4294967295 x 4294967295 has no number",
          tr_kernel_workspace(right, grid, &bytes, NULL, &error));
    tr_param_info info = TR_PARAM_INFO_INIT;
    assert_int_equal(tr_kernel_param(right, KNOWN, &info), TR_E_INVALID_ARGUMENT);
    assert_int_equal(tr_kernel_param(NULL, 0, &info), TR_E_INVALID_ARGUMENT);
    assert_int_equal(tr_kernel_param(right, 0, NULL), TR_E_INVALID_ARGUMENT);
    info.struct_size = 0;
    assert_int_equal(tr_kernel_param(right, 0, &info), TR_E_INVALID_ARGUMENT);
    assert_int_equal(tr_kernel_param_count(NULL), 0);
    mistakes += 5;
}

static void test_memory(void **state) {
    uint64_t ptr = 1;
    char byte = 0;
    wrong(TR_E_INVALID_ARGUMENT, "runner is NULL", tr_device_alloc(NULL, 8, &ptr, &error));
    assert_int_equal(ptr, 0);
    wrong(TR_E_INVALID_ARGUMENT, "out is NULL", tr_device_alloc(runner, 8, NULL, &error));
    wrong(TR_E_INVALID_ARGUMENT, "0 bytes", tr_device_alloc(runner, 0, &ptr, &error));
    stub_fail("cuMemAlloc", 1, CUDA_ERROR_OUT_OF_MEMORY, false);
    wrong(TR_E_OUT_OF_MEMORY, "99 bytes of device memory: cuMemAlloc failed",
          tr_device_alloc(runner, 99, &ptr, &error));
    wrong(TR_E_INVALID_ARGUMENT, "runner is NULL", tr_device_free(NULL, 16, &error));
    stub_fail("cuMemFree", 1, CUDA_ERROR_INVALID_VALUE, false);
    wrong(TR_E_DRIVER, "freeing 0x10", tr_device_free(runner, 16, &error));
    wrong(TR_E_INVALID_ARGUMENT, "src is NULL", tr_device_write(runner, 16, NULL, 1, &error));
    wrong(TR_E_INVALID_ARGUMENT, "dst is NULL", tr_device_read(runner, NULL, 16, 1, &error));
    stub_fail("cuMemcpyHtoD", 1, CUDA_ERROR_INVALID_VALUE, false);
    wrong(TR_E_DRIVER, "writing 1 bytes to 0x10", tr_device_write(runner, 16, &byte, 1, &error));
    stub_fail("cuMemcpyDtoH", 1, CUDA_ERROR_INVALID_VALUE, false);
    wrong(TR_E_DRIVER, "reading 1 bytes from 0x10", tr_device_read(runner, &byte, 16, 1, &error));
    wrong(TR_E_INVALID_ARGUMENT, "runner is NULL", tr_device_synchronize(NULL, &error));
}

/* ---- tensor maps ---- */

static const tr_tensor TENSOR = {sizeof(tr_tensor), 0x1000, TR_TYPE_F16, 2, 0, 0, {100, 200}, {208, 1}};

static tr_status encode(size_t param, const tr_tensor *tensor, tr_error **error) {
    tr_tensor_map out, zero;
    memset(&out, 1, sizeof out);
    memset(&zero, 0, sizeof zero);
    tr_status status = tr_tensor_map_encode(right, param, tensor, &out, error);
    if (status) assert_memory_equal(&out, &zero, sizeof out);
    return status;
}

#define wrong_tensor(status, words, change)                                                                  \
    do {                                                                                                     \
        tr_tensor tensor = TENSOR;                                                                           \
        change;                                                                                              \
        wrong(status, words, encode(5, &tensor, &error));                                                    \
    } while (0)

static void test_tensor_maps(void **state) {
    tr_tensor_map out;
    wrong(TR_E_INVALID_ARGUMENT, "kernel is NULL", tr_tensor_map_encode(NULL, 5, &TENSOR, &out, &error));
    wrong(TR_E_INVALID_ARGUMENT, "tensor is NULL", tr_tensor_map_encode(right, 5, NULL, &out, &error));
    wrong(TR_E_INVALID_ARGUMENT, "out is NULL", tr_tensor_map_encode(right, 5, &TENSOR, NULL, &error));
    wrong(TR_E_SIGNATURE, "none of index 6", encode(6, &TENSOR, &error));
    wrong(TR_E_SIGNATURE, "argument 1 'n' of 'right' takes i32, not a tensor map",
          encode(1, &TENSOR, &error));
    wrong_tensor(TR_E_SIGNATURE, "rank 2, but a tensor of rank 3", tensor.rank = 3);
    wrong_tensor(TR_E_SIGNATURE, "descriptor of fp16, but a tensor of bf16", tensor.element = TR_TYPE_BF16);
    wrong_tensor(TR_E_INVALID_ARGUMENT, "tr_tensor.reserved must be 0", tensor.reserved = 1);
    wrong_tensor(TR_E_INVALID_ARGUMENT, "flags 0x10", tensor.flags = 16);
    wrong_tensor(TR_E_SIGNATURE, "only fp32 is rounded to tf32, not fp16",
                 tensor.flags = TR_TENSOR_ROUND_TF32);
    wrong_tensor(TR_E_SIGNATURE, "lies at 0x1008; a descriptor's must be a multiple of 16",
                 tensor.ptr = 0x1008);
    wrong_tensor(TR_E_SIGNATURE, "lies at 0x0", tensor.ptr = 0);
    wrong_tensor(TR_E_SIGNATURE, "last dimension's stride is 2", tensor.strides[1] = 2);
    wrong_tensor(TR_E_SIGNATURE, "shape[0] is -1", tensor.shape[0] = -1);
    wrong_tensor(TR_E_SIGNATURE, "shape[1] is 2147483648", tensor.shape[1] = 1ll << 31);
    wrong_tensor(TR_E_SIGNATURE, "strides[0] is 201 elements of 2 bytes", tensor.strides[0] = 201);
    wrong_tensor(TR_E_SIGNATURE, "strides[0] is -208 elements", tensor.strides[0] = -208);
    wrong_tensor(TR_E_INVALID_ARGUMENT, "struct_size is 0; begin with TR_TENSOR_INIT",
                 tensor.struct_size = 0);
}

/* ---- what happened before ---- */

static void test_captures_and_streams(void **state) {
    CUcontext context, here;
    CUstream stream;
    CUgraph graph;
    assert_int_equal(cuCtxCreate_v2(&context, 0, 1), 0);
    assert_int_equal(cuStreamCreate(&stream, 0), 0);
    tr_launch_config config = configured(1, 1, 1);
    config.stream = stream;
    tr_kernel *late = make_kernel(runner, "late", "", NULL);
    assert_int_equal(cuCtxPopCurrent_v2(&here), 0);
    launch_right();
    stub_fail("cuLaunchKernelEx", 1, CUDA_ERROR_INVALID_HANDLE, false);
    tr_error *error;
    judge(tr_launch(late, &config, NULL, 0, &error), error, TR_E_INVALID_ARGUMENT,
          "the stream belongs to another context than the current one", "a foreign stream");
    tr_error_destroy(error);
    assert_int_equal(cuCtxPushCurrent_v2(context), 0);
    tr_kernel_destroy(late);
    CUcontext third;
    assert_int_equal(cuCtxCreate_v2(&third, 0, 1), 0);
    assert_int_equal(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), 0);
    judge(tr_launch(right, &config, good, KNOWN, &error), error, TR_E_INVALID_ARGUMENT,
          "call tr_kernel_load before the capture begins", "a first launch in a capture");
    tr_error_destroy(error);
    assert_int_equal(cuStreamEndCapture(stream, &graph), 0);
    cuGraphDestroy(graph);
    cuCtxDestroy_v2(third);
    cuStreamDestroy_v2(stream);
    cuCtxDestroy_v2(context);
    launch_right();

    /* Destroyed by another thread, as it were: it is still this one's current context. */
    assert_int_equal(cuCtxCreate_v2(&context, 0, 1), 0);
    assert_int_equal(cuCtxCreate_v2(&third, 0, 1), 0);
    cuCtxDestroy_v2(context);
    assert_int_equal(cuCtxPopCurrent_v2(&here), 0);
    judge(tr_launch(right, NULL, good, KNOWN, &error), error, TR_E_DRIVER,
          "the current context was destroyed", "a destroyed context");
    assert_int_equal(tr_error_driver_code(error), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    tr_error_destroy(error);
    assert_int_equal(cuCtxPopCurrent_v2(&here), 0);
    cuCtxDestroy_v2(third);
    launch_right();
}

static void test_launch_fails(void **state) {
    static const struct {
        CUresult result;
        tr_status status;
        const char *words;
    } cases[] = {
        {CUDA_ERROR_INVALID_VALUE, TR_E_DRIVER, "launching right failed with CUDA_ERROR_INVALID_VALUE (1)"},
        {CUDA_ERROR_OUT_OF_MEMORY, TR_E_OUT_OF_MEMORY, "no memory left"},
        {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, TR_E_RESOURCE, "fewer warps or stages"},
        {CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, TR_E_RESOURCE, "launch fewer CTAs"},
        {CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, TR_E_DRIVER, "give a stream"},
        {CUDA_ERROR_INVALID_HANDLE, TR_E_DRIVER, "a stream or event is destroyed"},
        {CUDA_ERROR_NOT_SUPPORTED, TR_E_UNSUPPORTED, "this device or driver cannot do it"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_error *error;
        stub_fail("cuLaunchKernelEx", 1, cases[i].result, false);
        judge(tr_launch(right, NULL, good, KNOWN, &error), error, cases[i].status, cases[i].words,
              "a launch");
        assert_int_equal(tr_error_driver_code(error), cases[i].result);
        tr_error_destroy(error);
        launch_right();
    }
}

/* Last: the runner is of no use after it, and a new one works. */
static void test_broken_context(void **state) {
    static const CUresult results[] = {CUDA_ERROR_ILLEGAL_ADDRESS,
                                       CUDA_ERROR_MISALIGNED_ADDRESS,
                                       CUDA_ERROR_ILLEGAL_INSTRUCTION,
                                       CUDA_ERROR_LAUNCH_FAILED,
                                       CUDA_ERROR_HARDWARE_STACK_ERROR,
                                       CUDA_ERROR_LAUNCH_TIMEOUT,
                                       CUDA_ERROR_ASSERT,
                                       CUDA_ERROR_INVALID_PC};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        tr_runner *broken;
        tr_error *error;
        uint64_t ptr;
        CUcontext context;
        assert_int_equal(cuCtxCreate_v2(&context, 0, 1), 0);
        assert_int_equal(tr_runner_create(NULL, &broken, NULL), TR_OK);
        tr_kernel *kernel = make_kernel(broken, "breaking", "", NULL);
        stub_fail("cuCtxSynchronize", 1, results[i], true);
        judge(tr_device_synchronize(broken, &error), error, TR_E_DRIVER, "cuCtxSynchronize failed",
              "synchronizing");
        tr_error_destroy(error);
        judge(tr_device_synchronize(broken, &error), error, TR_E_STICKY,
              "an earlier launch broke the context", "again");
        tr_error_destroy(error);
        stub_fail("cuMemAlloc", 1, results[i], true);
        judge(tr_device_alloc(broken, 8, &ptr, &error), error, TR_E_STICKY, "did nothing", "allocating");
        tr_error_destroy(error);
        stub_fail("cuLaunchKernelEx", 1, results[i], true);
        judge(tr_launch(kernel, NULL, NULL, 0, &error), error, TR_E_STICKY, "launching breaking did nothing",
              "launching");
        tr_error_destroy(error);
        stub_fail(NULL, 0, CUDA_SUCCESS, false);
        tr_kernel_destroy(kernel);
        tr_runner_destroy(broken);
        cuCtxDestroy_v2(context);
        launch_right();
    }
}

static int begin(void **state) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.cache_dir = "";
    stub_reset();
    assert_int_equal(tr_runner_create(&options, &runner, NULL), TR_OK);
    right = make_kernel(runner, "right", SIGNATURE, as_encoded);
    tr_tensor tensor = TENSOR;
    assert_int_equal(tr_tensor_map_encode(right, 5, &tensor, &map, NULL), TR_OK);
    const tr_arg args[KNOWN] = {tr_arg_ptr(0x10),      tr_arg_i32(3),        tr_arg_i32(1),
                                arg_f(TR_TYPE_F16, 2), arg_i(TR_TYPE_I1, 1), tr_arg_map(&map)};
    memcpy(good, args, sizeof good);
    return 0;
}

static int end(void **state) {
    tr_kernel_destroy(right);
    tr_runner_destroy(runner);
    tr__settle();
    print_message("%d wrong calls\n", mistakes);
    return mistakes < 80;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_creating),       cmocka_unit_test(test_driver_refuses),
        cmocka_unit_test(test_arguments),      cmocka_unit_test(test_small_integers),
        cmocka_unit_test(test_calls),          cmocka_unit_test(test_questions),
        cmocka_unit_test(test_memory),         cmocka_unit_test(test_tensor_maps),
        cmocka_unit_test(test_launch_fails),   cmocka_unit_test(test_captures_and_streams),
        cmocka_unit_test(test_broken_context),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
