/* triton-runner-helper ROLE PLUGIN: the far end of native.c. The role is what it compiles with: "llvm",
   "nvjitlink", or "execute" for a program that each request names. The control socket is file 3. */
#include "base/error.h"
#include "compilers/native.h"
#include "compilers/serve.h"
#include "compilers/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONTROL = 3, ARGUMENTS_MAX = 128 };

static const char *plugin;

static void fail(int connection, tr_status status, const tr_error *error) {
    tr__serve_failed(connection, status, tr_error_stage(error), "%s", tr_error_message(error));
}

static tr__compile_request read_request(const tr__frame *frame) {
    const json_t *header = frame->header;
    return (tr__compile_request){
        .from = (tr_stage)json_integer_value(json_object_get(header, "from")),
        .to = (tr_stage)json_integer_value(json_object_get(header, "to")),
        .source = frame->blob,
        .path = json_string_value(json_object_get(header, "path")),
        .kernel = json_string_value(json_object_get(header, "kernel")),
        .arch = json_string_value(json_object_get(header, "arch")),
        .options = json_object_get(header, "options"),
        .metadata = json_object_get(header, "metadata"),
    };
}

static void answer(int connection, tr_status status, const tr__compile_request *request,
                   const tr__compile_result *result, const tr_error *error) {
    if (result->log) fputs(result->log, stderr);
    fflush(stderr);
    if (status) {
        fail(connection, status, error);
        return;
    }
    const tr__blob *made = result->stages[request->to];
    tr__serve_stage(connection, request->to, result->seconds[request->to], made->data, made->size);
    tr__serve_done(connection, result->metadata, result->extra, result->maker);
}

static void compile_llir(int connection, const tr__frame *frame) {
    tr__compile_request request = read_request(frame);
    tr__compile_result result = {.log = NULL};
    tr_error *error = NULL;
    int64_t begun = tr__clock_ns();
    tr_status status = tr__llvm_compile(plugin, &request, &result, &error);
    result.seconds[request.to] = (double)(tr__clock_ns() - begun) * 1e-9;
    answer(connection, status, &request, &result, error);
}

static void compile_ptx(int connection, const tr__frame *frame) {
    tr__compile_request request = read_request(frame);
    tr__compile_result result = {.log = NULL};
    tr_error *error = NULL;
    int64_t begun = tr__clock_ns();
    tr_status status = tr__nvjitlink_compile(&request, &result, &error);
    result.seconds[request.to] = (double)(tr__clock_ns() - begun) * 1e-9;
    answer(connection, status, &request, &result, error);
}

/* ---- programs ---- */

static int memory_file(const tr__blob *content) {
    int file = memfd_create("triton_runner", MFD_CLOEXEC);
    const char *at = content ? content->data : NULL;
    for (size_t left = content ? content->size : 0; file >= 0 && left;) {
        ssize_t put = write(file, at, left);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            close(file);
            return -1;
        }
        at += put;
        left -= (size_t)put;
    }
    if (file >= 0) lseek(file, 0, SEEK_SET);
    return file;
}

static _Noreturn void become(char **argv, int source, int made, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    int kept = fcntl(made, F_DUPFD_CLOEXEC, 10); /* neither may be overwritten by the other's place */
    dup2(source, 0);
    dup2(kept, 3);
    execv(argv[0], argv);
    fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
    fflush(stderr);
    _exit(127);
}

static bool read_argv(const tr__frame *frame, char *argv[ARGUMENTS_MAX + 1]) {
    const json_t *list = json_object_get(frame->header, "argv");
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count && i < ARGUMENTS_MAX; i++)
        argv[i] = (char *)json_string_value(json_array_get(list, i));
    return count && count <= ARGUMENTS_MAX;
}

static void tell_end(int connection, const tr__compile_request *request, int status, int made,
                     double seconds) {
    if (WIFEXITED(status) && !WEXITSTATUS(status)) {
        off_t size = lseek(made, 0, SEEK_END);
        void *data = size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, made, 0) : NULL;
        if (data == MAP_FAILED) _exit(1);
        tr__serve_stage(connection, request->to, seconds, data, size > 0 ? (size_t)size : 0);
        tr__serve_done(connection, NULL, NULL, "");
        return;
    }
    char how[96];
    tr__spawn_describe(status, how, sizeof how);
    bool crashed = WIFSIGNALED(status);
    tr__serve_failed(connection, crashed ? TR_E_COMPILER_CRASHED : TR_E_COMPILE, request->to, "%s %s",
                     crashed ? "crashed" : "ended", how);
}

static void execute(int connection, const tr__frame *frame) {
    tr__compile_request request = read_request(frame);
    char *argv[ARGUMENTS_MAX + 1] = {NULL};
    int source = memory_file(frame->blob), made = memory_file(NULL), status;
    if (source < 0 || made < 0 || !read_argv(frame, argv)) {
        tr__serve_failed(connection, TR_E_IO, request.to, "cannot prepare the files of a program: %s",
                         strerror(errno));
        return;
    }
    int64_t begun = tr__clock_ns();
    pid_t self = getpid(), pid = fork();
    if (!pid) become(argv, source, made, self);
    if (pid < 0) _exit(1);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    tell_end(connection, &request, status, made, (double)(tr__clock_ns() - begun) * 1e-9);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fputs("triton-runner-helper is started by libtriton_runner\n", stderr);
        return 2;
    }
    plugin = argv[2];
    if (!strcmp(argv[1], "execute")) return tr__serve(CONTROL, execute);
    /* Opened before the first fork; where that fails, each request is told why. */
    if (!strcmp(argv[1], "nvjitlink")) {
        tr__nvjitlink_open(NULL, NULL, NULL);
        return tr__serve(CONTROL, compile_ptx);
    }
    tr__llvm_open(plugin, NULL, NULL);
    return tr__serve(CONTROL, compile_llir);
}
