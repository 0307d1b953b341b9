/* Compile to each stage, save it, load it in a new process with nothing beside it, go on and launch: each later stage
   must have the bytes that it had in one go, and the numbers must be right, on the CPU device against double precision.
   For every Triton found, with those example kernels that it can express. */
#include "demo_kernels.h"
#include "tritons.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KERNELS TR_SOURCE_DIR "/examples/kernels/"
#define ARCH    "sm_90" /* of the CPU device too: it has what Hopper has */

static const struct kernel {
    const char *name, *options, *since; /* the first Triton that can express it */
} kernels[] = {
    {"vector_add", "{\"num_warps\": 8}", "3.2"},
    {"layer_norm", "{\"num_warps\": 2}", "3.2"},
    {"matmul", "{\"enable_fp_fusion\": false, \"num_stages\": 2}", "3.2"},
    {"matmul_tma", NULL, "3.4"},
};

static const char *const endings[] = {"", "py", "ttir", "ttgir", "llir", "ptx", "cubin"};

static int complain(const char *what, tr_status status, tr_error *error) {
    printf("    %s: %s: %s\n%.2000s\n", what, tr_status_name(status), tr_error_message(error),
           tr_error_log(error));
    return 1;
}

static tr_runner *make_runner(void) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.cache_dir = "";
    options.device = "cpu";
    tr_runner *runner = NULL;
    tr_error *error = NULL;
    tr_status status = tr_runner_create(&options, &runner, &error);
    if (status) exit(complain("tr_runner_create", status, error));
    return runner;
}

static const demo_kernel *find_kernel(const char *name) {
    const demo_kernel *kernel = demo_kernels;
    while (kernel->name && strcmp(kernel->name, name)) kernel++;
    return kernel;
}

static int launch(tr_runner *runner, const tr_program *cubin) {
    tr_program *ptx = NULL;
    tr_kernel *loaded = NULL;
    tr_error *error = NULL;
    const demo_kernel *kernel = find_kernel(tr_program_kernel(cubin));
    double largest = 0;
    tr_status status = tr_program_at(cubin, TR_STAGE_PTX, &ptx, &error);
    if (!status) status = tr_kernel_create(ptx, &loaded, &error);
    if (!status) status = kernel->run(runner, loaded, &largest, &error);
    tr_kernel_destroy(loaded);
    tr_program_destroy(ptx);
    if (status) return complain("launch", status, error);
    if (largest <= kernel->tolerance) return 0;
    printf("    wrong by %g, allowed are %g\n", largest, kernel->tolerance);
    return 1;
}

/* In the new process: from the one file to every later stage, saved as FOLDER/again.*, and on the device. */
static int go_on(const char *path, const char *folder) {
    tr_runner *runner = make_runner();
    tr_program *program = NULL, *cubin = NULL, *at = NULL;
    tr_error *error = NULL;
    tr_status status = tr_load_stage(runner, TR_STAGE_AUTO, path, NULL, &program, &error);
    if (!status) status = tr_compile_to(program, TR_STAGE_CUBIN, NULL, &cubin, &error);
    for (tr_stage stage = tr_program_stage(program) + 1; !status && stage <= TR_STAGE_CUBIN; stage++) {
        char out[4200];
        snprintf(out, sizeof out, "%s/again.%s", folder, endings[stage]);
        status = tr_program_at(cubin, stage, &at, &error);
        if (!status) status = tr_program_save(at, out, &error);
        tr_program_destroy(at);
    }
    if (status) return complain(path, status, error);
    int failed = launch(runner, cubin);
    tr_program_destroy(cubin);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    return failed;
}

static int run_again(const char *self, const char *path, const char *folder) {
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        execl(self, self, path, folder, (char *)NULL);
        _exit(127);
    }
    return child < 0 || waitpid(child, &status, 0) != child || status;
}

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    char *data = file ? calloc(1, 1 << 24) : NULL;
    *size = data ? fread(data, 1, (1 << 24) - 1, file) : 0;
    if (file) fclose(file);
    return data;
}

/* Saved files are compared whole: the record in them must be the same too. */
static int compare(const char *before, const char *folder, tr_stage stage) {
    char again[4200];
    size_t before_size, again_size;
    snprintf(again, sizeof again, "%s/again.%s", folder, endings[stage]);
    char *a = read_file(before, &before_size), *b = read_file(again, &again_size);
    int differs = !a || !b || before_size != again_size || memcmp(a, b, before_size);
    if (differs) printf("    %s differs (%zu and %zu bytes)\n", endings[stage], before_size, again_size);
    free(a);
    free(b);
    unlink(again);
    return differs;
}

static int check_start(tr_program *cubin, tr_stage from, const char *self, const char *folder,
                       char paths[7][4200]) {
    char alone[4300];
    tr_program *at = NULL;
    tr_error *error = NULL;
    snprintf(alone, sizeof alone, "%s/alone", folder);
    mkdir(alone, 0700);
    snprintf(alone, sizeof alone, "%s/alone/k.%s", folder, endings[from]);
    tr_status status = tr_program_at(cubin, from, &at, &error);
    if (!status) status = tr_program_save(at, alone, &error);
    tr_program_destroy(at);
    if (status) return complain("save", status, error);
    int failed = run_again(self, alone, folder);
    for (tr_stage stage = from + 1; stage <= TR_STAGE_CUBIN && !failed; stage++)
        failed += compare(paths[stage], folder, stage);
    unlink(alone);
    printf("    from %-5s %s\n", endings[from], failed ? "FAILED" : "same bytes, right on the CPU device");
    return failed;
}

static int check_kernel(tr_runner *runner, const struct kernel *kernel, const char *version, const char *self,
                        const char *folder) {
    char path[4200], paths[7][4200];
    tr_load_options load = TR_LOAD_OPTIONS_INIT;
    tr_compile_options options = TR_COMPILE_OPTIONS_INIT;
    tr_program *program = NULL, *cubin = NULL, *at = NULL;
    tr_error *error = NULL;
    snprintf(path, sizeof path, KERNELS "%s.py", kernel->name);
    load.kernel = kernel->name;
    load.signature = find_kernel(kernel->name)->signature;
    options.arch = ARCH;
    options.triton = version;
    options.options = kernel->options;
    printf("Triton %s, %s\n", version, kernel->name);
    tr_status status = tr_load_stage(runner, TR_STAGE_PYTHON, path, &load, &program, &error);
    if (!status) status = tr_compile_to(program, TR_STAGE_CUBIN, &options, &cubin, &error);
    if (status) return complain("compile", status, error);
    int failed = 0;
    for (tr_stage stage = TR_STAGE_TTIR; stage <= TR_STAGE_CUBIN; stage++) {
        snprintf(paths[stage], sizeof paths[stage], "%s/first.%s", folder, endings[stage]);
        tr_program_at(cubin, stage, &at, NULL);
        failed += tr_program_save(at, paths[stage], NULL) != TR_OK;
        tr_program_destroy(at);
    }
    for (tr_stage stage = TR_STAGE_TTIR; stage <= TR_STAGE_PTX; stage++)
        failed += check_start(cubin, stage, self, folder, paths);
    tr_program_destroy(cubin);
    tr_program_destroy(program);
    return failed;
}

int main(int count, char **arguments) {
    setenv("TRITON_RUNNER_CPU_ARCH", ARCH, 1);
    if (count == 3) return go_on(arguments[1], arguments[2]);
    char folder[] = "/tmp/roundtrip.XXXXXX", command[64];
    tr_runner *runner = make_runner();
    json_t *tritons = find_tritons(runner);
    int failed = !mkdtemp(folder), checked = 0;
    for (size_t i = 0; i < json_array_size(tritons); i++) {
        const char *version = json_string_value(json_object_get(json_array_get(tritons, i), "version"));
        for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
            if (strncmp(version, kernels[k].since, 3) < 0) continue;
            failed += check_kernel(runner, &kernels[k], version, arguments[0], folder);
            checked += 4;
        }
    }
    snprintf(command, sizeof command, "rm -r %s", folder);
    failed += system(command) != 0;
    json_decref(tritons);
    tr_runner_destroy(runner);
    printf("%d starts, %d failed\n", checked, failed);
    if (!checked) printf("skipped: no Triton is installed (TRITON_RUNNER_PYTHON)\n");
    return checked ? failed != 0 : 77;
}
