/* An entry's bytes: key, source and sections under one checksum. */
#ifndef TR_CACHE_ENTRY_H
#define TR_CACHE_ENTRY_H

#include "cache/artifacts.h"

/* NULL out of memory. */
tr__blob *tr__entry_encode(const tr__artifact_key *key, const tr__artifact *artifact);

/* *out is the artifact, or NULL with *why saying what is wrong ("damaged", …), or both NULL: another key's
   entry. Without a key (verify) it may be anybody's. */
void tr__entry_decode(const tr__blob *bytes, const tr__artifact_key *key, tr__artifact **out,
                      const char **why);

/* The hash a key's entry is found by, and whether an entry that decodes lies under its own. */
tr__hash tr__artifact_key_hash(const tr__artifact_key *key);
bool tr__entry_is_at(const tr__blob *bytes, tr__hash hash);

#endif
