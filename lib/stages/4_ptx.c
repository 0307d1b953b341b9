/* PTX: the kernel's own parameter list, its threads and its target, in text. */
#include "stages/stage.h"

#include <string.h>

static const tr__language ptx = {.comment = "//", .block_comments = true, .escapes = true, .word = '%'};

typedef struct header {
    uint32_t arch;
    bool version, dynamic_shared;
} header;

static bool recognise(const char *data, size_t size) {
    tr__scan scan;
    tr__scan_start(&scan, &ptx, data, size, "", NULL);
    tr__scan_next(&scan);
    return tr__scan_is(&scan, ".version") || tr__scan_is(&scan, ".target");
}

static tr_status read_target(tr__scan *scan, header *out) {
    tr__scan_next(scan);
    out->arch =
        scan->token.kind == TR__TOKEN_WORD ? tr__arch_number(scan->token.text, scan->token.length) : 0;
    if (!out->arch)
        return tr__scan_fail(scan, TR_E_PARSE,
                             "expected an architecture like sm_90 behind .target, found '%.*s'",
                             (int)(scan->token.length < 40 ? scan->token.length : 40), scan->token.text);
    return TR_OK;
}

static tr_status read_header(tr__scan *scan, header *out) {
    uint32_t bits;
    if (tr__scan_is(scan, ".version")) {
        tr__scan_next(scan);
        const tr__token *number = &scan->token;
        if (number->kind != TR__TOKEN_WORD || number->length < 3 ||
            strspn(number->text, "0123456789.") < number->length)
            return tr__scan_fail(scan, TR_E_PARSE, "expected a version like 8.7 behind .version");
        out->version = true;
    } else if (tr__scan_is(scan, ".target") && !out->arch) {
        return read_target(scan, out);
    } else if (tr__scan_is(scan, ".address_size")) {
        tr__scan_next(scan);
        if (!tr__scan_number(scan, &bits) || bits != 64)
            return tr__scan_fail(scan, TR_E_UNSUPPORTED, "only 64-bit PTX (.address_size 64) can be run");
    } else if (tr__scan_is(scan, ".extern")) {
        tr__scan_next(scan);
        out->dynamic_shared = out->dynamic_shared || tr__scan_is(scan, ".shared");
    }
    return TR_OK;
}

static const struct {
    const char *name;
    tr_type
        type; /* 0: bits that any type of this size may have. Signs tell nothing: Triton writes .u32 for i32 */
    uint32_t size;
} types[] = {{".u8", TR_TYPE_I8, 1},   {".s8", TR_TYPE_I8, 1},   {".b8", 0, 1},
             {".u16", TR_TYPE_I16, 2}, {".s16", TR_TYPE_I16, 2}, {".b16", 0, 2},
             {".f16", TR_TYPE_F16, 2}, {".u32", TR_TYPE_I32, 4}, {".s32", TR_TYPE_I32, 4},
             {".b32", 0, 4},           {".f32", TR_TYPE_F32, 4}, {".u64", 0, 8},
             {".s64", TR_TYPE_I64, 8}, {".b64", 0, 8},           {".f64", TR_TYPE_F64, 8}};

static bool read_type(const tr__scan *scan, tr__operand *operand) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!tr__scan_is(scan, types[i].name)) continue;
        operand->type = types[i].type;
        operand->size = types[i].size;
        return true;
    }
    return false;
}

/* ".param .u64 .ptr .global .align 1 k_param_0", ".param .align 64 .b8 k_param_1[128]" */
static tr_status read_param(tr__scan *scan, tr__operands *operands, tr_error **error) {
    tr__operand operand = {.divisibility = 1, .at = scan->token.text};
    uint32_t align = 1, count = 1;
    tr_status status = tr__scan_expect(scan, ".param");
    for (; !status && tr__scan_starts(scan, "."); tr__scan_next(scan)) {
        if (tr__scan_is(scan, ".ptr"))
            operand.type = TR_TYPE_PTR;
        else if (!tr__scan_is(scan, ".align"))
            read_type(scan, &operand);
        else if (tr__scan_next(scan) && !tr__scan_number(scan, &align))
            return tr__scan_fail(scan, TR_E_PARSE, "expected a number behind .align");
    }
    if (status || scan->status) return status ? status : scan->status;
    if (operand.type == TR_TYPE_PTR && operand.size != 8)
        return tr__scan_fail(scan, TR_E_PARSE, "a pointer (.ptr) that has not 64 bits");
    if (!operand.size || scan->token.kind != TR__TOKEN_WORD)
        return tr__scan_fail(scan, TR_E_PARSE, "expected a parameter's type and name");
    tr__scan_next(scan);
    if (tr__scan_take(scan, "[")) {
        if (!tr__scan_number(scan, &count) || !count || count > 32764)
            return tr__scan_fail(scan, TR_E_PARSE, "expected a parameter's size, at most 32764 bytes");
        tr__scan_next(scan);
        if ((status = tr__scan_expect(scan, "]"))) return status;
        operand.size *= count;
        operand.type = operand.size == 128 ? TR_TYPE_TENSOR_MAP : 0;
    }
    if (operands->count == TR__OPERANDS_MAX)
        return tr__scan_fail(scan, TR_E_PARSE, "more than 4096 parameters");
    return tr__operands_add(operands, &operand, error);
}

/* "128, 1, 1" behind a directive; the product. */
static tr_status read_extents(tr__scan *scan, uint32_t extents[3]) {
    const tr__token directive = scan->token;
    extents[0] = extents[1] = extents[2] = 1;
    tr__scan_next(scan);
    for (int i = 0; i < 3; i++) {
        if (!tr__scan_number(scan, &extents[i]) || !extents[i] || extents[i] > 1 << 20)
            return tr__scan_fail(scan, TR_E_PARSE, "expected up to three numbers behind %.*s",
                                 (int)directive.length, directive.text);
        tr__scan_next(scan);
        if (!tr__scan_take(scan, ",")) break;
    }
    return scan->status;
}

static tr_status read_threads(tr__reading *reading, tr__scan *scan, tr_error **error) {
    uint32_t extents[3];
    const char *at = scan->token.text;
    tr_status status = read_extents(scan, extents);
    if (status) return status;
    uint64_t threads = (uint64_t)extents[0] * extents[1] * extents[2];
    scan->token.text = at;
    if (threads > 1024)
        return tr__scan_fail(scan, TR_E_RESOURCE, "%llu threads in a CTA; no GPU has more than 1024",
                             (unsigned long long)threads);
    return tr__reading_threads(reading, (uint32_t)threads, error);
}

static tr_status read_cluster(tr__reading *reading, tr__scan *scan) {
    uint32_t extents[3];
    tr_status status = read_extents(scan, extents);
    uint64_t ctas = (uint64_t)extents[0] * extents[1] * extents[2];
    if (status) return status;
    if (ctas > 16)
        return tr__scan_fail(scan, TR_E_RESOURCE, "clusters of %llu CTAs; no GPU has more than 16",
                             (unsigned long long)ctas);
    reading->record->num_ctas = (uint32_t)ctas;
    return TR_OK;
}

/* Behind the parameters, up to the body. */
static tr_status read_directives(tr__reading *reading, tr__scan *scan, tr_error **error) {
    tr_status status = scan->status;
    bool threads = false;
    while (!status && scan->token.kind && !tr__scan_is(scan, "{") && !tr__scan_is(scan, ";")) {
        if (tr__scan_is(scan, ".reqntid") && threads)
            status = tr__scan_fail(scan, TR_E_PARSE, "a second .reqntid");
        else if (tr__scan_is(scan, ".reqntid")) {
            status = read_threads(reading, scan, error);
            threads = true;
        } else if (tr__scan_is(scan, ".reqnctapercluster"))
            status = read_cluster(reading, scan);
        else if (tr__scan_is(scan, ".maxnreg")) {
            tr__scan_next(scan);
            if (!tr__scan_number(scan, &reading->record->maxnreg))
                status = tr__scan_fail(scan, TR_E_PARSE, "expected a number behind .maxnreg");
        } else
            tr__scan_next(scan);
    }
    return status ? status : scan->status;
}

static tr_status read_entry(tr__reading *reading, const char *at, tr_error **error) {
    tr__scan scan;
    tr__operands operands = {0};
    tr__scan_start(&scan, &ptx, reading->data, reading->size, reading->name, error);
    scan.at = at;
    tr__scan_next(&scan);
    tr_status status = scan.status;
    if (tr__scan_take(&scan, "(")) {
        while (!status && scan.depth) {
            status = read_param(&scan, &operands, error);
            if (!status && scan.depth && !tr__scan_take(&scan, ",")) status = tr__scan_expect(&scan, ")");
        }
        tr__scan_next(&scan);
    }
    if (!status) status = tr__reading_params(reading, &operands, true, false, error);
    if (!status) status = read_directives(reading, &scan, error);
    tr__operands_release(&operands);
    return status;
}

static tr_status read_module(tr__reading *reading, header *head, tr__names *names, tr_error **error) {
    tr__scan scan;
    tr_status status = TR_OK;
    tr__scan_start(&scan, &ptx, reading->data, reading->size, reading->name, error);
    while (!status && tr__scan_next(&scan)) {
        if (scan.depth) continue;
        if (!tr__scan_is(&scan, ".entry")) {
            status = read_header(&scan, head);
            continue;
        }
        tr__scan_next(&scan);
        if (scan.token.kind != TR__TOKEN_WORD || names->count == TR__KERNELS_MAX)
            status = tr__scan_fail(&scan, TR_E_PARSE, "expected a kernel's name behind .entry");
        else
            status = tr__names_add(names, scan.token.text, scan.token.length, scan.at, error);
    }
    if (status || scan.status) return status ? status : scan.status;
    if (!head->version)
        return tr__scan_fail_at(&scan, scan.begin, TR_E_PARSE, "PTX without a .version directive");
    if (!head->arch)
        return tr__scan_fail_at(&scan, scan.begin, TR_E_PARSE, "PTX without a .target directive");
    return TR_OK;
}

static tr_status read(tr__reading *reading, tr_error **error) {
    header head = {0};
    tr__names names = {0};
    size_t index;
    tr_status status = read_module(reading, &head, &names, error);
    if (!status) status = tr__reading_choose(reading, &names, ".entry", &index, error);
    if (!status) status = tr__reading_arch(reading, head.arch, error);
    if (!status) status = read_entry(reading, names.items[index].at, error);
    tr__names_release(&names);
    if (!status && !reading->record->resources_known && !head.dynamic_shared)
        reading->record->resources_known = true; /* no shared memory but what the driver sees itself */
    return status;
}

const tr__stage tr__stage_ptx = {TR_STAGE_PTX, "ptx", ".ptx", recognise, read};
