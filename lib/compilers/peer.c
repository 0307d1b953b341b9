#include "compilers/peer.h"

#include "base/json.h"
#include "compilers/spawn.h"
#include "compilers/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static const int64_t millisecond = 1000000;
enum { STOPPED_MS = 500, FAREWELL_MS = 300, LOG_LIMIT = 1 << 26 };

/* One life of the far end. Threads that talk to it share it; the last one out ends it. */
typedef struct process {
    uint32_t references;
    tr__spawned spawned;
    pid_t owner; /* who started it: a forked child of the host must leave it alone */
    int control, log;
    bool broken; /* talks nonsense or not at all: no time is lost on a farewell */
} process;

struct tr__peer {
    char *name, **argv, **environment;
    pid_t owner;
    pthread_mutex_t lock; /* over `current` and all references */
    process *current;
};

static void strings_free(char **strings) {
    for (size_t i = 0; strings && strings[i]; i++) free(strings[i]);
    free(strings);
}

static char **strings_copy(const char *const *strings) {
    size_t count = 0;
    while (strings && strings[count]) count++;
    char **copy = calloc(count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        if ((copy[i] = strdup(strings[i]))) continue;
        strings_free(copy);
        return NULL;
    }
    return copy;
}

tr_status tr__peer_create(const tr__peer_options *options, tr__peer **out, tr_error **error) {
    *out = NULL;
    tr__peer *peer = calloc(1, sizeof *peer);
    if (!peer) return tr__fail_out_of_memory(error);
    peer->owner = getpid();
    pthread_mutex_init(&peer->lock, NULL);
    peer->name = strdup(options->name);
    peer->argv = strings_copy(options->argv);
    peer->environment = strings_copy(options->environment);
    if (peer->name && peer->argv && peer->environment) {
        *out = peer;
        return TR_OK;
    }
    tr__peer_destroy(peer);
    return tr__fail_out_of_memory(error);
}

/* ---- lives ---- */

static bool has_ended(const process *process) {
    return tr__spawn_check(&process->spawned) == TR__SPAWN_ENDED;
}

static bool ends_within(const process *process, int64_t milliseconds) {
    int64_t until = tr__clock_ns() + milliseconds * millisecond;
    while (!has_ended(process)) {
        if (tr__clock_ns() >= until) return false;
        usleep(500);
    }
    return true;
}

/* The far end leaves by itself when its control socket closes, and takes its children with it; one that does
   not is killed. */
static void end(process *process) {
    close(process->control);
    close(process->log);
    if (process->owner == getpid() && !ends_within(process, process->broken ? 0 : FAREWELL_MS)) {
        tr__spawn_kill(&process->spawned);
        ends_within(process, FAREWELL_MS);
    }
    tr__spawn_forget(&process->spawned);
    free(process);
}

static void release(tr__peer *peer, process *process) {
    if (!process) return;
    pthread_mutex_lock(&peer->lock);
    bool last = !--process->references;
    pthread_mutex_unlock(&peer->lock);
    if (last) end(process);
}

/* The next request starts a fresh one. */
static void retire(tr__peer *peer, process *process) {
    pthread_mutex_lock(&peer->lock);
    process->broken = true;
    bool current = peer->current == process;
    if (current) peer->current = NULL;
    pthread_mutex_unlock(&peer->lock);
    if (current) release(peer, process);
}

static tr_status spawn(tr__peer *peer, process *made, tr_error **error) {
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
        return tr__fail(error, TR_E_IO, "socketpair: %s", strerror(errno));
    made->control = sockets[0];
    made->log = memfd_create("triton_runner", MFD_CLOEXEC);
    char **environment = tr__spawn_environment((const char *const *)peer->environment);
    tr_status status = TR_OK;
    if (made->log < 0) status = tr__fail(error, TR_E_IO, "memfd_create: %s", strerror(errno));
    if (!environment) status = tr__fail_out_of_memory(error);
    if (!status) {
        tr__spawn what = {.argv = (const char *const *)peer->argv,
                          .environment = (const char *const *)environment,
                          .files = {-1, made->log, made->log, sockets[1]}};
        status = tr__spawn_start(&what, &made->spawned, error);
    }
    tr__spawn_environment_free(environment);
    close(sockets[1]);
    if (!status) return TR_OK;
    close(made->control);
    if (made->log >= 0) close(made->log);
    return status;
}

/* After a fork in the host: the lock may be held by a thread that this process doesn't have. */
static void adopt(tr__peer *peer) {
    pid_t self = getpid(), owner = __atomic_load_n(&peer->owner, __ATOMIC_ACQUIRE);
    if (owner == self) return;
    if (owner > 0 &&
        __atomic_compare_exchange_n(&peer->owner, &owner, -self, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        pthread_mutex_init(&peer->lock, NULL);
        if (peer->current) end(peer->current);
        peer->current = NULL;
        __atomic_store_n(&peer->owner, self, __ATOMIC_RELEASE);
    }
    while (__atomic_load_n(&peer->owner, __ATOMIC_ACQUIRE) != self) usleep(100);
}

/* The living process, with a reference for the caller; *fresh when this call started it. */
static tr_status acquire(tr__peer *peer, process **out, bool *fresh, tr_error **error) {
    adopt(peer);
    *out = NULL;
    *fresh = false;
    process *dead = NULL;
    tr_status status = TR_OK;
    pthread_mutex_lock(&peer->lock);
    if (peer->current && has_ended(peer->current)) {
        if (!--peer->current->references) dead = peer->current;
        peer->current = NULL;
    }
    if (!peer->current) {
        process *made = calloc(1, sizeof *made);
        status = made ? spawn(peer, made, error) : tr__fail_out_of_memory(error);
        if (status) {
            free(made);
        } else {
            made->references = 1;
            made->owner = getpid();
            peer->current = made;
            *fresh = true;
        }
    }
    if (peer->current) {
        peer->current->references++;
        *out = peer->current;
    }
    pthread_mutex_unlock(&peer->lock);
    if (dead) end(dead);
    return status;
}

void tr__peer_destroy(tr__peer *peer) {
    if (!peer) return;
    adopt(peer);
    release(peer, peer->current);
    pthread_mutex_destroy(&peer->lock);
    free(peer->name);
    strings_free(peer->argv);
    strings_free(peer->environment);
    free(peer);
}

int32_t tr__peer_process(tr__peer *peer) {
    adopt(peer);
    pthread_mutex_lock(&peer->lock);
    int32_t pid = peer->current && !has_ended(peer->current) ? peer->current->spawned.pid : 0;
    pthread_mutex_unlock(&peer->lock);
    return pid;
}

/* ---- one request ---- */

typedef struct call {
    tr__peer *peer;
    process *process;
    const tr__compile_request *request;
    tr__compile_result *result;
    int connection, log;
    tr_stage reached;
    int64_t begun, stopped_since;
    bool accepted, finished; /* the far end took it up; it answered in full */
    bool refused;            /* … that it can't be done, and why */
} call;

static tr_status ask_caller(call *call, double seconds, tr_error **error) {
    const tr__compile_request *request = call->request;
    if (!request->progress) return TR_OK;
    if (!request->progress(request->progress_user, call->reached, seconds)) return TR_OK;
    return tr__fail(error, TR_E_CANCELLED, "cancelled by the caller");
}

/* A far end that is stopped would only be noticed at the time limit. */
static tr_status tick(void *user, tr_error **error) {
    call *call = user;
    tr_status status = ask_caller(call, 0, error);
    if (status) return status;
    int64_t now = tr__clock_ns();
    bool stopped = tr__spawn_check(&call->process->spawned) == TR__SPAWN_STOPPED;
    if (!stopped)
        call->stopped_since = 0;
    else if (!call->stopped_since)
        call->stopped_since = now;
    else if (now - call->stopped_since > STOPPED_MS * millisecond)
        return tr__fail(error, TR_E_COMPILER_CRASHED, "was stopped by a signal");
    return TR_OK;
}

static json_t *make_header(const tr__compile_request *request, const json_t *more) {
    uint32_t limit = request->timeout_ms ? request->timeout_ms : TR__PEER_TIMEOUT_MS;
    json_t *header = json_pack("{s:i, s:i, s:s?, s:s?, s:s?, s:s?, s:f, s:o}", "from", (int)request->from,
                               "to", (int)request->to, "path", request->path, "kernel", request->kernel,
                               "signature", request->signature, "arch", request->arch, "seconds",
                               limit * 1e-3, "environment", tr__json_strings(request->environment));
    if (header && (!request->options || !json_object_set(header, "options", (json_t *)request->options)) &&
        (!request->metadata || !json_object_set(header, "metadata", (json_t *)request->metadata)) &&
        (!request->locations || !json_object_set(header, "locations", (json_t *)request->locations)) &&
        (!more || !json_object_update(header, (json_t *)more)))
        return header;
    json_decref(header);
    return NULL;
}

static uint8_t arch_number(const char *arch) {
    return arch ? (uint8_t)strtoul(arch + strcspn(arch, "0123456789"), NULL, 10) : 0;
}

static tr_status open_connection(call *call, tr__wait *wait, tr_error **error) {
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
        return tr__fail(error, TR_E_IO, "socketpair: %s", strerror(errno));
    call->connection = sockets[0];
    call->log = memfd_create("triton_runner", MFD_CLOEXEC);
    tr_status status;
    if (call->log < 0)
        status = tr__fail(error, TR_E_IO, "memfd_create: %s", strerror(errno));
    else
        status = tr__files_send(call->process->control, (int[]){sockets[1], call->log}, 2,
                                arch_number(call->request->arch), wait, error);
    close(sockets[1]);
    return status;
}

static tr_status garbage(tr_error **error) {
    return tr__fail(error, TR_E_COMPILER_CRASHED, "answered with garbage");
}

/* The status is the far end's word; the kinds it cannot know of are not believed. */
static tr_status take_failure(call *call, const json_t *header, tr_error **error) {
    json_int_t number = json_integer_value(json_object_get(header, "failed"));
    const char *message = json_string_value(json_object_get(header, "message"));
    if (number <= TR_OK || number > TR_E_STICKY || !message) return garbage(error);
    call->finished = call->refused = true;
    tr_status status = tr__fail(error, (tr_status)number, "%s", message);
    json_int_t stage = json_integer_value(json_object_get(header, "stage"));
    if (stage > TR_STAGE_AUTO && stage < TR__STAGES) tr__error_set_stage(error, (tr_stage)stage);
    return status;
}

static tr_status take_stage(call *call, tr__frame *frame, tr_error **error) {
    json_int_t stage = json_integer_value(json_object_get(frame->header, "stage"));
    if (stage <= call->request->from || stage > call->request->to || call->result->stages[stage])
        return garbage(error);
    call->result->stages[stage] = frame->blob;
    call->result->seconds[stage] = json_number_value(json_object_get(frame->header, "seconds"));
    call->reached = (tr_stage)stage;
    frame->blob = NULL;
    return ask_caller(call, call->result->seconds[stage], error);
}

static tr_status take_end(call *call, const json_t *header, tr_error **error) {
    tr__compile_result *result = call->result;
    if (!result->stages[call->request->to]) return garbage(error);
    const char *maker = json_string_value(json_object_get(header, "maker"));
    if (maker && !(result->maker = strdup(maker))) return tr__fail_out_of_memory(error);
    json_t *metadata = json_object_get(header, "metadata"), *extra = json_object_get(header, "extra");
    if (json_is_object(metadata)) result->metadata = json_incref(metadata);
    if (json_is_object(extra)) result->extra = json_incref(extra);
    call->finished = true;
    return TR_OK;
}

static tr_status take_frame(call *call, tr__frame *frame, tr_error **error) {
    const json_t *header = frame->header;
    const char *crashed = json_string_value(json_object_get(header, "crashed"));
    if (json_object_get(header, "accepted")) return call->accepted = true, TR_OK;
    if (json_object_get(header, "stage") && !json_object_get(header, "failed"))
        return take_stage(call, frame, error);
    if (json_object_get(header, "done")) return take_end(call, header, error);
    if (json_object_get(header, "failed")) return take_failure(call, header, error);
    if (!crashed) return garbage(error);
    call->finished = true;
    return tr__fail(error, TR_E_COMPILER_CRASHED, "crashed %s", crashed);
}

static tr_status talk(call *call, const json_t *header, tr_error **error) {
    uint32_t limit = call->request->timeout_ms ? call->request->timeout_ms : TR__PEER_TIMEOUT_MS;
    tr__wait wait = {.deadline = call->begun + limit * millisecond, .tick = tick, .user = call};
    const tr__blob *source = call->request->source;
    tr_status status = open_connection(call, &wait, error);
    if (!status)
        status = tr__frame_write(call->connection, header, source ? source->data : NULL,
                                 source ? source->size : 0, &wait, error);
    while (!status && !call->finished) {
        tr__frame frame;
        status = tr__frame_read(call->connection, &wait, &frame, error);
        if (!status) status = take_frame(call, &frame, error);
        tr__frame_release(&frame);
    }
    return status;
}

/* What was printed; NULL for nothing. */
static tr_status read_log(int log, char **out, tr_error **error) {
    off_t size = lseek(log, 0, SEEK_END), done = 0;
    ssize_t got = size < 0 ? -1 : 1;
    if (size > LOG_LIMIT) size = LOG_LIMIT;
    char *text = size > 0 ? malloc((size_t)size + 1) : NULL;
    *out = NULL;
    if (size > 0 && !text) return tr__fail_out_of_memory(error);
    for (; got > 0 && done < size; done += got) {
        do got = pread(log, text + done, (size_t)(size - done), done);
        while (got < 0 && errno == EINTR);
        if (got < 0) break;
    }
    if (got < 0) {
        free(text);
        return tr__fail(error, TR_E_IO, "what it printed cannot be read: %s", strerror(errno));
    }
    if (text) text[done] = '\0';
    *out = text;
    return TR_OK;
}

static const char *last_line(char *text) {
    size_t length = strlen(text);
    while (length && strchr(" \n\r", text[length - 1])) text[--length] = '\0';
    char *newline = strrchr(text, '\n');
    return newline ? newline + 1 : text;
}

/* The process as a whole is gone. One that leaves its last words and never took up a request could not start:
   that is an installation to mend. */
static tr_status explain_end(const call *call, tr_error **error) {
    char *said;
    read_log(call->process->log, &said, NULL);
    tr_status status = said && !call->accepted ? TR_E_COMPILER_MISSING : TR_E_COMPILER_CRASHED;
    tr__fail(error, status, "its process ended%s%s", said ? ": " : " unexpectedly",
             said ? last_line(said) : "");
    free(said);
    return status;
}

static tr_status judge(call *call, tr_status status, tr_error **error) {
    tr__peer *peer = call->peer;
    if (!call->finished) { /* nobody at the far end said so */
        if (status == TR_E_COMPILER_CRASHED && ends_within(call->process, call->accepted ? 20 : 500))
            status = explain_end(call, error);
        if (status == TR_E_COMPILER_CRASHED || status == TR_E_COMPILER_MISSING ||
            (status == TR_E_TIMEOUT && !call->accepted))
            retire(peer, call->process);
        if (status == TR_E_TIMEOUT) {
            uint32_t limit = call->request->timeout_ms ? call->request->timeout_ms : TR__PEER_TIMEOUT_MS;
            tr__fail(error, status, "did not finish within %g s", limit * 1e-3);
        }
    }
    if (status && !call->refused && status != TR_E_OUT_OF_MEMORY && status != TR_E_CANCELLED)
        tr__error_prefix(error, "%s", peer->name);
    if (status && call->result->log) tr__error_set_log(error, call->result->log, strlen(call->result->log));
    return status;
}

static tr_status attempt(tr__peer *peer, const tr__compile_request *request, const json_t *header,
                         tr__compile_result *result, bool *again, tr_error **error) {
    call call = {.peer = peer,
                 .request = request,
                 .result = result,
                 .connection = -1,
                 .log = -1,
                 .reached = request->from,
                 .begun = tr__clock_ns()};
    bool fresh;
    tr_status status = acquire(peer, &call.process, &fresh, error);
    if (status) {
        tr__error_prefix(error, "%s", peer->name);
        return status;
    }
    status = talk(&call, header, error);
    if (call.connection >= 0) close(call.connection);
    if (call.log >= 0) {
        tr_status told = read_log(call.log, &result->log, status ? NULL : error);
        if (!status) status = told;
        close(call.log);
    }
    status = judge(&call, status, error);
    /* One that died or was stopped while it had nothing to do: nobody's fault, and a fresh one is no risk. */
    *again = !fresh && !call.accepted && (status == TR_E_COMPILER_CRASHED || status == TR_E_COMPILER_MISSING);
    release(peer, call.process);
    return status;
}

tr_status tr__peer_compile(tr__peer *peer, const tr__compile_request *request, const json_t *more,
                           tr__compile_result *result, tr_error **error) {
    if (request->path && !tr__json_is_utf8(request->path, strlen(request->path)))
        return tr__fail(error, TR_E_UNSUPPORTED, "the path of a Python file must be UTF-8: '%s'",
                        request->path);
    json_t *header = make_header(request, more);
    if (!header) return tr__fail_out_of_memory(error);
    bool again = false;
    tr_status status = attempt(peer, request, header, result, &again, error);
    if (again) {
        tr__compile_result_release(result);
        if (error) {
            tr_error_destroy(*error);
            *error = NULL;
        }
        status = attempt(peer, request, header, result, &again, error);
    }
    json_decref(header);
    return status;
}
