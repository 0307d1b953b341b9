/* From the addresses of a warp's lanes to the bytes behind them, checked. */
#ifndef TRCPU_PLACE_H
#define TRCPU_PLACE_H

#include "machine/checks.h"
#include "machine/lanes/lanes.h"
#include "machine/lanes/line.h"

/* An address in shared::cluster that names its CTA; NULL: it doesn't, or there is no such place. */
static inline char *cluster_place(const trcpu_warp *warp, uint64_t address, uint32_t bytes) {
    uint64_t rank = address >> TRCPU_CLUSTER_RANK_SHIFT, at = address & TRCPU_CLUSTER_OFFSET_MASK;
    const trcpu_cluster *cluster = warp->cta->cluster;
    if (rank == 0 || rank > cluster->size || at > warp->shared_bytes || bytes > warp->shared_bytes - at)
        return NULL;
    return cluster->ctas[rank - 1]->shared + at;
}

/* Another CTA of the cluster owns these bytes: whoever reads them there finds them written. */
static inline void forgive_elsewhere(const trcpu_warp *warp, const char *at, uint32_t bytes) {
    const trcpu_cluster *cluster = warp->cta->cluster;
    for (uint32_t rank = 0; rank < cluster->size; rank++) {
        const trcpu_cta *cta = cluster->ctas[rank];
        if (at >= cta->shared && at < cta->shared + warp->shared_bytes && cta->shadow)
            trcpu_shadow_forgive(cta->shadow, (uint32_t)(at - cta->shared), bytes);
    }
}

/* The bytes of one lane's access; NULL: the fault is reported. */
static inline char *place_lane(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint64_t address,
                               uint32_t bytes, trcpu_space space, bool write) {
    trcpu_space in = space;
    uint64_t at = address;
    if (space == TRCPU_SPACE_GENERIC) {
        uint64_t window = address & TRCPU_WINDOW_MASK;
        in = window == TRCPU_WINDOW_SHARED  ? TRCPU_SPACE_SHARED
             : window == TRCPU_WINDOW_LOCAL ? TRCPU_SPACE_LOCAL
             : window == TRCPU_WINDOW_PARAM ? TRCPU_SPACE_PARAM
                                            : TRCPU_SPACE_GLOBAL;
        if (in != TRCPU_SPACE_GLOBAL) at &= ~TRCPU_WINDOW_MASK;
    }
    bool aligned = (at & (bytes - 1)) == 0 || !(warp->launch->checks & TRCPU_CHECK_MISALIGNED);
    if (in == TRCPU_SPACE_GLOBAL) {
        trcpu_range *range = &warp->ranges[insn->slot];
        if (aligned && at >= range->low && at < range->high && bytes <= range->high - at)
            return trcpu_host_of(at);
        if (aligned && trcpu_run_reaches(warp->launch, at, bytes, write, range)) return trcpu_host_of(at);
    } else if (in == TRCPU_SPACE_SHARED) {
        if (aligned && at < warp->shared_bytes && bytes <= warp->shared_bytes - at) return warp->shared + at;
        char *remote = cluster_place(warp, at, bytes);
        if (aligned && remote) return remote;
    } else if (in == TRCPU_SPACE_LOCAL) {
        if (aligned && at < warp->local_bytes && bytes <= warp->local_bytes - at)
            return warp->local + (size_t)lane * warp->local_bytes + at;
    } else if (!write) {
        uint32_t size = warp->launch->function->info.parameter_bytes;
        if (aligned && at < size && bytes <= size - at)
            return (char *)(uintptr_t)warp->launch->launch->parameters + at;
    }
    trcpu_fault_access(warp, insn, lane, address, bytes, space, write);
    return NULL;
}

/* Do all active lanes access within the allocation this instruction hit last, aligned? */
TRCPU_INLINE bool all_in_range(const trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                               const uint64_t address[32], uint32_t bytes) {
    const trcpu_range range = warp->ranges[insn->slot];
    const uint64_t low = range.low, most = range.high - low - bytes, part = bytes - 1;
    uint32_t outside;
    SET_LANES(outside, (address[l] - low > most) | ((address[l] & part) != 0));
    return !(outside & mask) && bytes <= range.high - low;
}

/* What accesses of shared memory collide with that is still in flight; NULL: nothing. `lane` says whose. */
static inline const trcpu_flight *in_flight(const trcpu_warp *warp, uint32_t mask, const uint32_t address[32],
                                            uint32_t bytes, bool write, uint32_t *lane) {
    const trcpu_inflight *in = &warp->cta->inflight;
    if (!in->writers && !(write && in->readers)) return NULL;
    ACTIVE_LANES {
        const trcpu_flight *flight = trcpu_inflight_find(in, address[l], address[l] + bytes, write);
        *lane = l;
        if (flight) return flight;
    }
    return NULL;
}

TRCPU_INLINE trcpu_view view_of(const trcpu_warp *warp, const trcpu_insn *insn) {
    return trcpu_view_of(warp->shadow, warp->index, (uint32_t)(insn - warp->launch->function->code));
}

/* Do the lanes, from the first on, fill chunks of 16 bytes, each lane of `bytes` its part of one? */
TRCPU_INLINE bool fill_chunks(const uint32_t address[32], uint32_t bytes) {
    const uint32_t lanes = 16 / bytes;
    uint32_t first[32], apart;
    if (lanes == 4)
        first_of_four(first, address);
    else
        for (uint32_t l = 0; l < 32; l++) first[l] = address[l & ~(lanes - 1)];
    SET_LANES(apart, address[l] != (first[l] & ~15u) + l % lanes * bytes);
    return !apart;
}

/* Where the chunks begin, which so many lanes each fill. */
TRCPU_INLINE void chunks_of(uint32_t *at, const uint32_t address[32], uint32_t lanes) {
    for (uint32_t l = 0; l < 32; l += lanes) at[l / lanes] = address[l] & ~15u;
}

/* Notes the lanes' accesses in the shadow; what is left are lanes that need a closer look. */
TRCPU_INLINE uint32_t shadow_lanes(const trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask,
                                   const uint32_t address[32], uint32_t bytes, bool write) {
    const trcpu_view v = view_of(warp, insn);
    const uint32_t now = trcpu_view_now(&v);
    uint32_t left = 0;
    if (bytes <= 16 && mask == ~0u && fill_chunks(address, bytes)) {
        const uint32_t lanes = 16 / bytes, count = 32 / lanes;
        uint32_t at[32], rest = ~0u >> (32 - count);
        chunks_of(at, address, lanes);
        if (count >= 4) rest = write ? write_chunks(&v, at, count) : read_chunks(&v, at, count);
        for (; rest; rest &= rest - 1) {
            const uint32_t i = (uint32_t)__builtin_ctz(rest);
            if (!(write ? trcpu_view_write16(&v, at[i] / 16, now) : trcpu_view_read16(&v, at[i] / 16)))
                left |= ((1u << lanes) - 1) << i * lanes;
        }
        return left;
    }
    if (bytes % 4) return mask;
    const uint32_t one = mask & -mask, all = mask, first = address[__builtin_ctz(mask)];
    uint32_t differ;
    SET_LANES(differ, address[l] != first);
    if (!(differ & mask)) mask = one; /* the others are where it is */
    ACTIVE_LANES {
        bool ok = bytes != 16 ? trcpu_view_access(&v, address[l] / 4, bytes / 4, write)
                  : write     ? trcpu_view_write16(&v, address[l] / 16, now)
                              : trcpu_view_read16(&v, address[l] / 16);
        left |= (uint32_t)!ok << l;
    }
    return left && write ? left | (all ^ mask) : left; /* they may write something else */
}

/* Are the lanes' accesses side by side? */
TRCPU_INLINE bool side_by_side(const uint64_t address[32], uint32_t bytes) {
    const uint64_t base = address[0];
    uint32_t apart;
    SET_LANES(apart, address[l] != base + (uint64_t)l * bytes);
    return !apart;
}

TRCPU_INLINE bool range_holds(const trcpu_warp *warp, const trcpu_insn *insn, uint64_t base, uint64_t span) {
    trcpu_range range = warp->ranges[insn->slot];
    return base >= range.low && base < range.high && span <= range.high - base;
}

/* The same for 32-bit offsets into shared memory. */
TRCPU_INLINE bool all_in_shared(const trcpu_warp *warp, uint32_t mask, const uint32_t address[32],
                                uint32_t bytes) {
    const uint32_t most = warp->shared_bytes - bytes, part = bytes - 1;
    uint32_t outside;
    SET_LANES(outside, (address[l] > most) | ((address[l] & part) != 0));
    return !(outside & mask) && bytes <= warp->shared_bytes;
}

TRCPU_INLINE bool shared_side_by_side(const uint32_t address[32], uint32_t bytes) {
    const uint32_t base = address[0];
    uint32_t apart;
    SET_LANES(apart, address[l] != base + l * bytes);
    return !apart;
}

#endif
