/* The demo: five kernels, each started from six stages, each result compared with one computed in double
   precision.

       demo [--device auto|cpu|cuda[:N]] [--kernels FOLDER] [--no-op LIBCUDA]

   A cubin runs on a GPU of its architecture only. Without one its row is assembled from PTX, saved, loaded
   again, its record compared, and launched on a driver that does nothing (--no-op). Exit status 0: all that
   could run was right. */
#include "demo_kernels.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const suffixes[] = {"", "py", "ttir", "ttgir", "llir", "ptx", "cubin"};
static const char *const stage_titles[] = {"", "python", "ttir", "ttgir", "llir", "ptx", "cubin"};

typedef struct demo {
    const char *kernels, *no_op;
    tr_runner *runner;
    char arch[16];
    bool is_gpu;
    unsigned wrong, right, marked;
    unsigned color; /* on a terminal that wants it */
} demo;

typedef struct outcome {
    bool ran;
    double error, milliseconds;
    char note[256]; /* why it did not run, or what was done instead */
} outcome;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

static void give_up(outcome *outcome, tr_status status, tr_error *error) {
    snprintf(outcome->note, sizeof outcome->note, "%s: %s", tr_status_name(status), tr_error_message(error));
    tr_error_destroy(error);
}

static tr_status load(const demo *demo, const demo_kernel *kernel, tr_stage stage, tr_program **out,
                      tr_error **error) {
    char path[4096];
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    if (stage == TR_STAGE_PYTHON) {
        options.kernel = kernel->name;
        options.signature = kernel->signature;
        snprintf(path, sizeof path, "%s/%s.py", demo->kernels, kernel->name);
    } else {
        snprintf(path, sizeof path, "%s/stages/%s/%s.%s", demo->kernels, demo->arch, kernel->name,
                 suffixes[stage]);
    }
    return tr_load_stage(demo->runner, stage, path, &options, out, error);
}

/* Loads, compiles what is missing, launches, compares. */
static void start_from(const demo *demo, const demo_kernel *kernel, tr_stage stage, outcome *outcome) {
    tr_program *program = NULL;
    tr_kernel *loaded = NULL;
    tr_error *error = NULL;
    double start = now();
    tr_status status = load(demo, kernel, stage, &program, &error);
    if (!status) status = tr_kernel_create(program, &loaded, &error);
    outcome->milliseconds = now() - start;
    if (!status) status = kernel->run(demo->runner, loaded, &outcome->error, &error);
    outcome->ran = !status;
    if (status) give_up(outcome, status, error);
    tr_kernel_destroy(loaded);
    tr_program_destroy(program);
}

/* What of a cubin can be shown without its GPU: PTX is assembled; saved and loaded, bytes and record are the
 * same. */
static tr_status assemble(const demo *demo, const demo_kernel *kernel, char *path, tr_error **error) {
    tr_program *ptx = NULL, *cubin = NULL, *again = NULL;
    tr_status status = load(demo, kernel, TR_STAGE_PTX, &ptx, error);
    if (!status) status = tr_compile_to(ptx, TR_STAGE_CUBIN, NULL, &cubin, error);
    if (!status) status = tr_program_save(cubin, path, error);
    if (!status) status = tr_load_stage(demo->runner, TR_STAGE_CUBIN, path, NULL, &again, error);
    if (!status) {
        const void *data[2];
        size_t size[2];
        tr_program_bytes(cubin, &data[0], &size[0]);
        tr_program_bytes(again, &data[1], &size[1]);
        bool same = size[0] == size[1] && !memcmp(data[0], data[1], size[0]) &&
                    !strcmp(tr_program_metadata(cubin), tr_program_metadata(again));
        if (!same) status = TR_E_PARSE;
    }
    tr_program_destroy(again);
    tr_program_destroy(cubin);
    tr_program_destroy(ptx);
    return status;
}

static tr_status launch_on_no_op(const demo *demo, const demo_kernel *kernel, const char *path,
                                 tr_error **error) {
    tr_runner *runner = NULL;
    tr_program *program = NULL;
    tr_kernel *loaded = NULL;
    double ignored;
    setenv("TRITON_RUNNER_LIBCUDA", demo->no_op, 1);
    tr_status status = tr_runner_create(NULL, &runner, error);
    if (!status) status = tr_load_stage(runner, TR_STAGE_CUBIN, path, NULL, &program, error);
    if (!status) status = tr_kernel_create(program, &loaded, error);
    if (!status) status = kernel->run(runner, loaded, &ignored, error);
    tr_kernel_destroy(loaded);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    return status;
}

static void cubin_without_gpu(const demo *demo, const demo_kernel *kernel, outcome *outcome) {
    char path[] = "/tmp/triton-runner-demo-XXXXXX.cubin";
    int file = mkstemps(path, 6);
    if (file >= 0) close(file);
    tr_error *error = NULL;
    tr_status status = assemble(demo, kernel, path, &error);
    if (!status && demo->no_op) status = launch_on_no_op(demo, kernel, path, &error);
    unlink(path);
    if (status)
        give_up(outcome, status, error);
    else
        strcpy(outcome->note,
               demo->no_op ? "assembled, record checked, no-op launch" : "assembled, record checked");
}

static void print_cell(demo *demo, const demo_kernel *kernel, tr_stage stage, const outcome *outcome,
                       bool expected) {
    bool right = outcome->ran && outcome->error <= kernel->tolerance;
    const char *color = !demo->color ? "" : right ? "\033[32m" : expected ? "\033[33m" : "\033[31m";
    printf("  %-11s %-7s ", kernel->name, stage_titles[stage]);
    if (right)
        printf("%sright%s   %9.2e  %9.2e  %8.1f ms\n", color, demo->color ? "\033[0m" : "", outcome->error,
               kernel->tolerance, outcome->milliseconds);
    else if (outcome->ran)
        printf("%sWRONG%s   %9.2e  %9.2e\n", color, demo->color ? "\033[0m" : "", outcome->error,
               kernel->tolerance);
    else
        printf("%s%s%s %s\n", color, expected ? "needs a GPU:" : "FAILED ", demo->color ? "\033[0m" : "",
               outcome->note);
    fflush(stdout);
    if (right)
        demo->right++;
    else if (expected)
        demo->marked++;
    else
        demo->wrong++;
}

static void run_all(demo *demo) {
    printf("  %-11s %-7s %-7s %9s  %9s  %11s\n", "kernel", "start", "", "error", "allowed", "to launch");
    for (const demo_kernel *kernel = demo_kernels; kernel->name; kernel++) {
        for (tr_stage stage = TR_STAGE_PYTHON; stage <= TR_STAGE_CUBIN; stage++) {
            outcome outcome = {.error = 0};
            bool instead = stage == TR_STAGE_CUBIN && !demo->is_gpu;
            if (instead)
                cubin_without_gpu(demo, kernel, &outcome);
            else
                start_from(demo, kernel, stage, &outcome);
            print_cell(demo, kernel, stage, &outcome,
                       instead && strstr(outcome.note, "assembled") == outcome.note);
        }
    }
}

/* Which of the kept stages fit: those for sm_90 on an sm_90 GPU, else those for sm_89. */
static void choose_stages(demo *demo) {
    char *json = NULL;
    bool hopper = demo->is_gpu && !tr_runner_report(demo->runner, TR_REPORT_DOCTOR, &json, NULL) &&
                  strstr(json, "sm_90");
    strcpy(demo->arch, hopper ? "sm_90" : "sm_89");
    tr_free(json);
}

int main(int argc, char **argv) {
    const char *device = "auto", *no_color = getenv("NO_COLOR");
    demo demo = {.kernels = KERNELS, .color = isatty(1) && !(no_color && *no_color)};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--device"))
            device = argv[i + 1];
        else if (!strcmp(argv[i], "--kernels"))
            demo.kernels = argv[i + 1];
        else if (!strcmp(argv[i], "--no-op"))
            demo.no_op = argv[i + 1];
        else
            return fprintf(stderr, "demo: unknown option %s\n", argv[i]), 2;
    }
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_error *error;
    options.device = strcmp(device, "auto") ? device : "cuda";
    tr_status status = tr_runner_create(&options, &demo.runner, &error);
    uint64_t probe = 0;
    if (!status) status = tr_device_alloc(demo.runner, 1, &probe, &error); /* opens the driver */
    if (!status) tr_device_free(demo.runner, probe, NULL);
    demo.is_gpu = !status && strncmp(options.device, "cpu", 3) != 0;
    if (status == TR_E_DRIVER_MISSING && !strcmp(device, "auto")) {
        tr_error_destroy(error);
        tr_runner_destroy(demo.runner);
        options.device = "cpu";
        status = tr_runner_create(&options, &demo.runner, &error);
    }
    check(status, &error);
    choose_stages(&demo);
    printf("device: %s; stages compiled for %s\n\n", demo.is_gpu ? "GPU" : "the CPU device (no GPU here)",
           demo.arch);
    run_all(&demo);
    tr_runner_destroy(demo.runner);
    printf("\n%u right, %u wrong, %u need a GPU\n", demo.right, demo.wrong, demo.marked);
    return demo.wrong || !demo.right ? EXIT_FAILURE : EXIT_SUCCESS;
}
