#include "cache/entry.h"

#include "base/compress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the byte order of the machine: a cache is not carried to another. The hash of each part is also what a blob needs,
   so that each byte is read and hashed once. What is seldom asked for, the stages on the way, is ten times what is asked
   for: it stays compressed until then. */
typedef enum form { NONE, PLAIN, COMPRESSED } form;
typedef struct part {
    uint64_t form, size;
    tr__hash hash; /* of the bytes as they lie here */
} part;

enum { KEY, SOURCE, FIRST, PARTS = FIRST + TR__ARTIFACT_SECTIONS };
typedef struct header {
    char magic[8];
    uint64_t size;     /* of the whole entry */
    tr__hash checksum; /* of what follows */
    part parts[PARTS];
} header;

enum { ENTRY_MOST = 1 << 30 };
static const char magic[8] = "trcache3";

static tr__hash checksum(const header *header) {
    return tr__hash_bytes(header->parts, sizeof header->parts);
}

/* ---- out ---- */

static void add(header *header, int index, form form, const void *data, size_t size, char **at) {
    header->parts[index] = (part){form, size, tr__hash_bytes(data, size)};
    memcpy(*at, data, size);
    *at += size;
}

/* The sections as they will lie in the entry; a copy that failed or did not help stays plain. */
static uint64_t prepare(const tr__artifact *artifact, tr__blob *sections[], uint32_t *compressed) {
    uint64_t size = 0;
    *compressed = artifact->compressed; /* as they came from disk */
    for (int i = 0; i < TR__ARTIFACT_SECTIONS; i++) {
        tr__blob *plain = artifact->sections[i];
        sections[i] = plain && artifact->seldom >> i & 1 ? tr__compress(plain) : NULL;
        if (sections[i])
            *compressed |= 1u << i;
        else
            sections[i] = tr__blob_retain(plain);
        size += sections[i] ? sections[i]->size : 0;
    }
    return size;
}

static tr__blob *encode(const tr__artifact_key *key, tr__blob *const sections[], uint32_t compressed,
                        uint64_t size) {
    header header = {.size = sizeof header + key->size + key->source->size + size};
    tr__blob *bytes = header.size <= ENTRY_MOST ? tr__blob_allocate(header.size) : NULL;
    if (!bytes) return NULL;
    char *at = bytes->data + sizeof header;
    add(&header, KEY, PLAIN, key->text, key->size, &at);
    add(&header, SOURCE, PLAIN, key->source->data, key->source->size, &at);
    for (int i = 0; i < TR__ARTIFACT_SECTIONS; i++) {
        form form = compressed >> i & 1 ? COMPRESSED : PLAIN;
        if (sections[i]) add(&header, FIRST + i, form, sections[i]->data, sections[i]->size, &at);
    }
    memcpy(header.magic, magic, sizeof magic);
    header.checksum = checksum(&header);
    memcpy(bytes->data, &header, sizeof header);
    return bytes;
}

tr__blob *tr__entry_encode(const tr__artifact_key *key, const tr__artifact *artifact) {
    tr__blob *sections[TR__ARTIFACT_SECTIONS];
    uint32_t compressed;
    uint64_t size = prepare(artifact, sections, &compressed);
    tr__blob *bytes = encode(key, sections, compressed, size);
    for (int i = 0; i < TR__ARTIFACT_SECTIONS; i++) tr__blob_release(sections[i]);
    return bytes;
}

/* ---- in ---- */

typedef enum outcome { FINE, DAMAGED, ANOTHER, UNREADABLE } outcome;

static outcome read_bytes(int fd, void *data, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t got = read(fd, (char *)data + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return UNREADABLE;
        if (!got) return DAMAGED;
        done += (size_t)got;
    }
    return FINE;
}

/* The parts are of known forms, and their sizes add up to the whole, without overflow. */
static bool parts_fit(const header *header, uint64_t size) {
    uint64_t left = size - sizeof *header;
    if (header->size != size || header->parts[KEY].form != PLAIN || header->parts[SOURCE].form != PLAIN)
        return false;
    for (int i = 0; i < PARTS; i++) {
        const part *part = &header->parts[i];
        if (part->form > COMPRESSED || (part->form == NONE && part->size) || part->size > left) return false;
        left -= part->size;
    }
    return !left;
}

static outcome read_header(int fd, header *header) {
    struct stat info;
    if (fstat(fd, &info) || !S_ISREG(info.st_mode) || info.st_uid != geteuid()) return UNREADABLE;
    if (info.st_size < (off_t)sizeof *header || info.st_size > ENTRY_MOST) return DAMAGED;
    outcome outcome = read_bytes(fd, header, sizeof *header);
    if (outcome) return outcome;
    bool fine = !memcmp(header->magic, magic, sizeof magic) &&
                tr__hash_equal(header->checksum, checksum(header)) &&
                parts_fit(header, (uint64_t)info.st_size);
    return fine ? FINE : DAMAGED;
}

/* A part that must be `wanted`; without one it must only be whole. */
static outcome check_part(int fd, const part *part, const void *wanted, size_t wanted_size) {
    size_t size = part->size;
    if (wanted && size != wanted_size) return ANOTHER;
    char *data = malloc(size + 1);
    outcome outcome = data ? read_bytes(fd, data, size) : UNREADABLE;
    if (!outcome && !tr__hash_equal(tr__hash_bytes(data, size), part->hash)) outcome = DAMAGED;
    if (!outcome && wanted && memcmp(data, wanted, size)) outcome = ANOTHER;
    free(data);
    return outcome;
}

static outcome read_sections(int fd, const header *header, tr__artifact *artifact) {
    for (int i = 0; i < TR__ARTIFACT_SECTIONS; i++) {
        const part *part = &header->parts[FIRST + i];
        if (part->form == NONE) continue;
        if (part->form == COMPRESSED) artifact->compressed |= 1u << i;
        tr__blob *blob = artifact->sections[i] = tr__blob_allocate(part->size);
        if (!blob) return UNREADABLE;
        outcome outcome = read_bytes(fd, blob->data, blob->size);
        if (outcome) return outcome;
        tr__blob_seal(blob);
        if (!tr__hash_equal(blob->hash, part->hash)) return DAMAGED;
    }
    return FINE;
}

static tr__hash place(tr__hash text, tr__hash source) {
    const tr__hash parts[2] = {text, source};
    return tr__hash_bytes(parts, sizeof parts);
}

void tr__entry_read(int fd, const tr__artifact_key *key, tr__artifact **out, const char **why, tr__hash *at) {
    header header;
    tr__artifact *artifact = tr__artifact_create();
    outcome outcome = artifact ? read_header(fd, &header) : UNREADABLE;
    if (!outcome) outcome = check_part(fd, &header.parts[KEY], key ? key->text : NULL, key ? key->size : 0);
    if (!outcome)
        outcome = check_part(fd, &header.parts[SOURCE], key ? key->source->data : NULL,
                             key ? key->source->size : 0);
    if (!outcome) outcome = read_sections(fd, &header, artifact);
    if (!outcome && at) *at = place(header.parts[KEY].hash, header.parts[SOURCE].hash);
    if (outcome) tr__artifact_release(artifact);
    *out = outcome ? NULL : artifact;
    *why = outcome == DAMAGED ? "damaged" : NULL;
}

tr__hash tr__artifact_key_hash(const tr__artifact_key *key) {
    return place(tr__hash_bytes(key->text, key->size), key->source->hash);
}
