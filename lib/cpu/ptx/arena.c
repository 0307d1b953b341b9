#include "ptx/ptx.h"

#include <stdlib.h>
#include <string.h>

typedef struct block {
    struct block *next;
    size_t used, size;
    _Alignas(16) char bytes[];
} block;

struct trcpu_arena {
    block *first;
};

trcpu_arena *trcpu_arena_create(void) {
    return calloc(1, sizeof(trcpu_arena));
}

void trcpu_arena_destroy(trcpu_arena *arena) {
    if (!arena) return;
    for (block *b = arena->first, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(arena);
}

void *trcpu_arena_take(trcpu_arena *arena, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (!arena->first || arena->first->size - arena->first->used < size) {
        size_t room = size > 65536 ? size : 65536;
        block *fresh = calloc(1, sizeof *fresh + room);
        if (!fresh) return NULL;
        fresh->size = room;
        fresh->next = arena->first;
        arena->first = fresh;
    }
    void *taken = arena->first->bytes + arena->first->used;
    arena->first->used += size;
    return taken;
}

/* Grows at powers of two; what is left behind goes with the arena. */
void *trcpu_arena_push(trcpu_arena *arena, void *array, uint32_t *count, size_t element) {
    uint32_t n = *count;
    if ((n & (n - 1)) == 0) {
        void *larger = trcpu_arena_take(arena, element * (n ? 2 * (size_t)n : 1));
        if (!larger) return NULL;
        if (n) memcpy(larger, array, element * n);
        array = larger;
    }
    ++*count;
    return array;
}

bool trcpu_text_equal(trcpu_text a, trcpu_text b) {
    return a.size == b.size && memcmp(a.at, b.at, a.size) == 0;
}
