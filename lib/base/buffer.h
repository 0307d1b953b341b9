/* A growable byte buffer. Appending to one that ran out of memory does nothing: check `failed` once, at the
   end. data is NUL-terminated whenever it is not NULL. */
#ifndef TR_BASE_BUFFER_H
#define TR_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tr__buffer {
    char *data;
    size_t size, capacity;
    bool failed;
} tr__buffer; /* all zero is an empty one */

void tr__buffer_append(tr__buffer *buffer, const void *data, size_t size);
void tr__buffer_puts(tr__buffer *buffer, const char *text);
__attribute__((format(printf, 2, 3))) void tr__buffer_printf(tr__buffer *buffer, const char *format, ...);

/* `size` more bytes to write into, counted as written; NULL out of memory. */
void *tr__buffer_extend(tr__buffer *buffer, size_t size);

/* The bytes, now the caller's to free, "" rather than NULL when nothing was written; NULL out of memory. */
char *tr__buffer_take(tr__buffer *buffer);
void tr__buffer_release(tr__buffer *buffer);

#endif
