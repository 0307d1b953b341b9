/* What sm_90 adds around clusters: their barrier and addresses, the elected lane, fences of proxies. */
#include "machine/lanes/cluster.h"

HANDLER(elect) {
    const uint32_t members = ROW(uint32_t, 2)[__builtin_ctz(mask)] & warp->live;
    if ((mask & members) != members) return apart(warp, insn, mask);
    uint32_t leader = (uint32_t)__builtin_ctz(members);
    uint32_t *d = ROW(uint32_t, 0);
    ACTIVE_LANES d[l] = leader;
    set_predicate(PREDICATE(1), 1u << leader, mask);
    return insn + 1;
}

/* mapa: the same place in another CTA's shared memory. */
static const trcpu_insn *no_such_cta(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t rank) {
    return trcpu_fault_report(warp, insn, lane, 719, "cluster", "there is no CTA %u in this cluster of %u",
                              rank, warp->cta->cluster->size);
}

static uint32_t mapped(uint32_t address, uint32_t rank) {
    return (address & TRCPU_CLUSTER_OFFSET_MASK) | (rank + 1) << TRCPU_CLUSTER_RANK_SHIFT;
}

HANDLER(mapa32) {
    uint32_t *d = ROW(uint32_t, 0);
    const uint32_t *address = ROW(uint32_t, 1), *rank = ROW(uint32_t, 2);
    ACTIVE_LANES {
        if (rank[l] >= warp->cta->cluster->size) return no_such_cta(warp, insn, l, rank[l]);
        d[l] = mapped(address[l], rank[l]);
    }
    return insn + 1;
}

HANDLER(mapa64) { /* of a generic address; mode: of a shared::cluster address */
    uint64_t *d = ROW(uint64_t, 0);
    const uint64_t *address = ROW(uint64_t, 1);
    const uint32_t *rank = ROW(uint32_t, 2);
    ACTIVE_LANES {
        if (rank[l] >= warp->cta->cluster->size) return no_such_cta(warp, insn, l, rank[l]);
        d[l] = mapped((uint32_t)address[l], rank[l]) | (insn->mode ? 0 : TRCPU_WINDOW_SHARED);
    }
    return insn + 1;
}

static uint32_t rank_of(const trcpu_warp *warp, uint32_t address) {
    uint32_t rank = address >> TRCPU_CLUSTER_RANK_SHIFT;
    return rank ? rank - 1 : warp->cta->rank;
}

HANDLER(getctarank32) {
    uint32_t *d = ROW(uint32_t, 0);
    const uint32_t *address = ROW(uint32_t, 1);
    ACTIVE_LANES d[l] = rank_of(warp, address[l]);
    return insn + 1;
}

HANDLER(getctarank64) {
    uint32_t *d = ROW(uint32_t, 0);
    const uint64_t *address = ROW(uint64_t, 1);
    ACTIVE_LANES d[l] = rank_of(warp, (uint32_t)address[l]);
    return insn + 1;
}

/* ---- barrier.cluster: arrive and wait are apart ---- */
/* All threads of the cluster that have not exited; whole warps count. */
static uint32_t threads_left(const trcpu_cluster *cluster) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < cluster->size; i++)
        for (uint32_t w = 0; w < cluster->ctas[i]->warp_count; w++)
            n += (uint32_t)__builtin_popcount(cluster->ctas[i]->warps[w].live);
    return n;
}

HANDLER(cluster_arrive) {
    trcpu_cluster *cluster = warp->cta->cluster;
    if ((insn->flags & TRCPU_HAS_ALIGNED) && mask != warp->live) return apart(warp, insn, mask);
    if (warp->cluster_arrived & mask)
        return trcpu_fault_report(warp, insn, (uint32_t)__builtin_ctz(warp->cluster_arrived & mask), 719,
                                  "cluster",
                                  "a second arrival at the cluster's barrier without a wait between");
    if (warp->shadow) {
        trcpu_order_give(&warp->shadow->order, &warp->shadow->order.cluster, warp->index);
        trcpu_order_advance(&warp->shadow->order, warp->index);
    }
    warp->cluster_arrived |= mask;
    warp->cluster_phase = cluster->phase;
    cluster->arrived += (uint32_t)__builtin_popcount(mask);
    return insn + 1;
}

HANDLER(cluster_wait) {
    trcpu_cluster *cluster = warp->cta->cluster;
    if ((insn->flags & TRCPU_HAS_ALIGNED) && mask != warp->live) return apart(warp, insn, mask);
    if ((warp->cluster_arrived & mask) != mask)
        return trcpu_fault_report(warp, insn, (uint32_t)__builtin_ctz(~warp->cluster_arrived & mask), 719,
                                  "cluster", "a wait at the cluster's barrier without an arrival before");
    if (cluster->phase == warp->cluster_phase) {
        if (cluster->arrived < threads_left(cluster))
            return wait_for_others(warp, insn, insn, "the cluster's barrier");
        cluster->arrived = 0;
        cluster->phase++;
    }
    if (warp->shadow) trcpu_order_take(&warp->shadow->order, &warp->shadow->order.cluster, warp->index);
    warp->waits = 0;
    warp->cluster_arrived &= ~mask;
    return insn + 1;
}

HANDLER(nothing) {
    (void)warp;
    (void)mask;
    return insn + 1;
}

FORMS(cluster){
    {"elect.sync", "W=w", elect, 0, 0},
    {"mapa.?shared::cluster.u32", "w=ww", mapa32, 0, 0},
    {"mapa.u64", "d=dw", mapa64, 0, 0},
    {"mapa.shared::cluster.u64", "d=dw", mapa64, 1, 0},
    {"getctarank.?shared::cluster.u32", "w=w", getctarank32, 0, 0},
    {"getctarank.?shared::cluster.u64", "w=d", getctarank64, 0, 0},
    {"barrier.cluster.arrive.?release|relaxed.?aligned", "", cluster_arrive, 0, 0},
    {"barrier.cluster.wait.?acquire.?aligned", "", cluster_wait, 0, 0},
    {"setmaxnreg.inc|dec.sync.aligned.u32", "=_", nothing, 0, 0},
    {"fence.mbarrier_init.release.cluster", "", nothing, 0, 0},
    {"fence.proxy.alias", "", nothing, 0, 0},
    {"fence.proxy.async.?global|shared|shared::cluster", "", nothing, 0, 0},
    {"fence.proxy.tensormap::generic.release.cta|cluster|gpu|sys", "", nothing, 0, 0},
    {"fence.proxy.tensormap::generic.acquire.cta|cluster|gpu|sys", "=__", nothing, 0, 0},
    END_OF_FORMS,
};
