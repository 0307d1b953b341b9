#include "ptx/parser.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first failure is the one that counts; parsing then runs to the end of the text at once. */
void trcpu_parser_fail(trcpu_parser *parser, uint32_t line, const char *format, ...) {
    if (parser->failed) return;
    parser->failed = true;
    parser->at = parser->end;
    if (!parser->log_size) return;
    int n = snprintf(parser->log, parser->log_size, "line %u: ", line);
    if (n < 0 || (size_t)n >= parser->log_size) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(parser->log + n, parser->log_size - (size_t)n, format, arguments);
    va_end(arguments);
}

void trcpu_parser_exhausted(trcpu_parser *parser) {
    if (!parser->failed) parser->exhausted = true;
    trcpu_parser_fail(parser, parser->line, "out of memory");
}

static inline bool starts(const trcpu_parser *parser, const char *prefix) {
    size_t size = strlen(prefix);
    return (size_t)(parser->end - parser->at) >= size && memcmp(parser->at, prefix, size) == 0;
}

static void skip_line_comment(trcpu_parser *parser) {
    if (starts(parser, "// begin inline asm")) parser->in_inline_asm = true;
    if (starts(parser, "// end inline asm")) parser->in_inline_asm = false;
    const char *newline = memchr(parser->at, '\n', (size_t)(parser->end - parser->at));
    parser->at = newline ? newline : parser->end;
}

static void skip_block_comment(trcpu_parser *parser) {
    parser->at += 2;
    while (parser->at < parser->end && !starts(parser, "*/")) parser->line += *parser->at++ == '\n';
    parser->at += parser->at < parser->end ? 2 : 0;
}

void trcpu_parser_skip(trcpu_parser *parser) {
    while (parser->at < parser->end) {
        char c = *parser->at;
        if (c == '\n') {
            parser->line++;
            parser->at++;
        } else if (c == ' ' || c == '\t' || c == '\r') {
            parser->at++;
        } else if (starts(parser, "//")) {
            skip_line_comment(parser);
        } else if (starts(parser, "/*")) {
            skip_block_comment(parser);
        } else {
            return;
        }
    }
}

bool trcpu_parser_peek(trcpu_parser *parser, char c) {
    if (parser->at < parser->end && *parser->at == c) return true; /* no blank before it: often */
    trcpu_parser_skip(parser);
    return parser->at < parser->end && *parser->at == c;
}

bool trcpu_parser_accept(trcpu_parser *parser, char c) {
    if (!trcpu_parser_peek(parser, c)) return false;
    parser->at++;
    return true;
}

bool trcpu_parser_expect(trcpu_parser *parser, char c) {
    if (trcpu_parser_accept(parser, c)) return true;
    if (parser->at == parser->end)
        trcpu_parser_fail(parser, parser->line, "'%c' expected, the text ends", c);
    else
        trcpu_parser_fail(parser, parser->line, "'%c' expected before '%.16s'", c, parser->at);
    return false;
}

static bool is_word(const char *at, const char *end) {
    return isalnum((unsigned char)*at) || *at == '_' || *at == '$' || *at == '%' || *at == '.' ||
           (*at == ':' && ((at + 1 < end && at[1] == ':') || at[-1] == ':'));
}

trcpu_text trcpu_parser_word(trcpu_parser *parser) {
    trcpu_parser_skip(parser);
    const char *start = parser->at;
    while (parser->at < parser->end && (parser->at > start || *parser->at != ':') &&
           is_word(parser->at, parser->end))
        parser->at++;
    return (trcpu_text){start, (uint32_t)(parser->at - start)};
}

bool trcpu_parser_word_is(trcpu_parser *parser, const char *word) {
    trcpu_parser_skip(parser);
    const char *before = parser->at;
    if (starts(parser, word) && trcpu_text_is(trcpu_parser_word(parser), word)) return true;
    parser->at = before;
    return false;
}

trcpu_text trcpu_parser_string(trcpu_parser *parser) {
    trcpu_text text = {parser->at, 0};
    if (!trcpu_parser_expect(parser, '"')) return text;
    text.at = parser->at;
    while (parser->at < parser->end && *parser->at != '"' && *parser->at != '\n') parser->at++;
    text.size = (uint32_t)(parser->at - text.at);
    trcpu_parser_expect(parser, '"');
    return text;
}

static bool hexadecimal(trcpu_parser *parser, int digits, int64_t *out) {
    uint64_t value = 0;
    for (int i = 0; i < digits; i++, parser->at++) {
        if (parser->at >= parser->end || !isxdigit((unsigned char)*parser->at)) return false;
        int c = tolower((unsigned char)*parser->at);
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = (int64_t)value;
    return true;
}

static bool decimal_float(trcpu_parser *parser, trcpu_operand *out) {
    char digits[64];
    size_t n = 0;
    while (parser->at < parser->end && n < sizeof digits - 1 &&
           (isdigit((unsigned char)*parser->at) || strchr("+-.eE", *parser->at)))
        digits[n++] = *parser->at++;
    digits[n] = 0;
    double value = strtod(digits, NULL);
    out->kind = TRCPU_OPERAND_DOUBLE;
    memcpy(&out->value, &value, sizeof value);
    return true;
}

/* Integers in C's notations with an optional U, 0f and 0d with the bits, and floats with a point. */
bool trcpu_parser_number(trcpu_parser *parser, trcpu_operand *out) {
    trcpu_parser_skip(parser);
    const char *start = parser->at;
    bool negative = trcpu_parser_accept(parser, '-');
    if (parser->at >= parser->end || !isdigit((unsigned char)*parser->at)) {
        parser->at = start;
        return false;
    }
    if (starts(parser, "0f") || starts(parser, "0F")) {
        out->kind = TRCPU_OPERAND_FLOAT;
        parser->at += 2;
        if (hexadecimal(parser, 8, &out->value)) return true;
    } else if (starts(parser, "0d") || starts(parser, "0D")) {
        out->kind = TRCPU_OPERAND_DOUBLE;
        parser->at += 2;
        if (hexadecimal(parser, 16, &out->value)) return true;
    } else {
        int base = starts(parser, "0x") || starts(parser, "0X") ? 16 : starts(parser, "0b") ? 2 : 10;
        if (base == 10 && *parser->at == '0') base = 8;
        if (base == 16 || base == 2) parser->at += 2;
        uint64_t value = 0;
        const char *digits = parser->at;
        for (; parser->at < parser->end && isalnum((unsigned char)*parser->at); parser->at++) {
            int c = tolower((unsigned char)*parser->at);
            int digit = isdigit(c) ? c - '0' : c - 'a' + 10;
            if (digit >= base) break;
            value = value * (uint64_t)base + (uint64_t)digit;
        }
        if (base == 8 && digits + 1 == parser->at) base = 10;
        if (parser->at < parser->end && (base == 10 || base == 8) &&
            (*parser->at == '.' || *parser->at == 'e')) {
            parser->at = start;
            return decimal_float(parser, out);
        }
        if (parser->at < parser->end && *parser->at == 'U') parser->at++;
        out->kind = TRCPU_OPERAND_INTEGER;
        out->value = (int64_t)(negative ? 0 - value : value);
        if (digits < parser->at) return true;
    }
    trcpu_parser_fail(parser, parser->line, "a malformed number");
    return false;
}

bool trcpu_parser_unsigned(trcpu_parser *parser, uint64_t *out) {
    trcpu_operand number = {0};
    if (!trcpu_parser_number(parser, &number) || number.kind != TRCPU_OPERAND_INTEGER) {
        trcpu_parser_fail(parser, parser->line, "a number expected");
        return false;
    }
    *out = (uint64_t)number.value;
    return true;
}
