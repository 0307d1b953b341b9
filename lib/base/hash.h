/* Content hashes: XXH3, 128 bits. They find things; whoever must be sure compares the bytes too, so a
   collision, made on purpose or not, costs time and never correctness. */
#ifndef TR_BASE_HASH_H
#define TR_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tr__hash {
    uint64_t low, high;
} tr__hash;

tr__hash tr__hash_bytes(const void *data, size_t size);
void tr__hash_hex(tr__hash hash, char out[33]);

static inline bool tr__hash_equal(tr__hash a, tr__hash b) {
    return a.low == b.low && a.high == b.high;
}

#endif
