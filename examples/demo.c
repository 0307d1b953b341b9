/* The demo: five kernels, each started from six stages, each result compared with one computed in double
   precision.

       demo [--device auto|cpu|cuda[:N]] [--kernels FOLDER] [--no-op LIBCUDA]

   ttir and ttgir belong to the Triton that made them. Where that one isn't, the Triton that is there makes its
   own from Python, and the row says so. A cubin runs on a GPU of its architecture only. Without one its row is
   assembled from PTX, saved, loaded again, its record compared, and launched on a driver that does nothing
   (--no-op). Exit status 0: all that could run was right. */
#include "demo_kernels.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const suffixes[] = {"", "py", "ttir", "ttgir", "llir", "ptx", "cubin"};
static const char *const stage_titles[] = {"", "python", "ttir", "ttgir", "llir", "ptx", "cubin"};

enum { NOTES = 64 }; /* more than there are rows */
typedef struct demo {
    const char *kernels, *no_op;
    tr_runner *runner;
    char arch[16];
    bool is_gpu;
    unsigned wrong, right, marked, fresh;
    bool color;         /* on a terminal that wants it */
    char *notes[NOTES]; /* why a start failed: too long for its row */
    unsigned note_count;
} demo;

typedef struct outcome {
    bool ran, fresh; /* fresh: started from what the Triton here made, not from what is kept */
    double error, milliseconds;
    const char *instead; /* what was done where it can't run */
    char *failure;
} outcome;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

static void give_up(outcome *outcome, tr_status status, tr_error *error) {
    if (asprintf(&outcome->failure, "%s: %s", tr_status_name(status), tr_error_message(error)) < 0)
        outcome->failure = NULL;
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

/* The stage as the Triton that is here makes it, from Python. */
static tr_status make(const demo *demo, const demo_kernel *kernel, tr_stage stage, tr_program **out,
                      tr_error **error) {
    tr_program *python = NULL;
    tr_status status = load(demo, kernel, TR_STAGE_PYTHON, &python, error);
    if (!status) status = tr_compile_to(python, stage, NULL, out, error);
    tr_program_destroy(python);
    return status;
}

/* Compiles what is missing, and loads it on the device. */
static tr_status prepare(const tr_program *program, tr_kernel **out, outcome *outcome, tr_error **error) {
    double start = now();
    tr_status status = tr_kernel_create(program, out, error);
    outcome->milliseconds += now() - start;
    return status;
}

/* Loads, compiles what is missing, launches, compares. */
static void start_from(const demo *demo, const demo_kernel *kernel, tr_stage stage, outcome *outcome) {
    tr_program *program = NULL;
    tr_kernel *loaded = NULL;
    tr_error *error = NULL;
    double start = now();
    tr_status status = load(demo, kernel, stage, &program, &error);
    outcome->milliseconds = now() - start;
    if (!status) status = prepare(program, &loaded, outcome, &error);
    if (status == TR_E_COMPILER_MISSING && (stage == TR_STAGE_TTIR || stage == TR_STAGE_TTGIR)) {
        tr_error_destroy(error);
        tr_program_destroy(program);
        outcome->milliseconds = 0;
        status = make(demo, kernel, stage, &program, &error);
        outcome->fresh = !status;
        if (!status) status = prepare(program, &loaded, outcome, &error);
    }
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
        outcome->instead =
            demo->no_op ? "assembled, record checked, no-op launch" : "assembled, record checked";
}

/* The number under which a failure is told below the table; equal ones are told once. */
static unsigned note(demo *demo, char *failure) {
    for (unsigned i = 0; i < demo->note_count; i++)
        if (failure && demo->notes[i] && !strcmp(demo->notes[i], failure)) return free(failure), i + 1;
    demo->notes[demo->note_count++] = failure;
    return demo->note_count;
}

static void print_row(demo *demo, const demo_kernel *kernel, tr_stage stage, const outcome *outcome) {
    bool right = outcome->ran && outcome->error <= kernel->tolerance;
    const char *word = right              ? "right"
                       : outcome->ran     ? "WRONG"
                       : outcome->instead ? "needs a GPU:"
                                          : "FAILED";
    const char *color = right ? "\033[32m" : outcome->instead ? "\033[33m" : "\033[31m";
    printf("  %-11s %-6s%c %s%s%s", kernel->name, stage_titles[stage], outcome->fresh ? '*' : ' ',
           demo->color ? color : "", word, demo->color ? "\033[0m" : "");
    if (outcome->ran)
        printf("   %9.2e  %9.2e  %8.1f ms\n", outcome->error, kernel->tolerance, outcome->milliseconds);
    else if (outcome->instead)
        printf(" %s\n", outcome->instead);
    else
        printf(" [%u]\n", note(demo, outcome->failure));
    fflush(stdout);
}

static void count(demo *demo, const demo_kernel *kernel, const outcome *outcome) {
    demo->fresh += outcome->fresh;
    if (outcome->ran && outcome->error <= kernel->tolerance)
        demo->right++;
    else if (outcome->instead)
        demo->marked++;
    else
        demo->wrong++;
}

static void run_all(demo *demo) {
    printf("  %-11s %-7s %-7s %9s  %9s  %11s\n", "kernel", "start", "", "error", "allowed", "to launch");
    for (const demo_kernel *kernel = demo_kernels; kernel->name; kernel++) {
        for (tr_stage stage = TR_STAGE_PYTHON; stage <= TR_STAGE_CUBIN; stage++) {
            outcome outcome = {.error = 0};
            if (stage == TR_STAGE_CUBIN && !demo->is_gpu)
                cubin_without_gpu(demo, kernel, &outcome);
            else
                start_from(demo, kernel, stage, &outcome);
            print_row(demo, kernel, stage, &outcome);
            count(demo, kernel, &outcome);
        }
    }
}

static void print_notes(demo *demo) {
    if (demo->fresh)
        printf("\n* made from Python by the Triton that is here, because the one that made the\n"
               "  kept file is not\n");
    for (unsigned i = 0; i < demo->note_count; i++) {
        printf("%s[%u] %s\n", i ? "" : "\n", i + 1, demo->notes[i] ? demo->notes[i] : "out of memory");
        free(demo->notes[i]);
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
    print_notes(&demo);
    printf("\n%u right, %u wrong, %u need a GPU\n", demo.right, demo.wrong, demo.marked);
    return demo.wrong || !demo.right ? EXIT_FAILURE : EXIT_SUCCESS;
}
