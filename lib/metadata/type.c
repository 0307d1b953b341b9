/* Types of arguments: their spelling in signatures and records, and what each becomes in the kernel's own
   list. */
#include "metadata/signature.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    tr_type type; /* 0: Triton knows it, the public header has no name for it */
} scalars[] = {
    {"i1", TR_TYPE_I1},
    {"i8", TR_TYPE_I8},
    {"i16", TR_TYPE_I16},
    {"i32", TR_TYPE_I32},
    {"i64", TR_TYPE_I64},
    {"u8", TR_TYPE_U8},
    {"u16", TR_TYPE_U16},
    {"u32", TR_TYPE_U32},
    {"u64", TR_TYPE_U64},
    {"fp16", TR_TYPE_F16},
    {"bf16", TR_TYPE_BF16},
    {"fp32", TR_TYPE_F32},
    {"fp64", TR_TYPE_F64},
    {"fp8e4nv", TR_TYPE_F8E4M3},
    {"fp8e5", TR_TYPE_F8E5M2},
    {"fp4e2m1", TR_TYPE_F4E2M1},
    {"tf32", TR_TYPE_TF32},
    {"u1", TR_TYPE_I1},
    {"f16", TR_TYPE_F16},
    {"f32", TR_TYPE_F32},
    {"f64", TR_TYPE_F64},
    {"fp8e4b15", 0},
    {"fp8e4b8", 0},
    {"fp8e5b16", 0},
    {"fp8e4b15x4", 0},
    {"void", 0},
};

const char *tr__scalar_name(tr_type type) {
    for (size_t i = 0; type && i < sizeof scalars / sizeof *scalars; i++)
        if (scalars[i].type == type) return scalars[i].name;
    return NULL;
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static const char *skip_blank(const char *text) {
    while (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r') text++;
    return text;
}

static bool parse_scalar(const char *text, const char **end, tr_type *type) {
    size_t length = 0;
    while (is_word(text[length])) length++;
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
        if (strlen(scalars[i].name) != length || memcmp(scalars[i].name, text, length)) continue;
        *type = scalars[i].type;
        *end = text + length;
        return true;
    }
    return false;
}

/* "[128, 64]", or "[]", of which nothing is known */
static bool parse_block(const char *text, const char **end, tr__descriptor *descriptor) {
    text = skip_blank(text);
    if (*text++ != '[') return false;
    if (*text == ']') return *end = text + 1, true;
    for (descriptor->rank = 0; descriptor->rank < 5;) {
        text = skip_blank(text);
        int64_t extent = 0;
        const char *digits = text;
        while (*text >= '0' && *text <= '9' && extent <= INT32_MAX) extent = extent * 10 + (*text++ - '0');
        if (text == digits || extent < 1 || extent > INT32_MAX) return false;
        descriptor->block[descriptor->rank++] = extent;
        text = skip_blank(text);
        if (*text == ']') return *end = text + 1, true;
        if (*text++ != ',') return false;
    }
    return false;
}

/* "<fp16[128, 64], layout>": the layout is Triton's matter, but its brackets must close. */
static bool parse_descriptor(const char *text, const char **end, tr__param *out) {
    text = skip_blank(text);
    if (*text++ != '<') return false;
    if (!parse_scalar(skip_blank(text), &text, &out->element)) return false;
    if (!parse_block(text, &text, &out->descriptor)) return false;
    if (!out->descriptor.rank && out->element)
        return false; /* "tensordesc<void[]>": all unknown, or nothing */
    int depth = 1;
    text = skip_blank(text);
    if (*text != '>' && *text != ',') return false;
    for (; *text && depth; text++) {
        if (strchr("<([{", *text)) depth++;
        if (strchr(">)]}", *text)) depth--;
    }
    out->type = TR_TYPE_TENSOR_MAP;
    *end = text;
    return depth == 0;
}

bool tr__type_parse(const char *text, const char **end, tr__param *out) {
    *out = (tr__param){.divisibility = 1};
    if (*text == '*') {
        out->type = TR_TYPE_PTR;
        text = skip_blank(text + 1);
        while (*text == '*') text++; /* a pointer to pointers: nothing is known of what it points to */
        *end = text;
        if (parse_scalar(text, end, &out->element)) return true;
        if (*text == 'k' && parse_scalar(text + 1, end, &out->element))
            return true; /* points to constant data */
        return !is_word(*text);
    }
    static const char *const descriptors[] = {"tensordesc_im2col", "tensordesc"};
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(descriptors[i]);
        if (strncmp(text, descriptors[i], length)) continue;
        out->descriptor.im2col = i == 0;
        return parse_descriptor(text + length, end, out);
    }
    return parse_scalar(text, end, &out->type) && out->type;
}

void tr__type_write(const tr__param *param, tr__buffer *out) {
    const char *element = tr__scalar_name(param->element);
    if (param->type == TR_TYPE_PTR) {
        tr__buffer_printf(out, "*%s", element ? element : "");
    } else if (param->type == TR_TYPE_TENSOR_MAP) {
        tr__buffer_printf(out, "tensordesc%s<%s[", param->descriptor.im2col ? "_im2col" : "",
                          element ? element : "void");
        for (uint32_t i = 0; i < param->descriptor.rank; i++)
            tr__buffer_printf(out, "%s%lld", i ? ", " : "", (long long)param->descriptor.block[i]);
        tr__buffer_puts(out, "]>");
    } else {
        tr__buffer_puts(out, tr__scalar_name(param->type));
    }
}

uint32_t tr__param_expand(const tr__param *param, tr_type types[TR__EXPANSION_MAX]) {
    uint32_t count = 0, rank = param->descriptor.rank;
    if (param->folded) return 0;
    if (param->type != TR_TYPE_TENSOR_MAP) return types[0] = param->type, 1;
    types[count++] = param->descriptor.encoded ? TR_TYPE_TENSOR_MAP : TR_TYPE_PTR;
    if (!param->descriptor.encoded) {
        for (uint32_t i = 0; i < 2 * rank; i++) types[count++] = TR_TYPE_I64;
        for (uint32_t i = 0; i < param->descriptor.flags; i++) types[count++] = TR_TYPE_I1;
    }
    for (uint32_t i = 0; i < rank; i++) types[count++] = TR_TYPE_I32;
    for (uint32_t i = 0; i < rank; i++) types[count++] = TR_TYPE_I64;
    return count;
}
