#include "machine/order.h"

#include <stdlib.h>
#include <string.h>

uint32_t trcpu_order_tick(trcpu_order *order) {
    if (order->now < TRCPU_ORDER_END) order->now++;
    return order->now;
}

static void set_floor(trcpu_order *order, uint32_t warp) {
    uint32_t floor = TRCPU_ORDER_END;
    for (uint32_t v = 0; v < order->warps; v++)
        if (v != warp && order->known[warp].time[v] < floor) floor = order->known[warp].time[v];
    order->floor[warp] = floor;
}

void trcpu_order_begin(trcpu_order *order, uint32_t warps) {
    order->warps = warps;
    order->base = trcpu_order_tick(order);
    uint32_t start = trcpu_order_tick(order);
    for (uint32_t w = 0; w < warps; w++) {
        order->time[w] = start;
        for (uint32_t v = 0; v < warps; v++) order->known[w].time[v] = order->base;
        set_floor(order, w);
    }
    memset(order->barriers, 0, sizeof order->barriers);
    memset(&order->cluster, 0, sizeof order->cluster);
    order->object_count = 0;
}

void trcpu_order_release(trcpu_order *order) {
    free(order->objects);
    order->objects = NULL;
}

static void join(uint32_t *into, const uint32_t *from, uint32_t warps) {
    for (uint32_t v = 0; v < warps; v++) into[v] = into[v] > from[v] ? into[v] : from[v];
}

void trcpu_order_give(trcpu_order *order, trcpu_knowledge *to, uint32_t warp) {
    join(to->time, order->known[warp].time, order->warps);
    if (to->time[warp] < order->time[warp]) to->time[warp] = order->time[warp];
}

void trcpu_order_take(trcpu_order *order, const trcpu_knowledge *from, uint32_t warp) {
    join(order->known[warp].time, from->time, order->warps);
    set_floor(order, warp);
}

void trcpu_order_advance(trcpu_order *order, uint32_t warp) {
    order->time[warp] = trcpu_order_tick(order);
}

trcpu_knowledge *trcpu_order_object_at(trcpu_order *order, uint32_t offset, bool create) {
    for (uint32_t i = 0; i < order->object_count; i++)
        if (order->objects[i].offset == offset) return &order->objects[i].gives;
    if (!create) return NULL;
    if (order->object_count == order->object_room) {
        uint32_t room = order->object_room ? 2 * order->object_room : 8;
        trcpu_order_object *larger = realloc(order->objects, room * sizeof *larger);
        if (!larger) return NULL;
        order->objects = larger;
        order->object_room = room;
    }
    trcpu_order_object *fresh = &order->objects[order->object_count++];
    *fresh = (trcpu_order_object){.offset = offset};
    return &fresh->gives;
}
