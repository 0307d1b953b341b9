/* faults PART…: injects one kind of fault at every point of every scenario, and prints how many points that were.
   After each: the status is one that fits, with a message; what was told to be right is; the same runner then does the
   same thing right; nothing is left behind: memory, descriptors, processes, files, what the driver was asked for. A
   point that takes ten seconds has failed. FAULTS_ONLY=SCENARIO names one; FAULTS_AT=N one point of each, and tells
   where in the code that is. */
#include "inject.h"
#include "scenarios.h"
#include "stub.h"

CUresult cuCtxSetCurrent(CUcontext context);
CUresult cuStreamCreate(CUstream *out, unsigned int flags);
CUresult cuStreamDestroy_v2(CUstream stream);

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_S = 10, POINTS_MAX = 100000, FORKS_EACH = 40 };

static world here;
static const scenario *now;
static char what[160]; /* is being injected */
static unsigned long points, wrong;

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("%s, %s: ", now ? now->name : "", what);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    wrong++;
}

/* The dynamic loader keeps one list of its own where the sanitizer doesn't look. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:_dl_map_object_deps\nleak:libcuda.so\n"; /* the second: what a driver keeps that refuses to release */
}

static void too_long(int number) {
    static const char text[] = ": took longer than ten seconds\n";
    if (write(1, what, strlen(what)) < 0 || write(1, text, sizeof text - 1) < 0) _exit(3);
    abort(); /* a core or a debugger tells where */
}

/* ---- what is left behind ---- */

typedef struct remains {
    long blocks;
    int files;   /* descriptors */
    int folders; /* files in the work folder, but for the cache */
} remains;

static int count_folder(const char *path) {
    DIR *folder = opendir(path);
    int count = 0;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += strcmp(entry->d_name, "cache") != 0;
    if (folder) closedir(folder);
    return count;
}

static remains look(void) {
    remains found = {.files = count_folder("/proc/self/fd"), .folders = count_folder(here.folder)};
    found.blocks = inject_blocks();
    return found;
}

/* This process adopts orphans, so what the library started is here if it is anywhere. */
static bool has_children(void) {
    int status;
    for (int i = 0; i < LIMIT_S * 1000;
         i++, usleep(1000)) { /* as long as a busy machine may take to end them */
        while (waitpid(-1, &status, WNOHANG | __WALL) > 0) {
        }
        if (waitpid(-1, &status, WNOHANG | __WALL) < 0) return false;
    }
    return true;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at) {
    return remove(path);
}

static void remove_tree(const char *path) {
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- one run ---- */

/* The runner of what follows, and a stream of the caller's. */
static void make_runner(void) {
    tr_runner_options options = world_options(&here, now);
    if (tr_runner_create(&options, &here.runner, NULL)) complain("there is no runner");
    if (now->uses & USES_DRIVER) cuStreamCreate(&here.stream, 1);
}

static void end_runner(void) {
    tr_runner_destroy(here.runner);
    if (here.stream) cuStreamDestroy_v2(here.stream);
    here.runner = NULL, here.stream = NULL;
}

typedef struct outcome {
    tr_status status;
    tr_error *error;
    tr__hash seen;
} outcome;

static outcome run(void) {
    outcome result = {.error = NULL};
    here.seen = (tr__hash){0, 0};
    result.status = now->run(&here, &result.error);
    result.seen = here.seen;
    return result;
}

static void clear_cache(void) {
    char path[128];
    snprintf(path, sizeof path, "%s/cache", here.folder);
    if (!(now->uses & USES_CACHE)) remove_tree(path);
}

static tr__hash expected; /* what the scenario sees when nothing fails */

static void check_right(const outcome *result, const char *when) {
    if (result->status)
        complain("%s: %s: %s", when, tr_status_name(result->status), tr_error_message(result->error));
    else if (!tr__hash_equal(result->seen, expected))
        complain("%s: a wrong result called right", when);
}

typedef bool fits(tr_status status);

static void check(const outcome *result, fits *fits) {
    if (!result->status)
        check_right(result, "told to be right");
    else if (!fits(result->status))
        complain("%s: %s", tr_status_name(result->status), tr_error_message(result->error));
    if (!result->status != !result->error)
        complain("%s with%s an error", tr_status_name(result->status), result->error ? "" : "out");
    if (result->status && !*tr_error_message(result->error))
        complain("%s without a message", tr_status_name(result->status));
}

/* What the driver still holds once the last user is gone. */
static void check_driver(void) {
    if (!(now->uses & USES_DRIVER)) return;
    static const stub_kind kinds[] = {STUB_MODULE, STUB_MEMORY, STUB_GRAPH, STUB_GRAPH_EXEC,
                                      STUB_USER_OBJECT};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (stub_alive(kinds[i]))
            complain("%ld objects of kind %d are left in the driver", stub_alive(kinds[i]), kinds[i]);
}

/* One point: fails at the n-th operation, then works. False: there are fewer. */
static bool inject(inject_kind kind, inject_how how, unsigned long nth, fits *fits, bool fresh) {
    bool happened;
    const char *where;
    clear_cache();
    make_runner();
    alarm(LIMIT_S);
    inject_arm(kind, how, nth);
    outcome result = run();
    inject_disarm(&happened, &where);
    snprintf(what + strlen(what), sizeof what - strlen(what), " (%s)", where);
    if (happened) {
        check(&result, fits);
        if (inject_bad_children) complain("the child of a fork ended with status %#x", inject_bad_children);
        inject_bad_children = 0;
        if (fresh) end_runner(), make_runner();
        outcome again = run();
        check_right(&again, "the next call");
        tr_error_destroy(again.error);
    }
    tr_error_destroy(result.error);
    end_runner();
    alarm(0);
    if (happened) points++;
    return happened;
}

/* The same point again and again must leave the same behind: what is made once in a process's life is no leak. */
static void check_remains(remains before, inject_kind kind, inject_how how, unsigned long nth, fits *fits,
                          bool fresh) {
    remains after = look();
    for (int i = 0; i < 3 && after.blocks > before.blocks; i++, points--) {
        before.blocks = after.blocks;
        inject(kind, how, nth, fits, fresh);
        after.blocks = inject_blocks();
    }
    if (after.blocks > before.blocks) complain("%ld blocks of memory are left", after.blocks - before.blocks);
    if (after.files != before.files) complain("%d descriptors became %d", before.files, after.files);
    if (after.folders != before.folders) complain("%d files became %d", before.folders, after.folders);
    if ((now->uses & USES_WORKER) && has_children()) complain("a process is left");
    check_driver();
}

static bool prepare(void) {
    snprintf(what, sizeof what, "nothing");
    stub_reset();
    for (int i = 0; i < 3; i++) { /* the first fill what is kept for the process's life, and the cache */
        make_runner();
        alarm(LIMIT_S);
        outcome result = run();
        if (!i) expected = result.seen;
        check_right(&result, "without any fault");
        bool failed = result.status;
        tr_error_destroy(result.error);
        end_runner();
        alarm(0);
        if (failed) return false;
    }
    return true;
}

static bool is_chosen(const scenario *scenario) {
    const char *only = getenv("FAULTS_ONLY");
    char path[256];
    snprintf(path, sizeof path, "%s/lib/libtriton_runner_cpu.so", here.folder);
    if ((scenario->uses & USES_CPU) && access(path, F_OK)) return false;
    return !only || !strcmp(only, scenario->name);
}

static void inject_everywhere(inject_kind kind, inject_how how, fits *fits, unsigned long step) {
    const char *at = getenv("FAULTS_AT");
    inject_traces = at != NULL;
    unsigned long first = at ? strtoul(at, NULL, 10) : 1, before = points;
    for (unsigned long nth = first; nth < POINTS_MAX; nth += step) {
        snprintf(what, sizeof what, "%s %lu",
                 kind == INJECT_MEMORY ? "allocation"
                 : kind == INJECT_FORK ? "fork"
                                       : inject_how_names[how],
                 nth);
        remains start = look();
        if (!inject(kind, how, nth, fits, false)) break;
        check_remains(start, kind, how, nth, fits, false);
        if (at || wrong > 50) break;
    }
    printf("    %-16s %6lu\n", now->name, points - before);
}

static bool for_memory(tr_status status) {
    return status == TR_E_OUT_OF_MEMORY;
}

static void fail_memory(void) {
    for (now = scenarios; now->name; now++)
        if (is_chosen(now) && prepare()) inject_everywhere(INJECT_MEMORY, 0, for_memory, 1);
}

/* What a file that can't be read or a process that can't be started may be called. */
static bool for_files(tr_status status) {
    return status == TR_E_IO || status == TR_E_OUT_OF_MEMORY || status == TR_E_COMPILER_MISSING ||
           status == TR_E_COMPILER_CRASHED;
}

static void fail_files(void) {
    for (inject_how how = 0; how < INJECT_HOWS; how++) {
        printf("  %s\n", inject_how_names[how]);
        for (now = scenarios; now->name; now++)
            if (is_chosen(now) && prepare()) inject_everywhere(INJECT_FILE, how, for_files, 1);
    }
}

/* ---- forks ---- */

static bool for_nothing(tr_status status) {
    return false;
}

/* The child leaves what it inherited alone and begins anew, as the header says. */
static int work_in_child(void) {
    here.runner = NULL, here.stream = NULL;
    make_runner();
    if (!here.runner) return 1;
    outcome result = run();
    bool right = !result.status && tr__hash_equal(result.seen, expected);
    tr_error_destroy(result.error);
    end_runner();
    return right ? 0 : 2;
}

static void fork_anywhere(void) {
    inject_in_child = work_in_child;
    for (now = scenarios; now->name; now++) {
        bool happened;
        const char *where;
        if (!is_chosen(now) || now->uses & USES_CPU || !prepare()) continue;
        clear_cache();
        make_runner();
        inject_arm(INJECT_FORK, 0, 0);
        outcome result = run();
        unsigned long count = inject_disarm(&happened, &where);
        tr_error_destroy(result.error);
        end_runner();
        inject_everywhere(INJECT_FORK, 0, for_nothing, count / FORKS_EACH + 1);
    }
}

/* ---- the driver ---- */

static const CUresult results[] = {CUDA_ERROR_INVALID_VALUE,
                                   CUDA_ERROR_OUT_OF_MEMORY,
                                   CUDA_ERROR_NOT_INITIALIZED,
                                   CUDA_ERROR_DEINITIALIZED,
                                   CUDA_ERROR_NO_DEVICE,
                                   CUDA_ERROR_INVALID_IMAGE,
                                   CUDA_ERROR_INVALID_CONTEXT,
                                   CUDA_ERROR_NO_BINARY_FOR_GPU,
                                   CUDA_ERROR_INVALID_HANDLE,
                                   CUDA_ERROR_NOT_FOUND,
                                   CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
                                   CUDA_ERROR_NOT_SUPPORTED,
                                   CUDA_ERROR_ILLEGAL_ADDRESS,
                                   CUDA_ERROR_LAUNCH_FAILED,
                                   CUDA_ERROR_UNKNOWN};

static bool for_driver(
    tr_status status) { /* a context that it doesn't know any more is the caller's mistake */
    return status != TR_E_IO && status != TR_E_SEALED;
}

/* The name of the n-th call; "" when there are fewer. */
static void find_name(unsigned long nth, char name[48]) {
    const char *at = stub_recorded();
    while (--nth && at) at = strchr(at, ' '), at += at != NULL;
    snprintf(name, 48, "%.*s", at ? (int)strcspn(at, " ") : 0, at ? at : "");
}

/* What can't be released because the driver refuses, or does not say that its context still lives, is the driver's. */
static bool releases(const char *name) {
    static const char *const parts[] = {"EndCapture", "Unload",  "Free",
                                        "Destroy",    "Release", "PushCurrent",
                                        "PopCurrent", "GetId",   "ExchangeStreamCaptureMode"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(name, parts[i])) return true;
    return false;
}

static bool fail_call(unsigned long nth, CUresult result, bool forever, bool *keeps) {
    char name[48];
    stub_reset();
    make_runner();
    alarm(LIMIT_S);
    stub_record(true);
    stub_fail(NULL, nth, result, forever);
    outcome got = run();
    bool happened = stub_failed();
    find_name(nth, name);
    snprintf(what + strlen(what), sizeof what - strlen(what), " (%s)", name);
    stub_record(false);
    *keeps = forever || releases(name);
    stub_fail(NULL, 0, CUDA_SUCCESS, false);
    if (happened) {
        /* A driver that doesn't say whether a stream is captured, but takes launches into it, is none: tr_launch
           doesn't look at the answer's status, and the launch itself would fail. */
        if (strcmp(name, "cuStreamIsCapturing")) check(&got, for_driver);
        cuCtxSetCurrent(NULL); /* a pop that failed: nobody else can mend that */
        end_runner();
        make_runner();
        outcome again = run();
        check_right(&again, "a new runner");
        tr_error_destroy(again.error);
        points++;
    }
    tr_error_destroy(got.error);
    end_runner();
    alarm(0);
    if (happened && !*keeps) check_driver();
    return happened;
}

static void fail_driver(void) {
    for (now = scenarios; now->name; now++) {
        unsigned long before = points;
        if (!is_chosen(now) || !(now->uses & USES_DRIVER) || !prepare()) continue;
        for (size_t i = 0; i < sizeof results / sizeof *results; i++)
            for (int forever = 0; forever < 2; forever++)
                for (unsigned long nth = 1; nth < POINTS_MAX && wrong <= 50; nth++) {
                    remains start = look();
                    snprintf(what, sizeof what, "driver call %lu gives %d%s", nth, results[i],
                             forever ? " from then on" : "");
                    bool keeps;
                    if (!fail_call(nth, results[i], forever, &keeps)) break;
                    remains after = look();
                    if (after.files != start.files)
                        complain("%d descriptors became %d", start.files, after.files);
                    if (after.blocks > start.blocks && !keeps &&
                        fail_call(nth, results[i], forever, &keeps) && inject_blocks() > after.blocks)
                        complain("%ld blocks of memory are left", after.blocks - start.blocks);
                }
        printf("    %-16s %6lu\n", now->name, points - before);
    }
}

/* ---- the far end of a compilation ---- */

static void set_fault(const char *folder, const char *action, long at) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s/fault", here.folder, folder);
    FILE *file = action ? fopen(path, "we") : NULL;
    if (!file) {
        unlink(path);
        return;
    }
    fprintf(file, "%s %ld\n", action, at);
    fclose(file);
}

static bool for_compilers(tr_status status) {
    return status == TR_E_COMPILER_CRASHED || status == TR_E_COMPILER_MISSING || status == TR_E_TIMEOUT ||
           status == TR_E_COMPILE;
}

/* With the misbehaviour, without it, and nothing left. */
static void misbehave(const char *folder, const char *action, long at) {
    snprintf(what, sizeof what, "%s: %s after %ld bytes", folder, action, at);
    remains start = look();
    clear_cache();
    set_fault(folder, action, at);
    make_runner();
    alarm(LIMIT_S);
    here.timeout_ms =
        !strcmp(action, "hang") || !strcmp(action, "close") || !strcmp(action, "garbage") ? 300 : 0;
    outcome result = run();
    here.timeout_ms = 0;
    set_fault(folder, NULL, 0);
    check(&result, for_compilers);
    tr_error_destroy(result.error);
    outcome again = run();
    check_right(&again, "the next call");
    tr_error_destroy(again.error);
    end_runner();
    alarm(0);
    points++;
    remains after = look();
    if (after.files != start.files) complain("%d descriptors became %d", start.files, after.files);
    if (after.folders != start.folders) complain("%d files became %d", start.folders, after.folders);
    if (has_children()) complain("a process is left");
}

static size_t read_bounds(const char *folder, long bounds[64]) {
    char path[128], line[32];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s/bounds", here.folder, folder);
    FILE *file = fopen(path, "re");
    while (file && count < 64 && fgets(line, sizeof line, file)) bounds[count++] = strtol(line, NULL, 10);
    if (file) fclose(file);
    unlink(path);
    return count;
}

/* At the beginning and end of each prefix, header and blob of the answer, and inside each. */
static void misbehave_everywhere(const char *folder) {
    static const char *const actions[] = {"exit",        "fail",        "abort", "kill",  "stop",
                                          "kill-server", "stop-server", "hang",  "close", "garbage"};
    long bounds[64];
    set_fault(folder, "measure", 0);
    make_runner();
    clear_cache();
    outcome result = run();
    tr_error_destroy(result.error);
    end_runner();
    set_fault(folder, NULL, 0);
    size_t count = read_bounds(folder, bounds);
    if (count < 4) complain("the answer was not measured");
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(actions[i], "garbage"))
            misbehave(folder, actions[i], -1); /* nobody reads what comes that early */
        for (size_t k = 0; k + 1 < count && wrong <= 50; k++) {
            misbehave(folder, actions[i], bounds[k]);
            if (bounds[k + 1] > bounds[k] + 1) misbehave(folder, actions[i], (bounds[k] + bounds[k + 1]) / 2);
        }
    }
}

static void fail_compilers(void) {
    static const char *const names[] = {"compile", "compile-native"}, *const folders[] = {"lib", "native"};
    static const char *const actions[] = {"exit", "fail", "abort", "kill", "stop"};
    for (size_t i = 0; i < 2; i++) {
        unsigned long before = points;
        for (now = scenarios; now->name && strcmp(now->name, names[i]); now++) {
        }
        if (!is_chosen(now) || !prepare()) continue;
        misbehave_everywhere(folders[i]);
        for (size_t k = 0; !i && k < sizeof actions / sizeof *actions; k++)
            for (long at = 0; at < 2000; at += 500) misbehave("site", actions[k], at);
        printf("    %-16s %6lu\n", now->name, points - before);
    }
}

/* ---- the place ---- */

static void link_to(const char *target, const char *format) {
    char path[256];
    snprintf(path, sizeof path, format, here.folder);
    if (symlink(target, path)) perror(path), exit(2);
}

static void make_folder(const char *format) {
    char path[256];
    snprintf(path, sizeof path, format, here.folder);
    if (mkdir(path, 0700)) perror(path), exit(2);
}

static void copy_file(const char *from, const char *format) {
    char to[256], buffer[65536];
    snprintf(to, sizeof to, format, here.folder);
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    for (ssize_t got; (got = read(in, buffer, sizeof buffer)) > 0;)
        if (write(out, buffer, (size_t)got) != got) perror(to), exit(2);
    close(in), close(out);
}

/* lib: with the real helper, and far_end where the worker is; native: with far_end for the helper; site: a Triton whose
   ptxas is far_end. */
static void make_place(void) {
    char python[256];
    strcpy(here.folder, "/tmp/tr_faults.XXXXXX");
    if (!mkdtemp(here.folder)) perror(here.folder), exit(2);
    make_folder("%s/lib"), make_folder("%s/native"), make_folder("%s/site");
    link_to(TR_BINARY_DIR "/libexec/triton-runner-helper", "%s/lib/triton-runner-helper");
    if (!access(TR_BINARY_DIR "/libexec/libtriton_runner_cpu.so", F_OK))
        link_to(TR_BINARY_DIR "/libexec/libtriton_runner_cpu.so", "%s/lib/libtriton_runner_cpu.so");
    copy_file(TR_FAR_END, "%s/native/triton-runner-helper");
    copy_file("/dev/null", "%s/native/libtriton_runner_llvm.so");
    copy_file("/dev/null", "%s/lib/worker.py"), copy_file("/dev/null", "%s/native/worker.py");
    copy_file(TR_FAR_END, "%s/python");
    make_folder("%s/site/triton-3.4.0.dist-info"), make_folder("%s/site/triton"),
        make_folder("%s/site/triton/backends");
    make_folder("%s/site/triton/backends/nvidia"), make_folder("%s/site/triton/backends/nvidia/bin");
    copy_file("/dev/null", "%s/site/triton-3.4.0.dist-info/RECORD");
    copy_file(TR_FAR_END, "%s/site/triton/backends/nvidia/bin/ptxas");
    snprintf(python, sizeof python, "%s/python=%s/site", here.folder, here.folder);
    setenv("TRITON_RUNNER_PYTHON", python, 1);
    setenv("PATH", "/nonexistent", 1);
    setenv("HOME", here.folder, 1);
    unsetenv("TRITON_RUNNER_LIBDIR");
    unsetenv("VIRTUAL_ENV");
}

int main(int argc, char **argv) {
    static const struct {
        const char *name, *title;
        void (*run)(void);
    } parts[] = {{"memory", "an allocation fails", fail_memory},
                 {"files", "a file operation fails", fail_files},
                 {"driver", "a call of the driver fails", fail_driver},
                 {"compilers", "a compiler misbehaves", fail_compilers},
                 {"fork", "the host forks", fork_anywhere}};
    signal(SIGALRM, too_long);
    setvbuf(stdout, NULL, _IOLBF, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    make_place();
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        bool asked = argc == 1;
        for (int k = 1; k < argc; k++) asked = asked || !strcmp(argv[k], parts[i].name);
        if (!asked) continue;
        unsigned long before = points, start = (unsigned long)time(NULL);
        printf("%s\n", parts[i].title);
        parts[i].run();
        printf("  %lu points, %lu s\n", points - before, (unsigned long)time(NULL) - start);
    }
    remove_tree(here.folder);
    printf("%lu points injected, %lu wrong\n", points, wrong);
    return points && !wrong ? 0 : 1;
}
