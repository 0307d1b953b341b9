/* A Python file with kernels. Only Python reads Python; here it is enough to find them and their parameters'
   names. */
#include "stages/stage.h"

#include <stdlib.h>
#include <string.h>

typedef struct line {
    const char *text; /* without indentation */
    size_t length;
    size_t indentation;
} line;

static const char *next_line(const char *at, const char *end, line *out) {
    if (at >= end) return NULL;
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (!stop) stop = end;
    out->text = at;
    while (out->text < stop && (*out->text == ' ' || *out->text == '\t')) out->text++;
    out->length = (size_t)(stop - out->text);
    out->indentation = (size_t)(out->text - at);
    return stop + (stop < end);
}

static bool starts(const line *l, const char *prefix) {
    size_t length = strlen(prefix);
    return l->length >= length && !memcmp(l->text, prefix, length);
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (c & 0x80);
}

/* "@triton.jit", "@jit", "@triton.jit(…)", "@gluon.jit": a decorator whose last word is jit. */
static bool is_jit(const line *l) {
    size_t i = 1;
    if (!starts(l, "@")) return false;
    while (i < l->length && (is_word(l->text[i]) || l->text[i] == '.')) i++;
    return i >= 4 && !memcmp(l->text + i - 3, "jit", 3) && !is_word(l->text[i - 4]);
}

static bool recognise(const char *data, size_t size) {
    line l;
    bool def = false, module = false;
    for (const char *at = data; (at = next_line(at, data + size, &l));) {
        def = def || starts(&l, "def ");
        module = module || starts(&l, "import ") || starts(&l, "from ") || is_jit(&l);
        if (def && module) return true;
    }
    return false;
}

static tr_status check_text(tr__reading *reading, tr_error **error) {
    const char *nul = memchr(reading->data, 0, reading->size);
    unsigned number = 1;
    if (!nul) return TR_OK;
    for (const char *c = reading->data; (c = memchr(c, '\n', (size_t)(nul - c))); c++) number++;
    return tr__fail(error, TR_E_PARSE, "%s:%u: byte 0x00 does not belong into this text", reading->name,
                    number);
}

/* Functions behind a jit decorator; other decorators may stand between. */
static tr_status find_kernels(tr__reading *reading, tr__names *names, tr_error **error) {
    line l;
    bool jit = false;
    tr_status status = TR_OK;
    for (const char *at = reading->data;
         !status && (at = next_line(at, reading->data + reading->size, &l));) {
        if (is_jit(&l)) jit = true;
        if (!starts(&l, "def ")) continue;
        const char *name = l.text + 4, *end = l.text + l.length;
        while (name < end && *name == ' ') name++;
        size_t length = 0;
        while (name + length < end && is_word(name[length])) length++;
        if (jit && length) status = tr__names_add(names, name, length, name + length, error);
        jit = false;
    }
    return status;
}

static tr_status read(tr__reading *reading, tr_error **error) {
    tr__names names = {0};
    size_t index;
    tr_status status = check_text(reading, error);
    if (!status) status = find_kernels(reading, &names, error);
    if (!status)
        status = tr__reading_choose(reading, &names, "function decorated with @triton.jit", &index, error);
    tr__names_release(&names);
    return status;
}

const tr__stage tr__stage_python = {TR_STAGE_PYTHON, "python", ".py", recognise, read};
