#include "compilers/llvm_literals.h"

#include <ctype.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NESTING = 512 };

/* Bits of the types a literal can have. `prefix` is what LLVM up to 23 wants before the digits of a bit
   pattern: float's are written as those of the double of equal value. */
typedef struct format {
    const char *name;
    int exponent_bits, mantissa_bits;
    const char *prefix;
    int digits;
} format;

static const format formats[] = {{"float", 8, 23, "0x", 16},
                                 {"double", 11, 52, "0x", 16},
                                 {"half", 5, 10, "0xH", 4},
                                 {"bfloat", 8, 7, "0xR", 4}};
#define FLOAT  (&formats[0])
#define DOUBLE (&formats[1])

typedef struct scanner {
    const char *at, *end, *line_start;
    uint32_t line, depth;
    const format
        *type; /* the floating-point type named last on this line: in IR a literal follows its type */
    locale_t c_locale;
    tr__buffer *out;
} scanner;

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

static bool is_name(char c) {
    return is_word(c) || c == '$' || c == '-';
}

static void copy_to(scanner *s, const char *end) {
    tr__buffer_append(s->out, s->at, (size_t)(end - s->at));
    s->at = end;
}

static bool starts(const scanner *s, const char *at, const char *text) {
    size_t length = strlen(text);
    return (size_t)(s->end - at) >= length && !memcmp(at, text, length);
}

static uint64_t double_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The nearest value of a format narrower than double, ties to even, as its bits. */
static uint64_t round_bits(double value, const format *type) {
    uint64_t wide = double_bits(value), sign = wide >> 63 << (type->exponent_bits + type->mantissa_bits);
    uint64_t infinity = ((1ull << type->exponent_bits) - 1) << type->mantissa_bits;
    uint64_t mantissa = wide & ((1ull << 52) - 1);
    int exponent = (int)(wide >> 52 & 0x7ff) - 1023 + (1 << (type->exponent_bits - 1)) - 1;
    int drop = 52 - type->mantissa_bits;
    if (exponent <
        1) { /* subnormal here: the leading one becomes visible, and the point moves instead of it */
        mantissa |= 1ull << 52;
        drop += 1 - exponent;
        exponent = 0;
    }
    if (drop > 53) return sign; /* below half the least one, which a double's own subnormals are too */
    uint64_t bits = ((uint64_t)exponent << type->mantissa_bits) + (mantissa >> drop);
    uint64_t rest = mantissa & ((1ull << drop) - 1), tie = 1ull << (drop - 1);
    if (rest > tie || (rest == tie && (bits & 1))) bits++; /* a carry runs into the exponent, as it should */
    return (bits < infinity ? bits : infinity) | sign;
}

/* Bits of the type's own width in the spelling of LLVM up to 23. */
static void put_bits(scanner *s, const format *type, uint64_t bits) {
    if (type == FLOAT) {
        uint32_t narrow = (uint32_t)bits;
        float value;
        memcpy(&value, &narrow, sizeof value);
        bits = value == value ? double_bits((double)value) /* a NaN keeps its payload */
                              : bits >> 31 << 63 | 0x7ffull << 52 | (bits & 0x7fffff) << 29;
    }
    tr__buffer_printf(s->out, "%s%0*llX", type->prefix, type->digits, (unsigned long long)bits);
}

/* f0x3FB8AA3B: the type's own bits. */
static bool rewrite_pattern(scanner *s, const char *end) {
    if (!s->type || !starts(s, s->at, "f0x")) return false;
    put_bits(s, s->type, strtoull(s->at + 3, NULL, 16));
    s->at = end;
    return true;
}

/* +inf, -inf, +qnan, -nan(0x1), +snan(0x1) */
static bool rewrite_special(scanner *s) {
    static const char *const names[] = {"inf", "qnan", "nan(", "snan("};
    const char *name = s->at + 1, *end = name;
    bool known = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) known |= starts(s, name, names[i]);
    if (!s->type || !known) return false;
    while (end < s->end && isalpha((unsigned char)*end)) end++;
    uint64_t payload = 0, quiet = 1ull << (s->type->mantissa_bits - 1);
    if (end < s->end && *end == '(') {
        char *after;
        payload = strtoull(end + 1, &after, 16);
        end = after + (*after == ')');
    }
    uint64_t bits = ((1ull << s->type->exponent_bits) - 1) << s->type->mantissa_bits;
    if (*name == 'q') bits |= quiet;
    if (*name == 'n') bits |= quiet | payload;
    if (*name == 's') bits |= payload ? payload : quiet >> 1;
    if (*s->at == '-') bits |= 1ull << (s->type->exponent_bits + s->type->mantissa_bits);
    put_bits(s, s->type, bits);
    s->at = end;
    return true;
}

/* 2.885390e+00 was an error unless the type holds it exactly; now it means the nearest value. A double's is
   read as it always was. */
static void rewrite_number(scanner *s) {
    const char *end = s->at + 1;
    bool fraction = false;
    for (; end < s->end; end++) {
        bool exponent_sign = (*end == '+' || *end == '-') && (end[-1] == 'e' || end[-1] == 'E');
        if (!is_word(*end) && !exponent_sign) break;
        fraction |= *end == '.';
    }
    if (fraction && s->type && s->type != DOUBLE) {
        double value = s->type == FLOAT ? (double)strtof_l(s->at, NULL, s->c_locale)
                                        : strtod_l(s->at, NULL, s->c_locale);
        put_bits(s, s->type, round_bits(value, s->type));
        s->at = end;
    } else {
        copy_to(s, end);
    }
}

static void take_word(scanner *s) {
    const char *end = s->at;
    while (end < s->end && is_word(*end)) end++;
    if (rewrite_pattern(s, end)) return;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if ((size_t)(end - s->at) == strlen(formats[i].name) && starts(s, s->at, formats[i].name))
            s->type = &formats[i];
    copy_to(s, end);
}

/* "…": names, inline assembly. A quote inside is written \22. */
static void take_string(scanner *s) {
    const char *end = s->at + 1;
    while (end < s->end && *end != '"' && *end != '\n') end++;
    copy_to(s, end < s->end && *end == '"' ? end + 1 : end);
}

static bool take_bracket(scanner *s) {
    if (strchr("([{<", *s->at))
        s->depth++;
    else if (s->depth)
        s->depth--;
    copy_to(s, s->at + 1);
    return s->depth <= MAX_NESTING;
}

static bool is_number(const scanner *s) {
    bool sign = *s->at == '-' || *s->at == '+';
    return isdigit((unsigned char)s->at[sign]); /* a NUL follows the text */
}

static bool take_token(scanner *s) {
    const char *end = s->at + 1;
    switch (*s->at) {
    case '\n':
        copy_to(s, end);
        s->line++;
        s->line_start = s->at;
        s->type = NULL;
        return true;
    case ';':
        while (end < s->end && *end != '\n') end++;
        copy_to(s, end);
        return true;
    case '"': take_string(s); return true;
    case '%':
    case '@':
    case '!':
    case '#':
    case '$':
        while (end < s->end && is_name(*end)) end++;
        copy_to(s, end);
        return true;
    case '(':
    case ')':
    case '[':
    case ']':
    case '{':
    case '}':
    case '<':
    case '>': return take_bracket(s);
    case '+':
    case '-':
        if (rewrite_special(s)) return true;
        break;
    default: break;
    }
    if (is_number(s))
        rewrite_number(s);
    else if (is_word(*s->at))
        take_word(s);
    else
        copy_to(s, end);
    return true;
}

bool tr__llvm_rewrite_literals(const char *text, size_t size, tr__buffer *out, tr__llvm_position *where) {
    scanner s = {.at = text, .end = text + size, .line_start = text, .line = 1, .out = out};
    s.c_locale =
        newlocale(LC_ALL_MASK, "C", (locale_t)0); /* the host may have set one with a decimal comma */
    if (!s.c_locale) {
        out->failed = true;
        return true;
    }
    bool fits = true;
    while (fits && s.at < s.end && !out->failed) fits = take_token(&s);
    freelocale(s.c_locale);
    *where = (tr__llvm_position){s.line, (uint32_t)(s.at - s.line_start)};
    return fits;
}
