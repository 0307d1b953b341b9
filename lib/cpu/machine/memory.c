/* One reservation of address space, of which allocations take ever new parts: an address that was freed is not
   given out again until the reservation is used up, so a dangling pointer is told from a live one. Pages are
   returned to the system when freed but stay accessible: a kernel racing with a free reads zeros, and the
   process lives. */
#include "machine/memory.h"

#include "machine/checks.h"
#include "machine/traces.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    PAGE = 4096,
    FREED_KEPT = 4096,
    CUDA_INVALID_VALUE = 1,
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_ALREADY_REGISTERED = 712,
    CUDA_NOT_REGISTERED = 713
};

struct trcpu_memory {
    pthread_rwlock_t lock;
    char *base;
    uint64_t reserved, capacity, used, next; /* next: offset into the reservation */
    trcpu_block *blocks;                     /* sorted by address, none overlap */
    size_t count, room, freed; /* freed: how many of them are, remembered to tell of their use */
    bool wrapped;
    uint64_t mapped;      /* of address space: the reservation is less of it under watch */
    trcpu_traces *traces; /* NULL: nobody watches */
};

trcpu_memory *trcpu_memory_create(uint64_t capacity) {
    trcpu_memory *memory = calloc(1, sizeof *memory);
    if (!memory) return NULL;
    memory->capacity = capacity;
    for (memory->reserved = 1ull << 42; memory->reserved >= 1ull << 28; memory->reserved /= 2) {
        memory->base = mmap(NULL, memory->reserved, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory->base != MAP_FAILED) break;
    }
    if (memory->base == MAP_FAILED || pthread_rwlock_init(&memory->lock, NULL) != 0) {
        if (memory->base != MAP_FAILED) munmap(memory->base, memory->reserved);
        free(memory);
        return NULL;
    }
    madvise(memory->base, memory->reserved, MADV_DONTDUMP);
    memory->mapped = memory->reserved;
    memory->next = PAGE;
    return memory;
}

void trcpu_memory_destroy(trcpu_memory *memory) {
    if (!memory) return;
    munmap(memory->base, memory->mapped);
    trcpu_traces_destroy(memory->traces);
    pthread_rwlock_destroy(&memory->lock);
    free(memory->blocks);
    free(memory);
}

void trcpu_memory_info(trcpu_memory *memory, uint64_t *used, uint64_t *capacity) {
    pthread_rwlock_rdlock(&memory->lock);
    *used = memory->used;
    *capacity = memory->capacity;
    pthread_rwlock_unlock(&memory->lock);
}

/* The first block that ends after `address`. */
static size_t find(const trcpu_memory *memory, uint64_t address) {
    size_t low = 0, high = memory->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (memory->blocks[middle].address + memory->blocks[middle].size <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool insert(trcpu_memory *memory, trcpu_block block) {
    if (memory->count == memory->room) {
        size_t room = memory->room ? 2 * memory->room : 64;
        trcpu_block *larger = realloc(memory->blocks, room * sizeof *larger);
        if (!larger) return false;
        memory->blocks = larger;
        memory->room = room;
    }
    size_t at = find(memory, block.address);
    memmove(memory->blocks + at + 1, memory->blocks + at, (memory->count - at) * sizeof *memory->blocks);
    memory->blocks[at] = block;
    memory->count++;
    return true;
}

/* All but the FREED_KEPT freed last: addresses only grow, so they are the highest. One that is forgotten is still nobody's
   address. */
static void forget_oldest(trcpu_memory *memory) {
    size_t to = 0, drop = memory->freed - FREED_KEPT;
    for (size_t i = 0; i < memory->count; i++) {
        if (drop && memory->blocks[i].state == TRCPU_BLOCK_FREED)
            drop--;
        else
            memory->blocks[to++] = memory->blocks[i];
    }
    memory->count = to;
    memory->freed = FREED_KEPT;
}

static void erase(trcpu_memory *memory, size_t at) {
    memory->count--;
    memmove(memory->blocks + at, memory->blocks + at + 1, (memory->count - at) * sizeof *memory->blocks);
}

/* The offset of `span` bytes nobody has; past the reservation's end, what was freed is forgotten and used again. */
static bool find_room(trcpu_memory *memory, uint64_t span, uint64_t *offset) {
    if (span > memory->reserved - PAGE) return false;
    if (!memory->wrapped && memory->reserved - memory->next >= span) {
        *offset = memory->next;
        return true;
    }
    memory->wrapped = true;
    memory->freed = 0;
    for (size_t i = memory->count; i-- > 0;)
        if (memory->blocks[i].state == TRCPU_BLOCK_FREED) erase(memory, i);
    uint64_t start = TRCPU_DEVICE + (uint64_t)(uintptr_t)memory->base, at = start + PAGE;
    for (size_t i = find(memory, at); i <= memory->count; i++) {
        bool inside = i < memory->count && memory->blocks[i].address < start + memory->reserved;
        uint64_t end = inside ? memory->blocks[i].address : start + memory->reserved;
        if (end >= at + span + PAGE) {
            *offset = at - start;
            return true;
        }
        if (!inside) return false;
        at = (memory->blocks[i].address + memory->blocks[i].size + 2 * PAGE - 1) & ~(uint64_t)(PAGE - 1);
    }
    return false;
}

uint64_t trcpu_memory_allocate(trcpu_memory *memory, uint64_t size) {
    if (size == 0) return 0;
    uint64_t address = 0, offset = 0;
    pthread_rwlock_wrlock(&memory->lock);
    if (size <= memory->capacity - memory->used) {
        uint64_t span = ((size + PAGE - 1) & ~(uint64_t)(PAGE - 1)) + PAGE;
        if (find_room(memory, span, &offset)) {
            address = TRCPU_DEVICE + (uint64_t)(uintptr_t)memory->base + offset;
            if (insert(memory, (trcpu_block){.address = address, .size = size})) {
                memory->used += size;
                if (memory->wrapped && memory->traces) trcpu_traces_forget(memory->traces, address, size);
                if (!memory->wrapped) memory->next = offset + span;
            } else {
                address = 0;
            }
        }
    }
    pthread_rwlock_unlock(&memory->lock);
    return address;
}

int trcpu_memory_free(trcpu_memory *memory, uint64_t address) {
    int result = CUDA_INVALID_VALUE;
    pthread_rwlock_wrlock(&memory->lock);
    size_t at = find(memory, address);
    if (at < memory->count && memory->blocks[at].address == address &&
        memory->blocks[at].state == TRCPU_BLOCK_LIVE) {
        trcpu_block *block = &memory->blocks[at];
        block->state = TRCPU_BLOCK_FREED;
        memory->used -= block->size;
        if (memory->traces) trcpu_traces_forget(memory->traces, address, block->size);
        madvise(trcpu_host_of(address), (block->size + PAGE - 1) & ~(uint64_t)(PAGE - 1), MADV_DONTNEED);
        if (++memory->freed == 2 * FREED_KEPT) forget_oldest(memory); /* block is no more what it was */
        result = 0;
    }
    pthread_rwlock_unlock(&memory->lock);
    return result;
}

int trcpu_memory_register(trcpu_memory *memory, void *host, uint64_t size) {
    uint64_t address = (uint64_t)(uintptr_t)host;
    if (!host || !size) return CUDA_INVALID_VALUE;
    int result = CUDA_ALREADY_REGISTERED;
    pthread_rwlock_wrlock(&memory->lock);
    size_t at = find(memory, address);
    if (at == memory->count || memory->blocks[at].address >= address + size)
        result =
            insert(memory, (trcpu_block){.address = address, .size = size, .state = TRCPU_BLOCK_REGISTERED})
                ? 0
                : CUDA_OUT_OF_MEMORY;
    pthread_rwlock_unlock(&memory->lock);
    return result;
}

int trcpu_memory_unregister(trcpu_memory *memory, void *host) {
    uint64_t address = (uint64_t)(uintptr_t)host;
    int result = CUDA_NOT_REGISTERED;
    pthread_rwlock_wrlock(&memory->lock);
    size_t at = find(memory, address);
    if (at < memory->count && memory->blocks[at].address == address &&
        memory->blocks[at].state == TRCPU_BLOCK_REGISTERED) {
        erase(memory, at);
        result = 0;
    }
    pthread_rwlock_unlock(&memory->lock);
    return result;
}

/* The live block around [address, address + size), under the lock. */
static const trcpu_block *around(const trcpu_memory *memory, uint64_t address, uint64_t size) {
    size_t at = find(memory, address);
    if (at == memory->count) return NULL;
    const trcpu_block *block = &memory->blocks[at];
    bool inside = block->address <= address && size <= block->size - (address - block->address);
    return inside && block->state != TRCPU_BLOCK_FREED ? block : NULL;
}

bool trcpu_memory_range(trcpu_memory *memory, uint64_t address, uint64_t size, bool write, uint64_t *low,
                        uint64_t *high) {
    pthread_rwlock_rdlock(&memory->lock);
    const trcpu_block *block = around(memory, address, size);
    bool found = block && !(write && block->read_only);
    if (found) {
        *low = block->address;
        *high = block->address + block->size;
    }
    pthread_rwlock_unlock(&memory->lock);
    return found;
}

bool trcpu_memory_reach(trcpu_memory *memory, uint64_t address, uint64_t size, bool write, uint32_t checks,
                        uint64_t *low, uint64_t *high) {
    const uint32_t looks =
        TRCPU_CHECK_OUT_OF_BOUNDS | TRCPU_CHECK_USE_AFTER_FREE | (write ? TRCPU_CHECK_READ_ONLY : 0);
    if (trcpu_memory_range(memory, address, size, write, low, high)) return true;
    if ((checks & looks) == looks) return false;
    uint64_t start = TRCPU_DEVICE + (uint64_t)(uintptr_t)memory->base;
    if (address < start || address - start > memory->reserved || size > memory->reserved - (address - start))
        return false; /* nothing lies there */
    pthread_rwlock_rdlock(&memory->lock);
    size_t at = find(memory, address);
    const trcpu_block *block = at < memory->count ? &memory->blocks[at] : NULL;
    bool inside = block && block->address <= address && size <= block->size - (address - block->address);
    uint32_t check = !inside                             ? TRCPU_CHECK_OUT_OF_BOUNDS
                     : block->state == TRCPU_BLOCK_FREED ? TRCPU_CHECK_USE_AFTER_FREE
                                                         : TRCPU_CHECK_READ_ONLY;
    bool passes = !(checks & check);
    if (passes) {
        *low = inside ? block->address : address;
        *high = inside ? block->address + block->size : address + size;
    }
    pthread_rwlock_unlock(&memory->lock);
    return passes;
}

void *trcpu_memory_host(trcpu_memory *memory, uint64_t address, uint64_t size) {
    uint64_t low, high;
    return trcpu_memory_range(memory, address, size, false, &low, &high) ? trcpu_host_of(address) : NULL;
}

bool trcpu_memory_find(trcpu_memory *memory, uint64_t address, uint64_t *base, uint64_t *size,
                       bool *registered) {
    pthread_rwlock_rdlock(&memory->lock);
    const trcpu_block *block = around(memory, address, 1);
    if (block) {
        *base = block->address;
        *size = block->size;
        *registered = block->state == TRCPU_BLOCK_REGISTERED;
    }
    pthread_rwlock_unlock(&memory->lock);
    return block != NULL;
}

bool trcpu_memory_nearest(trcpu_memory *memory, uint64_t address, trcpu_block *out) {
    bool found = false;
    uint64_t best = UINT64_MAX;
    pthread_rwlock_rdlock(&memory->lock);
    for (size_t i = 0; i < memory->count; i++) {
        const trcpu_block *block = &memory->blocks[i];
        uint64_t end = block->address + block->size;
        bool holds = address >= block->address && address < end;
        uint64_t distance = holds                      ? 0
                            : address < block->address ? block->address - address
                                                       : address - end + 1;
        if (!holds && block->state == TRCPU_BLOCK_FREED) continue;
        if (distance >= best) continue;
        best = distance;
        *out = *block;
        found = true;
    }
    pthread_rwlock_unlock(&memory->lock);
    return found;
}

void trcpu_memory_protect(trcpu_memory *memory, uint64_t address) {
    pthread_rwlock_wrlock(&memory->lock);
    size_t at = find(memory, address);
    if (at < memory->count) memory->blocks[at].read_only = true;
    pthread_rwlock_unlock(&memory->lock);
}

void trcpu_memory_wrote(trcpu_memory *memory, uint64_t address, uint64_t size) {
    trcpu_traces *traces = __atomic_load_n(&memory->traces, __ATOMIC_ACQUIRE);
    if (traces) trcpu_traces_wrote(traces, address, size);
}

static bool map_traces(trcpu_traces *traces, uint32_t checks) {
    return (!(checks & TRCPU_CHECK_UNINITIALISED_GLOBAL) || trcpu_traces_map_written(traces)) &&
           (!(checks & TRCPU_CHECK_RACE_GLOBAL) || trcpu_traces_map_accesses(traces));
}

/* The maps are of the beginning of the reservation, as much as there is address space for them, and allocations stay
   within it. */
static bool watch(trcpu_memory *memory, uint32_t checks) {
    const uint64_t most = 1ull << 38, least = 1ull << 30;
    if (memory->traces) return map_traces(memory->traces, checks);
    uint64_t size = memory->reserved > most && memory->next <= most ? most : memory->reserved;
    for (; size >= least && size >= memory->next; size /= 2) {
        trcpu_traces *traces = trcpu_traces_create(TRCPU_DEVICE + (uint64_t)(uintptr_t)memory->base, size);
        if (!traces) return false;
        if (map_traces(traces, checks)) {
            memory->reserved = size;
            __atomic_store_n(&memory->traces, traces, __ATOMIC_RELEASE);
            return true;
        }
        trcpu_traces_destroy(traces);
    }
    return false;
}

bool trcpu_memory_watch(trcpu_memory *memory, uint32_t checks) {
    pthread_rwlock_wrlock(&memory->lock);
    if (memory->next > PAGE) checks &= ~(uint32_t)TRCPU_CHECK_UNINITIALISED_GLOBAL; /* too late to know */
    bool made = !(checks & TRCPU_CHECK_GLOBAL) || watch(memory, checks);
    pthread_rwlock_unlock(&memory->lock);
    return made;
}

trcpu_traces *trcpu_memory_traces(const trcpu_memory *memory) {
    return __atomic_load_n(&memory->traces, __ATOMIC_ACQUIRE);
}
