/* Capture: what is given to a stream becomes nodes of a graph. A stream's tail is what its next node depends
   on; an event recorded in a capture is a tail kept for later; a stream that waits for it joins the capture.
 */
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>

/* ---- tails ---- */
static CUresult set_tail(trcpu_stream *stream, trcpu_node *const *nodes, size_t count) {
    trcpu_node **tail = malloc((count + 1) * sizeof *tail);
    CUgraphNode *handles = malloc((count + 1) * sizeof *handles);
    if (!tail || !handles) {
        free(tail);
        free(handles);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        tail[i] = nodes[i];
        handles[i] = nodes[i]->handle;
    }
    free(stream->tail);
    free(stream->tail_handles);
    stream->tail = tail;
    stream->tail_handles = handles;
    stream->tail_count = count;
    return CUDA_SUCCESS;
}

static bool contains(trcpu_node *const *nodes, size_t count, const trcpu_node *node) {
    for (size_t i = 0; i < count; i++)
        if (nodes[i] == node) return true;
    return false;
}

static CUresult extend_tail(trcpu_stream *stream, trcpu_node *const *nodes, size_t count) {
    trcpu_node **both = malloc((stream->tail_count + count + 1) * sizeof *both);
    if (!both) return CUDA_ERROR_OUT_OF_MEMORY;
    size_t total = stream->tail_count;
    if (total) memcpy(both, stream->tail, total * sizeof *both);
    for (size_t i = 0; i < count; i++)
        if (!contains(both, total, nodes[i])) both[total++] = nodes[i];
    CUresult result = set_tail(stream, both, total);
    free(both);
    return result;
}

/* ---- what a capture forbids ---- */
CUresult trcpu_capture_spoil(trcpu_stream *stream, CUresult result) {
    stream->capture->invalid = true;
    return result;
}

/* A thread in global mode minds every thread's captures in global mode; else only those it began. */
static bool forbids(const trcpu_capture *capture) {
    const trcpu_thread *thread = &trcpu_this_thread;
    if (thread->capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED ||
        capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED)
        return false;
    bool global = thread->capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    return capture->thread == thread->id || (global && capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL);
}

CUresult trcpu_capture_forbids(void) {
    bool forbidden = false;
    for (trcpu_context *at = trcpu.contexts; at; at = at->next)
        for (trcpu_stream *stream = at->streams; stream; stream = stream->next)
            if (stream->capture && forbids(stream->capture)) {
                stream->capture->invalid = true;
                forbidden = true;
            }
    return forbidden ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

CUresult trcpu_capture_forbids_waiting(const trcpu_context *context) {
    bool forbidden = false;
    for (trcpu_stream *stream = context->streams; stream; stream = stream->next) {
        if (!stream->capture) continue;
        stream->capture->invalid = forbidden = true;
    }
    return forbidden ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

static trcpu_stream *captured_blocking(const trcpu_context *context) {
    trcpu_stream *stream = context->streams;
    while (stream && (!stream->capture || stream->flags & CU_STREAM_NON_BLOCKING)) stream = stream->next;
    return stream;
}

CUresult trcpu_capture_forbids_legacy(trcpu_context *context) {
    trcpu_stream *stream = captured_blocking(context);
    return stream ? trcpu_capture_spoil(stream, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT) : CUDA_SUCCESS;
}

/* ---- recording ---- */
CUresult trcpu_capture_record(trcpu_stream *stream, CUgraphNodeType type, trcpu_work *work) {
    trcpu_node *node;
    if (!work) return CUDA_ERROR_OUT_OF_MEMORY;
    if (stream->capture->invalid) {
        trcpu_work_release(work);
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    CUresult result =
        trcpu_graph_add(stream->capture->graph, type, stream->tail, stream->tail_count, work, &node);
    if (!result) result = set_tail(stream, &node, 1);
    return result ? trcpu_capture_spoil(stream, result) : CUDA_SUCCESS;
}

CUresult trcpu_capture_event(trcpu_stream *stream, trcpu_event *event) {
    if (stream->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    trcpu_node **nodes = malloc((stream->tail_count + 1) * sizeof *nodes);
    if (!nodes) return CUDA_ERROR_OUT_OF_MEMORY;
    if (stream->tail_count) memcpy(nodes, stream->tail, stream->tail_count * sizeof *nodes);
    free(event->nodes);
    event->nodes = nodes;
    event->node_count = stream->tail_count;
    event->capture = stream->capture->id;
    return CUDA_SUCCESS;
}

/* The capture of that id, if it is still going on. */
static trcpu_capture *find_capture(unsigned long long id) {
    for (trcpu_context *context = trcpu.contexts; context; context = context->next)
        for (trcpu_stream *stream = context->streams; stream; stream = stream->next)
            if (stream->capture && stream->capture->id == id) return stream->capture;
    return NULL;
}

CUresult trcpu_capture_join(trcpu_stream *stream, trcpu_event *event) {
    trcpu_capture *capture = stream->capture;
    if (!event->capture) return trcpu_capture_spoil(stream, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    trcpu_capture *source = find_capture(event->capture);
    if (!source) return CUDA_ERROR_CAPTURED_EVENT; /* of a capture that has ended */
    if (source->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (capture && capture != source) {
        source->invalid = true;
        return trcpu_capture_spoil(stream, CUDA_ERROR_STREAM_CAPTURE_MERGE);
    }
    if (stream == stream->context->legacy) {
        source->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    CUresult result = extend_tail(stream, event->nodes, event->node_count);
    if (!result && !capture) {
        stream->capture = source;
        source->references++;
    }
    return result;
}

/* ---- beginning and ending ---- */
void trcpu_capture_leave(trcpu_stream *stream) {
    trcpu_capture *capture = stream->capture;
    if (!capture) return;
    if (capture->origin == stream) {
        capture->origin = NULL;
        capture->invalid = true;
    }
    stream->capture = NULL;
    stream->tail_count = 0;
    if (--capture->references) return;
    if (capture->graph) trcpu_graph_delete(capture->graph);
    free(capture);
}

CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    if ((unsigned int)mode > CU_STREAM_CAPTURE_MODE_RELAXED) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (stream == stream->context->legacy) return trcpu_leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (stream->capture) return trcpu_leave(CUDA_ERROR_ILLEGAL_STATE);
    trcpu_capture *capture = calloc(1, sizeof *capture);
    trcpu_graph *graph = capture ? trcpu_graph_new() : NULL;
    if (!graph || set_tail(stream, NULL, 0)) {
        if (graph) trcpu_graph_delete(graph);
        free(capture);
        return trcpu_leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    if (!trcpu_this_thread.id) trcpu_this_thread.id = trcpu_next_id();
    *capture = (trcpu_capture){.id = trcpu_next_id(),
                               .references = 1,
                               .graph = graph,
                               .origin = stream,
                               .mode = mode,
                               .thread = trcpu_this_thread.id};
    stream->capture = capture;
    graph->capturing = true;
    return trcpu_leave(CUDA_SUCCESS);
}

/* Each node that nothing depends on must be in the tail of the stream where the capture began. */
static bool is_joined(const trcpu_graph *graph, const trcpu_stream *origin) {
    for (size_t i = 0; i < graph->node_count; i++) graph->nodes[i]->visited = false;
    for (size_t i = 0; i < graph->node_count; i++)
        for (size_t k = 0; k < graph->nodes[i]->after_count; k++) graph->nodes[i]->after[k]->visited = true;
    for (size_t i = 0; i < graph->node_count; i++)
        if (!graph->nodes[i]->visited && !contains(origin->tail, origin->tail_count, graph->nodes[i]))
            return false;
    return true;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *out) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    trcpu_capture *capture = stream->capture;
    if (!out || !capture) return trcpu_leave(out ? CUDA_ERROR_ILLEGAL_STATE : CUDA_ERROR_INVALID_VALUE);
    *out = NULL;
    if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != trcpu_this_thread.id)
        return trcpu_leave(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    if (capture->origin != stream)
        result = CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    else if (capture->invalid)
        result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    else if (!is_joined(capture->graph, stream))
        result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    if (result == CUDA_ERROR_STREAM_CAPTURE_UNMATCHED)
        return trcpu_leave(trcpu_capture_spoil(stream, result));
    if (!result) {
        *out = capture->graph->handle;
        capture->graph->capturing = false;
        capture->graph = NULL;
    }
    for (trcpu_context *context = trcpu.contexts; context; context = context->next)
        for (trcpu_stream *at = context->streams; at; at = at->next)
            if (at != stream && at->capture == capture) trcpu_capture_leave(at);
    trcpu_capture_leave(stream);
    return trcpu_leave(result);
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
    if (!mode || (unsigned int)*mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
    CUstreamCaptureMode before = trcpu_this_thread.capture_mode;
    trcpu_this_thread.capture_mode = *mode;
    *mode = before;
    return CUDA_SUCCESS;
}

/* ---- asking ---- */
static CUstreamCaptureStatus status_of(const trcpu_stream *stream) {
    return !stream->capture           ? CU_STREAM_CAPTURE_STATUS_NONE
           : stream->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                      : CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

static CUresult capture_info(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                             const CUgraphNode **dependencies, const CUgraphEdgeData **edges,
                             size_t *dependency_count) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    if (!status) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    if (stream == stream->context->legacy && captured_blocking(stream->context))
        return trcpu_leave(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT); /* asking does no harm to the capture */
    *status = status_of(stream);
    if (*status != CU_STREAM_CAPTURE_STATUS_ACTIVE) return trcpu_leave(CUDA_SUCCESS);
    if (id) *id = stream->capture->id;
    if (graph) *graph = stream->capture->graph->handle;
    if (dependencies) *dependencies = stream->tail_handles;
    if (edges) *edges = NULL;
    if (dependency_count) *dependency_count = stream->tail_count;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
    return capture_info(handle, status, NULL, NULL, NULL, NULL, NULL);
}

CUresult cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id) {
    return capture_info(stream, status, id, NULL, NULL, NULL, NULL);
}

CUresult cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                                   CUgraph *graph, const CUgraphNode **dependencies,
                                   size_t *dependency_count) {
    return capture_info(stream, status, id, graph, dependencies, NULL, dependency_count);
}

CUresult cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                                   CUgraph *graph, const CUgraphNode **dependencies,
                                   const CUgraphEdgeData **edges, size_t *dependency_count) {
    return capture_info(stream, status, id, graph, dependencies, edges, dependency_count);
}

CUresult cuStreamUpdateCaptureDependencies(CUstream handle, CUgraphNode *dependencies,
                                           size_t dependency_count, unsigned int flags) {
    trcpu_stream *stream;
    CUresult result = trcpu_enter_stream(handle, &stream);
    if (result) return result;
    if (!stream->capture || stream->capture->invalid) return trcpu_leave(CUDA_ERROR_ILLEGAL_STATE);
    if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    trcpu_node **nodes;
    result = trcpu_nodes_find(dependencies, dependency_count, stream->capture->graph, &nodes);
    if (result) return trcpu_leave(result);
    result = flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES ? set_tail(stream, nodes, dependency_count)
                                                         : extend_tail(stream, nodes, dependency_count);
    free(nodes);
    return trcpu_leave(result);
}

CUresult cuStreamUpdateCaptureDependencies_v2(CUstream stream, CUgraphNode *dependencies,
                                              const CUgraphEdgeData *edges, size_t dependency_count,
                                              unsigned int flags) {
    return cuStreamUpdateCaptureDependencies(stream, dependencies, dependency_count, flags);
}
