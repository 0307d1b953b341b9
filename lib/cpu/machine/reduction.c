/* Reductions that bulk copies make in memory. */
#include <string.h>

#include "machine/numeric.h"
#include "machine/tensor_map.h"

bool trcpu_reduction_exists(trcpu_element element, trcpu_reduction reduction) {
    switch (element) {
    case TRCPU_ELEMENT_U32:
    case TRCPU_ELEMENT_U64: return reduction != TRCPU_REDUCE_NONE;
    case TRCPU_ELEMENT_S32:
    case TRCPU_ELEMENT_S64: return reduction != TRCPU_REDUCE_INC && reduction != TRCPU_REDUCE_DEC;
    case TRCPU_ELEMENT_F16:
    case TRCPU_ELEMENT_BF16:
        return reduction == TRCPU_REDUCE_ADD || reduction == TRCPU_REDUCE_MIN ||
               reduction == TRCPU_REDUCE_MAX;
    case TRCPU_ELEMENT_F32:
    case TRCPU_ELEMENT_F32_FTZ:
    case TRCPU_ELEMENT_F64: return reduction == TRCPU_REDUCE_ADD;
    default: return false;
    }
}

static uint64_t combine_unsigned(uint64_t a, uint64_t b, trcpu_reduction reduction) {
    switch (reduction) {
    case TRCPU_REDUCE_ADD: return a + b;
    case TRCPU_REDUCE_MIN: return a < b ? a : b;
    case TRCPU_REDUCE_MAX: return a > b ? a : b;
    case TRCPU_REDUCE_INC: return a >= b ? 0 : a + 1;
    case TRCPU_REDUCE_DEC: return a == 0 || a > b ? b : a - 1;
    case TRCPU_REDUCE_AND: return a & b;
    case TRCPU_REDUCE_OR: return a | b;
    default: return a ^ b;
    }
}

static uint64_t combine_signed(int64_t a, int64_t b, trcpu_reduction reduction) {
    if (reduction == TRCPU_REDUCE_MIN) return (uint64_t)(a < b ? a : b);
    if (reduction == TRCPU_REDUCE_MAX) return (uint64_t)(a > b ? a : b);
    return combine_unsigned((uint64_t)a, (uint64_t)b, reduction);
}

/* min and max prefer a number to a NaN, and -0 is below +0. */
static uint16_t combine_half(uint16_t a, uint16_t b, trcpu_format format, trcpu_reduction reduction) {
    float x = trcpu_widen(a, format), y = trcpu_widen(b, format);
    if (reduction == TRCPU_REDUCE_ADD) /* exact in f64, then rounded once */
        return (uint16_t)trcpu_narrow_double((double)x + (double)y, format, TRCPU_ROUND_NEAREST, 0);
    uint16_t nan = trcpu_format_traits_of(format).nan;
    if (x != x) return y != y ? nan : b;
    if (y != y) return a;
    bool a_below = x < y || (x == y && a > b);
    return (reduction == TRCPU_REDUCE_MIN) == a_below ? a : b;
}

static uint64_t combine(uint64_t a, uint64_t b, trcpu_element element, trcpu_reduction reduction) {
    switch (element) {
    case TRCPU_ELEMENT_F16: return combine_half((uint16_t)a, (uint16_t)b, TRCPU_F16, reduction);
    case TRCPU_ELEMENT_BF16: return combine_half((uint16_t)a, (uint16_t)b, TRCPU_BF16, reduction);
    case TRCPU_ELEMENT_F32:
    case TRCPU_ELEMENT_F32_FTZ: return trcpu_bits(trcpu_float((uint32_t)a) + trcpu_float((uint32_t)b));
    case TRCPU_ELEMENT_F64: {
        double x, y;
        memcpy(&x, &a, sizeof x);
        memcpy(&y, &b, sizeof y);
        x += y;
        memcpy(&a, &x, sizeof a);
        return a;
    }
    case TRCPU_ELEMENT_S32: return combine_signed((int32_t)a, (int32_t)b, reduction);
    case TRCPU_ELEMENT_S64: return combine_signed((int64_t)a, (int64_t)b, reduction);
    default: return combine_unsigned(a, b, reduction);
    }
}

#define REDUCE_AS(type)                                                                                      \
    for (uint32_t i = 0; i < count; i++) {                                                                   \
        type *place = (type *)to + i, value, old = __atomic_load_n(place, __ATOMIC_RELAXED), next;           \
        memcpy(&value, (const type *)from + i, sizeof value);                                                \
        do next = (type)combine(old, value, element, reduction);                                             \
        while (!__atomic_compare_exchange_n(place, &old, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));   \
    }

bool trcpu_reduce(void *to, const void *from, uint32_t count, trcpu_element element,
                  trcpu_reduction reduction) {
    if (!trcpu_reduction_exists(element, reduction)) return false;
    switch (trcpu_element_bytes(element)) {
    case 2: REDUCE_AS(uint16_t) break;
    case 4: REDUCE_AS(uint32_t) break;
    default: REDUCE_AS(uint64_t) break;
    }
    return true;
}
