/* Streams that are captured, and what may not be done meanwhile. */
#include "state.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CUstream captured;    /* a list */
static atomic_long how_many; /* looked at first, without the lock */
static atomic_ulong last_thread;
static _Thread_local unsigned long this_thread;
static _Thread_local CUstreamCaptureMode thread_mode; /* global at first */

static unsigned long thread_number(void) {
    if (!this_thread) this_thread = ++last_thread;
    return this_thread;
}

void stub_capture_drop(CUstream stream) {
    pthread_mutex_lock(&lock);
    for (CUstream *at = &captured; *at; at = &(*at)->next) {
        if (*at != stream) continue;
        *at = stream->next;
        how_many--;
        break;
    }
    pthread_mutex_unlock(&lock);
}

/* Spoils the captures that mind, of all contexts. */
static CUresult refuse(bool (*minds)(const CUstream_st *capture)) {
    bool refused = false;
    if (!how_many) return CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    for (CUstream at = captured; at; at = at->next) {
        if (!minds(at)) continue;
        at->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
        refused = true;
    }
    pthread_mutex_unlock(&lock);
    return refused ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

static bool minds_unsafe(const CUstream_st *capture) {
    if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED || capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED)
        return false;
    bool global = thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    return capture->thread == thread_number() || (global && capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL);
}

static bool minds_waiting(const CUstream_st *capture) {
    return capture->context == stub_current_context();
}

CUresult stub_forbidden(void) {
    return refuse(minds_unsafe);
}

CUresult stub_forbidden_always(void) {
    return refuse(minds_waiting);
}

CUresult stub_forbidden_on(CUstream stream) {
    stream = stub_stream_of(stream);
    if (!stream->capture) return CUDA_SUCCESS;
    stream->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

/* ---- the calls ---- */

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
    ENTER(cuStreamBeginCapture_v2);
    stream = stub_stream_of(stream);
    if (stream == stub_stream_of(NULL)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    CUresult result = stub_make_graph(&stream->capture);
    if (result) return result;
    stream->mode = mode;
    stream->thread = thread_number();
    stream->status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
    pthread_mutex_lock(&lock);
    stream->next = captured;
    captured = stream;
    how_many++;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *out) {
    ENTER(cuStreamEndCapture);
    stream = stub_stream_of(stream);
    if (!stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    stub_capture_drop(stream);
    *out = stream->capture;
    stream->capture = NULL;
    bool valid = stream->status == CU_STREAM_CAPTURE_STATUS_ACTIVE;
    stream->status = CU_STREAM_CAPTURE_STATUS_NONE;
    if (valid) return CUDA_SUCCESS;
    cuGraphDestroy(*out);
    *out = NULL;
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
    ENTER(cuThreadExchangeStreamCaptureMode);
    CUstreamCaptureMode before = thread_mode;
    thread_mode = *mode;
    *mode = before;
    return CUDA_SUCCESS;
}

QUICK(cuStreamIsCapturing, (CUstream stream, CUstreamCaptureStatus *status), stream, status) {
    *status = stub_stream_of(stream)->status;
    return CUDA_SUCCESS;
}

CUresult cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                                   CUgraph *graph, const CUgraphNode **dependencies,
                                   size_t *dependency_count) {
    ENTER(cuStreamGetCaptureInfo_v2);
    stream = stub_stream_of(stream);
    *status = stream->status;
    if (*status != CU_STREAM_CAPTURE_STATUS_ACTIVE) return CUDA_SUCCESS;
    if (id) *id = stub_graph_id(stream->capture);
    if (graph) *graph = stream->capture;
    if (dependencies) *dependencies = NULL;
    if (dependency_count) *dependency_count = 0;
    return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void) {
    ENTER(cuCtxSynchronize);
    CUresult broken = stub_context_broken();
    return broken ? broken : stub_forbidden_always();
}

CUresult cuStreamSynchronize(CUstream stream) {
    ENTER(cuStreamSynchronize);
    CUresult forbidden = stub_forbidden_on(stream);
    return forbidden ? forbidden : stub_forbidden();
}

CUresult cuEventQuery(CUevent event) {
    ENTER(cuEventQuery);
    return stub_forbidden();
}

CUresult cuStreamGetFlags(CUstream stream, unsigned int *flags) {
    ENTER(cuStreamGetFlags);
    *flags = 0;
    return stub_forbidden_on(stream);
}
