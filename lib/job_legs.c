/* The walk from a program's stage to the one wanted. */
#include "job.h"

#include "compilers/ptxas.h"
#include "driver/jit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct leg {
    tr_stage from, to;
    tr__maker maker;
} leg;

static tr__maker maker_of(const tr__job *job, tr_stage from) {
    return from <= TR_STAGE_TTGIR ? TR__MAKER_TRITON : from == TR_STAGE_LLIR ? job->llvm : job->assembler;
}

/* The longest stretch from `from` on that one compiler does. */
static leg next_leg(const tr__job *job, tr_stage from) {
    leg next = {from, from + 1, maker_of(job, from)};
    while (next.to < job->to && maker_of(job, next.to) == next.maker) next.to++;
    return next;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static tr_status time_left(const tr__job *job, uint32_t *milliseconds, tr_error **error) {
    *milliseconds = 0;
    if (!job->deadline) return TR_OK;
    double left = job->deadline - now();
    if (left <= 0) return tr__fail(error, TR_E_TIMEOUT, "the %u ms allowed are over", job->given.timeout_ms);
    *milliseconds = (uint32_t)(left * 1000) + 1;
    return TR_OK;
}

static tr_status run_native(tr__job *job, const leg *leg, const tr__compile_request *request,
                            tr__compile_result *result, tr_error **error) {
    tr__native *native;
    tr__ptxas_triton triton = {job->triton ? job->triton->site : NULL,
                               job->triton ? job->triton->version : NULL};
    bool in_process = job->given.flags & TR_COMPILE_IN_PROCESS;
    tr_status status = tr__runner_native(job->runner, &native, error);
    if (status) return status;
    if (leg->maker == TR__MAKER_PTXAS)
        return tr__ptxas_compile(native, request, job->triton ? &triton : NULL, result, error);
    return tr__native_compile(native, request, in_process, result, error);
}

static tr_status run_driver(tr__job *job, const tr__compile_request *request, tr__compile_result *result,
                            tr_error **error) {
    tr__driver *driver;
    tr_status status = tr__runner_driver(job->runner, &driver, error);
    return status ? status : tr__driver_assemble(driver, request, result, error);
}

/* Of several assemblers the first that is there; what one refuses, another is not asked. */
static tr_status run_any(tr__job *job, leg leg, const tr__compile_request *request,
                         tr__compile_result *result, tr_error **error) {
    tr_error *first = NULL, *later = NULL;
    leg.maker = TR__MAKER_PTXAS;
    tr_status status = run_native(job, &leg, request, result, &first);
    if (status == TR_E_COMPILER_MISSING) {
        leg.maker = TR__MAKER_NVJITLINK;
        tr__compile_result_release(result);
        status = run_native(job, &leg, request, result, &later);
    }
    if (status == TR_E_COMPILER_MISSING) {
        tr__compile_result_release(result);
        status = run_driver(job, request, result, &later);
        if (status == TR_E_DRIVER_MISSING || status == TR_E_UNSUPPORTED) status = TR_E_COMPILER_MISSING;
    }
    /* Without any, what to say is how to get ptxas. */
    bool missing = status == TR_E_COMPILER_MISSING;
    if (error && status) *error = later && !missing ? later : first;
    if (!(error && status) || (later && !missing)) tr_error_destroy(first);
    if (!(error && status) || !later || missing) tr_error_destroy(later);
    return status;
}

static tr_status run_leg(tr__job *job, const leg *leg, tr__compile_result *result, tr_error **error) {
    const tr_program *program = job->program;
    tr__compile_request request = {
        .from = leg->from,
        .to = leg->to,
        .source = leg->from == program->stage ? program->bytes : job->stages[leg->from],
        .path =
            leg->from == program->stage && (leg->from == TR_STAGE_PYTHON || leg->maker != TR__MAKER_TRITON)
                ? program->path
                : NULL,
        .kernel = program->record->kernel,
        .signature = program->signature,
        .arch = job->arch,
        .options = job->options,
        .metadata = job->metadata,
        .locations = leg->from == program->stage ? program->record->locations : NULL,
        .environment = job->given.environment,
        .progress = job->given.progress,
        .progress_user = job->given.progress_user,
    };
    tr_status status = time_left(job, &request.timeout_ms, error);
    if (status) return status;
    switch (leg->maker) {
    case TR__MAKER_TRITON:
        status = tr__triton_compile(job->triton, &request, result, error);
        /* Triton gets IR under a name made from its content; Python it names itself. */
        if ((status == TR_E_COMPILE || status == TR_E_PARSE) && leg->from == program->stage &&
            program->path && !request.path)
            tr__error_locate(error, program->path);
        return status;
    case TR__MAKER_ANY_ASSEMBLER: return run_any(job, *leg, &request, result, error);
    case TR__MAKER_DRIVER: return run_driver(job, &request, result, error);
    default: return run_native(job, leg, &request, result, error);
    }
}

static bool merge(json_t *into, json_t *from) {
    return !from || !json_object_update(into, from);
}

static tr_status take(tr__job *job, const leg *leg, tr__compile_result *result, tr_error **error) {
    json_t *depends = json_object_get(result->extra, "depends");
    if (depends) job->depends = json_incref(depends);
    if (depends) json_object_del(result->extra, "depends");
    bool ok = merge(job->metadata, result->metadata) && merge(job->extra, result->extra);
    for (tr_stage stage = leg->from + 1; stage <= leg->to; stage++) {
        if (!result->stages[stage])
            return tr__fail(error, TR_E_COMPILE, "%s gave no %s",
                            result->maker ? result->maker : "the compiler", tr__stage_name(stage));
        job->stages[stage] = tr__blob_retain(result->stages[stage]);
        if (result->maker)
            ok = ok && !json_object_set_new(job->made_by, tr__stage_name(stage), json_string(result->maker));
    }
    if (result->log) tr__buffer_puts(&job->log, result->log);
    return ok && !job->log.failed ? TR_OK : tr__fail_out_of_memory(error);
}

/* A compiler in a process of its own has told the caller of its stages already, with the time that each took. */
static tr_status tell(const tr__job *job, const leg *leg, const tr__compile_result *result, double seconds,
                      tr_error **error) {
    if (!job->given.progress || result->seconds[leg->to] > 0 ||
        !job->given.progress(job->given.progress_user, leg->to, seconds))
        return TR_OK;
    return tr__fail(error, TR_E_CANCELLED, "cancelled by the caller");
}

/* Options that a compiler doesn't tell back are part of what is known all the same: the next one reads them there. */
static tr_status start(tr__job *job, tr_error **error) {
    job->metadata = json_copy(job->program->record->triton);
    job->extra = json_object();
    job->made_by = json_object();
    if (job->metadata && job->extra && job->made_by && merge(job->metadata, job->options)) return TR_OK;
    return tr__fail_out_of_memory(error);
}

tr_status tr__job_run(tr__job *job, tr_error **error) {
    tr_status status = start(job, error);
    if (job->given.timeout_ms) job->deadline = now() + job->given.timeout_ms * 1e-3;
    for (tr_stage at = job->program->stage; at < job->to && !status;) {
        leg leg = next_leg(job, at);
        tr__compile_result result = {.log = NULL};
        double begun = now();
        status = run_leg(job, &leg, &result, error);
        if (!status) status = take(job, &leg, &result, error);
        if (!status) status = tell(job, &leg, &result, now() - begun, error);
        if (status && error && *error && !tr_error_stage(*error)) tr__error_set_stage(error, leg.from);
        if (status && result.log && error && *error && !*tr_error_log(*error))
            tr__error_set_log(error, result.log, strlen(result.log));
        tr__compile_result_release(&result);
        at = leg.to;
    }
    return status;
}

void tr__job_release(tr__job *job) {
    for (int stage = 0; stage < TR__STAGES; stage++) tr__blob_release(job->stages[stage]);
    json_decref(job->asked);
    json_decref(job->options);
    json_decref(job->metadata);
    json_decref(job->extra);
    json_decref(job->made_by);
    json_decref(job->depends);
    tr__buffer_release(&job->log);
}
