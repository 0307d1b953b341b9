/* Opcodes against the patterns of the table. */
#include "machine/program.h"

#include <string.h>

static bool is_one_of(trcpu_text s, const char *const *words) {
    while (*words && !trcpu_text_is(s, *words)) words++;
    return *words;
}

/* Modifiers that order, hint or name a scope: the machine gives the strongest order to all, and has no caches. */
static bool is_hint(trcpu_text s) {
    static const char *const words[] = {"weak", "relaxed", "acquire", "release", "acq_rel", "volatile",
                                        "mmio", "cta",     "cluster", "gpu",     "sys",     "nc",
                                        "ca",   "cg",      "cs",      "cv",      "lu",      "wb",
                                        "wt",   "noftz",   "sc",      "unified", NULL};
    if (is_one_of(s, words)) return true;
    return s.size > 4 && s.at[0] == 'L' && s.at[2] == ':' && (s.at[1] == '1' || s.at[1] == '2');
}

static bool is_eviction(trcpu_text s) {
    return s.size > 4 && s.at[0] == 'L' && s.at[1] == '1' && s.at[2] == ':';
}

/* ptxas refuses a cache operator beside an order or an eviction hint, and an eviction hint beside .volatile. */
static bool clash(trcpu_text a, trcpu_text b) {
    static const char *const caches[] = {"ca", "cg", "cs", "lu", "cv", "wb", "wt", NULL};
    static const char *const orders[] = {"volatile", "relaxed", "acquire", "release", "mmio", NULL};
    return (is_one_of(a, caches) && (is_one_of(b, orders) || is_eviction(b))) ||
           (trcpu_text_is(a, "volatile") && is_eviction(b));
}

bool trcpu_opcode_clashes(trcpu_text text, trcpu_text pair[2]) {
    const char *end = text.at + text.size;
    if (text.size < 3 || (memcmp(text.at, "ld.", 3) != 0 && memcmp(text.at, "st.", 3) != 0)) return false;
    trcpu_text seen[24];
    uint32_t count = 0;
    for (const char *at = text.at + 3; at <= end && count < 24; count++) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        if (!dot) dot = end;
        seen[count] = (trcpu_text){at, (uint32_t)(dot - at)};
        at = dot + 1;
        for (uint32_t i = 0; i < count; i++) {
            if (!clash(seen[i], seen[count]) && !clash(seen[count], seen[i])) continue;
            pair[0] = seen[i];
            pair[1] = seen[count];
            return true;
        }
    }
    return false;
}

static uint16_t flag_of(trcpu_text s) {
    static const struct {
        const char *name;
        uint16_t flag;
    } flags[] = {{"ftz", TRCPU_HAS_FTZ},
                 {"sat", TRCPU_HAS_SAT},
                 {"satfinite", TRCPU_HAS_SAT},
                 {"relu", TRCPU_HAS_RELU},
                 {"NaN", TRCPU_HAS_NAN},
                 {"volatile", TRCPU_HAS_SYNC},
                 {"relaxed", TRCPU_HAS_SYNC},
                 {"acquire", TRCPU_HAS_SYNC},
                 {"release", TRCPU_HAS_SYNC},
                 {"acq_rel", TRCPU_HAS_SYNC},
                 {"trans", TRCPU_HAS_TRANS},
                 {"abs", TRCPU_HAS_ABS},
                 {"shared::cluster", TRCPU_HAS_CLUSTER},
                 {"aligned", TRCPU_HAS_ALIGNED}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (trcpu_text_is(s, flags[i].name)) return flags[i].flag;
    return 0;
}

bool trcpu_opcode_split(trcpu_text text, trcpu_opcode *out) {
    out->count = 0;
    out->flags = 0;
    const char *at = text.at, *end = text.at + text.size;
    bool accesses = false;
    while (at <= end) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        if (!dot) dot = end;
        trcpu_text segment = {at, (uint32_t)(dot - at)};
        at = dot + 1;
        out->flags |= flag_of(segment);
        if (out->count == 0)
            accesses = trcpu_text_is(segment, "ld") || trcpu_text_is(segment, "st") ||
                       trcpu_text_is(segment, "atom") || trcpu_text_is(segment, "red") ||
                       trcpu_text_is(segment, "ldu");
        else if (accesses && is_hint(segment))
            continue;
        if (trcpu_text_is(segment, "shared::cta")) segment.size = 6;
        if (accesses && trcpu_text_is(segment, "shared::cluster")) segment.size = 6;
        if (trcpu_text_is(segment, "param::entry") || trcpu_text_is(segment, "param::func")) segment.size = 5;
        if (out->count == sizeof out->segments / sizeof *out->segments) return false;
        out->segments[out->count++] = segment;
    }
    return true;
}

int trcpu_opcode_target(const trcpu_opcode *opcode) {
    if (opcode->count < 3 || !trcpu_text_is(opcode->segments[0], "cvt")) return 0;
    trcpu_text to = opcode->segments[opcode->count - 2], from = opcode->segments[opcode->count - 1];
    bool narrows = (trcpu_text_is(to, "bf16") && !trcpu_text_is(from, "f32")) ||
                   (trcpu_text_is(to, "tf32") && !trcpu_text_is(opcode->segments[1], "rna"));
    return narrows || (trcpu_text_is(from, "bf16") && !trcpu_text_is(to, "f32")) ? 90 : 0;
}

/* The place of `segment` among the alternatives between `at` and `end`, from 1; 0: it is none of them. */
static uint32_t among(const char *at, const char *end, trcpu_text segment) {
    for (uint32_t place = 1; at <= end; place++) {
        const char *bar = memchr(at, '|', (size_t)(end - at));
        if (!bar) bar = end;
        if ((size_t)(bar - at) == segment.size && memcmp(at, segment.at, segment.size) == 0) return place;
        at = bar + 1;
    }
    return 0;
}

static bool matches(const char *pattern, const trcpu_text *segments, uint32_t count, uint8_t *mode,
                    uint32_t shift) {
    if (!*pattern) return count == 0;
    const char *end = strchr(pattern, '.');
    const char *next = end ? end + 1 : pattern + strlen(pattern);
    if (!end) end = next;
    bool optional = *pattern == '?';
    pattern += optional;
    bool picks = *pattern == '#';
    pattern += picks;
    uint32_t place = count ? among(pattern, end, segments[0]) : 0, after = picks ? 5 : shift;
    if (place && matches(next, segments + 1, count - 1, mode, after)) {
        if (picks) *mode = (uint8_t)(*mode + ((optional ? place : place - 1) << shift));
        return true;
    }
    return optional && matches(next, segments, count, mode, after);
}

bool trcpu_form_matches(const trcpu_form *form, const trcpu_opcode *opcode, uint8_t *mode) {
    trcpu_text base = opcode->segments[0];
    *mode = form->mode;
    if (strncmp(form->pattern, base.at, base.size) != 0) return false;
    return matches(form->pattern, opcode->segments, opcode->count, mode, 0);
}
