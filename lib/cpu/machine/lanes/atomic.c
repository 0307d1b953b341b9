/* atom and red. Lanes go one after the other; threads of the machine see each as one step. */
#include "machine/lanes/place.h"

enum { ADD, MIN, MAX, AND, OR, XOR, EXCH, INC, DEC, CAS };
#define OPERATIONS "#add|min|max|and|or|xor|exch|inc|dec"

typedef enum kind { U32, S32, U64, S64, F32, F64, F16, BF16, F16X2, BF16X2, B16 } kind;

static uint32_t half_step(uint32_t old, uint32_t value, uint32_t operation, trcpu_format format) {
    float a = trcpu_widen(old & 0xffff, format), b = trcpu_widen(value & 0xffff, format);
    float r = operation == ADD   ? a + b
              : a != a           ? b
              : b != b           ? a
              : operation == MIN ? (a < b ? a : b)
                                 : (a > b ? a : b);
    return trcpu_narrow(r, format, TRCPU_ROUND_NEAREST, 0);
}

static uint64_t step32(uint32_t old, uint32_t value, uint32_t operation, kind type) {
    switch (operation) {
    case ADD: return old + value;
    case MIN: return type == S32 ? ((int32_t)old < (int32_t)value ? old : value) : old < value ? old : value;
    case MAX: return type == S32 ? ((int32_t)old > (int32_t)value ? old : value) : old > value ? old : value;
    case AND: return old & value;
    case OR: return old | value;
    case XOR: return old ^ value;
    case INC: return old >= value ? 0 : old + 1;
    case DEC: return old == 0 || old > value ? value : old - 1;
    default: return value;
    }
}

static uint64_t step64(uint64_t old, uint64_t value, uint32_t operation, kind type) {
    switch (operation) {
    case ADD: return old + value;
    case MIN: return type == S64 ? ((int64_t)old < (int64_t)value ? old : value) : old < value ? old : value;
    case MAX: return type == S64 ? ((int64_t)old > (int64_t)value ? old : value) : old > value ? old : value;
    case AND: return old & value;
    case OR: return old | value;
    case XOR: return old ^ value;
    default: return value;
    }
}

static uint64_t step(uint64_t old, uint64_t value, uint32_t operation, kind type) {
    double x, y;
    switch (type) {
    case F32: {
        float a = trcpu_float((uint32_t)old), b = trcpu_float((uint32_t)value);
        float r = operation == ADD   ? a + b
                  : operation == MIN ? (b != b || a < b ? a : b)
                                     : (b != b || a > b ? a : b);
        return operation == EXCH ? value : trcpu_bits(canonical(r));
    }
    case F64:
        memcpy(&x, &old, 8);
        memcpy(&y, &value, 8);
        x = operation == ADD ? x + y : y;
        memcpy(&old, &x, 8);
        return old;
    case F16: return half_step((uint32_t)old, (uint32_t)value, operation, TRCPU_F16);
    case BF16: return half_step((uint32_t)old, (uint32_t)value, operation, TRCPU_BF16);
    case F16X2:
        return half_step((uint32_t)old, (uint32_t)value, operation, TRCPU_F16) |
               half_step((uint32_t)(old >> 16), (uint32_t)(value >> 16), operation, TRCPU_F16) << 16;
    case BF16X2:
        return half_step((uint32_t)old, (uint32_t)value, operation, TRCPU_BF16) |
               half_step((uint32_t)(old >> 16), (uint32_t)(value >> 16), operation, TRCPU_BF16) << 16;
    case U64:
    case S64: return step64(old, value, operation, type);
    default: return step32((uint32_t)old, (uint32_t)value, operation, type);
    }
}

#define EXCHANGE(type)                                                                                       \
    type *p = (type *)(void *)at, old = __atomic_load_n(p, __ATOMIC_RELAXED), wanted;                        \
    do {                                                                                                     \
        if (operation == CAS)                                                                                \
            wanted = old == (type)compare ? (type)value : old;                                               \
        else                                                                                                 \
            wanted = (type)step(old, value, operation, t);                                                   \
    } while (!__atomic_compare_exchange_n(p, &old, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));      \
    return old

static uint64_t exchange16(char *at, uint64_t value, uint64_t compare, uint32_t operation, kind t) {
    EXCHANGE(uint16_t);
}
static uint64_t exchange32(char *at, uint64_t value, uint64_t compare, uint32_t operation, kind t) {
    EXCHANGE(uint32_t);
}
static uint64_t exchange64(char *at, uint64_t value, uint64_t compare, uint32_t operation, kind t) {
    EXCHANGE(uint64_t);
}

static uint32_t bytes_of(kind type) {
    return type == U64 || type == S64 || type == F64 ? 8 : type == F16 || type == BF16 || type == B16 ? 2 : 4;
}

static uint64_t element(const trcpu_warp *warp, uint32_t row, uint32_t lane, uint32_t bytes) {
    return bytes == 8 ? ROW_AT(uint64_t, row)[lane] : ROW_AT(uint32_t, row)[lane];
}

/* In the shadows; false: a fault is reported. */
static inline bool note(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint64_t address,
                        const char *at, uint32_t bytes) {
    warp->polled = address;
    if (warp->shadow && at >= warp->shared && at < warp->shared + warp->shared_bytes)
        return trcpu_shadow_atomic(warp, insn, lane, (uint32_t)(at - warp->shared), bytes);
    if (!warp->watch || (address & TRCPU_WINDOW_MASK) != TRCPU_DEVICE) return true;
    return trcpu_watch_range(warp, insn, lane, address, bytes, TRCPU_WATCH_ATOMIC);
}

/* rows: results (of atom), the address, values, for cas the comparand before them. */
static inline const trcpu_insn *update(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                                       trcpu_space space, kind type, bool returns) {
    const uint32_t operation = insn->mode & 31, n = insn->count ? insn->count : 1, bytes = bytes_of(type);
    const uint32_t *results = insn->rows, *rest = insn->rows + (returns ? n : 0);
    bool narrow = space == TRCPU_SPACE_SHARED;
    warp->syncs++;
    ACTIVE_LANES {
        uint64_t address = narrow ? (uint32_t)(ROW_AT(uint32_t, rest[0])[l] + (uint32_t)insn->imm)
                                  : ROW_AT(uint64_t, rest[0])[l] + (uint64_t)insn->imm;
        if (address & (bytes * n - 1))
            return trcpu_fault_access(warp, insn, l, address, bytes * n, space, true);
        char *at = place_lane(warp, insn, l, address, bytes * n, space, true);
        const bool orders =
            warp->watch && !(mask & (mask - 1)) && (address & TRCPU_WINDOW_MASK) == TRCPU_DEVICE && !narrow;
        if (orders) trcpu_watch_give(warp, address);
        if (!at || !note(warp, insn, l, address, at, bytes * n)) return TRCPU_LEAVE;
        for (uint32_t k = 0; k < n; k++, at += bytes) {
            uint64_t value = element(warp, rest[operation == CAS ? 2 : 1 + k], l, bytes);
            uint64_t compare = operation == CAS ? element(warp, rest[1], l, bytes) : 0;
            uint64_t old = bytes == 2   ? exchange16(at, value, compare, operation, type)
                           : bytes == 4 ? exchange32(at, value, compare, operation, type)
                                        : exchange64(at, value, compare, operation, type);
            if (!returns) continue;
            if (bytes == 8)
                ROW_AT(uint64_t, results[k])[l] = old;
            else
                ROW_AT(uint32_t, results[k])[l] = (uint32_t)old;
        }
        if (orders) trcpu_watch_take(warp, address);
    }
    return insn + 1;
}

#define RETURNING(type, TYPE)                                                                                \
    HANDLER(atom_global_##type) {                                                                            \
        return update(warp, insn, mask, TRCPU_SPACE_GLOBAL, TYPE, true);                                     \
    }                                                                                                        \
    HANDLER(atom_shared_##type) {                                                                            \
        return update(warp, insn, mask, TRCPU_SPACE_SHARED, TYPE, true);                                     \
    }                                                                                                        \
    HANDLER(atom_generic_##type) {                                                                           \
        return update(warp, insn, mask, TRCPU_SPACE_GENERIC, TYPE, true);                                    \
    }

#define UPDATES(type, TYPE)                                                                                  \
    RETURNING(type, TYPE)                                                                                    \
    HANDLER(red_global_##type) {                                                                             \
        return update(warp, insn, mask, TRCPU_SPACE_GLOBAL, TYPE, false);                                    \
    }                                                                                                        \
    HANDLER(red_shared_##type) {                                                                             \
        return update(warp, insn, mask, TRCPU_SPACE_SHARED, TYPE, false);                                    \
    }                                                                                                        \
    HANDLER(red_generic_##type) {                                                                            \
        return update(warp, insn, mask, TRCPU_SPACE_GENERIC, TYPE, false);                                   \
    }
UPDATES(u32, U32)
UPDATES(s32, S32)
UPDATES(u64, U64)
UPDATES(s64, S64)
UPDATES(f32, F32)
UPDATES(f64, F64)
UPDATES(f16, F16)
UPDATES(bf16, BF16)
UPDATES(f16x2, F16X2)
UPDATES(bf16x2, BF16X2)
RETURNING(b16, B16)

#define M TRCPU_FORM_MEMORY
#define IN_SPACE(s, A, space, types, w, type)                                                                \
    {"atom" s "." OPERATIONS "." types, w "=" A w "?_", atom_##space##_##type, 0, M}, {                      \
        "red" s "." OPERATIONS "." types, "=" A w "?_", red_##space##_##type, 0, M                           \
    }
#define EVERYWHERE(types, w, type)                                                                           \
    IN_SPACE(".global", "A", global, types, w, type), IN_SPACE(".shared", "S", shared, types, w, type),      \
        IN_SPACE("", "A", generic, types, w, type)
#define CAS_FORMS(types, w, type)                                                                            \
    {"atom.global.cas." types, w "=A" w w "?_", atom_global_##type, CAS, M},                                 \
        {"atom.shared.cas." types, w "=S" w w "?_", atom_shared_##type, CAS, M}, {                           \
        "atom.cas." types, w "=A" w w "?_", atom_generic_##type, CAS, M                                      \
    }
/* .v2.f16, .v4.f32, .v8.bf16, of global memory */
#define VECTORS(types, type)                                                                                 \
    {"atom.?global." OPERATIONS ".v2|v4|v8." types, "V=AV?_", atom_global_##type, 0, M},                     \
        {"red.?global." OPERATIONS ".v2|v4|v8." types, "=AV?_", red_global_##type, 0, M},                    \
        {"atom.?global.v2|v4|v8." types "." OPERATIONS, "V=AV?_", atom_global_##type, 0, M}, {               \
        "atom.?global.v2|v4|v8." OPERATIONS "." types, "V=AV?_", atom_global_##type, 0, M                    \
    }

FORMS(atomic){
    EVERYWHERE("b32|u32", "w", u32),
    EVERYWHERE("s32", "w", s32),
    EVERYWHERE("b64|u64", "d", u64),
    EVERYWHERE("s64", "d", s64),
    EVERYWHERE("f32", "w", f32),
    EVERYWHERE("f64", "d", f64),
    EVERYWHERE("f16", "h", f16),
    EVERYWHERE("bf16", "h", bf16),
    EVERYWHERE("f16x2", "w", f16x2),
    EVERYWHERE("bf16x2", "w", bf16x2),
    CAS_FORMS("b16|u16", "h", b16),
    CAS_FORMS("b32|u32|s32", "w", u32),
    CAS_FORMS("b64|u64|s64", "d", u64),
    VECTORS("f32", f32),
    VECTORS("f16", f16),
    VECTORS("bf16", bf16),
    VECTORS("f16x2", f16x2),
    VECTORS("bf16x2", bf16x2),
    END_OF_FORMS,
};
