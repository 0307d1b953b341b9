/* User objects: what a graph keeps alive as long as it, an instantiation or a launch of it lives. */
#include "driver/driver.h"

#include <stdlib.h>

/* ---- references ---- */
static trcpu_user_object *dead_objects;

static void release(trcpu_user_object *object, unsigned long count) {
    object->references -= count;
    if (object->references) return;
    if (object->handle) trcpu_handle_delete(object->handle);
    if (object->memory) {
        trcpu_allocation_release(object->memory);
        free(object);
        return;
    }
    object->next = dead_objects;
    dead_objects = object;
}

trcpu_user_object *trcpu_dead(void) {
    trcpu_user_object *objects = dead_objects;
    dead_objects = NULL;
    return objects;
}

/* As in a stream's callback, the caller's code may not call the driver. */
void trcpu_dead_destroy(trcpu_user_object *object) {
    bool before = trcpu_this_thread.in_callback;
    for (trcpu_user_object *next; object; object = next) {
        next = object->next;
        trcpu_this_thread.in_callback = true;
        object->destroy(object->user);
        trcpu_this_thread.in_callback = before;
        free(object);
    }
}

trcpu_keep *trcpu_keep_retain(trcpu_keep *keep) {
    if (keep) keep->references++;
    return keep;
}

void trcpu_keep_release(trcpu_keep *keep) {
    if (!keep || --keep->references) return;
    for (size_t i = 0; i < keep->count; i++)
        if (keep->held[i].count) release(keep->held[i].object, keep->held[i].count);
    free(keep);
}

/* ---- what a graph holds: a new set takes the old one's place ---- */
static long held_of(const trcpu_keep *keep, const trcpu_user_object *object) {
    for (size_t i = 0; keep && i < keep->count; i++)
        if (keep->held[i].object == object) return (long)keep->held[i].count;
    return 0;
}

/* The new set owns references of its own to all but `by` of the object's, which are the caller's to give. */
static CUresult change(trcpu_graph *graph, trcpu_user_object *object, long by) {
    const trcpu_keep *before = graph->keep;
    size_t old = before ? before->count : 0, count = 0;
    trcpu_keep *keep = malloc(sizeof *keep + (old + 1) * sizeof keep->held[0]);
    if (!keep) return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < old; i++)
        if (before->held[i].object != object) keep->held[count++] = before->held[i];
    for (size_t i = 0; i < count; i++) keep->held[i].object->references += keep->held[i].count;
    long held = held_of(before, object), now = held + by;
    if (now > 0) {
        keep->held[count].object = object;
        keep->held[count++].count = (unsigned long)now;
        object->references += by > 0 ? (unsigned long)held : (unsigned long)now;
    }
    keep->references = 1;
    keep->count = count;
    trcpu_keep_release(graph->keep);
    graph->keep = keep;
    return CUDA_SUCCESS;
}

CUresult trcpu_graph_hold_memory(trcpu_graph *graph, uint64_t address) {
    trcpu_user_object *object = calloc(1, sizeof *object);
    if (!object) return CUDA_ERROR_OUT_OF_MEMORY;
    object->memory = address;
    object->references = 1;
    CUresult result = change(graph, object, 1);
    if (result) free(object);
    return result;
}

/* ---- the calls ---- */
CUresult cuUserObjectCreate(CUuserObject *out, void *address, CUhostFn destroy, unsigned int references,
                            unsigned int flags) {
    CUresult result = trcpu_enter();
    if (result) return result;
    if (!out || !destroy || !references || flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC)
        return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    trcpu_user_object *object = calloc(1, sizeof *object);
    CUuserObject handle = object ? trcpu_handle_new(TRCPU_USER_OBJECT, object) : NULL;
    if (!handle) {
        free(object);
        return trcpu_leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    *object =
        (trcpu_user_object){.handle = handle, .references = references, .destroy = destroy, .user = address};
    *out = handle;
    return trcpu_leave(CUDA_SUCCESS);
}

static CUresult enter_object(CUuserObject handle, unsigned int count, trcpu_user_object **object) {
    CUresult result = trcpu_enter();
    if (result) return result;
    *object = trcpu_handle_find(TRCPU_USER_OBJECT, handle);
    return *object && count ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult cuUserObjectRetain(CUuserObject handle, unsigned int count) {
    trcpu_user_object *object;
    CUresult result = enter_object(handle, count, &object);
    if (result) return result;
    object->references += count;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuUserObjectRelease(CUuserObject handle, unsigned int count) {
    trcpu_user_object *object;
    CUresult result = enter_object(handle, count, &object);
    if (result) return result;
    if (count > object->references) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    release(object, count);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuGraphRetainUserObject(CUgraph graph_handle, CUuserObject handle, unsigned int count,
                                 unsigned int flags) {
    trcpu_user_object *object;
    CUresult result = enter_object(handle, count, &object);
    if (result) return result;
    trcpu_graph *graph = trcpu_handle_find(TRCPU_GRAPH, graph_handle);
    if (!graph || flags > CU_GRAPH_USER_OBJECT_MOVE) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    result = change(graph, object, (long)count);
    if (!result && flags != CU_GRAPH_USER_OBJECT_MOVE) object->references += count;
    return trcpu_leave(result);
}

CUresult cuGraphReleaseUserObject(CUgraph graph_handle, CUuserObject handle, unsigned int count) {
    trcpu_user_object *object;
    CUresult result = enter_object(handle, count, &object);
    if (result) return result;
    trcpu_graph *graph = trcpu_handle_find(TRCPU_GRAPH, graph_handle);
    if (!graph || held_of(graph->keep, object) < (long)count) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    return trcpu_leave(change(graph, object, -(long)count));
}
