/* Operands to rows, by the letters of a form. */
#include "machine/decoder.h"

#include <string.h>

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

static void add(trcpu_decoder *d, bool dry, uint32_t row, uint32_t width) {
    if (dry) return;
    if (d->taken_count == 0) d->first_width = width;
    if (d->taken_count == TRCPU_ROWS_OF_ONE)
        trcpu_decoder_fail(d, TRCPU_INVALID_PTX, "too many operands");
    else
        d->taken[d->taken_count++] = row;
}

static uint32_t negation(trcpu_decoder *d, uint32_t row) {
    uint32_t fresh = trcpu_row_take(d, 4);
    trcpu_insn *insn = trcpu_decoder_emit(d, trcpu_decoder_form(d, "%not"));
    if (insn) {
        insn->op[0] = fresh;
        insn->op[1] = row;
    }
    return fresh;
}

/* One operand for one letter. `dry`: only says whether it fits. */
static bool scalar(trcpu_decoder *d, const trcpu_operand *o, char letter, bool destination, bool dry) {
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
        add(d, dry, letter == 'p' ? TRCPU_SINK_PREDICATE : d->sink, letter == 'p' ? 0 : bytes);
        return true;
    }
    if (letter == 'p') {
        if (o->kind != TRCPU_OPERAND_INTEGER) return false;
        add(d, dry, (o->value != 0) != o->negated ? TRCPU_ALWAYS : TRCPU_NEVER, 0);
        return true;
    }
    if (is_number(o)) {
        add(d, dry, dry ? 0 : trcpu_row_constant(d, number_as(o, bytes), bytes), bytes);
        return true;
    }
    if (o->kind == TRCPU_OPERAND_VARIABLE) {
        if (letter != 'w' && letter != 'd') return false;
        add(d, dry, dry ? 0 : trcpu_row_constant(d, variable_value(o), bytes), bytes);
        return true;
    }
    if (o->kind != TRCPU_OPERAND_NAME) return false;
    int special = trcpu_special_find(o->name);
    if (special >= 0) {
        uint32_t width = trcpu_special_bytes((uint32_t)special);
        if (letter == 'w' && width == 8 && special != TRCPU_GRIDID) return false;
        if (letter == 'd' && width == 4) return false;
        add(d, dry, dry ? 0 : trcpu_row_special(d, (uint32_t)special), width);
        return true;
    }
    if (trcpu_text_is(o->name, "WARP_SZ")) {
        add(d, dry, dry ? 0 : trcpu_row_constant(d, 32, bytes), bytes);
        return true;
    }
    return false;
}

/* A helper instruction before the one at hand: fresh row ← name(row, imm). */
static uint32_t prepare(trcpu_decoder *d, const char *name, uint32_t row, int64_t imm, uint32_t bytes) {
    uint32_t fresh = trcpu_row_take(d, bytes);
    trcpu_insn *insn = trcpu_decoder_emit(d, trcpu_decoder_form(d, name));
    if (insn) {
        insn->op[0] = fresh;
        insn->op[1] = row;
        insn->imm = imm;
    }
    return fresh;
}

/* base + offset as a row of 64-bit addresses (letters A, a) or 32-bit ones (S, s: shared, local); the offset goes to
   imm for a capital, else into the row. */
static bool address_row(trcpu_decoder *d, const trcpu_operand *base, char letter, bool dry) {
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
        row = trcpu_row_constant(d, is_variable ? base->variable->address : (uint64_t)base->value, bytes);
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

static bool address(trcpu_decoder *d, const trcpu_operand *o, char letter, bool dry) {
    return o->kind == TRCPU_OPERAND_ADDRESS && o->count == 1 && address_row(d, &o->items[0], letter, dry);
}

static bool vector(trcpu_decoder *d, const trcpu_operand *o, bool destination, bool dry) {
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

/* [map, {coordinates}]: the map's address, then up to five rows. */
static bool tile(trcpu_decoder *d, const trcpu_operand *o, bool dry) {
    if (o->kind != TRCPU_OPERAND_ADDRESS || o->count != 2 || o->items[1].kind != TRCPU_OPERAND_LIST ||
        o->items[1].count > 5)
        return false;
    return address_row(d, &o->items[0], 'a', dry) && vector(d, &o->items[1], false, dry);
}

/* A predicate after the bar of "a|p", or none. */
static bool with_predicate(trcpu_decoder *d, const trcpu_operand *o, char letter, bool dry) {
    char first = letter == 'P' ? 'p' : 'w';
    if (o->kind == TRCPU_OPERAND_PAIR)
        return scalar(d, &o->items[0], first, true, dry) && scalar(d, &o->items[1], 'p', true, dry);
    if (!scalar(d, o, first, true, dry)) return false;
    add(d, dry, TRCPU_SINK_PREDICATE, 0);
    return true;
}

static bool operand_fits(trcpu_decoder *d, const trcpu_operand *o, char letter, bool destination, bool dry) {
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
        const trcpu_label *label =
            o->kind == TRCPU_OPERAND_NAME
                ? trcpu_label_find(d->current, o->name,
                                   (uint32_t)(d->statement - d->current->ptx->statements))
                : NULL;
        if (!label) return false;
        if (!dry) d->imm = label - d->current->ptx->labels;
        return true;
    }
    default: return false;
    }
}

static bool list_fits(trcpu_decoder *d, const trcpu_operand *o, const char **letters, bool destination,
                      bool dry) {
    const char *at = *letters + 1;
    uint32_t n = 0;
    bool fits = o->kind == TRCPU_OPERAND_LIST;
    for (; *at != '}'; at++, n++)
        fits = fits && n < o->count && operand_fits(d, &o->items[n], *at, destination, dry);
    *letters = at;
    return fits && n == o->count;
}

bool trcpu_operands_fit(trcpu_decoder *d, const char *letters, const trcpu_statement *s, bool dry) {
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
                add(d, dry, TRCPU_NEVER, 0);
            else if (*letters != '_' && *letters != '#')
                add(d, dry, dry ? 0 : trcpu_row_constant(d, 0, *letters == 'd' ? 8 : 4), 4);
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
