/* What is remembered of global memory while a check asks: which bytes have been written, and which CTA accessed them
   last. Maps over the device's address space, of which only touched pages take memory.

   Accesses are told apart by marks: numbers that CTAs get, ever higher, a new one whenever a CTA lets others know what
   it did. What lies below a launch's first mark is of launches before. */
#ifndef TRCPU_TRACES_H
#define TRCPU_TRACES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { TRCPU_TRACE_GRANULE = 16, TRCPU_TRACE_LOCKS = 256 };

typedef struct trcpu_trace { /* of a granule, or of one byte */
    uint32_t write;          /* mark of the last write; see the flags */
    uint32_t read;           /* mark of the last read since then */
} trcpu_trace;

#define TRCPU_TRACE_ATOMIC  0x80000000u /* of write: by an atomic operation */
#define TRCPU_TRACE_SEVERAL 0x80000000u /* of read: other CTAs have read as well */
#define TRCPU_TRACE_MIXED   0xffffffffu /* of a granule's write: its bytes have traces of their own */
#define TRCPU_TRACE_END     0x7ffffff0u

typedef struct trcpu_traces {
    uint64_t base, size; /* of device memory */
    uint8_t *written;    /* a bit per byte; NULL: nobody asks */
    trcpu_trace *granules, *bytes;
    atomic_uint next; /* mark */
    atomic_flag locks[TRCPU_TRACE_LOCKS];
} trcpu_traces;

trcpu_traces *trcpu_traces_create(uint64_t base, uint64_t size);
void trcpu_traces_destroy(trcpu_traces *traces);
bool trcpu_traces_map_written(trcpu_traces *traces); /* false: no address space */
bool trcpu_traces_map_accesses(trcpu_traces *traces);

/* [address, address + size) has been written; has been freed, or is given out anew. */
void trcpu_traces_wrote(trcpu_traces *traces, uint64_t address, uint64_t size);
void trcpu_traces_forget(trcpu_traces *traces, uint64_t address, uint64_t size);
/* The first byte nobody has written, or `size`. */
uint64_t trcpu_traces_unwritten(const trcpu_traces *traces, uint64_t address, uint64_t size);

static inline bool trcpu_traces_cover(const trcpu_traces *traces, uint64_t address, uint64_t size) {
    return address >= traces->base && address - traces->base <= traces->size &&
           size <= traces->size - (address - traces->base);
}

#endif
