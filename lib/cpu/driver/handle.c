/* A handle is a place in a table and how often the place was used: never a pointer, so that any value can be
   asked for, and one that is no more is told from the one that took its place. */
#include "driver/driver.h"

#include <stdlib.h>

enum { CHUNK = 1024, CHUNKS = 1024 };

typedef struct place {
    void *object;
    uint32_t generation, next_free;
    trcpu_kind kind;
} place;

static place *chunks[CHUNKS];
static uint32_t place_count = 1, first_free; /* place 0 is never used */

static place *place_at(uint32_t index) {
    return &chunks[index / CHUNK][index % CHUNK];
}

static void *encode(uint32_t index, uint32_t generation) {
    return (void *)(uintptr_t)((uint64_t)generation << 32 | (uint64_t)index << 4);
}

static place *decode(const void *handle) {
    uint64_t value = (uintptr_t)handle;
    uint32_t index = (uint32_t)(value & 0xffffffff) >> 4;
    if (value & 15 || index == 0 || index >= place_count) return NULL;
    place *at = place_at(index);
    return at->kind && at->generation == value >> 32 ? at : NULL;
}

void *trcpu_handle_new(trcpu_kind kind, void *object) {
    uint32_t index = first_free;
    if (index) {
        first_free = place_at(index)->next_free;
    } else {
        index = place_count;
        if (index / CHUNK == CHUNKS) return NULL;
        if (!chunks[index / CHUNK] && !(chunks[index / CHUNK] = calloc(CHUNK, sizeof(place)))) return NULL;
        place_count++;
    }
    place *at = place_at(index);
    at->object = object;
    at->kind = kind;
    return encode(index, at->generation);
}

void *trcpu_handle_find(trcpu_kind kind, const void *handle) {
    const place *at = decode(handle);
    return at && at->kind == kind ? at->object : NULL;
}

void trcpu_handle_set(void *handle, void *object) {
    decode(handle)->object = object;
}

void trcpu_handle_delete(void *handle) {
    place *at = decode(handle);
    if (!at) return;
    at->object = NULL;
    at->kind = 0;
    at->generation = (at->generation + 1) & 0x7fff;
    at->next_free = first_free;
    first_free = (uint32_t)(uintptr_t)handle >> 4;
}
