/* A stream is a queue and a thread that serves it. What an operation waits for was given before it, so there
   is always one that can go on: its predecessor in the stream; an event's mark, if it is a wait; in the
   legacy stream: all that was given before to the context's blocking streams; in one of those: all that was
   given before to the legacy stream. After a fault the rest of the context's queues is passed over, and marks
   are done as if it had run. */
#include "driver/driver.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- marks ---- */
trcpu_mark *trcpu_mark_new(void) {
    trcpu_mark *mark = calloc(1, sizeof *mark);
    if (mark) mark->references = 1;
    return mark;
}

trcpu_mark *trcpu_mark_retain(trcpu_mark *mark) {
    if (mark) mark->references++;
    return mark;
}

void trcpu_mark_release(trcpu_mark *mark) {
    if (mark && --mark->references == 0) free(mark);
}

uint64_t trcpu_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Takes the reference. */
CUresult trcpu_mark_await(trcpu_mark *mark) {
    while (!mark->done) pthread_cond_wait(&trcpu.done, &trcpu.lock);
    CUresult result = mark->error;
    trcpu_mark_release(mark);
    return result;
}

static void finish_mark(trcpu_mark *mark, CUresult error) {
    if (mark) {
        mark->done = true;
        mark->error = error;
        mark->nanoseconds = trcpu_now();
    }
}

/* ---- order ---- */
static bool is_blocking(const trcpu_stream *stream) {
    return stream != stream->context->legacy && !(stream->flags & CU_STREAM_NON_BLOCKING);
}

static bool may_run(const trcpu_stream *stream, const trcpu_operation *operation) {
    const trcpu_context *context = stream->context;
    if (operation->after && !operation->after->done) return false;
    if (is_blocking(stream))
        return !context->legacy->first || context->legacy->first->number > operation->number;
    if (stream != context->legacy) return true;
    for (const trcpu_stream *other = context->streams; other; other = other->next)
        if (is_blocking(other) && other->first && other->first->number < operation->number) return false;
    return true;
}

/* Something was done: whoever waits for it looks again. */
static void wake_all(void) {
    pthread_cond_broadcast(&trcpu.done);
    for (trcpu_context *context = trcpu.contexts; context; context = context->next)
        for (trcpu_stream *stream = context->streams; stream; stream = stream->next)
            if (stream->first && !stream->running && stream->started) pthread_cond_signal(&stream->wake);
}

bool trcpu_stream_idle(const trcpu_stream *stream) {
    return !stream->first;
}

/* ---- serving ---- */
static void run_first(trcpu_stream *stream) {
    trcpu_operation *operation = stream->first;
    trcpu_context *context = stream->context;
    CUresult result = CUDA_SUCCESS, before = context->error;
    stream->running = true;
    if (operation->work) {
        trcpu_fault *fault = before ? NULL : calloc(1, sizeof *fault);
        pthread_mutex_unlock(&trcpu.lock);
        result =
            !before && !fault ? CUDA_ERROR_OUT_OF_MEMORY : trcpu_work_run(operation->work, before, fault);
        pthread_mutex_lock(&trcpu.lock);
        if (result && !context->error) {
            context->error = result;
            if (fault) context->fault = *fault;
        }
        free(fault);
    }
    stream->running = false;
    stream->first = operation->next;
    if (!stream->first) stream->last = NULL;
    finish_mark(operation->mark, context->error);
    trcpu_work_release(operation->work);
    trcpu_mark_release(operation->after);
    trcpu_mark_release(operation->mark);
    free(operation);
    wake_all();
}

static struct finished {
    struct finished *next;
    pthread_t thread;
} * finished;

static void unlink_stream(trcpu_stream *stream) {
    for (trcpu_stream **at = &stream->context->streams; *at; at = &(*at)->next)
        if (*at == stream) {
            *at = stream->next;
            break;
        }
}

static void free_stream(trcpu_stream *stream) {
    pthread_cond_destroy(&stream->wake);
    free(stream->tail);
    free(stream->tail_handles);
    free(stream);
}

static void *serve(void *argument) {
    trcpu_stream *stream = argument;
    pthread_mutex_lock(&trcpu.lock);
    for (;;) {
        while (stream->first ? !may_run(stream, stream->first) : !stream->closing)
            pthread_cond_wait(&stream->wake, &trcpu.lock);
        if (!stream->first) break;
        run_first(stream);
        trcpu_user_object *dead = trcpu_dead();
        if (dead) {
            pthread_mutex_unlock(&trcpu.lock);
            trcpu_dead_destroy(dead);
            pthread_mutex_lock(&trcpu.lock);
        }
    }
    struct finished *entry = stream->ending;
    unlink_stream(stream);
    free_stream(stream);
    entry->thread = pthread_self();
    entry->next = finished;
    finished = entry;
    pthread_cond_broadcast(&trcpu.done);
    pthread_mutex_unlock(&trcpu.lock);
    return NULL;
}

/* Threads of the driver take no signals: the caller's handlers run in the caller's threads. */
static CUresult start_thread(trcpu_stream *stream) {
    sigset_t all, before;
    stream->ending = malloc(sizeof *stream->ending);
    if (!stream->ending) return CUDA_ERROR_OUT_OF_MEMORY;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&stream->thread, NULL, serve, stream);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        free(stream->ending);
        stream->ending = NULL;
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    stream->started = true;
    return CUDA_SUCCESS;
}

/* Ended threads hold the lock no more; to join them takes no time. */
void trcpu_threads_reap(void) {
    while (finished) {
        struct finished *entry = finished;
        finished = entry->next;
        pthread_join(entry->thread, NULL);
        free(entry);
    }
}

/* ---- streams ---- */
trcpu_stream *trcpu_stream_new(trcpu_context *context, unsigned int flags, int priority) {
    trcpu_stream *stream = calloc(1, sizeof *stream);
    if (!stream) return NULL;
    stream->context = context;
    stream->flags = flags;
    stream->priority = priority;
    stream->id = trcpu_next_id();
    if (pthread_cond_init(&stream->wake, NULL)) {
        free(stream);
        return NULL;
    }
    stream->handle = trcpu_handle_new(TRCPU_STREAM, stream);
    if (!stream->handle) {
        free_stream(stream);
        return NULL;
    }
    stream->next = context->streams;
    context->streams = stream;
    return stream;
}

void trcpu_stream_close(trcpu_stream *stream) {
    trcpu_capture_leave(stream);
    trcpu_handle_delete(stream->handle);
    stream->closing = true;
    if (stream->started) {
        pthread_cond_signal(&stream->wake);
        return;
    }
    unlink_stream(stream);
    free_stream(stream);
}

void trcpu_streams_stop(trcpu_context *context) {
    for (trcpu_stream *next, *stream = context->streams; stream; stream = next) {
        next = stream->next;
        if (!stream->closing) trcpu_stream_close(stream);
    }
    while (context->streams) pthread_cond_wait(&trcpu.done, &trcpu.lock);
    trcpu_threads_reap();
}

/* ---- queueing ---- */
/* With nothing before it and nothing to do, a mark is done at once, and no thread is needed. */
static bool finish_now(trcpu_stream *stream, const trcpu_operation *operation) {
    if (stream->first || operation->work || !may_run(stream, operation)) return false;
    finish_mark(operation->mark, stream->context->error);
    return true;
}

CUresult trcpu_stream_push(trcpu_stream *stream, trcpu_work *work, trcpu_mark *after, trcpu_mark *mark) {
    CUresult result = CUDA_ERROR_OUT_OF_MEMORY;
    trcpu_operation *operation = calloc(1, sizeof *operation);
    if (operation) {
        *operation = (trcpu_operation){
            .number = ++stream->context->last_number, .work = work, .after = after, .mark = mark};
        if (finish_now(stream, operation))
            result = CUDA_SUCCESS;
        else if (stream->started || !start_thread(stream)) {
            if (stream->last)
                stream->last->next = operation;
            else
                stream->first = operation;
            stream->last = operation;
            pthread_cond_signal(&stream->wake);
            return CUDA_SUCCESS;
        }
        free(operation);
    }
    trcpu_work_release(work);
    trcpu_mark_release(after);
    trcpu_mark_release(mark);
    return result;
}

/* ---- waiting ---- */
/* A reference to what is done when all that is queued now is; NULL: nothing is queued, or out of memory. */
static trcpu_mark *end_of(trcpu_stream *stream) {
    if (!stream->last) return NULL;
    if (!stream->last->mark) stream->last->mark = trcpu_mark_new();
    return trcpu_mark_retain(stream->last->mark);
}

CUresult trcpu_stream_drain(trcpu_stream *stream) {
    if (!stream->last) return stream->context->error;
    trcpu_mark *mark = end_of(stream);
    return mark ? trcpu_mark_await(mark) : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult trcpu_context_drain(trcpu_context *context) {
    size_t count = 0;
    for (trcpu_stream *stream = context->streams; stream; stream = stream->next)
        count += stream->last != NULL;
    if (!count) return context->error;
    trcpu_mark **marks = calloc(count, sizeof *marks);
    if (!marks) return CUDA_ERROR_OUT_OF_MEMORY;
    size_t taken = 0;
    for (trcpu_stream *stream = context->streams; stream; stream = stream->next)
        if (stream->last && (marks[taken] = end_of(stream))) taken++;
    CUresult result = taken == count ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < taken; i++) {
        CUresult error = trcpu_mark_await(marks[i]);
        result = result ? result : error;
    }
    free(marks);
    return result;
}

static bool context_is_idle(const trcpu_context *context) {
    for (const trcpu_stream *stream = context->streams; stream; stream = stream->next)
        if (stream->first && (stream == context->legacy || is_blocking(stream))) return false;
    return true;
}

CUresult trcpu_work_do(trcpu_context *context, trcpu_work *work) {
    CUresult result = trcpu_capture_forbids_legacy(context);
    if (result) {
        trcpu_work_release(work);
        return result;
    }
    if (context_is_idle(context)) {
        pthread_mutex_unlock(&trcpu.lock);
        result = trcpu_work_run(work, CUDA_SUCCESS, NULL);
        pthread_mutex_lock(&trcpu.lock);
        trcpu_work_release(work);
        return result;
    }
    trcpu_mark *mark = trcpu_mark_new();
    if (!mark) {
        trcpu_work_release(work);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    result = trcpu_stream_push(context->legacy, work, NULL, trcpu_mark_retain(mark));
    if (result) {
        trcpu_mark_release(mark);
        return result;
    }
    return trcpu_mark_await(mark);
}
