/* Bytes that are kept for who may ask, but seldom does: small until then. By zstd. */
#ifndef TR_BASE_COMPRESS_H
#define TR_BASE_COMPRESS_H

#include "base/blob.h"

tr__blob *tr__compress(const tr__blob *plain); /* NULL: out of memory, or it would not become smaller */

/* Of what tr__compress made; NULL: out of memory, or it was not. */
tr__blob *tr__decompress(const tr__blob *compressed);

#endif
