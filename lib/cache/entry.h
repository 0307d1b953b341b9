/* An entry's bytes: key, source and sections, each under a checksum. */
#ifndef TR_CACHE_ENTRY_H
#define TR_CACHE_ENTRY_H

#include "cache/artifacts.h"

/* NULL out of memory. */
tr__blob *tr__entry_encode(const tr__artifact_key *key, const tr__artifact *artifact);

/* From an open file, at its beginning. *out is the artifact, or NULL with *why saying what is wrong ("damaged", …), or
   both NULL: another key's entry, or one that cannot be read now. Without a key (verify) it may be anybody's, and *at
   (may be NULL) is the hash that its key is found by. Nothing is believed before its checksum was seen. */
void tr__entry_read(int fd, const tr__artifact_key *key, tr__artifact **out, const char **why, tr__hash *at);

/* The hash a key's entry is found by. */
tr__hash tr__artifact_key_hash(const tr__artifact_key *key);

#endif
