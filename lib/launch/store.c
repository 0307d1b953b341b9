/* Arguments into the packed buffer. The common kinds have a store of their own, which takes the argument
   exactly as declared and within its promises; anything else goes through fit(), which converts:

     integers  any integer type into any other, when the value fits; an i1 is 0 or 1
     floats    any of f16, bf16, f32, f64 into any other, rounded once, to nearest even; infinities and NaNs
   stay what they are (a NaN quiet); a finite value that would become infinite does not fit pointers  only
   pointers, tensor maps only tensor maps made for an equal descriptor */
#include "launch/pack.h"

#include "launch/tensor_map.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "low bytes are stored first, as the device has them");

#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

typedef struct kind {
    const char *name;
    char what; /* 'p'ointer, 's'igned, 'u'nsigned, 'f'loat, 'm'ap */
    uint8_t size;
    uint8_t bits; /* of an integer's value; of a float's mantissa */
    uint8_t exponent;
} kind;

static const kind kinds[TR_TYPE_TENSOR_MAP + 1] = {
    [TR_TYPE_PTR] = {"pointer", 'p', 8, 64, 0},
    [TR_TYPE_I1] = {"i1", 'u', 1, 1, 0},
    [TR_TYPE_I8] = {"i8", 's', 1, 8, 0},
    [TR_TYPE_I16] = {"i16", 's', 2, 16, 0},
    [TR_TYPE_I32] = {"i32", 's', 4, 32, 0},
    [TR_TYPE_I64] = {"i64", 's', 8, 64, 0},
    [TR_TYPE_U8] = {"u8", 'u', 1, 8, 0},
    [TR_TYPE_U16] = {"u16", 'u', 2, 16, 0},
    [TR_TYPE_U32] = {"u32", 'u', 4, 32, 0},
    [TR_TYPE_U64] = {"u64", 'u', 8, 64, 0},
    [TR_TYPE_F16] = {"fp16", 'f', 2, 10, 5},
    [TR_TYPE_BF16] = {"bf16", 'f', 2, 7, 8},
    [TR_TYPE_F32] = {"fp32", 'f', 4, 23, 8},
    [TR_TYPE_F64] = {"fp64", 'f', 8, 52, 11},
    [TR_TYPE_F8E4M3] = {"fp8e4m3", 0, 1, 0, 0},
    [TR_TYPE_F8E5M2] = {"fp8e5m2", 0, 1, 0, 0},
    [TR_TYPE_F4E2M1] = {"fp4e2m1", 0, 0, 0, 0},
    [TR_TYPE_TF32] = {"tf32", 0, 4, 0, 0},
    [TR_TYPE_TENSOR_MAP] = {"tensor map", 'm', 0, 0, 0},
};

static const kind *kind_of(tr_type type) {
    return &kinds[type > 0 && type <= TR_TYPE_TENSOR_MAP ? type : 0];
}

const char *tr__type_name(tr_type type) {
    const char *name = kind_of(type)->name;
    return name ? name : "unknown type";
}

typedef enum verdict { FITS, RESERVED, KIND, RANGE, MULTIPLE, FOLDED, NO_MAP, OTHER_MAP } verdict;

/* `value` in a format of fewer mantissa and exponent bits; false when a finite value becomes infinite. */
static bool narrow(double value, const kind *to, uint64_t *out) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    uint32_t mantissa = to->bits, top = (1u << to->exponent) - 1;
    uint64_t sign = bits >> 63 << (mantissa + to->exponent), infinity = (uint64_t)top << mantissa;
    if (!isfinite(value)) {
        uint64_t payload = isnan(value) ? 1ull << (mantissa - 1) : 0;
        *out = sign | infinity | payload;
        return true;
    }
    int smallest = 2 - (1 << (to->exponent - 1)); /* exponent of the least normal number */
    int field = (int)(bits >> 52 & 0x7ff), exponent = field ? field - 1023 : -1022;
    uint64_t significand = (bits & ((1ull << 52) - 1)) | (field ? 1ull << 52 : 0);
    int drop = 52 - (int)mantissa + (exponent < smallest ? smallest - exponent : 0);
    uint64_t kept = drop > 54 ? 0 : significand >> drop;
    if (drop > 0 && drop <= 54) {
        uint64_t rest = significand & ((1ull << drop) - 1), half = 1ull << (drop - 1);
        kept += rest > half || (rest == half && (kept & 1));
    }
    /* A carry out of the significand runs into the exponent, as it should. */
    uint64_t result = exponent < smallest ? kept : kept + ((uint64_t)(exponent - smallest) << mantissa);
    *out = sign | result;
    return result < infinity;
}

static verdict fit_integer(const tr__param *param, const tr_arg *argument, uint64_t *out) {
    const kind *from = kind_of(argument->type), *to = kind_of(param->type);
    bool negative = from->what == 's' && argument->value.i < 0;
    uint64_t value = argument->value.u, span = to->bits < 64 ? (1ull << to->bits) - 1 : UINT64_MAX;
    if (to->what == 'u' && (negative || value > span)) return RANGE;
    if (to->what == 's' && !negative && value > span >> 1) return RANGE;
    if (negative && value < ~(span >> 1)) return RANGE;
    if (param->divisibility > 1) {
        uint64_t magnitude = negative ? 0 - value : value;
        if (magnitude % param->divisibility) return MULTIPLE;
    }
    if (param->folded && (int64_t)value != param->constant) return FOLDED;
    *out = value;
    return FITS;
}

/* Does the argument fit, and which bytes is it? `out` stays untouched for a tensor map. */
static verdict fit(const tr__pack *pack, size_t index, const tr_arg *argument, uint64_t *out) {
    const tr__param *param = &pack->record->params[index];
    char from = kind_of(argument->type)->what, to = kind_of(param->type)->what;
    if (argument->reserved) return RESERVED;
    if (to == 'p') {
        if (from != 'p') return KIND;
        *out = argument->value.ptr;
        if (param->folded && (int64_t)*out != param->constant) return FOLDED;
        return param->divisibility > 1 && *out % param->divisibility ? MULTIPLE : FITS;
    }
    if (to == 'f') {
        if (from != 'f') return KIND;
        return narrow(argument->value.f, kind_of(param->type), out) ? FITS : RANGE;
    }
    if (to == 'm') {
        if (from != 'm') return KIND;
        const tr__tensor_map *map = (const void *)argument->value.map;
        if (!map || !map->made_for) return NO_MAP;
        return map->made_for == pack->places[index].made_for ? FITS : OTHER_MAP;
    }
    return from == 's' || from == 'u' ? fit_integer(param, argument, out) : KIND;
}

/* What each store takes, and hands on. */
#define STORE const tr_arg *argument, const tr__slot *slot, char *buffer, const tr__pack *pack

static inline const tr_arg *next(STORE) {
    argument++, slot++;
    __asm__(""
            : "+r"(argument), "+r"(slot)); /* else the compiler takes three instructions for each, not one */
    return slot->store(argument, slot, buffer, pack);
}

static const tr_arg *store_any(STORE) {
    size_t index = (size_t)(slot - pack->slots);
    const tr__place *place = &pack->places[index];
    uint64_t bits = 0;
    if (fit(pack, index, argument, &bits)) return argument;
    if (place->piece_count) {
        const tr__piece *piece = &pack->pieces[place->first_piece], *end = piece + place->piece_count;
        for (; piece < end; piece++)
            memcpy(buffer + piece->to, (const char *)argument->value.map + piece->from, piece->size);
    } else {
        memcpy(buffer + place->offset, &bits, place->size);
    }
    return next(argument, slot, buffer, pack);
}

/* Type and `reserved` in one: what is passed with nothing reserved is the type alone. */
static inline uint64_t head(const tr_arg *argument) {
    uint64_t both;
    memcpy(&both, argument, sizeof both);
    return both;
}

TR__HOT static const tr_arg *store_pointer(STORE) {
    uint64_t value = argument->value.ptr;
    if (UNLIKELY(head(argument) != TR_TYPE_PTR || value & slot->mask))
        return store_any(argument, slot, buffer, pack);
    memcpy(buffer + slot->offset, &value, 8);
    return next(argument, slot, buffer, pack);
}

TR__HOT static const tr_arg *store_i32(STORE) {
    int64_t value = argument->value.i;
    if (UNLIKELY(head(argument) != TR_TYPE_I32 || value != (int32_t)value))
        return store_any(argument, slot, buffer, pack);
    memcpy(buffer + slot->offset, &value, 4);
    return next(argument, slot, buffer, pack);
}

TR__HOT static const tr_arg *store_i32_multiple(STORE) {
    int64_t value = argument->value.i;
    if (UNLIKELY(head(argument) != TR_TYPE_I32 || value != (int32_t)value || (uint64_t)value & slot->mask))
        return store_any(argument, slot, buffer, pack);
    memcpy(buffer + slot->offset, &value, 4);
    return next(argument, slot, buffer, pack);
}

TR__HOT static const tr_arg *store_i64(STORE) {
    uint64_t value = argument->value.u;
    if (UNLIKELY(head(argument) != TR_TYPE_I64 || value & slot->mask))
        return store_any(argument, slot, buffer, pack);
    memcpy(buffer + slot->offset, &value, 8);
    return next(argument, slot, buffer, pack);
}

/* By the upper half of the double, without its sign: infinite, NaN, or near enough to what fp32 cannot hold. */
static inline bool is_large(const tr_arg *argument) {
    uint32_t upper;
    memcpy(&upper, (const char *)&argument->value + 4, 4);
    return upper << 1 >= 0x47efffffu << 1;
}

TR__HOT static const tr_arg *store_f32(STORE) {
    if (UNLIKELY(head(argument) != TR_TYPE_F32 || is_large(argument)))
        return store_any(argument, slot, buffer, pack);
    float value = (float)argument->value.f;
    memcpy(buffer + slot->offset, &value, 4);
    return next(argument, slot, buffer, pack);
}

TR__HOT static const tr_arg *end(STORE) {
    return NULL;
}

TR__HOT static const tr_arg *end_after_one(STORE) {
    memset(buffer + slot->offset, 0, 8);
    return NULL;
}

TR__HOT static const tr_arg *end_after_two(STORE) {
    memset(buffer + slot->offset, 0, 16);
    return NULL;
}

tr__store *tr__store_tail_for(uint32_t hidden_count) {
    return hidden_count == 2 ? end_after_two : hidden_count ? end_after_one : end;
}

tr__store *tr__store_for(const tr__param *param) {
    if (param->folded) return store_any;
    switch (param->type) {
    case TR_TYPE_PTR: return store_pointer;
    case TR_TYPE_I32: return param->divisibility > 1 ? store_i32_multiple : store_i32;
    case TR_TYPE_I64: return store_i64;
    case TR_TYPE_F32: return store_f32;
    default: return store_any;
    }
}

/* ---- words ---- */

static const char *show(const tr_arg *argument, char text[64]) {
    const char *name = tr__type_name(argument->type);
    switch (kind_of(argument->type)->what) {
    case 's': snprintf(text, 64, "%s %" PRId64, name, argument->value.i); break;
    case 'u': snprintf(text, 64, "%s %" PRIu64, name, argument->value.u); break;
    case 'f': snprintf(text, 64, "%s %g", name, argument->value.f); break;
    case 'p': snprintf(text, 64, "pointer 0x%" PRIx64, argument->value.ptr); break;
    case 'm': snprintf(text, 64, "a tensor map"); break;
    default: snprintf(text, 64, "type number %d", (int)argument->type);
    }
    return text;
}

static const char *show_range(tr_type type, char text[64]) {
    const kind *kind = kind_of(type);
    uint64_t span = kind->bits < 64 ? (1ull << kind->bits) - 1 : UINT64_MAX;
    switch (kind->what) {
    case 's': snprintf(text, 64, "-%" PRIu64 " to %" PRIu64, (span >> 1) + 1, span >> 1); break;
    case 'u': snprintf(text, 64, "0 to %" PRIu64, span); break;
    default:
        snprintf(text, 64, "a finite value of magnitude up to %g",
                 ldexp(2 - ldexp(1, -kind->bits), (1 << (kind->exponent - 1)) - 1));
    }
    return text;
}

tr_status tr__pack_refuse(const tr__pack *pack, size_t index, const tr_arg *argument, tr_error **error) {
    const tr__param *param = &pack->record->params[index];
    const char *type = tr__type_name(param->type);
    char given[64], range[64], which[160];
    uint64_t bits;
    show(argument, given);
    snprintf(which, sizeof which, "argument %zu%s%.80s%s of '%.40s'", index, param->name ? " '" : "",
             param->name ? param->name : "", param->name ? "'" : "", pack->record->kernel);
    switch (fit(pack, index, argument, &bits)) {
    case RESERVED:
        return tr__fail(error, TR_E_SIGNATURE, "%s: tr_arg.reserved is %u; it must be 0", which,
                        argument->reserved);
    case KIND: return tr__fail(error, TR_E_SIGNATURE, "%s takes %s, but %s was given", which, type, given);
    case RANGE:
        return tr__fail(error, TR_E_SIGNATURE, "%s takes %s, %s, but %s was given", which, type,
                        show_range(param->type, range), given);
    case MULTIPLE:
        return tr__fail(
            error, TR_E_SIGNATURE,
            "%s was promised to be a multiple of %u when the kernel was compiled, but %s was given; "
            "compile it without that promise for such values",
            which, param->divisibility, given);
    case FOLDED:
        return tr__fail(error, TR_E_SIGNATURE,
                        "%s was compiled in as %" PRId64
                        ", but %s was given; compile the kernel for that value",
                        which, param->constant, given);
    case NO_MAP:
        return tr__fail(error, TR_E_SIGNATURE,
                        "%s takes a tensor map, but %s; fill it with tr_tensor_map_encode", which,
                        argument->value.map ? "what was given was never encoded" : "NULL was given");
    case OTHER_MAP:
        return tr__fail(
            error, TR_E_SIGNATURE,
            "%s: the tensor map was encoded for a descriptor of another shape or type; encode it with "
            "tr_tensor_map_encode for this kernel and argument",
            which);
    default: return tr__fail(error, TR_E_SIGNATURE, "%s does not fit", which);
    }
}

tr_status tr__pack_refuse_count(const tr__pack *pack, size_t count, tr_error **error) {
    const tr__record *record = pack->record;
    char list[400] = "";
    size_t used = 0;
    for (size_t i = 0; i < pack->count && used + 64 < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.24s%s%s", i ? ", " : "",
                                 record->params[i].name ? record->params[i].name : "",
                                 record->params[i].name ? ": " : "", tr__type_name(record->params[i].type));
    return tr__fail(error, TR_E_SIGNATURE, "'%s' takes %zu argument%s (%s), but %zu %s given", record->kernel,
                    pack->count, pack->count == 1 ? "" : "s", list, count, count == 1 ? "was" : "were");
}
