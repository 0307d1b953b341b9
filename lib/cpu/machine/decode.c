/* Statements to instructions: finds the form, gives every operand its row. */
#include "machine/decoder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void trcpu_decoder_fail(trcpu_decoder *d, int result, const char *format, ...) {
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

bool trcpu_decoder_grow(trcpu_decoder *d, void *array, uint32_t *room, uint32_t needed, size_t element) {
    if (needed <= *room) return true;
    uint32_t larger = *room ? 2 * *room : 256;
    while (larger < needed) larger *= 2;
    void *grown = realloc(*(void **)array, larger * element);
    if (!grown) {
        trcpu_decoder_fail(d, TRCPU_OUT_OF_MEMORY, "out of memory");
        return false;
    }
    *(void **)array = grown;
    *room = larger;
    return true;
}

const trcpu_form *trcpu_decoder_form(trcpu_decoder *d, const char *name) {
    trcpu_opcode opcode = {.count = 1, .segments = {{name, (uint32_t)strlen(name)}}};
    uint8_t mode;
    for (const trcpu_form *const *table = d->variant->tables; *table; table++)
        for (const trcpu_form *form = *table; form->pattern; form++)
            if (trcpu_form_matches(form, &opcode, &mode)) return form;
    return NULL;
}

trcpu_insn *trcpu_decoder_emit(trcpu_decoder *d, const trcpu_form *form) {
    trcpu_function *f = d->function;
    if (!trcpu_decoder_grow(d, &f->code, &d->code_room, f->code_size + 1, sizeof *f->code) ||
        !trcpu_decoder_grow(d, &f->sources, &d->source_room, f->code_size + 1, sizeof *f->sources))
        return NULL;
    f->sources[f->code_size] = (trcpu_insn_source){d->statement, d->current->ptx};
    trcpu_insn *insn = &f->code[f->code_size++];
    *insn = (trcpu_insn){.run = form->run, .mode = form->mode};
    return insn;
}

const trcpu_label *trcpu_label_find(const trcpu_part *p, trcpu_text name, uint32_t statement) {
    const trcpu_label *found = NULL;
    for (uint32_t i = 0; i < p->ptx->label_count; i++) {
        const trcpu_label *label = &p->ptx->labels[i];
        if (statement < label->begin || statement >= label->end || !trcpu_text_equal(label->name, name))
            continue;
        if (!found || label->end - label->begin < found->end - found->begin) found = label;
    }
    return found;
}

/* ---- statements ---- */
static uint8_t destination_count(const char *letters) {
    uint8_t n = 0;
    for (; *letters && *letters != '='; letters++) n += *letters != '{' && *letters != '}' && *letters != '?';
    return n;
}

static bool keep_rows(trcpu_decoder *d, trcpu_insn *insn) {
    trcpu_function *f = d->function;
    insn->rows = NULL;
    memcpy(insn->op, d->taken, (d->taken_count < TRCPU_INLINE_ROWS ? d->taken_count : TRCPU_INLINE_ROWS) * 4);
    if (d->taken_count <= TRCPU_INLINE_ROWS) return true;
    if (!trcpu_decoder_grow(d, &f->rows, &d->row_room, d->row_count + d->taken_count, sizeof *f->rows))
        return false;
    memcpy(f->rows + d->row_count, d->taken, d->taken_count * sizeof *d->taken);
    insn->rows =
        (const uint32_t *)((uintptr_t)d->row_count + 1); /* becomes a pointer when all rows are there */
    d->row_count += d->taken_count;
    return true;
}

/* ld.param and st.param but of the kernel's own parameters are accesses to bytes of the lane. */
static bool is_lane_parameter(trcpu_decoder *d, const trcpu_statement *s) {
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

static bool is_function(const trcpu_decoder *d, trcpu_text name) {
    const trcpu_ptx *ptx = d->function->module->ptx;
    for (uint32_t i = 0; i < ptx->function_count; i++)
        if (trcpu_text_equal(ptx->functions[i]->name, name)) return true;
    return false;
}

/* From where the search stands, the next form that the opcode matches. */
static bool find_form(const trcpu_decoder *d, const trcpu_opcode *opcode, trcpu_search *search) {
    if (!search->table) *search = (trcpu_search){.table = d->variant->tables, .form = *d->variant->tables};
    for (; *search->table; search->form = *++search->table)
        for (; search->form && search->form->pattern; search->form++)
            if (*search->form->pattern == *opcode->segments[0].at && /* most don't: cheaper than asking */
                trcpu_form_matches(search->form, opcode, &search->mode))
                return true;
    return false;
}

static bool understand(trcpu_decoder *d, const trcpu_statement *s, trcpu_opcode *opcode) {
    trcpu_text pair[2];
    if (trcpu_opcode_clashes(s->opcode, pair))
        trcpu_decoder_fail(d, TRCPU_INVALID_PTX, "'.%.*s' cannot be combined with '.%.*s': %.*s",
                           (int)pair[0].size, pair[0].at, (int)pair[1].size, pair[1].at, (int)s->text.size,
                           s->text.at);
    else if (!trcpu_opcode_split(s->opcode, opcode))
        trcpu_decoder_fail(d, TRCPU_UNSUPPORTED, "too long an opcode: %.*s", (int)s->text.size, s->text.at);
    else if (trcpu_opcode_target(opcode) > d->function->module->ptx->target)
        trcpu_decoder_fail(d, TRCPU_INVALID_PTX, "this needs .target sm_%d or higher: %.*s",
                           trcpu_opcode_target(opcode), (int)s->text.size, s->text.at);
    return !d->result;
}

/* Programs repeat a few opcodes; each is cut and looked for once. NULL: failed. */
static const trcpu_known *recognise(trcpu_decoder *d, const trcpu_statement *s) {
    trcpu_text text = s->opcode;
    uint32_t hash = text.size;
    for (uint32_t i = 0; i < text.size; i++) hash = hash * 31 + (unsigned char)text.at[i];
    trcpu_known *known = &d->known[hash % TRCPU_KNOWN];
    if (known->text.at && trcpu_text_equal(known->text, text)) return known;
    *known = (trcpu_known){.text = text};
    if (!understand(d, s, &known->opcode)) return NULL;
    known->matches = find_form(d, &known->opcode, &known->first);
    return known;
}

static void refuse_plain(trcpu_decoder *d, const trcpu_statement *s, bool known) {
    for (uint32_t i = 0; i < s->operand_count; i++)
        if (s->operands[i].kind == TRCPU_OPERAND_NAME && is_function(d, s->operands[i].name))
            trcpu_decoder_fail(
                d, TRCPU_UNSUPPORTED,
                "the address of a function: indirect calls are not supported by the CPU device: %.*s",
                (int)s->text.size, s->text.at);
    trcpu_decoder_fail(d, known ? TRCPU_INVALID_PTX : TRCPU_UNSUPPORTED,
                       known ? "the operands don't fit: %.*s"
                             : "the instruction is not supported by the CPU device: %.*s",
                       (int)s->text.size, s->text.at);
}

static void emit_plain(trcpu_decoder *d, const trcpu_statement *s, const trcpu_form *form, uint8_t mode,
                       uint16_t flags) {
    d->taken_count = d->first_count = d->first_width = 0;
    d->first_set = false;
    d->imm = 0;
    trcpu_operands_fit(d, form->operands, s, false);
    trcpu_insn *insn = trcpu_decoder_emit(d, form);
    if (!insn || !keep_rows(d, insn)) return;
    insn->imm = d->imm;
    insn->mode = mode;
    insn->flags = flags;
    insn->count = (uint8_t)d->first_count;
    insn->width = (uint8_t)d->first_width;
    insn->guard = s->guard < 0 ? TRCPU_ALWAYS : d->current->rows[s->guard];
    insn->guard_flip = s->guard_negated ? ~0u : 0;
    if (form->kind & TRCPU_FORM_PURE) insn->pure = destination_count(form->operands);
    if (form->kind & TRCPU_FORM_MEMORY) insn->slot = take_slot(d->function);
    if (form->kind & TRCPU_FORM_PRODUCT) insn->flags |= TRCPU_IS_PRODUCT;
    if (form->kind & TRCPU_FORM_BRANCH) insn->slot = UINT16_MAX; /* imm: a label, resolved at the end */
}

static void decode_plain(trcpu_decoder *d, const trcpu_statement *s) {
    const trcpu_known *known = recognise(d, s);
    trcpu_known local;
    if (!known) return;
    if (known->opcode.count > 1 && trcpu_text_is(known->opcode.segments[1], "param") &&
        is_lane_parameter(d, s)) {
        local = (trcpu_known){.opcode = known->opcode};
        local.opcode.segments[1] = (trcpu_text){"local", 5};
        local.matches = find_form(d, &local.opcode, &local.first);
        known = &local;
    }
    trcpu_search search = known->first;
    for (bool matches = known->matches; matches; matches = find_form(d, &known->opcode, &search)) {
        if (trcpu_operands_fit(d, search.form->operands, s, true)) {
            emit_plain(d, s, search.form, search.mode, known->opcode.flags);
            return;
        }
        search.form++;
    }
    refuse_plain(d, s, known->matches);
}

/* ---- calls ---- */
static trcpu_part *find_part(trcpu_decoder *d, trcpu_text name) {
    for (uint32_t i = 0; i < d->part_count; i++)
        if (trcpu_text_equal(d->parts[i].ptx->name, name)) return &d->parts[i];
    return NULL;
}

static void copy_parameters(trcpu_decoder *d, const trcpu_statement *s, const trcpu_operand *list,
                            trcpu_variable *const *formal, uint32_t count, bool back) {
    if ((list ? list->count : 0) != count) {
        trcpu_decoder_fail(d, TRCPU_INVALID_PTX, "the call passes %u values, the function has %u: %.*s",
                           list ? list->count : 0, count, (int)s->text.size, s->text.at);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const trcpu_variable *mine = list->items[i].variable;
        if (list->items[i].kind != TRCPU_OPERAND_VARIABLE || mine->size < formal[i]->size) {
            trcpu_decoder_fail(d, TRCPU_INVALID_PTX, "parameter %u of the call doesn't fit: %.*s", i,
                               (int)s->text.size, s->text.at);
            return;
        }
        trcpu_insn *insn = trcpu_decoder_emit(d, trcpu_decoder_form(d, "%copy"));
        if (!insn) return;
        insn->guard = s->guard < 0 ? TRCPU_ALWAYS : d->current->rows[s->guard];
        insn->guard_flip = s->guard_negated ? ~0u : 0;
        insn->op[0] = (uint32_t)(back ? mine->address : formal[i]->address);
        insn->op[1] = (uint32_t)(back ? formal[i]->address : mine->address);
        insn->op[2] = (uint32_t)formal[i]->size;
    }
}

static void decode_call(trcpu_decoder *d, const trcpu_statement *s) {
    const trcpu_operand *returns = NULL, *arguments = NULL, *name = NULL;
    for (uint32_t i = 0; i < s->operand_count; i++) {
        const trcpu_operand *o = &s->operands[i];
        if (o->kind == TRCPU_OPERAND_LIST)
            *(name ? &arguments : &returns) = o;
        else if (!name)
            name = o;
    }
    if (!name || name->kind != TRCPU_OPERAND_NAME) {
        trcpu_decoder_fail(d, TRCPU_UNSUPPORTED, "indirect calls are not supported by the CPU device: %.*s",
                           (int)s->text.size, s->text.at);
        return;
    }
    const char *builtin = trcpu_text_is(name->name, "vprintf")        ? "%vprintf"
                          : trcpu_text_is(name->name, "__assertfail") ? "%assertfail"
                                                                      : NULL;
    trcpu_part *callee = builtin ? NULL : find_part(d, name->name);
    if (!builtin && !callee) {
        trcpu_decoder_fail(d, TRCPU_UNSUPPORTED, "the function '%.*s' is not known to the CPU device",
                           (int)name->name.size, name->name.at);
        return;
    }
    if (callee && callee->active) {
        trcpu_decoder_fail(d, TRCPU_UNSUPPORTED, "recursion is not supported by the CPU device: %.*s",
                           (int)s->text.size, s->text.at);
        return;
    }
    if (callee)
        copy_parameters(d, s, arguments, callee->ptx->parameters, callee->ptx->parameter_count, false);
    trcpu_insn *insn = trcpu_decoder_emit(d, trcpu_decoder_form(d, builtin ? builtin : "%call"));
    if (!insn) return;
    insn->guard = s->guard < 0 ? TRCPU_ALWAYS : d->current->rows[s->guard];
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

static void decode_return(trcpu_decoder *d, const trcpu_statement *s) {
    trcpu_insn *insn = trcpu_decoder_emit(
        d, trcpu_decoder_form(d, d->current->ptx->is_entry || (s && trcpu_text_is(s->opcode, "exit"))
                                     ? "%exit"
                                     : "%return"));
    if (!insn) return;
    insn->op[0] = d->current->return_row;
    insn->guard = !s || s->guard < 0 ? TRCPU_ALWAYS : d->current->rows[s->guard];
    insn->guard_flip = s && s->guard_negated ? ~0u : 0;
}

static void decode_part(trcpu_decoder *d, trcpu_part *p) {
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
static void place_variables(trcpu_decoder *d, trcpu_part *p) {
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

static void place_shared(trcpu_decoder *d) {
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

static void add_part(trcpu_decoder *d, trcpu_ptx_function *ptx) {
    trcpu_part *p = &d->parts[d->part_count++];
    *p = (trcpu_part){.ptx = ptx,
                      .rows = calloc(ptx->register_count + 1, sizeof *p->rows),
                      .first = calloc(ptx->statement_count + 1, sizeof *p->first)};
    if (!p->rows || !p->first) {
        d->current = p;
        trcpu_decoder_fail(d, TRCPU_OUT_OF_MEMORY, "out of memory");
    }
}

/* The kernel, then what it calls, and what that calls. */
static void add_parts(trcpu_decoder *d) {
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

static bool calls(const trcpu_part *p, trcpu_text name) {
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
static void refuse_recursion(trcpu_decoder *d, trcpu_part *p, uint32_t depth) {
    if (p->active || depth > d->part_count) {
        d->current = p;
        trcpu_decoder_fail(d, TRCPU_UNSUPPORTED, "recursion is not supported by the CPU device: %.*s",
                           (int)p->ptx->name.size, p->ptx->name.at);
        return;
    }
    p->active = true;
    for (uint32_t i = 0; i < d->part_count && !d->result; i++)
        if (calls(p, d->parts[i].ptx->name)) refuse_recursion(d, &d->parts[i], depth + 1);
    p->active = false;
}

static void place_registers(trcpu_decoder *d) {
    trcpu_function *f = d->function;
    f->file_bytes = TRCPU_PREDICATES;
    for (uint32_t i = 0; i < d->part_count; i++) {
        const trcpu_part *p = &d->parts[i];
        for (uint32_t r = 0; r < p->ptx->register_count; r++)
            if (p->ptx->registers[r].bytes == 0) p->rows[r] = trcpu_row_take(d, 0);
    }
    f->file_bytes = (f->file_bytes + 127) & ~127u;
    for (uint32_t i = 0; i < d->part_count && !d->result; i++) trcpu_registers_place(d, &d->parts[i]);
    for (uint32_t i = 0; i < d->part_count; i++) d->parts[i].return_row = trcpu_row_take(d, 4);
    d->sink = trcpu_row_take(d, 8);
}

static int64_t address_of(trcpu_decoder *d, const trcpu_part *p, const trcpu_label *label) {
    return (int64_t)(uintptr_t)&d->function->code[p->first[label->statement]];
}

/* The table of a .branchtargets label, behind those before it. */
static int64_t target_table(trcpu_decoder *d, const trcpu_part *p, const trcpu_label *label, uint32_t *end) {
    uint64_t *table = d->function->targets + *end;
    table[0] = label->target_count;
    for (uint32_t i = 0; i < label->target_count; i++) {
        const trcpu_label *target = trcpu_label_find(p, label->targets[i].name, label->begin);
        if (!target)
            trcpu_decoder_fail(d, TRCPU_INVALID_PTX, "there is no label '%.*s'",
                               (int)label->targets[i].name.size, label->targets[i].name.at);
        else
            table[1 + i] = (uint64_t)address_of(d, p, target);
    }
    *end += 1 + label->target_count;
    return (int64_t)(uintptr_t)table;
}

/* Room for a table per branch by index. */
static bool reserve_tables(trcpu_decoder *d) {
    uint32_t room = 1;
    for (uint32_t i = 0; i < d->part_count; i++)
        for (uint32_t k = 0; k < d->parts[i].ptx->statement_count; k++) {
            const trcpu_statement *s = &d->parts[i].ptx->statements[k];
            const trcpu_label *label =
                s->operand_count == 2 ? trcpu_label_find(&d->parts[i], s->operands[1].name, k) : NULL;
            room += label ? 1 + label->target_count : 0;
        }
    d->function->targets = calloc(room, sizeof *d->function->targets);
    if (!d->function->targets) trcpu_decoder_fail(d, TRCPU_OUT_OF_MEMORY, "out of memory");
    return d->function->targets != NULL;
}

static void resolve(trcpu_decoder *d) {
    trcpu_function *f = d->function;
    uint32_t tables = 0;
    if (!reserve_tables(d)) return;
    const trcpu_form *call = trcpu_decoder_form(d, "%call");
    for (uint32_t i = 0; i < d->part_count && !d->result; i++) {
        trcpu_part *p = d->current = &d->parts[i];
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

static bool is_statement(const trcpu_function *f, uint32_t at, const char *begins, const char *has) {
    const trcpu_statement *s = f->sources[at].statement;
    size_t length = strlen(begins);
    return s && s->opcode.size > length && !memcmp(s->opcode.at, begins, length) &&
           memmem(s->opcode.at, s->opcode.size, has, strlen(has));
}

/* The register of an address; NULL: it has none. */
static const trcpu_operand *address_register(const trcpu_function *f, uint32_t at) {
    const trcpu_statement *s = f->sources[at].statement;
    for (uint32_t i = 0; i < s->operand_count; i++)
        if (s->operands[i].kind == TRCPU_OPERAND_ADDRESS &&
            s->operands[i].items[0].kind == TRCPU_OPERAND_REGISTER)
            return &s->operands[i].items[0];
    return NULL;
}

/* Do both access the same address, as far as their registers say? */
static bool same_address(const trcpu_function *f, uint32_t at, uint32_t other) {
    const trcpu_operand *x = address_register(f, at), *y = address_register(f, other);
    return x && y && x->reg == y->reg && x->value == y->value &&
           f->sources[at].function == f->sources[other].function;
}

/* Compilers make an atomic that hardware lacks a loop: an ordinary load, then compare-and-swap until nobody came
   between. What such a load reads needs no order. */
static void mark_swaps(trcpu_function *f) {
    for (uint32_t swap = 0; swap < f->code_size; swap++) {
        if (!is_statement(f, swap, "atom.", ".cas")) continue;
        for (uint32_t at = swap; at-- > 0;) {
            trcpu_insn *load = &f->code[at];
            if (!is_statement(f, at, "ld.", ".global")) continue;
            if (!same_address(f, at, swap)) continue;
            load->flags |= TRCPU_BEGINS_SWAP;
            break;
        }
    }
}

int trcpu_function_decode(trcpu_function *function, const trcpu_variant *variant, char *log,
                          size_t log_size) {
    trcpu_decoder d = {.function = function, .variant = variant, .log = log, .log_size = log_size};
    d.parts = calloc(function->module->ptx->function_count + 1, sizeof *d.parts);
    d.known = calloc(TRCPU_KNOWN, sizeof *d.known);
    if (!d.parts || !d.known) {
        free(d.parts);
        free(d.known);
        return TRCPU_OUT_OF_MEMORY;
    }
    add_parts(&d);
    if (!d.result) refuse_recursion(&d, &d.parts[0], 0);
    if (!d.result) place_registers(&d);
    for (uint32_t i = 0; i < d.part_count && !d.result; i++) place_variables(&d, &d.parts[i]);
    if (!d.result) place_shared(&d);
    for (uint32_t i = 0; i < d.part_count && !d.result; i++) decode_part(&d, &d.parts[i]);
    if (!d.result) resolve(&d);
    if (!d.result) mark_swaps(function);
    if (!d.result) trcpu_products_join(function);
    function->frame_bytes = (function->frame_bytes + 15) & ~15u;
    for (uint32_t i = 0; i < d.part_count; i++) {
        free(d.parts[i].rows);
        free(d.parts[i].first);
    }
    free(d.parts);
    free(d.known);
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
