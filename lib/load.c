/* From a file or bytes to a program: which stage it is, what is known of it, what it tells itself. */
#include "base/file.h"
#include "base/options.h"
#include "metadata/signature.h"
#include "pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCE_MAX = 1 << 30 };

typedef struct load {
    tr_runner *runner;
    tr_stage stage;
    const char *path; /* NULL: from memory */
    const char *name; /* for messages */
    tr_load_options options;
    tr__blob *bytes; /* the stage alone, once it is known what else was in it */
    char *embedded;  /* the record found in them; NULL: none */
    tr__record *record;
    char *signature;
    tr_error **error;
} load;

static tr_status read_bytes(load *l) {
    if (l->options.data) {
        l->bytes = tr__blob_create(l->options.data, l->options.size);
        return l->bytes ? TR_OK : tr__fail_out_of_memory(l->error);
    }
    if (tr__runner_sealed(l->runner))
        return tr__fail(l->error, TR_E_SEALED, "%s: the runner is sealed; load files before, or from memory",
                        l->name);
    return tr__file_read(l->path, SOURCE_MAX, &l->bytes, l->error);
}

static tr_status decide_stage(load *l) {
    const char *data = l->bytes->data;
    size_t size = l->bytes->size;
    if (l->stage == TR_STAGE_AUTO && l->path) l->stage = tr__stage_of_name(l->path);
    if (l->stage == TR_STAGE_AUTO) l->stage = tr__stage_of_content(data, size);
    if (l->stage == TR_STAGE_AUTO)
        return tr__fail(
            l->error, TR_E_INVALID_ARGUMENT,
            "%s: neither its name nor its content tells which stage it is (.py, .ttir, .ttgir, .llir, "
            ".ptx, .cubin); name the stage",
            l->name);
    if (strspn(data, " \t\r\n") >= size)
        return tr__fail(l->error, TR_E_PARSE, "%s:1:1: it is empty, where %s was expected", l->name,
                        tr__stage_name(l->stage));
    return TR_OK;
}

/* Bytes that belong to another stage are worth a better message than their first syntax error. */
static tr_status check_stage(load *l) {
    tr_stage looks = tr__stage_of_content(l->bytes->data, l->bytes->size);
    if (looks == TR_STAGE_AUTO || looks == l->stage) return TR_OK;
    return tr__fail(l->error, TR_E_PARSE, "%s:1:1: this is %s, not %s", l->name, tr__stage_name(looks),
                    tr__stage_name(l->stage));
}

/* Takes an embedded record out of the bytes. What the caller gives counts before it, also before a damaged one. */
static tr_status split(load *l) {
    tr__embedded found;
    tr_status status =
        tr__record_extract(l->bytes->data, l->bytes->size, l->stage, l->name, &found, l->error);
    if (status && l->options.metadata) {
        if (l->error) tr_error_destroy(*l->error), *l->error = NULL;
        return TR_OK;
    }
    if (status || !found.json) return status;
    l->embedded = found.json;
    tr__blob *alone = tr__blob_allocate(l->bytes->size - (found.end - found.begin));
    if (!alone) return tr__fail_out_of_memory(l->error);
    memcpy(alone->data, l->bytes->data, found.begin);
    memcpy(alone->data + found.begin, l->bytes->data + found.end, l->bytes->size - found.end);
    tr__blob_seal(alone);
    tr__blob_release(l->bytes);
    l->bytes = alone;
    return TR_OK;
}

/* The file beside: "dir/add.ptx" → "dir/add.json". *out NULL: there is none. */
static tr_status beside(const load *l, const char *ending, char **out) {
    *out = NULL;
    if (!l->path || l->options.data) return TR_OK;
    const char *slash = strrchr(l->path, '/'), *dot = strrchr(l->path, '.');
    if (!dot || (slash && dot < slash)) return TR_OK;
    char *path = NULL;
    if (asprintf(&path, "%.*s%s", (int)(dot - l->path), l->path, ending) < 0)
        return tr__fail_out_of_memory(l->error);
    bool there;
    tr_status status = tr__file_find(path, &there, l->error);
    if (there)
        *out = path;
    else
        free(path);
    return status;
}

/* What is wrong in a file beside is not this one's fault: it is only of no use. One that can't be read just now might
   be, and is told. */
static tr_status read_neighbour(load *l, tr_stage stage, const char *path) {
    tr__blob *bytes = NULL;
    tr__record *copy = tr__record_copy(l->record);
    tr_status read =
        copy ? tr__file_read(path, SOURCE_MAX, &bytes, l->error) : tr__fail_out_of_memory(l->error);
    tr_status status = read ? read : tr__stage_read(stage, bytes, path, l->options.kernel, copy, NULL);
    if (!status) {
        tr__record_release(l->record);
        l->record = tr__record_retain(copy);
    }
    tr__blob_release(bytes);
    tr__record_release(copy);
    if (read) return read;
    return status == TR_E_OUT_OF_MEMORY ? tr__fail_out_of_memory(l->error) : TR_OK;
}

/* A folder of Triton's cache has the stages side by side. The earlier ones tell of the arguments what the later ones
   have lost: pointers' elements, what was promised, and which parameters are not the caller's at all. */
static tr_status read_neighbours(load *l) {
    tr_status status = TR_OK;
    for (tr_stage stage = TR_STAGE_TTIR; stage <= TR_STAGE_TTGIR && !status && !l->record->params_known;
         stage++) {
        char *path;
        status = beside(l, stage == TR_STAGE_TTIR ? ".ttir" : ".ttgir", &path);
        if (path) status = read_neighbour(l, stage, path);
        free(path);
    }
    return status;
}

static tr_status read_sidecar(load *l) {
    char *path = NULL;
    tr__blob *json = NULL;
    tr_status status = l->stage == TR_STAGE_PYTHON ? TR_OK : beside(l, ".json", &path);
    if (!path) return status;
    status = tr__file_read(path, SOURCE_MAX, &json, l->error);
    if (!status) status = tr__record_read(l->record, json->data, json->size, path, l->error);
    if (!status && l->stage >= TR_STAGE_LLIR && !l->record->params_known) status = read_neighbours(l);
    tr__blob_release(json);
    free(path);
    return status;
}

static tr_status read_metadata(load *l) {
    char where[4200];
    l->record = tr__record_create();
    if (!l->record) return tr__fail_out_of_memory(l->error);
    if (l->options.metadata)
        return tr__record_read(l->record, l->options.metadata, strlen(l->options.metadata),
                               "tr_load_options.metadata", l->error);
    if (!l->embedded) return read_sidecar(l);
    snprintf(where, sizeof where, "%.4000s: embedded record", l->name);
    return tr__record_read(l->record, l->embedded, strlen(l->embedded), where, l->error);
}

/* Of Python it is part of the source; of later stages it says what the arguments are where nothing else does. */
static tr_status read_signature(load *l) {
    tr__signature signature;
    if (!l->options.signature) return TR_OK;
    tr_status status = tr__signature_parse(l->options.signature, &signature, l->error);
    if (status) return status;
    if (l->stage == TR_STAGE_PYTHON) {
        l->signature = signature.text;
        signature.text = NULL;
    }
    tr__param *params = signature.params;
    size_t count = signature.param_count;
    signature.params = NULL;
    signature.param_count = 0;
    tr__signature_release(&signature);
    return tr__record_set_params(l->record, params, count, l->error);
}

static tr_status read_all(load *l) {
    tr_status status = read_bytes(l);
    if (!status) status = decide_stage(l);
    if (!status) status = split(l);
    if (!status) status = check_stage(l);
    if (!status) status = read_metadata(l);
    if (!status) status = read_signature(l);
    if (!status) status = tr__stage_read(l->stage, l->bytes, l->name, l->options.kernel, l->record, l->error);
    return status;
}

tr_status tr_load_stage(tr_runner *runner, tr_stage stage, const char *path, const tr_load_options *options,
                        tr_program **out, tr_error **error) {
    tr_error *ours =
        NULL; /* what goes wrong on the way is looked at here, also when the caller does not ask */
    load l = {
        .runner = runner, .stage = stage, .path = path, .name = path ? path : "<memory>", .error = &ours};
    tr__error_clear(error);
    if (out) *out = NULL;
    if (!runner || !out)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_load_stage: runner or out is NULL");
    tr_status status = tr__options_read(&l.options, sizeof l.options, options, "tr_load_options", error);
    if (status) return status;
    if (!path && !l.options.data)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_load_stage: neither a path nor data");
    if (stage < TR_STAGE_AUTO || stage > TR_STAGE_CUBIN)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_load_stage: %d is no stage", (int)stage);
    status = read_all(&l);
    if (!status) {
        tr__program_parts parts = {
            .stage = l.stage, .bytes = l.bytes, .record = l.record, .path = path, .signature = l.signature};
        status = tr__program_create(runner, &parts, out, &ours);
    }
    tr__error_set_stage(&ours, l.stage);
    if (error)
        *error = ours;
    else
        tr_error_destroy(ours);
    tr__blob_release(l.bytes);
    tr__record_release(l.record);
    free(l.embedded);
    free(l.signature);
    return status;
}
