#include "machine/counters.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum access_space { GLOBAL_ACCESS, SHARED_ACCESS, OTHER_ACCESS, SPACES } access_space;

typedef enum access_kind {
    NO_ACCESS,
    PLAIN_ACCESS,  /* each lane at its own address: ld, st, atom, red */
    COPY_ACCESS,   /* cp.async: shared, global, bytes, bytes to read */
    MATRIX_ACCESS, /* ldmatrix, stmatrix: 16 bytes for each of the first lanes */
} access_kind;

/* What an instruction is; known before it runs. */
typedef struct trait {
    access_kind kind;
    access_space space;
    bool reads, writes;  /* of a copy, reads: it says how many bytes */
    uint32_t bytes;      /* of a lane's access */
    uint32_t lanes;      /* of a matrix access */
    uint32_t row;        /* of the address, among the operands */
    uint64_t operations; /* of an mma */
} trait;

typedef struct traffic {
    uint64_t requests, read, written;
    uint64_t passes, least; /* global: sectors; shared: passes, and how few it takes without conflicts */
} traffic;

typedef struct tally {
    uint64_t warps, threads, divergent, off;
    traffic spaces[SPACES];
} tally;

struct trcpu_counts {
    const trcpu_function *function;
    trait *traits;
    tally *tallies;
};

/* ---- what an instruction is ---- */
static bool has_segment(trcpu_text opcode, const char *segment) {
    size_t length = strlen(segment);
    for (uint32_t i = 0; i + length <= opcode.size; i++)
        if ((i == 0 || opcode.at[i - 1] == '.') && !memcmp(opcode.at + i, segment, length) &&
            (i + length == opcode.size || opcode.at[i + length] == '.' || opcode.at[i + length] == ':'))
            return true;
    return false;
}

static bool starts_with(trcpu_text text, const char *start) {
    size_t length = strlen(start);
    return text.size >= length && !memcmp(text.at, start, length);
}

/* Bytes of the last type named: ld.global.v4.b32 → 4, red.global.add.noftz.f16x2 → 4. */
static uint32_t type_bytes(trcpu_text opcode) {
    uint32_t bits = 0;
    for (uint32_t i = 1; i < opcode.size; i++)
        if (opcode.at[i - 1] == '.' && strchr("busf", opcode.at[i])) {
            const char *at = opcode.at + i + 1 + (opcode.at[i + 1] == 'f'); /* bf16 */
            char *end;
            if (!isdigit((unsigned char)*at)) continue;
            bits = (uint32_t)strtoul(at, &end, 10);
            if (*end == 'x' && end[1] == '2') bits *= 2;
        }
    return bits / 8;
}

/* 2·m·n·k of "m16n8k16" in an mma's opcode. */
static uint64_t operations_of(trcpu_text opcode) {
    char text[128];
    unsigned int m, n, k;
    snprintf(text, sizeof text, "%.*s", (int)opcode.size, opcode.at);
    for (const char *at = strstr(text, ".m"); at; at = strstr(at + 1, ".m"))
        if (sscanf(at, ".m%un%uk%u", &m, &n, &k) == 3) return 2ull * m * n * k;
    return 0;
}

static trait trait_of_matrix(trcpu_text opcode) {
    uint32_t count = has_segment(opcode, "x4") ? 4 : has_segment(opcode, "x2") ? 2 : 1;
    bool reads = starts_with(opcode, "ldmatrix.");
    return (trait){.kind = MATRIX_ACCESS,
                   .space = SHARED_ACCESS,
                   .reads = reads,
                   .writes = !reads,
                   .bytes = 16,
                   .lanes = 8 * count,
                   .row = reads ? count : 0};
}

/* A cp.async's fourth operand: how many bytes to read, rather than a cache policy or a predicate. */
static bool is_size(const trcpu_ptx_function *function, const trcpu_operand *operand) {
    return operand->kind == TRCPU_OPERAND_INTEGER ||
           (operand->kind == TRCPU_OPERAND_REGISTER && function->registers[operand->reg].bytes == 4);
}

/* The address stands behind what an ld or atom gives, and before what a st or red takes. */
static trait trait_of(const trcpu_ptx_function *function, const trcpu_statement *statement) {
    trait out = {0};
    trcpu_text opcode = statement->opcode;
    if (starts_with(opcode, "mma.") || starts_with(opcode, "wgmma.mma_async"))
        out.operations = operations_of(opcode);
    if (starts_with(opcode, "ldmatrix.") || starts_with(opcode, "stmatrix.")) return trait_of_matrix(opcode);
    if (starts_with(opcode, "cp.async.c"))
        return (trait){.kind = COPY_ACCESS,
                       .reads = statement->operand_count > 3 && is_size(function, &statement->operands[3])};
    bool both = starts_with(opcode, "atom."), loads = starts_with(opcode, "ld.");
    out.reads = both || loads;
    out.writes = both || starts_with(opcode, "st.") || starts_with(opcode, "red.");
    if ((!out.reads && !out.writes) || has_segment(opcode, "param") || has_segment(opcode, "async"))
        return (trait){.operations = out.operations};
    uint32_t elements = has_segment(opcode, "v8")   ? 8
                        : has_segment(opcode, "v4") ? 4
                        : has_segment(opcode, "v2") ? 2
                                                    : 1;
    out.kind = PLAIN_ACCESS;
    out.space = has_segment(opcode, "global")                                      ? GLOBAL_ACCESS
                : has_segment(opcode, "shared") && !has_segment(opcode, "cluster") ? SHARED_ACCESS
                                                                                   : OTHER_ACCESS;
    out.bytes = elements * type_bytes(opcode);
    out.row = out.reads ? elements : 0;
    return out;
}

trcpu_counts *trcpu_counts_create(const trcpu_function *function) {
    trcpu_counts *counters = calloc(1, sizeof *counters);
    if (!counters) return NULL;
    counters->function = function;
    counters->traits = calloc(function->code_size + 1, sizeof *counters->traits);
    counters->tallies = calloc(function->code_size + 1, sizeof *counters->tallies);
    if (!counters->traits || !counters->tallies) {
        trcpu_counts_destroy(counters);
        return NULL;
    }
    for (uint32_t i = 0; i < function->code_size; i++)
        if (function->sources[i].statement)
            counters->traits[i] = trait_of(function->sources[i].function, function->sources[i].statement);
    return counters;
}

void trcpu_counts_destroy(trcpu_counts *counters) {
    if (!counters) return;
    free(counters->traits);
    free(counters->tallies);
    free(counters);
}

/* ---- counting ---- */
static void add(uint64_t *to, uint64_t value) {
    if (value) __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}

static bool seen(uint64_t *list, uint32_t *count, uint64_t value) {
    for (uint32_t i = 0; i < *count; i++)
        if (list[i] == value) return true;
    list[(*count)++] = value;
    return false;
}

/* Lanes of one request: where, and how many bytes each. */
typedef struct request {
    uint64_t address[32];
    uint32_t mask, bytes;
} request;

/* The 32-byte sectors that it touches. */
static uint64_t sectors(const request *of) {
    uint64_t list[32 * 3];
    uint32_t count = 0;
    for (uint32_t lane = 0; lane < 32; lane++)
        if (of->mask >> lane & 1) {
            uint64_t first = of->address[lane], last = first + of->bytes - 1;
            for (uint64_t at = first / 32; at <= last / 32; at++) seen(list, &count, at);
        }
    return count;
}

/* Lanes go together as far as 128 bytes reach; a pass serves each of 32 banks once, one word to all who want it. */
static uint64_t passes(const request *of, uint64_t *least) {
    uint32_t words = of->bytes > 4 ? of->bytes / 4 : 1, together = 32 / words;
    uint64_t sum = 0;
    for (uint32_t start = 0; start < 32; start += together) {
        uint64_t list[32];
        uint32_t count = 0, banks[32] = {0}, most = 0;
        for (uint32_t lane = start; lane < start + together; lane++)
            for (uint32_t w = 0; of->mask >> lane & 1 && w < words; w++) {
                uint64_t word = of->address[lane] / 4 + w;
                if (seen(list, &count, word)) continue;
                uint32_t depth = ++banks[word % 32];
                most = depth > most ? depth : most;
            }
        sum += most;
        *least += most > 0;
    }
    return sum;
}

static void note(tally *to, access_space space, const request *of, bool reads, bool writes) {
    traffic *at = &to->spaces[space];
    uint64_t bytes = (uint64_t)__builtin_popcount(of->mask) * of->bytes, least = 0;
    if (!of->mask || !of->bytes) return;
    add(&at->requests, 1);
    if (reads) add(&at->read, bytes);
    if (writes) add(&at->written, bytes);
    if (space == GLOBAL_ACCESS) add(&at->passes, sectors(of));
    if (space == SHARED_ACCESS) add(&at->passes, passes(of, &least));
    add(&at->least, least);
}

static void read_addresses(request *of, const trcpu_warp *warp, uint32_t row, uint32_t bytes,
                           int64_t offset) {
    const char *from = warp->file + row;
    for (uint32_t lane = 0; lane < 32; lane++) {
        uint64_t value = bytes == 8 ? ((const uint64_t *)(const void *)from)[lane]
                                    : ((const uint32_t *)(const void *)from)[lane];
        of->address[lane] = bytes == 8 ? value + (uint64_t)offset : (uint32_t)(value + (uint64_t)offset);
    }
}

/* What is copied is read from global memory, what is not read becomes zeros; shared memory gets both. */
static void note_copy(tally *to, const trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                      bool with_size) {
    const uint32_t *size = (const uint32_t *)(const void *)(warp->file + insn->rows[2]);
    request of = {.mask = mask, .bytes = size[__builtin_ctz(mask)]};
    if (of.bytes != 4 && of.bytes != 8 && of.bytes != 16) return; /* a fault is about to be reported */
    read_addresses(&of, warp, insn->rows[0], 4, 0);
    note(to, SHARED_ACCESS, &of, false, true);
    read_addresses(&of, warp, insn->rows[1], 8, 0);
    if (with_size) {
        const uint32_t *reads = (const uint32_t *)(const void *)(warp->file + insn->rows[3]);
        for (uint32_t lane = 0; lane < 32; lane++)
            if (!reads[lane]) of.mask &= ~(1u << lane);
    }
    note(to, GLOBAL_ACCESS, &of, true, false);
}

void trcpu_counts_note(trcpu_counts *counters, const trcpu_warp *warp, const trcpu_insn *insn,
                       uint32_t mask) {
    size_t index = (size_t)(insn - counters->function->code);
    const trait *is = &counters->traits[index];
    tally *to = &counters->tallies[index];
    add(&to->warps, 1);
    add(&to->threads, (uint64_t)__builtin_popcount(mask));
    add(&to->divergent, warp->active != warp->live);
    add(&to->off, mask == 0);
    if (!mask || is->kind == NO_ACCESS) return;
    if (is->kind == COPY_ACCESS) {
        note_copy(to, warp, insn, mask, is->reads);
        return;
    }
    request of = {.mask = mask, .bytes = is->bytes};
    if (is->kind == MATRIX_ACCESS) of.mask &= is->lanes == 32 ? ~0u : (1u << is->lanes) - 1;
    if (is->space != OTHER_ACCESS)
        read_addresses(&of, warp, insn->rows[is->row], is->space == GLOBAL_ACCESS ? 8 : 4, insn->imm);
    note(to, is->space, &of, is->reads, is->writes);
}

/* ---- telling ---- */
typedef struct sums {
    uint64_t warps, threads, divergent, off, mma, operations;
    traffic spaces[SPACES];
} sums;

static void sum_up(sums *to, const trait *is, const tally *at) {
    to->warps += at->warps;
    to->threads += at->threads;
    to->divergent += at->divergent;
    to->off += at->off;
    to->mma += is->operations ? at->warps - at->off : 0;
    to->operations += is->operations * (at->warps - at->off);
    for (int space = 0; space < SPACES; space++) {
        to->spaces[space].requests += at->spaces[space].requests;
        to->spaces[space].read += at->spaces[space].read;
        to->spaces[space].written += at->spaces[space].written;
        to->spaces[space].passes += at->spaces[space].passes;
        to->spaces[space].least += at->spaces[space].least;
    }
}

static void write_sums(FILE *out, const sums *of) {
#define NUMBER(x) (unsigned long long)(x)
    const traffic *global = &of->spaces[GLOBAL_ACCESS], *shared = &of->spaces[SHARED_ACCESS],
                  *other = &of->spaces[OTHER_ACCESS];
    fprintf(out,
            "\"warp_instructions\": %llu, \"thread_instructions\": %llu, \"divergent\": %llu, "
            "\"predicated_off\": %llu, ",
            NUMBER(of->warps), NUMBER(of->threads), NUMBER(of->divergent), NUMBER(of->off));
    fprintf(out,
            "\"bytes\": {\"global_read\": %llu, \"global_written\": %llu, \"shared_read\": %llu, "
            "\"shared_written\": %llu, \"other_read\": %llu, \"other_written\": %llu}, ",
            NUMBER(global->read), NUMBER(global->written), NUMBER(shared->read), NUMBER(shared->written),
            NUMBER(other->read), NUMBER(other->written));
    fprintf(out, "\"mma\": {\"instructions\": %llu, \"operations\": %llu}, ", NUMBER(of->mma),
            NUMBER(of->operations));
    fprintf(out,
            "\"global\": {\"requests\": %llu, \"sectors\": %llu}, \"shared\": {\"requests\": %llu, "
            "\"passes\": %llu, \"conflicts\": %llu}",
            NUMBER(global->requests), NUMBER(global->passes), NUMBER(shared->requests),
            NUMBER(shared->passes), NUMBER(shared->passes - shared->least));
#undef NUMBER
}

static void write_string(FILE *out, const char *text, size_t size) {
    fputc('"', out);
    for (size_t i = 0; i < size && text[i]; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 32)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

/* The opcode's name and what space or kind it names next: "ld.global", "mma.sync", but "add". */
static size_t family_length(trcpu_text opcode) {
    static const char *const WITH_NEXT[] = {"ld",  "st",    "atom", "red",  "cp",
                                            "mma", "wgmma", "bar",  "shfl", "mbarrier"};
    size_t first = 0;
    while (first < opcode.size && opcode.at[first] != '.') first++;
    for (size_t i = 0; i < sizeof WITH_NEXT / sizeof WITH_NEXT[0]; i++)
        if (first == strlen(WITH_NEXT[i]) && !memcmp(opcode.at, WITH_NEXT[i], first) && first < opcode.size) {
            size_t next = first + 1;
            while (next < opcode.size && opcode.at[next] != '.') next++;
            return next;
        }
    return first;
}

/* Each family is told where it occurs first, with the sum of all that follow. */
static void write_families(FILE *out, const trcpu_counts *counters) {
    const trcpu_function *function = counters->function;
    const char *comma = "";
    for (uint32_t i = 0; i < function->code_size; i++) {
        const trcpu_statement *is = function->sources[i].statement;
        if (!is || !counters->tallies[i].warps) continue;
        size_t length = family_length(is->opcode);
        uint64_t sum = 0;
        bool told = false;
        for (uint32_t k = 0; k < function->code_size && !told; k++) {
            const trcpu_statement *other = function->sources[k].statement;
            if (!other || !counters->tallies[k].warps || family_length(other->opcode) != length ||
                memcmp(other->opcode.at, is->opcode.at, length))
                continue;
            told = k < i;
            sum += counters->tallies[k].warps;
        }
        if (told) continue;
        fputs(comma, out);
        write_string(out, is->opcode.at, length);
        fprintf(out, ": %llu", (unsigned long long)sum);
        comma = ", ";
    }
}

static const trcpu_location *location_of(const trcpu_function *function, uint32_t index) {
    const trcpu_statement *statement = function->sources[index].statement;
    return &function->module->ptx->locations[statement ? statement->location : 0];
}

static void write_lines(FILE *out, const trcpu_counts *counters) {
    const trcpu_function *function = counters->function;
    const trcpu_ptx *ptx = function->module->ptx;
    const char *comma = "";
    for (uint32_t i = 0; i < function->code_size; i++) {
        const trcpu_location *at = location_of(function, i);
        sums of = {0};
        bool told = !at->line || at->file >= ptx->file_count;
        for (uint32_t k = 0; k < function->code_size && !told; k++) {
            const trcpu_location *other = location_of(function, k);
            if (other->line != at->line || other->file != at->file) continue;
            told = k < i;
            sum_up(&of, &counters->traits[k], &counters->tallies[k]);
        }
        if (told || !of.warps) continue;
        fprintf(out, "%s{\"file\": ", comma);
        write_string(out, ptx->files[at->file].at, ptx->files[at->file].size);
        fprintf(out, ", \"line\": %u, ", at->line);
        write_sums(out, &of);
        fputc('}', out);
        comma = ", ";
    }
}

char *trcpu_counts_json(const trcpu_counts *counters, const trcpu_launch *launch) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    sums all = {0};
    for (uint32_t i = 0; i < counters->function->code_size; i++)
        sum_up(&all, &counters->traits[i], &counters->tallies[i]);
    fputs("{\"kernel\": ", out);
    write_string(out, counters->function->name, strlen(counters->function->name));
    fprintf(out, ", \"grid\": [%u, %u, %u], \"block\": [%u, %u, %u], ", launch->grid[0], launch->grid[1],
            launch->grid[2], launch->block[0], launch->block[1], launch->block[2]);
    write_sums(out, &all);
    fputs(", \"families\": {", out);
    write_families(out, counters);
    fputs("}, \"lines\": [", out);
    write_lines(out, counters);
    fputs("]}", out);
    bool failed = ferror(out);
    if (fclose(out) || failed) {
        free(text);
        return NULL;
    }
    return text;
}
