/* From the addresses of a warp's lanes to the bytes behind them, checked. */
#ifndef TRCPU_PLACE_H
#define TRCPU_PLACE_H

#include "machine/lanes/lanes.h"

/* An address in shared::cluster that names its CTA; NULL: it doesn't, or there is no such place. */
static inline char *cluster_place(const trcpu_warp *warp, uint64_t address, uint32_t bytes) {
    uint64_t rank = address >> TRCPU_CLUSTER_RANK_SHIFT, at = address & TRCPU_CLUSTER_OFFSET_MASK;
    const trcpu_cluster *cluster = warp->cta->cluster;
    if (rank == 0 || rank > cluster->size || at > warp->shared_bytes || bytes > warp->shared_bytes - at)
        return NULL;
    return cluster->ctas[rank - 1]->shared + at;
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
    bool aligned = (at & (bytes - 1)) == 0;
    if (in == TRCPU_SPACE_GLOBAL) {
        trcpu_range *range = &warp->ranges[insn->slot];
        if (aligned && at >= range->low && at < range->high && bytes <= range->high - at)
            return trcpu_host_of(at);
        if (aligned && trcpu_memory_range(warp->launch->memory, at, bytes, write, &range->low, &range->high))
            return trcpu_host_of(at);
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
    uint64_t first = address[__builtin_ctz(mask)], low = first, high = first, any = 0;
    LANES {
        uint64_t a = mask >> l & 1 ? address[l] : first;
        low = a < low ? a : low;
        high = a > high ? a : high;
        any |= a;
    }
    trcpu_range range = warp->ranges[insn->slot];
    return !(any & (bytes - 1)) && low >= range.low && high < range.high && bytes <= range.high - high;
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

/* Are the lanes' accesses side by side? */
TRCPU_INLINE bool side_by_side(const uint64_t address[32], uint32_t bytes) {
    uint64_t base = address[0], apart = 0;
    LANES apart |= address[l] ^ (base + (uint64_t)l * bytes);
    return apart == 0;
}

TRCPU_INLINE bool range_holds(const trcpu_warp *warp, const trcpu_insn *insn, uint64_t base, uint64_t span) {
    trcpu_range range = warp->ranges[insn->slot];
    return base >= range.low && base < range.high && span <= range.high - base;
}

/* The same for 32-bit offsets into shared memory. */
TRCPU_INLINE bool all_in_shared(const trcpu_warp *warp, uint32_t mask, const uint32_t address[32],
                                uint32_t bytes) {
    uint32_t first = address[__builtin_ctz(mask)], high = first, any = 0;
    LANES {
        uint32_t a = mask >> l & 1 ? address[l] : first;
        high = a > high ? a : high;
        any |= a;
    }
    return !(any & (bytes - 1)) && high < warp->shared_bytes && bytes <= warp->shared_bytes - high;
}

TRCPU_INLINE bool shared_side_by_side(const uint32_t address[32], uint32_t bytes) {
    uint32_t base = address[0], apart = 0;
    LANES apart |= address[l] ^ (base + l * bytes);
    return apart == 0;
}

#endif
