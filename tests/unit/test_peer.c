/* A far end that misbehaves in every way we can think of, and a host that forks, waits and runs threads. This
   program is both: with the argument "far-end" it serves. */
#include "compilers/peer.h"
#include "compilers/serve.c"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/socket.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* ---- the far end: the kernel's name says what to do ---- */

static void answer(int connection) {
    printf("a note\n");
    tr__serve_stage(connection, TR_STAGE_PTX, 0.25, "ptx", 3);
    tr__serve_stage(connection, TR_STAGE_CUBIN, 0.5, "cubin\0x", 7);
    tr__serve_done(connection, json_pack("{s:i}", "shared", 128), NULL, "far end 1");
}

static void misbehave(int connection, const tr__frame *request) {
    const char *what = json_string_value(json_object_get(request->header, "kernel"));
    static const char garbage[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    static const unsigned char half[] = {40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '{', '"'};
    if (!strcmp(what, "answer")) answer(connection);
    if (!strcmp(what, "sleep")) usleep(200000), answer(connection);
    if (!strcmp(what, "refuse")) tr__serve_failed(connection, TR_E_COMPILE, TR_STAGE_PTX, "line %d", 7);
    if (!strcmp(what, "abort")) fprintf(stderr, "last words\n"), abort();
    if (!strcmp(what, "exit")) exit(3);
    if (!strcmp(what, "nothing")) return;
    if (!strcmp(what, "hang")) pause();
    if (!strcmp(what, "spin"))
        for (;;) getppid();
    if (!strcmp(what, "garbage")) send(connection, garbage, sizeof garbage, 0), pause();
    if (!strcmp(what, "half")) send(connection, half, sizeof half, 0);
    if (!strcmp(what, "half and hang")) send(connection, half, sizeof half, 0), pause();
    if (!strcmp(what, "no object")) send(connection, "\2\0\0\0\0\0\0\0\0\0\0\0[]", 14, 0), pause();
    if (!strcmp(what, "lie")) tr__serve_done(connection, NULL, NULL, "nobody"), pause();
    if (!strcmp(what, "wrong stage")) tr__serve_stage(connection, TR_STAGE_TTIR, 0, "", 0), pause();
    if (!strcmp(what, "odd status")) tr__serve_failed(connection, 9999, 0, "?"), pause();
    if (!strcmp(what, "stop")) raise(SIGSTOP);
    if (!strcmp(what, "stop server")) kill(getppid(), SIGSTOP), pause();
    if (!strcmp(what, "kill server")) kill(getppid(), SIGKILL), pause();
    if (!strcmp(what, "state")) {
        sigset_t mask;
        sigprocmask(SIG_SETMASK, NULL, &mask);
        struct sigaction action;
        sigaction(SIGUSR1, NULL, &action);
        char folder[64], files[64] = "";
        for (int fd = 0; fd < 60; fd++) files[fd] = fcntl(fd, F_GETFD) >= 0 ? 'x' : '.';
        json_t *seen =
            json_pack("{s:b, s:b, s:s, s:s, s:b, s:b}", "blocked", sigismember(&mask, SIGUSR1), "ignored",
                      action.sa_handler == SIG_IGN, "folder", getcwd(folder, sizeof folder), "files", files,
                      "leak", getenv("TRITON_LEAK") != NULL, "given", getenv("GIVEN") != NULL);
        tr__serve_stage(connection, TR_STAGE_CUBIN, 0, NULL, 0);
        tr__serve_done(connection, seen, NULL, "far end 1");
    }
}

/* ---- the host ---- */

static const char *program;

static tr__peer *make_peer(const char *path) {
    const char *argv[] = {path, "far-end", NULL}, *environment[] = {"GIVEN=1", NULL};
    tr__peer_options options = {.name = "Far end", .argv = argv, .environment = environment};
    tr__peer *peer;
    assert_int_equal(tr__peer_create(&options, &peer, NULL), TR_OK);
    return peer;
}

typedef struct asked {
    tr_status status;
    tr__compile_result result;
    tr_error *error;
    double seconds;
} asked;

static asked ask_with(tr__peer *peer, const char *what, uint32_t timeout,
                      int32_t (*progress)(void *, tr_stage, double), void *user) {
    asked asked = {0};
    tr__blob *source = tr__blob_create("llir", 4);
    tr__compile_request request = {.from = TR_STAGE_LLIR,
                                   .to = TR_STAGE_CUBIN,
                                   .source = source,
                                   .kernel = what,
                                   .timeout_ms = timeout,
                                   .progress = progress,
                                   .progress_user = user};
    int64_t begun = tr__clock_ns();
    asked.status = tr__peer_compile(peer, &request, NULL, &asked.result, &asked.error);
    asked.seconds = (double)(tr__clock_ns() - begun) * 1e-9;
    tr__blob_release(source);
    return asked;
}

static asked ask(tr__peer *peer, const char *what, uint32_t timeout) {
    return ask_with(peer, what, timeout, NULL, NULL);
}

static void done(asked *asked) {
    tr__compile_result_release(&asked->result);
    tr_error_destroy(asked->error);
}

static void expect_answer(tr__peer *peer) {
    asked asked = ask(peer, "answer", 5000);
    assert_int_equal(asked.status, TR_OK);
    assert_null(asked.error);
    assert_int_equal(asked.result.stages[TR_STAGE_CUBIN]->size, 7);
    assert_memory_equal(asked.result.stages[TR_STAGE_PTX]->data, "ptx", 4);
    assert_true(asked.result.seconds[TR_STAGE_PTX] > 0.2);
    assert_string_equal(asked.result.log, "a note\n");
    assert_string_equal(asked.result.maker, "far end 1");
    assert_int_equal(json_integer_value(json_object_get(asked.result.metadata, "shared")), 128);
    done(&asked);
}

static bool lives(pid_t pid) { /* whoever adopts an orphan may reap it late */
    return tr__spawn_check(&(tr__spawned){pid, -1}) != TR__SPAWN_ENDED;
}

static void misbehaviour(void **state) {
    static const struct {
        const char *what;
        tr_status status;
        uint32_t timeout;
        const char *message;
    } cases[] = {
        {"refuse", TR_E_COMPILE, 0, "line 7"},
        {"abort", TR_E_COMPILER_CRASHED, 0, "signal 6"},
        {"exit", TR_E_COMPILER_CRASHED, 0, "exit status 3"},
        {"nothing", TR_E_COMPILER_CRASHED, 0, "without an answer"},
        {"hang", TR_E_TIMEOUT, 100, "0.1 s"},
        {"spin", TR_E_TIMEOUT, 100, "0.1 s"},
        {"garbage", TR_E_COMPILER_CRASHED, 0, "garbage"},
        {"half", TR_E_COMPILER_CRASHED, 0, ""},
        {"half and hang", TR_E_TIMEOUT, 200, ""},
        {"no object", TR_E_COMPILER_CRASHED, 0, "garbage"},
        {"lie", TR_E_COMPILER_CRASHED, 0, "garbage"},
        {"wrong stage", TR_E_COMPILER_CRASHED, 0, "garbage"},
        {"odd status", TR_E_COMPILER_CRASHED, 0, "garbage"},
        {"stop", TR_E_COMPILER_CRASHED, 0, "signal 9"},
        {"stop server", TR_E_COMPILER_CRASHED, 0, "stopped"},
        {"kill server", TR_E_COMPILER_CRASHED, 0, "ended"},
    };
    tr__peer *peer = make_peer(program);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        asked asked = ask(peer, cases[i].what, cases[i].timeout);
        if (asked.status != cases[i].status || !strstr(tr_error_message(asked.error), cases[i].message))
            fail_msg("%s: %s, %s", cases[i].what, tr_status_name(asked.status),
                     tr_error_message(asked.error));
        if (asked.seconds > 1) fail_msg("%s took %.2f s", cases[i].what, asked.seconds);
        done(&asked);
        expect_answer(peer);
    }
    asked asked = ask(peer, "abort", 0);
    assert_string_equal(tr_error_log(asked.error), "last words\n");
    done(&asked);
    tr__peer_destroy(peer);
}

static void missing_program(void **state) {
    tr__peer *peer = make_peer("/no/such/program");
    for (int i = 0; i < 2; i++) {
        asked asked = ask(peer, "answer", 0);
        assert_int_equal(asked.status, TR_E_COMPILER_MISSING);
        assert_non_null(strstr(tr_error_message(asked.error), "/no/such/program"));
        done(&asked);
    }
    tr__peer_destroy(peer);
    peer = make_peer("/bin/ls"); /* says that there is no file "far-end" */
    asked asked = ask(peer, "answer", 0);
    assert_int_equal(asked.status, TR_E_COMPILER_MISSING);
    done(&asked);
    tr__peer_destroy(peer);
}

static int32_t cancel_at_third(void *user, tr_stage reached, double seconds) {
    return ++*(int *)user == 3;
}

static void cancel(void **state) {
    tr__peer *peer = make_peer(program);
    int calls = 0;
    asked asked = ask_with(peer, "hang", 0, cancel_at_third, &calls);
    assert_int_equal(asked.status, TR_E_CANCELLED);
    assert_true(asked.seconds < 0.5);
    done(&asked);
    expect_answer(peer);
    tr__peer_destroy(peer);
}

/* Idle ones that die or stop are replaced without the caller noticing. */
static void idle_deaths(void **state) {
    tr__peer *peer = make_peer(program);
    expect_answer(peer);
    static const int signals[] = {SIGKILL, SIGSTOP, SIGTERM};
    for (size_t i = 0; i < 3; i++) {
        pid_t pid = tr__peer_process(peer);
        assert_int_equal(kill(pid, signals[i]), 0);
        expect_answer(peer);
        assert_int_not_equal(tr__peer_process(peer), pid);
        assert_false(lives(pid));
    }
    tr__peer_destroy(peer);
}

static int children_seen;
static void count_child(int number) {
    children_seen++;
}

static size_t count_files(void) {
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

static void invisible(void **state) {
    struct sigaction action = {.sa_handler = count_child}, before, now;
    sigaction(SIGCHLD, &action, &before);
    size_t files = count_files();
    tr__peer *peer = make_peer(program);
    expect_answer(peer);
    pid_t pid = tr__peer_process(peer);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    done(&(asked[]){ask(peer, "kill server", 0)}[0]);
    expect_answer(peer);
    pid = tr__peer_process(peer);
    tr__peer_destroy(peer);
    assert_false(lives(pid));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
    assert_int_equal(children_seen, 0);
    sigaction(SIGCHLD, &before, &now);
    assert_ptr_equal(now.sa_handler, count_child);
    assert_int_equal(count_files(), files);
}

static void clean_state(void **state) {
    sigset_t mask, before;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_BLOCK, &mask, &before);
    signal(SIGUSR1, SIG_IGN);
    setenv("TRITON_LEAK", "1", 1);
    int leak = fcntl(0, F_DUPFD, 40); /* not close-on-exec */
    tr__peer *peer = make_peer(program);
    asked asked = ask(peer, "state", 5000);
    assert_int_equal(asked.status, TR_OK);
    json_t *seen = asked.result.metadata;
    assert_false(json_is_true(json_object_get(seen, "blocked")));
    assert_false(json_is_true(json_object_get(seen, "ignored")));
    assert_false(json_is_true(json_object_get(seen, "leak")));
    assert_true(json_is_true(json_object_get(seen, "given")));
    assert_string_equal(json_string_value(json_object_get(seen, "folder")), "/");
    const char *files = json_string_value(json_object_get(seen, "files"));
    assert_memory_equal(files, "xxx", 3);
    assert_null(strstr(files + 8, "x"));
    done(&asked);
    tr__peer_destroy(peer);
    close(leak);
    unsetenv("TRITON_LEAK");
    signal(SIGUSR1, SIG_DFL);
    sigset_t now;
    sigprocmask(SIG_SETMASK, &before, &now);
    assert_true(sigismember(&now, SIGUSR1));
}

static void fork_in_host(void **state) {
    tr__peer *peer = make_peer(program);
    expect_answer(peer);
    pid_t served_by = tr__peer_process(peer), child = fork();
    if (!child) {
        asked asked = ask(peer, "answer", 5000);
        bool right = asked.status == TR_OK && tr__peer_process(peer) != served_by;
        done(&asked);
        tr__peer_destroy(peer);
        _exit(right ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(tr__peer_process(peer), served_by);
    expect_answer(peer);
    assert_int_equal(tr__peer_process(peer), served_by);
    tr__peer_destroy(peer);
}

/* However the host ends, also when a forked child of it still holds the sockets. */
static void host_killed(void **state) {
    int report[2];
    assert_int_equal(pipe(report), 0);
    pid_t host = fork();
    if (!host) {
        tr__peer *peer = make_peer(program);
        done(&(asked[]){ask(peer, "answer", 5000)}[0]);
        pid_t pids[2] = {tr__peer_process(peer), fork()};
        if (!pids[1]) pause();
        if (write(report[1], pids, sizeof pids) < 0) _exit(1);
        ask(peer, "hang", 0);
    }
    pid_t pids[2];
    assert_int_equal(read(report[0], pids, sizeof pids), sizeof pids);
    usleep(50000);
    kill(host, SIGKILL);
    waitpid(host, NULL, 0);
    int64_t until = tr__clock_ns() + (int64_t)3000000000;
    while (lives(pids[0]) && tr__clock_ns() < until) usleep(10000);
    assert_false(lives(pids[0]));
    kill(pids[1], SIGKILL);
    close(report[0]);
    close(report[1]);
}

static void *ask_sleep(void *peer) {
    asked asked = ask(peer, "sleep", 5000);
    tr_status status = asked.status;
    done(&asked);
    return (void *)(intptr_t)status;
}

static void *ask_often(void *peer) {
    static const char *const what[] = {"answer", "abort", "answer", "garbage", "answer", "kill server"};
    for (int i = 0; i < 30; i++) {
        asked asked = ask(peer, what[i % 6], 5000);
        done(&asked);
    }
    return NULL;
}

static void threads(void **state) {
    tr__peer *peer = make_peer(program);
    expect_answer(peer);
    pthread_t started[8];
    int64_t begun = tr__clock_ns();
    for (int i = 0; i < 8; i++) assert_int_equal(pthread_create(&started[i], NULL, ask_sleep, peer), 0);
    for (int i = 0; i < 8; i++) {
        void *status;
        pthread_join(started[i], &status);
        assert_int_equal((intptr_t)status, TR_OK);
    }
    assert_true(tr__clock_ns() - begun < (int64_t)800000000); /* one after the other: 1.6 s */
    for (int i = 0; i < 8; i++) assert_int_equal(pthread_create(&started[i], NULL, ask_often, peer), 0);
    for (int i = 0; i < 8; i++) pthread_join(started[i], NULL);
    expect_answer(peer);
    tr__peer_destroy(peer);
}

int main(int argc, char **argv) {
    if (argc > 1) return tr__serve(3, misbehave);
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    program = path;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misbehaviour), cmocka_unit_test(missing_program), cmocka_unit_test(cancel),
        cmocka_unit_test(idle_deaths),  cmocka_unit_test(invisible),       cmocka_unit_test(clean_state),
        cmocka_unit_test(fork_in_host), cmocka_unit_test(host_killed),     cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
