/* A cubin: NVIDIA's ELF image. Only sizes of parameters are in it, so the record must know the types. */
#include "base/elf.h"
#include "stages/stage.h"

#include <string.h>

enum { MACHINE_CUDA = 190, OLD_ABI = 7 };

/* .nv.info is a list of attributes: format, number, then 16 bits that are a value or a payload's size. */
enum { FORMAT_SIZED = 4 };
enum {
    ATTRIBUTE_REQNTID = 0x10,
    ATTRIBUTE_FRAME_SIZE = 0x11,
    ATTRIBUTE_PARAM = 0x17,
    ATTRIBUTE_REGISTERS = 0x2f,
    ATTRIBUTE_CLUSTER = 0x3d
};

typedef struct attribute {
    uint8_t format, number;
    const unsigned char *data;
    uint16_t size;
} attribute;

/* The attribute at *offset, which then is behind it; false at the end, or where the list is cut short. */
static bool next_attribute(const tr__elf_section *info, size_t *offset, attribute *out) {
    if (*offset + 4 > info->size) return false;
    const unsigned char *at = info->data + *offset;
    *out = (attribute){.format = at[0], .number = at[1], .data = at + 4};
    if (out->format == FORMAT_SIZED) out->size = tr__elf_u16(at + 2);
    *offset += 4 + (size_t)out->size;
    return *offset <= info->size;
}

static bool recognise(const char *data, size_t size) {
    return tr__elf_recognise(data, size);
}

static uint32_t arch_of(const tr__elf *elf) {
    return elf->abi_version <= OLD_ABI ? elf->flags & 0xff : elf->flags >> 8 & 0xff;
}

static bool find_section(const tr__elf *elf, const char *name, tr__elf_section *out) {
    for (uint32_t i = 1; i < elf->section_count; i++) {
        *out = tr__elf_section_at(elf, i);
        if (!strcmp(out->name, name)) return true;
    }
    return false;
}

/* A kernel has code, ".text.name", and a constant bank for its parameters, ".nv.constant0.name". */
static tr_status find_kernels(const tr__elf *elf, tr__names *names, tr_error **error) {
    static const char prefix[] = ".nv.constant0.";
    tr_status status = TR_OK;
    for (uint32_t i = 1; i < elf->section_count && !status; i++) {
        const char *name = tr__elf_section_at(elf, i).name;
        if (strncmp(name, prefix, sizeof prefix - 1) || !name[sizeof prefix - 1]) continue;
        name += sizeof prefix - 1;
        status = tr__names_add(names, name, strlen(name), NULL, error);
    }
    return status;
}

/* The function a symbol stands for. */
static const char *symbol_name(const tr__elf *elf, uint32_t table, uint32_t symbol) {
    enum { SYMBOL = 24 };
    if (!table || table >= elf->section_count) return "";
    tr__elf_section symbols = tr__elf_section_at(elf, table);
    if ((uint64_t)symbol * SYMBOL + SYMBOL > symbols.size || symbols.link >= elf->section_count) return "";
    tr__elf_section names = tr__elf_section_at(elf, symbols.link);
    uint32_t name = tr__elf_u32(symbols.data + (size_t)symbol * SYMBOL);
    if (name >= names.size || !memchr(names.data + name, 0, names.size - name)) return "";
    return (const char *)names.data + name;
}

/* Registers and local memory stand in the image's own list, by symbol. */
static void read_image_info(const tr__elf *elf, tr__record *record) {
    tr__elf_section info;
    attribute a;
    if (!find_section(elf, ".nv.info", &info)) return;
    for (size_t offset = 0; next_attribute(&info, &offset, &a);) {
        if (a.size != 8 || strcmp(symbol_name(elf, info.link, tr__elf_u32(a.data)), record->kernel)) continue;
        if (a.number == ATTRIBUTE_REGISTERS) record->registers = tr__elf_u32(a.data + 4);
        if (a.number == ATTRIBUTE_FRAME_SIZE) record->local_bytes = tr__elf_u32(a.data + 4);
    }
}

static tr_status fail_info(tr__reading *reading, const char *what, tr_error **error) {
    return tr__fail(error, TR_E_PARSE, "%s: .nv.info.%s: %s", reading->name, reading->record->kernel, what);
}

/* Parameters come in any order, each with its ordinal. */
static tr_status read_operands(tr__reading *reading, const tr__elf_section *info, tr__operands *operands,
                               tr_error **error) {
    attribute a;
    size_t count = 0;
    for (size_t offset = 0; next_attribute(info, &offset, &a);) count += a.number == ATTRIBUTE_PARAM;
    if (count > TR__OPERANDS_MAX) return fail_info(reading, "more than 4096 parameters", error);
    for (size_t i = 0; i < count; i++) {
        tr_status status = tr__operands_add(operands, &(tr__operand){.divisibility = 1}, error);
        if (status) return status;
    }
    for (size_t offset = 0; next_attribute(info, &offset, &a);) {
        if (a.number != ATTRIBUTE_PARAM) continue;
        uint32_t ordinal = a.size == 12 ? tr__elf_u16(a.data + 4) : UINT32_MAX;
        if (ordinal >= count || operands->items[ordinal].size)
            return fail_info(reading, "a parameter is out of order", error);
        operands->items[ordinal].size = tr__elf_u32(a.data + 8) >> 18;
        if (operands->items[ordinal].size == 128) operands->items[ordinal].type = TR_TYPE_TENSOR_MAP;
        if (!operands->items[ordinal].size) return fail_info(reading, "a parameter of no size", error);
    }
    return TR_OK;
}

static bool read_extents(const attribute *a, uint64_t *product) {
    if (a->size != 12) return false;
    *product = (uint64_t)tr__elf_u32(a->data) * (tr__elf_u32(a->data + 4) & 0xffff) *
               (tr__elf_u32(a->data + 8) & 0xffff);
    return *product != 0;
}

static tr_status read_limits(tr__reading *reading, const tr__elf_section *info, tr_error **error) {
    attribute a;
    uint64_t product;
    tr_status status = TR_OK;
    for (size_t offset = 0; next_attribute(info, &offset, &a) && !status;) {
        if (a.number == ATTRIBUTE_REQNTID && read_extents(&a, &product))
            status = tr__reading_threads(reading, product > 100000 ? 100000 : (uint32_t)product, error);
        if (a.number == ATTRIBUTE_CLUSTER && read_extents(&a, &product)) {
            if (product > 16) return fail_info(reading, "clusters of more than 16 CTAs", error);
            reading->record->num_ctas = (uint32_t)product;
        }
    }
    return status;
}

/* Without a record only sizes are known, and those are not enough to call it; they stay unknown then. */
static tr_status read_info(tr__reading *reading, const tr__elf *elf, tr_error **error) {
    tr__elf_section info;
    tr__operands operands = {0};
    char name[4200]; /* no kernel's name has more than 4096 bytes: tr__reading_choose */
    size_t length = strlen(reading->record->kernel);
    memcpy(name, ".nv.info.", 9);
    memcpy(name + 9, reading->record->kernel, length + 1);
    if (!find_section(elf, name, &info)) return fail_info(reading, "there is no such section", error);
    tr_status status = read_operands(reading, &info, &operands, error);
    if (!status && reading->record->params_known)
        status = tr__reading_params(reading, &operands, true, false, error);
    if (!status) status = read_limits(reading, &info, error);
    tr__operands_release(&operands);
    return status;
}

static tr_status read(tr__reading *reading, tr_error **error) {
    tr__elf elf;
    tr__names names = {0};
    size_t index;
    tr_status status = tr__elf_open(reading->data, reading->size, reading->name, &elf, error);
    if (status) return status;
    if (elf.machine != MACHINE_CUDA)
        return tr__fail(error, TR_E_PARSE, "%s: an ELF image, but not for a GPU of NVIDIA (machine %u)",
                        reading->name, elf.machine);
    status = find_kernels(&elf, &names, error);
    if (!status)
        status =
            tr__reading_choose(reading, &names, "code with a parameter bank (.nv.constant0)", &index, error);
    tr__names_release(&names);
    if (!status) status = tr__reading_arch(reading, arch_of(&elf), error);
    if (!status) status = read_info(reading, &elf, error);
    if (!status) read_image_info(&elf, reading->record);
    return status;
}

const tr__stage tr__stage_cubin = {TR_STAGE_CUBIN, "cubin", ".cubin", recognise, read};
