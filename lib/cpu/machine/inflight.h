/* What asynchronous operations still do to a CTA's shared memory. The machine carries them out at once; a kernel that
   doesn't wait for them is found by what is noted here until it has waited.

     wgmma        reads its operands until wgmma.wait_group
     bulk store   reads its source until cp.async.bulk.wait_group
     bulk load    writes its destination until somebody has waited on its mbarrier */
#ifndef TRCPU_INFLIGHT_H
#define TRCPU_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

typedef enum trcpu_flight_kind {
    TRCPU_FLIGHT_WGMMA,
    TRCPU_FLIGHT_STORE,
    TRCPU_FLIGHT_LOAD
} trcpu_flight_kind;

typedef struct trcpu_flight {
    uint32_t low, high; /* bytes of shared memory */
    uint8_t kind;
    uint8_t owner;    /* whose wait ends it: the warp group of a wgmma, the warp of a store */
    uint8_t parity;   /* of the phase a load's mbarrier was in */
    uint32_t group;   /* of the owner */
    uint32_t barrier; /* of a load: the offset of its mbarrier */
    const void *insn; /* for the report */
} trcpu_flight;

enum { TRCPU_FLIGHT_ROOM = 64 };

/* `readers` and `writers` are counts: zero, as mostly, is all there is to know. */
typedef struct trcpu_inflight {
    uint32_t readers, writers;
    bool off; /* nobody asks */
    trcpu_flight flights[TRCPU_FLIGHT_ROOM];
} trcpu_inflight;

/* One flight too many is not noted, and then not checked. */
void trcpu_inflight_add(trcpu_inflight *in, trcpu_flight flight);
/* The owner waited for all groups below `group`. */
void trcpu_inflight_waited(trcpu_inflight *in, trcpu_flight_kind kind, uint32_t owner, uint32_t group);
/* A wait for this phase of the mbarrier succeeded: takes out one of its loads; false: there is none. */
bool trcpu_inflight_land(trcpu_inflight *in, uint32_t barrier, uint32_t parity, trcpu_flight *landed);
/* What an access to [low, high) collides with: a write with all, a read with loads. NULL: nothing. */
const trcpu_flight *trcpu_inflight_find(const trcpu_inflight *in, uint32_t low, uint32_t high, bool write);

#endif
