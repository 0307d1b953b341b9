#include "stages/scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tr__scan_start(tr__scan *scan, const tr__language *language, const char *data, size_t size,
                    const char *name, tr_error **error) {
    scan->language = language;
    scan->name = name;
    scan->begin = scan->at = data;
    scan->end = data + size;
    scan->token = (tr__token){TR__TOKEN_END, data, 0};
    scan->depth = 0;
    scan->error = error;
    scan->status = TR_OK;
}

static void place(const tr__scan *scan, const char *at, unsigned *line, unsigned *column) {
    const char *start = scan->begin;
    *line = 1;
    for (const char *c = start; c < at && (c = memchr(c, '\n', (size_t)(at - c))); start = ++c) ++*line;
    *column = (unsigned)(at - start) + 1;
}

tr_status tr__scan_fail_at(tr__scan *scan, const char *at, tr_status status, const char *message) {
    unsigned line, column;
    if (scan->status) return scan->status;
    place(scan, at, &line, &column);
    scan->token.kind = TR__TOKEN_END;
    return scan->status = tr__fail(scan->error, status, "%s:%u:%u: %s", scan->name, line, column, message);
}

tr_status tr__scan_fail(tr__scan *scan, tr_status status, const char *format, ...) {
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return tr__scan_fail_at(scan, scan->token.text, status, message);
}

/* Letters, digits and "_.$", a bit each: most of any text is of them. */
static bool is_word(const tr__scan *scan, char c) {
    static const uint64_t words[4] = {UINT64_C(0x03ff401000000000), UINT64_C(0x07fffffe87fffffe)};
    unsigned char byte = (unsigned char)c;
    return (words[byte / 64] >> byte % 64 & 1) || (c == scan->language->word && c);
}

/* Blanks and comments. False: the text ends, or a comment does not. */
static bool skip_blank(tr__scan *scan) {
    const tr__language *language = scan->language;
    size_t length = strlen(language->comment);
    while (scan->at < scan->end) {
        const char *at = scan->at;
        size_t left = (size_t)(scan->end - at);
        if (*at == ' ' || (*at >= '\t' && *at <= '\r')) {
            scan->at++;
        } else if (left >= length && !memcmp(at, language->comment, length)) {
            const char *stop = memchr(at, '\n', left);
            scan->at = stop ? stop : scan->end;
        } else if (language->block_comments && left >= 2 && at[0] == '/' && at[1] == '*') {
            const char *stop = memmem(at + 2, left - 2, "*/", 2);
            if (!stop) return tr__scan_fail_at(scan, at, TR_E_PARSE, "the comment does not end"), false;
            scan->at = stop + 2;
        } else {
            return true;
        }
    }
    return false;
}

static void take_string(tr__scan *scan) {
    const char *start = scan->at++;
    while (scan->at < scan->end && *scan->at != '"' && *scan->at != '\n')
        scan->at += scan->language->escapes && *scan->at == '\\' && scan->end - scan->at > 1 ? 2 : 1;
    if (scan->at >= scan->end || *scan->at != '"') {
        tr__scan_fail_at(scan, start, TR_E_PARSE, "the string does not end in its line");
        return;
    }
    scan->token = (tr__token){TR__TOKEN_STRING, start + 1, (size_t)(scan->at++ - start - 1)};
}

static void open_bracket(tr__scan *scan) {
    if (scan->depth == TR__NESTING_MAX) {
        tr__scan_fail(scan, TR_E_PARSE, "brackets nested deeper than %d", TR__NESTING_MAX);
        return;
    }
    scan->open[scan->depth++] = scan->token.text;
}

static void close_bracket(tr__scan *scan) {
    char close = *scan->token.text, open = close == ')' ? '(' : close == ']' ? '[' : '{';
    if (!scan->depth) {
        tr__scan_fail(scan, TR_E_PARSE, "'%c' closes nothing", close);
        return;
    }
    const char *partner = scan->open[--scan->depth];
    if (*partner == open) return;
    unsigned line, column;
    place(scan, partner, &line, &column);
    tr__scan_fail(scan, TR_E_PARSE, "'%c' does not close the '%c' of %u:%u", close, *partner, line, column);
}

static void take_end(tr__scan *scan) {
    scan->token = (tr__token){TR__TOKEN_END, scan->end, 0};
    if (!scan->depth || scan->status) return;
    unsigned line, column;
    const char *open = scan->open[scan->depth - 1];
    place(scan, open, &line, &column);
    tr__scan_fail(scan, TR_E_PARSE, "the text ends, but the '%c' of %u:%u is still open: it was cut short",
                  *open, line, column);
}

tr__token_kind tr__scan_next(tr__scan *scan) {
    if (scan->status) return scan->token.kind = TR__TOKEN_END;
    if (!skip_blank(scan)) return take_end(scan), TR__TOKEN_END;
    const char *start = scan->at;
    unsigned char c = (unsigned char)*start;
    if (is_word(scan, *start)) {
        while (++scan->at < scan->end && is_word(scan, *scan->at)) {
        }
        scan->token = (tr__token){TR__TOKEN_WORD, start, (size_t)(scan->at - start)};
    } else if (c == '"') {
        take_string(scan);
    } else if (c < 0x20 || c >= 0x7f) {
        scan->token.text = start;
        tr__scan_fail(scan, TR_E_PARSE, "byte 0x%02x does not belong into this text", c);
    } else {
        scan->token = (tr__token){TR__TOKEN_SIGN, scan->at++, 1};
        if (strchr("([{", c)) open_bracket(scan);
        if (strchr(")]}", c)) close_bracket(scan);
    }
    return scan->token.kind;
}

tr_status tr__scan_rest(tr__scan *scan) {
    while (tr__scan_next(scan)) {
    }
    return scan->status;
}

bool tr__scan_is(const tr__scan *scan, const char *text) {
    const tr__token *token = &scan->token;
    return (token->kind == TR__TOKEN_WORD || token->kind == TR__TOKEN_SIGN) &&
           token->length == strlen(text) && !memcmp(token->text, text, token->length);
}

bool tr__scan_starts(const tr__scan *scan, const char *prefix) {
    size_t length = strlen(prefix);
    return scan->token.kind == TR__TOKEN_WORD && scan->token.length >= length &&
           !memcmp(scan->token.text, prefix, length);
}

bool tr__scan_take(tr__scan *scan, const char *text) {
    if (!tr__scan_is(scan, text)) return false;
    tr__scan_next(scan);
    return true;
}

tr_status tr__scan_expect(tr__scan *scan, const char *text) {
    if (tr__scan_take(scan, text)) return scan->status;
    const tr__token *token = &scan->token;
    if (token->kind == TR__TOKEN_END)
        return tr__scan_fail(scan, TR_E_PARSE, "expected '%s', but the text ends", text);
    return tr__scan_fail(scan, TR_E_PARSE, "expected '%s', found '%.*s'", text,
                         (int)(token->length < 40 ? token->length : 40), token->text);
}

bool tr__scan_number(const tr__scan *scan, uint32_t *out) {
    const tr__token *token = &scan->token;
    uint32_t value = 0;
    if (token->kind != TR__TOKEN_WORD || token->length > 9) return false;
    for (size_t i = 0; i < token->length; i++) {
        if (token->text[i] < '0' || token->text[i] > '9') return false;
        value = value * 10 + (uint32_t)(token->text[i] - '0');
    }
    *out = value;
    return true;
}

void tr__scan_skip(tr__scan *scan) {
    uint32_t depth = scan->depth - 1;
    while (scan->depth > depth && tr__scan_next(scan)) {
    }
    tr__scan_next(scan);
}
