#ifndef TRCPU_PRINT_H
#define TRCPU_PRINT_H

#include <stddef.h>
#include <stdint.h>

/* Where the text of kernels goes: stdout, unless a program wants it. */
typedef void trcpu_print_sink(const char *text, size_t size, void *context);
void trcpu_print_to(trcpu_print_sink *sink, void *context); /* NULL: stdout */

/* Device strings are read by the caller's means. */
typedef struct trcpu_print_reader {
    void (*string)(void *context, uint64_t address, char *out, size_t room);
    void *context;
} trcpu_print_reader;

/* One call of vprintf by one lane. */
void trcpu_print(const char *format, const char *arguments, size_t room, const trcpu_print_reader *reader);

#endif
