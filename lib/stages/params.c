/* The kernel's own parameter list, as a text has it, and the arguments that the caller passes. */
#include "stages/stage.h"

#include <stdlib.h>
#include <string.h>

enum { HIDDEN_MOST = 2 }; /* global scratch, profile scratch: no Triton passes more */

static bool is_integer(tr_type type) {
    return type >= TR_TYPE_I1 && type <= TR_TYPE_U64;
}

static bool fits(tr_type type, const tr__operand *operand) {
    if (tr__type_size(type) != operand->size) return false;
    return operand->type == 0 || operand->type == type || (is_integer(type) && is_integer(operand->type));
}

static bool is_pointer(const tr__operand *operand) {
    return fits(TR_TYPE_PTR, operand);
}

/* How a descriptor is passed: -1 encoded, else the count of its flags. */
static uint32_t expand_as(const tr__param *param, int form, tr_type types[TR__EXPANSION_MAX]) {
    tr__param as = *param;
    as.descriptor.encoded = form < 0;
    as.descriptor.flags = form < 0 ? 0 : (uint32_t)form;
    return tr__param_expand(&as, types);
}

/* How many operands the record's parameters take, or -1; *bad is the operand that does not fit. */
static int64_t lay_out(const tr__record *record, const tr__operands *operands, int form, size_t *bad) {
    tr_type types[TR__EXPANSION_MAX];
    size_t at = 0;
    for (size_t i = 0; i < record->param_count; i++) {
        uint32_t count = expand_as(&record->params[i], form, types);
        for (uint32_t k = 0; k < count; k++, at++)
            if (*bad = at, at >= operands->count || !fits(types[k], &operands->items[at])) return -1;
    }
    return *bad = at, (int64_t)at;
}

static bool tail_fits(const tr__operands *operands, size_t from, bool tail) {
    size_t hidden = operands->count - from;
    if (hidden > (tail ? HIDDEN_MOST : 0)) return false;
    for (size_t i = from; i < operands->count; i++)
        if (!is_pointer(&operands->items[i])) return false;
    return true;
}

static void take_tail(tr__record *record, size_t count) {
    record->hidden_count = (uint32_t)count;
    for (uint32_t i = 0; i < count; i++) record->hidden[i] = (tr__hidden)(TR__HIDDEN_GLOBAL_SCRATCH + i);
    record->hidden_known = true;
}

static tr_status place_of(const tr__reading *reading, const tr__operand *operand, tr_error **error) {
    if (!operand || !operand->at) return TR_E_PARSE;
    unsigned line = 1;
    const char *start = reading->data;
    for (const char *c = start; (c = memchr(c, '\n', (size_t)(operand->at - c))); start = ++c) line++;
    tr__error_prefix(error, "%s:%u:%u", reading->name, line, (unsigned)(operand->at - start) + 1);
    return TR_E_PARSE;
}

static tr_status fail_fit(const tr__reading *reading, const tr__operands *operands, size_t bad,
                          tr_error **error) {
    const tr__record *record = reading->record;
    const tr__operand *operand = bad < operands->count ? &operands->items[bad] : NULL;
    tr__fail(
        error, TR_E_PARSE,
        "%skernel '%s' has %zu parameters; the %zu arguments that its metadata tell of don't fit them (at "
        "parameter %zu): correct the metadata, or leave them out",
        operand && operand->at ? "" : "the ", record->kernel, operands->count, record->param_count, bad);
    return place_of(reading, operand, error);
}

/* What the text knows better: it is what gets compiled. */
static void take_promises(tr__param *param, const tr__operand *operand) {
    param->divisibility = operand->divisibility;
    if (param->type == TR_TYPE_PTR && operand->element) param->element = operand->element;
}

static tr_status join(tr__reading *reading, const tr__operands *operands, bool tail, bool promises,
                      tr_error **error) {
    tr__record *record = reading->record;
    size_t bad = 0, first_bad = 0;
    for (int form = -1; form <= 2; form++) {
        int64_t end = lay_out(record, operands, form, &bad);
        if (bad > first_bad) first_bad = bad;
        if (end < 0 || !tail_fits(operands, (size_t)end, tail)) continue;
        size_t at = 0;
        for (size_t i = 0; i < record->param_count; i++) {
            tr__param *param = &record->params[i];
            tr_type types[TR__EXPANSION_MAX];
            if (param->type == TR_TYPE_TENSOR_MAP) {
                param->descriptor.encoded = form < 0;
                param->descriptor.flags = form < 0 ? 0 : (uint32_t)form;
            } else if (promises && !param->folded) {
                take_promises(param, &operands->items[at]);
            }
            at += tr__param_expand(param, types);
        }
        if (tail) take_tail(record, operands->count - (size_t)end);
        return TR_OK;
    }
    return fail_fit(reading, operands, first_bad, error);
}

/* The rank that the metadata tell for the descriptor met as the `index`th, where the text does not. */
static uint32_t rank_of(const tr__record *record, const tr__operand *operand, size_t index) {
    const json_t *entry = json_array_get(json_object_get(record->triton, "tensordesc_meta"), index);
    size_t rank = json_array_size(json_object_get(entry, "block_size"));
    return operand->rank ? operand->rank : rank <= 5 ? (uint32_t)rank : 0;
}

/* Whether a descriptor's shape and strides stand behind it. */
static bool takes_along(const tr__operands *operands, size_t at, size_t end, uint32_t rank) {
    if (end - at <= 2 * (size_t)rank) return false;
    for (uint32_t i = 1; i <= 2 * rank; i++)
        if (!fits(i <= rank ? TR_TYPE_I32 : TR_TYPE_I64, &operands->items[at + i])) return false;
    return true;
}

static bool make_param(tr__param *param, const tr__operand *operand) {
    static const tr_type by_size[] = {0, TR_TYPE_I8, TR_TYPE_I16, 0, TR_TYPE_I32, 0, 0, 0, TR_TYPE_I64};
    tr_type type = operand->type ? operand->type : operand->size <= 8 ? by_size[operand->size] : 0;
    *param = (tr__param){.type = type, .element = operand->element, .divisibility = operand->divisibility};
    if (!operand->name || !tr__name_recordable(operand->name, operand->name_length)) return true;
    param->name = strndup(operand->name, operand->name_length);
    return param->name != NULL;
}

static tr_status make_params(tr__reading *reading, const tr__operands *operands, size_t end,
                             tr__param *params, size_t *count, tr_error **error) {
    size_t descriptors = 0;
    for (size_t i = 0; i < end; i++, ++*count) {
        const tr__operand *operand = &operands->items[i];
        tr__param *param = &params[*count];
        if (!make_param(param, operand)) return tr__fail_out_of_memory(error);
        if (!param->type)
            return tr__fail(error, TR_E_UNSUPPORTED,
                            "%s: parameter %zu of kernel '%s' has %u bytes: nothing that Triton passes",
                            reading->name, i, reading->record->kernel, operand->size);
        if (param->type != TR_TYPE_TENSOR_MAP) continue;
        uint32_t rank = rank_of(reading->record, operand, descriptors++);
        param->descriptor.encoded = true;
        if (!takes_along(operands, i, end, rank)) continue;
        param->descriptor.rank = rank;
        memcpy(param->descriptor.block, operand->block, sizeof operand->block);
        i += 2 * rank;
    }
    return TR_OK;
}

static tr_status adopt(tr__reading *reading, const tr__operands *operands, bool tail, tr_error **error) {
    tr__record *record = reading->record;
    size_t hidden = tail ? record->hidden_count : 0, count = 0;
    if (hidden > operands->count || !tail_fits(operands, operands->count - hidden, tail))
        return tr__fail(
            error, TR_E_PARSE,
            "%s: by its metadata kernel '%s' ends in %zu hidden pointers, but its %zu parameters don't",
            reading->name, record->kernel, hidden, operands->count);
    tr__param *params = calloc(operands->count + 1, sizeof *params);
    if (!params) return tr__fail_out_of_memory(error);
    tr_status status = make_params(reading, operands, operands->count - hidden, params, &count, error);
    if (!status && tail && !record->hidden_known) take_tail(record, hidden); /* the rest is the caller's */
    if (!status) return tr__record_set_params(record, params, count, error);
    tr__params_release(params, operands->count);
    return status;
}

tr_status tr__reading_params(tr__reading *reading, const tr__operands *operands, bool tail, bool promises,
                             tr_error **error) {
    return reading->record->params_known ? join(reading, operands, tail, promises, error)
                                         : adopt(reading, operands, tail, error);
}
