/* Launches become entries. The stream is put into capture, so that tr_launch takes its careful way and asks here; what
   it would have launched goes to the plan, and the capture's own graph stays empty. */
#include "base/fork.h"
#include "launch/plan.h"

static tr_plan *recordings; /* of the whole process, as streams are; which stay with the parent of a fork */
TR__PROCESS_LOCK(lock, recordings = NULL);

tr_plan *tr__plan_recording(CUstream stream) {
    pthread_mutex_lock(&lock);
    tr_plan *plan = recordings;
    while (plan && plan->recording != stream) plan = plan->next_recording;
    pthread_mutex_unlock(&lock);
    return plan;
}

static void enlist(tr_plan *plan, CUstream stream) {
    pthread_mutex_lock(&lock);
    plan->records = true;
    plan->recording = stream;
    plan->first_recorded = plan->count;
    plan->next_recording = recordings;
    recordings = plan;
    pthread_mutex_unlock(&lock);
}

static void strike_off(tr_plan *plan) {
    pthread_mutex_lock(&lock);
    for (tr_plan **at = &recordings; *at; at = &(*at)->next_recording) {
        if (*at != plan) continue;
        *at = plan->next_recording;
        break;
    }
    plan->records = false;
    pthread_mutex_unlock(&lock);
}

/* Ends the capture and throws its graph away; *nodes: what it held. */
static CUresult end_capture(tr_plan *plan, size_t *nodes) {
    CUgraph graph = NULL;
    CUresult result = plan->driver->cuStreamEndCapture(plan->recording, &graph);
    *nodes = 0;
    if (graph) {
        if (plan->driver->cuGraphGetNodes) plan->driver->cuGraphGetNodes(graph, NULL, nodes);
        plan->driver->cuGraphDestroy(graph);
    }
    return result;
}

tr_status tr_plan_record(tr_plan *plan, void *stream, tr_error **error) {
    tr__error_clear(error);
    if (!plan) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_plan_record: plan is NULL");
    if (plan->records)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_plan_record: the plan is recording already");
    tr__scope scope;
    tr_status status = tr__plan_enter(plan, &scope, error);
    if (status) return status;
    CUresult result = plan->driver->cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    tr__driver_leave(plan->driver, &scope);
    if (result) {
        status = tr__driver_fail(plan->driver, result, "cuStreamBeginCapture", error);
        if (!stream)
            tr__error_prefix(error, "the default stream cannot be recorded; make one with cuStreamCreate");
        return status;
    }
    enlist(plan, stream);
    return TR_OK;
}

tr_status tr_plan_recorded(tr_plan *plan, uint32_t *first, uint32_t *count, tr_error **error) {
    tr__error_clear(error);
    if (first) *first = 0;
    if (count) *count = 0;
    if (!plan || !plan->records)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_plan_recorded: %s",
                        plan ? "the plan is not recording; call tr_plan_record first" : "plan is NULL");
    size_t others;
    strike_off(plan);
    CUresult result = end_capture(plan, &others);
    if (result) return tr__driver_fail(plan->driver, result, "cuStreamEndCapture", error);
    if (others)
        return tr__fail(
            error, TR_E_UNSUPPORTED,
            "%zu operations that are not tr_launch were made on the stream while the plan recorded; they "
            "are not part of it (tr_plan_add_copy and tr_plan_add_fill are for copies and fills)",
            others);
    if (first) *first = plan->first_recorded;
    if (count) *count = plan->count - plan->first_recorded;
    return TR_OK;
}

void tr__plan_stop_recording(tr_plan *plan) {
    size_t others;
    if (!plan->records) return;
    strike_off(plan);
    end_capture(plan, &others);
}
