#include "machine/traces.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *reserve(uint64_t size) {
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return NULL;
    madvise(map, size, MADV_DONTDUMP);
    return map;
}

trcpu_traces *trcpu_traces_create(uint64_t base, uint64_t size) {
    trcpu_traces *traces = calloc(1, sizeof *traces);
    if (!traces) return NULL;
    traces->base = base;
    traces->size = size;
    atomic_init(&traces->next, 1);
    for (int i = 0; i < TRCPU_TRACE_LOCKS; i++) atomic_flag_clear(&traces->locks[i]);
    return traces;
}

static uint64_t granules_size(const trcpu_traces *traces) {
    return traces->size / TRCPU_TRACE_GRANULE * sizeof(trcpu_trace);
}

void trcpu_traces_destroy(trcpu_traces *traces) {
    if (!traces) return;
    if (traces->written) munmap(traces->written, traces->size / 8);
    if (traces->granules) munmap(traces->granules, granules_size(traces));
    if (traces->bytes) munmap(traces->bytes, traces->size * sizeof(trcpu_trace));
    free(traces);
}

bool trcpu_traces_map_written(trcpu_traces *traces) {
    if (!traces->written) traces->written = reserve(traces->size / 8);
    return traces->written != NULL;
}

bool trcpu_traces_map_accesses(trcpu_traces *traces) {
    if (traces->granules) return true;
    trcpu_trace *granules = reserve(granules_size(traces)),
                *bytes = granules ? reserve(traces->size * sizeof *bytes) : NULL;
    if (granules && !bytes) munmap(granules, granules_size(traces));
    traces->bytes = bytes;
    traces->granules = bytes ? granules : NULL;
    return bytes != NULL;
}

/* Other threads write bits of the same byte. */
static void set_bits(uint8_t *byte, uint32_t from, uint32_t to) {
    uint8_t bits = (uint8_t)((1u << to) - (1u << from));
    if ((__atomic_load_n(byte, __ATOMIC_RELAXED) & bits) != bits)
        __atomic_fetch_or(byte, bits, __ATOMIC_RELAXED);
}

void trcpu_traces_wrote(trcpu_traces *traces, uint64_t address, uint64_t size) {
    if (!traces->written || !size || !trcpu_traces_cover(traces, address, size)) return;
    uint64_t first = address - traces->base, end = first + size;
    uint8_t *map = traces->written;
    if (first / 8 == (end - 1) / 8) {
        set_bits(&map[first / 8], (uint32_t)(first % 8), (uint32_t)((end - 1) % 8 + 1));
        return;
    }
    if (first % 8) set_bits(&map[first / 8], (uint32_t)(first % 8), 8);
    if (end % 8) set_bits(&map[end / 8], 0, (uint32_t)(end % 8));
    uint64_t whole = (first + 7) / 8;
    memset(map + whole, 0xff, end / 8 - whole);
}

uint64_t trcpu_traces_unwritten(const trcpu_traces *traces, uint64_t address, uint64_t size) {
    if (!traces->written || !trcpu_traces_cover(traces, address, size)) return size;
    const uint64_t first = address - traces->base;
    const uint8_t *map = traces->written;
    for (uint64_t i = 0; i < size;) {
        uint64_t at = first + i, words;
        if (at % 64 == 0 && size - i >= 64) {
            memcpy(&words, map + at / 8, sizeof words);
            if (words == UINT64_MAX) {
                i += 64;
                continue;
            }
        }
        if (at % 8 == 0 && size - i >= 8 && map[at / 8] == 0xff) {
            i += 8;
            continue;
        }
        if (!(map[at / 8] >> (at % 8) & 1)) return i;
        i++;
    }
    return size;
}

/* Whole pages go back to the system, which gives zeros; the rest is cleared. */
static void clear(void *map, uint64_t from, uint64_t to) {
    enum { PAGE = 4096 };
    char *base = map;
    uint64_t first = (from + PAGE - 1) & ~(uint64_t)(PAGE - 1), last = to & ~(uint64_t)(PAGE - 1);
    if (first >= last) {
        memset(base + from, 0, to - from);
        return;
    }
    memset(base + from, 0, first - from);
    madvise(base + first, last - first, MADV_DONTNEED);
    memset(base + last, 0, to - last);
}

void trcpu_traces_forget(trcpu_traces *traces, uint64_t address, uint64_t size) {
    if (!trcpu_traces_cover(traces, address, size)) return;
    uint64_t first = address - traces->base, end = (first + size + 15) & ~(uint64_t)15;
    if (traces->written) clear(traces->written, first / 8, end / 8);
    if (!traces->granules) return;
    clear(traces->granules, first / TRCPU_TRACE_GRANULE * sizeof(trcpu_trace),
          end / TRCPU_TRACE_GRANULE * sizeof(trcpu_trace));
    clear(traces->bytes, first * sizeof(trcpu_trace), end * sizeof(trcpu_trace));
}
