/* Immutable bytes with a count of owners and their content hash. Programs, modules and cache entries share
   them. A NUL follows the bytes, so that a text stage can be scanned as a C string. */
#ifndef TR_BASE_BLOB_H
#define TR_BASE_BLOB_H

#include "base/hash.h"

typedef struct tr__blob {
    uint32_t references;
    size_t size;
    tr__hash hash;
    char data[];
} tr__blob;

tr__blob *tr__blob_create(const void *data, size_t size); /* a copy; NULL out of memory */

/* For bytes that arrive in pieces: fill data[0, size), then seal before anyone else sees it. */
tr__blob *tr__blob_allocate(size_t size);
void tr__blob_seal(tr__blob *blob);

tr__blob *tr__blob_retain(tr__blob *blob);
void tr__blob_release(tr__blob *blob); /* NULL is accepted */
bool tr__blob_equal(const tr__blob *a, const tr__blob *b);

#endif
