/* ld and st. The lanes' accesses are checked together; side by side they are one copy. */
#include "machine/lanes/place.h"

/* ---- one lane, or all lanes side by side: `count` elements of `bytes` each ---- */
/* With the check for alignment off, elements lie anywhere. */
typedef uint16_t loose16 __attribute__((aligned(1), may_alias));
typedef uint32_t loose32 __attribute__((aligned(1), may_alias));
typedef uint64_t loose64 __attribute__((aligned(1), may_alias));

TRCPU_INLINE uint64_t read_element(const char *from, uint32_t bytes, bool is_signed) {
    switch (bytes) {
    case 1: return is_signed ? (uint64_t)(int64_t) * (const int8_t *)from : *(const uint8_t *)from;
    case 2: {
        uint16_t value = *(const loose16 *)(const void *)from;
        return is_signed ? (uint64_t)(int64_t)(int16_t)value : value;
    }
    case 4: {
        uint32_t value = *(const loose32 *)(const void *)from;
        return is_signed ? (uint64_t)(int64_t)(int32_t)value : value;
    }
    default: return *(const loose64 *)(const void *)from;
    }
}

TRCPU_INLINE void write_element(char *to, uint64_t value, uint32_t bytes) {
    switch (bytes) {
    case 1: *(uint8_t *)to = (uint8_t)value; break;
    case 2: *(loose16 *)(void *)to = (uint16_t)value; break;
    case 4: *(loose32 *)(void *)to = (uint32_t)value; break;
    default: *(loose64 *)(void *)to = value; break;
    }
}

/* Into registers as wide as `width` says: 8, 4, or 2 and 1 (zero-extended 16 bits). */
TRCPU_INLINE void load_lane(trcpu_warp *warp, const uint32_t *rows, uint32_t lane, const char *from,
                            uint32_t bytes, uint32_t count, bool is_signed, uint32_t width) {
    for (uint32_t k = 0; k < count; k++) {
        uint64_t value = read_element(from + k * bytes, bytes, is_signed);
        if (width == 8)
            ROW_AT(uint64_t, rows[k])[lane] = value;
        else
            ROW_AT(uint32_t, rows[k])[lane] = width == 4 ? (uint32_t)value : (uint16_t)value;
    }
}

TRCPU_INLINE void store_lane(trcpu_warp *warp, const uint32_t *rows, uint32_t lane, char *to, uint32_t bytes,
                             uint32_t count, uint32_t width) {
    for (uint32_t k = 0; k < count; k++)
        write_element(to + k * bytes,
                      width == 8 ? ROW_AT(uint64_t, rows[k])[lane] : ROW_AT(uint32_t, rows[k])[lane], bytes);
}

TRCPU_INLINE void load_all(trcpu_warp *warp, const uint32_t *rows, const char *from, uint32_t bytes,
                           uint32_t count) {
    if (count == 1) {
        if (bytes == 8)
            memcpy(ROW_AT(uint64_t, rows[0]), from, 256);
        else if (bytes == 4)
            memcpy(ROW_AT(uint32_t, rows[0]), from, 128);
        else {
            uint32_t *d = ROW_AT(uint32_t, rows[0]);
            LANES d[l] = (uint32_t)read_element(from + l * bytes, bytes, false);
        }
    } else if (bytes == 4 && count == 4) {
        const uint32_t *p = (const uint32_t *)(const void *)from;
        uint32_t *a = ROW_AT(uint32_t, rows[0]), *b = ROW_AT(uint32_t, rows[1]),
                 *c = ROW_AT(uint32_t, rows[2]), *d = ROW_AT(uint32_t, rows[3]);
        LANES {
            a[l] = p[4 * l];
            b[l] = p[4 * l + 1];
            c[l] = p[4 * l + 2];
            d[l] = p[4 * l + 3];
        }
    } else if (bytes == 4 && count == 2) {
        const uint32_t *p = (const uint32_t *)(const void *)from;
        uint32_t *a = ROW_AT(uint32_t, rows[0]), *b = ROW_AT(uint32_t, rows[1]);
        LANES {
            a[l] = p[2 * l];
            b[l] = p[2 * l + 1];
        }
    } else if (bytes == 8 && count == 2) {
        const uint64_t *p = (const uint64_t *)(const void *)from;
        uint64_t *a = ROW_AT(uint64_t, rows[0]), *b = ROW_AT(uint64_t, rows[1]);
        LANES {
            a[l] = p[2 * l];
            b[l] = p[2 * l + 1];
        }
    } else {
        for (uint32_t l = 0; l < 32; l++)
            load_lane(warp, rows, l, from + l * bytes * count, bytes, count, false, bytes);
    }
}

TRCPU_INLINE void store_all(trcpu_warp *warp, const uint32_t *rows, char *to, uint32_t bytes,
                            uint32_t count) {
    if (count == 1) {
        if (bytes == 8)
            memcpy(to, ROW_AT(uint64_t, rows[0]), 256);
        else if (bytes == 4)
            memcpy(to, ROW_AT(uint32_t, rows[0]), 128);
        else {
            const uint32_t *s = ROW_AT(uint32_t, rows[0]);
            LANES write_element(to + l * bytes, s[l], bytes);
        }
    } else if (bytes == 4 && count == 4) {
        uint32_t *p = (uint32_t *)(void *)to;
        const uint32_t *a = ROW_AT(uint32_t, rows[0]), *b = ROW_AT(uint32_t, rows[1]),
                       *c = ROW_AT(uint32_t, rows[2]), *d = ROW_AT(uint32_t, rows[3]);
        LANES {
            p[4 * l] = a[l];
            p[4 * l + 1] = b[l];
            p[4 * l + 2] = c[l];
            p[4 * l + 3] = d[l];
        }
    } else if (bytes == 4 && count == 2) {
        uint32_t *p = (uint32_t *)(void *)to;
        const uint32_t *a = ROW_AT(uint32_t, rows[0]), *b = ROW_AT(uint32_t, rows[1]);
        LANES {
            p[2 * l] = a[l];
            p[2 * l + 1] = b[l];
        }
    } else {
        for (uint32_t l = 0; l < 32; l++)
            store_lane(warp, rows, l, to + l * bytes * count, bytes, count, bytes);
    }
}

/* Four words of each lane, at places apart. False: nothing is done. */
#ifdef __AVX512F__
TRCPU_INLINE bool load_words(trcpu_warp *warp, const uint32_t *rows, char *const place[32]) {
    for (uint32_t l = 0; l < 32; l += 16) {
        quad q[4];
        for (uint32_t k = 0; k < 4; k++)
            q[k] = join_quad(place[l + k], place[l + k + 4], place[l + k + 8], place[l + k + 12]);
        transpose_quads(q);
        for (uint32_t k = 0; k < 4; k++) _mm512_store_si512(ROW_AT(uint32_t, rows[k]) + l, q[k]);
    }
    return true;
}

TRCPU_INLINE bool store_words(trcpu_warp *warp, const uint32_t *rows, char *const place[32]) {
    for (uint32_t l = 0; l < 32; l += 16) {
        quad q[4];
        for (uint32_t k = 0; k < 4; k++) q[k] = _mm512_load_si512(ROW_AT(uint32_t, rows[k]) + l);
        transpose_quads(q);
        for (uint32_t k = 0; k < 16; k++) memcpy(place[l + k], (const char *)&q[k % 4] + k / 4 * 16, 16);
    }
    return true;
}
#else
TRCPU_INLINE bool load_words(trcpu_warp *warp, const uint32_t *rows, char *const place[32]) {
    return (void)warp, (void)rows, (void)place, false;
}

TRCPU_INLINE bool store_words(trcpu_warp *warp, const uint32_t *rows, char *const place[32]) {
    return (void)warp, (void)rows, (void)place, false;
}
#endif

/* Lanes that are not side by side. All of them at once take no mask, and element after element. */
#define APART(name, type, place)                                                                             \
    TRCPU_INLINE void load_##name(trcpu_warp *warp, uint32_t mask, const uint32_t *rows,                     \
                                  const type address[32], uint32_t bytes, uint32_t count, bool is_signed,    \
                                  uint32_t width) {                                                          \
        if (mask == ~0u && width == 4 && bytes == 4 && count == 4) {                                         \
            char *places[32];                                                                                \
            LANES places[l] = place;                                                                         \
            if (load_words(warp, rows, places)) return;                                                      \
        }                                                                                                    \
        for (uint32_t k = 0; mask == ~0u && width == 4 && k < count; k++) {                                  \
            uint32_t *d = ROW_AT(uint32_t, rows[k]);                                                         \
            LANES d[l] = (uint32_t)read_element(place + k * bytes, bytes, is_signed);                        \
        }                                                                                                    \
        if (mask != ~0u || width != 4)                                                                       \
            ACTIVE_LANES load_lane(warp, rows, l, place, bytes, count, is_signed, width);                    \
    }                                                                                                        \
    TRCPU_INLINE void store_##name(trcpu_warp *warp, uint32_t mask, const uint32_t *rows,                    \
                                   const type address[32], uint32_t bytes, uint32_t count, uint32_t width) { \
        if (mask == ~0u && width == 4 && bytes == 4 && count == 4) {                                         \
            char *places[32];                                                                                \
            LANES places[l] = place;                                                                         \
            if (store_words(warp, rows, places)) return;                                                     \
        }                                                                                                    \
        for (uint32_t l = 0; mask == ~0u && l < 32; l++)                                                     \
            store_lane(warp, rows, l, place, bytes, count, width);                                           \
        if (mask != ~0u) ACTIVE_LANES store_lane(warp, rows, l, place, bytes, count, width);                 \
    }
APART(apart, uint64_t, trcpu_host_of(address[l]))
APART(apart_shared, uint32_t, warp->shared + address[l])

/* ---- global ---- */
/* Loops and grids walk in steps, too far apart for the CPU's own prefetcher: it is told the next one. */
TRCPU_INLINE void guess_next(trcpu_range *range, uint64_t first, uint32_t span) {
    uint64_t next = 2 * first - range->last;
    range->last = first;
    if (next >= range->low && next < range->high)
        for (uint32_t at = 0; at < span; at += 64) __builtin_prefetch(trcpu_host_of(next + at));
}

TRCPU_INLINE const trcpu_insn *access_global(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                                             uint32_t bytes, uint32_t count, bool is_signed, uint32_t width,
                                             bool write) {
    const uint32_t *rows = count <= 4 ? insn->op : insn->rows, *values = rows + (write ? 1 : 0);
    const uint64_t *base = ROW_AT(uint64_t, rows[write ? 0 : count]);
    const uint64_t offset = (uint64_t)insn->imm;
    const uint32_t whole = bytes * count;
    uint64_t address[32];
    LANES address[l] = base[l] + offset;
    if (insn->flags & TRCPU_HAS_SYNC) warp->syncs++;
    bool plain = width == bytes || (width == 2 && bytes == 1 && !is_signed);
    if (mask == ~0u && plain && side_by_side(address, whole) && !(address[0] & (whole - 1)) &&
        range_holds(warp, insn, address[0], 32 * whole)) {
        if (warp->watch && !trcpu_watch_lanes(warp, insn, mask, address, whole, write)) return TRCPU_LEAVE;
        guess_next(&warp->ranges[insn->slot], address[0], 32 * whole);
        if (write)
            store_all(warp, values, trcpu_host_of(address[0]), bytes, count);
        else
            load_all(warp, values, trcpu_host_of(address[0]), bytes, count);
        return insn + 1;
    }
    if (!all_in_range(warp, insn, mask, address, whole)) {
        ACTIVE_LANES if (!place_lane(warp, insn, l, address[l], whole, TRCPU_SPACE_GLOBAL,
                                     write)) return TRCPU_LEAVE;
    }
    if (warp->watch && !trcpu_watch_lanes(warp, insn, mask, address, whole, write)) return TRCPU_LEAVE;
    if (write)
        store_apart(warp, mask, values, address, bytes, count, width);
    else
        load_apart(warp, mask, values, address, bytes, count, is_signed, width);
    if (warp->watch && !write && insn->flags & TRCPU_HAS_SYNC)
        ACTIVE_LANES trcpu_watch_take(warp, address[l]);
    return insn + 1;
}

/* ---- shared ---- */
/* A lane's access to bytes of shared memory, of any CTA of the cluster, in their shadow. */
static bool shadow_lane(trcpu_warp *warp, const trcpu_insn *insn, const uint32_t *values, uint32_t lane,
                        const char *at, uint32_t bytes, uint32_t count, uint32_t width, bool write) {
    uint32_t offset = (uint32_t)(at - warp->shared), whole = bytes * count;
    char value[64];
    if (at < warp->shared || at >= warp->shared + warp->shared_bytes) {
        if (write) forgive_elsewhere(warp, at, whole);
        return true;
    }
    if (insn->flags & TRCPU_HAS_SYNC) { /* ordered by itself */
        if (write) trcpu_shadow_forgive(warp->shadow, offset, whole);
        return true;
    }
    if (!write) return trcpu_shadow_read(warp, insn, lane, offset, whole);
    store_lane(warp, values, lane, value, bytes, count, width);
    return trcpu_shadow_write(warp, insn, lane, offset, whole, value);
}

TRCPU_INLINE const trcpu_insn *access_shared(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                                             uint32_t bytes, uint32_t count, bool is_signed, uint32_t width,
                                             bool write) {
    const uint32_t *rows = count <= 4 ? insn->op : insn->rows, *values = rows + (write ? 1 : 0);
    const uint32_t *base = ROW_AT(uint32_t, rows[write ? 0 : count]);
    const uint32_t offset = (uint32_t)insn->imm, whole = bytes * count;
    uint32_t address[32];
    LANES address[l] = base[l] + offset;
    if (insn->flags & TRCPU_HAS_SYNC) warp->syncs++;
    if (!all_in_shared(warp, mask, address, whole)) { /* in other CTAs of the cluster, or a fault */
        ACTIVE_LANES {
            char *at = place_lane(warp, insn, l, address[l], whole, TRCPU_SPACE_SHARED, write);
            if (!at || (warp->shadow && !shadow_lane(warp, insn, values, l, at, bytes, count, width, write)))
                return TRCPU_LEAVE;
            if (write)
                store_lane(warp, values, l, at, bytes, count, width);
            else
                load_lane(warp, values, l, at, bytes, count, is_signed, width);
        }
        return insn + 1;
    }
    uint32_t lane;
    const trcpu_flight *flight = in_flight(warp, mask, address, whole, write, &lane);
    if (flight) return trcpu_inflight_report(warp, insn, lane, flight, address[lane], write);
    char *shared = warp->shared;
    if (warp->shadow) {
        uint32_t left =
            insn->flags & TRCPU_HAS_SYNC ? mask : shadow_lanes(warp, insn, mask, address, whole, write);
        for (; left; left &= left - 1) {
            uint32_t l = (uint32_t)__builtin_ctz(left);
            if (!shadow_lane(warp, insn, values, l, shared + address[l], bytes, count, width, write))
                return TRCPU_LEAVE;
        }
    }
    bool plain = width == bytes || (width == 2 && bytes == 1 && !is_signed);
    if (mask == ~0u && plain && shared_side_by_side(address, whole)) {
        if (write)
            store_all(warp, values, shared + address[0], bytes, count);
        else
            load_all(warp, values, shared + address[0], bytes, count);
        return insn + 1;
    }
    if (mask == ~0u && plain && count == 1 && bytes >= 4 && fill_chunks(address, bytes)) {
        char *row = ROW_AT(char, values[0]);
        for (uint32_t l = 0; l < 32; l += 16 / bytes, row += 16) {
            char *chunk = shared + address[l];
            memcpy(write ? chunk : row, write ? row : chunk, 16);
        }
        return insn + 1;
    }
    if (write)
        store_apart_shared(warp, mask, values, address, bytes, count, width);
    else
        load_apart_shared(warp, mask, values, address, bytes, count, is_signed, width);
    return insn + 1;
}

/* mode: the element's bytes, 16 more when it is signed */
enum { SIGNED = 16 };

/* Global and shared accesses of registers as wide as the element, by size and count, each compiled for itself. */
#define SIZED(space, bytes, count)                                                                           \
    HANDLER(load_##space##bytes##x##count) {                                                                 \
        return access_##space(warp, insn, mask, bytes, count, false, bytes, false);                          \
    }                                                                                                        \
    HANDLER(store_##space##bytes##x##count) {                                                                \
        return access_##space(warp, insn, mask, bytes, count, false, bytes, true);                           \
    }
#define SIZES(space)                                                                                         \
    SIZED(space, 2, 1)                                                                                       \
    SIZED(space, 4, 1) SIZED(space, 4, 2) SIZED(space, 4, 4) SIZED(space, 8, 1) SIZED(space, 8, 2)
SIZES(global)
SIZES(shared)

/* The rest. */
HANDLER(load_global) {
    return access_global(warp, insn, mask, insn->mode & 15, insn->count, insn->mode & SIGNED, insn->width,
                         false);
}
HANDLER(store_global) {
    return access_global(warp, insn, mask, insn->mode & 15, insn->count, false, insn->width, true);
}
HANDLER(load_shared) {
    return access_shared(warp, insn, mask, insn->mode & 15, insn->count, insn->mode & SIGNED, insn->width,
                         false);
}
HANDLER(store_shared) {
    return access_shared(warp, insn, mask, insn->mode & 15, insn->count, false, insn->width, true);
}

/* ---- generic, local, parameters: lane by lane ---- */
TRCPU_INLINE const trcpu_insn *access_lanes(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                                            trcpu_space space, bool write) {
    uint32_t bytes = insn->mode & 15, count = insn->count, address_row = insn->rows[write ? 0 : count];
    const uint32_t *values = insn->rows + (write ? 1 : 0);
    bool narrow = space == TRCPU_SPACE_LOCAL;
    if (insn->flags & TRCPU_HAS_SYNC) warp->syncs++;
    ACTIVE_LANES {
        uint64_t address = narrow ? (uint32_t)(ROW_AT(uint32_t, address_row)[l] + (uint32_t)insn->imm)
                                  : ROW_AT(uint64_t, address_row)[l] + (uint64_t)insn->imm;
        char *at = place_lane(warp, insn, l, address, bytes * count, space, write);
        bool ordered = false;
        if (!at) return TRCPU_LEAVE;
        if (space == TRCPU_SPACE_GENERIC) {
            uint64_t window = address & TRCPU_WINDOW_MASK;
            if (warp->shadow && window == TRCPU_WINDOW_SHARED &&
                !shadow_lane(warp, insn, values, l, at, bytes, count, insn->width, write))
                return TRCPU_LEAVE;
            if (warp->watch && window == TRCPU_DEVICE) {
                if (insn->flags & TRCPU_HAS_SYNC && write) trcpu_watch_give(warp, address);
                if (!trcpu_watch_range(warp, insn, l, address, bytes * count, write)) return TRCPU_LEAVE;
                ordered = insn->flags & TRCPU_HAS_SYNC && !write;
            }
        }
        if (write)
            store_lane(warp, values, l, at, bytes, count, insn->width);
        else
            load_lane(warp, values, l, at, bytes, count, insn->mode & SIGNED, insn->width);
        if (ordered) trcpu_watch_take(warp, address);
    }
    return insn + 1;
}
#define LANE_BY_LANE(space, SPACE)                                                                           \
    HANDLER(load_##space) {                                                                                  \
        return access_lanes(warp, insn, mask, SPACE, false);                                                 \
    }                                                                                                        \
    HANDLER(store_##space) {                                                                                 \
        return access_lanes(warp, insn, mask, SPACE, true);                                                  \
    }
LANE_BY_LANE(generic, TRCPU_SPACE_GENERIC)
LANE_BY_LANE(local, TRCPU_SPACE_LOCAL)
/* A kernel's parameter at a fixed place, as nearly all are: one value for all lanes. */
HANDLER(load_param) {
    const uint64_t *address = ROW_AT(uint64_t, insn->rows[insn->count]);
    uint64_t first = address[0] + (uint64_t)insn->imm, differ = 0;
    const uint32_t bytes = insn->mode & 15, size = warp->launch->function->info.parameter_bytes;
    LANES differ |= address[l] ^ address[0];
    if (mask != ~0u || differ || insn->count != 1 || first & (bytes - 1) || first >= size ||
        bytes > size - first)
        return access_lanes(warp, insn, mask, TRCPU_SPACE_PARAM, false);
    uint64_t value =
        read_element((const char *)warp->launch->launch->parameters + first, bytes, insn->mode & SIGNED);
    if (insn->width == 8) {
        uint64_t *d = ROW(uint64_t, 0);
        LANES d[l] = value;
    } else {
        uint32_t *d = ROW(uint32_t, 0), narrow = insn->width == 4 ? (uint32_t)value : (uint16_t)value;
        LANES d[l] = narrow;
    }
    return insn + 1;
}

/* A cache policy: there are no caches. */
HANDLER(create_policy) {
    (void)mask;
    uint64_t *d = ROW(uint64_t, 0);
    LANES d[l] = 0;
    return insn + 1;
}

#define POLICY "L2::evict_last|L2::evict_normal|L2::evict_first|L2::evict_unchanged"
#define MEMORY TRCPU_FORM_MEMORY
#define EXACT(op, s, space, A)                                                                               \
    {"ld." s ".b16|u16|s16|f16|bf16", "h=" A "?_", load_##space##2x1, 0, MEMORY},                            \
        {"ld." s ".b16|u16|s16|f16|bf16", "{h}=" A "?_", load_##space##2x1, 0, MEMORY},                      \
        {"ld." s ".b32|u32|s32|f32", "w=" A "?_", load_##space##4x1, 0, MEMORY},                             \
        {"ld." s ".b32|u32|s32|f32", "{w}=" A "?_", load_##space##4x1, 0, MEMORY},                           \
        {"ld." s ".v2.b32|u32|s32|f32", "{ww}=" A "?_", load_##space##4x2, 0, MEMORY},                       \
        {"ld." s ".v4.b32|u32|s32|f32", "{wwww}=" A "?_", load_##space##4x4, 0, MEMORY},                     \
        {"ld." s ".b64|u64|s64|f64", "d=" A "?_", load_##space##8x1, 0, MEMORY},                             \
        {"ld." s ".b64|u64|s64|f64", "{d}=" A "?_", load_##space##8x1, 0, MEMORY},                           \
        {"ld." s ".v2.b64|u64|s64|f64", "{dd}=" A "?_", load_##space##8x2, 0, MEMORY},                       \
        {"st." s ".b16|u16|s16|f16|bf16", "=" A "h?_", store_##space##2x1, 0, MEMORY},                       \
        {"st." s ".b16|u16|s16|f16|bf16", "=" A "{h}?_", store_##space##2x1, 0, MEMORY},                     \
        {"st." s ".b32|u32|s32|f32", "=" A "w?_", store_##space##4x1, 0, MEMORY},                            \
        {"st." s ".b32|u32|s32|f32", "=" A "{w}?_", store_##space##4x1, 0, MEMORY},                          \
        {"st." s ".v2.b32|u32|s32|f32", "=" A "{ww}?_", store_##space##4x2, 0, MEMORY},                      \
        {"st." s ".v4.b32|u32|s32|f32", "=" A "{wwww}?_", store_##space##4x4, 0, MEMORY},                    \
        {"st." s ".b64|u64|s64|f64", "=" A "d?_", store_##space##8x1, 0, MEMORY},                            \
        {"st." s ".b64|u64|s64|f64", "=" A "{d}?_", store_##space##8x1, 0, MEMORY}, {                        \
        "st." s ".v2.b64|u64|s64|f64", "=" A "{dd}?_", store_##space##8x2, 0, MEMORY                         \
    }
#define LOADS(s, A, handler)                                                                                 \
    {"ld" s ".?v2|v4|v8.b8|u8", "V=" A "?_", handler, 1, MEMORY},                                            \
        {"ld" s ".?v2|v4|v8.s8", "V=" A "?_", handler, 1 + SIGNED, MEMORY},                                  \
        {"ld" s ".?v2|v4|v8.b16|u16|f16|bf16", "V=" A "?_", handler, 2, MEMORY},                             \
        {"ld" s ".?v2|v4|v8.s16", "V=" A "?_", handler, 2 + SIGNED, MEMORY},                                 \
        {"ld" s ".?v2|v4|v8.b32|u32|f32|f16x2|bf16x2", "V=" A "?_", handler, 4, MEMORY},                     \
        {"ld" s ".?v2|v4|v8.s32", "V=" A "?_", handler, 4 + SIGNED, MEMORY}, {                               \
        "ld" s ".?v2|v4.b64|u64|s64|f64", "V=" A "?_", handler, 8, MEMORY                                    \
    }
#define STORES(s, A, handler)                                                                                \
    {"st" s ".?v2|v4|v8.b8|u8|s8", "=" A "V?_", handler, 1, MEMORY},                                         \
        {"st" s ".?v2|v4|v8.b16|u16|s16|f16|bf16", "=" A "V?_", handler, 2, MEMORY},                         \
        {"st" s ".?v2|v4|v8.b32|u32|s32|f32|f16x2|bf16x2", "=" A "V?_", handler, 4, MEMORY}, {               \
        "st" s ".?v2|v4.b64|u64|s64|f64", "=" A "V?_", handler, 8, MEMORY                                    \
    }

FORMS(access){
    {"createpolicy.fractional." POLICY ".?" POLICY ".b64", "d=?_", create_policy, 0, TRCPU_FORM_PURE},
    {"createpolicy.range.?global." POLICY ".?" POLICY ".b64", "d=___", create_policy, 0, TRCPU_FORM_PURE},
    {"createpolicy.cvt.L2.b64", "d=_", create_policy, 0, TRCPU_FORM_PURE},
    EXACT(ld, "global", global, "A"),
    EXACT(ld, "shared", shared, "S"),
    LOADS(".global|const", "A", load_global),
    STORES(".global", "A", store_global),
    LOADS(".shared", "S", load_shared),
    STORES(".shared", "S", store_shared),
    LOADS(".local", "S", load_local),
    STORES(".local", "S", store_local),
    LOADS(".param", "A", load_param),
    LOADS("", "A", load_generic),
    STORES("", "A", store_generic),
    END_OF_FORMS,
};
