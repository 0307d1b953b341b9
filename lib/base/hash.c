#include "base/hash.h"

#include <xxhash.h>

tr__hash tr__hash_bytes(const void *data, size_t size) {
    XXH128_hash_t hash = XXH3_128bits(data, size);
    return (tr__hash){hash.low64, hash.high64};
}

void tr__hash_hex(tr__hash hash, char out[33]) {
    for (int i = 0; i < 32; i++)
        out[i] = "0123456789abcdef"[(i < 16 ? hash.high : hash.low) >> (60 - i % 16 * 4) & 15];
    out[32] = '\0';
}
