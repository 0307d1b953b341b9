/* soak [SECONDS]: 8 threads compile, load, launch and destroy on the CPU device, while compilers are killed, calls
   cancelled, sources broken and entries of the cache damaged at random. In a twelfth of the time each epoch ends with all
   threads joined: then memory and descriptors are counted. Results are compared with what C computes, and cubins with
   the first that was made of the same kernel.

   First come some thousand launches, until what is bounded has reached its bound. From a sixth of the time on (ten
   minutes of an hour) resident memory may grow by 2%, and descriptors not at all. */
#include "triton_runner.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 8, EPOCHS = 12, MARK = 1, WARM_LAUNCHES = 4000, KERNELS = 24, N = 256 };
static char root[64] = "/tmp/tr-soak-XXXXXX", cache[128];
static tr_runner *shared;
static bool has_ptxas;
static double epoch_end;
static struct counts {
    unsigned long launches, compiles, refused, cancelled, killed, damaged, crashed;
} counts;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "soak: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (in %s)\n", root);
    exit(EXIT_FAILURE);
}

static void add(unsigned long *counter) {
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* ---- one kernel: out[i] = in[i] * factor + i ---- */

static tr_program *load(tr_runner *runner, int kernel, bool broken) {
    char ptx[2048];
    snprintf(ptx, sizeof ptx,
             ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry soak_%d(\n.param .u64 "
             "a,\n.param .u64 b\n)\n"
             ".reqntid 128\n{\n.reg .b32 %%r<8>;\n.reg .b64 %%d<8>;\nld.param.u64 %%d0, [a];\nld.param.u64 "
             "%%d1, [b];\n"
             "mov.u32 %%r0, %%tid.x;\nmov.u32 %%r1, %%ctaid.x;\nshl.b32 %%r2, %%r1, 7;\nadd.s32 %%r3, %%r2, "
             "%%r0;\n"
             "mul.wide.s32 %%d2, %%r3, 4;\nadd.s64 %%d3, %%d0, %%d2;\nadd.s64 %%d4, %%d1, %%d2;\n"
             "ld.global.u32 %%r4, [%%d3];\nmul.lo.s32 %%r5, %%r4, %d;\nadd.s32 %%r6, %%r5, %%r3;\n"
             "%s [%%d4], %%r6;\nret;\n}\n",
             kernel, kernel * 3 + 1, broken ? "st.global.nonsense" : "st.global.u32");
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_program *program = NULL;
    tr_error *error = NULL;
    options.data = ptx, options.size = strlen(ptx);
    options.metadata = "{\"num_warps\": 4, \"shared\": 0}";
    options.signature = "*i32, *i32";
    if (tr_load_stage(runner, TR_STAGE_PTX, NULL, &options, &program, &error))
        die("loading: %s", tr_error_message(error));
    return program;
}

static void launch(tr_runner *runner, int kernel, unsigned *seed) {
    int32_t in[N], out[N];
    uint64_t a = 0, b = 0;
    tr_kernel *handle = NULL;
    tr_error *error = NULL;
    tr_program *program = load(runner, kernel, false);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = N / 128;
    for (int i = 0; i < N; i++) in[i] = (int32_t)(rand_r(seed) % 100000);
    tr_status status = tr_kernel_create(program, &handle, &error);
    if (!status) status = tr_device_alloc(runner, sizeof in, &a, &error);
    if (!status) status = tr_device_alloc(runner, sizeof out, &b, &error);
    if (!status) status = tr_device_write(runner, a, in, sizeof in, &error);
    const tr_arg args[] = {tr_arg_ptr(a), tr_arg_ptr(b)};
    if (!status) status = tr_launch(handle, &config, args, 2, &error);
    if (!status) status = tr_device_read(runner, out, b, sizeof out, &error);
    if (status) die("kernel %d: %s", kernel, tr_error_message(error));
    for (int i = 0; i < N; i++)
        if (out[i] != in[i] * (kernel * 3 + 1) + i) die("kernel %d: element %d is wrong", kernel, i);
    tr_device_free(runner, a, NULL);
    tr_device_free(runner, b, NULL);
    tr_kernel_destroy(handle);
    tr_program_destroy(program);
    add(&counts.launches);
}

/* ---- compiles, and what goes wrong ---- */

/* Equal sources and tools give equal bytes, whatever was killed or damaged on the way. */
static void compare(int kernel, const tr_program *cubin) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        void *data;
        size_t size;
    } made[KERNELS];
    const void *data;
    size_t size;
    if (tr_program_bytes(cubin, &data, &size)) die("kernel %d: no bytes", kernel);
    pthread_mutex_lock(&lock);
    if (!made[kernel].data) {
        made[kernel].data = memcpy(malloc(size), data, size);
        made[kernel].size = size;
    } else if (made[kernel].size != size || memcmp(made[kernel].data, data, size))
        die("kernel %d: its cubin is another than at first", kernel);
    pthread_mutex_unlock(&lock);
}

static int32_t cancel(void *user, tr_stage reached, double seconds) {
    return 1;
}

static void compile(tr_runner *runner, unsigned *seed) {
    tr_compile_options how = TR_COMPILE_OPTIONS_INIT;
    tr_program *cubin = NULL;
    tr_error *error = NULL;
    bool broken = rand_r(seed) % 8 == 0, cancelled = rand_r(seed) % 8 == 0;
    int kernel = rand_r(seed) % KERNELS;
    tr_program *program = load(runner, kernel, broken);
    how.arch = "sm_80", how.assembler = "ptxas";
    if (rand_r(seed) % 2) how.flags = TR_COMPILE_NO_CACHE;
    if (cancelled) how.progress = cancel;
    tr_status status = tr_compile_to(program, TR_STAGE_CUBIN, &how, &cubin, &error);
    bool expected = status == TR_OK          ? !broken
                    : status == TR_E_COMPILE ? broken
                                             : status == TR_E_CANCELLED || status == TR_E_COMPILER_CRASHED ||
                                                   status == TR_E_COMPILER_MISSING;
    if (!expected) die("compiling: %s: %s", tr_status_name(status), tr_error_message(error));
    add(status == TR_OK            ? &counts.compiles
        : status == TR_E_COMPILE   ? &counts.refused
        : status == TR_E_CANCELLED ? &counts.cancelled
                                   : &counts.crashed);
    if (cubin) compare(kernel, cubin);
    tr_error_destroy(error);
    tr_program_destroy(cubin);
    tr_program_destroy(program);
}

/* A runner of its own comes and goes. */
static tr_runner *make_runner(void) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *runner;
    options.device = "cpu", options.cache_dir = cache;
    if (tr_runner_create(&options, &runner, NULL)) die("no runner");
    return runner;
}

/* Whatever the library starts has our TMPDIR; our own environment was set too late to show it. */
static void kill_compilers(void) {
    DIR *all = opendir("/proc");
    for (struct dirent *entry; all && (entry = readdir(all));) {
        char path[300], text[4096];
        pid_t pid = atoi(entry->d_name);
        if (pid <= 0 || pid == getpid()) continue;
        snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text);
        if (fd >= 0) close(fd);
        if (size > 0 && memmem(text, (size_t)size, root, strlen(root)) && !kill(pid, SIGKILL))
            add(&counts.killed);
    }
    if (all) closedir(all);
}

static bool damage_part(unsigned number, unsigned *seed) {
    char path[300];
    bool any = false;
    snprintf(path, sizeof path, "%s/%02x", cache, number % 256);
    DIR *part = opendir(path);
    for (struct dirent *entry; part && (entry = readdir(part));) {
        if (entry->d_name[0] == '.') continue;
        int fd = openat(dirfd(part), entry->d_name, O_RDWR | O_CLOEXEC);
        if (fd >= 0 && pwrite(fd, "\xff", 1, rand_r(seed) % 500) == 1) add(&counts.damaged), any = true;
        if (fd >= 0) close(fd);
    }
    if (part) closedir(part);
    return any;
}

static void damage_cache(unsigned *seed) {
    unsigned first = (unsigned)rand_r(seed) % 256;
    for (unsigned i = 0; i < 256 && !damage_part(first + i, seed); i++) {
    }
}

static void *work(void *argument) {
    unsigned seed = *(unsigned *)argument;
    for (int turn = 0; now() < epoch_end; turn++) {
        launch(shared, rand_r(&seed) % KERNELS, &seed);
        if (has_ptxas && turn % 4 == 0) compile(shared, &seed);
        if (turn % 50 == 0) {
            tr_runner *own = make_runner();
            launch(own, rand_r(&seed) % KERNELS, &seed);
            if (has_ptxas) compile(own, &seed);
            tr_runner_destroy(own);
        }
        if (rand_r(&seed) % 400 == 0) kill_compilers();
        if (rand_r(&seed) % 20 == 0) damage_cache(&seed);
    }
    return NULL;
}

/* ---- what is counted ---- */

/* The resident set, and what of it the system has put elsewhere. */
static long memory_kb(void) {
    char line[256];
    long total = 0, kb;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %ld", &kb) == 1 || sscanf(line, "VmSwap: %ld", &kb) == 1) total += kb;
    if (!total) die("no /proc/self/status");
    fclose(file);
    return total;
}

static int descriptors(void) {
    int count = 0;
    DIR *all = opendir("/proc/self/fd");
    while (all && readdir(all)) count++;
    if (all) closedir(all);
    return count;
}

static void run_epoch(double seconds, unsigned *seed) {
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];
    epoch_end = now() + seconds;
    for (int i = 0; i < THREADS; i++) {
        seeds[i] = (unsigned)rand_r(seed);
        if (pthread_create(&threads[i], NULL, work, &seeds[i])) die("no thread");
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 180;
    unsigned seed = (unsigned)time(NULL);
    const char *ptxas = getenv("TR_TEST_PTXAS");
    has_ptxas = ptxas && !access(ptxas, X_OK);
    if (!mkdtemp(root)) die("no folder");
    snprintf(cache, sizeof cache, "%s/cache", root);
    if (has_ptxas) setenv("TRITON_RUNNER_PTXAS", ptxas, 1);
    setenv("TRITON_RUNNER_PYTHON", "", 1);
    setenv("TMPDIR", root, 1);
    mallopt(M_ARENA_MAX, 1); /* how full arenas happen to be is not what is measured */
    printf("    seed %u, %.0f s, %s\n", seed, seconds, has_ptxas ? "with ptxas" : "without ptxas");
    shared = make_runner();
    while (counts.launches < WARM_LAUNCHES) run_epoch(10, &seed);
    long memory[EPOCHS], most = 0;
    int files[EPOCHS];
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        run_epoch(seconds / EPOCHS, &seed);
        malloc_trim(0);
        memory[epoch] = memory_kb();
        files[epoch] = descriptors();
        if (epoch >= MARK && memory[epoch] > most) most = memory[epoch];
        printf("    %6.0f s: %ld KB, %d descriptors, %lu launches, %lu compiles, %lu refused, %lu cancelled, "
               "%lu crashed, "
               "%lu killed, %lu damaged\n",
               seconds * (epoch + 1) / EPOCHS, memory[epoch], files[epoch], counts.launches, counts.compiles,
               counts.refused, counts.cancelled, counts.crashed, counts.killed, counts.damaged);
        fflush(stdout);
    }
    tr_runner_destroy(shared);
    double growth = (double)(memory[EPOCHS - 1] - memory[MARK]) / (double)memory[MARK] * 100;
    int more = files[EPOCHS - 1] - files[MARK];
    printf("    from %.0f s to the end resident memory grew by %.2f%% (from %ld to %ld KB, most: %ld KB), "
           "descriptors by "
           "%d\n",
           seconds * (MARK + 1) / EPOCHS, growth, memory[MARK], memory[EPOCHS - 1], most, more);
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    if (system(command)) die("cannot remove the folder");
    return growth > 2 || more > 1 ? EXIT_FAILURE : EXIT_SUCCESS; /* 1: a helper that runs or does not */
}
