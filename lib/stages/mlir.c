#include "stages/mlir.h"

#include <string.h>

static const tr__language mlir = {.comment = "//", .escapes = true};

static bool is_layout(const tr__token *token) {
    return (token->length >= 4 && !memcmp(token->text, "ttg.", 4)) ||
           (token->length >= 11 && !memcmp(token->text, "triton_gpu.", 11));
}

bool tr__mlir_recognise(const char *data, size_t size, bool *layouts) {
    tr__scan scan;
    bool functions = false;
    tr__scan_start(&scan, &mlir, data, size, "", NULL);
    for (*layouts = false; tr__scan_next(&scan) && !(*layouts && functions);) {
        if (scan.token.kind != TR__TOKEN_WORD) continue;
        functions = functions || tr__scan_is(&scan, "tt.func");
        *layouts = *layouts || is_layout(&scan.token);
    }
    return functions;
}

static bool key_is(const tr__token *key, const char *name) {
    static const char *const dialects[] = {"ttg.", "triton_gpu."};
    for (size_t i = 0; i < 2; i++) {
        size_t prefix = strlen(dialects[i]);
        if (key->length == prefix + strlen(name) && !memcmp(key->text, dialects[i], prefix) &&
            !memcmp(key->text + prefix, name, strlen(name)))
            return true;
    }
    return false;
}

static void read_module_attribute(tr__scan *scan, const tr__token *key, tr__mlir_module *module) {
    const struct {
        const char *name;
        uint32_t *target, most;
    } numbers[] = {{"num-warps", &module->num_warps, 32},
                   {"num-ctas", &module->num_ctas, 16},
                   {"maxnreg", &module->maxnreg, 1 << 16}};
    module->layouts = module->layouts || is_layout(key);
    for (size_t i = 0; i < 3; i++) {
        if (!key_is(key, numbers[i].name)) continue;
        if (!tr__scan_number(scan, numbers[i].target) || !*numbers[i].target ||
            *numbers[i].target > numbers[i].most)
            tr__scan_fail(scan, TR_E_PARSE, "'%s' must be a number from 1 to %u", numbers[i].name,
                          numbers[i].most);
    }
    if (!key_is(key, "target")) return;
    if (scan->token.kind != TR__TOKEN_STRING) {
        tr__scan_fail(scan, TR_E_PARSE, "'ttg.target' must be a string like \"cuda:90\"");
        return;
    }
    module->target = scan->token.text;
    module->target_length = scan->token.length;
}

/* At "{": calls back with the value's first token current for each `key = value`; ends behind "}". */
static void read_attributes(tr__scan *scan, void (*each)(tr__scan *, const tr__token *, void *), void *user) {
    uint32_t depth = scan->depth;
    tr__scan_next(scan);
    while (!scan->status && scan->depth >= depth) {
        tr__token key = scan->token;
        tr__scan_next(scan);
        if (tr__scan_take(scan, "=")) each(scan, &key, user);
        while (!scan->status && scan->depth >= depth && !(scan->depth == depth && tr__scan_is(scan, ",")))
            if (!tr__scan_next(scan)) break;
        if (scan->depth == depth) tr__scan_next(scan);
    }
    tr__scan_next(scan);
}

static void module_attribute(tr__scan *scan, const tr__token *key, void *user) {
    read_module_attribute(scan, key, user);
}

static void read_module(tr__scan *scan, tr__mlir_module *module) {
    const char *at = scan->token.text;
    tr__scan_next(scan);
    if (module->at) return; /* one inside another has nothing to say of the kernel */
    module->at = at;
    if (tr__scan_take(scan, "@")) tr__scan_next(scan);
    if (!tr__scan_take(scan, "attributes") || !tr__scan_is(scan, "{")) return;
    module->has_attributes = true;
    read_attributes(scan, module_attribute, module);
}

/* Collects one type: from the current token to the ',' ')' '{' or `loc` that follows it outside of angle
   brackets. */
static tr__token take_type(tr__scan *scan) {
    const char *start = scan->token.text, *end = start;
    int angles = 0;
    uint32_t depth = scan->depth;
    while (scan->token.kind) {
        char sign = scan->token.kind == TR__TOKEN_SIGN ? *scan->token.text : 0;
        if (angles == 0 && scan->depth < depth) break;
        if (angles == 0 && (sign == ',' || sign == '{' || tr__scan_is(scan, "loc"))) break;
        if (sign == '<') angles++;
        if (sign == '>' && end != start && end[-1] != '-') angles--;
        end = scan->token.text + scan->token.length;
        tr__scan_next(scan);
    }
    return (tr__token){TR__TOKEN_WORD, start, (size_t)(end - start)};
}

static bool after(const char **at, const char *end, const char *prefix) {
    size_t length = strlen(prefix);
    if ((size_t)(end - *at) < length || memcmp(*at, prefix, length)) return false;
    *at += length;
    return true;
}

static size_t word_length(const char *at, const char *end) {
    const char *start = at;
    while (at < end &&
           ((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z')))
        at++;
    return (size_t)(at - start);
}

/* "64x32xf16" */
static bool read_shape(const char *at, const char *end, tr__operand *operand) {
    while (at < end && *at >= '0' && *at <= '9') {
        int64_t extent = 0;
        while (at < end && *at >= '0' && *at <= '9' && extent <= INT32_MAX)
            extent = extent * 10 + (*at++ - '0');
        if (operand->rank == 5 || extent < 1 || extent > INT32_MAX || at == end || *at++ != 'x') return false;
        operand->block[operand->rank++] = extent;
    }
    operand->element = tr__ir_scalar(at, word_length(at, end));
    return operand->rank > 0;
}

static bool read_type(const tr__token *type, tr__operand *operand) {
    const char *at = type->text, *end = at + type->length;
    if (after(&at, end, "!tt.ptr<")) {
        operand->type = TR_TYPE_PTR;
        operand->element = tr__ir_scalar(at, word_length(at, end));
    } else if (after(&at, end, "!tt.tensordesc<") || after(&at, end, "!tt.tensordesc_im2col<")) {
        operand->type = TR_TYPE_TENSOR_MAP;
        after(&at, end, "tensor<");
        if (!read_shape(at, end, operand)) return false;
    } else {
        operand->type = tr__ir_scalar(at, type->length);
    }
    operand->size = tr__type_size(operand->type);
    return operand->type != 0;
}

static void argument_attribute(tr__scan *scan, const tr__token *key, void *user) {
    tr__operand *operand = user;
    uint32_t value;
    if (key->length == 15 && !memcmp(key->text, "tt.divisibility", 15)) {
        if (!tr__scan_number(scan, &value) || !value || value > 1u << 30 || (value & (value - 1)))
            tr__scan_fail(scan, TR_E_PARSE, "tt.divisibility must be a power of two");
        else
            operand->divisibility = value;
    }
    /* Triton 3.2 and 3.3: a tensor map by value, in the guise of a pointer */
    if (key->length == 14 && !memcmp(key->text, "tt.nv_tma_desc", 14) && tr__scan_is(scan, "1")) {
        operand->type = TR_TYPE_TENSOR_MAP;
        operand->element = 0;
        operand->size = tr__type_size(TR_TYPE_TENSOR_MAP);
    }
}

/* loc("x"(#loc)) names the argument; else its own name does, unless MLIR made it up. */
static void read_name(tr__scan *scan, tr__operand *operand) {
    if (!tr__scan_take(scan, "loc") || !tr__scan_is(scan, "(")) return;
    uint32_t depth = scan->depth;
    tr__scan_next(scan);
    tr__token name = scan->token;
    if (name.kind == TR__TOKEN_STRING && tr__scan_next(scan) && tr__scan_is(scan, "(") && name.length) {
        operand->name = name.text;
        operand->name_length = name.length;
    }
    while (scan->depth >= depth && tr__scan_next(scan)) {
    }
    tr__scan_next(scan);
}

static bool made_up(const tr__token *name) {
    size_t i = name->length > 3 && !memcmp(name->text, "arg", 3) ? 3 : 0;
    while (i < name->length && name->text[i] >= '0' && name->text[i] <= '9') i++;
    return i == name->length;
}

static tr_status read_argument(tr__scan *scan, tr__operands *operands, tr_error **error) {
    tr__operand operand = {.divisibility = 1, .at = scan->token.text};
    tr_status status = tr__scan_expect(scan, "%");
    if (status) return status;
    if (!made_up(&scan->token)) operand.name = scan->token.text, operand.name_length = scan->token.length;
    tr__scan_next(scan);
    if ((status = tr__scan_expect(scan, ":"))) return status;
    tr__token type = take_type(scan);
    if (scan->status) return scan->status;
    if (!read_type(&type, &operand)) {
        scan->token.text = type.text;
        return tr__scan_fail(scan, TR_E_PARSE, "'%.*s' is no type that a kernel's parameter can have",
                             (int)(type.length < 60 ? type.length : 60), type.text);
    }
    if (tr__scan_is(scan, "{")) read_attributes(scan, argument_attribute, &operand);
    read_name(scan, &operand);
    if (scan->status) return scan->status;
    if (operands->count == TR__OPERANDS_MAX)
        return tr__scan_fail(scan, TR_E_PARSE, "more than 4096 parameters");
    return tr__operands_add(operands, &operand, error);
}

/* A descriptor's shape and strides follow it in the list; they are its own. */
static tr_status read_signature(tr__reading *reading, const char *at, tr_error **error) {
    tr__scan scan;
    tr__operands operands = {0};
    tr__scan_start(&scan, &mlir, reading->data, reading->size, reading->name, error);
    scan.at = at;
    tr__scan_next(&scan);
    tr_status status = tr__scan_expect(&scan, "(");
    while (!status && scan.depth) {
        status = read_argument(&scan, &operands, error);
        if (!status && scan.depth && !tr__scan_take(&scan, ",")) status = tr__scan_expect(&scan, ")");
    }
    if (!status) status = tr__reading_params(reading, &operands, false, true, error);
    tr__operands_release(&operands);
    return status;
}

/* At `tt.func`: a public one is a kernel. */
static tr_status read_function(tr__scan *scan, tr__names *names, tr_error **error) {
    tr__scan_next(scan);
    bool hidden = tr__scan_is(scan, "private") || tr__scan_is(scan, "nested");
    if (hidden || tr__scan_is(scan, "public")) tr__scan_next(scan);
    if (!tr__scan_take(scan, "@"))
        return tr__scan_fail(scan, TR_E_PARSE, "expected '@' and the function's name");
    tr__token name = scan->token;
    if (scan->token.kind == TR__TOKEN_SIGN)
        return tr__scan_fail(scan, TR_E_PARSE, "expected the function's name");
    const char *at = scan->at;
    tr__scan_next(scan);
    if (!tr__scan_is(scan, "(")) return tr__scan_expect(scan, "(");
    if (hidden) return TR_OK;
    if (names->count == TR__KERNELS_MAX) return tr__scan_fail(scan, TR_E_PARSE, "more than 4096 kernels");
    return tr__names_add(names, name.text, name.length, at, error);
}

tr_status tr__mlir_read(tr__reading *reading, tr__mlir_module *module, tr_error **error) {
    tr__scan scan;
    tr__names names = {0};
    size_t index;
    tr_status status = TR_OK;
    *module = (tr__mlir_module){0};
    tr__scan_start(&scan, &mlir, reading->data, reading->size, reading->name, error);
    tr__scan_next(&scan);
    while (scan.token.kind && !status) {
        if (tr__scan_is(&scan, "module")) {
            read_module(&scan, module);
            continue;
        }
        if (tr__scan_is(&scan, "tt.func"))
            status = read_function(&scan, &names, error);
        else if (scan.token.kind == TR__TOKEN_WORD && is_layout(&scan.token))
            module->layouts = true;
        if (!status) tr__scan_next(&scan);
    }
    if (!status) status = scan.status;
    if (!status) status = tr__reading_choose(reading, &names, "public tt.func", &index, error);
    if (!status) status = read_signature(reading, names.items[index].at, error);
    tr__names_release(&names);
    return status;
}
