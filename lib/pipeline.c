/* The stages in their order, and the walk from one to another. */
#include "pipeline.h"

#include "base/options.h"
#include "job.h"
#include "stages/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const tr__stage *const stages[] = {
    NULL,           &tr__stage_python, &tr__stage_ttir, &tr__stage_ttgir, &tr__stage_llir,
    &tr__stage_ptx, &tr__stage_cubin,
};

const char *tr__stage_name(tr_stage stage) {
    return stage >= TR_STAGE_PYTHON && stage <= TR_STAGE_CUBIN ? stages[stage]->name : "?";
}

tr_stage tr__stage_of_name(const char *path) {
    size_t length = strlen(path);
    for (tr_stage stage = TR_STAGE_PYTHON; stage <= TR_STAGE_CUBIN; stage++) {
        size_t suffix = strlen(stages[stage]->suffix);
        if (length > suffix && !strcmp(path + length - suffix, stages[stage]->suffix)) return stage;
    }
    return TR_STAGE_AUTO;
}

tr_stage tr__stage_of_content(const char *data, size_t size) {
    for (tr_stage stage = TR_STAGE_CUBIN; stage >= TR_STAGE_PYTHON; stage--)
        if (stages[stage]->recognise(data, size)) return stage;
    return TR_STAGE_AUTO;
}

/* Shared memory that one CTA can have, in bytes; Triton compiles for more without a word. */
static const struct {
    uint32_t arch, shared;
} limits[] = {{70, 98304},   {72, 98304},   {75, 65536},   {80, 166912},  {86, 101376},
              {87, 166912},  {89, 101376},  {90, 232448},  {100, 232448}, {101, 232448},
              {103, 232448}, {110, 232448}, {120, 101376}, {121, 101376}};

static tr_status check_resources(const tr__record *record, const char *name, tr_error **error) {
    if (!record->arch || !record->resources_known) return TR_OK;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (limits[i].arch != (uint32_t)atoi(record->arch + 3) || record->shared <= limits[i].shared)
            continue;
        return tr__fail(
            error, TR_E_RESOURCE,
            "%s: kernel '%s' needs %u bytes of shared memory; a CTA on %s has at most %u: smaller blocks, or "
            "fewer stages (num_stages), need less",
            name, record->kernel, record->shared, record->arch, limits[i].shared);
    }
    return TR_OK;
}

tr_status tr__stage_read(tr_stage stage, const tr__blob *bytes, const char *name, const char *kernel,
                         tr__record *record, tr_error **error) {
    tr__reading reading = {bytes->data, bytes->size, name, kernel, record};
    tr_status status = stages[stage]->read(&reading, error);
    return status ? status : check_resources(record, name, error);
}

/* ---- compile ---- */

static tr_status keep_waiting(void *user) {
    const tr__job *job = user;
    if (job->given.progress && job->given.progress(job->given.progress_user, job->program->stage, 0))
        return TR_E_CANCELLED;
    return TR_OK;
}

static bool decode(void *user, tr__artifact *artifact) {
    return tr__artifact_decode(artifact);
}

static tr_status compile(tr__job *job, tr__artifact **out, tr_error **error) {
    tr_status status = tr__job_run(job, error);
    if (!status) status = tr__job_artifact(job, out, error);
    __atomic_fetch_add(status ? &job->runner->compile_failures : &job->runner->compiled, 1, __ATOMIC_RELAXED);
    return status;
}

static tr_status fail_sealed(const tr__job *job, tr_error **error) {
    return tr__fail(error, TR_E_SEALED,
                    "the runner is sealed, and the %s of kernel '%s' for %s is not compiled yet",
                    tr__stage_name(job->to), tr_program_kernel(job->program), job->arch);
}

static bool holds(void *user, const tr__artifact *artifact) {
    return tr__job_holds(user, artifact);
}

static tr_status compile_through(tr__job *job, tr__artifacts *cache, const tr__artifact_key *key,
                                 tr__artifact **out, tr_error **error) {
    tr__artifact_hooks hooks = {keep_waiting, decode, holds, job};
    tr__artifact_claim *claim = NULL;
    tr_status status = tr__artifacts_acquire(cache, key, &hooks, out, &claim, error);
    if (status || *out) return status;
    status = compile(job, out, error);
    if (status || !tr__job_may_keep(job, *out))
        tr__artifacts_abandon(claim);
    else
        tr__artifacts_publish(claim, *out);
    return status;
}

/* What is in memory; once sealed, without a look at what it was made from, which lies on disk. */
static tr__artifact *recall(tr__job *job, tr__artifacts *cache, const tr__artifact_key *key) {
    tr__artifact *found = tr__artifacts_recall(cache, key);
    if (!found || tr__runner_sealed(job->runner) || tr__job_holds(job, found)) return found;
    tr__artifact_release(found);
    return NULL;
}

static tr_status find_or_compile(tr__job *job, tr__artifact **out, tr_error **error) {
    tr__artifacts *cache = NULL;
    tr__buffer text = {0};
    bool may_cache = !(job->given.flags & TR_COMPILE_NO_CACHE);
    tr_status status = may_cache ? tr__runner_artifacts(job->runner, &cache, error) : TR_OK;
    if (!status && cache) status = tr__job_key(job, &text, error);
    tr__artifact_key key = {text.data, text.size, job->program->bytes};
    if (!status && cache) *out = recall(job, cache, &key);
    if (!status && !*out) {
        if (tr__runner_sealed(job->runner))
            status = fail_sealed(job, error);
        else
            status = cache ? compile_through(job, cache, &key, out, error) : compile(job, out, error);
    }
    tr__buffer_release(&text);
    return status;
}

static tr_status check_call(const tr__job *job, tr_error **error) {
    const tr_program *program = job->program;
    if (job->to < TR_STAGE_TTIR || job->to > TR_STAGE_CUBIN)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_compile_to: %d is no stage to compile to",
                        (int)job->to);
    if (job->to < program->stage)
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "tr_compile_to: kernel '%s' is at %s; there is no way back to %s",
                        tr_program_kernel(program), tr__stage_name(program->stage), tr__stage_name(job->to));
    if (job->given.flags & ~(uint32_t)(TR_COMPILE_NO_CACHE | TR_COMPILE_IN_PROCESS))
        return tr__fail(error, TR_E_UNSUPPORTED, "tr_compile_options.flags: %#x is not known to this version",
                        job->given.flags);
    if (program->stage == TR_STAGE_PYTHON && !program->signature)
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "kernel '%s' starts at Python: it needs a signature (tr_load_options.signature, --signature), as "
            "\"*fp32:16, i32, 1024\": the type of each argument, the value of each constant",
            tr_program_kernel(program));
    return TR_OK;
}

/* The same stage with other launch options: only the record changes. */
static tr_status amend(tr__job *job, tr_program **out, tr_error **error) {
    const tr_program *program = job->program;
    if (!json_object_size(job->asked)) {
        *out = tr__program_retain(program);
        return TR_OK;
    }
    tr__record *record = tr__record_copy(program->record);
    if (!record) return tr__fail_out_of_memory(error);
    tr__program_parts parts = {.stage = program->stage,
                               .bytes = program->bytes,
                               .record = record,
                               .path = program->path,
                               .signature = program->signature,
                               .log = program->log,
                               .before = program->before};
    tr_status status = tr__record_read_object(record, job->asked, "tr_compile_options.options", error);
    if (!status && json_object_update(record->options, job->asked)) status = tr__fail_out_of_memory(error);
    if (!status) status = tr__program_create(job->runner, &parts, out, error);
    tr__record_release(record);
    return status;
}

static tr_status run(tr__job *job, tr_program **out, tr_error **error) {
    tr__artifact *artifact = NULL;
    tr_status status = check_call(job, error);
    if (!status) status = tr__job_read_options(job, error);
    if (!status && job->to == job->program->stage) return amend(job, out, error);
    if (!status) status = tr__job_choose_arch(job, error);
    if (!status) status = tr__job_choose_tools(job, error);
    if (!status) status = find_or_compile(job, &artifact, error);
    if (!status) status = tr__job_programs(job->program, job->to, artifact, out, error);
    tr__artifact_release(artifact);
    return status;
}

tr_status tr_compile_to(const tr_program *program, tr_stage stage, const tr_compile_options *options,
                        tr_program **out, tr_error **error) {
    tr__error_clear(error);
    if (out) *out = NULL;
    if (!program || !out)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_compile_to: program or out is NULL");
    tr__job job = {.program = program, .runner = program->runner, .to = stage};
    tr_status status = tr__options_read(&job.given, sizeof job.given, options, "tr_compile_options", error);
    if (!status) status = run(&job, out, error);
    tr__job_release(&job);
    return status;
}

/* A GPU's driver takes PTX as well: where there is no assembler it does the rest itself. */
tr_status tr__pipeline_launchable(const tr_program *program, tr_program **out, tr_error **error) {
    uint32_t arch;
    bool cpu;
    char name[16];
    *out = NULL;
    tr_status status = TR_OK;
    tr_stage needed = TR_STAGE_CUBIN;
    if (program->stage < TR_STAGE_CUBIN) {
        status = tr__device_arch(program->runner, &arch, &cpu, error);
        if (status) return status;
        needed = cpu ? TR_STAGE_PTX : TR_STAGE_CUBIN;
    }
    if (program->stage >= needed) {
        *out = tr__program_retain(program);
        return TR_OK;
    }
    snprintf(name, sizeof name, "sm_%u", (unsigned)arch);
    tr_compile_options options = TR_COMPILE_OPTIONS_INIT;
    bool open = program->stage <= TR_STAGE_TTIR || program->stage == TR_STAGE_PTX || !program->record->arch;
    if (open) options.arch = name;
    tr_error *ours = NULL;
    status = tr_compile_to(program, needed, &options, out, &ours);
    if (status == TR_E_COMPILER_MISSING && program->stage == TR_STAGE_PTX) {
        *out = tr__program_retain(program);
        status = TR_OK;
    }
    if (status && error)
        *error = ours;
    else
        tr_error_destroy(ours);
    return status;
}
