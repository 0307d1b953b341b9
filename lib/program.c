#include "program.h"

#include "base/compress.h"
#include "base/file.h"
#include "pipeline.h"

#include <stdlib.h>
#include <string.h>

static tr_status write_metadata(tr_program *program, tr_error **error) {
    char *json;
    tr_status status = tr__record_write(program->record, &json, error);
    if (status) return status;
    program->metadata = tr__blob_create(json, strlen(json));
    free(json);
    return program->metadata ? TR_OK : tr__fail_out_of_memory(error);
}

tr_status tr__program_create(tr_runner *runner, const tr__program_parts *parts, tr_program **out,
                             tr_error **error) {
    *out = NULL;
    tr_program *program = calloc(1, sizeof *program);
    if (!program) return tr__fail_out_of_memory(error);
    program->references = 1;
    program->runner = tr__runner_retain(runner);
    program->stage = parts->stage;
    program->bytes = tr__blob_retain(parts->bytes);
    program->compressed = tr__blob_retain(parts->compressed);
    program->record = tr__record_retain(parts->record);
    program->metadata = tr__blob_retain(parts->metadata);
    program->log = tr__blob_retain(parts->log);
    program->before = tr__program_retain(parts->before);
    tr_status status = TR_OK;
    if (!tr__record_set_text(&program->path, parts->path) ||
        !tr__record_set_text(&program->signature, parts->signature))
        status = tr__fail_out_of_memory(error);
    if (!status && !program->metadata) status = write_metadata(program, error);
    if (status)
        tr__program_release(program);
    else
        *out = program;
    return status;
}

tr_program *tr__program_retain(const tr_program *program) {
    tr_program *shared = (tr_program *)program; /* the count is all that ever changes */
    if (shared) __atomic_fetch_add(&shared->references, 1, __ATOMIC_RELAXED);
    return shared;
}

void tr__program_release(tr_program *program) {
    while (program && __atomic_fetch_sub(&program->references, 1, __ATOMIC_ACQ_REL) == 1) {
        tr_program *before = program->before;
        tr__blob_release(program->bytes);
        tr__blob_release(program->compressed);
        tr__record_release(program->record);
        tr__blob_release(program->metadata);
        tr__blob_release(program->log);
        free(program->path);
        free(program->signature);
        tr__runner_release(program->runner);
        free(program);
        program = before;
    }
}

void tr_program_destroy(tr_program *program) {
    tr__program_release(program);
}

tr_stage tr_program_stage(const tr_program *program) {
    return program ? program->stage : TR_STAGE_AUTO;
}

const char *tr_program_kernel(const tr_program *program) {
    return program && program->record->kernel ? program->record->kernel : "";
}

tr_status tr_program_bytes(const tr_program *program, const void **data, size_t *size) {
    if (data) *data = NULL;
    if (size) *size = 0;
    if (!program || !data || !size) return TR_E_INVALID_ARGUMENT;
    *data = program->bytes->data;
    *size = program->bytes->size;
    return TR_OK;
}

const char *tr_program_metadata(const tr_program *program) {
    return program ? program->metadata->data : "{}";
}

const char *tr_program_log(const tr_program *program) {
    return program && program->log ? program->log->data : "";
}

/* A stage on the way is handed out with its bytes: nobody else has to know that they were compressed. */
static tr_status decompress(tr_program *program, tr_error **error) {
    if (__atomic_load_n(&program->bytes, __ATOMIC_ACQUIRE)) return TR_OK;
    tr__blob *bytes = tr__decompress(program->compressed), *none = NULL;
    if (!bytes) return tr__fail_out_of_memory(error);
    if (!__atomic_compare_exchange_n(&program->bytes, &none, bytes, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        tr__blob_release(bytes); /* another thread was as quick */
    return TR_OK;
}

tr_status tr_program_at(const tr_program *program, tr_stage passed, tr_program **out, tr_error **error) {
    tr__error_clear(error);
    if (out) *out = NULL;
    if (!program || !out) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_program_at: a NULL argument");
    tr_program *at = (tr_program *)program;
    while (at && at->stage != passed) at = at->before;
    if (!at)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "kernel '%s' did not pass %s on its way to %s",
                        tr_program_kernel(program), tr__stage_name(passed), tr__stage_name(program->stage));
    tr_status status = decompress(at, error);
    if (!status) *out = tr__program_retain(at);
    return status;
}

tr_status tr_program_save(const tr_program *program, const char *path, tr_error **error) {
    tr__error_clear(error);
    if (!program || !path || !*path)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_program_save: a NULL argument");
    tr__buffer bytes = {0};
    tr__buffer_append(&bytes, program->bytes->data, program->bytes->size);
    tr_status status = tr__record_embed(program->metadata->data, program->stage, &bytes, error);
    if (!status) status = tr__file_write(path, bytes.data, bytes.size, error);
    tr__buffer_release(&bytes);
    return status;
}
