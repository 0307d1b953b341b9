/* The outside of functions: header, files, module variables, the functions' headings. */
#include "ptx/parser.h"

#include <stdlib.h>
#include <string.h>

static void *push(trcpu_parser *parser, void *array, uint32_t *count, size_t element) {
    void *grown = trcpu_arena_push(parser->ptx->arena, array, count, element);
    if (!grown) trcpu_parser_exhausted(parser);
    return grown;
}

/* The digits of `word` from *at on; *at is behind them. What is out of every range stays so. */
static int digits(trcpu_text word, uint32_t *at) {
    int value = 0;
    for (; *at < word.size && word.at[*at] >= '0' && word.at[*at] <= '9'; ++*at)
        if (value < 10000) value = value * 10 + (word.at[*at] - '0');
    return value;
}

static void version(trcpu_parser *parser) {
    trcpu_text word = trcpu_parser_word(parser);
    uint32_t at = 0;
    int major = digits(word, &at), minor = 0;
    if (at < word.size && word.at[at] == '.') at++, minor = digits(word, &at);
    parser->ptx->version = major * 10 + minor;
    if (major < 1 || major > 99 || minor > 9 || at < word.size)
        trcpu_parser_fail(parser, parser->line, "a version like 8.4 expected");
}

static void target(trcpu_parser *parser) {
    do {
        trcpu_text word = trcpu_parser_word(parser);
        uint32_t at = 3;
        if (word.size > 3 && memcmp(word.at, "sm_", 3) == 0) parser->ptx->target = digits(word, &at);
    } while (trcpu_parser_accept(parser, ','));
}

static void file(trcpu_parser *parser) {
    uint64_t index = 0, ignored;
    if (!trcpu_parser_unsigned(parser, &index)) return;
    trcpu_text name = trcpu_parser_string(parser);
    while (trcpu_parser_accept(parser, ',')) trcpu_parser_unsigned(parser, &ignored);
    if (index > 100000) trcpu_parser_fail(parser, parser->line, "a file number out of range");
    trcpu_ptx *ptx = parser->ptx;
    while (!parser->failed && ptx->file_count <= index) {
        trcpu_text *grown = push(parser, ptx->files, &ptx->file_count, sizeof *grown);
        if (!grown) return;
        ptx->files = grown;
        grown[ptx->file_count - 1] = (trcpu_text){"", 0};
    }
    if (!parser->failed) ptx->files[index] = name;
}

/* .section name { … }: debug information. */
static void section(trcpu_parser *parser) {
    trcpu_parser_word(parser);
    trcpu_parser_expect(parser, '{');
    while (parser->at < parser->end && *parser->at != '}') parser->line += *parser->at++ == '\n';
    trcpu_parser_expect(parser, '}');
}

static void parameters(trcpu_parser *parser, trcpu_variable ***list, uint32_t *count) {
    if (!trcpu_parser_accept(parser, '(')) return;
    while (!parser->failed && !trcpu_parser_peek(parser, ')')) {
        if (trcpu_parser_word_is(parser, ".reg")) {
            trcpu_parser_fail(parser, parser->line, "parameters in registers are not supported");
            return;
        }
        if (!trcpu_parser_word_is(parser, ".param")) {
            trcpu_parser_fail(parser, parser->line, ".param expected");
            return;
        }
        trcpu_variable *variable = trcpu_parser_variable(parser, TRCPU_SPACE_PARAM, false);
        trcpu_variable **grown = variable ? push(parser, *list, count, sizeof *grown) : NULL;
        if (!grown) return;
        *list = grown;
        grown[*count - 1] = variable;
        if (!trcpu_parser_accept(parser, ',')) break;
    }
    trcpu_parser_expect(parser, ')');
}

static void extents(trcpu_parser *parser, uint32_t out[3]) {
    out[0] = out[1] = out[2] = 1;
    for (int i = 0; i < 3; i++) {
        uint64_t value = 0;
        if (!trcpu_parser_unsigned(parser, &value)) return;
        out[i] = (uint32_t)value;
        if (!trcpu_parser_accept(parser, ',')) return;
    }
}

/* What stands between the parameters and the body. */
static void function_directives(trcpu_parser *parser, trcpu_ptx_function *function) {
    uint64_t ignored;
    while (!parser->failed && trcpu_parser_peek(parser, '.')) {
        trcpu_text word = trcpu_parser_word(parser);
        if (trcpu_text_is(word, ".reqntid"))
            extents(parser, function->required_block);
        else if (trcpu_text_is(word, ".maxntid"))
            extents(parser, function->max_block);
        else if (trcpu_text_is(word, ".reqnctapercluster"))
            extents(parser, function->required_cluster);
        else if (trcpu_text_is(word, ".explicitcluster"))
            function->explicit_cluster = true;
        else if (trcpu_text_is(word, ".pragma"))
            trcpu_parser_pragma(parser);
        else if (trcpu_text_is(word, ".minnctapersm") || trcpu_text_is(word, ".maxnctapersm") ||
                 trcpu_text_is(word, ".maxnreg") || trcpu_text_is(word, ".maxclusterrank"))
            trcpu_parser_unsigned(parser, &ignored);
        else if (!trcpu_text_is(word, ".noreturn") && !trcpu_text_is(word, ".blocksareclusters"))
            trcpu_parser_fail(parser, parser->line, "the directive '%.*s' is not known here", (int)word.size,
                              word.at);
    }
}

static void function(trcpu_parser *parser, bool is_entry) {
    trcpu_ptx *ptx = parser->ptx;
    trcpu_ptx_function *f = trcpu_arena_take(ptx->arena, sizeof *f);
    if (!f) {
        trcpu_parser_exhausted(parser);
        return;
    }
    f->is_entry = is_entry;
    f->line = parser->line;
    uint32_t outer = parser->name_count;
    parser->function = f;
    if (!is_entry) parameters(parser, &f->returns, &f->return_count);
    f->name = trcpu_parser_word(parser);
    if (!f->name.size) trcpu_parser_fail(parser, parser->line, "the name of a function expected");
    parameters(parser, &f->parameters, &f->parameter_count);
    function_directives(parser, f);
    if (trcpu_parser_accept(parser, '{')) {
        f->has_body = true;
        parser->location = 0;
        parser->in_inline_asm = false;
        trcpu_parser_body(parser);
    } else {
        trcpu_parser_expect(parser, ';');
    }
    parser->name_count = outer;
    parser->function = NULL;
    trcpu_ptx_function **grown =
        parser->failed ? NULL : push(parser, ptx->functions, &ptx->function_count, sizeof *grown);
    if (!grown) return;
    ptx->functions = grown;
    grown[ptx->function_count - 1] = f;
}

static void module_variable(trcpu_parser *parser, trcpu_space space, bool is_extern) {
    do {
        trcpu_variable *variable = trcpu_parser_variable(parser, space, is_extern);
        if (!variable) return;
        trcpu_ptx *ptx = parser->ptx;
        trcpu_variable **grown = push(parser, ptx->variables, &ptx->variable_count, sizeof *grown);
        if (!grown) return;
        ptx->variables = grown;
        grown[ptx->variable_count - 1] = variable;
    } while (trcpu_parser_accept(parser, ','));
    trcpu_parser_expect(parser, ';');
}

static void declaration(trcpu_parser *parser, trcpu_text word) {
    bool is_extern = false;
    uint64_t ignored;
    while (trcpu_text_is(word, ".extern") || trcpu_text_is(word, ".visible") ||
           trcpu_text_is(word, ".weak") || trcpu_text_is(word, ".common")) {
        is_extern |= trcpu_text_is(word, ".extern");
        word = trcpu_parser_word(parser);
    }
    if (trcpu_text_is(word, ".version"))
        version(parser);
    else if (trcpu_text_is(word, ".target"))
        target(parser);
    else if (trcpu_text_is(word, ".address_size"))
        trcpu_parser_unsigned(parser, &ignored);
    else if (trcpu_text_is(word, ".file"))
        file(parser);
    else if (trcpu_text_is(word, ".loc"))
        trcpu_parser_location(parser);
    else if (trcpu_text_is(word, ".section"))
        section(parser);
    else if (trcpu_text_is(word, ".pragma"))
        trcpu_parser_pragma(parser);
    else if (trcpu_text_is(word, ".entry"))
        function(parser, true);
    else if (trcpu_text_is(word, ".func"))
        function(parser, false);
    else if (trcpu_text_is(word, ".global"))
        module_variable(parser, TRCPU_SPACE_GLOBAL, is_extern);
    else if (trcpu_text_is(word, ".const"))
        module_variable(parser, TRCPU_SPACE_CONST, is_extern);
    else if (trcpu_text_is(word, ".shared"))
        module_variable(parser, TRCPU_SPACE_SHARED, is_extern);
    else
        trcpu_parser_fail(parser, parser->line, "'%.*s' is not known here", (int)word.size, word.at);
}

static void module(trcpu_parser *parser) {
    for (;;) {
        trcpu_parser_skip(parser);
        if (parser->at == parser->end) break;
        trcpu_text word = trcpu_parser_word(parser);
        if (!word.size)
            trcpu_parser_fail(parser, parser->line, "a directive expected before '%.16s'", parser->at);
        else if (trcpu_text_is(word, ".file") || word.at[0] == '.')
            declaration(parser, word);
        else if (trcpu_parser_accept(parser, ':'))
            continue; /* a label of the debug information */
        else
            trcpu_parser_fail(parser, parser->line, "a directive expected, not '%.*s'", (int)word.size,
                              word.at);
    }
    if (!parser->failed && !parser->ptx->version)
        trcpu_parser_fail(parser, 1, "no .version: this is not PTX");
    if (!parser->failed && !parser->ptx->target) trcpu_parser_fail(parser, 1, "no .target");
}

trcpu_ptx *trcpu_ptx_parse(const char *source, size_t size, char *log, size_t log_size, bool *exhausted) {
    trcpu_arena *arena = trcpu_arena_create();
    trcpu_ptx *ptx = arena ? trcpu_arena_take(arena, sizeof *ptx) : NULL;
    char *copy = ptx ? trcpu_arena_take(arena, size + 1) : NULL;
    trcpu_parser parser = {.ptx = ptx, .log = log, .log_size = log_size, .line = 1};
    if (log_size) log[0] = 0;
    if (copy) {
        memcpy(copy, source, size);
        ptx->arena = arena;
        ptx->source = copy;
        parser.at = copy;
        parser.end = copy + strlen(copy); /* a terminating NUL may be part of the given size */
        ptx->locations = push(&parser, NULL, &ptx->location_count, sizeof *ptx->locations);
        module(&parser);
    } else {
        trcpu_parser_exhausted(&parser);
    }
    free(parser.names);
    *exhausted = parser.exhausted;
    if (!parser.failed) return ptx;
    trcpu_arena_destroy(arena);
    return NULL;
}

void trcpu_ptx_destroy(trcpu_ptx *ptx) {
    if (ptx) trcpu_arena_destroy(ptx->arena);
}
