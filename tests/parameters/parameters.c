/* parameters make FOLDER ARCH     compiles every case with each Triton, to FOLDER/ARCH/VERSION-CASE.{ptx,cubin}
   parameters run DEVICE FOLDER ARCH   runs what is there; on a machine without Triton, too
   parameters check FOLDER ARCH    both, on the CPU device */
#include "parameters.h"
#include "tritons.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KERNELS TR_SOURCE_DIR "/tests/parameters/kernels.py"

void complain(trial *trial, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (!trial->failed) {
        printf("FAILED  ");
        vprintf(format, arguments);
        printf("\n");
    }
    va_end(arguments);
    trial->failed = true;
}

static tr_runner *make_runner(const char *device) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *runner = NULL;
    options.device = device;
    options.cache_dir = "";
    if (tr_runner_create(&options, &runner, NULL)) exit(1);
    return runner;
}

/* "3.4.0": 304 */
static int number_of(const char *version) {
    int major = 0, minor = 0;
    sscanf(version, "%d.%d", &major, &minor);
    return 100 * major + minor;
}

static bool is_for(const parameters_case *c, int version, int arch) {
    return version >= c->since && version <= c->until && arch >= c->arch;
}

/* ---- make ---- */

static bool make(tr_runner *runner, const parameters_case *c, const char *version, const char *folder,
                 const char *arch) {
    static const char *const endings[] = {[TR_STAGE_PTX] = "ptx", [TR_STAGE_CUBIN] = "cubin"};
    tr_load_options load = TR_LOAD_OPTIONS_INIT;
    tr_compile_options options = TR_COMPILE_OPTIONS_INIT;
    tr_program *program = NULL, *cubin = NULL, *at;
    tr_error *error = NULL;
    char path[4200];
    load.signature = c->signature;
    load.kernel = c->kernel;
    options.arch = arch;
    options.triton = version;
    options.options = c->options;
    tr_status status = tr_load_stage(runner, TR_STAGE_PYTHON, KERNELS, &load, &program, &error);
    if (!status) status = tr_compile_to(program, TR_STAGE_CUBIN, &options, &cubin, &error);
    for (tr_stage stage = TR_STAGE_PTX; stage <= TR_STAGE_CUBIN && !status; stage++) {
        snprintf(path, sizeof path, "%s/%s/%s-%s.%s", folder, arch, version, c->name, endings[stage]);
        status = tr_program_at(cubin, stage, &at, &error);
        if (!status) status = tr_program_save(at, path, &error);
        tr_program_destroy(at);
    }
    if (status)
        printf("FAILED  Triton %s does not compile %s for %s: %s: %s\n%s\n", version, c->name, arch,
               tr_status_name(status), tr_error_message(error), tr_error_log(error));
    tr_error_destroy(error);
    tr_program_destroy(cubin);
    tr_program_destroy(program);
    return !status;
}

static void remove_files(const char *folder) {
    DIR *open = opendir(folder);
    for (const struct dirent *file; open && (file = readdir(open));)
        if (file->d_name[0] != '.') unlinkat(dirfd(open), file->d_name, 0);
    if (open) closedir(open);
}

/* Returns how many failed. What was made before is removed: it may be of a Triton that is no longer asked for. */
static int make_all(const char *folder, const char *arch) {
    tr_runner *runner = make_runner("cpu");
    json_t *tritons = find_tritons(runner);
    char path[4200];
    int failed = 0;
    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/%s", folder, arch);
    if (mkdir(path, 0777) && errno != EEXIST) {
        printf("FAILED  %s: %s\n", path, strerror(errno));
        exit(1);
    }
    remove_files(path);
    for (size_t i = 0; i < json_array_size(tritons); i++) {
        const char *version = json_string_value(json_object_get(json_array_get(tritons, i), "version"));
        for (const parameters_case *c = parameters_cases; c->name; c++) {
            if (!is_for(c, number_of(version), atoi(arch + 3))) continue;
            failed += !make(runner, c, version, folder, arch);
        }
    }
    json_decref(tritons);
    tr_runner_destroy(runner);
    return failed;
}

/* ---- run ---- */

/* Of "3.4.0-scalars.ptx". */
static const parameters_case *case_of(const char *file, int arch, int *version) {
    const char *dash = strchr(file, '-'), *dot = strrchr(file, '.');
    *version = number_of(file);
    for (const parameters_case *c = parameters_cases; c->name && dash && dot; c++)
        if (strlen(c->name) == (size_t)(dot - dash) - 1 && !strncmp(c->name, dash + 1, strlen(c->name)) &&
            is_for(c, *version, arch))
            return c;
    return NULL;
}

static bool run(const parameters_case *c, trial *trial, const char *path) {
    tr_program *program = NULL;
    tr_error *error = NULL;
    tr_status status = tr_load_stage(trial->runner, TR_STAGE_AUTO, path, NULL, &program, &error);
    if (!status) status = tr_kernel_create(program, &trial->kernel, &error);
    if (status)
        complain(trial, "%s: %s", tr_status_name(status), tr_error_message(error));
    else
        c->run(trial);
    tr_error_destroy(error);
    tr_kernel_destroy(trial->kernel);
    tr_program_destroy(program);
    return !trial->failed;
}

typedef struct batch {
    const char *device, *folder, *arch;
    struct dirent **files;
    int count;
    int *at; /* the file at hand, in memory that a child shares */
} batch;

/* From the file at hand to the first that fails: a fault would break what comes after it. */
static int run_some(const batch *batch) {
    tr_runner *runner = make_runner(batch->device);
    for (; *batch->at < batch->count; ++*batch->at) {
        char path[4200];
        const char *name = batch->files[*batch->at]->d_name;
        trial trial = {.runner = runner, .arch = atoi(batch->arch + 3)};
        const parameters_case *c = case_of(name, trial.arch, &trial.version);
        snprintf(path, sizeof path, "%s/%s/%s", batch->folder, batch->arch, name);
        if (!c || !run(c, &trial, path)) return 1;
        printf("right   %s %s\n", batch->arch, name);
    }
    tr_runner_destroy(runner);
    return 0;
}

static int keep_cubins(const struct dirent *file) {
    const char *dot = strrchr(file->d_name, '.');
    return dot && !strcmp(dot, ".cubin");
}

static int keep_ptx(const struct dirent *file) {
    const char *dot = strrchr(file->d_name, '.');
    return dot && !strcmp(dot, ".ptx");
}

/* Does `work` in a child; false if it went wrong there. */
static bool apart(int (*work)(const batch *batch), const batch *batch) {
    int status = 1;
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        int failed = work(batch);
        fflush(stdout);
        _exit(failed != 0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && !status;
}

/* This process opens no driver, since that would not survive the fork. */
static int run_all(const char *device, const char *folder, const char *arch, int *ran) {
    char path[4200];
    int failed = 0;
    batch batch = {.device = device, .folder = folder, .arch = arch};
    snprintf(path, sizeof path, "%s/%s", folder, arch);
    batch.count = scandir(path, &batch.files, strcmp(device, "cpu") ? keep_cubins : keep_ptx, versionsort);
    batch.at = mmap(NULL, sizeof *batch.at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (batch.at == MAP_FAILED) exit(1);
    for (*batch.at = 0; *batch.at < batch.count; ++*batch.at) {
        if (apart(run_some, &batch)) break;
        printf("WRONG   %s %s\n", arch, batch.files[*batch.at]->d_name);
        failed++;
    }
    *ran = batch.count > 0 ? batch.count : 0;
    for (int i = 0; i < *ran; i++) free(batch.files[i]);
    if (batch.count >= 0) free(batch.files);
    munmap(batch.at, sizeof *batch.at);
    return failed;
}

static int make_here(const batch *batch) {
    return make_all(batch->folder, batch->arch);
}

int main(int count, char **arguments) {
    const char *verb = count > 1 ? arguments[1] : "";
    int ran = 0, failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(verb, "make") && count == 4) return make_all(arguments[2], arguments[3]) != 0;
    if (!strcmp(verb, "run") && count == 5) {
        failed = run_all(arguments[2], arguments[3], arguments[4], &ran);
    } else if (!strcmp(verb, "check") && count == 4) {
        const batch batch = {.folder = arguments[2], .arch = arguments[3]};
        setenv("TRITON_RUNNER_CPU_ARCH", arguments[3], 1);
        failed = !apart(make_here, &batch);
        failed += run_all("cpu", arguments[2], arguments[3], &ran);
    } else {
        fprintf(stderr, "usage: parameters make FOLDER ARCH | run DEVICE FOLDER ARCH | check FOLDER ARCH\n");
        return 2;
    }
    printf("%d cases, %d failed\n", ran, failed);
    if (!ran && !failed) printf("skipped: no Triton is installed (TRITON_RUNNER_PYTHON)\n");
    return ran || failed ? failed != 0 : 77;
}
