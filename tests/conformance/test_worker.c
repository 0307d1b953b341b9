/* The worker as a process: what happens when it is killed, stopped, cancelled or late in the middle of a compile, when
   the host forks, waits or ends. The protocol itself is tested without Triton by test_peer. */
#include "base/file.h"
#include "compilers/peer.h"
#include "compilers/spawn.h"
#include "compilers/triton.h"
#include "compilers/wire.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const char slow_kernel[] =
    "import time\nimport triton\ntime.sleep(60)\n@triton.jit\ndef k():\n    pass\n";
/* What a user's file may begin with: modules that are not there, named but not used. */
static const char quick_kernel[] =
    "import nowhere\nimport nowhere.deep as deep\nfrom nowhere.else_ import thing\n"
    "import triton\nimport triton.language as tl\nprint('loaded')\n"
    "class C(nowhere.Base):\n    pass\n"
    "def f(x: deep.Tensor, y=thing.value):\n    nowhere.call(x)\n"
    "@triton.jit\ndef k(x, N: tl.constexpr):\n"
    "    tl.store(x + tl.arange(0, N), 1)\n";
static char *worker;

static tr__tritons *find_tritons(void) {
    tr__tritons *tritons = NULL;
    assert_int_equal(tr__tritons_create(worker, &tritons, NULL), TR_OK);
    return tritons;
}

typedef struct asked {
    const tr__triton *triton;
    const char *text, *signature;
    tr_stage to;
    uint32_t timeout;
    int32_t (*progress)(void *user, tr_stage reached, double seconds);
    void *user;

    tr_status status;
    tr__compile_result result;
    tr_error *error;
    double seconds;
} asked;

static void *ask(void *argument) {
    asked *asked = argument;
    tr__blob *source = tr__blob_create(asked->text, strlen(asked->text));
    tr__compile_request request = {.from = TR_STAGE_PYTHON,
                                   .to = asked->to,
                                   .source = source,
                                   .kernel = "k",
                                   .signature = asked->signature,
                                   .arch = "sm_80",
                                   .timeout_ms = asked->timeout,
                                   .progress = asked->progress,
                                   .progress_user = asked->user};
    int64_t begun = tr__clock_ns();
    asked->status = tr__triton_compile(asked->triton, &request, &asked->result, &asked->error);
    asked->seconds = (double)(tr__clock_ns() - begun) * 1e-9;
    tr__blob_release(source);
    return NULL;
}

static void done(asked *asked) {
    tr__compile_result_release(&asked->result);
    tr_error_destroy(asked->error);
}

static bool compiles(const tr__triton *triton) {
    asked quick = {.triton = triton, .text = quick_kernel, .signature = "*i32, 64", .to = TR_STAGE_CUBIN};
    ask(&quick);
    bool right = quick.status == TR_OK && quick.result.stages[TR_STAGE_CUBIN]->size > 500 &&
                 quick.result.log && !strcmp(quick.result.log, "loaded\n");
    if (quick.status) print_message("%s\n", tr_error_message(quick.error));
    done(&quick);
    return right;
}

static const char converting_kernel[] =
    "import triton\nimport triton.language as tl\n@triton.jit\ndef k(x, y, N: tl.constexpr):\n"
    "    at = tl.arange(0, N)\n    tl.store(y + at, tl.load(x + at).to(tl.bfloat16))\n";

static tr__blob *lower(const tr__triton *triton, tr__blob *ttir, const char *arch) {
    tr__compile_request request = {
        .from = TR_STAGE_TTIR, .to = TR_STAGE_PTX, .source = ttir, .kernel = "k", .arch = arch};
    tr__compile_result result = {0};
    assert_int_equal(tr__triton_compile(triton, &request, &result, NULL), TR_OK);
    tr__blob *ptx = tr__blob_retain(result.stages[TR_STAGE_PTX]);
    tr__compile_result_release(&result);
    return ptx;
}

/* What a process compiled for one architecture is not seen in what it makes for another: one after the other with one
   Triton as each with a process of its own. */
static void architectures_apart(void **state) {
    static const char *const archs[] = {"sm_89", "sm_90", "sm_80", "sm_89"};
    tr__tritons *together = find_tritons();
    asked python = {.triton = tr__tritons_at(together, 0),
                    .text = converting_kernel,
                    .signature = "*fp8e5:16, *bf16:16, 128",
                    .to = TR_STAGE_TTIR};
    ask(&python);
    assert_int_equal(python.status, TR_OK);
    tr__blob *ttir = python.result.stages[TR_STAGE_TTIR];
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        tr__tritons *alone = find_tritons();
        tr__blob *ptx = lower(tr__tritons_at(together, 0), ttir, archs[i]);
        tr__blob *expected = lower(tr__tritons_at(alone, 0), ttir, archs[i]);
        assert_int_equal(ptx->size, expected->size);
        assert_memory_equal(ptx->data, expected->data, ptx->size);
        tr__blob_release(ptx);
        tr__blob_release(expected);
        tr__tritons_destroy(alone);
    }
    done(&python);
    tr__tritons_destroy(together);
}

enum { CHILDREN_MAX = 16 };

static size_t children_of(pid_t server, pid_t children[CHILDREN_MAX]) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)server, (int)server);
    FILE *file = fopen(path, "r");
    size_t count = 0;
    while (file && count < CHILDREN_MAX && fscanf(file, "%d", &children[count]) == 1) count++;
    if (file) fclose(file);
    return count;
}

/* A child that has answered is there for the next request: one that died of an answer which nobody waited for would take
   that request with it. */
static void children_live_on(void **state) {
    enum { REQUESTS = 30 };
    tr__tritons *tritons = find_tritons();
    const tr__triton *triton = tr__tritons_at(tritons, 0);
    asked python = {.triton = triton,
                    .text = quick_kernel,
                    .signature = "*i32, 64",
                    .to = TR_STAGE_TTIR,
                    .timeout = 60000};
    ask(&python);
    assert_int_equal(python.status, TR_OK);
    tr__blob *ttir = python.result.stages[TR_STAGE_TTIR];
    tr__blob_release(lower(triton, ttir, "sm_89"));
    pid_t server = tr__peer_process(triton->peer), before[CHILDREN_MAX], after[CHILDREN_MAX];
    size_t count = children_of(server, before);
    assert_true(count > 0);
    for (int i = 0; i < REQUESTS; i++) tr__blob_release(lower(triton, ttir, "sm_89"));
    size_t left = children_of(server, after);
    for (size_t i = 0; i < count; i++) {
        bool lives = false;
        for (size_t k = 0; k < left; k++) lives = lives || after[k] == before[i];
        assert_true(lives);
    }
    done(&python);
    tr__tritons_destroy(tritons);
}

typedef struct deed {
    int signal;
    bool child;
    tr_status status;
    const char *message;
} deed;

static void deaths(void **state) {
    static const deed deeds[] = {{SIGKILL, false, TR_E_COMPILER_CRASHED, "ended"},
                                 {SIGSTOP, false, TR_E_COMPILER_CRASHED, "stopped"},
                                 {SIGKILL, true, TR_E_COMPILER_CRASHED, "signal 9"},
                                 {SIGSTOP, true, TR_E_COMPILER_CRASHED, "signal 9"},
                                 {SIGSEGV, true, TR_E_COMPILER_CRASHED, "signal 11"}};
    tr__tritons *tritons = find_tritons();
    const tr__triton *triton = tr__tritons_at(tritons, 0);
    assert_true(compiles(triton));
    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++) {
        asked slow = {.triton = triton, .text = slow_kernel, .to = TR_STAGE_CUBIN};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, ask, &slow), 0);
        usleep(700000);
        pid_t server = tr__peer_process(triton->peer), victims[CHILDREN_MAX] = {server};
        size_t count = deeds[i].child ? children_of(server, victims) : 1;
        assert_true(count > 0 && server > 0);
        int64_t begun = tr__clock_ns();
        for (size_t victim = 0; victim < count; victim++)
            assert_int_equal(kill(victims[victim], deeds[i].signal), 0);
        pthread_join(thread, NULL);
        double seconds = (double)(tr__clock_ns() - begun) * 1e-9;
        if (slow.status != deeds[i].status || !strstr(tr_error_message(slow.error), deeds[i].message) ||
            seconds > (deeds[i].signal == SIGSTOP ? 1.5 : 1))
            fail_msg("signal %d: %s after %.2f s: %s", deeds[i].signal, tr_status_name(slow.status), seconds,
                     tr_error_message(slow.error));
        done(&slow);
        assert_true(compiles(triton));
    }
    tr__tritons_destroy(tritons);
}

static int32_t cancel_soon(void *user, tr_stage reached, double seconds) {
    static int asked; /* about every 50 ms */
    return ++asked > 6;
}

static void limits(void **state) {
    tr__tritons *tritons = find_tritons();
    const tr__triton *triton = tr__tritons_at(tritons, 0);
    assert_true(compiles(triton));
    asked late = {.triton = triton, .text = slow_kernel, .to = TR_STAGE_CUBIN, .timeout = 500};
    ask(&late);
    assert_int_equal(late.status, TR_E_TIMEOUT);
    assert_true(late.seconds < 1);
    done(&late);
    asked cancelled = {.triton = triton, .text = slow_kernel, .to = TR_STAGE_CUBIN, .progress = cancel_soon};
    ask(&cancelled);
    assert_int_equal(cancelled.status, TR_E_CANCELLED);
    assert_true(cancelled.seconds < 1);
    done(&cancelled);
    pid_t server = tr__peer_process(triton->peer);
    assert_true(compiles(triton));
    assert_int_equal(tr__peer_process(triton->peer), server); /* the others' requests would have gone on */
    tr__tritons_destroy(tritons);
}

static int children_seen;
static void count_child(int number) {
    children_seen++;
}

static size_t count_entries(const char *path, const char *prefix) {
    size_t count = 0;
    DIR *folder = opendir(path);
    for (struct dirent *entry; (entry = readdir(folder));)
        count += !strncmp(entry->d_name, prefix, strlen(prefix));
    closedir(folder);
    return count;
}

/* It removes the folder that a killed one left, and no other. */
static void leaves_nothing(void **state) {
    char folder[] = "/tmp/tr-test-worker-XXXXXX", left[64], others[64];
    assert_non_null(mkdtemp(folder));
    snprintf(left, sizeof left, "%s/triton-runner-999999999-x", folder);
    snprintf(others, sizeof others, "%s/triton-runner-mine", folder);
    assert_int_equal(mkdir(left, 0700) | mkdir(others, 0700), 0);
    setenv("TMPDIR", folder, 1);
    signal(SIGCHLD, count_child);
    size_t files = count_entries("/proc/self/fd", "");
    tr__tritons *tritons = find_tritons();
    const tr__triton *triton = tr__tritons_at(tritons, 0);
    assert_true(compiles(triton));
    asked late = {.triton = triton, .text = slow_kernel, .to = TR_STAGE_CUBIN, .timeout = 300};
    ask(&late);
    done(&late);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    pid_t server = tr__peer_process(triton->peer);
    tr__tritons_destroy(tritons);
    assert_int_equal(tr__spawn_check(&(tr__spawned){server, -1}), TR__SPAWN_ENDED);
    assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
    assert_int_equal(children_seen, 0);
    assert_int_equal(count_entries("/proc/self/fd", ""), files);
    assert_int_equal(count_entries(folder, ""), 3); /* "." and ".." */
    assert_int_equal(rmdir(others), 0);
    unsetenv("TMPDIR");
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(rmdir(folder), 0);
}

static void fork_in_host(void **state) {
    tr__tritons *tritons = find_tritons();
    const tr__triton *triton = tr__tritons_at(tritons, 0);
    assert_true(compiles(triton));
    pid_t server = tr__peer_process(triton->peer), child = fork();
    if (!child) {
        bool right = compiles(triton) && tr__peer_process(triton->peer) != server;
        tr__tritons_destroy(tritons);
        _exit(right ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(tr__peer_process(triton->peer), server);
    assert_true(compiles(triton));
    tr__tritons_destroy(tritons);
}

static void host_killed(void **state) {
    int report[2];
    assert_int_equal(pipe(report), 0);
    pid_t host = fork();
    if (!host) {
        tr__tritons *tritons = find_tritons();
        const tr__triton *triton = tr__tritons_at(tritons, 0);
        pid_t server = compiles(triton) ? tr__peer_process(triton->peer) : 0;
        if (write(report[1], &server, sizeof server) < 0) _exit(1);
        ask(&(asked){.triton = triton, .text = slow_kernel, .to = TR_STAGE_CUBIN});
        _exit(1); /* it should have been killed by now */
    }
    pid_t server = 0;
    assert_int_equal(read(report[0], &server, sizeof server), sizeof server);
    assert_true(server > 0);
    usleep(500000);
    pid_t processes[CHILDREN_MAX + 1];
    size_t count = children_of(server, processes);
    assert_true(count > 0);
    processes[count++] = server;
    kill(host, SIGKILL);
    waitpid(host, NULL, 0);
    int64_t until = tr__clock_ns() + (int64_t)3000000000;
    for (size_t i = 0; i < count; i++) {
        tr__spawned gone = {processes[i], -1};
        while (tr__spawn_check(&gone) != TR__SPAWN_ENDED && tr__clock_ns() < until) usleep(10000);
        assert_int_equal(tr__spawn_check(&gone), TR__SPAWN_ENDED);
    }
    close(report[0]);
    close(report[1]);
}

static void selection(void **state) {
    tr__tritons *tritons = find_tritons();
    const tr__triton *first = tr__tritons_at(tritons, 0), *found;
    assert_int_equal(tr__tritons_select(tritons, NULL, false, &found, NULL), TR_OK);
    assert_ptr_equal(found, first);
    assert_int_equal(tr__tritons_select(tritons, first->version, false, &found, NULL), TR_OK);
    assert_string_equal(found->version, first->version);
    assert_int_equal(tr__tritons_select(tritons, "3", false, &found, NULL), TR_OK);
    for (size_t i = 0; i < tr__tritons_count(tritons); i++)
        assert_true(strverscmp(tr__tritons_at(tritons, i)->version, found->version) <= 0);
    tr_error *error = NULL;
    assert_int_equal(tr__tritons_select(tritons, "2.1.0", false, &found, &error), TR_E_COMPILER_MISSING);
    assert_non_null(strstr(tr_error_message(error), "triton==2.1.0"));
    assert_non_null(strstr(tr_error_message(error), first->version));
    tr_error_destroy(error);
    tr__tritons_destroy(tritons);
}

int main(int argc, char **argv) {
    const char *folder = getenv("TRITON_RUNNER_LIBDIR");
    worker = tr__path_join(folder ? folder : ".", "worker.py");
    tr__tritons *tritons = NULL;
    if (tr__tritons_create(worker, &tritons, NULL) || !tr__tritons_count(tritons)) {
        puts("SKIP: no Triton is installed (TRITON_RUNNER_PYTHON)");
        return 77;
    }
    tr__tritons_destroy(tritons);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selection),
        cmocka_unit_test(deaths),
        cmocka_unit_test(limits),
        cmocka_unit_test(leaves_nothing),
        cmocka_unit_test(fork_in_host),
        cmocka_unit_test(host_killed),
        cmocka_unit_test(architectures_apart),
        cmocka_unit_test(children_live_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
