/* What the parser's files share: the cursor over the text, and the scopes of names. */
#ifndef TRCPU_PTX_PARSER_H
#define TRCPU_PTX_PARSER_H

#include "ptx/ptx.h"

typedef struct trcpu_name { /* registers "%r<9>": count 9; a single one: count 0 */
    trcpu_text name;
    uint32_t first, count;
    trcpu_variable *variable; /* or a variable */
} trcpu_name;

typedef struct trcpu_parser {
    trcpu_ptx *ptx;
    const char *at, *end;
    uint32_t line;
    uint32_t location;  /* of the statements that follow */
    bool in_inline_asm; /* its lines are numbered as if each were a source line: keep the first */
    trcpu_ptx_function *function;
    trcpu_name *names; /* innermost scope last */
    uint32_t name_count, name_room;
    uint32_t names_of_module;
    char *log;
    size_t log_size;
    bool failed, exhausted; /* exhausted: it failed for want of memory */
} trcpu_parser;

/* lexer.c */
void trcpu_parser_exhausted(trcpu_parser *parser);
void trcpu_parser_fail(trcpu_parser *parser, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void trcpu_parser_skip(trcpu_parser *parser);           /* white space and comments */
bool trcpu_parser_peek(trcpu_parser *parser, char c);   /* is c the next character? */
bool trcpu_parser_accept(trcpu_parser *parser, char c); /* … and go past it */
bool trcpu_parser_expect(trcpu_parser *parser, char c); /* … or fail */
trcpu_text trcpu_parser_word(trcpu_parser *parser);     /* a name or directive; empty when there is none */
bool trcpu_parser_word_is(trcpu_parser *parser, const char *word); /* accept this word */
bool trcpu_parser_number(trcpu_parser *parser, trcpu_operand *out);
bool trcpu_parser_unsigned(trcpu_parser *parser, uint64_t *out);
trcpu_text trcpu_parser_string(trcpu_parser *parser);

/* declaration.c */
uint32_t trcpu_type_bytes(trcpu_text type); /* ".f32" → 4; ".pred" → 0; ~0u: no type */
trcpu_variable *trcpu_parser_variable(trcpu_parser *parser, trcpu_space space, bool is_extern);
void trcpu_parser_registers(trcpu_parser *parser);
trcpu_name *trcpu_parser_lookup(trcpu_parser *parser, trcpu_text name, uint32_t *reg);
bool trcpu_parser_declare(trcpu_parser *parser, trcpu_name name);

/* body.c */
void trcpu_parser_body(trcpu_parser *parser); /* from after the opening brace to its closing one */
void trcpu_parser_location(trcpu_parser *parser);
void trcpu_parser_pragma(trcpu_parser *parser); /* past the semicolon */

#endif
