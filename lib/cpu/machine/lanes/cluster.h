/* Shared memory of a cluster.

   An address in shared::cluster has the rank of its CTA, plus one, above bit 24; zero there means the CTA's own. */
#ifndef TRCPU_LANES_CLUSTER_H
#define TRCPU_LANES_CLUSTER_H

#include "machine/lanes/place.h"
#include "machine/lanes/together.h"

/* The CTA an address belongs to; NULL: there is none of that rank. */
static inline trcpu_cta *cta_of(const trcpu_warp *warp, uint32_t address) {
    uint32_t rank = address >> TRCPU_CLUSTER_RANK_SHIFT;
    if (rank == 0) return warp->cta;
    return rank <= warp->cta->cluster->size ? warp->cta->cluster->ctas[rank - 1] : NULL;
}

/* `bytes` of shared memory anywhere in the cluster, aligned; NULL: the fault is reported. */
static inline char *shared_place(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t address,
                                 uint32_t bytes, uint32_t alignment, bool write) {
    const trcpu_cta *cta = cta_of(warp, address);
    uint32_t at = address & TRCPU_CLUSTER_OFFSET_MASK;
    if (cta && at % alignment == 0 && at <= warp->shared_bytes && bytes <= warp->shared_bytes - at)
        return cta->shared + at;
    if (cta && at % alignment == 0) alignment = 1; /* it reaches past the end */
    trcpu_fault_access(warp, insn, lane, at + (alignment == 1 ? bytes - 1 : 0), alignment, TRCPU_SPACE_SHARED,
                       write);
    return NULL;
}

/* ---- what an mbarrier's arrivals make known, and its waits learn; within the CTA only ---- */
static inline trcpu_knowledge *knowledge_at(const trcpu_warp *warp, uint32_t address, bool create) {
    if (!warp->shadow || cta_of(warp, address) != warp->cta) return NULL;
    return trcpu_order_object_at(&warp->shadow->order, address & TRCPU_CLUSTER_OFFSET_MASK, create);
}

static inline void give(const trcpu_warp *warp, uint32_t address) {
    trcpu_knowledge *gives = knowledge_at(warp, address, true);
    if (!gives) return;
    trcpu_order_give(&warp->shadow->order, gives, warp->index);
    trcpu_order_advance(&warp->shadow->order, warp->index);
}

static inline void take(const trcpu_warp *warp, uint32_t address) {
    const trcpu_knowledge *gives = knowledge_at(warp, address, false);
    if (gives) trcpu_order_take(&warp->shadow->order, gives, warp->index);
}

/* A bulk copy's access to shared memory, in the shadow of the CTA it belongs to. */
static inline bool shadow_bulk(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t address,
                               uint32_t bytes, bool write) {
    const trcpu_cta *cta = cta_of(warp, address);
    const uint32_t at = address & TRCPU_CLUSTER_OFFSET_MASK;
    if (!cta || !cta->shadow) return true;
    if (cta == warp->cta)
        return write ? trcpu_shadow_write_range(warp, insn, lane, at, bytes)
                     : trcpu_shadow_read_range(warp, insn, lane, at, bytes);
    if (write) trcpu_shadow_forgive(cta->shadow, at, bytes);
    return true;
}

#endif
