#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST = 1000 }; /* most never grow: a record, a key, a message */

static bool reserve(tr__buffer *buffer, size_t more) {
    if (buffer->failed) return false;
    if (more < buffer->capacity - buffer->size) return true; /* `<`: room for the final NUL */
    size_t wanted = buffer->size + more + 1;
    size_t capacity = buffer->capacity ? buffer->capacity * 2 : LEAST;
    if (capacity < wanted) capacity = wanted;
    char *data = wanted < more ? NULL : realloc(buffer->data, capacity);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void *tr__buffer_extend(tr__buffer *buffer, size_t size) {
    if (!reserve(buffer, size)) return NULL;
    char *room = buffer->data + buffer->size;
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
    return room;
}

void tr__buffer_append(tr__buffer *buffer, const void *data, size_t size) {
    void *room = size ? tr__buffer_extend(buffer, size) : NULL;
    if (room) memcpy(room, data, size);
}

void tr__buffer_puts(tr__buffer *buffer, const char *text) {
    tr__buffer_append(buffer, text, strlen(text));
}

void tr__buffer_printf(tr__buffer *buffer, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        buffer->failed = true;
    } else if (reserve(buffer, (size_t)length)) {
        vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

char *tr__buffer_take(tr__buffer *buffer) {
    if (!buffer->data && !buffer->failed) tr__buffer_extend(buffer, 0);
    char *data = buffer->failed ? NULL : buffer->data;
    if (buffer->failed) free(buffer->data);
    *buffer = (tr__buffer){0};
    return data;
}

void tr__buffer_release(tr__buffer *buffer) {
    free(buffer->data);
    *buffer = (tr__buffer){0};
}
