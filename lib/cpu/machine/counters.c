#include "machine/counters.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum access_space { NO_ACCESS, GLOBAL_ACCESS, SHARED_ACCESS, OTHER_ACCESS } access_space;

/* What an instruction is; known before it runs. */
typedef struct trait {
    access_space space;
    bool write;
    uint32_t bytes, elements; /* of a lane's access */
    uint64_t operations;      /* of an mma */
} trait;

typedef struct tally {
    uint64_t warps, threads, divergent, off, requests, passes;
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

/* Bytes of the last type named: ld.global.v4.b32 → 4. */
static uint32_t type_bytes(trcpu_text opcode) {
    uint32_t bits = 0;
    for (uint32_t i = 1; i < opcode.size; i++)
        if (opcode.at[i - 1] == '.' && strchr("busf", opcode.at[i]) && i + 1 < opcode.size &&
            isdigit((unsigned char)opcode.at[i + 1]))
            bits = (uint32_t)strtoul(opcode.at + i + 1, NULL, 10);
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

static trait trait_of(const trcpu_statement *statement) {
    trait out = {0};
    trcpu_text opcode = statement->opcode;
    if (starts_with(opcode, "mma.") || starts_with(opcode, "wgmma.mma_async")) {
        out.operations = operations_of(opcode);
        return out;
    }
    out.write = starts_with(opcode, "st.");
    if ((!out.write && !starts_with(opcode, "ld.")) || has_segment(opcode, "param")) return out;
    out.space = has_segment(opcode, "global")                                      ? GLOBAL_ACCESS
                : has_segment(opcode, "shared") && !has_segment(opcode, "cluster") ? SHARED_ACCESS
                                                                                   : OTHER_ACCESS;
    out.elements = has_segment(opcode, "v8")   ? 8
                   : has_segment(opcode, "v4") ? 4
                   : has_segment(opcode, "v2") ? 2
                                               : 1;
    out.bytes = out.elements * type_bytes(opcode);
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
        if (function->sources[i].statement) counters->traits[i] = trait_of(function->sources[i].statement);
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

static uint64_t address_of(const trcpu_warp *warp, const trcpu_insn *insn, const trait *is, uint32_t lane) {
    const uint32_t *rows = is->elements <= 4 ? insn->op : insn->rows;
    const char *row = warp->file + rows[is->write ? 0 : is->elements];
    if (is->space == GLOBAL_ACCESS) return ((const uint64_t *)(const void *)row)[lane] + (uint64_t)insn->imm;
    return ((const uint32_t *)(const void *)row)[lane] + (uint32_t)insn->imm;
}

static bool seen(uint64_t *list, uint32_t *count, uint64_t value) {
    for (uint32_t i = 0; i < *count; i++)
        if (list[i] == value) return true;
    list[(*count)++] = value;
    return false;
}

/* The 32-byte sectors that a request touches. */
static uint64_t sectors(const trcpu_warp *warp, const trcpu_insn *insn, const trait *is, uint32_t mask) {
    uint64_t list[32 * 3];
    uint32_t count = 0;
    for (uint32_t lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            uint64_t first = address_of(warp, insn, is, lane), last = first + is->bytes - 1;
            for (uint64_t at = first / 32; at <= last / 32; at++) seen(list, &count, at);
        }
    return count;
}

/* Lanes go together as far as 128 bytes reach; a pass serves each of 32 banks once, one word to all who want
 * it. */
static uint64_t passes(const trcpu_warp *warp, const trcpu_insn *insn, const trait *is, uint32_t mask) {
    uint32_t words = is->bytes > 4 ? is->bytes / 4 : 1, together = 32 / words;
    uint64_t sum = 0;
    for (uint32_t start = 0; start < 32; start += together) {
        uint64_t list[32];
        uint32_t count = 0, banks[32] = {0}, most = 0;
        for (uint32_t lane = start; lane < start + together; lane++)
            for (uint32_t w = 0; mask >> lane & 1 && w < words; w++) {
                uint64_t word = address_of(warp, insn, is, lane) / 4 + w;
                if (seen(list, &count, word)) continue;
                uint32_t depth = ++banks[word % 32];
                most = depth > most ? depth : most;
            }
        sum += most;
    }
    return sum;
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
    if (!mask || (is->space != GLOBAL_ACCESS && is->space != SHARED_ACCESS)) return;
    add(&to->requests, 1);
    add(&to->passes,
        is->space == GLOBAL_ACCESS ? sectors(warp, insn, is, mask) : passes(warp, insn, is, mask));
}

/* ---- telling ---- */
typedef struct sums {
    uint64_t warps, threads, divergent, off, mma, operations;
    uint64_t bytes[4][2]; /* by space; read, written */
    uint64_t requests[4], passes[4];
} sums;

static void sum_up(sums *to, const trait *is, const tally *at) {
    to->warps += at->warps;
    to->threads += at->threads;
    to->divergent += at->divergent;
    to->off += at->off;
    to->mma += is->operations ? at->warps - at->off : 0;
    to->operations += is->operations * (at->warps - at->off);
    to->bytes[is->space][is->write] += is->bytes * at->threads;
    to->requests[is->space] += at->requests;
    to->passes[is->space] += at->passes;
}

static void write_sums(FILE *out, const sums *of) {
#define NUMBER(x) (unsigned long long)(x)
    fprintf(out,
            "\"warp_instructions\": %llu, \"thread_instructions\": %llu, \"divergent\": %llu, "
            "\"predicated_off\": %llu, ",
            NUMBER(of->warps), NUMBER(of->threads), NUMBER(of->divergent), NUMBER(of->off));
    fprintf(out,
            "\"bytes\": {\"global_read\": %llu, \"global_written\": %llu, \"shared_read\": %llu, "
            "\"shared_written\": %llu, \"other_read\": %llu, \"other_written\": %llu}, ",
            NUMBER(of->bytes[GLOBAL_ACCESS][0]), NUMBER(of->bytes[GLOBAL_ACCESS][1]),
            NUMBER(of->bytes[SHARED_ACCESS][0]), NUMBER(of->bytes[SHARED_ACCESS][1]),
            NUMBER(of->bytes[OTHER_ACCESS][0]), NUMBER(of->bytes[OTHER_ACCESS][1]));
    fprintf(out, "\"mma\": {\"instructions\": %llu, \"operations\": %llu}, ", NUMBER(of->mma),
            NUMBER(of->operations));
    fprintf(out,
            "\"global\": {\"requests\": %llu, \"sectors\": %llu}, \"shared\": {\"requests\": %llu, "
            "\"passes\": %llu}",
            NUMBER(of->requests[GLOBAL_ACCESS]), NUMBER(of->passes[GLOBAL_ACCESS]),
            NUMBER(of->requests[SHARED_ACCESS]), NUMBER(of->passes[SHARED_ACCESS]));
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
