/* What happens before what among the warps of a CTA: vector clocks. Time is counted per CTA; a warp's own time advances
   when it lets others know what it did (a barrier, an mbarrier's arrival), and what it knows of the others when it
   waits for them. An access at time t by warp v comes before all that warp w does when known[w][v] >= t. */
#ifndef TRCPU_ORDER_H
#define TRCPU_ORDER_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TRCPU_ORDER_WARPS = 32,
    TRCPU_ORDER_END = (1 << 26) - 4, /* time stands still here: what comes later is no longer told apart */
};

typedef struct trcpu_knowledge { /* of each warp, up to which time */
    uint32_t time[TRCPU_ORDER_WARPS];
} trcpu_knowledge;

typedef struct trcpu_order_object { /* an mbarrier: what its arrivals make known */
    uint32_t offset;
    trcpu_knowledge gives;
} trcpu_order_object;

typedef struct trcpu_order {
    uint32_t warps, now;
    uint32_t base;                    /* the time at which the CTA began */
    uint32_t time[TRCPU_ORDER_WARPS]; /* each warp's own */
    uint32_t
        floor[TRCPU_ORDER_WARPS]; /* all others' accesses up to this time come before what the warp does */
    trcpu_knowledge known[TRCPU_ORDER_WARPS];
    trcpu_knowledge barriers[16], cluster;
    trcpu_order_object *objects;
    uint32_t object_count, object_room;
} trcpu_order;

void trcpu_order_begin(trcpu_order *order, uint32_t warps);
void trcpu_order_release(trcpu_order *order);

/* Nothing has been given yet. */
static inline void trcpu_order_forget(const trcpu_order *order, trcpu_knowledge *gives) {
    for (uint32_t v = 0; v < order->warps; v++) gives->time[v] = 0;
}
/* What the warp did so far is known to who waits on it. */
void trcpu_order_give(trcpu_order *order, trcpu_knowledge *to, uint32_t warp);
/* The warp has waited: it knows what was given. */
void trcpu_order_take(trcpu_order *order, const trcpu_knowledge *from, uint32_t warp);
/* What the warp does from now on is later than what it gave. */
void trcpu_order_advance(trcpu_order *order, uint32_t warp);
/* All that wait on a barrier go on at one new time. */
uint32_t trcpu_order_tick(trcpu_order *order);

/* Of the mbarrier at this offset of shared memory; NULL: nothing was given to it. */
trcpu_knowledge *trcpu_order_object_at(trcpu_order *order, uint32_t offset, bool create);

static inline bool trcpu_order_before(const trcpu_order *order, uint32_t other, uint32_t time,
                                      uint32_t warp) {
    return other == warp || time <= order->known[warp].time[other];
}

#endif
