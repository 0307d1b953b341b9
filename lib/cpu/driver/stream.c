/* The calls about streams. */
#include "driver/driver.h"

#include <string.h>

static unsigned long long this_thread_id(void) {
    trcpu_thread *thread = &trcpu_this_thread;
    if (!thread->id) thread->id = trcpu_next_id();
    return thread->id;
}

/* A per-thread default stream is made when a thread first names it, and lives as long as its context. */
static trcpu_stream *per_thread(trcpu_context *context) {
    unsigned long long id = this_thread_id();
    for (trcpu_stream *stream = context->streams; stream; stream = stream->next)
        if (stream->thread_id == id && !stream->closing) return stream;
    trcpu_stream *stream = trcpu_stream_new(context, CU_STREAM_DEFAULT, 0);
    if (stream) stream->thread_id = id;
    return stream;
}

CUresult trcpu_stream_resolve(CUstream handle, trcpu_context *current, trcpu_stream **out) {
    if (!handle || handle == CU_STREAM_LEGACY) {
        *out = current->legacy;
        return CUDA_SUCCESS;
    }
    if (handle == CU_STREAM_PER_THREAD) {
        *out = per_thread(current);
        return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    *out = trcpu_handle_find(TRCPU_STREAM, handle);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult trcpu_stream_submit(trcpu_stream *stream, trcpu_work *work) {
    if (stream->capture) {
        static const CUgraphNodeType TYPES[] = {[TRCPU_WORK_EMPTY] = CU_GRAPH_NODE_TYPE_EMPTY,
                                                [TRCPU_WORK_KERNEL] = CU_GRAPH_NODE_TYPE_KERNEL,
                                                [TRCPU_WORK_COPY] = CU_GRAPH_NODE_TYPE_MEMCPY,
                                                [TRCPU_WORK_FILL] = CU_GRAPH_NODE_TYPE_MEMSET,
                                                [TRCPU_WORK_HOST] = CU_GRAPH_NODE_TYPE_HOST};
        return trcpu_capture_record(stream, TYPES[work->kind], work);
    }
    CUresult result = CUDA_SUCCESS;
    if (stream == stream->context->legacy) result = trcpu_capture_forbids_legacy(stream->context);
    if (result) {
        trcpu_work_release(work);
        return result;
    }
    return trcpu_stream_push(stream, work, NULL, NULL);
}

/* ---- making and destroying ---- */
CUresult cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (!out || flags & ~(unsigned int)CU_STREAM_NON_BLOCKING) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    trcpu_threads_reap();
    priority = priority > 0 ? 0 : priority < -5 ? -5 : priority;
    trcpu_stream *stream = trcpu_stream_new(context, flags, priority);
    if (!stream) return trcpu_leave(CUDA_ERROR_OUT_OF_MEMORY);
    *out = stream->handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuStreamCreate(CUstream *out, unsigned int flags) {
    return cuStreamCreateWithPriority(out, flags, 0);
}

CUresult cuStreamDestroy_v2(CUstream handle) {
    CUresult result = trcpu_enter();
    if (result) return result;
    trcpu_stream *stream = trcpu_handle_find(TRCPU_STREAM, handle);
    if (!stream || stream == stream->context->legacy || stream->thread_id)
        return trcpu_leave(CUDA_ERROR_INVALID_HANDLE);
    result = stream->context->error;
    trcpu_stream_close(stream);
    return trcpu_leave(result);
}

/* ---- waiting ---- */
CUresult cuStreamSynchronize(CUstream handle) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    if (stream->capture)
        return trcpu_leave(trcpu_capture_spoil(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
    if (stream == stream->context->legacy) result = trcpu_capture_forbids_legacy(stream->context);
    if (!result) result = trcpu_capture_forbids();
    return trcpu_leave(result ? result : trcpu_stream_drain(stream));
}

CUresult cuStreamQuery(CUstream handle) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    if (stream->capture)
        return trcpu_leave(trcpu_capture_spoil(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
    return trcpu_leave(trcpu_stream_idle(stream) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY);
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned int flags) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    trcpu_event *event = trcpu_handle_find(TRCPU_EVENT, event_handle);
    if (!event) return trcpu_leave(CUDA_ERROR_INVALID_HANDLE);
    if (flags) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (event->capture || stream->capture) return trcpu_leave(trcpu_capture_join(stream, event));
    if (!event->mark || event->mark->done) return trcpu_leave(CUDA_SUCCESS);
    return trcpu_leave(trcpu_stream_push(stream, NULL, trcpu_mark_retain(event->mark), NULL));
}

/* ---- the caller's code in a stream ---- */
CUresult cuLaunchHostFunc(CUstream handle, CUhostFn fn, void *user) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    if (!fn) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    trcpu_work *work = trcpu_work_new(TRCPU_WORK_HOST, stream->context);
    if (!work) return trcpu_leave(CUDA_ERROR_OUT_OF_MEMORY);
    work->as.host.fn = fn;
    work->as.host.user = user;
    return trcpu_leave(trcpu_stream_submit(stream, work));
}

CUresult cuStreamAddCallback(CUstream handle, CUstreamCallback callback, void *user, unsigned int flags) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    if (!callback || flags) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (stream->capture)
        return trcpu_leave(trcpu_capture_spoil(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
    trcpu_work *work = trcpu_work_new(TRCPU_WORK_CALLBACK, stream->context);
    if (!work) return trcpu_leave(CUDA_ERROR_OUT_OF_MEMORY);
    work->as.callback.fn = callback;
    work->as.callback.user = user;
    work->as.callback.stream = handle;
    return trcpu_leave(trcpu_stream_submit(stream, work));
}

/* ---- asking ---- */
/* Enters, finds the stream, and checks that there is a place for the answer. */
static CUresult enter_to_ask(CUstream handle, const void *out, trcpu_stream **stream) {
    CUresult result = trcpu_enter_stream(handle, stream);
    if (result) return result;
    return out ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult cuStreamGetPriority(CUstream handle, int *priority) {
    trcpu_stream *stream;
    CUresult result = enter_to_ask(handle, priority, &stream);
    if (result) return result;
    *priority = stream->priority;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuStreamGetFlags(CUstream handle, unsigned int *flags) {
    trcpu_stream *stream;
    CUresult result = enter_to_ask(handle, flags, &stream);
    if (result) return result;
    if (stream->capture)
        return trcpu_leave(trcpu_capture_spoil(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
    *flags = stream->flags;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuStreamGetDevice(CUstream handle, CUdevice *device) {
    trcpu_stream *stream;
    CUresult result = enter_to_ask(handle, device, &stream);
    if (result) return result;
    *device = stream->context->device->ordinal;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuStreamGetCtx(CUstream handle, CUcontext *out) {
    trcpu_stream *stream;
    CUresult result = enter_to_ask(handle, out, &stream);
    if (result) return result;
    *out = stream->context->handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuStreamGetId(CUstream handle, unsigned long long *id) {
    trcpu_stream *stream;
    CUresult result = enter_to_ask(handle, id, &stream);
    if (result) return result;
    if (stream->capture)
        return trcpu_leave(trcpu_capture_spoil(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
    if (stream == stream->context->legacy) result = trcpu_capture_forbids_legacy(stream->context);
    *id = stream->id;
    return trcpu_leave(result);
}

CUresult cuStreamGetAttribute(CUstream handle, CUstreamAttrID attribute, CUstreamAttrValue *value) {
    trcpu_stream *stream;
    CUresult result = enter_to_ask(handle, value, &stream);
    if (result) return result;
    memset(value, 0, sizeof *value);
    if (attribute == CU_LAUNCH_ATTRIBUTE_PRIORITY)
        value->priority = stream->priority;
    else if (attribute == CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY)
        value->syncPolicy = CU_SYNC_POLICY_AUTO;
    else if (attribute != CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW)
        return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuStreamSetAttribute(CUstream handle, CUstreamAttrID attribute, const CUstreamAttrValue *value) {
    trcpu_stream *stream;
    CUresult result = enter_to_ask(handle, value, &stream);
    if (result) return result;
    if (attribute == CU_LAUNCH_ATTRIBUTE_PRIORITY)
        stream->priority = value->priority;
    else if (attribute != CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY &&
             attribute != CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW)
        return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuStreamCopyAttributes(CUstream to, CUstream from) {
    trcpu_stream *source, *target;
    CUresult result = trcpu_enter_stream(from, &source);
    if (result) return result;
    result = trcpu_stream_resolve(to, source->context, &target);
    if (!result) target->priority = source->priority;
    return trcpu_leave(result);
}
