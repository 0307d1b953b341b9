/* What a text tells, laid beside what the record says. */
#include "base/buffer.h"
#include "base/json.h"
#include "stages/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grow(void *items, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity) return items;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void *more = realloc(items, wanted * size);
    if (more) *capacity = wanted;
    return more;
}

tr_status tr__operands_add(tr__operands *operands, const tr__operand *operand, tr_error **error) {
    tr__operand *items = grow(operands->items, operands->count, &operands->capacity, sizeof *items);
    if (!items) return tr__fail_out_of_memory(error);
    operands->items = items;
    items[operands->count++] = *operand;
    return TR_OK;
}

void tr__operands_release(tr__operands *operands) {
    free(operands->items);
    *operands = (tr__operands){0};
}

tr_status tr__names_add(tr__names *names, const char *text, size_t length, const char *at, tr_error **error) {
    struct tr__name *items = grow(names->items, names->count, &names->capacity, sizeof *items);
    if (!items) return tr__fail_out_of_memory(error);
    names->items = items;
    items[names->count++] = (struct tr__name){text, length, at};
    return TR_OK;
}

void tr__names_release(tr__names *names) {
    free(names->items);
    *names = (tr__names){0};
}

static bool find_name(const tr__names *names, const char *wanted, size_t *index) {
    size_t length = strlen(wanted);
    for (*index = 0; *index < names->count; ++*index)
        if (names->items[*index].length == length && !memcmp(names->items[*index].text, wanted, length))
            return true;
    return false;
}

/* Behind a message about a choice: the names to choose from. */
static tr_status log_names(const tr__names *names, tr_error **error) {
    tr__buffer list = {0};
    for (size_t i = 0; i < names->count && list.size < 1 << 20; i++)
        tr__buffer_printf(&list, "%s%.*s", i ? "\n" : "", (int)names->items[i].length, names->items[i].text);
    if (!list.failed) tr__error_set_log(error, list.data, list.size);
    tr__buffer_release(&list);
    return TR_E_INVALID_ARGUMENT;
}

tr_status tr__reading_choose(tr__reading *reading, const tr__names *names, const char *what, size_t *index,
                             tr_error **error) {
    const char *wanted = reading->kernel ? reading->kernel : reading->record->kernel;
    *index = 0;
    if (!names->count)
        return tr__fail(error, TR_E_PARSE, "%s:1:1: there is no kernel in it, that is, no %s", reading->name,
                        what);
    const char *first = names->items[0].text;
    int length = names->items[0].length < 120 ? (int)names->items[0].length : 120;
    if (!wanted && names->count > 1) {
        tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "%s: %zu kernels; say which (tr_load_options.kernel, --kernel): the log has their names, the "
            "first is '%.*s'",
            reading->name, names->count, length, first);
        return log_names(names, error);
    }
    if (wanted && !find_name(names, wanted, index)) {
        tr__fail(error, TR_E_INVALID_ARGUMENT, "%s: no kernel '%.120s' in it%s; %s '%.*s'", reading->name,
                 wanted, reading->kernel ? "" : ", as the metadata have it",
                 names->count == 1 ? "it has" : "the log has the names, the first is", length, first);
        return log_names(names, error);
    }
    if (!tr__name_recordable(names->items[*index].text, names->items[*index].length))
        return tr__fail(error, TR_E_PARSE, "%s: a kernel's name is not UTF-8 of 1 to 4096 bytes",
                        reading->name);
    char *chosen = strndup(names->items[*index].text, names->items[*index].length);
    if (!chosen) return tr__fail_out_of_memory(error);
    free(reading->record->kernel);
    reading->record->kernel = chosen;
    return TR_OK;
}

bool tr__name_recordable(const char *text, size_t length) {
    return length && length <= 4096 && tr__json_is_utf8(text, length);
}

uint32_t tr__arch_number(const char *text, size_t length) {
    uint32_t value = 0;
    size_t i = 3;
    if (length < 5 || length > 7 || memcmp(text, "sm_", 3)) return 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++)
        value = value * 10 + (uint32_t)(text[i] - '0');
    if (i + 1 < length || (i + 1 == length && text[i] != 'a' && text[i] != 'f')) return 0;
    return value >= 20 && value <= 999 ? value : 0;
}

tr_status tr__reading_arch(tr__reading *reading, uint32_t arch, tr_error **error) {
    char name[16];
    if (arch < 20 || arch > 999)
        return tr__fail(error, TR_E_PARSE, "%s: it is for architecture %u, which is none", reading->name,
                        arch);
    snprintf(name, sizeof name, "sm_%u", (unsigned)arch);
    if (reading->record->arch && strcmp(reading->record->arch, name))
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "%s: it is for %s, but its metadata say %s: they belong to "
                        "another compilation",
                        reading->name, name, reading->record->arch);
    return tr__record_set_text(&reading->record->arch, name) ? TR_OK : tr__fail_out_of_memory(error);
}

tr_status tr__reading_threads(tr__reading *reading, uint32_t threads, tr_error **error) {
    tr__record *record = reading->record;
    if (threads > 1024)
        return tr__fail(error, TR_E_RESOURCE,
                        "%s: kernel '%s' wants %u threads in a CTA; no GPU has more than 1024", reading->name,
                        record->kernel, threads);
    if (threads == 0 || threads % 32)
        return tr__fail(error, TR_E_UNSUPPORTED,
                        "%s: kernel '%s' wants %u threads in a CTA; only whole warps of 32 are "
                        "launched",
                        reading->name, record->kernel, threads);
    if (json_object_get(record->triton, "num_warps") && record->num_warps != threads / 32)
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "%s: kernel '%s' is built for %u warps, but its metadata say num_warps = %u: they belong to "
            "another compilation",
            reading->name, record->kernel, threads / 32, record->num_warps);
    record->num_warps = threads / 32;
    return TR_OK;
}

static const struct {
    const char *name;
    tr_type type;
} scalars[] = {{"i1", TR_TYPE_I1},          {"i8", TR_TYPE_I8},           {"i16", TR_TYPE_I16},
               {"i32", TR_TYPE_I32},        {"i64", TR_TYPE_I64},         {"f16", TR_TYPE_F16},
               {"half", TR_TYPE_F16},       {"bf16", TR_TYPE_BF16},       {"bfloat", TR_TYPE_BF16},
               {"f32", TR_TYPE_F32},        {"float", TR_TYPE_F32},       {"f64", TR_TYPE_F64},
               {"double", TR_TYPE_F64},     {"f8E4M3FN", TR_TYPE_F8E4M3}, {"f8E5M2", TR_TYPE_F8E5M2},
               {"f4E2M1FN", TR_TYPE_F4E2M1}};

tr_type tr__ir_scalar(const char *text, size_t length) {
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        if (strlen(scalars[i].name) == length && !memcmp(scalars[i].name, text, length))
            return scalars[i].type;
    return 0;
}

uint32_t tr__type_size(tr_type type) {
    switch (type) {
    case TR_TYPE_I1:
    case TR_TYPE_I8:
    case TR_TYPE_U8:
    case TR_TYPE_F8E4M3:
    case TR_TYPE_F8E5M2: return 1;
    case TR_TYPE_I16:
    case TR_TYPE_U16:
    case TR_TYPE_F16:
    case TR_TYPE_BF16: return 2;
    case TR_TYPE_I32:
    case TR_TYPE_U32:
    case TR_TYPE_F32: return 4;
    case TR_TYPE_TENSOR_MAP: return 128;
    default: return 8;
    }
}
