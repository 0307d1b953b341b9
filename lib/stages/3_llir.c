/* LLVM IR for NVPTX: threads and addresses; all that was known of shared memory and scratch is gone. */
#include "stages/stage.h"

#include <string.h>

static const tr__language llvm = {.comment = ";", .word = '-'};

static const uint32_t GROUP_NONE = UINT32_MAX;

/* A function, and what annotations say of it. */
typedef struct function {
    tr__token name;
    const char *at; /* at its "(" */
    bool kernel;
    uint32_t group; /* its attributes' number */
} function;

typedef struct module {
    tr__scan scan;
    function functions[64]; /* Triton inlines: a module has a handful */
    uint32_t count;
} module;

static bool recognise(const char *data, size_t size) {
    tr__scan scan;
    tr__scan_start(&scan, &llvm, data, size, "", NULL);
    for (int i = 0; i < 64 && tr__scan_next(&scan); i++)
        if (tr__scan_is(&scan, "source_filename") || tr__scan_is(&scan, "define") ||
            (tr__scan_is(&scan, "target") && tr__scan_next(&scan) && scan.token.kind == TR__TOKEN_WORD))
            return true;
    return false;
}

static bool same(const tr__token *a, const tr__token *b) {
    return a->length == b->length && !memcmp(a->text, b->text, a->length);
}

/* Annotations may stand before the function they are about. */
static function *find(module *m, const tr__token *name) {
    for (uint32_t i = 0; i < m->count; i++)
        if (same(&m->functions[i].name, name)) return &m->functions[i];
    if (m->count == sizeof m->functions / sizeof *m->functions) return NULL;
    m->functions[m->count] = (function){.name = *name, .group = GROUP_NONE};
    return &m->functions[m->count++];
}

/* At `define`: linkage and types, "@name", the arguments, then attributes up to the body. */
static tr_status read_define(module *m) {
    tr__scan *scan = &m->scan;
    uint32_t depth = scan->depth;
    bool kernel = false;
    while (tr__scan_next(scan) && !(scan->depth == depth && tr__scan_is(scan, "@")))
        kernel = kernel || tr__scan_is(scan, "ptx_kernel");
    tr__scan_next(scan);
    if (scan->token.kind != TR__TOKEN_WORD && scan->token.kind != TR__TOKEN_STRING)
        return tr__scan_fail(scan, TR_E_PARSE, "expected the name of a function behind 'define'");
    function *f = find(m, &scan->token);
    if (!f) return tr__scan_fail(scan, TR_E_UNSUPPORTED, "more than 64 functions");
    tr__scan_next(scan);
    if (!tr__scan_is(scan, "(")) return tr__scan_expect(scan, "(");
    f->at = scan->token.text;
    f->kernel = f->kernel || kernel;
    tr__scan_skip(scan);
    while (scan->token.kind && !tr__scan_is(scan, "{")) {
        if (tr__scan_take(scan, "#")) tr__scan_number(scan, &f->group);
        tr__scan_next(scan);
    }
    return scan->status;
}

/* At "!" of !{ptr @name, !"key", i32 value}; Triton 3.2 tells what is a kernel, and its threads, like this.
 */
typedef struct annotation {
    tr__token name, key;
    uint32_t value;
} annotation;

static bool read_annotation(tr__scan *scan, annotation *out) {
    return tr__scan_take(scan, "!") && tr__scan_take(scan, "{") && tr__scan_take(scan, "ptr") &&
           tr__scan_take(scan, "@") && (out->name = scan->token, tr__scan_next(scan)) &&
           tr__scan_take(scan, ",") && tr__scan_take(scan, "!") && scan->token.kind == TR__TOKEN_STRING &&
           (out->key = scan->token, tr__scan_next(scan)) && tr__scan_take(scan, ",") &&
           tr__scan_take(scan, "i32") && tr__scan_number(scan, &out->value);
}

static bool key_is(const tr__token *key, const char *name) {
    return key->length == strlen(name) && !memcmp(key->text, name, key->length);
}

static tr_status read_functions(module *m) {
    tr__scan *scan = &m->scan;
    tr_status status = TR_OK;
    tr__scan_next(scan);
    while (scan->token.kind && !status) {
        annotation note = {0};
        if (scan->depth == 0 && tr__scan_is(scan, "define"))
            status = read_define(m);
        else if (scan->depth == 0 && tr__scan_is(scan, "!") && read_annotation(scan, &note)) {
            function *f = find(m, &note.name);
            if (f && key_is(&note.key, "kernel")) f->kernel = note.value != 0;
        } else if (scan->depth || !tr__scan_is(scan, "define"))
            tr__scan_next(scan);
    }
    return status ? status : scan->status;
}

/* "128", "128,1,1", "2": the product is what counts for threads, the numbers for clusters. */
static uint32_t read_extents(const tr__token *text, uint32_t out[3]) {
    uint32_t count = 0, product = 1;
    out[0] = out[1] = out[2] = 1;
    for (size_t i = 0; i < text->length && count < 3; i++, count++) {
        uint32_t value = 0;
        for (; i < text->length && text->text[i] >= '0' && text->text[i] <= '9' && value < 100000; i++)
            value = value * 10 + (uint32_t)(text->text[i] - '0');
        out[count] = value;
        product *= value < 100000 ? value : 0;
    }
    return count ? product : 0;
}

typedef struct limits {
    uint32_t threads, maxnreg, cluster[3]; /* 0: not told */
} limits;

/* At "attributes" of: attributes #0 = { nounwind "nvvm.reqntid"="128" } */
static void read_group(tr__scan *scan, uint32_t wanted, limits *out) {
    uint32_t number = GROUP_NONE, extents[3];
    tr__scan_next(scan);
    if (!tr__scan_take(scan, "#") || !tr__scan_number(scan, &number) || number != wanted) return;
    while (tr__scan_next(scan) && !tr__scan_is(scan, "}")) {
        tr__token key = scan->token;
        if (key.kind != TR__TOKEN_STRING || !tr__scan_next(scan) || !tr__scan_take(scan, "=")) continue;
        if (key_is(&key, "nvvm.reqntid")) out->threads = read_extents(&scan->token, extents);
        if (key_is(&key, "nvvm.maxnreg")) out->maxnreg = read_extents(&scan->token, extents);
        if (key_is(&key, "nvvm.cluster_dim")) read_extents(&scan->token, out->cluster);
    }
}

static void read_limits(tr__reading *reading, const function *kernel, limits *out) {
    tr__scan scan;
    tr__scan_start(&scan, &llvm, reading->data, reading->size, reading->name, NULL);
    tr__scan_next(&scan);
    uint32_t dimensions[3] = {0, 1, 1};
    while (scan.token.kind) {
        annotation note = {0};
        if (scan.depth == 0 && tr__scan_is(&scan, "attributes")) {
            read_group(&scan, kernel->group, out);
        } else if (scan.depth == 0 && tr__scan_is(&scan, "!") && read_annotation(&scan, &note)) {
            if (!same(&note.name, &kernel->name) || note.value > 100000) continue;
            if (key_is(&note.key, "maxnreg")) out->maxnreg = note.value;
            for (uint32_t i = 0; i < 3; i++)
                if (key_is(&note.key, (const char *[]){"reqntidx", "reqntidy", "reqntidz"}[i]))
                    dimensions[i] = note.value;
        } else {
            tr__scan_next(&scan);
        }
    }
    uint64_t product = (uint64_t)dimensions[0] * dimensions[1] * dimensions[2];
    if (product) out->threads = product < 100000 ? (uint32_t)product : 100000;
}

/* One argument: its type first, then attributes: `ptr byval([128 x i8]) align 64 "nvvm.grid_constant" %0`. */
static tr_status read_argument(tr__scan *scan, tr__operands *operands, tr_error **error) {
    tr__operand operand = {.divisibility = 1, .at = scan->token.text};
    uint32_t depth = scan->depth;
    bool pointer = tr__scan_is(scan, "ptr");
    if (pointer)
        operand.type = TR_TYPE_PTR;
    else if (scan->token.kind == TR__TOKEN_WORD)
        operand.type = tr__ir_scalar(scan->token.text, scan->token.length);
    if (!operand.type) return tr__scan_fail(scan, TR_E_PARSE, "no type that a kernel's argument can have");
    tr__scan_next(scan);
    while (scan->token.kind && scan->depth >= depth && !(scan->depth == depth && tr__scan_is(scan, ","))) {
        if (tr__scan_is(scan, "byval")) operand.type = TR_TYPE_TENSOR_MAP;
        tr__scan_next(scan);
    }
    operand.size = tr__type_size(operand.type);
    if (scan->status) return scan->status;
    if (operands->count == TR__OPERANDS_MAX)
        return tr__scan_fail(scan, TR_E_PARSE, "more than 4096 parameters");
    return tr__operands_add(operands, &operand, error);
}

static tr_status read_signature(tr__reading *reading, const function *kernel, tr_error **error) {
    tr__scan scan;
    tr__operands operands = {0};
    tr__scan_start(&scan, &llvm, reading->data, reading->size, reading->name, error);
    scan.at = kernel->at;
    tr__scan_next(&scan);
    tr__scan_next(&scan);
    tr_status status = scan.status;
    while (!status && scan.depth) {
        status = read_argument(&scan, &operands, error);
        if (!status) tr__scan_take(&scan, ",");
    }
    if (!status) status = tr__reading_params(reading, &operands, true, false, error);
    tr__operands_release(&operands);
    return status;
}

static tr_status apply_limits(tr__reading *reading, const limits *found, tr_error **error) {
    tr__record *record = reading->record;
    if (found->maxnreg) record->maxnreg = found->maxnreg;
    if (found->cluster[0]) {
        uint64_t ctas = (uint64_t)found->cluster[0] * found->cluster[1] * found->cluster[2];
        if (!ctas || ctas > 16)
            return tr__fail(error, TR_E_RESOURCE,
                            "%s: kernel '%s' wants clusters of %llu CTAs; no GPU has more than 16",
                            reading->name, record->kernel, (unsigned long long)ctas);
        record->num_ctas = (uint32_t)ctas;
    }
    return found->threads ? tr__reading_threads(reading, found->threads, error) : TR_OK;
}

static tr_status read(tr__reading *reading, tr_error **error) {
    module m = {.count = 0};
    tr__names names = {0};
    size_t index = 0, kernels[64];
    tr__scan_start(&m.scan, &llvm, reading->data, reading->size, reading->name, error);
    tr_status status = read_functions(&m);
    for (uint32_t i = 0; i < m.count && !status; i++) {
        if (!m.functions[i].kernel || !m.functions[i].at) continue;
        kernels[names.count] = i;
        status = tr__names_add(&names, m.functions[i].name.text, m.functions[i].name.length, NULL, error);
    }
    if (!status)
        status = tr__reading_choose(reading, &names,
                                    "function of calling convention ptx_kernel, or annotated "
                                    "as \"kernel\"",
                                    &index, error);
    if (!status) {
        const function *kernel = &m.functions[kernels[index]];
        limits found = {0};
        read_limits(reading, kernel, &found);
        status = read_signature(reading, kernel, error);
        if (!status) status = apply_limits(reading, &found, error);
    }
    tr__names_release(&names);
    return status;
}

const tr__stage tr__stage_llir = {TR_STAGE_LLIR, "llir", ".llir", recognise, read};
