/* places COMMAND: where nothing can be kept: a full disk, a read-only folder, no home, a home that cannot be written.
   Compiles give the right bytes, the log says once why nothing is kept, what was kept before is found, and the command
   `triton-runner cache` answers, with the exit status that fits.

   Each place is tried in a child with mounts of its own. Exit status 77 where those are not allowed. */
#include "numbered.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KERNELS = 6, KEPT = 2, CUBIN_MOST = 1 << 16, SKIPPED = 77 };
static const char *command, *place;
static char root[64] = "/tmp/tr-places-XXXXXX", disk[80], cache[100];
static char right[KERNELS][CUBIN_MOST];
static size_t right_size[KERNELS];
static int warnings;
static char said[1024];

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "places: %s: ", place);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (in %s)\n", root);
    exit(EXIT_FAILURE);
}

/* ---- compiling ---- */

static void on_log(void *user, int32_t level, const char *message) {
    if (level < 2) return;
    warnings++;
    snprintf(said, sizeof said, "%s", message);
}

static tr_runner *make_runner(const char *folder) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *runner;
    options.device = "cpu", options.cache_dir = folder, options.log = on_log;
    if (tr_runner_create(&options, &runner, NULL)) die("no runner");
    warnings = 0;
    return runner;
}

static tr_program *compile(tr_runner *runner, int kernel) {
    tr_error *error;
    tr_program *cubin = compile_numbered(runner, kernel, &error);
    if (!cubin) die("kernel %d: %s\n%s", kernel, tr_error_message(error), tr_error_log(error));
    return cubin;
}

static void check_kernel(tr_runner *runner, int kernel) {
    const void *data;
    size_t size;
    tr_program *cubin = compile(runner, kernel);
    tr_program_bytes(cubin, &data, &size);
    if (size != right_size[kernel] || memcmp(data, right[kernel], size))
        die("kernel %d: wrong bytes", kernel);
    tr_program_destroy(cubin);
}

static void note_right(void) {
    tr_runner *runner = make_runner("");
    for (int i = 0; i < KERNELS; i++) {
        const void *data;
        tr_program *cubin = compile(runner, i);
        tr_program_bytes(cubin, &data, &right_size[i]);
        if (right_size[i] > CUBIN_MOST) die("kernel %d is too large", i);
        memcpy(right[i], data, right_size[i]);
        tr_program_destroy(cubin);
    }
    tr_runner_destroy(runner);
}

static long count_of(tr_runner *runner, const char *key) {
    char *json = NULL, quoted[40];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    if (tr_runner_report(runner, TR_REPORT_CACHE, &json, NULL)) die("no report");
    const char *at = strstr(json, quoted);
    if (!at) die("no %s in %s", key, json);
    long number = atol(at + strlen(quoted));
    tr_free(json);
    return number;
}

/* All kernels, twice over; the first KEPT may lie in the cache. */
static void check_compiles(const char *folder, int kept, const char *words) {
    tr_runner *runner = make_runner(folder);
    for (int i = 0; i < 2 * KERNELS; i++) check_kernel(runner, i % KERNELS);
    if (warnings != 1) die("%d warnings, and not one; the last: %s", warnings, said);
    if (!strstr(said, words)) die("the warning does not say '%s': %s", words, said);
    long hits = count_of(runner, "disk_hits"), memory = count_of(runner, "memory_hits");
    if (hits < kept) die("found %ld on disk, and not %d", hits, kept);
    if (memory < KERNELS) die("found %ld in memory, and not %d", memory, KERNELS);
    tr_runner_destroy(runner);
}

/* ---- the command ---- */

static int run(const char *action, const char *limit, char output[4096]) {
    char line[400];
    snprintf(line, sizeof line, "'%s' cache %s %s 2>&1", command, action, limit);
    FILE *pipe = popen(line, "re");
    if (!pipe) die("cannot run %s", command);
    size_t size = fread(output, 1, 4095, pipe);
    output[size] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(int status, const char *words, const char *action, const char *limit) {
    char output[4096];
    int got = run(action, limit, output);
    if (got != status || !strstr(output, words))
        die("'cache %s %s' gave %d, wanted %d and '%s': %s", action, limit, got, status, words, output);
}

static void check_command(const char *folder, int kept) {
    char entries[32];
    snprintf(entries, sizeof entries, "entries  %d", kept);
    expect(0, folder, "info", "");
    expect(0, entries, "info", "");
    expect(0, "(not usable)", "info", "");
    expect(0, kept ? "/" : "", "list", "");
    expect(0, "0 entries were damaged", "verify", "");
    expect(0, "0 entries removed", "prune", "");
    expect(0, kept ? "\"entries\"" : "\"list\"", "info", "--json");
    expect(2, "no action", "wash", "");
}

/* ---- places ---- */

/* A small file system that only this process sees. */
static void mount_disk(void) {
    unsigned user = geteuid();
    char map[32];
    if (unshare(user ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS)) exit(SKIPPED);
    int fd = user ? open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC) : -1;
    if (user && (fd < 0 || dprintf(fd, "%s", (snprintf(map, sizeof map, "0 %u 1", user), map)) < 0))
        exit(SKIPPED);
    if (fd >= 0) close(fd);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("places", disk, "tmpfs", 0, "size=256k,mode=0700"))
        exit(SKIPPED);
}

/* The first kernels are kept while that is possible. */
static void keep_some(void) {
    tr_runner *runner = make_runner(cache);
    for (int i = 0; i < KEPT; i++) check_kernel(runner, i);
    if (warnings) die("not kept: %s", said);
    if (count_of(runner, "entries") != KEPT + 1)
        die("%ld entries", count_of(runner, "entries")); /* ptxas's version */
    tr_runner_destroy(runner);
    setenv("TRITON_RUNNER_CACHE_DIR", cache, 1);
}

static void fill_disk(void) {
    char path[120], bytes[4096] = "";
    snprintf(path, sizeof path, "%s/filler", disk);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, bytes, sizeof bytes) > 0) {
    }
    if (errno != ENOSPC) die("cannot fill the disk: %s", strerror(errno));
    close(fd);
}

static void on_full_disk(void) {
    mount_disk();
    keep_some();
    fill_disk();
    check_compiles(NULL, KEPT, "No space left on device");
    expect(0, "entries  3", "info", ""); /* what is there can be used, and may be removed */
    expect(0, "0 entries were damaged", "verify", "");
    expect(0, "0 entries removed", "prune", "");
    expect(0, "3 entries removed", "clear", "");
    tr_runner *runner = make_runner(NULL);
    check_kernel(runner, KERNELS - 1); /* there is room again */
    if (warnings || count_of(runner, "entries") < 1) die("not kept, though there is room: %s", said);
    tr_runner_destroy(runner);
}

static void in_read_only_folder(void) {
    mount_disk();
    keep_some();
    if (mount("places", disk, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL))
        die("cannot remount: %s", strerror(errno));
    check_compiles(NULL, KEPT, "Read-only file system");
    check_command(cache, KEPT + 1);
    expect(1, "Read-only file system", "clear", "");
    expect(1, "Read-only file system", "prune", "--limit 0");
}

static void without_home(void) {
    unsetenv("HOME"), unsetenv("XDG_CACHE_HOME"), unsetenv("TRITON_RUNNER_CACHE_DIR");
    check_compiles(NULL, 0, "TRITON_RUNNER_CACHE_DIR, XDG_CACHE_HOME and HOME");
    check_command("none", 0);
    expect(0, "0 entries removed", "clear", "");
}

static void in_unwritable_home(void) {
    mount_disk();
    unsetenv("XDG_CACHE_HOME"), unsetenv("TRITON_RUNNER_CACHE_DIR");
    setenv("HOME", disk, 1);
    if (mount("places", disk, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL))
        die("cannot remount: %s", strerror(errno));
    check_compiles(NULL, 0, "Read-only file system");
    check_command(".cache/triton_runner", 0);
    expect(0, "0 entries removed", "clear", "");
}

static const struct {
    const char *name;
    void (*try)(void);
} places[] = {{"a full disk", on_full_disk},
              {"a read-only folder", in_read_only_folder},
              {"no home", without_home},
              {"an unwritable home", in_unwritable_home}};

int main(int argc, char **argv) {
    const char *ptxas = getenv("TR_TEST_PTXAS");
    int failed = 0, skipped = 0;
    if (argc != 2) return 2;
    command = argv[1];
    if (!ptxas || access(ptxas, X_OK)) return printf("TR_TEST_PTXAS names no ptxas\n"), SKIPPED;
    setenv("TRITON_RUNNER_PTXAS", ptxas, 1);
    setenv("TRITON_RUNNER_PYTHON", "", 1);
    if (!mkdtemp(root)) return EXIT_FAILURE;
    snprintf(disk, sizeof disk, "%s/disk", root);
    snprintf(cache, sizeof cache, "%s/cache", disk);
    mkdir(disk, 0700);
    note_right();
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        place = places[i].name;
        pid_t child = fork();
        if (!child) {
            places[i].try();
            exit(EXIT_SUCCESS);
        }
        int status = -1;
        waitpid(child, &status, 0);
        bool skip = WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED;
        skipped += skip, failed += !skip && status;
        printf("%s: %s\n", place,
               skip     ? "skipped: no file system can be mounted here"
               : status ? "FAILED"
                        : "fine");
        fflush(stdout);
    }
    if (!failed && (rmdir(disk) || rmdir(root))) failed = 1; /* nothing was left */
    return failed ? EXIT_FAILURE : skipped ? SKIPPED : EXIT_SUCCESS;
}
