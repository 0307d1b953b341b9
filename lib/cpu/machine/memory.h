/* Device addresses. The top byte tells the space of a generic address: 0 host memory that is registered, else one
   of these; no host address has them. A device allocation at TRCPU_DEVICE + h lies at the host address h. */
#ifndef TRCPU_MEMORY_H
#define TRCPU_MEMORY_H

#include "machine.h"

typedef struct trcpu_traces trcpu_traces; /* machine/traces.h */

#define TRCPU_DEVICE        0x0100000000000000u
#define TRCPU_WINDOW_SHARED 0x0200000000000000u
#define TRCPU_WINDOW_LOCAL  0x0300000000000000u
#define TRCPU_WINDOW_PARAM  0x0400000000000000u
#define TRCPU_WINDOW_MASK   0xff00000000000000u

/* Shared memory of a cluster: the rank of the CTA, plus one, above the offset; zero is the CTA's own. */
#define TRCPU_CLUSTER_RANK_SHIFT  24
#define TRCPU_CLUSTER_OFFSET_MASK 0x00ffffffu

/* Device or registered host address to host pointer: no check. */
static inline char *trcpu_host_of(uint64_t address) {
    return (char *)(uintptr_t)(address & ~TRCPU_DEVICE);
}

typedef enum trcpu_block_state {
    TRCPU_BLOCK_LIVE,
    TRCPU_BLOCK_FREED,
    TRCPU_BLOCK_REGISTERED
} trcpu_block_state;

typedef struct trcpu_block {
    uint64_t address, size;
    trcpu_block_state state;
    bool read_only;
} trcpu_block;

/* The live or registered block around [address, address + size); false: there is none. */
bool trcpu_memory_range(trcpu_memory *memory, uint64_t address, uint64_t size, bool write, uint64_t *low,
                        uint64_t *high);
/* The same for a kernel under these checks: where one is off, the access goes where hardware would let it go. */
bool trcpu_memory_reach(trcpu_memory *memory, uint64_t address, uint64_t size, bool write, uint32_t checks,
                        uint64_t *low, uint64_t *high);
trcpu_traces *trcpu_memory_traces(const trcpu_memory *memory); /* NULL: nobody watches */
/* For reports: the block that holds the address, live or freed, else the live one nearest to it. */
bool trcpu_memory_nearest(trcpu_memory *memory, uint64_t address, trcpu_block *out);
/* Kernels may not write there (.const, or constant data). */
void trcpu_memory_protect(trcpu_memory *memory, uint64_t address);

#endif
