/* A tokeniser for the text stages. It knows words, strings, comments and brackets of each language, which is
   enough to find kernels, signatures and attributes, and to say line:column of what is malformed before a
   compiler trips over it. It never leaves [begin, end) and takes time proportional to it, whatever stands
   there. */
#ifndef TR_STAGES_SCAN_H
#define TR_STAGES_SCAN_H

#include "base/error.h"

#include <stdbool.h>

typedef struct tr__language {
    const char *comment; /* to the end of the line */
    bool block_comments; /* also C's */
    bool escapes;        /* a backslash in a string takes the next character with it */
    char word;           /* belongs to a word like letters, digits, "_", "." and "$"; 0: nothing else does */
} tr__language;

typedef enum tr__token_kind {
    TR__TOKEN_END,
    TR__TOKEN_WORD,
    TR__TOKEN_STRING, /* text and length are what stands between the quotes */
    TR__TOKEN_SIGN    /* one character */
} tr__token_kind;

typedef struct tr__token {
    tr__token_kind kind;
    const char *text;
    size_t length;
} tr__token;

enum { TR__NESTING_MAX = 200 };

typedef struct tr__scan {
    const tr__language *language;
    const char *name; /* of the file, for messages */
    const char *begin, *at, *end;
    tr__token token; /* the one read last */
    uint32_t depth;  /* of ( [ { */
    const char *open[TR__NESTING_MAX];
    tr_error **error;
    tr_status status; /* once it is not TR_OK every token is END */
} tr__scan;

void tr__scan_start(tr__scan *scan, const tr__language *language, const char *data, size_t size,
                    const char *name, tr_error **error);

/* The next token, also in scan->token. A bracket that does not fit, a string that does not end, a byte that
   is no text: TR_E_PARSE in scan->status. */
tr__token_kind tr__scan_next(tr__scan *scan);
tr_status tr__scan_rest(tr__scan *scan); /* to the end, for the sake of the checks */

/* "name:line:column: …" of the token read last; returns the status, which it also leaves in the scan. */
__attribute__((format(printf, 3, 4))) tr_status tr__scan_fail(tr__scan *scan, tr_status status,
                                                              const char *format, ...);
tr_status tr__scan_fail_at(tr__scan *scan, const char *at, tr_status status, const char *message);

bool tr__scan_is(const tr__scan *scan, const char *text);       /* a word or a sign */
bool tr__scan_take(tr__scan *scan, const char *text);           /* the same, and goes on if so */
tr_status tr__scan_expect(tr__scan *scan, const char *text);    /* the same, or it fails */
bool tr__scan_starts(const tr__scan *scan, const char *prefix); /* a word's beginning */
bool tr__scan_number(const tr__scan *scan, uint32_t *out);      /* a word of decimal digits, below 2^31 */
void tr__scan_skip(tr__scan *scan); /* at an opening bracket: behind its partner */

#endif
