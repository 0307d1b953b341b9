#include "base/buffer.h"
#include "compilers/ptxas.h"
#include "compilers/spawn.h"
#include "compilers/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { TICK_MS = 50, LOG_LIMIT = 1 << 24 };
static const int64_t millisecond = 1000000;

static tr_status ask_caller(const tr__compile_request *request, int64_t begun, tr_error **error) {
    if (!request || !request->progress) return TR_OK;
    double seconds = (double)(tr__clock_ns() - begun) * 1e-9;
    if (!request->progress(request->progress_user, request->from, seconds)) return TR_OK;
    return tr__fail(error, TR_E_CANCELLED, "cancelled by the caller");
}

static tr_status check_time(const tr__ptxas_run *run, int64_t begun, tr_error **error) {
    if (tr__clock_ns() - begun < run->timeout_ms * millisecond) return ask_caller(run->request, begun, error);
    return tr__fail(error, TR_E_TIMEOUT, "did not finish within %g s", run->timeout_ms * 1e-3);
}

/* Until every writer of the pipe is gone, which is when the program has ended. */
static tr_status read_output(tr__ptxas_run *run, int pipe_end, int64_t begun, tr_error **error) {
    for (;;) {
        tr_status status = check_time(run, begun, error);
        if (status) return status;
        struct pollfd polled = {pipe_end, POLLIN, 0};
        if (poll(&polled, 1, TICK_MS) <= 0) continue;
        char piece[4096];
        ssize_t got = read(pipe_end, piece, sizeof piece);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return TR_OK;
        if (run->log->size < LOG_LIMIT) tr__buffer_append(run->log, piece, (size_t)got);
    }
}

static tr_status await(tr__ptxas_run *run, pid_t pid, int pipe_end, int64_t begun, tr_error **error) {
    tr_status status = read_output(run, pipe_end, begun, error);
    while (!status && tr__spawn_check(pid, &run->status) != TR__SPAWN_ENDED) {
        usleep(200);
        status = check_time(run, begun, error);
    }
    if (status) tr__spawn_kill(pid, &run->status);
    return status;
}

tr_status tr__ptxas_execute(tr__ptxas_run *run, tr_error **error) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return tr__fail(error, TR_E_IO, "pipe: %s", strerror(errno));
    int64_t begun = tr__clock_ns();
    pid_t pid;
    char **environment = tr__spawn_environment(NULL);
    tr__spawn what = {.argv = run->argv,
                      .environment = (const char *const *)environment,
                      .files = {run->source, ends[1], ends[1], run->cubin}};
    tr_status status = environment ? tr__spawn_start(&what, &pid, error) : tr__fail_out_of_memory(error);
    tr__spawn_environment_free(environment);
    close(ends[1]);
    if (!status) status = await(run, pid, ends[0], begun, error);
    close(ends[0]);
    if (!status && run->log->failed) return tr__fail_out_of_memory(error);
    return status;
}
