/* The inside of a function: statements with their operands, labels, nested scopes. */
#include "ptx/parser.h"

#include <string.h>

static void *push(trcpu_parser *parser, void *array, uint32_t *count, size_t element) {
    void *grown = trcpu_arena_push(parser->ptx->arena, array, count, element);
    if (!grown) trcpu_parser_exhausted(parser);
    return grown;
}

static void operand(trcpu_parser *parser, trcpu_operand *out, int depth);

static void items(trcpu_parser *parser, trcpu_operand *out, char close, int depth) {
    if (depth > 4) {
        trcpu_parser_fail(parser, parser->line, "operands nested too deeply");
        return;
    }
    while (!parser->failed && !trcpu_parser_peek(parser, close)) {
        trcpu_operand *grown = push(parser, out->items, &out->count, sizeof *grown);
        if (!grown) return;
        out->items = grown;
        memset(&grown[out->count - 1], 0, sizeof *grown);
        operand(parser, &grown[out->count - 1], depth + 1);
        if (!trcpu_parser_accept(parser, ',')) break;
    }
    trcpu_parser_expect(parser, close);
}

static void named_operand(trcpu_parser *parser, trcpu_operand *out) {
    out->name = trcpu_parser_word(parser);
    if (!out->name.size) {
        trcpu_parser_fail(parser, parser->line, "an operand expected before '%.16s'", parser->at);
        return;
    }
    if (trcpu_text_is(out->name, "_")) {
        out->kind = TRCPU_OPERAND_SINK;
        return;
    }
    trcpu_name *found = trcpu_parser_lookup(parser, out->name, &out->reg);
    out->kind = !found            ? TRCPU_OPERAND_NAME
                : found->variable ? TRCPU_OPERAND_VARIABLE
                                  : TRCPU_OPERAND_REGISTER;
    out->variable = found ? found->variable : NULL;
    trcpu_operand offset = {0};
    bool minus = trcpu_parser_peek(parser, '-');
    if (!minus && !trcpu_parser_accept(parser, '+')) return;
    if (trcpu_parser_number(parser, &offset) && offset.kind == TRCPU_OPERAND_INTEGER)
        out->value = offset.value;
    else
        trcpu_parser_fail(parser, parser->line, "an offset expected after '%.*s'", (int)out->name.size,
                          out->name.at);
}

static void operand(trcpu_parser *parser, trcpu_operand *out, int depth) {
    if (trcpu_parser_accept(parser, '{')) {
        out->kind = TRCPU_OPERAND_LIST;
        items(parser, out, '}', depth);
    } else if (trcpu_parser_accept(parser, '(')) {
        out->kind = TRCPU_OPERAND_LIST;
        items(parser, out, ')', depth);
    } else if (trcpu_parser_accept(parser, '[')) {
        out->kind = TRCPU_OPERAND_ADDRESS;
        items(parser, out, ']', depth);
    } else if (trcpu_parser_accept(parser, '!')) {
        named_operand(parser, out);
        out->negated = true;
    } else if (!trcpu_parser_number(parser, out)) {
        if (!parser->failed) named_operand(parser, out);
    }
    if (parser->failed || !trcpu_parser_accept(parser, '|')) return;
    trcpu_operand first = *out, *pair = trcpu_arena_take(parser->ptx->arena, 2 * sizeof *pair);
    if (!pair) {
        trcpu_parser_exhausted(parser);
        return;
    }
    pair[0] = first;
    operand(parser, &pair[1], depth + 1);
    *out = (trcpu_operand){.kind = TRCPU_OPERAND_PAIR, .items = pair, .count = 2};
}

/* The calls that brought inlined code here, which LLVM tells in a comment: "// f.py:1:2 @[ g.py:3:4 @[ h.py:5:6 ] ]". */
static trcpu_text inlined_calls(const trcpu_parser *parser) {
    const char *end = memchr(parser->at, '\n', (size_t)(parser->end - parser->at));
    const char *at = memmem(parser->at, (size_t)((end ? end : parser->end) - parser->at), "@[", 2);
    if (!at) return (trcpu_text){0};
    for (at += 2, end = end ? end : parser->end; end > at && strchr(" ]\t\r", end[-1]); end--) {
    }
    while (at < end && *at == ' ') at++;
    return (trcpu_text){at, (uint32_t)(end - at)};
}

/* .loc file line column [, function_name label, inlined_at file line column] */
void trcpu_parser_location(trcpu_parser *parser) {
    uint64_t file = 0, line = 0, column = 0, inlined[3] = {0};
    const bool in_inline_asm = parser->in_inline_asm; /* what follows may begin some */
    if (!trcpu_parser_unsigned(parser, &file) || !trcpu_parser_unsigned(parser, &line) ||
        !trcpu_parser_unsigned(parser, &column))
        return;
    const trcpu_text calls = inlined_calls(parser);
    while (trcpu_parser_accept(parser, ',')) {
        if (trcpu_parser_word_is(parser, "function_name")) {
            trcpu_parser_word(parser);
            if (trcpu_parser_accept(parser, '+')) trcpu_parser_unsigned(parser, &inlined[0]);
        } else if (trcpu_parser_word_is(parser, "inlined_at")) {
            for (int i = 0; i < 3; i++) trcpu_parser_unsigned(parser, &inlined[i]);
        } else {
            trcpu_parser_fail(parser, parser->line, "function_name or inlined_at expected");
        }
    }
    if (in_inline_asm || line == 0) return; /* line 0: the compiler's own, keep the last one known */
    trcpu_ptx *ptx = parser->ptx;
    trcpu_location *grown = push(parser, ptx->locations, &ptx->location_count, sizeof *grown);
    if (!grown) return;
    ptx->locations = grown;
    parser->location = ptx->location_count - 1;
    grown[parser->location] = (trcpu_location){(uint32_t)file,       (uint32_t)line,       (uint32_t)column,
                                               (uint32_t)inlined[0], (uint32_t)inlined[1], calls};
}

void trcpu_parser_pragma(trcpu_parser *parser) {
    while (parser->at < parser->end && !trcpu_parser_peek(parser, ';')) parser->at++;
    trcpu_parser_expect(parser, ';');
}

static void local_variable(trcpu_parser *parser, trcpu_space space) {
    do {
        trcpu_variable *variable = trcpu_parser_variable(parser, space, false);
        if (!variable) return;
        trcpu_ptx_function *function = parser->function;
        trcpu_variable **grown = push(parser, function->variables, &function->variable_count, sizeof *grown);
        if (!grown) return;
        function->variables = grown;
        grown[function->variable_count - 1] = variable;
    } while (trcpu_parser_accept(parser, ','));
    trcpu_parser_expect(parser, ';');
}

/* name: .branchtargets a, b; and name: .callprototype …; */
static void label(trcpu_parser *parser, trcpu_text name) {
    trcpu_ptx_function *function = parser->function;
    trcpu_label *grown = push(parser, function->labels, &function->label_count, sizeof *grown);
    if (!grown) return;
    function->labels = grown;
    trcpu_label *added = &grown[function->label_count - 1];
    *added = (trcpu_label){.name = name, .statement = function->statement_count, .end = UINT32_MAX};
    if (trcpu_parser_word_is(parser, ".branchtargets") || trcpu_parser_word_is(parser, ".calltargets")) {
        trcpu_operand targets = {0};
        items(parser, &targets, ';', 0);
        added->targets = targets.items;
        added->target_count = targets.count;
    } else if (trcpu_parser_word_is(parser, ".callprototype")) {
        trcpu_parser_pragma(parser);
    }
}

static void directive(trcpu_parser *parser, trcpu_text word) {
    if (trcpu_text_is(word, ".reg")) {
        trcpu_parser_registers(parser);
    } else if (trcpu_text_is(word, ".loc")) {
        trcpu_parser_location(parser);
    } else if (trcpu_text_is(word, ".local")) {
        local_variable(parser, TRCPU_SPACE_LOCAL);
    } else if (trcpu_text_is(word, ".shared") || trcpu_text_is(word, ".shared::cta")) {
        local_variable(parser, TRCPU_SPACE_SHARED);
    } else if (trcpu_text_is(word, ".param")) {
        local_variable(parser, TRCPU_SPACE_PARAM);
    } else if (trcpu_text_is(word, ".global") || trcpu_text_is(word, ".const")) {
        trcpu_parser_fail(parser, parser->line, "%.*s variables belong outside of functions", (int)word.size,
                          word.at);
    } else if (trcpu_text_is(word, ".pragma")) {
        trcpu_parser_pragma(parser);
    } else {
        trcpu_parser_fail(parser, parser->line, "the directive '%.*s' is not known here", (int)word.size,
                          word.at);
    }
}

static void instruction(trcpu_parser *parser, trcpu_statement *statement) {
    trcpu_parser_skip(parser);
    statement->line = parser->line;
    statement->location = parser->location;
    statement->guard = -1;
    const char *start = parser->at;
    if (trcpu_parser_accept(parser, '@')) {
        statement->guard_negated = trcpu_parser_accept(parser, '!');
        trcpu_text name = trcpu_parser_word(parser);
        uint32_t reg = 0;
        trcpu_name *found = trcpu_parser_lookup(parser, name, &reg);
        if (!found || found->variable || parser->function->registers[reg].bytes != 0)
            trcpu_parser_fail(parser, parser->line, "'%.*s' is not a predicate", (int)name.size, name.at);
        statement->guard = (int32_t)reg;
    }
    statement->opcode = trcpu_parser_word(parser);
    if (!statement->opcode.size && !parser->failed)
        trcpu_parser_fail(parser, parser->line, "an instruction expected before '%.16s'", parser->at);
    trcpu_operand all = {0};
    if (!trcpu_parser_peek(parser, ';'))
        items(parser, &all, ';', 0);
    else
        parser->at++;
    statement->operands = all.items;
    statement->operand_count = all.count;
    if (parser->failed) return;
    const char *end = parser->at - 1;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n')) end--;
    statement->text = (trcpu_text){start, (uint32_t)(end - start)};
}

/* What is declared between braces is known there alone: an inlined waitLoop may come many times. */
typedef struct scope {
    uint32_t names, labels, statement;
} scope;

static void close_scope(trcpu_parser *parser, scope scope) {
    trcpu_ptx_function *function = parser->function;
    parser->name_count = scope.names;
    for (uint32_t i = scope.labels; i < function->label_count; i++) {
        if (function->labels[i].end != UINT32_MAX) continue; /* of a scope within this one */
        function->labels[i].begin = scope.statement;
        function->labels[i].end = function->statement_count;
    }
}

void trcpu_parser_body(trcpu_parser *parser) {
    scope scopes[16];
    uint32_t depth = 0;
    for (;;) {
        trcpu_parser_skip(parser);
        if (parser->failed) return;
        if (parser->at == parser->end) {
            trcpu_parser_fail(parser, parser->line, "the text ends inside a function");
            return;
        }
        if (trcpu_parser_accept(parser, '}')) {
            if (depth == 0) return;
            close_scope(parser, scopes[--depth]);
            continue;
        }
        if (trcpu_parser_accept(parser, '{')) {
            if (depth == 16) {
                trcpu_parser_fail(parser, parser->line, "scopes nested too deeply");
                return;
            }
            scopes[depth++] =
                (scope){parser->name_count, parser->function->label_count, parser->function->statement_count};
            continue;
        }
        if (trcpu_parser_accept(parser, ';')) continue;
        const char *before = parser->at;
        uint32_t line = parser->line;
        trcpu_text word = trcpu_parser_word(parser);
        if (word.size && word.at[0] == '.') {
            directive(parser, word);
            continue;
        }
        if (word.size && trcpu_parser_accept(parser, ':')) {
            label(parser, word);
            continue;
        }
        parser->at = before;
        parser->line = line;
        trcpu_ptx_function *function = parser->function;
        trcpu_statement *grown =
            push(parser, function->statements, &function->statement_count, sizeof *grown);
        if (!grown) return;
        function->statements = grown;
        memset(&grown[function->statement_count - 1], 0, sizeof *grown);
        instruction(parser, &grown[function->statement_count - 1]);
    }
}
