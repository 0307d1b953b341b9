#include "base/compress.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { LEVEL = 1 }; /* texts of compilers shrink to a seventh at once, and at the highest level to a tenth */

tr__blob *tr__compress(const tr__blob *plain) {
    size_t room = ZSTD_compressBound(plain->size);
    char *data = malloc(room);
    size_t size = data ? ZSTD_compress(data, room, plain->data, plain->size, LEVEL) : room;
    tr__blob *compressed =
        size < plain->size ? tr__blob_create(data, size) : NULL; /* an error is a huge size */
    free(data);
    return compressed;
}

tr__blob *tr__decompress(const tr__blob *compressed) {
    unsigned long long size = ZSTD_getFrameContentSize(compressed->data, compressed->size);
    tr__blob *plain =
        size < SIZE_MAX / 2 ? tr__blob_allocate((size_t)size) : NULL; /* so are "unknown" and an error */
    if (!plain) return NULL;
    if (ZSTD_decompress(plain->data, plain->size, compressed->data, compressed->size) != size) {
        tr__blob_release(plain);
        return NULL;
    }
    tr__blob_seal(plain);
    return plain;
}
