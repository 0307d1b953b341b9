#include "launch/pack.h"

#include "launch/tensor_map.h"

#include <ffi.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* libffi describes C's layout, which is the kernel's own. */
static ffi_type *ffi_type_of(tr_type type, ffi_type *map) {
    switch (type) {
    case TR_TYPE_I1:
    case TR_TYPE_I8:
    case TR_TYPE_U8: return &ffi_type_uint8;
    case TR_TYPE_I16:
    case TR_TYPE_U16:
    case TR_TYPE_F16:
    case TR_TYPE_BF16: return &ffi_type_uint16;
    case TR_TYPE_I32:
    case TR_TYPE_U32: return &ffi_type_uint32;
    case TR_TYPE_F32: return &ffi_type_float;
    case TR_TYPE_F64: return &ffi_type_double;
    case TR_TYPE_I64:
    case TR_TYPE_U64: return &ffi_type_uint64;
    case TR_TYPE_PTR: return &ffi_type_pointer;
    case TR_TYPE_TENSOR_MAP: return map;
    default: return NULL;
    }
}

/* While a pack is made. */
typedef struct making {
    tr__pack *pack;
    ffi_type **types; /* as the kernel counts its parameters; NULL at the end */
    tr__slot *slots;
    tr__place *places;
    tr__piece *pieces;
    tr__element *elements;
    tr__promise *promises;
    uint32_t piece_count;
} making;

static void free_making(making *making) {
    free(making->pack);
    free(making->types);
    free(making->slots);
    free(making->places);
    free(making->pieces);
    free(making->elements);
    free(making->promises);
}

static bool allocate(making *making, size_t params) {
    size_t elements = params * TR__EXPANSION_MAX + TR__HIDDEN_MAX;
    making->pack = calloc(1, sizeof *making->pack);
    making->types = calloc(elements + TR__LEAD_SM90 / 8 + 1, sizeof *making->types);
    making->slots = calloc(params + 1, sizeof *making->slots);
    making->places = calloc(params + 1, sizeof *making->places);
    making->pieces = calloc(elements, sizeof *making->pieces);
    making->elements = calloc(elements, sizeof *making->elements);
    making->promises = calloc(params + 1, sizeof *making->promises);
    return making->pack && making->types && making->slots && making->places && making->pieces &&
           making->elements && making->promises;
}

/* Offsets and sizes of all elements, the caller's and the hidden ones, which follow `lead` words of nothing. */
static tr_status lay_out(making *making, uint32_t lead, uint32_t count, const char *kernel,
                         tr_error **error) {
    tr__pack *pack = making->pack;
    pack->element_count = count;
    if (!count) return TR_OK;
    size_t *offsets = calloc(lead + count, sizeof *offsets);
    if (!offsets) return tr__fail_out_of_memory(error);
    ffi_type structure = {.type = FFI_TYPE_STRUCT, .elements = making->types};
    ffi_status laid = ffi_get_struct_offsets(FFI_DEFAULT_ABI, &structure, offsets);
    size_t end = 0;
    for (uint32_t i = 0; i < count && laid == FFI_OK && end <= TR__PACKED_MAX; i++) {
        const ffi_type *type = making->types[lead + i];
        size_t offset = offsets[lead + i] - 8 * lead;
        making->elements[i] = (tr__element){(uint32_t)offset, (uint32_t)type->size, type->alignment};
        end = offset + type->size;
    }
    free(offsets);
    if (laid != FFI_OK)
        return tr__fail(error, TR_E_UNSUPPORTED, "libffi cannot lay out the parameters of '%s'", kernel);
    if (end > TR__PACKED_MAX)
        return tr__fail(error, TR_E_RESOURCE,
                        "the parameters of '%s' take more than the %d bytes that a kernel can have", kernel,
                        TR__PACKED_MAX);
    pack->size = end;
    return TR_OK;
}

static void add_piece(making *making, tr__place *place, size_t from, const tr__element *to) {
    tr__piece *last = making->piece_count ? &making->pieces[making->piece_count - 1] : NULL;
    if (place->piece_count && last->from + last->size == from && last->to + last->size == (int)to->offset) {
        last->size = (uint16_t)(last->size + to->size);
        return;
    }
    making->pieces[making->piece_count++] =
        (tr__piece){(uint16_t)from, (uint16_t)to->offset, (uint16_t)to->size};
    place->piece_count++;
}

/* The descriptor's elements come in a fixed order: map or pointer, then shape and strides, or shape, strides,
   flags, shape and strides. Shapes and strides alternate; i32 is always a shape. */
static void cut_descriptor(making *making, tr__place *place, const tr__param *param, const tr_type *types,
                           uint32_t count, const tr__element *elements) {
    uint32_t rank = param->descriptor.rank, seen = 0, flag = 0;
    place->first_piece = making->piece_count;
    for (uint32_t i = 0; i < count; i++) {
        size_t from = offsetof(tr__tensor_map, encoded);
        if (types[i] == TR_TYPE_PTR) from = offsetof(tr__tensor_map, ptr);
        if (types[i] == TR_TYPE_I1) from = offsetof(tr__tensor_map, flags) + flag++;
        if (types[i] == TR_TYPE_I32 || types[i] == TR_TYPE_I64) {
            bool stride = seen / rank % 2;
            from = (stride ? offsetof(tr__tensor_map, strides) : offsetof(tr__tensor_map, shape)) +
                   8 * (seen % rank);
            seen++;
        }
        add_piece(making, place, from, &elements[i]);
    }
}

static tr_status describe(making *making, const tr__record *record, uint32_t lead, ffi_type *map,
                          tr_error **error) {
    tr_type types[TR__EXPANSION_MAX];
    uint32_t count = 0;
    for (; count < lead; count++) making->types[count] = &ffi_type_uint64;
    for (size_t i = 0; i < record->param_count; i++) {
        uint32_t expanded = tr__param_expand(&record->params[i], types);
        for (uint32_t k = 0; k < expanded; k++) {
            making->types[count] = ffi_type_of(types[k], map);
            if (!making->types[count++])
                return tr__fail(error, TR_E_SIGNATURE,
                                "parameter %zu of '%s' has type %s, which no argument can have", i,
                                record->kernel, tr__type_name(types[k]));
        }
    }
    for (uint32_t i = 0; i < record->hidden_count; i++) making->types[count++] = &ffi_type_pointer;
    return lay_out(making, lead, count - lead, record->kernel, error);
}

static void place_all(making *making, const tr__record *record) {
    tr__pack *pack = making->pack;
    tr_type types[TR__EXPANSION_MAX];
    uint32_t element = 0;
    for (size_t i = 0; i < record->param_count; i++) {
        const tr__param *param = &record->params[i];
        tr__place *place = &making->places[i];
        uint32_t expanded = tr__param_expand(param, types);
        making->slots[i].store = tr__store_for(param);
        making->slots[i].mask = param->divisibility > 1 ? param->divisibility - 1 : 0;
        if (!expanded) continue;
        const tr__element *first = &making->elements[element], *last = first + expanded - 1;
        place->offset = making->slots[i].offset = first->offset;
        place->size = last->offset + last->size - first->offset;
        place->alignment = first->alignment;
        if (param->divisibility > 1) {
            uint32_t own = place->size < 4 ? (1u << 8 * place->size) - 1 : UINT32_MAX;
            making->promises[pack->promise_count++] =
                (tr__promise){place->offset, (param->divisibility - 1) & own, (uint32_t)i};
        }
        if (param->type == TR_TYPE_TENSOR_MAP) {
            cut_descriptor(making, place, param, types, expanded, first);
            place->made_for = tr__descriptor_print(param);
            pack->has_maps = true;
        }
        element += expanded;
    }
    tr__slot *tail = &making->slots[record->param_count];
    tail->store = tr__store_tail_for(record->hidden_count);
    pack->hidden_count = record->hidden_count;
    for (uint32_t i = 0; i < record->hidden_count; i++)
        pack->hidden_offset[i] = making->elements[element + i].offset;
    tail->offset = pack->hidden_offset[0];
}

tr_status tr__pack_create(const tr__record *record, tr__layout layout, tr__pack **out, tr_error **error) {
    ffi_type *words[17];
    for (int i = 0; i < 16; i++) words[i] = &ffi_type_uint64;
    words[16] = NULL;
    ffi_type map = {.size = 128,
                    .alignment = (unsigned short)layout.map_alignment,
                    .type = FFI_TYPE_STRUCT,
                    .elements = words};
    making making = {0};
    *out = NULL;
    tr_status status = allocate(&making, record->param_count)
                           ? describe(&making, record, layout.lead / 8, &map, error)
                           : tr__fail_out_of_memory(error);
    if (status) {
        free_making(&making);
        return status;
    }
    place_all(&making, record);
    tr__pack *pack = making.pack;
    pack->count = record->param_count;
    pack->record = record;
    pack->slots = making.slots;
    pack->places = making.places;
    pack->pieces = making.pieces;
    pack->elements = making.elements;
    pack->promises = making.promises;
    free(making.types);
    *out = pack;
    return TR_OK;
}

void tr__pack_destroy(tr__pack *pack) {
    if (!pack) return;
    free((void *)pack->slots);
    free((void *)pack->places);
    free((void *)pack->pieces);
    free((void *)pack->elements);
    free((void *)pack->promises);
    free(pack);
}

/* How many parameters the driver says the function has; one more than `most` for any number above it. */
static tr_status count_parameters(tr__driver *driver, CUfunction function, uint32_t most, uint32_t *out,
                                  tr_error **error) {
    size_t offset, size;
    CUresult result = CUDA_SUCCESS;
    for (*out = 0; *out <= most; ++*out) {
        result = driver->cuFuncGetParamInfo(function, *out, &offset, &size);
        if (result) break;
    }
    return result && result != CUDA_ERROR_INVALID_VALUE
               ? tr__driver_fail(driver, result, "cuFuncGetParamInfo", error)
               : TR_OK;
}

tr_status tr__pack_compare(const tr__pack *pack, tr__driver *driver, CUfunction function, tr_error **error) {
    const char *kernel = pack->record->kernel;
    uint32_t count;
    if (!driver->cuFuncGetParamInfo) return TR_OK;
    tr_status status =
        count_parameters(driver, function, pack->element_count + TR__HIDDEN_MAX, &count, error);
    if (status) return status;
    if (count != pack->element_count)
        return tr__fail(
            error, TR_E_SIGNATURE,
            "kernel '%s' has %s%u parameters, hidden ones included, but its record describes %u; the "
            "record belongs to another build of the kernel",
            kernel, count > pack->element_count + TR__HIDDEN_MAX ? "at least " : "", count,
            pack->element_count);
    for (uint32_t i = 0; i < count; i++) {
        size_t offset, size;
        CUresult result = driver->cuFuncGetParamInfo(function, i, &offset, &size);
        if (result) return tr__driver_fail(driver, result, "cuFuncGetParamInfo", error);
        if (offset != pack->elements[i].offset || size != pack->elements[i].size)
            return tr__fail(
                error, TR_E_SIGNATURE,
                "parameter %u of kernel '%s' lies at offset %u with %u bytes by its record, but at offset "
                "%zu with %zu bytes by the driver; the record belongs to another build of the kernel",
                i, kernel, pack->elements[i].offset, pack->elements[i].size, offset, size);
    }
    return TR_OK;
}

static tr_status refuse_promise(const tr__pack *pack, const char *buffer, size_t index, tr_error **error) {
    tr_arg argument = {.type = pack->record->params[index].type};
    const tr__place *place = &pack->places[index];
    memcpy(&argument.value, buffer + place->offset, place->size);
    if (argument.type == TR_TYPE_I32) argument.value.i = (int32_t)argument.value.u;
    return tr__pack_refuse(pack, index, &argument, error);
}

tr_status tr__pack_verify(const tr__pack *pack, const char *buffer, tr_error **error) {
    const tr__promise *promise = pack->promises, *end = promise + pack->promise_count;
    for (; promise < end; promise++) {
        uint32_t bits;
        memcpy(&bits, buffer + promise->offset, sizeof bits);
        if (bits & promise->mask) return refuse_promise(pack, buffer, promise->index, error);
    }
    return TR_OK;
}
