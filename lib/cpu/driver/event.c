/* Events: a point of a stream, and when it was reached. */
#include "driver/driver.h"

#include <stdlib.h>

CUresult cuEventCreate(CUevent *out, unsigned int flags) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (!out || flags > (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING))
        return trcpu_leave(flags & CU_EVENT_INTERPROCESS ? CUDA_ERROR_NOT_SUPPORTED
                                                         : CUDA_ERROR_INVALID_VALUE);
    trcpu_event *event = calloc(1, sizeof *event);
    CUevent handle = event ? trcpu_handle_new(TRCPU_EVENT, event) : NULL;
    if (!handle) {
        free(event);
        return trcpu_leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    event->handle = handle;
    event->context = context;
    event->flags = flags;
    event->next = context->events;
    context->events = event;
    *out = handle;
    return trcpu_leave(CUDA_SUCCESS);
}

static void destroy(trcpu_event *event) {
    for (trcpu_event **at = &event->context->events; *at; at = &(*at)->next)
        if (*at == event) {
            *at = event->next;
            break;
        }
    trcpu_handle_delete(event->handle);
    trcpu_mark_release(event->mark);
    free(event->nodes);
    free(event);
}

void trcpu_events_destroy_all(trcpu_context *context) {
    while (context->events) destroy(context->events);
}

/* Enters, and finds the event; its context may be any that no fault broke. */
static CUresult enter_event(CUevent handle, trcpu_event **event) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    *event = trcpu_handle_find(TRCPU_EVENT, handle);
    result = *event ? (*event)->context->error : CUDA_ERROR_INVALID_HANDLE;
    return result ? trcpu_leave(result) : CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent handle) {
    CUresult result = trcpu_enter();
    if (result) return result;
    trcpu_event *event = trcpu_handle_find(TRCPU_EVENT, handle);
    if (!event) return trcpu_leave(CUDA_ERROR_INVALID_HANDLE);
    result = event->context->error;
    destroy(event);
    return trcpu_leave(result);
}

CUresult cuEventRecordWithFlags(CUevent handle, CUstream stream_handle, unsigned int flags) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(stream_handle, &stream);
    if (result) return result;
    trcpu_event *event = trcpu_handle_find(TRCPU_EVENT, handle);
    if (!event || event->context != stream->context) return trcpu_leave(CUDA_ERROR_INVALID_HANDLE);
    if (flags)
        return trcpu_leave(flags == CU_EVENT_RECORD_EXTERNAL ? CUDA_ERROR_NOT_SUPPORTED
                                                             : CUDA_ERROR_INVALID_VALUE);
    if (stream->capture) return trcpu_leave(trcpu_capture_event(stream, event));
    if (stream == stream->context->legacy) result = trcpu_capture_forbids_legacy(stream->context);
    trcpu_mark *mark = result ? NULL : trcpu_mark_new();
    if (!mark) return trcpu_leave(result ? result : CUDA_ERROR_OUT_OF_MEMORY);
    result = trcpu_stream_push(stream, NULL, NULL, trcpu_mark_retain(mark));
    if (result) {
        trcpu_mark_release(mark);
        return trcpu_leave(result);
    }
    trcpu_mark_release(event->mark);
    event->mark = mark;
    event->capture = 0;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    return cuEventRecordWithFlags(event, stream, CU_EVENT_RECORD_DEFAULT);
}

CUresult cuEventQuery(CUevent handle) {
    trcpu_event *event;
    CUresult result = enter_event(handle, &event);
    if (result) return result;
    if (event->capture) return trcpu_leave(CUDA_ERROR_CAPTURED_EVENT);
    result = trcpu_capture_forbids();
    if (result) return trcpu_leave(result);
    return trcpu_leave(!event->mark || event->mark->done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY);
}

CUresult cuEventSynchronize(CUevent handle) {
    trcpu_event *event;
    CUresult result = enter_event(handle, &event);
    if (result) return result;
    if (event->capture) return trcpu_leave(CUDA_ERROR_CAPTURED_EVENT);
    result = trcpu_capture_forbids();
    if (result) return trcpu_leave(result);
    return trcpu_leave(event->mark ? trcpu_mark_await(trcpu_mark_retain(event->mark)) : CUDA_SUCCESS);
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start_handle, CUevent end_handle) {
    trcpu_event *start;
    CUresult result = enter_event(start_handle, &start);
    if (result) return result;
    trcpu_event *end = trcpu_handle_find(TRCPU_EVENT, end_handle);
    if (!milliseconds) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (!end || !start->mark || !end->mark || (start->flags | end->flags) & CU_EVENT_DISABLE_TIMING)
        return trcpu_leave(CUDA_ERROR_INVALID_HANDLE);
    if (!start->mark->done || !end->mark->done) return trcpu_leave(CUDA_ERROR_NOT_READY);
    *milliseconds = (float)((double)(int64_t)(end->mark->nanoseconds - start->mark->nanoseconds) / 1e6);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
    return cuEventElapsedTime(milliseconds, start, end);
}
