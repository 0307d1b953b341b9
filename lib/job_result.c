/* What came of a job: a record for each stage passed, the whole as one artifact, and programs made of it. */
#include "job.h"

#include "cache/depends.h"

#include <stdlib.h>
#include <string.h>

/* Sections of an artifact: a stage's bytes under its number, its record as JSON behind all those, the log, and what a
   start at Python was made from. */
enum { LOG = 0, DEPENDS = 7, METADATA = 8 };

/* ---- records ---- */

/* Keys of Triton's that only exist from a stage on; an earlier stage must not carry them along from somewhere. */
static const struct {
    const char *key;
    tr_stage since;
} born[] = {
    {"tensordesc_meta", TR_STAGE_TTGIR},
    {"shared", TR_STAGE_LLIR},
    {"tmem_size", TR_STAGE_LLIR},
    {"global_scratch_size", TR_STAGE_LLIR},
    {"global_scratch_align", TR_STAGE_LLIR},
    {"profile_scratch_size", TR_STAGE_LLIR},
    {"profile_scratch_align", TR_STAGE_LLIR},
    {"hash", TR_STAGE_AUTO},
};

static bool drop_unborn(json_t *metadata, tr_stage stage) {
    bool ok = true;
    for (size_t i = 0; i < sizeof born / sizeof *born; i++) {
        bool compiled_here = born[i].since == TR_STAGE_AUTO; /* a hash of another compilation's result */
        if (compiled_here || stage < born[i].since) json_object_del(metadata, born[i].key);
    }
    return ok;
}

/* Before llir, num_warps is what was asked for; after it, Triton says how many there are with those that it added
   for warp specialisation. */
static bool restore_warps(const tr__job *job, json_t *metadata, tr_stage stage) {
    if (stage >= TR_STAGE_LLIR) return true;
    const json_t *asked = json_object_get(job->options, "num_warps");
    if (!asked) asked = json_object_get(job->program->record->triton, "num_warps");
    if (!asked) return !json_object_del(metadata, "num_warps") || true;
    return !json_object_set_new(metadata, "num_warps", json_integer(json_integer_value(asked)));
}

/* A fresh record, not a changed one: what the later stages say of themselves replaces what the first one said. */
static tr_status begin_record(const tr__job *job, tr_stage stage, tr__record *record, tr_error **error) {
    const tr__record *from = job->program->record;
    json_t *metadata = json_deep_copy(job->metadata);
    if (!metadata || !drop_unborn(metadata, stage) || !restore_warps(job, metadata, stage)) {
        json_decref(metadata);
        return tr__fail_out_of_memory(error);
    }
    record->num_warps = from->num_warps;
    record->num_ctas = from->num_ctas;
    record->maxnreg = from->maxnreg;
    memcpy(record->cluster, from->cluster, sizeof record->cluster);
    tr_status status = tr__record_read_object(record, metadata, "the compiler's metadata", error);
    json_decref(metadata);
    if (!status && (!tr__record_set_text(&record->kernel, from->kernel) ||
                    !tr__record_set_text(&record->arch, job->arch)))
        status = tr__fail_out_of_memory(error);
    return status;
}

static tr_status copy_params(const tr__record *from, tr__record *record, tr_error **error) {
    if (!from->params_known) return TR_OK;
    tr__record *copy = tr__record_copy(from);
    if (!copy) return tr__fail_out_of_memory(error);
    tr__param *params = copy->params;
    size_t count = copy->param_count;
    copy->params = NULL;
    copy->param_count = 0;
    tr__record_release(copy);
    return tr__record_set_params(record, params, count, error);
}

static tr_status add_makers(const tr__job *job, tr_stage stage, tr__record *record, tr_error **error) {
    bool ok = !json_object_update(record->made_by, job->program->record->made_by) &&
              !json_object_update(record->options, job->program->record->options) &&
              (!job->asked || !json_object_update(record->options, job->asked));
    for (tr_stage s = job->program->stage + 1; s <= stage; s++) {
        json_t *maker = json_object_get(job->made_by, tr__stage_name(s));
        if (maker) ok = ok && !json_object_set(record->made_by, tr__stage_name(s), maker);
        const char *name = json_string_value(maker);
        if (name && !strncmp(name, "triton ", 7))
            ok = ok && tr__record_set_text(&record->triton_version, name + 7);
    }
    return ok ? TR_OK : tr__fail_out_of_memory(error);
}

/* What was learnt of the arguments when the Python was read holds for all stages; registers are the cubin's, and
   "locations" has those of each stage. */
static tr_status add_extra(const tr__job *job, tr_stage stage, tr__record *record, tr_error **error) {
    static const char *const of_cubin[] = {"registers", "spills", "constant_bytes", "local_bytes"};
    json_t *extra = json_copy(job->extra);
    if (!extra) return tr__fail_out_of_memory(error);
    for (size_t i = 0; stage < TR_STAGE_CUBIN && i < 4; i++) json_object_del(extra, of_cubin[i]);
    json_t *locations = json_object_get(json_object_get(extra, "locations"), tr__stage_name(stage));
    bool set = locations ? !json_object_set(extra, "locations", locations)
                         : (json_object_del(extra, "locations"), true);
    json_object_del(extra, "made_by");
    json_object_del(extra, "options");
    tr_status status = set ? tr__record_read_extra(record, extra, "the compiler's answer", error)
                           : tr__fail_out_of_memory(error);
    json_decref(extra);
    return status;
}

static tr_status make_record(const tr__job *job, tr_stage stage, tr__record **out, tr_error **error) {
    *out = tr__record_create();
    if (!*out) return tr__fail_out_of_memory(error);
    tr_status status = begin_record(job, stage, *out, error);
    if (!status) status = copy_params(job->program->record, *out, error);
    if (!status) status = add_extra(job, stage, *out, error);
    if (!status) status = add_makers(job, stage, *out, error);
    if (!status)
        status =
            tr__stage_read(stage, job->stages[stage], tr_program_kernel(job->program), NULL, *out, error);
    if (status) tr__error_prefix(error, "the %s that was made of it", tr__stage_name(stage));
    return status;
}

/* ---- artifacts ---- */

typedef struct records {
    tr__record *of[TR__STAGES];
} records;

static void release_records(void *decoded) {
    records *all = decoded;
    for (int stage = 0; stage < TR__STAGES; stage++) tr__record_release(all->of[stage]);
    free(all);
}

static tr_status fill_stage(const tr__job *job, tr__artifact *artifact, tr_stage stage, tr_error **error) {
    records *all = artifact->decoded;
    char *json;
    tr_status status = make_record(job, stage, &all->of[stage], error);
    if (!status) status = tr__record_write(all->of[stage], &json, error);
    if (status) return status;
    artifact->sections[stage] = tr__blob_retain(job->stages[stage]);
    if (stage != job->to) artifact->seldom |= 1u << stage;
    artifact->sections[METADATA + stage] = tr__blob_create(json, strlen(json));
    free(json);
    return artifact->sections[METADATA + stage] ? TR_OK : tr__fail_out_of_memory(error);
}

tr_status tr__job_artifact(tr__job *job, tr__artifact **out, tr_error **error) {
    tr__artifact *artifact = *out = tr__artifact_create();
    if (!artifact) return tr__fail_out_of_memory(error);
    artifact->decoded = calloc(1, sizeof(records));
    artifact->release_decoded = release_records;
    tr_status status = artifact->decoded ? TR_OK : tr__fail_out_of_memory(error);
    for (tr_stage stage = job->program->stage + 1; stage <= job->to && !status; stage++)
        status = fill_stage(job, artifact, stage, error);
    if (!status && job->log.size &&
        !(artifact->sections[LOG] = tr__blob_create(job->log.data, job->log.size)))
        status = tr__fail_out_of_memory(error);
    if (!status) return TR_OK;
    tr__artifact_release(artifact);
    *out = NULL;
    return status;
}

bool tr__artifact_decode(tr__artifact *artifact) {
    records *all = calloc(1, sizeof *all);
    if (!all) return false;
    bool ok = true;
    for (int stage = 0; stage < TR__STAGES && ok; stage++) {
        const tr__blob *json = artifact->sections[METADATA + stage];
        if (!artifact->sections[stage] || stage == LOG) continue;
        all->of[stage] = json ? tr__record_create() : NULL;
        ok =
            all->of[stage] && !tr__record_read(all->of[stage], json->data, json->size, "cached record", NULL);
    }
    artifact->decoded = all;
    artifact->release_decoded = release_records;
    if (ok) return true;
    artifact->decoded = NULL;
    release_records(all);
    return false;
}

/* ---- what it was made from ---- */

bool tr__job_may_keep(tr__job *job, tr__artifact *artifact) {
    tr_error *error = NULL;
    if (job->program->stage != TR_STAGE_PYTHON) return true;
    tr_status status = tr__depends_create(job->depends, &artifact->sections[DEPENDS], &error);
    if (status)
        tr__runner_log(job->runner, 1, "kernel '%s' is compiled anew each time: %s",
                       tr_program_kernel(job->program), tr_error_message(error));
    tr_error_destroy(error);
    return !status;
}

bool tr__job_holds(const tr__job *job, const tr__artifact *artifact) {
    if (job->program->stage != TR_STAGE_PYTHON) return true;
    return artifact->sections[DEPENDS] && tr__depends_hold(artifact->sections[DEPENDS]);
}

/* ---- programs ---- */

tr_status tr__job_programs(const tr_program *from, tr_stage to, const tr__artifact *artifact,
                           tr_program **out, tr_error **error) {
    const records *all = artifact->decoded;
    tr_program *before = tr__program_retain(from);
    tr_status status = TR_OK;
    for (tr_stage stage = from->stage + 1; stage <= to && !status; stage++) {
        bool compressed = artifact->compressed >> stage & 1;
        tr__program_parts parts = {.stage = stage,
                                   .bytes = compressed ? NULL : artifact->sections[stage],
                                   .compressed = compressed ? artifact->sections[stage] : NULL,
                                   .record = all->of[stage],
                                   .metadata = artifact->sections[METADATA + stage],
                                   .log = artifact->sections[LOG],
                                   .before = before};
        tr_program *next;
        status = tr__program_create(from->runner, &parts, &next, error);
        tr__program_release(before);
        before = next;
    }
    *out = before;
    return status;
}
