#include "compilers/ptxas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "ptxas <file>, line 5; error   : <text>" or "ptxas fatal   : <text>" */
char *tr__ptxas_first_error(const char *log, const char *name) {
    static const char *const kinds[] = {"error   : ", "fatal   : "};
    for (const char *line = log; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t length = strcspn(line, "\n");
        for (size_t i = 0; i < 2; i++) {
            const char *text = memmem(line, length, kinds[i], strlen(kinds[i]));
            if (!text) continue;
            const char *number = memmem(line, (size_t)(text - line), ", line ", 7);
            text += strlen(kinds[i]);
            int rest = (int)(line + length - text), failed;
            char *made = NULL;
            if (number)
                failed = asprintf(&made, "%s:%ld: %.*s", name, strtol(number + 7, NULL, 10), rest, text);
            else
                failed = asprintf(&made, "%s: %.*s", name, rest, text);
            return failed < 0 ? NULL : made;
        }
    }
    return NULL;
}

/* The number before `unit`, summed over the line: "568 bytes cmem[0], 8 bytes cmem[2]" has 576 of " bytes
   cmem". */
static bool number_before(const char *line, size_t length, const char *unit, int64_t *out) {
    const char *end = line + length, *at = line, *found;
    bool any = false;
    *out = 0;
    while ((found = memmem(at, (size_t)(end - at), unit, strlen(unit)))) {
        const char *digits = found;
        while (digits > line && digits[-1] >= '0' && digits[-1] <= '9') digits--;
        if (digits < found) *out += strtoll(digits, NULL, 10), any = true;
        at = found + strlen(unit);
    }
    return any;
}

typedef struct span {
    const char *at;
    size_t length;
} span;

/* What follows `before` in the line, up to a quote; {NULL, 0} when `before` is not in it. */
static span name_behind(const char *line, size_t length, const char *before) {
    const char *at = memmem(line, length, before, strlen(before));
    if (!at) return (span){NULL, 0};
    at += strlen(before);
    const char *end = memchr(at, '\'', (size_t)(line + length - at));
    return (span){at, (size_t)((end ? end : line + length) - at)};
}

static bool equal(span a, span b) {
    return a.at && b.at && a.length == b.length && !memcmp(a.at, b.at, a.length);
}

static const struct {
    const char *unit, *key;
} facts[] = {{" registers", "registers"},
             {" barriers", "barriers"},
             {" bytes smem", "static_shared"},
             {" bytes cmem[", "constant_bytes"},
             {" bytes stack frame", "local_bytes"},
             {" bytes spill stores", "spills"},
             {" bytes spill loads", "spill_load_bytes"}};
enum { FACTS = sizeof facts / sizeof *facts };

/* Each entry begins with "Compiling entry function"; "Function properties for" may be those of one that it
   calls. */
json_t *tr__ptxas_usage(const char *log, const char *kernel) {
    json_t *usage = NULL;
    span entry = {NULL, 0}, described = {NULL, 0}, wanted = {kernel, kernel ? strlen(kernel) : 0};
    bool ours = false;
    for (const char *line = log; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t length = strcspn(line, "\n");
        span begun = name_behind(line, length, "Compiling entry function '");
        span function = name_behind(line, length, "Function properties for ");
        if (function.at) described = function;
        if (begun.at) {
            entry = described = begun;
            ours = !kernel || equal(entry, wanted);
            if (ours) json_decref(usage), usage = json_object();
            for (int i = 0; ours && i < FACTS; i++) json_object_set_new(usage, facts[i].key, json_integer(0));
        }
        bool other = memmem(line, length, " bytes stack frame", 18) && !equal(described, entry);
        for (int i = 0; ours && !other && i < FACTS; i++) {
            int64_t number;
            if (number_before(line, length, facts[i].unit, &number))
                json_object_set_new(usage, facts[i].key, json_integer(number));
        }
    }
    return usage;
}
