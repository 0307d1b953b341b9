#include "cache/entry.h"

#include <string.h>

/* In the byte order of the machine: a cache is not carried to another. */
typedef struct header {
    char magic[8];
    uint64_t size;     /* of the whole entry */
    tr__hash checksum; /* of all behind this field */
    uint64_t key_size, source_size;
    uint64_t sections[TR__ARTIFACT_SECTIONS]; /* their sizes + 1; 0: none */
} header;

static const char magic[8] = "trcache1";

static tr__hash checksum(const char *data, size_t size) {
    size_t from = offsetof(header, checksum) + sizeof(tr__hash);
    return tr__hash_bytes(data + from, size - from);
}

tr__blob *tr__entry_encode(const tr__artifact_key *key, const tr__artifact *artifact) {
    header header = {.key_size = key->size, .source_size = key->source->size};
    size_t size = sizeof header + key->size + key->source->size;
    memcpy(header.magic, magic, sizeof magic);
    for (int i = 0; i < TR__ARTIFACT_SECTIONS; i++) {
        if (!artifact->sections[i]) continue;
        header.sections[i] = artifact->sections[i]->size + 1;
        size += artifact->sections[i]->size;
    }
    header.size = size;
    tr__blob *bytes = tr__blob_allocate(size);
    if (!bytes) return NULL;
    char *at = bytes->data + sizeof header;
    memcpy(bytes->data, &header, sizeof header);
    memcpy(at, key->text, key->size);
    at += key->size;
    memcpy(at, key->source->data, key->source->size);
    at += key->source->size;
    for (int i = 0; i < TR__ARTIFACT_SECTIONS; i++) {
        const tr__blob *section = artifact->sections[i];
        if (!section) continue;
        memcpy(at, section->data, section->size);
        at += section->size;
    }
    header.checksum = checksum(bytes->data, size);
    memcpy(bytes->data, &header, sizeof header);
    return bytes;
}

/* The sizes add up to the whole, without overflow. */
static bool sizes_fit(const header *header, size_t size) {
    uint64_t left = size - sizeof *header;
    if (header->size != size || header->key_size > left) return false;
    left -= header->key_size;
    if (header->source_size > left) return false;
    left -= header->source_size;
    for (int i = 0; i < TR__ARTIFACT_SECTIONS; i++) {
        uint64_t section = header->sections[i] ? header->sections[i] - 1 : 0;
        if (section > left) return false;
        left -= section;
    }
    return !left;
}

static bool is_for(const header *header, const char *data, const tr__artifact_key *key) {
    return header->key_size == key->size && header->source_size == key->source->size &&
           !memcmp(data, key->text, key->size) &&
           !memcmp(data + key->size, key->source->data, key->source->size);
}

void tr__entry_decode(const tr__blob *bytes, const tr__artifact_key *key, tr__artifact **out,
                      const char **why) {
    header header;
    *out = NULL;
    *why = "not a cache entry";
    if (bytes->size < sizeof header) return;
    memcpy(&header, bytes->data, sizeof header);
    if (memcmp(header.magic, magic, sizeof magic)) return;
    *why = "damaged";
    if (!sizes_fit(&header, bytes->size) ||
        !tr__hash_equal(header.checksum, checksum(bytes->data, bytes->size)))
        return;
    *why = NULL;
    const char *at = bytes->data + sizeof header;
    if (key && !is_for(&header, at, key)) return;
    at += header.key_size + header.source_size;
    tr__artifact *artifact = tr__artifact_create();
    for (int i = 0; artifact && i < TR__ARTIFACT_SECTIONS; i++) {
        if (!header.sections[i]) continue;
        size_t size = (size_t)header.sections[i] - 1;
        artifact->sections[i] = tr__blob_create(at, size);
        if (!artifact->sections[i]) {
            tr__artifact_release(artifact);
            return;
        }
        at += size;
    }
    *out = artifact;
}

tr__hash tr__artifact_key_hash(const tr__artifact_key *key) {
    const tr__hash parts[2] = {tr__hash_bytes(key->text, key->size), key->source->hash};
    return tr__hash_bytes(parts, sizeof parts);
}

bool tr__entry_is_at(const tr__blob *bytes, tr__hash hash) {
    header header;
    memcpy(&header, bytes->data, sizeof header);
    const char *key = bytes->data + sizeof header;
    const tr__hash parts[2] = {tr__hash_bytes(key, header.key_size),
                               tr__hash_bytes(key + header.key_size, header.source_size)};
    return tr__hash_equal(tr__hash_bytes(parts, sizeof parts), hash);
}
