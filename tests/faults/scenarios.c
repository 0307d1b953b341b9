#include "scenarios.h"

#include "inject.h"
#include "launch.h"

#include <unistd.h>

#define EXAMPLES  TR_SOURCE_DIR "/examples/kernels/"
#define SIGNATURE "*fp32:16, *fp32:16, *fp32:16, i32, 1024"

#define TRY(call)                                                                                            \
    do {                                                                                                     \
        if ((status = (call))) goto done;                                                                    \
    } while (0)

/* A text that every run must have seen alike. */
static void see(world *world, const void *data, size_t size) {
    tr__hash both[2] = {world->seen, tr__hash_bytes(data, size)};
    world->seen = tr__hash_bytes(both, sizeof both);
}

static void see_number(world *world, int64_t number) {
    see(world, &number, sizeof number);
}

static void see_program(world *world, const tr_program *program) {
    const void *bytes;
    size_t size;
    tr_program_bytes(program, &bytes, &size);
    see(world, bytes, size);
    see(world, tr_program_metadata(program), strlen(tr_program_metadata(program)));
    see(world, tr_program_kernel(program), strlen(tr_program_kernel(program)));
    see_number(world, tr_program_stage(program));
}

static tr_status load(world *world, const char *path, tr_program **out, tr_error **error) {
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    if (strstr(path, ".py")) options.signature = SIGNATURE;
    tr_status status = tr_load_stage(world->runner, TR_STAGE_AUTO, path, &options, out, error);
    if (!status) see_program(world, *out);
    return status;
}

/* ---- programs ---- */

static tr_status run_create(world *world, tr_error **error) {
    tr_runner *runner;
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.device = "cuda:1", options.triton = "3.4.0",
    options.library_dir = options.cache_dir = world->folder;
    tr_status status = tr_runner_create(&options, &runner, error);
    if (!status) status = tr_runner_seal(runner, error);
    tr_runner_destroy(runner);
    return status;
}

static tr_status run_load(world *world, tr_error **error) {
    static const char *const paths[] = {
        EXAMPLES "vector_add.py",
        EXAMPLES "stages/sm_89/vector_add.ttir",
        EXAMPLES "stages/sm_89/softmax.ttgir",
        EXAMPLES "stages/sm_89/vector_add.llir",
        EXAMPLES "stages/sm_89/layer_norm.ptx",
        EXAMPLES "stages/sm_90/matmul_tma.cubin",
    };
    tr_status status = TR_OK;
    for (size_t i = 0; i < sizeof paths / sizeof *paths && !status; i++) {
        tr_program *program;
        status = load(world, paths[i], &program, error);
        tr_program_destroy(program);
    }
    return status;
}

static const char PTX[] = ".version 8.0\n.target sm_80\n.address_size 64\n"
                          ".visible .entry add(.param .u64 a, .param .u32 b) .reqntid 128 { ret; }\n";

static tr_status run_load_memory(world *world, tr_error **error) {
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_program *program;
    options.data = PTX, options.size = sizeof PTX - 1, options.kernel = "add",
    options.signature = "*fp32:16, i32";
    options.metadata = "{\"shared\": 64, \"num_warps\": 4, \"name\": \"add\"}";
    tr_status status = tr_load_stage(world->runner, TR_STAGE_PTX, "add.ptx", &options, &program, error);
    if (!status) see_program(world, program);
    tr_program_destroy(program);
    return status;
}

/* What is refused must be told so, whatever else goes wrong. */
static tr_status run_refuse(world *world, tr_error **error) {
    static const struct {
        const char *text;
        tr_stage stage;
    } cases[] = {{"module { tt.func public @f(", TR_STAGE_TTIR},
                 {".version 8.0\n.target sm_80\n", TR_STAGE_PTX},
                 {"\177ELF", TR_STAGE_CUBIN}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_load_options options = TR_LOAD_OPTIONS_INIT;
        tr_program *program;
        options.data = cases[i].text, options.size = strlen(cases[i].text);
        tr_status status = tr_load_stage(world->runner, cases[i].stage, NULL, &options, &program, error);
        if (status != TR_E_PARSE) return tr_program_destroy(program), status ? status : TR_E_PARSE;
        if (error) tr_error_destroy(*error), *error = NULL;
    }
    return TR_OK;
}

static tr_status run_save(world *world, tr_error **error) {
    static const char *const names[] = {"stages/sm_89/vector_add.ptx", "stages/sm_89/softmax.cubin"};
    tr_status status = TR_OK;
    for (size_t i = 0; i < 2 && !status; i++) {
        char from[256], to[256];
        tr_program *program = NULL, *again = NULL;
        snprintf(from, sizeof from, EXAMPLES "%s", names[i]);
        snprintf(to, sizeof to, "%s/saved%s", world->folder, strrchr(from, '.'));
        TRY(load(world, from, &program, error));
        TRY(tr_program_save(program, to, error));
        TRY(load(world, to, &again, error));
    done:
        tr_program_destroy(program);
        tr_program_destroy(again);
    }
    return status;
}

/* ---- compiling, by far_end.c ---- */

static int32_t go_on(void *user, tr_stage reached, double seconds) {
    return 0;
}

static tr_status compile(world *world, const char *path, tr_stage to, const char *llvm, tr_error **error) {
    static const char *const environment[] = {"MLIR_ENABLE_DUMP=0", NULL};
    tr_program *program = NULL, *made = NULL, *passed = NULL;
    tr_compile_options options = TR_COMPILE_OPTIONS_INIT;
    tr_status status;
    options.arch = "sm_89", options.progress = go_on, options.llvm = llvm;
    options.timeout_ms = world->timeout_ms;
    if (to == TR_STAGE_CUBIN) options.environment = environment;
    TRY(load(world, path, &program, error));
    TRY(tr_compile_to(program, to, &options, &made, error));
    see_program(world, made);
    TRY(tr_program_at(made, tr_program_stage(program), &passed, error));
    see_program(world, passed);
    see_number(world, (int64_t)strlen(tr_program_log(made)));
done:
    tr_program_destroy(program);
    tr_program_destroy(made);
    tr_program_destroy(passed);
    return status;
}

static tr_status run_compile(world *world, tr_error **error) {
    return compile(world, EXAMPLES "vector_add.py", TR_STAGE_CUBIN, NULL, error);
}

static tr_status run_compile_native(world *world, tr_error **error) {
    return compile(world, EXAMPLES "stages/sm_89/vector_add.llir", TR_STAGE_PTX, "llvm", error);
}

static tr_status run_compile_cached(world *world, tr_error **error) {
    return compile(world, EXAMPLES "stages/sm_89/vector_add.ttir", TR_STAGE_CUBIN, NULL, error);
}

static tr_status run_amend(world *world, tr_error **error) {
    tr_program *program = NULL, *other = NULL;
    tr_compile_options options = TR_COMPILE_OPTIONS_INIT;
    tr_status status;
    options.options = "{\"num_warps\": 8}";
    TRY(load(world, EXAMPLES "stages/sm_89/vector_add.ttir", &program, error));
    TRY(tr_compile_to(program, TR_STAGE_TTIR, &options, &other, error));
    see_program(world, other);
done:
    tr_program_destroy(program);
    tr_program_destroy(other);
    return status;
}

static tr_status run_report(world *world, tr_error **error) {
    tr_status status = TR_OK;
    for (tr_report what = TR_REPORT_DOCTOR; what <= TR_REPORT_COUNTERS && !status; what++) {
        char *json;
        status = tr_runner_report(world->runner, what, &json, error);
        if (!status) see_number(world, json && *json == '{');
        tr_free(json);
    }
    return status;
}

static tr_status run_cache(world *world, tr_error **error) {
    tr_status status = TR_OK;
    for (tr_cache_action action = TR_CACHE_VERIFY; action <= TR_CACHE_CLEAR && !status; action++) {
        uint64_t affected;
        status = tr_runner_cache(world->runner, action, (uint64_t)1 << 30, &affected, error);
    }
    return status;
}

/* ---- kernels ---- */

static tr_status ask_kernel(world *world, const tr_kernel *kernel, tr_error **error) {
    tr_status status = tr_kernel_load(kernel, error);
    for (tr_attribute at = TR_ATTRIBUTE_NUM_WARPS; at <= TR_ATTRIBUTE_PACKED_SIZE && !status; at++) {
        int64_t value;
        status = tr_kernel_attribute(kernel, at, &value, error);
        see_number(world, value);
    }
    for (size_t i = 0; i < tr_kernel_param_count(kernel) && !status; i++) {
        tr_param_info info = TR_PARAM_INFO_INIT;
        tr_kernel_param(kernel, i, &info);
        see_number(world, info.type + info.offset);
    }
    void *function;
    size_t bytes;
    if (!status) status = tr_kernel_function(kernel, &function, error);
    if (!status) status = tr_kernel_workspace(kernel, (uint32_t[]){4, 4, 1}, &bytes, NULL, error);
    if (!status) see_number(world, (int64_t)bytes);
    return status;
}

static tr_status launch_all_ways(world *world, const tr_kernel *kernel, const tr_arg *args, size_t count,
                                 tr_error **error) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    unsigned char packed[512];
    int64_t size;
    config.grid[0] = 4;
    tr_status status = tr_launch(kernel, &config, args, count, error);
    config.flags = TR_LAUNCH_CHECK_POINTERS | TR_LAUNCH_PRIORITY;
    if (!status) status = tr_launch(kernel, &config, args, count, error);
    if (!status) status = tr_kernel_attribute(kernel, TR_ATTRIBUTE_PACKED_SIZE, &size, error);
    if (!status) status = tr_kernel_pack(kernel, args, count, packed, (size_t)size, error);
    config.flags = 0;
    if (!status) status = tr_launch_packed(kernel, &config, packed, (size_t)size, error);
    return status;
}

/* Of sm_90, with scratch for the descriptors that it makes itself. */
static tr_status run_kernel(world *world, tr_error **error) {
    tr_program *program = NULL;
    tr_kernel *kernel = NULL;
    tr_status status;
    tr_arg args[] = {tr_arg_ptr(0),  tr_arg_ptr(0),  tr_arg_ptr(0),
                     tr_arg_i32(64), tr_arg_i32(64), tr_arg_i32(64)};
    TRY(load(world, EXAMPLES "stages/sm_90/matmul_tma.cubin", &program, error));
    TRY(tr_kernel_create(program, &kernel, error));
    TRY(ask_kernel(world, kernel, error));
    TRY(launch_all_ways(world, kernel, args, 6, error));
    TRY(tr_device_synchronize(world->runner, error));
done:
    tr_program_destroy(program);
    tr_kernel_destroy(kernel);
    return status;
}

static tr_status run_tensor_map(world *world, tr_error **error) {
    inject_pause(true);
    tr_program *program = make_program(world->runner, "maps", "tensordesc<fp16[64, 64]>, i32", NULL);
    inject_pause(false);
    tr_kernel *kernel = NULL;
    tr_tensor tensor = TR_TENSOR_INIT;
    tr_tensor_map map;
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_status status;
    tensor.ptr = 4096, tensor.element = TR_TYPE_F16, tensor.rank = 2;
    tensor.shape[0] = tensor.shape[1] = tensor.strides[0] = 128, tensor.strides[1] = 1;
    TRY(tr_kernel_create(program, &kernel, error));
    TRY(tr_tensor_map_encode(kernel, 0, &tensor, &map, error));
    tr_arg args[] = {tr_arg_map(&map), tr_arg_i32(7)};
    TRY(tr_launch(kernel, &config, args, 2, error));
done:
    tr_program_destroy(program);
    tr_kernel_destroy(kernel);
    return status;
}

static tr_status run_memory(world *world, tr_error **error) {
    char text[16] = "0123456789abcde";
    uint64_t memory = 0;
    tr_status status;
    TRY(tr_device_alloc(world->runner, sizeof text, &memory, error));
    TRY(tr_device_write(world->runner, memory, text, sizeof text, error));
    TRY(tr_device_read(world->runner, text, memory, sizeof text, error));
    TRY(tr_device_synchronize(world->runner, error));
    TRY(tr_device_free(world->runner, memory, error));
    return TR_OK;
done:
    inject_pause(true); /* the caller's own tidying: it may try again */
    if (memory) cuMemFree_v2(memory);
    inject_pause(false);
    return status;
}

static tr_status change_plan(tr_plan *plan, const tr_kernel *kernel, tr_error **error) {
    tr_arg args[] = {tr_arg_ptr(0x1000), tr_arg_i32(5)};
    uint32_t first, second, copy, fill, grid[3] = {2, 2, 2};
    tr_status status;
    TRY(tr_plan_add(plan, kernel, NULL, args, 2, NULL, 0, &first, error));
    TRY(tr_plan_add(plan, kernel, NULL, args, 2, &first, 1, &second, error));
    TRY(tr_plan_add_copy(plan, 0x2000, 0x1000, 64, NULL, 0, &copy, error));
    TRY(tr_plan_add_fill(plan, 0x3000, 7, 64, &first, 0, &fill, error));
    TRY(tr_plan_launch(plan, NULL, error));
    args[1].value.i = 6;
    TRY(tr_plan_set(plan, second, grid, args, 2, error));
    TRY(tr_plan_set_copy(plan, copy, 0x2000, 0x1000, 128, error));
    TRY(tr_plan_set_fill(plan, fill, 0x3000, 9, 128, error));
    TRY(tr_plan_enable(plan, first, 0, error));
    TRY(tr_plan_launch(plan, NULL, error));
done:
    return status;
}

static tr_status run_plan(world *world, tr_error **error) {
    inject_pause(true);
    tr_program *program = make_program(world->runner, "add", "*fp32:16, i32", NULL);
    inject_pause(false);
    tr_kernel *kernel = NULL;
    tr_plan *plan = NULL;
    tr_status status;
    TRY(tr_kernel_create(program, &kernel, error));
    TRY(tr_plan_create(world->runner, &plan, error));
    TRY(change_plan(plan, kernel, error));
done:
    tr_plan_destroy(plan);
    tr_program_destroy(program);
    tr_kernel_destroy(kernel);
    return status;
}

static tr_status run_record(world *world, tr_error **error) {
    inject_pause(true);
    tr_program *program = make_program(world->runner, "add", "*fp32:16, i32", NULL);
    inject_pause(false);
    tr_kernel *kernel = NULL;
    tr_plan *plan = NULL;
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_arg args[] = {tr_arg_ptr(0x1000), tr_arg_i32(5)};
    uint32_t first, count;
    bool recording = false;
    tr_status status;
    config.stream = world->stream;
    TRY(tr_kernel_create(program, &kernel, error));
    TRY(tr_plan_create(world->runner, &plan, error));
    TRY(tr_plan_record(plan, config.stream, error));
    recording = true;
    TRY(tr_launch(kernel, &config, args, 2, error));
    TRY(tr_launch(kernel, &config, args, 2, error));
    recording = false;
    TRY(tr_plan_recorded(plan, &first, &count, error));
    see_number(world, first + count);
    TRY(tr_plan_launch(plan, NULL, error));
done:
    if (recording) tr_plan_recorded(plan, NULL, NULL, NULL);
    tr_plan_destroy(plan);
    tr_program_destroy(program);
    tr_kernel_destroy(kernel);
    return status;
}

/* ---- numbers, on the CPU device ---- */

static tr_status add_on_cpu(world *world, const tr_kernel *kernel, uint64_t memory[3], tr_error **error) {
    enum { N = 1500 };
    float x[N], out[N];
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_status status = TR_OK;
    for (int i = 0; i < N; i++) x[i] = (float)i;
    for (int i = 0; i < 3 && !status; i++) {
        status = tr_device_alloc(world->runner, sizeof x, &memory[i], error);
        if (!status) status = tr_device_write(world->runner, memory[i], x, sizeof x, error);
    }
    if (status) return status;
    tr_arg args[] = {tr_arg_ptr(memory[0]), tr_arg_ptr(memory[1]), tr_arg_ptr(memory[2]), tr_arg_i32(N)};
    config.grid[0] = 2;
    status = tr_launch(kernel, &config, args, 4, error);
    if (!status) status = tr_device_synchronize(world->runner, error);
    if (!status) status = tr_device_read(world->runner, out, memory[2], sizeof out, error);
    for (int i = 0; i < N && !status; i++)
        if (out[i] != 2 * x[i]) see_number(world, i); /* so that it differs from the right one */
    return status;
}

static tr_status run_cpu(world *world, tr_error **error) {
    tr_program *program = NULL;
    tr_kernel *kernel = NULL;
    uint64_t memory[3] = {0};
    tr_status status;
    TRY(load(world, EXAMPLES "stages/sm_89/vector_add.ptx", &program, error));
    TRY(tr_kernel_create(program, &kernel, error));
    TRY(add_on_cpu(world, kernel, memory, error));
done:
    inject_pause(true);
    for (int i = 0; i < 3; i++) tr_device_free(world->runner, memory[i], NULL);
    inject_pause(false);
    tr_program_destroy(program);
    tr_kernel_destroy(kernel);
    return status;
}

const scenario scenarios[] = {
    {"create", 0, run_create},
    {"load", 0, run_load},
    {"load-memory", 0, run_load_memory},
    {"refuse", 0, run_refuse},
    {"save", 0, run_save},
    {"amend", 0, run_amend},
    {"kernel", USES_DRIVER, run_kernel},
    {"tensor-map", USES_DRIVER, run_tensor_map},
    {"memory", USES_DRIVER, run_memory},
    {"plan", USES_DRIVER, run_plan},
    {"record", USES_DRIVER, run_record},
    {"cpu", USES_CPU, run_cpu},
    {"cached", USES_WORKER | USES_CACHE, run_compile_cached},
    {"cache", USES_WORKER | USES_CACHE, run_cache},
    {"compile", USES_WORKER, run_compile},
    {"compile-native", USES_WORKER, run_compile_native},
    {"report", USES_WORKER | USES_DRIVER, run_report},
    {0},
};

tr_runner_options world_options(const world *world, const scenario *scenario) {
    static char cache[128], libraries[128];
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    snprintf(cache, sizeof cache, "%s/cache", world->folder);
    snprintf(libraries, sizeof libraries, "%s/%s", world->folder,
             scenario->run == run_compile_native ? "native" : "lib");
    options.cache_dir = scenario->uses & USES_WORKER ? cache : "";
    options.library_dir = libraries;
    options.device = scenario->uses & USES_CPU ? "cpu" : "cuda";
    return options;
}
