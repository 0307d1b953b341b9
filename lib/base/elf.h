/* Bounded reading of 64-bit little-endian ELF images that nobody vouches for. */
#ifndef TR_BASE_ELF_H
#define TR_BASE_ELF_H

#include "base/error.h"

#include <stdbool.h>

typedef struct tr__elf {
    const unsigned char *data;
    size_t size;
    size_t end; /* of the image: what follows in `data` belongs to someone else */
    uint16_t machine;
    uint8_t os_abi, abi_version;
    uint32_t flags, section_count;
} tr__elf;

typedef struct tr__elf_section {
    const char *name; /* "" when it has none */
    uint32_t type, link, info;
    const unsigned char *data; /* size bytes; NULL when it has none in the file */
    size_t size;
} tr__elf_section;

bool tr__elf_recognise(const void *data, size_t size);

/* TR_E_PARSE with the byte offset of what is wrong; every section header, name and extent is checked. */
tr_status tr__elf_open(const void *data, size_t size, const char *name, tr__elf *out, tr_error **error);
tr__elf_section tr__elf_section_at(const tr__elf *elf, uint32_t index);

static inline uint32_t tr__elf_u32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint16_t tr__elf_u16(const unsigned char *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint64_t tr__elf_u64(const unsigned char *p) {
    return tr__elf_u32(p) | (uint64_t)tr__elf_u32(p + 4) << 32;
}

#endif
