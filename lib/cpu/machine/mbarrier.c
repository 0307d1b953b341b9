#include "machine/mbarrier.h"

#include <stddef.h>

/* bits 0 … 19 arrivals pending, 20 … 39 arrivals a phase, 40 … 60 bytes still to come (signed: they may come before
   they are expected), 61 the phase's parity, 62 and 63 the mark of a barrier that was initialised */
enum { count_bits = 20, bytes_bits = 21 };
static const uint64_t mark = (uint64_t)2 << 62;

typedef struct fields {
    uint32_t pending, count;
    int32_t bytes;
    uint32_t parity;
} fields;

static fields unpack(uint64_t word) {
    return (fields){.pending = (uint32_t)(word & TRCPU_MBARRIER_MAX_COUNT),
                    .count = (uint32_t)(word >> count_bits & TRCPU_MBARRIER_MAX_COUNT),
                    .bytes = (int32_t)((int64_t)(word << 3) >> (3 + 2 * count_bits)),
                    .parity = (uint32_t)(word >> 61 & 1)};
}

static void pack(uint64_t *word, fields f) {
    uint64_t bytes = (uint64_t)f.bytes & (((uint64_t)1 << bytes_bits) - 1);
    *word = mark | (uint64_t)f.parity << 61 | bytes << (2 * count_bits) | (uint64_t)f.count << count_bits |
            f.pending;
}

static const char *check(uint64_t word) {
    return trcpu_mbarrier_is_valid(word) ? NULL : "the mbarrier is not initialised";
}

static void settle(uint64_t *barrier, fields f) {
    if (f.pending == 0 && f.bytes == 0) {
        f.pending = f.count;
        f.parity ^= 1;
    }
    pack(barrier, f);
}

const char *trcpu_mbarrier_init(uint64_t *barrier, uint32_t count) {
    if (count == 0 || count > TRCPU_MBARRIER_MAX_COUNT) return "an mbarrier's count is within 1 to 2^20 - 1";
    pack(barrier, (fields){.pending = count, .count = count});
    return NULL;
}

const char *trcpu_mbarrier_inval(uint64_t *barrier) {
    const char *problem = check(*barrier);
    *barrier = 0;
    return problem;
}

const char *trcpu_mbarrier_arrive(uint64_t *barrier, uint32_t count, uint32_t dropped) {
    const char *problem = check(*barrier);
    if (problem) return problem;
    fields f = unpack(*barrier);
    if (count > f.pending) return "more arrivals at the mbarrier than its phase has pending";
    f.pending -= count;
    f.count -= dropped < f.count ? dropped : f.count;
    settle(barrier, f);
    return NULL;
}

static const char *change_bytes(uint64_t *barrier, int64_t change) {
    const char *problem = check(*barrier);
    if (problem) return problem;
    fields f = unpack(*barrier);
    int64_t bytes = f.bytes + change;
    if (bytes > TRCPU_MBARRIER_MAX_COUNT || bytes < -TRCPU_MBARRIER_MAX_COUNT)
        return "the mbarrier's tx-count leaves its range of 2^20 - 1";
    f.bytes = (int32_t)bytes;
    settle(barrier, f);
    return NULL;
}

const char *trcpu_mbarrier_expect_tx(uint64_t *barrier, uint32_t bytes) {
    return change_bytes(barrier, bytes);
}

const char *trcpu_mbarrier_complete_tx(uint64_t *barrier, uint32_t bytes) {
    return change_bytes(barrier, -(int64_t)bytes);
}

bool trcpu_mbarrier_is_valid(uint64_t barrier) {
    return barrier >> 62 == mark >> 62 && unpack(barrier).count + unpack(barrier).pending > 0;
}

bool trcpu_mbarrier_passed_parity(uint64_t barrier, uint32_t parity) {
    return unpack(barrier).parity != (parity & 1);
}

bool trcpu_mbarrier_passed(uint64_t barrier, uint64_t state) {
    return unpack(barrier).parity != unpack(state).parity;
}

uint32_t trcpu_mbarrier_pending(uint64_t state) {
    return unpack(state).pending;
}

int32_t trcpu_mbarrier_missing_bytes(uint64_t barrier) {
    return unpack(barrier).bytes;
}
