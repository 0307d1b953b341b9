/* Triton's JSON into a record. Nobody vouches for it: every key that is read has a type and a range. */
#include "base/json.h"
#include "metadata/record.h"
#include "metadata/signature.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_MAX = 16 << 20, TEXT_MAX = 4096, PARAMS_MAX = 4096, FORMAT = 1 };

static const char *kind_of(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_NULL: return "null";
    default: return "a boolean";
    }
}

/* What stood there, short enough for a message. */
static void describe(const json_t *value, char out[80]) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    snprintf(out, 80, "%s %.48s%s", kind_of(value), text ? text : "", text && strlen(text) > 48 ? "…" : "");
    free(text);
}

static tr_status wrong(const char *where, const char *key, const char *expected, const json_t *found,
                       tr_error **error) {
    char what[80];
    describe(found, what);
    return tr__fail(error, TR_E_PARSE, "%s: key '%s': expected %s, found %s", where, key, expected, what);
}

/* Triton's keys that the library reads. */
typedef enum kind { U32, U64, POWER, FLAG } kind;
static const struct field {
    const char *key;
    size_t offset;
    kind kind;
    json_int_t low, high;
} fields[] = {
    {"num_warps", offsetof(tr__record, num_warps), U32, 1, 32},
    {"num_ctas", offsetof(tr__record, num_ctas), U32, 1, 16},
    {"shared", offsetof(tr__record, shared), U32, 0, INT32_MAX},
    {"tmem_size", offsetof(tr__record, tensor_memory), U32, 0, 512},
    {"maxnreg", offsetof(tr__record, maxnreg), U32, 0, 1 << 16},
    {"launch_cooperative_grid", offsetof(tr__record, cooperative), FLAG, 0, 1},
    {"launch_pdl", offsetof(tr__record, programmatic), FLAG, 0, 1},
    {"global_scratch_size", offsetof(tr__record, global_scratch.size), U64, 0, (json_int_t)1 << 40},
    {"global_scratch_align", offsetof(tr__record, global_scratch.alignment), POWER, 1, 1 << 20},
    {"profile_scratch_size", offsetof(tr__record, profile_scratch.size), U64, 0, (json_int_t)1 << 40},
    {"profile_scratch_align", offsetof(tr__record, profile_scratch.alignment), POWER, 1, 1 << 20},
};

static tr_status read_field(tr__record *record, const struct field *field, const json_t *value,
                            const char *where, tr_error **error) {
    char expected[96];
    void *target = (char *)record + field->offset;
    if (json_is_null(value)) return TR_OK; /* Python's None: the default stands */
    if (field->kind == FLAG) {
        if (!json_is_boolean(value)) return wrong(where, field->key, "true or false", value, error);
        *(bool *)target = json_is_true(value);
        return TR_OK;
    }
    json_int_t number = json_integer_value(value);
    bool power = field->kind == POWER;
    if (!json_is_integer(value) || number < field->low || number > field->high ||
        (power && (number & (number - 1)))) {
        snprintf(expected, sizeof expected, "%s from %lld to %lld", power ? "a power of two" : "an integer",
                 (long long)field->low, (long long)field->high);
        return wrong(where, field->key, expected, value, error);
    }
    if (field->kind == U64)
        *(uint64_t *)target = (uint64_t)number;
    else
        *(uint32_t *)target = (uint32_t)number;
    return TR_OK;
}

static tr_status read_text(const json_t *value, char **field, const char *where, const char *key,
                           tr_error **error) {
    if (!value || json_is_null(value)) return TR_OK;
    if (!json_is_string(value) || json_string_length(value) > TEXT_MAX || !json_string_length(value))
        return wrong(where, key, "a string of 1 to 4096 bytes", value, error);
    return tr__record_set_text(field, json_string_value(value)) ? TR_OK : tr__fail_out_of_memory(error);
}

/* {"backend": "cuda", "arch": 90, "warp_size": 32} */
static tr_status read_target(tr__record *record, const json_t *target, const char *where, tr_error **error) {
    char arch[32];
    if (!target || json_is_null(target)) return TR_OK;
    if (!json_is_object(target)) return wrong(where, "target", "an object", target, error);
    const json_t *backend = json_object_get(target, "backend"), *number = json_object_get(target, "arch");
    if (backend && !json_is_string(backend))
        return wrong(where, "target.backend", "a string", backend, error);
    if (backend && strcmp(json_string_value(backend), "cuda"))
        return tr__fail(error, TR_E_UNSUPPORTED,
                        "%s: key 'target.backend': '%.60s' is not supported, only 'cuda' is", where,
                        json_string_value(backend));
    if (!number) return TR_OK;
    if (!json_is_integer(number) || json_integer_value(number) < 20 || json_integer_value(number) > 999)
        return wrong(where, "target.arch", "an integer like 90", number, error);
    snprintf(arch, sizeof arch, "sm_%d", (int)json_integer_value(number));
    return tr__record_set_text(&record->arch, arch) ? TR_OK : tr__fail_out_of_memory(error);
}

static tr_status read_cluster(tr__record *record, const json_t *list, const char *where, tr_error **error) {
    if (!list || json_is_null(list)) return TR_OK;
    if (json_array_size(list) != 3)
        return wrong(where, "cluster_dims", "a list of three integers", list, error);
    for (size_t i = 0; i < 3; i++) {
        const json_t *extent = json_array_get(list, i);
        if (!json_is_integer(extent) || json_integer_value(extent) < 1 || json_integer_value(extent) > 16)
            return wrong(where, "cluster_dims", "three integers from 1 to 16", list, error);
        record->cluster[i] = (uint32_t)json_integer_value(extent);
    }
    return TR_OK;
}

/* The tail as the metadata tell it, until the stage's own text is counted: a Triton that passes a scratch
   pointer writes its size. */
static tr_status hidden_from_sizes(tr__record *record) {
    static const char *const keys[] = {"global_scratch_size", "profile_scratch_size"};
    if (record->hidden_known || !record->resources_known) return TR_OK;
    record->hidden_count = 0;
    for (uint32_t i = 0; i < 2 && json_object_get(record->triton, keys[i]); i++)
        record->hidden[record->hidden_count++] = (tr__hidden)(TR__HIDDEN_GLOBAL_SCRATCH + i);
    return TR_OK;
}

static tr_status read_triton(tr__record *record, const json_t *object, const char *where, tr_error **error) {
    tr_status status = TR_OK;
    for (size_t i = 0; i < sizeof fields / sizeof *fields && !status; i++) {
        const json_t *value = json_object_get(object, fields[i].key);
        if (value) status = read_field(record, &fields[i], value, where, error);
    }
    if (!status) status = read_target(record, json_object_get(object, "target"), where, error);
    if (!status) status = read_cluster(record, json_object_get(object, "cluster_dims"), where, error);
    if (!status) status = read_text(json_object_get(object, "name"), &record->kernel, where, "name", error);
    if (!status)
        status = read_text(json_object_get(object, "triton_version"), &record->triton_version, where,
                           "triton_version", error);
    const json_t *descriptors = json_object_get(object, "tensordesc_meta");
    if (!status && descriptors && !json_is_null(descriptors) && !json_is_array(descriptors))
        status = wrong(where, "tensordesc_meta", "a list", descriptors, error);
    if (!status && json_is_integer(json_object_get(object, "shared"))) record->resources_known = true;
    return status;
}

static tr_status read_param(tr__param *param, const json_t *entry, size_t index, const char *where,
                            tr_error **error) {
    char key[64];
    const char *end;
    snprintf(key, sizeof key, "parameters[%zu]", index);
    if (!json_is_object(entry)) return wrong(where, key, "an object", entry, error);
    const json_t *type = json_object_get(entry, "type"), *multiple = json_object_get(entry, "divisibility");
    const json_t *constant = json_object_get(entry, "constant"), *flags = json_object_get(entry, "flags");
    if (!json_is_string(type) || !tr__type_parse(json_string_value(type), &end, param) || *end)
        return wrong(where, key, "a type in \"type\"", type ? type : entry, error);
    json_int_t value = multiple ? json_integer_value(multiple) : 1;
    if (value < 1 || value > 1 << 20 || (value & (value - 1)))
        return wrong(where, key, "a power of two up to 2^20 in \"divisibility\"", entry, error);
    param->divisibility = (uint32_t)value;
    if (constant && (!json_is_integer(constant) || param->type < TR_TYPE_I1 || param->type > TR_TYPE_U64))
        return wrong(where, key, "an integer in \"constant\", for an integer type", entry, error);
    param->folded = constant != NULL;
    param->constant = json_integer_value(constant);
    if (flags && (!json_is_integer(flags) || json_integer_value(flags) < 0 || json_integer_value(flags) > 2))
        return wrong(where, key, "0, 1 or 2 in \"flags\"", entry, error);
    param->descriptor.flags = (uint32_t)json_integer_value(flags);
    return read_text(json_object_get(entry, "name"), &param->name, where, key, error);
}

static tr_status read_params(tr__record *record, const json_t *list, const char *where, tr_error **error) {
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > PARAMS_MAX)
        return wrong(where, "parameters", "a list of at most 4096", list, error);
    tr__param *params = calloc(count + 1, sizeof *params);
    if (!params) return tr__fail_out_of_memory(error);
    for (size_t i = 0; i < count; i++) {
        tr_status status = read_param(&params[i], json_array_get(list, i), i, where, error);
        if (!status) continue;
        tr__params_release(params, count);
        return status;
    }
    tr__params_release(record->params, record->param_count);
    record->params = params;
    record->param_count = count;
    record->params_known = true;
    return TR_OK;
}

static tr_status read_hidden(tr__record *record, const json_t *list, const char *where, tr_error **error) {
    static const char *const names[] = {"", "global_scratch", "profile_scratch"};
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > TR__HIDDEN_MAX)
        return wrong(where, "hidden", "a list of at most 4 names", list, error);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        uint32_t which = 1;
        while (name && which < 3 && strcmp(name, names[which])) which++;
        if (!name || which == 3)
            return wrong(where, "hidden", "\"global_scratch\" or \"profile_scratch\"", list, error);
        record->hidden[i] = (tr__hidden)which;
    }
    record->hidden_count = (uint32_t)count;
    record->hidden_known = true;
    return TR_OK;
}

static tr_status read_counts(tr__record *record, const json_t *extra, const char *where, tr_error **error) {
    const struct {
        const char *key;
        int64_t *target;
    } counts[] = {{"registers", &record->registers},
                  {"spills", &record->spills},
                  {"constant_bytes", &record->constant_bytes},
                  {"local_bytes", &record->local_bytes}};
    for (size_t i = 0; i < 4; i++) {
        const json_t *value = json_object_get(extra, counts[i].key);
        if (!value || json_is_null(value)) continue;
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) > UINT32_MAX)
            return wrong(where, counts[i].key, "an integer from 0 to 2^32-1", value, error);
        *counts[i].target = json_integer_value(value);
    }
    return TR_OK;
}

/* `from` is nobody else's: values are never shared between records. */
static tr_status merge(json_t *into, json_t *from, const char *where, const char *key, tr_error **error) {
    if (!from || json_is_null(from)) return TR_OK;
    if (!json_is_object(from)) return wrong(where, key, "an object", from, error);
    return json_object_update(into, from) ? tr__fail_out_of_memory(error) : TR_OK;
}

/* "sm_20" to "sm_999": the numbers that "target.arch" may have, spelled as atoi reads them back. */
static bool is_arch(const char *text) {
    return !strncmp(text, "sm_", 3) && strlen(text) >= 5 && strlen(text) <= 6 &&
           strspn(text + 3, "0123456789") == strlen(text) - 3 && text[3] != '0' && atoi(text + 3) >= 20;
}

static bool is_list_of_strings(const json_t *list) {
    if (!json_is_array(list)) return false;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i))) return false;
    return true;
}

static tr_status read_locations(tr__record *record, const json_t *loops, const char *where,
                                tr_error **error) {
    bool right = json_is_array(loops);
    for (size_t i = 0; right && i < json_array_size(loops); i++)
        right = is_list_of_strings(json_array_get(loops, i));
    if (!right) return wrong(where, "locations", "a list of lists of texts", loops, error);
    json_decref(record->locations);
    record->locations = json_deep_copy(loops);
    return record->locations ? TR_OK : tr__fail_out_of_memory(error);
}

static tr_status read_extra(tr__record *record, const json_t *extra, const char *where, tr_error **error) {
    if (!json_is_object(extra)) return wrong(where, "triton_runner", "an object", extra, error);
    const json_t *params = json_object_get(extra, "parameters"), *hidden = json_object_get(extra, "hidden");
    const json_t *format = json_object_get(extra, "record"), *arch = json_object_get(extra, "arch");
    if (format && json_integer_value(format) != FORMAT)
        return tr__fail(error, TR_E_UNSUPPORTED, "%s: the record is of a format this version does not read",
                        where);
    tr_status status = params ? read_params(record, params, where, error) : TR_OK;
    if (!status && hidden) status = read_hidden(record, hidden, where, error);
    if (!status) status = read_counts(record, extra, where, error);
    const json_t *locations = json_object_get(extra, "locations");
    if (!status && locations) status = read_locations(record, locations, where, error);
    if (!status && arch && (!json_is_string(arch) || !is_arch(json_string_value(arch))))
        return wrong(where, "arch", "an architecture like \"sm_90\"", arch, error);
    if (!status) status = read_text(arch, &record->arch, where, "arch", error);
    if (!status)
        status = read_text(json_object_get(extra, "kernel"), &record->kernel, where, "kernel", error);
    if (!status) status = merge(record->made_by, json_object_get(extra, "made_by"), where, "made_by", error);
    if (!status) status = merge(record->options, json_object_get(extra, "options"), where, "options", error);
    return status;
}

tr_status tr__record_read_extra(tr__record *record, const json_t *extra, const char *where,
                                tr_error **error) {
    json_t *own = json_deep_copy(extra);
    tr_status status = own ? read_extra(record, own, where, error) : tr__fail_out_of_memory(error);
    json_decref(own);
    return status ? status : tr__record_join_descriptors(record, where, error);
}

static tr_status read_object(tr__record *record, json_t *object, const char *where, tr_error **error) {
    if (!json_is_object(object))
        return tr__fail(error, TR_E_PARSE, "%s: expected an object of metadata, found %s", where,
                        kind_of(object));
    tr_status status = read_triton(record, object, where, error);
    if (!status) status = merge(record->triton, object, where, "", error);
    if (!status) json_object_del(record->triton, "triton_runner");
    const json_t *extra = json_object_get(object, "triton_runner");
    if (!status && extra) status = read_extra(record, extra, where, error);
    if (!status) status = tr__record_join_descriptors(record, where, error);
    return status ? status : hidden_from_sizes(record);
}

tr_status tr__record_read_object(tr__record *record, const json_t *object, const char *where,
                                 tr_error **error) {
    json_t *own = json_deep_copy(object);
    tr_status status = own ? read_object(record, own, where, error) : tr__fail_out_of_memory(error);
    json_decref(own);
    return status;
}

tr_status tr__record_read(tr__record *record, const char *json, size_t size, const char *where,
                          tr_error **error) {
    if (size > JSON_MAX)
        return tr__fail(error, TR_E_UNSUPPORTED, "%s: %zu bytes of metadata; at most %d are read", where,
                        size, JSON_MAX);
    json_t *object;
    tr_status status = tr__json_read(json, size, where, TR_E_PARSE, &object, error);
    if (status) return status;
    status = read_object(record, object, where, error);
    json_decref(object);
    return status;
}
