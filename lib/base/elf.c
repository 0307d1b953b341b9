#include "base/elf.h"

#include <string.h>

enum { HEADER = 64, SECTION = 64, SEGMENT = 56, NO_BITS = 8 };

bool tr__elf_recognise(const void *data, size_t size) {
    return size >= 4 && !memcmp(data, "\177ELF", 4);
}

/* The end of [offset, offset + size), or 0 when it leaves the file. */
static size_t extent(const tr__elf *elf, uint64_t offset, uint64_t size) {
    return offset <= elf->size && size <= elf->size - offset ? (size_t)(offset + size) : 0;
}

static const unsigned char *section_header(const tr__elf *elf, uint32_t index) {
    return elf->data + tr__elf_u64(elf->data + 40) + (uint64_t)index * SECTION;
}

static tr_status grow(tr__elf *elf, uint64_t offset, uint64_t size, const char *name, const char *what,
                      uint32_t index, tr_error **error) {
    size_t end = extent(elf, offset, size);
    if (!end && size)
        return tr__fail(
            error, TR_E_PARSE,
            "%s: ELF %s %u lies at %llu … %llu, outside the %zu bytes of the file: it was cut short", name,
            what, index, (unsigned long long)offset, (unsigned long long)(offset + size), elf->size);
    if (end > elf->end) elf->end = end;
    return TR_OK;
}

static tr_status check_sections(tr__elf *elf, const char *name, tr_error **error) {
    uint32_t names = tr__elf_u16(elf->data + 62);
    for (uint32_t i = 0; i < elf->section_count; i++) {
        const unsigned char *header = section_header(elf, i);
        if (tr__elf_u32(header + 4) == NO_BITS || i == 0) continue;
        tr_status status =
            grow(elf, tr__elf_u64(header + 24), tr__elf_u64(header + 32), name, "section", i, error);
        if (status) return status;
    }
    if (elf->section_count && names >= elf->section_count)
        return tr__fail(error, TR_E_PARSE, "%s: ELF section names are in section %u of %u", name, names,
                        elf->section_count);
    return TR_OK;
}

static tr_status check_segments(tr__elf *elf, const char *name, tr_error **error) {
    uint64_t table = tr__elf_u64(elf->data + 32);
    uint32_t count = tr__elf_u16(elf->data + 56);
    if (!count) return TR_OK;
    if (tr__elf_u16(elf->data + 54) != SEGMENT)
        return tr__fail(error, TR_E_PARSE, "%s: ELF segment headers of an unknown size (byte 54)", name);
    tr_status status = grow(elf, table, (uint64_t)count * SEGMENT, name, "segment table", 0, error);
    for (uint32_t i = 0; i < count && !status; i++) {
        const unsigned char *header = elf->data + table + (uint64_t)i * SEGMENT;
        status = grow(elf, tr__elf_u64(header + 8), tr__elf_u64(header + 32), name, "segment", i, error);
    }
    return status;
}

tr_status tr__elf_open(const void *data, size_t size, const char *name, tr__elf *out, tr_error **error) {
    const unsigned char *bytes = data;
    *out = (tr__elf){.data = data, .size = size, .end = HEADER};
    if (!tr__elf_recognise(data, size)) return tr__fail(error, TR_E_PARSE, "%s: not an ELF image", name);
    if (size < HEADER)
        return tr__fail(error, TR_E_PARSE, "%s: %zu bytes are less than an ELF header: it was cut short",
                        name, size);
    if (bytes[4] != 2 || bytes[5] != 1)
        return tr__fail(error, TR_E_PARSE, "%s: not a 64-bit little-endian ELF image (bytes 4, 5)", name);
    out->os_abi = bytes[7];
    out->abi_version = bytes[8];
    out->machine = tr__elf_u16(bytes + 18);
    out->flags = tr__elf_u32(bytes + 48);
    out->section_count = tr__elf_u16(bytes + 60);
    if (out->section_count && tr__elf_u16(bytes + 58) != SECTION)
        return tr__fail(error, TR_E_PARSE, "%s: ELF section headers of an unknown size (byte 58)", name);
    tr_status status = TR_OK;
    if (out->section_count)
        status = grow(out, tr__elf_u64(bytes + 40), (uint64_t)out->section_count * SECTION, name,
                      "section table", 0, error);
    if (!status) status = check_sections(out, name, error);
    if (!status) status = check_segments(out, name, error);
    return status;
}

tr__elf_section tr__elf_section_at(const tr__elf *elf, uint32_t index) {
    const unsigned char *header = section_header(elf, index);
    const unsigned char *names = section_header(elf, tr__elf_u16(elf->data + 62));
    tr__elf_section section = {.name = "",
                               .type = tr__elf_u32(header + 4),
                               .link = tr__elf_u32(header + 40),
                               .info = tr__elf_u32(header + 44)};
    uint64_t offset = tr__elf_u64(header + 24), size = tr__elf_u64(header + 32);
    if (index && section.type != NO_BITS && size) {
        section.data = elf->data + offset;
        section.size = (size_t)size;
    }
    uint64_t name = tr__elf_u32(header), names_size = tr__elf_u64(names + 32);
    const char *pool = (const char *)elf->data + tr__elf_u64(names + 24);
    if (tr__elf_u32(names + 4) != NO_BITS && name < names_size &&
        memchr(pool + name, 0, (size_t)(names_size - name)))
        section.name = pool + name;
    return section;
}
