/* A record into JSON: Triton's keys, as Triton's own tools read them, and "triton_runner" for the rest. */
#include "base/json.h"
#include "metadata/record.h"
#include "metadata/signature.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each takes `value` over and does nothing once something failed; out of memory shows as false at the end. */
static bool put(json_t *object, const char *key, json_t *value) {
    return value && object ? !json_object_set_new(object, key, value) : (json_decref(value), false);
}

static bool put_missing(json_t *object, const char *key, json_t *value) {
    if (!json_object_get(object, key)) return put(object, key, value);
    json_decref(value);
    return true;
}

static json_t *write_param(const tr__param *param) {
    tr__buffer type = {0};
    tr__type_write(param, &type);
    char *spelled = tr__buffer_take(&type);
    json_t *entry = json_object();
    bool ok = spelled && put(entry, "type", json_string(spelled));
    if (param->name) ok = ok && put(entry, "name", json_string(param->name));
    if (param->divisibility > 1) ok = ok && put(entry, "divisibility", json_integer(param->divisibility));
    if (param->folded) ok = ok && put(entry, "constant", json_integer(param->constant));
    if (param->descriptor.flags) ok = ok && put(entry, "flags", json_integer(param->descriptor.flags));
    free(spelled);
    if (ok) return entry;
    json_decref(entry);
    return NULL;
}

static json_t *write_params(const tr__record *record) {
    json_t *list = json_array();
    for (size_t i = 0; i < record->param_count; i++) {
        if (!json_array_append_new(list, write_param(&record->params[i]))) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *write_hidden(const tr__record *record) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < record->hidden_count; i++) {
        bool global = record->hidden[i] == TR__HIDDEN_GLOBAL_SCRATCH;
        if (!json_array_append_new(list, json_string(global ? "global_scratch" : "profile_scratch")))
            continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static bool write_extra(const tr__record *record, json_t *extra) {
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {{"registers", record->registers},
                  {"spills", record->spills},
                  {"constant_bytes", record->constant_bytes},
                  {"local_bytes", record->local_bytes}};
    bool ok = put(extra, "record", json_integer(1));
    if (record->arch) ok = ok && put(extra, "arch", json_string(record->arch));
    if (record->params_known) ok = ok && put(extra, "parameters", write_params(record));
    if (record->hidden_known) ok = ok && put(extra, "hidden", write_hidden(record));
    if (json_object_size(record->made_by)) ok = ok && put(extra, "made_by", json_deep_copy(record->made_by));
    if (json_object_size(record->options)) ok = ok && put(extra, "options", json_deep_copy(record->options));
    if (record->locations) ok = ok && put(extra, "locations", json_deep_copy(record->locations));
    for (size_t i = 0; i < 4; i++)
        if (counts[i].value >= 0) ok = ok && put(extra, counts[i].key, json_integer(counts[i].value));
    return ok;
}

/* What Triton's launcher and tools read, where Triton itself has not written it. */
static bool write_triton(const tr__record *record, json_t *out) {
    bool ok = put(out, "num_warps", json_integer(record->num_warps)) &&
              put(out, "num_ctas", json_integer(record->num_ctas));
    if (record->kernel) ok = ok && put(out, "name", json_string(record->kernel));
    if (record->resources_known) ok = ok && put(out, "shared", json_integer(record->shared));
    if (record->triton_version) ok = ok && put(out, "triton_version", json_string(record->triton_version));
    if (record->maxnreg) ok = ok && put_missing(out, "maxnreg", json_integer(record->maxnreg));
    if (record->arch && !json_object_get(out, "target"))
        ok = ok && put(out, "target",
                       json_pack("{s:s, s:i, s:i}", "backend", "cuda", "arch", atoi(record->arch + 3),
                                 "warp_size", 32));
    const uint32_t *cluster = record->cluster;
    if (cluster[0] * cluster[1] * cluster[2] > 1)
        ok = ok && put_missing(out, "cluster_dims", json_pack("[iii]", cluster[0], cluster[1], cluster[2]));
    return ok;
}

tr_status tr__record_write(const tr__record *record, char **json, tr_error **error) {
    json_t *out = json_deep_copy(record->triton), *extra = json_object();
    bool ok = out && extra && write_triton(record, out) && write_extra(record, extra);
    if (ok) ok = put(out, "triton_runner", json_incref(extra));
    *json = ok ? tr__json_write(out) : NULL;
    json_decref(extra);
    json_decref(out);
    return *json ? TR_OK : tr__fail_out_of_memory(error);
}
