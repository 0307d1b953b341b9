/* first LLIR: a program of the first release, built against the header that is kept in baseline/ and run with today's
   library: load, compile, launch, through every struct that grows. C and C++ alike.

   Each struct ends where its page does, and the next page cannot be touched: a library that takes it for one of its own,
   longer structs reads or writes past its end and is killed. What each field means is seen by what it does. */
#include <triton_runner.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N = 1000 };
static int logged, reached;
static char log_mark, progress_mark;

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "first.c:%d: %s; %s\n", __LINE__, #condition, tr_error_message(error));          \
            exit(EXIT_FAILURE);                                                                              \
        }                                                                                                    \
    } while (0)

static tr_error *error;

static void *at_the_end(const void *init, size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = (char *)mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + page, page, PROT_NONE)) exit(EXIT_FAILURE);
    return memcpy(pages + page - size, init, size);
}

static void note(void *user, int32_t level, const char *message) {
    (void)level;
    logged += user == &log_mark && message && *message;
}

static int32_t passed(void *user, tr_stage stage, double seconds) {
    (void)seconds;
    if (user == &progress_mark && stage == TR_STAGE_PTX) reached++;
    return 0;
}

static tr_runner *make_runner(void) {
    tr_runner_options init = TR_RUNNER_OPTIONS_INIT;
    tr_runner_options *options = (tr_runner_options *)at_the_end(&init, sizeof init);
    tr_runner *runner = NULL;
    options->device = "cpu";
    options->cache_dir = "/dev/null/no-folder"; /* so that there is something to log */
    options->log = note, options->log_user = &log_mark;
    REQUIRE(tr_runner_create(options, &runner, &error) == TR_OK);
    return runner;
}

static tr_program *load(tr_runner *runner, const char *path) {
    tr_load_options init = TR_LOAD_OPTIONS_INIT;
    tr_load_options *options = (tr_load_options *)at_the_end(&init, sizeof init);
    tr_program *program = NULL;
    options->kernel = "another";
    REQUIRE(tr_load_stage(runner, TR_STAGE_LLIR, path, options, &program, &error) != TR_OK && !program);
    tr_error_destroy(error);
    options->kernel = "vector_add";
    options->signature = "*fp32, *fp32, *fp32, i32";
    REQUIRE(tr_load_stage(runner, TR_STAGE_LLIR, path, options, &program, &error) == TR_OK);
    REQUIRE(tr_program_stage(program) == TR_STAGE_LLIR && !strcmp(tr_program_kernel(program), "vector_add"));
    return program;
}

static tr_program *compile(const tr_program *program) {
    tr_compile_options init = TR_COMPILE_OPTIONS_INIT;
    tr_compile_options *options = (tr_compile_options *)at_the_end(&init, sizeof init);
    tr_program *ptx = NULL;
    const void *text = NULL;
    size_t size = 0;
    options->arch = "sm_89", options->llvm = "llvm", options->flags = 1u << 31;
    REQUIRE(tr_compile_to(program, TR_STAGE_PTX, options, &ptx, &error) == TR_E_UNSUPPORTED);
    tr_error_destroy(error);
    options->flags = 0;
    options->timeout_ms = 300000;
    options->progress = passed, options->progress_user = &progress_mark;
    REQUIRE(tr_compile_to(program, TR_STAGE_PTX, options, &ptx, &error) == TR_OK);
    REQUIRE(reached == 1);
    REQUIRE(tr_program_bytes(ptx, &text, &size) == TR_OK && strstr((const char *)text, ".target sm_89"));
    return ptx;
}

static void ask_parameters(const tr_kernel *kernel) {
    static const tr_type types[] = {TR_TYPE_PTR, TR_TYPE_PTR, TR_TYPE_PTR, TR_TYPE_I32};
    tr_param_info init = TR_PARAM_INFO_INIT;
    tr_param_info *info = (tr_param_info *)at_the_end(&init, sizeof init);
    REQUIRE(tr_kernel_param_count(kernel) == 4);
    for (uint32_t i = 0; i < 4; i++) {
        REQUIRE(tr_kernel_param(kernel, i, info) == TR_OK && info->struct_size == sizeof init);
        REQUIRE(info->type == types[i] && info->element == (i < 3 ? TR_TYPE_F32 : 0));
        REQUIRE(info->offset == 8 * i && info->size == (i < 3 ? 8u : 4u) && info->divisibility >= 1);
        REQUIRE(info->reserved == 0 && info->constant == 0);
    }
}

static void launch(tr_runner *runner, const tr_kernel *kernel, int planned) {
    static float x[N], y[N], out[N];
    float *host[3] = {x, y, out};
    uint64_t device[3];
    tr_launch_config init = TR_LAUNCH_CONFIG_INIT;
    tr_launch_config *config = (tr_launch_config *)at_the_end(&init, sizeof init);
    for (int i = 0; i < N; i++) x[i] = (float)i, y[i] = planned ? 3 : 2, out[i] = 0;
    for (int i = 0; i < 3; i++)
        REQUIRE(tr_device_alloc(runner, sizeof x, &device[i], &error) == TR_OK &&
                tr_device_write(runner, device[i], host[i], sizeof x, &error) == TR_OK);
    const tr_arg arguments[4] = {tr_arg_ptr(device[0]), tr_arg_ptr(device[1]), tr_arg_ptr(device[2]),
                                 tr_arg_i32(N)};
    const tr_arg *args = (const tr_arg *)at_the_end(arguments, sizeof arguments);
    config->flags = TR_LAUNCH_CARVEOUT, config->carveout = 101; /* the last field */
    REQUIRE(tr_launch(kernel, config, args, 4, &error) == TR_E_INVALID_ARGUMENT);
    tr_error_destroy(error);
    config->flags = 0, config->carveout = 0;
    if (planned) {
        tr_plan *plan = NULL;
        uint32_t index = 7;
        REQUIRE(tr_plan_create(runner, &plan, &error) == TR_OK);
        REQUIRE(tr_plan_add(plan, kernel, config, args, 4, NULL, 0, &index, &error) == TR_OK && index == 0);
        REQUIRE(tr_plan_launch(plan, NULL, &error) == TR_OK);
        REQUIRE(tr_device_synchronize(runner, &error) == TR_OK);
        tr_plan_destroy(plan);
    } else
        REQUIRE(tr_launch(kernel, config, args, 4, &error) == TR_OK);
    REQUIRE(tr_device_read(runner, out, device[2], sizeof out, &error) == TR_OK);
    for (int i = 0; i < N; i++) REQUIRE(out[i] == x[i] + y[i]);
    for (int i = 0; i < 3; i++) REQUIRE(tr_device_free(runner, device[i], &error) == TR_OK);
}

static void describe_tensor(const tr_kernel *kernel) {
    tr_tensor init = TR_TENSOR_INIT;
    tr_tensor *tensor = (tr_tensor *)at_the_end(&init, sizeof init);
    tr_tensor_map map;
    tensor->element = TR_TYPE_F32, tensor->rank = 1, tensor->shape[0] = N, tensor->strides[0] = 1;
    REQUIRE(tr_tensor_map_encode(kernel, 0, tensor, &map, &error) == TR_E_SIGNATURE); /* it takes a pointer */
    tr_error_destroy(error);
}

int main(int argc, char **argv) {
    tr_kernel *kernel = NULL;
    if (argc != 2) return 2;
    tr_runner *runner = make_runner();
    tr_program *llir = load(runner, argv[1]), *ptx = compile(llir);
    REQUIRE(tr_kernel_create(ptx, &kernel, &error) == TR_OK);
    ask_parameters(kernel);
    describe_tensor(kernel);
    launch(runner, kernel, 0);
    launch(runner, kernel, 1);
    tr_kernel_destroy(kernel);
    tr_program_destroy(ptx);
    tr_program_destroy(llir);
    tr_runner_destroy(runner);
    REQUIRE(logged > 0);
    printf("built for %d.%d.%d, ran with %u.%u.%u\n", TR_VERSION_MAJOR, TR_VERSION_MINOR, TR_VERSION_PATCH,
           tr_version() >> 16, tr_version() >> 8 & 255, tr_version() & 255);
    return 0;
}
