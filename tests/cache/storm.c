/* storm [--processes N] [--kernels N] [--rounds N] [--kill] [--no-locks]: many processes, started together on an empty
   cache, compile the same kernels (PTX → cubin).

   Without --kill each kernel is compiled exactly once, as a counting ptxas tells. With it a third of the processes is
   killed at random moments. Either way every cubin has the right bytes, what is left verifies, and nothing else is left:
   no file, no process. --no-locks: fcntl fails with ENOLCK (preloaded); then a kernel may be compiled more than once. */
#include "numbered.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES_MOST = 400, KERNELS_MOST = 64, CUBIN_MOST = 1 << 16 };
static int processes = 200, kernels = 20, rounds = 1;
static bool kills, no_locks;
static char root[64] = "/tmp/tr-storm-XXXXXX", cache[128];
static const char *real_ptxas;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "storm: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (in %s)\n", root);
    exit(EXIT_FAILURE);
}

/* ---- one kernel ---- */

static tr_runner *make_runner(const char *folder) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *runner;
    options.cache_dir = folder;
    if (tr_runner_create(&options, &runner, NULL)) die("no runner");
    return runner;
}

static tr_program *compile(tr_runner *runner, int kernel) {
    tr_error *error;
    tr_program *cubin = compile_numbered(runner, kernel, &error);
    if (!cubin) die("kernel %d: %s\n%s", kernel, tr_error_message(error), tr_error_log(error));
    return cubin;
}

static void path_of(char path[128], int kernel) {
    snprintf(path, 128, "%s/right.%d", root, kernel);
}

static bool is_right(const tr_program *cubin, int kernel) {
    static char right[CUBIN_MOST];
    const void *data;
    size_t size;
    char path[128];
    path_of(path, kernel);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t there = fd < 0 ? -1 : read(fd, right, sizeof right);
    close(fd);
    tr_program_bytes(cubin, &data, &size);
    return there > 0 && (size_t)there == size && !memcmp(data, right, size);
}

/* ---- the processes ---- */

static int run_child(unsigned seed) {
    int order[KERNELS_MOST];
    char byte;
    tr_runner *runner = make_runner(cache);
    for (int i = 0; i < kernels; i++) order[i] = i;
    for (int i = kernels - 1; i > 0; i--) {
        int j = rand_r(&seed) % (i + 1), kept = order[i];
        order[i] = order[j], order[j] = kept;
    }
    while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR) { /* until all are here */
    }
    for (int i = 0; i < kernels; i++) {
        tr_program *cubin = compile(runner, order[i]);
        if (!is_right(cubin, order[i])) die("kernel %d: wrong bytes", order[i]);
        tr_program_destroy(cubin);
    }
    tr_runner_destroy(runner);
    return EXIT_SUCCESS;
}

static pid_t start(const char *self, int gate, unsigned seed) {
    char number[16], count[16];
    pid_t child = fork();
    if (child) return child;
    dup2(gate, STDIN_FILENO);
    snprintf(number, sizeof number, "%u", seed);
    snprintf(count, sizeof count, "%d", kernels);
    if (no_locks) setenv("LD_PRELOAD", TR_NO_LOCKS, 1);
    execl(self, self, "--child", root, number, count, (char *)NULL);
    _exit(127);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* One after the other, each at a random moment of its part of four fifths of the time that the round before took: most
   are still at it then, and the round becomes no longer than its work. */
static double last_round = 1;
static void kill_third(const pid_t *children, double begun, unsigned *seed) {
    for (int i = 0; i < processes; i += 3) {
        double share = (i + 3 * ((double)rand_r(seed) / RAND_MAX)) / processes;
        double wait = begun + 0.8 * last_round * share - now();
        if (wait > 0) usleep((useconds_t)(wait * 1e6));
        kill(children[i], SIGKILL);
    }
}

static int run_processes(const char *self, unsigned *seed) {
    pid_t children[PROCESSES_MOST];
    int gate[2], killed = 0;
    if (pipe2(gate, O_CLOEXEC)) die("no pipe");
    for (int i = 0; i < processes; i++)
        if ((children[i] = start(self, gate[0], (unsigned)rand_r(seed))) < 0) die("no fork");
    close(gate[0]);
    close(gate[1]);
    double begun = now();
    if (kills) kill_third(children, begun, seed);
    for (int i = 0; i < processes; i++) {
        int status;
        while (waitpid(children[i], &status, 0) < 0 && errno == EINTR) {
        }
        bool ended = WIFEXITED(status) && !WEXITSTATUS(status);
        if (kills && i % 3 == 0 && WIFSIGNALED(status))
            killed++;
        else if (!ended)
            die("process %d ended with status %#x", i, (unsigned)status);
    }
    last_round = now() - begun;
    return killed;
}

/* ---- what is left ---- */

static int count_lines(const char *name) {
    char path[128], text[32];
    int count = 0;
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "re");
    while (file && fgets(text, sizeof text, file)) count++;
    if (file) fclose(file);
    return count;
}

static void count_files(const char *folder, int *entries, int *others) {
    DIR *open = opendir(folder);
    for (struct dirent *entry; open && (entry = readdir(open));) {
        char path[512];
        struct stat info;
        if (entry->d_name[0] == '.' && strspn(entry->d_name, ".") == strlen(entry->d_name)) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (lstat(path, &info)) continue;
        if (S_ISDIR(info.st_mode))
            count_files(path, entries, others);
        else if (strlen(entry->d_name) == 30)
            ++*entries;
        else if (strcmp(entry->d_name, "lock") != 0)
            printf("    left behind: %s\n", path), ++*others;
    }
    if (open) closedir(open);
}

/* Whatever the library starts has our TMPDIR. */
static int count_processes(void) {
    DIR *all = opendir("/proc");
    int count = 0;
    for (struct dirent *entry; all && (entry = readdir(all));) {
        char path[300], text[1 << 14];
        snprintf(path, sizeof path, "/proc/%s/environ", entry->d_name);
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || atoi(entry->d_name) == getpid()) continue;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text);
        if (fd >= 0) close(fd);
        count += size > 0 && memmem(text, (size_t)size, root, strlen(root));
    }
    if (all) closedir(all);
    return count;
}

static void check_round(int round, int killed) {
    uint64_t damaged;
    int entries = 0, others = 0, runs = count_lines("log"), left = 0;
    tr_runner *runner = make_runner(cache);
    if (tr_runner_cache(runner, TR_CACHE_VERIFY, 0, &damaged, NULL) || damaged)
        die("round %d: %llu entries are damaged", round, (unsigned long long)damaged);
    for (int i = 0; i < kernels; i++) { /* no lock is held by the dead */
        tr_program *cubin = compile(runner, i);
        if (!is_right(cubin, i)) die("round %d: kernel %d: wrong bytes", round, i);
        tr_program_destroy(cubin);
    }
    tr_runner_destroy(runner);
    if (!kills && !no_locks && runs != kernels)
        die("round %d: %d kernels, compiled %d times", round, kernels, runs);
    if (kills && !no_locks && runs > kernels + killed)
        die("round %d: %d kernels, %d processes killed, compiled %d times", round, kernels, killed, runs);
    if (runs < kernels && !kills) die("round %d: %d kernels, compiled %d times", round, kernels, runs);
    count_files(cache, &entries, &others);
    char tmp[128];
    snprintf(tmp, sizeof tmp, "%s/tmp", root);
    int in_tmp = 0;
    count_files(tmp, &in_tmp, &others);
    for (int wait = 0; wait < 100 && (left = count_processes()); wait++) usleep(50000);
    if (entries != kernels + 1 || others || in_tmp || left) /* one is the version of ptxas */
        die("round %d: %d entries, %d other files, %d processes are left", round, entries, others + in_tmp,
            left);
    printf("    round %d: %d processes, %d killed, %d kernels, compiled %d times, %d entries, nothing else "
           "left\n",
           round, processes, killed, kernels, runs, entries);
    fflush(stdout);
}

/* ---- the whole ---- */

static void write_script(void) {
    char path[128];
    snprintf(path, sizeof path, "%s/ptxas", root);
    FILE *file = fopen(path, "we");
    if (!file) die("cannot write %s", path);
    fprintf(file,
            "#!/bin/sh\ncase \"$*\" in *--version*) ;; *) echo run >>'%s/log' ;; esac\nexec '%s' \"$@\"\n",
            root, real_ptxas);
    if (fclose(file) || chmod(path, 0700)) die("cannot write %s", path);
    setenv("TRITON_RUNNER_PTXAS", path, 1);
    setenv("TRITON_RUNNER_PYTHON", "", 1); /* no Triton, whose own ptxas would come first */
    unsetenv("VIRTUAL_ENV");
    setenv("PATH", "/usr/bin:/bin", 1);
    snprintf(path, sizeof path, "%s/tmp", root);
    mkdir(path, 0700);
    setenv("TMPDIR", path, 1);
}

static void write_right_ones(void) {
    tr_runner *runner = make_runner("");
    for (int i = 0; i < kernels; i++) {
        const void *data;
        size_t size;
        char path[128];
        tr_program *cubin = compile(runner, i);
        tr_program_bytes(cubin, &data, &size);
        path_of(path, i);
        FILE *file = fopen(path, "we");
        if (!file || size > CUBIN_MOST || fwrite(data, 1, size, file) != size || fclose(file))
            die("cannot write %s", path);
        tr_program_destroy(cubin);
    }
    tr_runner_destroy(runner);
}

static void shell(const char *format, const char *path) {
    char command[256];
    snprintf(command, sizeof command, format, path);
    if (system(command)) die("%s failed", command);
}

static bool read_arguments(int argc, char **argv) {
    static const struct option known[] = {
        {"processes", required_argument, NULL, 'p'}, {"kernels", required_argument, NULL, 'k'},
        {"rounds", required_argument, NULL, 'r'},    {"kill", no_argument, NULL, 'x'},
        {"no-locks", no_argument, NULL, 'n'},        {0}};
    for (int letter; (letter = getopt_long(argc, argv, "", known, NULL)) >= 0;) switch (letter) {
        case 'p': processes = atoi(optarg); break;
        case 'k': kernels = atoi(optarg); break;
        case 'r': rounds = atoi(optarg); break;
        case 'x': kills = true; break;
        case 'n': no_locks = true; break;
        default: return false;
        }
    return processes > 0 && processes <= PROCESSES_MOST && kernels > 0 && kernels <= KERNELS_MOST;
}

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[1], "--child")) {
        snprintf(root, sizeof root, "%s", argv[2]);
        snprintf(cache, sizeof cache, "%s/cache", root);
        kernels = atoi(argv[4]);
        return run_child((unsigned)atoi(argv[3]));
    }
    if (!read_arguments(argc, argv)) return 2;
    real_ptxas = getenv("TR_TEST_PTXAS");
    if (!real_ptxas || access(real_ptxas, X_OK)) {
        printf("TR_TEST_PTXAS names no ptxas\n");
        return 77;
    }
    if (!mkdtemp(root)) die("no folder");
    snprintf(cache, sizeof cache, "%s/cache", root);
    write_script();
    write_right_ones();
    unsigned seed = (unsigned)time(NULL);
    printf("    seed %u\n", seed);
    for (int round = 1; round <= rounds; round++) {
        char log[128];
        snprintf(log, sizeof log, "%s/log", root);
        unlink(log);
        shell("rm -rf '%s'", cache);
        int killed = run_processes("/proc/self/exe", &seed);
        check_round(round, killed);
    }
    shell("rm -rf '%s'", root);
    return EXIT_SUCCESS;
}
