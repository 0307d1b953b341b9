#include "metadata/record.h"

#include "metadata/signature.h"

#include <stdlib.h>
#include <string.h>

tr__record *tr__record_create(void) {
    tr__record *record = calloc(1, sizeof *record);
    if (!record) return NULL;
    record->references = 1;
    record->num_warps = 4;
    record->num_ctas = 1;
    for (int i = 0; i < 3; i++) record->cluster[i] = 1;
    record->global_scratch.alignment = record->profile_scratch.alignment = 1;
    record->registers = record->spills = record->constant_bytes = record->local_bytes = -1;
    record->triton = json_object();
    record->made_by = json_object();
    record->options = json_object();
    if (record->triton && record->made_by && record->options) return record;
    tr__record_release(record);
    return NULL;
}

tr__record *tr__record_retain(const tr__record *record) {
    tr__record *shared =
        (tr__record *)record; /* the count is the one thing that changes in a shared record */
    if (shared) __atomic_fetch_add(&shared->references, 1, __ATOMIC_RELAXED);
    return shared;
}

void tr__params_release(tr__param *params, size_t count) {
    for (size_t i = 0; i < count; i++) free(params[i].name);
    free(params);
}

void tr__record_release(tr__record *record) {
    if (!record || __atomic_fetch_sub(&record->references, 1, __ATOMIC_ACQ_REL) != 1) return;
    tr__params_release(record->params, record->param_count);
    free(record->kernel);
    free(record->arch);
    free(record->triton_version);
    json_decref(record->triton);
    json_decref(record->made_by);
    json_decref(record->options);
    json_decref(record->locations);
    free(record);
}

bool tr__record_set_text(char **field, const char *text) {
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy) return false;
    free(*field);
    *field = copy;
    return true;
}

static bool copy_params(tr__record *copy, const tr__record *record) {
    copy->params = calloc(record->param_count + 1, sizeof *copy->params);
    if (!copy->params) return false;
    for (size_t i = 0; i < record->param_count; i++) {
        copy->params[i] = record->params[i];
        copy->params[i].name = NULL;
        copy->param_count = i + 1;
        if (!tr__record_set_text(&copy->params[i].name, record->params[i].name)) return false;
    }
    return true;
}

tr__record *tr__record_copy(const tr__record *record) {
    tr__record *copy = malloc(sizeof *copy);
    if (!copy) return NULL;
    *copy = *record;
    copy->references = 1;
    copy->params = NULL;
    copy->param_count = 0;
    copy->kernel = copy->arch = copy->triton_version = NULL;
    copy->triton =
        json_deep_copy(record->triton); /* deep: jansson's counts and iterators aren't for two threads */
    copy->made_by = json_deep_copy(record->made_by);
    copy->options = json_deep_copy(record->options);
    copy->locations = record->locations ? json_deep_copy(record->locations) : NULL;
    if (copy->triton && copy->made_by && copy->options && !copy->locations == !record->locations &&
        copy_params(copy, record) && tr__record_set_text(&copy->kernel, record->kernel) &&
        tr__record_set_text(&copy->arch, record->arch) &&
        tr__record_set_text(&copy->triton_version, record->triton_version))
        return copy;
    tr__record_release(copy);
    return NULL;
}

static const char *descriptor_key(const json_t *entry, const char *key, int32_t *out) {
    const json_t *value = json_object_get(entry, key);
    if (!value) return NULL;
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > 1024)
        return key;
    *out = (int32_t)json_integer_value(value);
    return NULL;
}

static const char *descriptor_flag(const json_t *entry, const char *key, bool *out) {
    const json_t *value = json_object_get(entry, key);
    if (value && !json_is_boolean(value)) return key;
    if (value) *out = json_is_true(value);
    return NULL;
}

static const char *descriptor_block(const json_t *entry, tr__descriptor *out) {
    const json_t *block = json_object_get(entry, "block_size");
    size_t rank = json_array_size(block);
    if (!rank || rank > 5 || (out->rank && rank != out->rank)) return "block_size";
    out->rank = (uint32_t)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *extent = json_array_get(block, i);
        json_int_t value = json_integer_value(extent);
        if (!json_is_integer(extent) || value < 1 || value > INT32_MAX) return "block_size";
        out->block[i] = value;
    }
    return NULL;
}

/* The key that is wrong, or NULL. */
static const char *read_descriptor(const json_t *entry, tr__descriptor *out) {
    const char *wrong = descriptor_block(entry, out);
    if (!wrong) wrong = descriptor_key(entry, "swizzle", &out->swizzle);
    if (!wrong) wrong = descriptor_key(entry, "elem_size", &out->element_size);
    if (!wrong) wrong = descriptor_key(entry, "elem_type", &out->element_type);
    if (!wrong) wrong = descriptor_flag(entry, "fp4_padded", &out->fp4_padded);
    if (!wrong) wrong = descriptor_flag(entry, "is_im2col", &out->im2col);
    if (!wrong && out->element_size == 0) wrong = "elem_size";
    out->encoded = true;
    return wrong;
}

tr_status tr__record_join_descriptors(tr__record *record, const char *where, tr_error **error) {
    const json_t *list = json_object_get(record->triton, "tensordesc_meta");
    size_t found = 0, told = json_array_size(list);
    if (!told || !record->params_known)
        return TR_OK; /* an empty list: passed as pointer, shape and strides */
    for (size_t i = 0; i < record->param_count; i++) {
        tr__param *param = &record->params[i];
        if (param->type != TR_TYPE_TENSOR_MAP) continue;
        if (found < told) {
            const char *wrong = read_descriptor(json_array_get(list, found), &param->descriptor);
            if (wrong)
                return tr__fail(error, TR_E_PARSE,
                                "%s: key 'tensordesc_meta[%zu].%s' is missing or has a bad value", where,
                                found, wrong);
        }
        found++;
    }
    if (found != told)
        return tr__fail(
            error, TR_E_PARSE,
            "%s: key 'tensordesc_meta' describes %zu tensor descriptors, but the kernel's parameters "
            "have %zu",
            where, told, found);
    return TR_OK;
}

tr_status tr__record_set_params(tr__record *record, tr__param *params, size_t count, tr_error **error) {
    tr__params_release(record->params, record->param_count);
    record->params = params;
    record->param_count = count;
    record->params_known = true;
    return tr__record_join_descriptors(record, "metadata", error);
}
