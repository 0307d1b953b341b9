#include "base/json.h"

#include "base/buffer.h"

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 512 };

typedef struct reader {
    const char *text, *at, *end;
    const char *wrong; /* NULL: nothing so far */
    tr__buffer string; /* the one read last, unescaped */
} reader;

static bool fail(reader *r, const char *wrong) {
    if (!r->wrong) r->wrong = wrong;
    return false;
}

static bool take(reader *r, char letter) {
    if (r->at == r->end || *r->at != letter) return false;
    r->at++;
    return true;
}

static void skip_blank(reader *r) {
    while (r->at < r->end && strchr(" \t\n\r", *r->at) && *r->at) r->at++;
}

/* ---- strings ---- */

static bool take_code(reader *r, uint32_t *code) {
    static const char digits[] = "0123456789abcdefABCDEF";
    *code = 0;
    for (int i = 0; i < 4; i++) {
        const char *digit = r->at < r->end && *r->at ? strchr(digits, *r->at) : NULL;
        if (!digit) return fail(r, "expected four hexadecimal digits behind \\u");
        *code = *code * 16 + (uint32_t)(digit - digits > 15 ? digit - digits - 6 : digit - digits);
        r->at++;
    }
    return true;
}

static void put_utf8(tr__buffer *out, uint32_t code) {
    char bytes[4];
    size_t count = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = count; i-- > 1; code >>= 6) bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(first[count] | code);
    tr__buffer_append(out, bytes, count);
}

bool tr__json_is_utf8(const char *text, size_t size) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < size;) {
        unsigned char c = (unsigned char)text[i++];
        size_t more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : c >> 3 == 30 ? 3 : SIZE_MAX;
        if (more > size - i) return false;
        uint32_t code = more ? c & (0x3fu >> more) : c;
        for (size_t k = 0; k < more; k++, i++) {
            if ((text[i] & 0xc0) != 0x80) return false;
            code = code << 6 | (text[i] & 0x3f);
        }
        if (code < least[more] || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return false;
    }
    return true;
}

static bool take_unicode(reader *r) {
    uint32_t code, low;
    if (!take_code(r, &code)) return false;
    if (code == 0) return fail(r, "\\u0000 is not allowed in a string");
    if (code >= 0xd800 && code <= 0xdfff) {
        if (code > 0xdbff || !take(r, '\\') || !take(r, 'u') || !take_code(r, &low) || low < 0xdc00 ||
            low > 0xdfff)
            return fail(r, "half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(&r->string, code);
    return true;
}

static bool take_escape(reader *r) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (take(r, 'u')) return take_unicode(r);
    const char *name = r->at < r->end && *r->at ? strchr(names, *r->at) : NULL;
    if (!name) return fail(r, "no such escape in a string");
    r->at++;
    tr__buffer_append(&r->string, &values[name - names], 1);
    return true;
}

static bool take_string(reader *r) {
    r->string.size = 0;
    tr__buffer_extend(&r->string, 0); /* an empty one has an end too */
    if (!take(r, '"')) return fail(r, "expected a string");
    while (r->at < r->end && *r->at != '"') {
        const char *start = r->at;
        while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (unsigned char)*r->at >= 0x20) r->at++;
        tr__buffer_append(&r->string, start, (size_t)(r->at - start));
        if (r->at == r->end || *r->at == '"') break;
        if (!take(r, '\\')) return fail(r, "a control character in a string");
        if (!take_escape(r)) return false;
    }
    if (!take(r, '"')) return fail(r, "the string does not end");
    return r->string.failed || tr__json_is_utf8(r->string.data, r->string.size) ||
           fail(r, "a string that is not UTF-8");
}

/* ---- numbers ---- */

static locale_t plain; /* numbers are written with a point, whatever the host's locale says */
static void make_plain(void) {
    plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static bool take_digits(reader *r) {
    const char *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
    return r->at > start;
}

static json_t *take_number(reader *r) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char digits[512];
    const char *start = r->at;
    bool real = false;
    take(r, '-');
    if (!take(r, '0') && !take_digits(r)) return fail(r, "expected a value"), NULL;
    if (take(r, '.')) real = take_digits(r) || fail(r, "expected digits behind the point");
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+')) take(r, '-');
        real = take_digits(r) || fail(r, "expected digits of an exponent");
    }
    size_t length = (size_t)(r->at - start);
    if (r->wrong || length >= sizeof digits) return fail(r, "a number of too many digits"), NULL;
    memcpy(digits, start, length);
    digits[length] = '\0';
    errno = 0;
    if (!real) {
        long long value = strtoll(digits, NULL, 10);
        return errno ? (fail(r, "an integer beyond 64 bits"), NULL) : json_integer(value);
    }
    pthread_once(&once, make_plain);
    double value = plain ? strtod_l(digits, NULL, plain) : 0;
    if (value - value != 0) return fail(r, "a number beyond what a double holds"), NULL;
    return plain ? json_real(value) : NULL;
}

/* ---- values ---- */

static bool take_word(reader *r, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length)) return false;
    r->at += length;
    return true;
}

/* NULL with nothing wrong: out of memory. */
static json_t *take_value(reader *r) {
    if (r->at == r->end) return fail(r, "the text ends where a value was expected"), NULL;
    if (take(r, '{')) return json_object();
    if (take(r, '[')) return json_array();
    if (take_word(r, "true")) return json_true();
    if (take_word(r, "false")) return json_false();
    if (take_word(r, "null")) return json_null();
    if (*r->at != '"') return take_number(r);
    if (!take_string(r) || r->string.failed) return NULL;
    return json_stringn_nocheck(r->string.data, r->string.size);
}

static bool take_key(reader *r, const json_t *object, char **key) {
    if (!take_string(r)) return false;
    *key = r->string.failed ? NULL : strdup(r->string.data);
    if (!*key) return false;
    skip_blank(r);
    if (json_object_get(object, *key)) return fail(r, "a key that was there before");
    return take(r, ':') || fail(r, "expected ':' behind a key");
}

/* Puts the value into the innermost open one, which takes it over. */
static bool attach(json_t *into, char **key, json_t *value) {
    int failed = json_is_object(into) ? json_object_set_new_nocheck(into, *key, value)
                                      : json_array_append_new(into, value);
    free(*key);
    *key = NULL;
    return !failed;
}

/* Closes what ends here; *more says that another value follows. */
static bool close_ended(reader *r, json_t *const *open, size_t *depth, bool *more) {
    for (skip_blank(r); *depth; skip_blank(r), --*depth) {
        bool object = json_is_object(open[*depth - 1]);
        if (take(r, object ? '}' : ']')) continue;
        *more = take(r, ',');
        return *more || fail(r, r->at == r->end ? "the text ends inside a value"
                                : object        ? "expected ',' or '}'"
                                                : "expected ',' or ']'");
    }
    *more = false;
    return true;
}

static json_t *read_all(reader *r) {
    json_t *open[DEPTH], *root = NULL;
    char *key = NULL;
    size_t depth = 0;
    for (bool more = true; more && !r->wrong;) {
        json_t *into = depth ? open[depth - 1] : NULL;
        skip_blank(r);
        if (json_is_object(into) && !take_key(r, into, &key)) break;
        skip_blank(r);
        json_t *value = take_value(r);
        if (!value) break;
        bool opened = json_is_object(value) || json_is_array(value);
        if (!into)
            root = value;
        else if (!attach(into, &key, value))
            break;
        if (opened && depth == DEPTH) {
            fail(r, "values nested deeper than 512");
            break;
        }
        if (opened) {
            open[depth++] = value;
            skip_blank(r);
            if (r->at < r->end && *r->at != '}' && *r->at != ']') continue;
        }
        if (!close_ended(r, open, &depth, &more)) break;
        if (!more && r->at == r->end) return root;
        if (!more) fail(r, "something follows the value");
    }
    free(key);
    json_decref(root);
    return NULL;
}

tr_status tr__json_read(const char *text, size_t size, const char *where, tr_status status, json_t **out,
                        tr_error **error) {
    reader r = {.text = text, .at = text, .end = text + size};
    *out = read_all(&r);
    tr__buffer_release(&r.string);
    if (*out) return TR_OK;
    if (!r.wrong) return tr__fail_out_of_memory(error);
    unsigned line = 1;
    const char *start = text;
    for (const char *c = text; c < r.at && (c = memchr(c, '\n', (size_t)(r.at - c))); start = ++c) line++;
    return tr__fail(error, status, "%s:%u:%u: %s", where, line, (unsigned)(r.at - start) + 1, r.wrong);
}

/* Into a buffer of ours, which remembers that it failed; jansson's own forgets. */
static int append(const char *data, size_t size, void *user) {
    tr__buffer *out = user;
    tr__buffer_append(out, data, size);
    return out->failed ? -1 : 0;
}

static char *dump(const json_t *value, size_t flags) {
    tr__buffer out = {0};
    if (json_dump_callback(value, append, &out, flags)) out.failed = true;
    return tr__buffer_take(&out);
}

char *tr__json_write(const json_t *value) {
    return dump(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
}

char *tr__json_print(const json_t *value) {
    return dump(value, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
}

json_t *tr__json_strings(const char *const *strings) {
    json_t *list = json_array();
    for (; list && strings && *strings; strings++) {
        if (!json_array_append_new(list, json_stringn_nocheck(*strings, strlen(*strings)))) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}
