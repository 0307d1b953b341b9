#include "base/blob.h"

#include <stdlib.h>
#include <string.h>

tr__blob *tr__blob_allocate(size_t size) {
    if (size > SIZE_MAX - sizeof(tr__blob) - 1) return NULL;
    tr__blob *blob = malloc(sizeof *blob + size + 1);
    if (!blob) return NULL;
    blob->references = 1;
    blob->size = size;
    blob->hash = (tr__hash){0, 0};
    blob->data[size] = '\0';
    return blob;
}

void tr__blob_seal(tr__blob *blob) {
    blob->hash = tr__hash_bytes(blob->data, blob->size);
}

tr__blob *tr__blob_create(const void *data, size_t size) {
    tr__blob *blob = tr__blob_allocate(size);
    if (!blob) return NULL;
    if (size) memcpy(blob->data, data, size);
    tr__blob_seal(blob);
    return blob;
}

tr__blob *tr__blob_retain(tr__blob *blob) {
    if (blob) __atomic_fetch_add(&blob->references, 1, __ATOMIC_RELAXED);
    return blob;
}

void tr__blob_release(tr__blob *blob) {
    if (blob && __atomic_fetch_sub(&blob->references, 1, __ATOMIC_ACQ_REL) == 1) free(blob);
}

bool tr__blob_equal(const tr__blob *a, const tr__blob *b) {
    return a == b ||
           (a->size == b->size && tr__hash_equal(a->hash, b->hash) && !memcmp(a->data, b->data, a->size));
}
