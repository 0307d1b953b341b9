/* The kernels of an image and their parameters: enough of PTX and of a cubin's .nv.info to answer
   cuFuncGetParamInfo. */
#include "state.h"

#include <ctype.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t stub_image_size(const void *image) {
    const Elf64_Ehdr *elf = image;
    if (memcmp(elf->e_ident, ELFMAG, SELFMAG)) return strlen(image);
    size_t sections = elf->e_shoff + (size_t)elf->e_shentsize * elf->e_shnum;
    size_t segments = elf->e_phoff + (size_t)elf->e_phentsize * elf->e_phnum;
    return sections > segments ? sections : segments;
}

/* ---- PTX ---- */
static uint32_t width_of(const char *type) {
    const char *digits = type + strcspn(type, "0123456789");
    if (!strncmp(type, ".pred", 5)) return 1;
    return (uint32_t)strtoul(digits, NULL, 10) / 8;
}

/* One parameter: "[.align N] .type[.attributes] name[count]". */
static stub_parameter read_parameter(const char *at, size_t length, uint32_t end) {
    char text[256];
    snprintf(text, sizeof text, "%.*s", (int)(length < 255 ? length : 255), at);
    uint32_t size = 0, align = 0;
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t\n,", &rest); word; word = strtok_r(NULL, " \t\n,", &rest)) {
        if (!strcmp(word, ".align") && !size)
            align = (uint32_t)strtoul(strtok_r(NULL, " \t\n,", &rest), NULL, 10);
        else if (word[0] == '.' && strchr("busf", word[1]) && isdigit((unsigned char)word[2]))
            size = width_of(word);
        else if (strchr(word, '['))
            size *= (uint32_t)strtoul(strchr(word, '[') + 1, NULL, 10);
    }
    align = align ? align : size ? size : 1;
    stub_parameter parameter = {(end + align - 1) / align * align, size};
    return parameter;
}

static const char *find_entry(const char *ptx, const char *name) {
    size_t length = strlen(name);
    for (const char *at = ptx; (at = strstr(at, ".entry")); at += 6) {
        const char *found = at + 6 + strspn(at + 6, " \t\n");
        if (!strncmp(found, name, length) && !isalnum((unsigned char)found[length]) && found[length] != '_')
            return found + length;
    }
    return NULL;
}

static bool ptx_find(const char *ptx, const char *name, stub_parameter *parameters, size_t room,
                     size_t *count) {
    const char *at = find_entry(ptx, name);
    if (!at) return false;
    at += strspn(at, " \t\n");
    const char *close = *at == '(' ? strchr(at, ')') : NULL;
    uint32_t end = 0;
    while (close && *count < room && (at = strstr(at, ".param")) && at < close) {
        at += 6;
        size_t length = strcspn(at, ",)");
        stub_parameter *parameter = &parameters[(*count)++];
        *parameter = read_parameter(at, length, end);
        end = parameter->offset + parameter->size;
        at += length;
    }
    return true;
}

/* ---- cubin: .nv.info.<kernel> is a list of (format, attribute, size) records ---- */
enum { FORMAT_WITH_SIZE = 4, ATTRIBUTE_KPARAM_INFO = 0x17 };

static void read_info(const unsigned char *info, size_t size, stub_parameter *parameters, size_t room,
                      size_t *count) {
    for (size_t at = 0; at + 4 <= size;) {
        uint16_t length;
        memcpy(&length, info + at + 2, 2);
        if (info[at] == FORMAT_WITH_SIZE && info[at + 1] == ATTRIBUTE_KPARAM_INFO && at + 16 <= size) {
            uint16_t ordinal, offset;
            uint32_t packed;
            memcpy(&ordinal, info + at + 8, 2);
            memcpy(&offset, info + at + 10, 2);
            memcpy(&packed, info + at + 12, 4);
            if (ordinal < room) {
                parameters[ordinal] = (stub_parameter){offset, packed >> 18};
                *count = *count > ordinal ? *count : ordinal + 1u;
            }
        }
        at += 4 + (info[at] == FORMAT_WITH_SIZE ? length : 0);
    }
}

static bool cubin_find(const unsigned char *image, size_t size, const char *name, stub_parameter *parameters,
                       size_t room, size_t *count) {
    const Elf64_Ehdr *elf = (const Elf64_Ehdr *)image;
    if (size < sizeof *elf || elf->e_shoff + (size_t)elf->e_shnum * sizeof(Elf64_Shdr) > size ||
        elf->e_shstrndx >= elf->e_shnum)
        return false;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(image + elf->e_shoff);
    const char *names = (const char *)image + sections[elf->e_shstrndx].sh_offset;
    bool found = false;
    for (int i = 0; i < elf->e_shnum; i++) {
        const char *section = names + sections[i].sh_name;
        if (!strncmp(section, ".text.", 6) && !strcmp(section + 6, name)) found = true;
        if (!strncmp(section, ".nv.info.", 9) && !strcmp(section + 9, name))
            read_info(image + sections[i].sh_offset, sections[i].sh_size, parameters, room, count);
    }
    return found;
}

bool stub_image_find(const void *image, size_t size, const char *name, stub_parameter *parameters,
                     size_t room, size_t *count) {
    *count = 0;
    if (size >= SELFMAG && !memcmp(image, ELFMAG, SELFMAG))
        return cubin_find(image, size, name, parameters, room, count);
    if (size && strstr(image, ".entry")) return ptx_find(image, name, parameters, room, count);
    return true;
}
