#include "compilers/serve.h"

#include "compilers/spawn.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MAX = 256, OTHERS = 3 };

typedef struct child {
    pid_t pid;
    int connection;
} child;

typedef struct server {
    int control, signals, host; /* the host is a pidfd; -1: the kernel has none */
    pid_t self;
    child children[CHILDREN_MAX];
    size_t count;
} server;

/* What was printed must be in the log before the host hears of the end. */
static void send_frame(int connection, json_t *header, const void *data, size_t size) {
    tr__wait wait = {0};
    fflush(NULL);
    if (!header || tr__frame_write(connection, header, data, size, &wait, NULL)) _exit(1);
    json_decref(header);
}

void tr__serve_stage(int connection, tr_stage stage, double seconds, const void *data, size_t size) {
    send_frame(connection, json_pack("{s:i, s:f}", "stage", (int)stage, "seconds", seconds), data, size);
}

void tr__serve_done(int connection, json_t *metadata, json_t *extra, const char *maker) {
    json_t *header =
        json_pack("{s:b, s:o*, s:o*, s:s}", "done", 1, "metadata", metadata, "extra", extra, "maker", maker);
    send_frame(connection, header, NULL, 0);
}

void tr__serve_failed(int connection, tr_status status, tr_stage stage, const char *format, ...) {
    char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&message, format, arguments) < 0) _exit(1);
    va_end(arguments);
    json_t *text = json_string(message);
    if (!text) text = json_string("a message that is not UTF-8");
    send_frame(connection,
               json_pack("{s:i, s:o, s:i}", "failed", (int)status, "message", text, "stage", (int)stage),
               NULL, 0);
    free(message);
}

static _Noreturn void run_request(const server *server, int connection, int log, tr__serve_handler *handle) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != server->self) _exit(1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    close(server->control);
    for (size_t i = 0; i < server->count; i++) close(server->children[i].connection);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    close(log);
    send_frame(connection, json_pack("{s:i}", "accepted", (int)getpid()), NULL, 0);
    tr__frame request;
    tr__wait wait = {0};
    if (tr__frame_read(connection, &wait, &request, NULL)) _exit(1);
    double seconds = json_number_value(json_object_get(request.header, "seconds"));
    struct rlimit limit = {(rlim_t)seconds + 5, (rlim_t)seconds + 6}; /* should nobody be left to stop it */
    setrlimit(RLIMIT_CPU, &limit);
    handle(connection, &request);
    _exit(0);
}

static void accept_request(server *server, int connection, int log, tr__serve_handler *handle) {
    pid_t pid = server->count < CHILDREN_MAX ? fork() : -1;
    if (!pid) run_request(server, connection, log, handle);
    close(log);
    if (pid < 0) { /* the host sees the connection close */
        close(connection);
        return;
    }
    setpgid(pid, pid);
    server->children[server->count++] = (child){pid, connection};
}

static void kill_child(const child *child) {
    kill(-child->pid, SIGKILL);
    kill(child->pid, SIGKILL);
}

static void tell_crash(int connection, int status) {
    char how[96];
    tr__spawn_describe(status, how, sizeof how);
    json_t *header = json_pack("{s:s}", "crashed", how);
    tr__wait wait = {.deadline = tr__clock_ns() + 100 * 1000000};
    if (header) tr__frame_write(connection, header, NULL, 0, &wait, NULL);
    json_decref(header);
}

/* What became of the children: one that is stopped would hold its request for ever. */
static void reap(server *server) {
    for (size_t i = server->count; i--;) {
        child *child = &server->children[i];
        int status;
        if (waitpid(child->pid, &status, WNOHANG | WUNTRACED) != child->pid) continue;
        if (WIFSTOPPED(status)) {
            kill_child(child);
            continue;
        }
        if (!WIFEXITED(status) || WEXITSTATUS(status)) tell_crash(child->connection, status);
        close(child->connection);
        *child = server->children[--server->count];
    }
}

static _Noreturn void leave(const server *server) {
    for (size_t i = 0; i < server->count; i++) kill_child(&server->children[i]);
    _exit(0);
}

static void serve_once(server *server, tr__serve_handler *handle) {
    struct pollfd polled[CHILDREN_MAX + OTHERS];
    size_t count = server->count;
    for (size_t i = 0; i < count; i++)
        polled[i] = (struct pollfd){server->children[i].connection, POLLRDHUP, 0};
    struct pollfd *others = &polled[count];
    others[0] = (struct pollfd){server->signals, POLLIN, 0};
    others[1] = (struct pollfd){server->control, POLLIN, 0};
    others[2] = (struct pollfd){server->host, POLLIN, 0};
    if (poll(polled, count + OTHERS, -1) < 0) return;
    if (others[2].revents) leave(server);
    for (size_t i = 0; i < count; i++) /* the host gave the request up */
        if (polled[i].revents) kill_child(&server->children[i]);
    struct signalfd_siginfo info;
    if (others[0].revents && read(server->signals, &info, sizeof info) > 0) reap(server);
    if (others[1].revents) {
        int files[2];
        if (!tr__files_receive(server->control, files, 2)) leave(server);
        accept_request(server, files[0], files[1], handle);
    }
}

/* The host made the control socket. When it ends the socket closes, unless a forked child of it lives on. */
static int open_host(int control) {
    struct ucred host;
    socklen_t size = sizeof host;
    if (getsockopt(control, SOL_SOCKET, SO_PEERCRED, &host, &size)) return -1;
    return (int)syscall(SYS_pidfd_open, host.pid, 0);
}

int tr__serve(int control, tr__serve_handler *handle) {
    static server server;
    server = (struct server){.control = control, .host = open_host(control), .self = getpid()};
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &mask, NULL)) return 1;
    server.signals = signalfd(-1, &mask, SFD_CLOEXEC);
    if (server.signals < 0) return 1;
    for (;;) serve_once(&server, handle);
}
