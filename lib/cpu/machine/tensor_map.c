#include "machine/tensor_map.h"

#include <string.h>

#include "driver/cuda_api.h"
#include "machine/numeric.h"

uint32_t trcpu_element_bytes(trcpu_element element) {
    static const uint8_t bytes[TRCPU_ELEMENT_COUNT] = {1, 2, 4, 4, 8, 8, 2, 4, 4, 8, 2, 4, 4};
    return element < TRCPU_ELEMENT_COUNT ? bytes[element] : 0;
}

static bool is_float(trcpu_element element) {
    return element >= TRCPU_ELEMENT_F16 && element < TRCPU_ELEMENT_COUNT;
}

/* ---- encoding ---- */
static const uint8_t element_of_data_type[TRCPU_ELEMENT_COUNT] = {
    [CU_TENSOR_MAP_DATA_TYPE_UINT8] = TRCPU_ELEMENT_U8,
    [CU_TENSOR_MAP_DATA_TYPE_UINT16] = TRCPU_ELEMENT_U16,
    [CU_TENSOR_MAP_DATA_TYPE_UINT32] = TRCPU_ELEMENT_U32,
    [CU_TENSOR_MAP_DATA_TYPE_INT32] = TRCPU_ELEMENT_S32,
    [CU_TENSOR_MAP_DATA_TYPE_UINT64] = TRCPU_ELEMENT_U64,
    [CU_TENSOR_MAP_DATA_TYPE_INT64] = TRCPU_ELEMENT_S64,
    [CU_TENSOR_MAP_DATA_TYPE_FLOAT16] = TRCPU_ELEMENT_F16,
    [CU_TENSOR_MAP_DATA_TYPE_FLOAT32] = TRCPU_ELEMENT_F32,
    [CU_TENSOR_MAP_DATA_TYPE_FLOAT64] = TRCPU_ELEMENT_F64,
    [CU_TENSOR_MAP_DATA_TYPE_BFLOAT16] = TRCPU_ELEMENT_BF16,
    [CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ] = TRCPU_ELEMENT_F32_FTZ,
    [CU_TENSOR_MAP_DATA_TYPE_TFLOAT32] = TRCPU_ELEMENT_TF32,
    [CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ] = TRCPU_ELEMENT_TF32_FTZ,
};

/* What the hardware asks of a map, however it was made: NULL, or what is wrong. */
static const char *problem_of(const trcpu_tensor_map *map) {
    uint32_t bytes = trcpu_element_bytes((trcpu_element)map->element);
    if (bytes == 0) return "unknown or packed element type";
    if (map->rank_minus_one >= TRCPU_TENSOR_RANK) return "rank above 5";
    if (map->interleave != CU_TENSOR_MAP_INTERLEAVE_NONE) return "interleaved layout";
    if (map->swizzle > TRCPU_SWIZZLE_128B) return "unknown swizzle mode";
    if (map->address % 16) return "global address not a multiple of 16";
    if (map->nan_fill > 1 || (map->nan_fill && !is_float((trcpu_element)map->element)))
        return "unknown fill mode";
    for (uint32_t i = 0; i <= map->rank_minus_one; i++) {
        if (map->box[i] == 0 || map->box[i] > 256) return "box dimension not within 1 to 256";
        if (map->element_stride[i] == 0 || map->element_stride[i] > 8)
            return "element stride not within 1 to 8";
        if (i > 0 && (map->stride[i - 1] % 16 || map->stride[i - 1] >> 40))
            return "global stride not a multiple of 16 below 2^40";
    }
    if (map->box[0] * bytes % 16) return "innermost box dimension not a multiple of 16 bytes";
    if (map->swizzle != TRCPU_SWIZZLE_NONE && map->box[0] * bytes > 16u << map->swizzle)
        return "innermost box dimension longer than the swizzle";
    return NULL;
}

int trcpu_tensor_map_encode(void *map, uint32_t element, uint32_t rank, uint64_t address,
                            const uint64_t *size, const uint64_t *stride, const uint32_t *box,
                            const uint32_t *element_stride, uint32_t interleave, uint32_t swizzle,
                            uint32_t l2_promotion, uint32_t oob_fill) {
    if (!map || !size || !box || !element_stride || rank == 0 || rank > TRCPU_TENSOR_RANK ||
        (rank > 1 && !stride))
        return CUDA_ERROR_INVALID_VALUE;
    if (element >= TRCPU_ELEMENT_COUNT || interleave > CU_TENSOR_MAP_INTERLEAVE_32B || oob_fill > 1 ||
        swizzle > TRCPU_SWIZZLE_128B || l2_promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B ||
        (uintptr_t)map % 64 || address == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE)
        return rank < 3 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_SUPPORTED;
    trcpu_tensor_map made = {.address = address,
                             .rank_minus_one = (uint8_t)(rank - 1),
                             .element = element_of_data_type[element],
                             .swizzle = (uint8_t)swizzle,
                             .nan_fill = (uint8_t)oob_fill};
    for (uint32_t i = 0; i < rank; i++) {
        if (size[i] == 0 || size[i] > (uint64_t)1 << 32 || box[i] > 256 || element_stride[i] > 8)
            return CUDA_ERROR_INVALID_VALUE;
        made.size[i] = (uint32_t)size[i];
        made.box[i] = (uint16_t)box[i];
        made.element_stride[i] = (uint8_t)element_stride[i];
        if (i > 0) made.stride[i - 1] = stride[i - 1];
    }
    if (problem_of(&made)) return CUDA_ERROR_INVALID_VALUE;
    memset(map, 0, TRCPU_TENSOR_MAP_BYTES);
    memcpy(map, &made, sizeof made);
    return CUDA_SUCCESS;
}

int trcpu_tensor_map_replace_address(void *map, uint64_t address) {
    if (!map || address == 0 || address % 16) return CUDA_ERROR_INVALID_VALUE;
    trcpu_tensor_map_replace(map, TRCPU_TENSOR_ADDRESS, 0, address);
    return CUDA_SUCCESS;
}

const char *trcpu_tensor_map_decode(const void *bytes, trcpu_tensor_map *out) {
    memcpy(out, bytes, sizeof *out);
    return problem_of(out);
}

bool trcpu_tensor_map_replace(void *bytes, trcpu_tensor_field field, uint32_t index, uint64_t value) {
    trcpu_tensor_map map;
    if (index >= (field == TRCPU_TENSOR_STRIDE ? TRCPU_TENSOR_RANK - 1u : TRCPU_TENSOR_RANK)) return false;
    memcpy(&map, bytes, sizeof map);
    switch (field) {
    case TRCPU_TENSOR_ADDRESS: map.address = value; break;
    case TRCPU_TENSOR_RANK_FIELD: map.rank_minus_one = (uint8_t)value; break;
    case TRCPU_TENSOR_BOX: map.box[index] = (uint16_t)value; break;
    case TRCPU_TENSOR_SIZE: map.size[index] = (uint32_t)value; break;
    case TRCPU_TENSOR_STRIDE: map.stride[index] = value; break;
    case TRCPU_TENSOR_ELEMENT_STRIDE: map.element_stride[index] = (uint8_t)value; break;
    case TRCPU_TENSOR_ELEMENT: map.element = (uint8_t)value; break;
    case TRCPU_TENSOR_INTERLEAVE: map.interleave = (uint8_t)value; break;
    case TRCPU_TENSOR_SWIZZLE: map.swizzle = (uint8_t)value; break;
    case TRCPU_TENSOR_FILL: map.nan_fill = (uint8_t)value; break;
    default: return false;
    }
    memcpy(bytes, &map, sizeof map);
    return true;
}

/* ---- tiles ---- */
static uint32_t steps(const trcpu_tensor_map *map, uint32_t dimension, bool rows4) {
    if (dimension > map->rank_minus_one) return 1;
    if (dimension == 0) return map->box[0]; /* it has no stride */
    if (rows4) return 4;
    return (map->box[dimension] + map->element_stride[dimension] - 1u) / map->element_stride[dimension];
}

uint32_t trcpu_tile_bytes(const trcpu_tensor_map *map, bool rows4) {
    uint32_t bytes = trcpu_element_bytes((trcpu_element)map->element);
    for (uint32_t i = 0; i < TRCPU_TENSOR_RANK; i++) bytes *= steps(map, i, rows4);
    return bytes;
}

/* One row of a tile: the innermost dimension. Bytes before `first` and from `last` on lie outside of the
 * tensor. */
typedef struct row {
    char *host; /* of byte 0; only [first, last) may be touched */
    uint32_t first, last;
} row;

static bool find_row(const trcpu_tile *tile, const uint32_t index[TRCPU_TENSOR_RANK], bool write, row *out) {
    const trcpu_tensor_map *map = tile->map;
    const int64_t bytes = trcpu_element_bytes((trcpu_element)map->element);
    int64_t offset = 0;
    *out = (row){0};
    for (uint32_t i = 1; i <= map->rank_minus_one; i++) {
        int64_t at = tile->rows4 ? tile->coordinate[1 + index[1]]
                                 : tile->coordinate[i] + (int64_t)index[i] * map->element_stride[i];
        int64_t size = map->size[i] ? map->size[i] : (int64_t)1 << 32;
        if (at < 0 || at >= size) return true;
        offset += at * (int64_t)map->stride[i - 1];
    }
    int64_t column = tile->coordinate[0], size = map->size[0] ? map->size[0] : (int64_t)1 << 32;
    int64_t first = column < 0 ? -column : 0, last = size - column;
    if (last > map->box[0]) last = map->box[0];
    if (first >= last) return true;
    out->first = (uint32_t)(first * bytes);
    out->last = (uint32_t)(last * bytes);
    uint64_t address = map->address + (uint64_t)(offset + (column + first) * bytes);
    char *host = tile->host(tile->context, address, out->last - out->first, write);
    if (!host) return false;
    out->host = host - out->first;
    return true;
}

/* The element types that change on their way in. */
static void convert(char *bytes, uint32_t count, trcpu_element element) {
    bool flush = element == TRCPU_ELEMENT_F32_FTZ || element == TRCPU_ELEMENT_TF32_FTZ;
    bool round = element == TRCPU_ELEMENT_TF32 || element == TRCPU_ELEMENT_TF32_FTZ;
    if (!flush && !round) return;
    for (uint32_t i = 0; i < count; i += 4) {
        float value;
        memcpy(&value, bytes + i, 4);
        uint32_t bits = trcpu_bits(value);
        if (flush && !(bits & 0x7f800000)) bits &= 0x80000000;
        bool special = (bits & 0x7f800000) == 0x7f800000; /* infinity and NaN pass as they are */
        if (round && !special) bits = trcpu_tf32_of_float(trcpu_float(bits), TRCPU_ROUND_NEAREST, 0);
        memcpy(bytes + i, &bits, 4);
    }
}

static void fill(char *bytes, uint32_t count, const trcpu_tensor_map *map) {
    memset(bytes, map->nan_fill ? 0xff : 0, count);
    if (!map->nan_fill) return;
    uint32_t element = trcpu_element_bytes((trcpu_element)map->element);
    for (uint32_t i = element - 1; i < count; i += element)
        bytes[i] = 0x7f; /* a positive NaN, little-endian */
}

enum { row_room = 256 * 8 };

static void load_row(const trcpu_tile *tile, const row *from, uint32_t to, uint32_t bytes) {
    char buffer[row_room];
    const trcpu_tensor_map *map = tile->map;
    if (from->first > 0 || from->last < bytes) fill(buffer, bytes, map);
    if (from->last > from->first)
        memcpy(buffer + from->first, from->host + from->first, from->last - from->first);
    convert(buffer + from->first, from->last - from->first, (trcpu_element)map->element);
    if (map->swizzle == TRCPU_SWIZZLE_NONE) {
        memcpy(tile->shared + to, buffer, bytes);
        return;
    }
    for (uint32_t i = 0; i < bytes; i += 16)
        memcpy(tile->shared + trcpu_swizzled(to + i, (trcpu_swizzle)map->swizzle), buffer + i, 16);
}

static void store_row(const trcpu_tile *tile, const row *to, uint32_t from, uint32_t bytes,
                      trcpu_reduction reduction) {
    char buffer[row_room];
    const trcpu_tensor_map *map = tile->map;
    uint32_t count = to->last - to->first;
    if (count == 0) return;
    for (uint32_t i = 0; i < bytes; i += 16)
        memcpy(buffer + i, tile->shared + trcpu_swizzled(from + i, (trcpu_swizzle)map->swizzle), 16);
    if (reduction == TRCPU_REDUCE_NONE)
        memcpy(to->host + to->first, buffer + to->first, count);
    else
        trcpu_reduce(to->host + to->first, buffer + to->first,
                     count / trcpu_element_bytes((trcpu_element)map->element), (trcpu_element)map->element,
                     reduction);
}

static bool walk(const trcpu_tile *tile, bool store, trcpu_reduction reduction) {
    const trcpu_tensor_map *map = tile->map;
    uint32_t count[TRCPU_TENSOR_RANK], index[TRCPU_TENSOR_RANK] = {0}, rows = 1, address = tile->address;
    for (uint32_t i = 0; i < TRCPU_TENSOR_RANK; i++) count[i] = steps(map, i, tile->rows4);
    for (uint32_t i = 1; i < TRCPU_TENSOR_RANK; i++) rows *= count[i];
    const uint32_t bytes = count[0] * trcpu_element_bytes((trcpu_element)map->element);
    for (uint32_t n = 0; n < rows; n++, address += bytes) {
        row found;
        if (!find_row(tile, index, store, &found)) return false;
        if (store)
            store_row(tile, &found, address, bytes, reduction);
        else
            load_row(tile, &found, address, bytes);
        for (uint32_t i = 1; i < TRCPU_TENSOR_RANK && ++index[i] == count[i]; i++) index[i] = 0;
    }
    return true;
}

bool trcpu_tile_load(const trcpu_tile *tile) {
    return walk(tile, false, TRCPU_REDUCE_NONE);
}

bool trcpu_tile_store(const trcpu_tile *tile, trcpu_reduction reduction) {
    return walk(tile, true, reduction);
}
