#include "metadata/signature.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS_MAX = 4096, NESTING_MAX = 16 };

typedef struct parser {
    const char *text, *at;
    tr__signature *out;
    size_t capacity;
    tr__buffer spelling;
    int nesting;
    tr_error **error;
} parser;

static tr_status fail(parser *p, const char *where, const char *what) {
    unsigned line = 1, column = 1;
    for (const char *c = p->text; c < where; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    return tr__fail(p->error, TR_E_PARSE, "signature:%u:%u: %s", line, column, what);
}

static void skip_blank(parser *p) {
    while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r') p->at++;
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool take_word(parser *p, const char *word) {
    size_t length = strlen(word);
    if (strncmp(p->at, word, length) || is_word(p->at[length])) return false;
    tr__buffer_puts(&p->spelling, word);
    p->at += length;
    return true;
}

static tr_status take_string(parser *p) {
    const char *start = p->at++;
    while (*p->at && *p->at != *start && *p->at != '\n') p->at += p->at[0] == '\\' && p->at[1] ? 2 : 1;
    if (*p->at != *start) return fail(p, start, "the string does not end");
    p->at++;
    tr__buffer_append(&p->spelling, start, (size_t)(p->at - start));
    return TR_OK;
}

static tr_status take_number(parser *p) {
    const char *start = p->at;
    p->at += *p->at == '-' || *p->at == '+';
    if (!strncmp(p->at, "inf", 3) || !strncmp(p->at, "nan", 3)) {
        p->at += 3;
    } else {
        const char *digits = p->at;
        while (is_word(*p->at) || *p->at == '.' ||
               ((*p->at == '-' || *p->at == '+') && (p->at[-1] == 'e' || p->at[-1] == 'E')))
            p->at++;
        if (p->at == digits) return fail(p, start, "expected a number");
    }
    bool hexadecimal = start[0] == '0' && (start[1] == 'x' || start[1] == 'X');
    for (const char *c = start; c < p->at; c++)
        if (!hexadecimal && is_word(*c) && !strchr("0123456789eEinfa_", *c))
            return fail(p, c,
                        "not a number; a type is one of i1 … i64, u8 … u64, fp16, bf16, fp32, fp64, fp8…, "
                        "*type, tensordesc<…>");
    tr__buffer_append(&p->spelling, start, (size_t)(p->at - start));
    return TR_OK;
}

static bool take_dtype(parser *p) {
    static const char *const prefixes[] = {"tl.", "triton.language."};
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(p->at, prefixes[i], length) || !is_word(p->at[length])) continue;
        const char *name = p->at += length;
        while (is_word(*p->at)) p->at++;
        tr__buffer_puts(&p->spelling, "tl.");
        tr__buffer_append(&p->spelling, name, (size_t)(p->at - name));
        return true;
    }
    return false;
}

static tr_status append(parser *p, tr__param *param) {
    tr__signature *out = p->out;
    if (out->param_count == ITEMS_MAX) return fail(p, p->at, "more than 4096 arguments");
    if (out->param_count == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 16;
        tr__param *params = realloc(out->params, capacity * sizeof *params);
        if (params) out->params = params;
        uint32_t *items = realloc(out->items, capacity * sizeof *items);
        if (items) out->items = items;
        if (!params || !items) return tr__fail_out_of_memory(p->error);
        p->capacity = capacity;
    }
    out->params[out->param_count] = *param;
    out->items[out->param_count++] = (uint32_t)out->item_count;
    return TR_OK;
}

/* ":16" or ":1" behind a type */
static tr_status take_promise(parser *p, tr__param *param) {
    const char *start = p->at++;
    skip_blank(p);
    uint64_t value = 0;
    const char *digits = p->at;
    while (*p->at >= '0' && *p->at <= '9' && value < UINT32_MAX)
        value = value * 10 + (uint64_t)(*p->at++ - '0');
    if (p->at == digits || value == 0 || value > 1u << 20 || (value & (value - 1)))
        return fail(p, digits, "expected 1 or a power of two up to 2^20 behind ':'");
    bool integer = param->type >= TR_TYPE_I1 && param->type <= TR_TYPE_U64;
    if (!integer && (param->type != TR_TYPE_PTR || value == 1))
        return fail(p, start,
                    value == 1 ? "':1' promises that an integer equals 1; this is none"
                               : "only integers and pointers can be promised to be multiples");
    param->folded = value == 1;
    param->constant = value == 1;
    param->divisibility = (uint32_t)value;
    tr__buffer_printf(&p->spelling, ":%u", (unsigned)value);
    return TR_OK;
}

static tr_status fail_type(parser *p, const char *where) {
    char what[256];
    size_t length = strcspn(where, ",)\n");
    snprintf(what, sizeof what,
             "expected a type (i32, fp16, *fp32, tensordesc<fp16[128, 64]>, …), a literal or a tuple, not "
             "'%.*s'; a constant is given by its value",
             length < 64 ? (int)length : 64, where);
    return fail(p, where, what);
}

static tr_status take_type(parser *p, tr__param *param) {
    const char *start = p->at;
    bool known = tr__type_parse(p->at, &p->at, param);
    if (!known || (param->type == TR_TYPE_TENSOR_MAP && !param->descriptor.rank))
        return fail_type(p, p->at = start);
    for (const char *c = start; c < p->at; c++) /* blanks inside a type don't matter to anyone */
        if (!strchr(" \t\r\n", *c)) tr__buffer_append(&p->spelling, c, 1);
    skip_blank(p);
    tr_status status = *p->at == ':' ? take_promise(p, param) : TR_OK;
    return status ? status : append(p, param);
}

static tr_status take_items(parser *p, char end);

static tr_status take_item(parser *p) {
    tr__param param;
    skip_blank(p);
    if (*p->at == '(') {
        if (p->nesting == NESTING_MAX) return fail(p, p->at, "tuples nested deeper than 16");
        p->at++;
        p->nesting++;
        tr__buffer_puts(&p->spelling, "(");
        tr_status status = take_items(p, ')');
        p->nesting--;
        tr__buffer_puts(&p->spelling, ")");
        return status;
    }
    if (*p->at == '\'' || *p->at == '"') return take_string(p);
    if (take_word(p, "None") || take_word(p, "True") || take_word(p, "False") || take_dtype(p)) return TR_OK;
    if ((*p->at >= '0' && *p->at <= '9') || (*p->at && strchr("+-.", *p->at)) || !strncmp(p->at, "inf", 3) ||
        !strncmp(p->at, "nan", 3))
        return take_number(p);
    return take_type(p, &param);
}

/* A tuple may end in a comma, as Python's "(i32,)" does; the signature itself may not. */
static tr_status take_items(parser *p, char end) {
    skip_blank(p);
    if (*p->at == end) return p->at += end != 0, TR_OK;
    for (size_t count = 0;; count++) {
        tr_status status = take_item(p);
        if (status) return status;
        if (p->nesting == 0) p->out->item_count++;
        if (count == ITEMS_MAX) return fail(p, p->at, "more than 4096 items");
        skip_blank(p);
        if (*p->at == end) break;
        if (*p->at == '*') return fail(p, p->at, "expected ','; a pointer is written \"*fp32\"");
        if (*p->at != ',')
            return fail(p, p->at, end ? "expected ',' or ')'" : "expected ',' or the end of the signature");
        p->at++;
        skip_blank(p);
        if (end && *p->at == end) {
            if (count == 0) tr__buffer_puts(&p->spelling, ",");
            break;
        }
        tr__buffer_puts(&p->spelling, ", ");
    }
    p->at += end != 0;
    return TR_OK;
}

tr_status tr__signature_parse(const char *text, tr__signature *out, tr_error **error) {
    *out = (tr__signature){0};
    parser p = {.text = text, .at = text, .out = out, .error = error};
    tr_status status = take_items(&p, '\0');
    out->text = tr__buffer_take(&p.spelling);
    if (!status && !out->text) status = tr__fail_out_of_memory(error);
    if (status) tr__signature_release(out);
    return status;
}

void tr__signature_release(tr__signature *signature) {
    tr__params_release(signature->params, signature->param_count);
    free(signature->items);
    free(signature->text);
    *signature = (tr__signature){0};
}
