#include "base/hash.h"

#include <stdio.h>
#include <xxhash.h>

tr__hash tr__hash_bytes(const void *data, size_t size) {
    XXH128_hash_t hash = XXH3_128bits(data, size);
    return (tr__hash){hash.low64, hash.high64};
}

void tr__hash_hex(tr__hash hash, char out[33]) {
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)hash.high, (unsigned long long)hash.low);
}
