/* Sections of what a cache gave, as they were before they were compressed. */
#ifndef TESTS_SECTIONS_H
#define TESTS_SECTIONS_H

#include "base/compress.h"
#include "cache/artifacts.h"

static inline bool has_section(const tr__artifact *artifact, const tr__artifact *wanted, int section) {
    tr__blob *stored = artifact->sections[section], *right = wanted->sections[section];
    if (!stored || !right) return stored == right;
    tr__blob *plain = artifact->compressed >> section & 1 ? tr__decompress(stored) : tr__blob_retain(stored);
    bool same = plain && tr__blob_equal(plain, right);
    tr__blob_release(plain);
    return same;
}

#endif
