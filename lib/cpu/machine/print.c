/* vprintf of a kernel: the format's conversions, with values as the device packs them. */
#include "machine/print.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void to_stdout(const char *text, size_t size, void *context) {
    (void)context;
    fwrite(text, 1, size, stdout);
    fflush(stdout);
}

static trcpu_print_sink *sink = to_stdout;
static void *sink_context;

void trcpu_print_to(trcpu_print_sink *replacement, void *context) {
    pthread_mutex_lock(&lock);
    sink = replacement ? replacement : to_stdout;
    sink_context = context;
    pthread_mutex_unlock(&lock);
}

typedef struct line {
    char text[4096];
    size_t size;
} line;

static void append(line *out, int n) {
    size_t room = sizeof out->text - out->size;
    if (n > 0) out->size += (size_t)n < room ? (size_t)n : room - 1;
}

/* The value at the next slot of its size; 32-bit and narrower ones take 4 bytes, the rest 8. */
static uint64_t value(const char *arguments, size_t room, size_t *at, size_t bytes) {
    uint64_t bits = 0;
    *at = (*at + bytes - 1) & ~(bytes - 1);
    if (*at + bytes <= room) memcpy(&bits, arguments + *at, bytes);
    *at += bytes;
    return bits;
}

static void convert(line *out, const char *spec, size_t size, const trcpu_print_reader *reader,
                    const char *arguments, size_t room, size_t *at) {
    char format[40], *end = format;
    bool wide = false;
    char kind = spec[size - 1];
    for (size_t i = 0; i + 1 < size && end < format + 30; i++) {
        if (spec[i] == 'l' || spec[i] == 'j' || spec[i] == 'z' || spec[i] == 't')
            wide = true;
        else if (spec[i] == '*')
            end += snprintf(end, 12, "%d", (int)value(arguments, room, at, 4));
        else if (spec[i] != 'h')
            *end++ = spec[i];
    }
    char *to = out->text + out->size;
    size_t left = sizeof out->text - out->size;
    if (strchr("di", kind)) {
        int64_t v = wide ? (int64_t)value(arguments, room, at, 8) : (int32_t)value(arguments, room, at, 4);
        strcpy(end, "lld");
        append(out, snprintf(to, left, format, (long long)v));
    } else if (strchr("uoxX", kind)) {
        uint64_t v = value(arguments, room, at, wide ? 8 : 4);
        end[0] = end[1] = 'l';
        end[2] = kind;
        end[3] = 0;
        append(out, snprintf(to, left, format, (unsigned long long)v));
    } else if (strchr("aAeEfFgG", kind)) {
        uint64_t bits = value(arguments, room, at, 8);
        double v;
        memcpy(&v, &bits, 8);
        end[0] = kind;
        end[1] = 0;
        append(out, snprintf(to, left, format, v));
    } else if (kind == 'c') {
        strcpy(end, "c");
        append(out, snprintf(to, left, format, (int)value(arguments, room, at, 4)));
    } else if (kind == 'p') {
        append(out, snprintf(to, left, "0x%llx", (unsigned long long)value(arguments, room, at, 8)));
    } else {
        char text[512];
        reader->string(reader->context, value(arguments, room, at, 8), text, sizeof text);
        strcpy(end, "s");
        append(out, snprintf(to, left, format, text));
    }
}

void trcpu_print(const char *format, const char *arguments, size_t room, const trcpu_print_reader *reader) {
    line out = {.size = 0};
    size_t at = 0;
    for (const char *p = format; *p; p++) {
        size_t size = *p == '%' ? strcspn(p + 1, "diuoxXaAeEfFgGcps%") + 2 : 1;
        if (size == 1 || size > strlen(p) || size > 30 || p[size - 1] == '%') {
            if (out.size + 1 < sizeof out.text) out.text[out.size++] = *p;
            p += size == 2 && p[1] == '%';
            continue;
        }
        convert(&out, p, size, reader, arguments, room, &at);
        p += size - 1;
    }
    pthread_mutex_lock(&lock);
    sink(out.text, out.size, sink_context);
    pthread_mutex_unlock(&lock);
}
