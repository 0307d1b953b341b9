/* cold_start [--device D] [--python INTERPRETER] [--rounds N] [--json FILE] [--svg FILE]: from the start of a process to its
   first checked result, vector_add of 98304 floats: from a cubin, from PTX, and from the first stage there is with a warm
   disk cache; beside bare driver calls in a program of their own (cold_start_raw), and beside Python with Triton whose
   cache is warm. Every measurement is a new process; this one does not touch the driver. */
#include "cold_start.h"

#include "companion.h"
#include "workload.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/wait.h>

enum { ROUNDS = 15, PYTHON_EACH = 6 };
enum { RAW, LIBRARY, PYTHON, WAYS };
enum { CUBIN, PTX, CACHE, STARTS };

typedef struct job {
    bench *bench;
    char folder[64], self[PATH_MAX], raw[PATH_MAX];
    char driver[PATH_MAX];    /* what the bare program opens */
    const char *file[STARTS]; /* what each start loads; NULL: not on this device */
    int start;
    int asked; /* how often Python was */
    double python;
} job;

/* ---- a child that uses the library ---- */

static void run_library(const char *device, const char *path, const char *cache) {
    static float x[COLD_COUNT], y[COLD_COUNT], out[COLD_COUNT];
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_runner *runner;
    tr_program *program;
    tr_kernel *kernel;
    uint64_t dx, dy, dout;
    cold_fill(x, y);
    options.device = device;
    options.cache_dir = cache;
    RUN(tr_runner_create(&options, &runner, &error));
    RUN(tr_load_stage(runner, TR_STAGE_AUTO, path, NULL, &program, &error));
    RUN(tr_kernel_create(program, &kernel, &error));
    RUN(tr_device_alloc(runner, sizeof x, &dx, &error));
    RUN(tr_device_alloc(runner, sizeof y, &dy, &error));
    RUN(tr_device_alloc(runner, sizeof out, &dout, &error));
    RUN(tr_device_write(runner, dx, x, sizeof x, &error));
    RUN(tr_device_write(runner, dy, y, sizeof y, &error));
    const tr_arg args[] = {tr_arg_ptr(dx), tr_arg_ptr(dy), tr_arg_ptr(dout), tr_arg_i32(COLD_COUNT)};
    config.grid[0] = COLD_COUNT / COLD_BLOCK;
    RUN(tr_launch(kernel, &config, args, 4, &error));
    RUN(tr_device_read(runner, out, dout, sizeof out, &error));
    cold_tell(x, y, out);
    _exit(EXIT_SUCCESS); /* how long the end takes is no matter here */
}

/* ---- a child that makes the files ---- */

static bool save_stages(const bench *bench, const char *folder) {
    static const char *const suffixes[] = {"", "", "ttir", "ttgir", "llir", "ptx", "cubin"};
    workload w = {.bench = bench,
                  .kind = {.name = "vector_add", .signature = COLD_SIGNATURE, .options = "{}"}};
    tr_program *python = NULL, *last = NULL;
    tr_error *error = NULL;
    tr_status status = workload_load_python(&w, &python, &error);
    if (!status)
        status =
            workload_compile(&w, python, bench->cpu ? TR_STAGE_PTX : TR_STAGE_CUBIN, NULL, &last, &error);
    if (status == TR_E_COMPILER_MISSING) return false;
    bench_check(status, error);
    for (tr_stage stage = TR_STAGE_TTIR; stage <= tr_program_stage(last); stage++) {
        char path[PATH_MAX];
        tr_program *passed;
        snprintf(path, sizeof path, "%s/vector_add.%s", folder, suffixes[stage]);
        RUN(tr_program_at(last, stage, &passed, &error));
        RUN(tr_program_save(passed, path, &error));
        tr_program_destroy(passed);
    }
    return true;
}

/* Without Triton: the kept PTX, and a cubin of it. */
static void save_kept(const bench *bench, const char *folder) {
    char path[PATH_MAX];
    workload w = {.bench = bench, .kind = {.name = "vector_add"}};
    tr_program *ptx, *cubin;
    snprintf(path, sizeof path, "%s/stages/sm_%d", workload_folder(), bench->arch >= 90 ? 90 : 89);
    RUN(workload_load_kept(&w, path, TR_STAGE_PTX, &ptx, &error));
    snprintf(path, sizeof path, "%s/vector_add.ptx", folder);
    RUN(tr_program_save(ptx, path, &error));
    if (!bench->cpu) {
        RUN(workload_compile(&w, ptx, TR_STAGE_CUBIN, NULL, &cubin, &error));
        snprintf(path, sizeof path, "%s/vector_add.cubin", folder);
        RUN(tr_program_save(cubin, path, &error));
        tr_program_destroy(cubin);
    }
    tr_program_destroy(ptx);
}

/* The machine's name, then the driver's path. */
static void prepare(bench *bench, int argc, char **argv, const char *folder) {
    Dl_info info;
    void *address;
    bench_start(bench, argc, argv);
    if (!save_stages(bench, folder)) save_kept(bench, folder);
    memcpy(&address, &cu.cuInit, sizeof address);
    if (!dladdr(address, &info)) bench_fail("the driver's path is unknown");
    char *path = realpath(info.dli_fname, NULL);
    printf("%s\n%s\n", bench->machine, path ? path : info.dli_fname);
    free(path);
    exit(EXIT_SUCCESS);
}

/* ---- the parent ---- */

/* Until the child's first byte, in ms; what else it says goes to `text`. */
static double run(char *const *words, const char *packages, char *text, size_t size) {
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC)) bench_fail("no pipe");
    double begin = bench_now();
    pid_t child = fork();
    if (child < 0) bench_fail("no process");
    if (!child) {
        if (packages && *packages) setenv("PYTHONPATH", packages, 1);
        dup2(pipes[1], STDOUT_FILENO);
        execvp(words[0], words);
        _exit(127);
    }
    close(pipes[1]);
    size_t length = read(pipes[0], text, 1) == 1;
    double taken = bench_now() - begin;
    for (ssize_t more; length + 1 < size && (more = read(pipes[0], text + length, size - length - 1)) > 0;)
        length += (size_t)more;
    text[length] = 0;
    close(pipes[0]);
    int status = 0;
    waitpid(child, &status, 0);
    if (status || !length) bench_fail("%s %s: the process failed (status %d)", words[0], words[1], status);
    return taken * 1e-6;
}

static double run_python(job *job) {
    char interpreter[4096], packages[4096], kernel[PATH_MAX], script[PATH_MAX], text[256];
    if (job->bench->cpu || !strcmp(job->bench->python, "none")) return 0;
    if (job->asked++ % PYTHON_EACH) return job->python; /* it takes long, and hardly varies */
    companion_python(job->bench, interpreter, packages, sizeof interpreter);
    snprintf(kernel, sizeof kernel, "%s/vector_add.py", workload_folder());
    bench_file("cold_start.py", script, sizeof script);
    char *const words[] = {interpreter, "-B", script, kernel, NULL};
    return job->python = run(words, packages, text, sizeof text);
}

static double first_result(void *user, int way) {
    job *job = user;
    char text[256], path[PATH_MAX], cache[PATH_MAX] = "";
    snprintf(path, sizeof path, "%s/%s", job->folder, job->file[job->start]);
    if (job->start == CACHE) snprintf(cache, sizeof cache, "%s/cache", job->folder);
    char *const raw[] = {job->raw, job->driver, path, NULL};
    char *const library[] = {job->self, "--child", (char *)job->bench->device, path, cache, NULL};
    if (way == PYTHON) return job->start == CUBIN ? run_python(job) : 0;
    if (way == RAW && job->start == CACHE) return 0;
    return run(way == RAW ? raw : library, NULL, text, sizeof text);
}

static void find_files(job *job, char **argv) {
    char text[2 * PATH_MAX], path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", job->self, sizeof job->self - 1);
    if (length < 0) bench_fail("/proc/self/exe cannot be read");
    job->self[length] = 0;
    snprintf(job->raw, sizeof job->raw, "%.*s_raw", PATH_MAX - 8, job->self);
    strcpy(job->folder, "/tmp/tr-bench-XXXXXX");
    if (!mkdtemp(job->folder)) bench_fail("%s cannot be made", job->folder);
    char *const words[] = {job->self, "--prepare", job->folder, "--device", (char *)job->bench->device, NULL};
    run(words, NULL, text, sizeof text);
    char *end = strchr(text, '\n');
    snprintf(job->bench->machine, sizeof job->bench->machine, "%.*s", (int)(end - text), text);
    snprintf(job->driver, sizeof job->driver, "%.*s", (int)strcspn(end + 1, "\n"), end + 1);
    job->file[CUBIN] = job->bench->cpu ? NULL : "vector_add.cubin";
    job->file[PTX] = job->file[CACHE] = "vector_add.ptx";
    snprintf(path, sizeof path, "%s/vector_add.ttir", job->folder);
    if (!access(path, R_OK)) job->file[CACHE] = "vector_add.ttir";
}

static void judge(bench *bench, const chart *chart) {
    bench_bound(bench, "from a cubin, beside the bare driver calls", chart->ratio[CUBIN][LIBRARY], AT_MOST,
                1.05);
    if (chart->value[CUBIN][PYTHON] > 0)
        bench_bound(bench, "Python with Triton beside it",
                    chart->value[CUBIN][PYTHON] / chart->value[CUBIN][LIBRARY], AT_LEAST, 10);
}

int main(int argc, char **argv) {
    static job job;
    bench bench = {0};
    if (argc == 5 && !strcmp(argv[1], "--child")) run_library(argv[2], argv[3], argv[4]);
    const char *folder = bench_option(argc, argv, "--prepare");
    if (*folder) prepare(&bench, argc, argv, folder);
    bench_parse(&bench, argc, argv);
    job.bench = &bench;
    find_files(&job, argv);
    setenv("CUDA_CACHE_DISABLE", "1", 1); /* the driver's own cache of what it assembled */
    chart chart = {.title = "From the start of a process to its first result",
                   .unit = "ms",
                   .row_name = "from",
                   .machine = bench.machine,
                   .rows = STARTS,
                   .columns = WAYS,
                   .row = {"cubin", "ptx", job.file[CACHE] + strlen("vector_add.")},
                   .column = {"driver calls", "libtriton_runner", "Python, Triton"},
                   .digits = 1};
    char cached[32];
    snprintf(cached, sizeof cached, "%s, cached", chart.row[CACHE]);
    chart.row[CACHE] = cached;
    for (job.start = 0; job.start < STARTS; job.start++)
        if (job.file[job.start]) bench_measure(&bench, &chart, job.start, ROUNDS, first_result, &job);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", job.folder);
    if (system(command)) perror(command);
    judge(&bench, &chart);
    return bench_finish(&bench, &chart, 1);
}
