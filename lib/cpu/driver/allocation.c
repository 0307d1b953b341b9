/* Which memory is whose: every live allocation of every device, host memory that devices reach included, by
 * address. */
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>

static trcpu_allocation *allocations; /* sorted by address */
static size_t count, room;

/* The first that ends behind `address`. */
static size_t find(uint64_t address) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (allocations[middle].address + allocations[middle].size <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

trcpu_allocation *trcpu_allocation_around(uint64_t address) {
    size_t at = find(address);
    return at < count && allocations[at].address <= address ? &allocations[at] : NULL;
}

static bool insert(trcpu_allocation allocation) {
    if (count == room) {
        size_t larger = room ? 2 * room : 64;
        trcpu_allocation *moved = realloc(allocations, larger * sizeof *moved);
        if (!moved) return false;
        allocations = moved;
        room = larger;
    }
    size_t at = find(allocation.address);
    memmove(allocations + at + 1, allocations + at, (count - at) * sizeof *allocations);
    allocations[at] = allocation;
    count++;
    return true;
}

/* Host memory is the same address on every device. */
static CUresult register_everywhere(void *host, uint64_t size) {
    for (int i = 0; i < trcpu.device_count; i++) {
        CUresult result = (CUresult)trcpu_memory_register(trcpu.devices[i].memory, host, size);
        if (result) {
            while (i-- > 0) trcpu_memory_unregister(trcpu.devices[i].memory, host);
            return result;
        }
    }
    return CUDA_SUCCESS;
}

static void unregister_everywhere(void *host) {
    for (int i = 0; i < trcpu.device_count; i++) trcpu_memory_unregister(trcpu.devices[i].memory, host);
}

static void give_back(const trcpu_allocation *allocation) {
    void *host = (void *)(uintptr_t)allocation->address;
    if (allocation->kind == TRCPU_DEVICE_MEMORY) {
        trcpu_memory_free(allocation->context->device->memory, allocation->address);
        return;
    }
    unregister_everywhere(host);
    if (allocation->kind != TRCPU_REGISTERED) free(host);
}

CUresult trcpu_register_host(trcpu_context *context, void *host, uint64_t size, unsigned int flags) {
    CUresult result = register_everywhere(host, size);
    if (result) return result;
    if (insert((trcpu_allocation){(uintptr_t)host, size, TRCPU_REGISTERED, flags, context, NULL,
                                  trcpu_next_id()}))
        return CUDA_SUCCESS;
    unregister_everywhere(host);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

static uint64_t allocate_host(uint64_t size) {
    void *host = size <= SIZE_MAX - 4095 ? aligned_alloc(4096, (size + 4095) / 4096 * 4096) : NULL;
    if (host && register_everywhere(host, size)) {
        free(host);
        host = NULL;
    }
    return (uintptr_t)host;
}

CUresult trcpu_allocate(trcpu_context *context, trcpu_allocation_kind kind, uint64_t size, unsigned int flags,
                        trcpu_pool *pool, uint64_t *address) {
    *address = kind == TRCPU_DEVICE_MEMORY ? trcpu_memory_allocate(context->device->memory, size)
                                           : allocate_host(size);
    if (!*address) return CUDA_ERROR_OUT_OF_MEMORY;
    trcpu_allocation made = {*address, size, kind, flags, context, pool, trcpu_next_id()};
    if (!insert(made)) {
        give_back(&made);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    uint64_t used = pool ? trcpu_pool_used(pool) : 0;
    if (pool && used > pool->used_high) pool->used_high = used;
    return CUDA_SUCCESS;
}

static void release_at(size_t at) {
    give_back(&allocations[at]);
    count--;
    memmove(allocations + at, allocations + at + 1, (count - at) * sizeof *allocations);
}

void trcpu_allocation_release(uint64_t base) {
    size_t at = find(base);
    if (at < count && allocations[at].address == base) release_at(at);
}

void trcpu_allocations_release(const trcpu_context *context) {
    for (size_t i = count; i-- > 0;)
        if (allocations[i].context == context) release_at(i);
}

uint64_t trcpu_pool_used(const trcpu_pool *pool) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        if (allocations[i].pool == pool) sum += allocations[i].size;
    return sum;
}

/* ---- the bytes behind an address ---- */
/* No host address has its top byte set; every device address has. */
static bool is_device_address(uint64_t address) {
    return address >> 56;
}

void *trcpu_bytes(uint64_t address, uint64_t size) {
    for (int i = 0; i < trcpu.device_count; i++) {
        void *bytes = trcpu_memory_host(trcpu.devices[i].memory, address, size);
        if (bytes) return bytes;
    }
    return is_device_address(address) ? NULL : (void *)(uintptr_t)address;
}

void trcpu_bytes_wrote(uint64_t address, uint64_t size) {
    for (int i = 0; i < trcpu.device_count; i++)
        if (trcpu_memory_host(trcpu.devices[i].memory, address, size))
            trcpu_memory_wrote(trcpu.devices[i].memory, address, size);
}

void trcpu_pool_forget(const trcpu_pool *pool) {
    for (size_t i = 0; i < count; i++)
        if (allocations[i].pool == pool) allocations[i].pool = NULL;
}
