/* What a captured graph keeps. Its end is told by the driver, on a thread and at a moment in which the driver
   must not be called; so what was kept is put aside, and released by the next call that may. */
#include "driver/driver.h"

static tr__deferred *waiting; /* of the whole process: the runner it came from may be gone */

void tr__defer(tr__deferred *item) {
    item->next = __atomic_load_n(&waiting, __ATOMIC_RELAXED);
    while (
        !__atomic_compare_exchange_n(&waiting, &item->next, item, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
}

void tr__settle(void) {
    tr__deferred *item = __atomic_load_n(&waiting, __ATOMIC_RELAXED);
    if (item) item = __atomic_exchange_n(&waiting, NULL, __ATOMIC_ACQUIRE);
    while (item) {
        tr__deferred *next = item->next;
        item->release(item);
        item = next;
    }
}

static void graph_is_gone(void *item) {
    tr__defer(item);
}

tr_status tr__driver_give_to_graph(tr__driver *driver, CUstream stream, tr__deferred *item,
                                   tr_error **error) {
    CUstreamCaptureStatus status;
    CUgraph graph = NULL;
    CUuserObject object;
    const char *call = "cuUserObjectCreate";
    CUresult result = CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER;
    if (driver->cuUserObjectCreate && driver->cuGraphRetainUserObject && driver->cuUserObjectRelease)
        result =
            driver->cuUserObjectCreate(&object, item, graph_is_gone, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC);
    if (result) {
        item->release(item);
        return tr__driver_fail(driver, result, call, error);
    }
    call = "cuStreamGetCaptureInfo";
    result = driver->cuStreamGetCaptureInfo(stream, &status, NULL, &graph, NULL, NULL);
    if (!result) {
        call = "cuGraphRetainUserObject";
        result = driver->cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE);
    }
    if (!result) return TR_OK;
    driver->cuUserObjectRelease(object, 1);
    return tr__driver_fail(driver, result, call, error);
}
