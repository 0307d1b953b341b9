/* JSON that comes from outside, and goes there. Values are jansson's; its own reader and writer are not used, because
   they lose characters without a word when memory runs out. */
#ifndef TR_BASE_JSON_H
#define TR_BASE_JSON_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* Any one JSON value, without duplicate keys, nested at most 512 deep. TR_E_OUT_OF_MEMORY, or `status` with
   "where:line:column: …". */
tr_status tr__json_read(const char *text, size_t size, const char *where, tr_status status, json_t **out,
                        tr_error **error);

/* UTF-8: no longer forms, no surrogates, nothing beyond U+10FFFF. What is not can't be a string in JSON. */
bool tr__json_is_utf8(const char *text, size_t size);

/* A list of strings, of which NULL is the last; each must be UTF-8, or it is kept as the bytes it is. NULL out of
   memory. */
json_t *tr__json_strings(const char *const *strings);

/* One line of ASCII, keys sorted; free() it. NULL out of memory. */
char *tr__json_write(const json_t *value);

/* For people: many lines, keys as they were put. */
char *tr__json_print(const json_t *value);

#endif
