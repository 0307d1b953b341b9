/* Statements to instructions: finds the form, gives every operand its row. */
#include "machine/memory.h"
#include "machine/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_OF_ONE 1024

enum {             /* the start of the register file */
       ALWAYS = 0, /* predicate: all lanes */
       NEVER = 4,  /* predicate: none */
       SINK_PREDICATE = 8,
       PREDICATES = 12,
};

typedef struct part { /* a function of the program */
    trcpu_ptx_function *ptx;
    uint32_t *rows;  /* of its registers */
    uint32_t *first; /* statement → its first instruction; one more for the end */
    uint32_t return_row;
    bool active; /* on the way from the kernel to what is being decoded: a call of it would be recursion */
} part;

typedef struct decoder {
    trcpu_function *function;
    const trcpu_variant *variant;
    part *parts;
    uint32_t part_count;
    uint32_t code_room, source_room, row_count, row_room, constant_room, special_room;
    uint32_t sink;
    uint32_t *constant_index; /* a hash table of constants, by number + 1 */
    uint32_t constant_buckets;
    part *current;
    const trcpu_statement *statement;
    uint32_t taken[ROWS_OF_ONE], taken_count; /* of the instruction at hand */
    uint32_t first_count, first_width;
    bool first_set;
    int64_t imm;
    char *log;
    size_t log_size;
    int result;
} decoder;

enum { CUDA_INVALID_PTX = 218, CUDA_UNSUPPORTED = 218, CUDA_OUT_OF_MEMORY = 2 };

static void fail(decoder *d, int result, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void fail(decoder *d, int result, const char *format, ...) {
    if (d->result) return;
    d->result = result;
    int n =
        snprintf(d->log, d->log_size, "line %u: ", d->statement ? d->statement->line : d->current->ptx->line);
    if (n < 0 || (size_t)n >= d->log_size) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(d->log + n, d->log_size - (size_t)n, format, arguments);
    va_end(arguments);
}

static bool grow(decoder *d, void *array, uint32_t *room, uint32_t needed, size_t element) {
    if (needed <= *room) return true;
    uint32_t larger = *room ? 2 * *room : 256;
    while (larger < needed) larger *= 2;
    void *grown = realloc(*(void **)array, larger * element);
    if (!grown) {
        fail(d, CUDA_OUT_OF_MEMORY, "out of memory");
        return false;
    }
    *(void **)array = grown;
    *room = larger;
    return true;
}

static uint32_t take_row(decoder *d, uint32_t bytes) {
    uint32_t row = d->function->file_bytes;
    d->function->file_bytes += bytes == 0 ? 4 : bytes == 8 ? 256 : 128;
    return row;
}

/* ---- rows that hold the same for every warp ---- */
static uint32_t constant_row(decoder *d, uint64_t value, uint32_t bytes) {
    trcpu_function *f = d->function;
    bytes = bytes == 8 ? 8 : 4;
    if (bytes == 4) value = (uint32_t)value;
    if (2 * (f->constant_count + 1) > d->constant_buckets) {
        uint32_t buckets = d->constant_buckets ? 2 * d->constant_buckets : 128;
        uint32_t *index = calloc(buckets, sizeof *index);
        if (!index) {
            fail(d, CUDA_OUT_OF_MEMORY, "out of memory");
            return 0;
        }
        for (uint32_t i = 0; i < f->constant_count; i++) {
            uint32_t at = (uint32_t)(f->constants[i].value * 0x9e3779b97f4a7c15u >> 33) & (buckets - 1);
            while (index[at]) at = (at + 1) & (buckets - 1);
            index[at] = i + 1;
        }
        free(d->constant_index);
        d->constant_index = index;
        d->constant_buckets = buckets;
    }
    uint32_t at = (uint32_t)(value * 0x9e3779b97f4a7c15u >> 33) & (d->constant_buckets - 1);
    for (; d->constant_index[at]; at = (at + 1) & (d->constant_buckets - 1)) {
        const trcpu_constant *c = &f->constants[d->constant_index[at] - 1];
        if (c->value == value && c->bytes == bytes) return c->row;
    }
    if (!grow(d, &f->constants, &d->constant_room, f->constant_count + 1, sizeof *f->constants)) return 0;
    d->constant_index[at] = f->constant_count + 1;
    uint32_t row = take_row(d, bytes);
    f->constants[f->constant_count++] = (trcpu_constant){row, (uint8_t)bytes, value};
    return row;
}

static const char *const special_names[TRCPU_SPECIAL_COUNT] = {"tid.x",
                                                               "tid.y",
                                                               "tid.z",
                                                               "laneid",
                                                               "warpid",
                                                               "nwarpid",
                                                               "lanemask_eq",
                                                               "lanemask_lt",
                                                               "lanemask_le",
                                                               "lanemask_gt",
                                                               "lanemask_ge",
                                                               "ntid.x",
                                                               "ntid.y",
                                                               "ntid.z",
                                                               "nctaid.x",
                                                               "nctaid.y",
                                                               "nctaid.z",
                                                               "ctaid.x",
                                                               "ctaid.y",
                                                               "ctaid.z",
                                                               "smid",
                                                               "nsmid",
                                                               "gridid",
                                                               "clusterid.x",
                                                               "clusterid.y",
                                                               "clusterid.z",
                                                               "nclusterid.x",
                                                               "nclusterid.y",
                                                               "nclusterid.z",
                                                               "cluster_ctaid.x",
                                                               "cluster_ctaid.y",
                                                               "cluster_ctaid.z",
                                                               "cluster_nctaid.x",
                                                               "cluster_nctaid.y",
                                                               "cluster_nctaid.z",
                                                               "cluster_ctarank",
                                                               "cluster_nctarank",
                                                               "is_explicit_cluster",
                                                               "dynamic_smem_size",
                                                               "total_smem_size",
                                                               "clock",
                                                               "clock_hi",
                                                               "clock64",
                                                               "globaltimer",
                                                               "globaltimer_lo",
                                                               "globaltimer_hi"};

static int special_of(trcpu_text name) {
    if (name.size < 2 || name.at[0] != '%') return -1;
    trcpu_text rest = {name.at + 1, name.size - 1};
    for (int i = 0; i < TRCPU_SPECIAL_COUNT; i++)
        if (trcpu_text_is(rest, special_names[i])) return i;
    return -1;
}

static uint32_t special_bytes(uint32_t special) {
    return special == TRCPU_CLOCK64 || special == TRCPU_GLOBALTIMER || special == TRCPU_GRIDID ? 8 : 4;
}

static const trcpu_form *find_form(decoder *d, const char *name) {
    trcpu_opcode opcode = {.count = 1, .segments = {{name, (uint32_t)strlen(name)}}};
    uint8_t mode;
    for (const trcpu_form *const *table = d->variant->tables; *table; table++)
        for (const trcpu_form *form = *table; form->pattern; form++)
            if (trcpu_form_matches(form, &opcode, &mode)) return form;
    return NULL;
}

static trcpu_insn *emit(decoder *d, const trcpu_form *form) {
    trcpu_function *f = d->function;
    if (!grow(d, &f->code, &d->code_room, f->code_size + 1, sizeof *f->code) ||
        !grow(d, &f->sources, &d->source_room, f->code_size + 1, sizeof *f->sources))
        return NULL;
    f->sources[f->code_size] = (trcpu_insn_source){d->statement, d->current->ptx};
    trcpu_insn *insn = &f->code[f->code_size++];
    *insn = (trcpu_insn){.run = form->run, .mode = form->mode};
    return insn;
}

static uint32_t special_row(decoder *d, uint32_t special) {
    trcpu_function *f = d->function;
    uint32_t row = 0;
    for (uint32_t i = 0; i < f->special_count && !row; i++)
        if (f->specials[i].special == special) row = f->specials[i].row;
    if (!row) {
        if (!grow(d, &f->specials, &d->special_room, f->special_count + 1, sizeof *f->specials)) return 0;
        row = take_row(d, special_bytes(special));
        f->specials[f->special_count++] = (trcpu_row_use){row, special};
    }
    if (special >= TRCPU_CLOCK) { /* read anew each time */
        trcpu_insn *insn = emit(d, find_form(d, "%time"));
        if (insn) {
            insn->op[0] = row;
            insn->mode = (uint8_t)special;
        }
    }
    return row;
}

/* ---- operands ---- */
static uint64_t variable_value(const trcpu_operand *operand) {
    return operand->variable->address + (uint64_t)operand->value;
}

static bool is_number(const trcpu_operand *o) {
    return o->kind == TRCPU_OPERAND_INTEGER || o->kind == TRCPU_OPERAND_FLOAT ||
           o->kind == TRCPU_OPERAND_DOUBLE;
}

static uint64_t number_as(const trcpu_operand *o, uint32_t bytes) {
    uint64_t value = (uint64_t)o->value;
    if (o->kind == TRCPU_OPERAND_DOUBLE && bytes == 4) {
        double wide;
        memcpy(&wide, &value, 8);
        float narrow = (float)wide;
        value = 0;
        memcpy(&value, &narrow, 4);
    } else if (o->kind == TRCPU_OPERAND_FLOAT && bytes == 8) {
        float narrow;
        memcpy(&narrow, &value, 4);
        double wide = narrow;
        memcpy(&value, &wide, 8);
    }
    return bytes == 1 || bytes == 2 ? (uint16_t)value : value;
}

static bool width_fits(char letter, uint32_t bytes) {
    switch (letter) {
    case 'p': return bytes == 0;
    case 'h': return bytes == 1 || bytes == 2;
    case 'w': return bytes == 4;
    case 'd': return bytes == 8;
    case 'n': return bytes >= 1 && bytes <= 4;
    case 'r': return bytes != 0;
    default: return false;
    }
}

static void add(decoder *d, bool dry, uint32_t row, uint32_t width) {
    if (dry) return;
    if (d->taken_count == 0) d->first_width = width;
    if (d->taken_count == ROWS_OF_ONE)
        fail(d, CUDA_INVALID_PTX, "too many operands");
    else
        d->taken[d->taken_count++] = row;
}

static uint32_t negation(decoder *d, uint32_t row) {
    uint32_t fresh = take_row(d, 4);
    trcpu_insn *insn = emit(d, find_form(d, "%not"));
    if (insn) {
        insn->op[0] = fresh;
        insn->op[1] = row;
    }
    return fresh;
}

/* One operand for one letter. `dry`: only says whether it fits. */
static bool scalar(decoder *d, const trcpu_operand *o, char letter, bool destination, bool dry) {
    uint32_t bytes = letter == 'd' ? 8 : letter == 'h' ? 2 : 4;
    if (o->kind == TRCPU_OPERAND_REGISTER) {
        uint32_t width = d->current->ptx->registers[o->reg].bytes;
        if (!width_fits(letter, width) || o->value) return false;
        if (o->negated && (width || destination)) return false;
        uint32_t row = d->current->rows[o->reg];
        add(d, dry, o->negated && !dry ? negation(d, row) : row, width);
        return true;
    }
    if (destination) {
        if (o->kind != TRCPU_OPERAND_SINK) return false;
        add(d, dry, letter == 'p' ? SINK_PREDICATE : d->sink, letter == 'p' ? 0 : bytes);
        return true;
    }
    if (letter == 'p') {
        if (o->kind != TRCPU_OPERAND_INTEGER) return false;
        add(d, dry, (o->value != 0) != o->negated ? ALWAYS : NEVER, 0);
        return true;
    }
    if (is_number(o)) {
        add(d, dry, dry ? 0 : constant_row(d, number_as(o, bytes), bytes), bytes);
        return true;
    }
    if (o->kind == TRCPU_OPERAND_VARIABLE) {
        if (letter != 'w' && letter != 'd') return false;
        add(d, dry, dry ? 0 : constant_row(d, variable_value(o), bytes), bytes);
        return true;
    }
    if (o->kind != TRCPU_OPERAND_NAME) return false;
    int special = special_of(o->name);
    if (special >= 0) {
        uint32_t width = special_bytes((uint32_t)special);
        if (letter == 'w' && width == 8 && special != TRCPU_GRIDID) return false;
        if (letter == 'd' && width == 4) return false;
        add(d, dry, dry ? 0 : special_row(d, (uint32_t)special), width);
        return true;
    }
    if (trcpu_text_is(o->name, "WARP_SZ")) {
        add(d, dry, dry ? 0 : constant_row(d, 32, bytes), bytes);
        return true;
    }
    return false;
}

/* A helper instruction before the one at hand: fresh row ← name(row, imm). */
static uint32_t prepare(decoder *d, const char *name, uint32_t row, int64_t imm, uint32_t bytes) {
    uint32_t fresh = take_row(d, bytes);
    trcpu_insn *insn = emit(d, find_form(d, name));
    if (insn) {
        insn->op[0] = fresh;
        insn->op[1] = row;
        insn->imm = imm;
    }
    return fresh;
}

/* base + offset as a row of 64-bit addresses (letters A, a) or 32-bit ones (S, s: shared, local); the offset goes to
   imm for a capital, else into the row. */
static bool address_row(decoder *d, const trcpu_operand *base, char letter, bool dry) {
    bool folds = letter == 'a' || letter == 's';
    uint32_t bytes = letter == 'A' || letter == 'a' ? 8 : 4, row;
    int64_t offset = base->value;
    if (base->kind == TRCPU_OPERAND_REGISTER) {
        uint32_t width = d->current->ptx->registers[base->reg].bytes;
        if (width != 4 && width != 8) return false;
        if (dry) return true;
        row = d->current->rows[base->reg];
        if (width != bytes) row = prepare(d, bytes == 8 ? "%widen" : "%narrow", row, 0, bytes);
    } else if (base->kind == TRCPU_OPERAND_VARIABLE || base->kind == TRCPU_OPERAND_INTEGER) {
        if (dry) return true;
        bool is_variable = base->kind == TRCPU_OPERAND_VARIABLE;
        row = constant_row(d, is_variable ? base->variable->address : (uint64_t)base->value, bytes);
        offset = is_variable ? base->value : 0;
    } else {
        return false;
    }
    if (offset && (folds || d->imm))
        row = prepare(d, bytes == 8 ? "%offset64" : "%offset32", row, offset, bytes);
    else if (offset)
        d->imm = offset;
    add(d, dry, row, bytes);
    return true;
}

static bool address(decoder *d, const trcpu_operand *o, char letter, bool dry) {
    return o->kind == TRCPU_OPERAND_ADDRESS && o->count == 1 && address_row(d, &o->items[0], letter, dry);
}

static bool vector(decoder *d, const trcpu_operand *o, bool destination, bool dry) {
    const trcpu_operand *items = o->kind == TRCPU_OPERAND_LIST ? o->items : o;
    uint32_t count = o->kind == TRCPU_OPERAND_LIST ? o->count : 1;
    if (count == 0) return false;
    uint32_t width = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t mine =
            items[i].kind == TRCPU_OPERAND_REGISTER ? d->current->ptx->registers[items[i].reg].bytes : 0;
        width = mine ? mine : width;
    }
    char letter = width == 8 ? 'd' : width == 4 ? 'w' : width ? 'h' : 'w';
    for (uint32_t i = 0; i < count; i++)
        if (!scalar(d, &items[i], letter, destination, dry)) return false;
    if (!dry && !d->first_set) {
        d->first_width = letter == 'd' ? 8 : letter == 'h' ? 2 : 4;
        d->first_count = count;
        d->first_set = true;
    }
    return true;
}

static const trcpu_label *find_label(const part *p, trcpu_text name) {
    for (uint32_t i = 0; i < p->ptx->label_count; i++)
        if (trcpu_text_equal(p->ptx->labels[i].name, name)) return &p->ptx->labels[i];
    return NULL;
}

/* [map, {coordinates}]: the map's address, then up to five rows. */
static bool tile(decoder *d, const trcpu_operand *o, bool dry) {
    if (o->kind != TRCPU_OPERAND_ADDRESS || o->count != 2 || o->items[1].kind != TRCPU_OPERAND_LIST ||
        o->items[1].count > 5)
        return false;
    return address_row(d, &o->items[0], 'a', dry) && vector(d, &o->items[1], false, dry);
}

/* A predicate after the bar of "a|p", or none. */
static bool with_predicate(decoder *d, const trcpu_operand *o, char letter, bool dry) {
    char first = letter == 'P' ? 'p' : 'w';
    if (o->kind == TRCPU_OPERAND_PAIR)
        return scalar(d, &o->items[0], first, true, dry) && scalar(d, &o->items[1], 'p', true, dry);
    if (!scalar(d, o, first, true, dry)) return false;
    add(d, dry, SINK_PREDICATE, 0);
    return true;
}

static bool operand_fits(decoder *d, const trcpu_operand *o, char letter, bool destination, bool dry) {
    switch (letter) {
    case 'p':
    case 'h':
    case 'w':
    case 'd':
    case 'n':
    case 'r': return scalar(d, o, letter, destination, dry);
    case 'A':
    case 'S':
    case 'a':
    case 's': return address(d, o, letter, dry);
    case 'T': return tile(d, o, dry);
    case 'V': return vector(d, o, destination, dry);
    case 'P':
    case 'W': return with_predicate(d, o, letter, dry);
    case '_': return true;
    case '#':
        if (o->kind != TRCPU_OPERAND_INTEGER) return false;
        if (!dry) d->imm = o->value;
        return true;
    case 'N': {
        const trcpu_label *label = o->kind == TRCPU_OPERAND_NAME ? find_label(d->current, o->name) : NULL;
        if (!label) return false;
        if (!dry) d->imm = label - d->current->ptx->labels;
        return true;
    }
    default: return false;
    }
}

static bool list_fits(decoder *d, const trcpu_operand *o, const char **letters, bool destination, bool dry) {
    const char *at = *letters + 1;
    uint32_t n = 0;
    bool fits = o->kind == TRCPU_OPERAND_LIST;
    for (; *at != '}'; at++, n++)
        fits = fits && n < o->count && operand_fits(d, &o->items[n], *at, destination, dry);
    *letters = at;
    return fits && n == o->count;
}

static bool operands_fit(decoder *d, const char *letters, const trcpu_statement *s, bool dry) {
    bool destination = true;
    uint32_t next = 0;
    for (; *letters; letters++) {
        if (*letters == '=') {
            destination = false;
            continue;
        }
        bool optional = *letters == '?';
        letters += optional;
        if (next == s->operand_count && optional) {
            if (*letters == 'p')
                add(d, dry, NEVER, 0);
            else if (*letters != '_' && *letters != '#')
                add(d, dry, dry ? 0 : constant_row(d, 0, *letters == 'd' ? 8 : 4), 4);
            continue;
        }
        if (next == s->operand_count) return false;
        const trcpu_operand *o = &s->operands[next++];
        if (*letters == '{' ? !list_fits(d, o, &letters, destination, dry)
                            : !operand_fits(d, o, *letters, destination, dry))
            return false;
    }
    return next == s->operand_count;
}

/* ---- statements ---- */
static uint8_t destination_count(const char *letters) {
    uint8_t n = 0;
    for (; *letters && *letters != '='; letters++) n += *letters != '{' && *letters != '}' && *letters != '?';
    return n;
}

static bool keep_rows(decoder *d, trcpu_insn *insn) {
    trcpu_function *f = d->function;
    insn->rows = NULL;
    memcpy(insn->op, d->taken, (d->taken_count < TRCPU_INLINE_ROWS ? d->taken_count : TRCPU_INLINE_ROWS) * 4);
    if (d->taken_count <= TRCPU_INLINE_ROWS) return true;
    if (!grow(d, &f->rows, &d->row_room, d->row_count + d->taken_count, sizeof *f->rows)) return false;
    memcpy(f->rows + d->row_count, d->taken, d->taken_count * sizeof *d->taken);
    insn->rows =
        (const uint32_t *)((uintptr_t)d->row_count + 1); /* becomes a pointer when all rows are there */
    d->row_count += d->taken_count;
    return true;
}

/* ld.param and st.param but of the kernel's own parameters are accesses to bytes of the lane. */
static bool is_lane_parameter(decoder *d, const trcpu_statement *s) {
    for (uint32_t i = 0; i < s->operand_count; i++) {
        const trcpu_operand *o = &s->operands[i];
        if (o->kind == TRCPU_OPERAND_ADDRESS && o->count == 1 && o->items[0].kind == TRCPU_OPERAND_VARIABLE) {
            const trcpu_variable *v = o->items[0].variable;
            if (v->space != TRCPU_SPACE_PARAM) return false;
            for (uint32_t k = 0; k < d->current->ptx->parameter_count; k++)
                if (d->current->ptx->parameters[k] == v && d->current->ptx->is_entry) return false;
            return true;
        }
    }
    return !d->current->ptx->is_entry;
}

/* Very many accesses share slots: a slot only remembers. */
static uint16_t take_slot(trcpu_function *f) {
    return (uint16_t)(f->slot_count < 60000 ? f->slot_count++ : f->code_size % 60000);
}

static void decode_plain(decoder *d, const trcpu_statement *s) {
    trcpu_opcode opcode;
    if (!trcpu_opcode_split(s->opcode, &opcode)) {
        fail(d, CUDA_UNSUPPORTED, "too long an opcode: %.*s", (int)s->text.size, s->text.at);
        return;
    }
    if (opcode.count > 1 && trcpu_text_is(opcode.segments[1], "param") && is_lane_parameter(d, s))
        opcode.segments[1] = (trcpu_text){"local", 5};
    bool known = false;
    for (const trcpu_form *const *table = d->variant->tables; *table; table++) {
        for (const trcpu_form *form = *table; form->pattern; form++) {
            uint8_t mode;
            if (!trcpu_form_matches(form, &opcode, &mode)) continue;
            known = true;
            if (!operands_fit(d, form->operands, s, true)) continue;
            d->taken_count = d->first_count = d->first_width = 0;
            d->first_set = false;
            d->imm = 0;
            operands_fit(d, form->operands, s, false);
            trcpu_insn *insn = emit(d, form);
            if (!insn || !keep_rows(d, insn)) return;
            insn->imm = d->imm;
            insn->mode = mode;
            insn->flags = opcode.flags;
            insn->count = (uint8_t)d->first_count;
            insn->width = (uint8_t)d->first_width;
            insn->guard = s->guard < 0 ? ALWAYS : d->current->rows[s->guard];
            insn->guard_flip = s->guard_negated ? ~0u : 0;
            if (form->kind & TRCPU_FORM_PURE) insn->pure = destination_count(form->operands);
            if (form->kind & TRCPU_FORM_MEMORY) insn->slot = take_slot(d->function);
            if (form->kind & TRCPU_FORM_BRANCH)
                insn->slot = UINT16_MAX; /* imm: a label, resolved at the end */
            return;
        }
    }
    fail(d, known ? CUDA_INVALID_PTX : CUDA_UNSUPPORTED,
         known ? "the operands don't fit: %.*s" : "the instruction is not supported by the CPU device: %.*s",
         (int)s->text.size, s->text.at);
}

/* ---- calls ---- */
static part *find_part(decoder *d, trcpu_text name) {
    for (uint32_t i = 0; i < d->part_count; i++)
        if (trcpu_text_equal(d->parts[i].ptx->name, name)) return &d->parts[i];
    return NULL;
}

static void copy_parameters(decoder *d, const trcpu_statement *s, const trcpu_operand *list,
                            trcpu_variable *const *formal, uint32_t count, bool back) {
    if ((list ? list->count : 0) != count) {
        fail(d, CUDA_INVALID_PTX, "the call passes %u values, the function has %u: %.*s",
             list ? list->count : 0, count, (int)s->text.size, s->text.at);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const trcpu_variable *mine = list->items[i].variable;
        if (list->items[i].kind != TRCPU_OPERAND_VARIABLE || mine->size < formal[i]->size) {
            fail(d, CUDA_INVALID_PTX, "parameter %u of the call doesn't fit: %.*s", i, (int)s->text.size,
                 s->text.at);
            return;
        }
        trcpu_insn *insn = emit(d, find_form(d, "%copy"));
        if (!insn) return;
        insn->guard = s->guard < 0 ? ALWAYS : d->current->rows[s->guard];
        insn->guard_flip = s->guard_negated ? ~0u : 0;
        insn->op[0] = (uint32_t)(back ? mine->address : formal[i]->address);
        insn->op[1] = (uint32_t)(back ? formal[i]->address : mine->address);
        insn->op[2] = (uint32_t)formal[i]->size;
    }
}

static void decode_call(decoder *d, const trcpu_statement *s) {
    const trcpu_operand *returns = NULL, *arguments = NULL, *name = NULL;
    for (uint32_t i = 0; i < s->operand_count; i++) {
        const trcpu_operand *o = &s->operands[i];
        if (o->kind == TRCPU_OPERAND_LIST)
            *(name ? &arguments : &returns) = o;
        else if (!name)
            name = o;
    }
    if (!name || name->kind != TRCPU_OPERAND_NAME) {
        fail(d, CUDA_UNSUPPORTED, "indirect calls are not supported by the CPU device: %.*s",
             (int)s->text.size, s->text.at);
        return;
    }
    const char *builtin = trcpu_text_is(name->name, "vprintf")        ? "%vprintf"
                          : trcpu_text_is(name->name, "__assertfail") ? "%assertfail"
                                                                      : NULL;
    part *callee = builtin ? NULL : find_part(d, name->name);
    if (!builtin && !callee) {
        fail(d, CUDA_UNSUPPORTED, "the function '%.*s' is not known to the CPU device", (int)name->name.size,
             name->name.at);
        return;
    }
    if (callee && callee->active) {
        fail(d, CUDA_UNSUPPORTED, "recursion is not supported by the CPU device: %.*s", (int)s->text.size,
             s->text.at);
        return;
    }
    if (callee)
        copy_parameters(d, s, arguments, callee->ptx->parameters, callee->ptx->parameter_count, false);
    trcpu_insn *insn = emit(d, find_form(d, builtin ? builtin : "%call"));
    if (!insn) return;
    insn->guard = s->guard < 0 ? ALWAYS : d->current->rows[s->guard];
    insn->guard_flip = s->guard_negated ? ~0u : 0;
    if (callee) {
        insn->op[0] = callee->return_row;
        insn->op[1] = (uint32_t)(callee - d->parts);
        insn->slot = UINT16_MAX;
        copy_parameters(d, s, returns, callee->ptx->returns, callee->ptx->return_count, true);
        return;
    }
    for (uint32_t i = 0; arguments && i < arguments->count && i < TRCPU_INLINE_ROWS - 1; i++)
        if (arguments->items[i].kind == TRCPU_OPERAND_VARIABLE)
            insn->op[i] = (uint32_t)arguments->items[i].variable->address;
    insn->op[TRCPU_INLINE_ROWS - 1] = ~0u;
    if (returns && returns->count == 1 && returns->items[0].kind == TRCPU_OPERAND_VARIABLE)
        insn->op[TRCPU_INLINE_ROWS - 1] = (uint32_t)returns->items[0].variable->address;
}

static void decode_return(decoder *d, const trcpu_statement *s) {
    trcpu_insn *insn = emit(
        d, find_form(d, d->current->ptx->is_entry || (s && trcpu_text_is(s->opcode, "exit")) ? "%exit"
                                                                                             : "%return"));
    if (!insn) return;
    insn->op[0] = d->current->return_row;
    insn->guard = !s || s->guard < 0 ? ALWAYS : d->current->rows[s->guard];
    insn->guard_flip = s && s->guard_negated ? ~0u : 0;
}

static void decode_part(decoder *d, part *p) {
    d->current = p;
    for (uint32_t i = 0; i < p->ptx->statement_count && !d->result; i++) {
        const trcpu_statement *s = d->statement = &p->ptx->statements[i];
        p->first[i] = d->function->code_size;
        if (s->opcode.size >= 4 && memcmp(s->opcode.at, "call", 4) == 0)
            decode_call(d, s);
        else if (trcpu_text_is(s->opcode, "ret") || trcpu_text_is(s->opcode, "ret.uni") ||
                 trcpu_text_is(s->opcode, "exit"))
            decode_return(d, s);
        else
            decode_plain(d, s);
    }
    p->first[p->ptx->statement_count] = d->function->code_size;
    d->statement = p->ptx->statement_count ? &p->ptx->statements[p->ptx->statement_count - 1] : NULL;
    if (!d->result) decode_return(d, NULL);
}

/* ---- the whole ---- */
static uint32_t place(uint32_t *end, const trcpu_variable *v) {
    uint32_t at = (*end + v->alignment - 1) & ~(v->alignment - 1);
    *end = at + (uint32_t)v->size;
    return at;
}

/* Parameters of functions and of calls, and .local variables: bytes of the lane. */
static void place_variables(decoder *d, part *p) {
    trcpu_function *f = d->function;
    for (uint32_t i = 0; i < p->ptx->variable_count; i++) {
        trcpu_variable *v = p->ptx->variables[i];
        v->address = place(v->space == TRCPU_SPACE_SHARED ? &f->shared_bytes : &f->frame_bytes, v);
    }
    if (p->ptx->is_entry) return;
    for (uint32_t i = 0; i < p->ptx->parameter_count; i++)
        p->ptx->parameters[i]->address = place(&f->frame_bytes, p->ptx->parameters[i]);
    for (uint32_t i = 0; i < p->ptx->return_count; i++)
        p->ptx->returns[i]->address = place(&f->frame_bytes, p->ptx->returns[i]);
}

static void place_shared(decoder *d) {
    trcpu_function *f = d->function;
    trcpu_ptx *ptx = f->module->ptx;
    uint32_t alignment = 16;
    for (uint32_t i = 0; i < ptx->variable_count; i++) {
        trcpu_variable *v = ptx->variables[i];
        if (v->space != TRCPU_SPACE_SHARED) continue;
        if (v->size)
            v->address = place(&f->shared_bytes, v);
        else if (v->alignment > alignment)
            alignment = v->alignment;
    }
    f->shared_dynamic = (f->shared_bytes + alignment - 1) & ~(alignment - 1);
    for (uint32_t i = 0; i < ptx->variable_count; i++)
        if (ptx->variables[i]->space == TRCPU_SPACE_SHARED && !ptx->variables[i]->size)
            ptx->variables[i]->address = f->shared_dynamic;
}

static void add_part(decoder *d, trcpu_ptx_function *ptx) {
    part *p = &d->parts[d->part_count++];
    *p = (part){.ptx = ptx,
                .rows = calloc(ptx->register_count + 1, sizeof *p->rows),
                .first = calloc(ptx->statement_count + 1, sizeof *p->first)};
    if (!p->rows || !p->first) {
        d->current = p;
        fail(d, CUDA_OUT_OF_MEMORY, "out of memory");
    }
}

/* The kernel, then what it calls, and what that calls. */
static void add_parts(decoder *d) {
    trcpu_ptx *ptx = d->function->module->ptx;
    add_part(d, d->function->ptx);
    for (uint32_t i = 0; i < d->part_count && !d->result; i++) {
        for (uint32_t k = 0; k < d->parts[i].ptx->statement_count; k++) {
            const trcpu_statement *s = &d->parts[i].ptx->statements[k];
            if (s->opcode.size < 4 || memcmp(s->opcode.at, "call", 4) != 0) continue;
            for (uint32_t o = 0; o < s->operand_count; o++) {
                if (s->operands[o].kind != TRCPU_OPERAND_NAME || find_part(d, s->operands[o].name)) continue;
                for (uint32_t n = 0; n < ptx->function_count; n++)
                    if (!ptx->functions[n]->is_entry && ptx->functions[n]->has_body &&
                        trcpu_text_equal(ptx->functions[n]->name, s->operands[o].name)) {
                        add_part(d, ptx->functions[n]);
                        break;
                    }
            }
        }
    }
}

static bool calls(const part *p, trcpu_text name) {
    for (uint32_t k = 0; k < p->ptx->statement_count; k++) {
        const trcpu_statement *s = &p->ptx->statements[k];
        for (uint32_t o = 0;
             s->opcode.size >= 4 && memcmp(s->opcode.at, "call", 4) == 0 && o < s->operand_count; o++)
            if (s->operands[o].kind == TRCPU_OPERAND_NAME && trcpu_text_equal(s->operands[o].name, name))
                return true;
    }
    return false;
}

/* A function that reaches itself is refused: its registers are rows of their own, once. */
static void refuse_recursion(decoder *d, part *p, uint32_t depth) {
    if (p->active || depth > d->part_count) {
        d->current = p;
        fail(d, CUDA_UNSUPPORTED, "recursion is not supported by the CPU device: %.*s",
             (int)p->ptx->name.size, p->ptx->name.at);
        return;
    }
    p->active = true;
    for (uint32_t i = 0; i < d->part_count && !d->result; i++)
        if (calls(p, d->parts[i].ptx->name)) refuse_recursion(d, &d->parts[i], depth + 1);
    p->active = false;
}

static void place_registers(decoder *d) {
    trcpu_function *f = d->function;
    f->file_bytes = PREDICATES;
    for (int predicates = 1; predicates >= 0; predicates--) {
        if (!predicates) f->file_bytes = (f->file_bytes + 127) & ~127u;
        for (uint32_t i = 0; i < d->part_count; i++) {
            part *p = &d->parts[i];
            for (uint32_t r = 0; r < p->ptx->register_count; r++)
                if ((p->ptx->registers[r].bytes == 0) == (predicates != 0))
                    p->rows[r] = take_row(d, p->ptx->registers[r].bytes);
        }
    }
    for (uint32_t i = 0; i < d->part_count; i++) d->parts[i].return_row = take_row(d, 4);
    d->sink = take_row(d, 8);
}

static int64_t address_of(decoder *d, const part *p, const trcpu_label *label) {
    return (int64_t)(uintptr_t)&d->function->code[p->first[label->statement]];
}

/* The table of a .branchtargets label, behind those before it. */
static int64_t target_table(decoder *d, const part *p, const trcpu_label *label, uint32_t *end) {
    uint64_t *table = d->function->targets + *end;
    table[0] = label->target_count;
    for (uint32_t i = 0; i < label->target_count; i++) {
        const trcpu_label *target = find_label(p, label->targets[i].name);
        if (!target)
            fail(d, CUDA_INVALID_PTX, "there is no label '%.*s'", (int)label->targets[i].name.size,
                 label->targets[i].name.at);
        else
            table[1 + i] = (uint64_t)address_of(d, p, target);
    }
    *end += 1 + label->target_count;
    return (int64_t)(uintptr_t)table;
}

/* Room for a table per branch by index. */
static bool reserve_tables(decoder *d) {
    uint32_t room = 1;
    for (uint32_t i = 0; i < d->part_count; i++)
        for (uint32_t k = 0; k < d->parts[i].ptx->statement_count; k++) {
            const trcpu_statement *s = &d->parts[i].ptx->statements[k];
            const trcpu_label *label =
                s->operand_count == 2 ? find_label(&d->parts[i], s->operands[1].name) : NULL;
            room += label ? 1 + label->target_count : 0;
        }
    d->function->targets = calloc(room, sizeof *d->function->targets);
    if (!d->function->targets) fail(d, CUDA_OUT_OF_MEMORY, "out of memory");
    return d->function->targets != NULL;
}

static void resolve(decoder *d) {
    trcpu_function *f = d->function;
    uint32_t tables = 0;
    if (!reserve_tables(d)) return;
    const trcpu_form *call = find_form(d, "%call");
    for (uint32_t i = 0; i < d->part_count && !d->result; i++) {
        part *p = d->current = &d->parts[i];
        uint32_t end = i + 1 < d->part_count ? d->parts[i + 1].first[0] : f->code_size;
        for (uint32_t k = p->first[0]; k < end; k++) {
            trcpu_insn *insn = &f->code[k];
            insn->rows = insn->rows ? f->rows + ((uintptr_t)insn->rows - 1) : insn->op;
            if (insn->slot != UINT16_MAX) continue;
            insn->slot = 0;
            if (insn->run == call->run)
                insn->imm = (int64_t)(uintptr_t)&f->code[d->parts[insn->op[1]].first[0]];
            else if (insn->mode == 1)
                insn->imm = target_table(d, p, &p->ptx->labels[insn->imm], &tables);
            else
                insn->imm = address_of(d, p, &p->ptx->labels[insn->imm]);
        }
    }
}

int trcpu_function_decode(trcpu_function *function, const trcpu_variant *variant, char *log,
                          size_t log_size) {
    decoder d = {.function = function, .variant = variant, .log = log, .log_size = log_size};
    d.parts = calloc(function->module->ptx->function_count + 1, sizeof *d.parts);
    if (!d.parts) return CUDA_OUT_OF_MEMORY;
    add_parts(&d);
    if (!d.result) refuse_recursion(&d, &d.parts[0], 0);
    if (!d.result) place_registers(&d);
    for (uint32_t i = 0; i < d.part_count && !d.result; i++) place_variables(&d, &d.parts[i]);
    if (!d.result) place_shared(&d);
    for (uint32_t i = 0; i < d.part_count && !d.result; i++) decode_part(&d, &d.parts[i]);
    if (!d.result) resolve(&d);
    function->frame_bytes = (function->frame_bytes + 15) & ~15u;
    for (uint32_t i = 0; i < d.part_count; i++) {
        free(d.parts[i].rows);
        free(d.parts[i].first);
    }
    free(d.parts);
    free(d.constant_index);
    return d.result;
}

void trcpu_function_release(trcpu_function *function) {
    free(function->code);
    free(function->sources);
    free(function->rows);
    free(function->targets);
    free(function->constants);
    free(function->specials);
    free(function->parameters);
    free(function->name);
}
