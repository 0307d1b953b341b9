/* Tensor maps: what cuTensorMapEncodeTiled and tensormap.replace write, and the tile copies that follow one.

   A map is 128 opaque bytes. Real drivers keep a layout of their own; this one is the CPU device's alone. All
   bytes zero is a valid start for tensormap.replace, which is how kernels make maps. Element types are
   numbered as PTX numbers them, which differs from cuda.h. */
#ifndef TRCPU_TENSOR_MAP_H
#define TRCPU_TENSOR_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRCPU_TENSOR_MAP_BYTES = 128, TRCPU_TENSOR_RANK = 5 };

typedef enum trcpu_element {
    TRCPU_ELEMENT_U8,
    TRCPU_ELEMENT_U16,
    TRCPU_ELEMENT_U32,
    TRCPU_ELEMENT_S32,
    TRCPU_ELEMENT_U64,
    TRCPU_ELEMENT_S64,
    TRCPU_ELEMENT_F16,
    TRCPU_ELEMENT_F32,
    TRCPU_ELEMENT_F32_FTZ,
    TRCPU_ELEMENT_F64,
    TRCPU_ELEMENT_BF16,
    TRCPU_ELEMENT_TF32,
    TRCPU_ELEMENT_TF32_FTZ,
    TRCPU_ELEMENT_COUNT
} trcpu_element;
uint32_t trcpu_element_bytes(trcpu_element element);

typedef enum trcpu_swizzle {
    TRCPU_SWIZZLE_NONE,
    TRCPU_SWIZZLE_32B,
    TRCPU_SWIZZLE_64B,
    TRCPU_SWIZZLE_128B,
} trcpu_swizzle;

/* 16-byte pieces change places within 32, 64 or 128 bytes, by the address bits above them. Its own inverse.
 */
static inline uint32_t trcpu_swizzled(uint32_t address, trcpu_swizzle swizzle) {
    static const uint32_t mask[] = {0, 0x10, 0x30, 0x70};
    return address ^ (address >> 3 & mask[swizzle]);
}

typedef struct trcpu_tensor_map {
    uint64_t address;
    uint64_t stride[TRCPU_TENSOR_RANK - 1]; /* bytes, from dimension 1 on */
    uint32_t size[TRCPU_TENSOR_RANK];       /* 0: 2^32 */
    uint16_t box[TRCPU_TENSOR_RANK];
    uint8_t element_stride[TRCPU_TENSOR_RANK];
    uint8_t rank_minus_one, element, interleave, swizzle, nan_fill;
} trcpu_tensor_map;
_Static_assert(sizeof(trcpu_tensor_map) <= TRCPU_TENSOR_MAP_BYTES, "a tensor map fits its 128 bytes");

/* The arguments and the checks of cuTensorMapEncodeTiled; a CUresult. */
int trcpu_tensor_map_encode(void *map, uint32_t element, uint32_t rank, uint64_t address,
                            const uint64_t *size, const uint64_t *stride, const uint32_t *box,
                            const uint32_t *element_stride, uint32_t interleave, uint32_t swizzle,
                            uint32_t l2_promotion, uint32_t oob_fill);
int trcpu_tensor_map_replace_address(void *map, uint64_t address);

/* Reads a map. NULL, or why no copy can follow it. */
const char *trcpu_tensor_map_decode(const void *bytes, trcpu_tensor_map *out);

/* tensormap.replace: `field` as PTX names it; `index` for those that have one per dimension. False: no such
   field or dimension. PTX before 8.6 gives strides in units of 16 bytes (an error that ptxas had and kernels
   allow for); the caller brings them in bytes. */
typedef enum trcpu_tensor_field {
    TRCPU_TENSOR_ADDRESS,
    TRCPU_TENSOR_RANK_FIELD,
    TRCPU_TENSOR_BOX,
    TRCPU_TENSOR_SIZE,
    TRCPU_TENSOR_STRIDE,
    TRCPU_TENSOR_ELEMENT_STRIDE,
    TRCPU_TENSOR_ELEMENT,
    TRCPU_TENSOR_INTERLEAVE,
    TRCPU_TENSOR_SWIZZLE,
    TRCPU_TENSOR_FILL,
} trcpu_tensor_field;
bool trcpu_tensor_map_replace(void *bytes, trcpu_tensor_field field, uint32_t index, uint64_t value);

/* ---- copies ---- */
typedef enum trcpu_reduction {
    TRCPU_REDUCE_NONE,
    TRCPU_REDUCE_ADD,
    TRCPU_REDUCE_MIN,
    TRCPU_REDUCE_MAX,
    TRCPU_REDUCE_INC,
    TRCPU_REDUCE_DEC,
    TRCPU_REDUCE_AND,
    TRCPU_REDUCE_OR,
    TRCPU_REDUCE_XOR,
} trcpu_reduction;

/* The host bytes behind a device address, or NULL after having reported why there are none. */
typedef void *trcpu_tensor_host(void *context, uint64_t address, uint64_t size, bool write);

/* A tile, at `address` of the shared memory that begins at `shared`. `coordinate` goes from the innermost
   dimension on; with `rows4` (tile::gather4, tile::scatter4) it is a column and four rows. False: host()
   failed. */
typedef struct trcpu_tile {
    const trcpu_tensor_map *map;
    int32_t coordinate[TRCPU_TENSOR_RANK];
    bool rows4;
    char *shared;
    uint32_t address;
    trcpu_tensor_host *host;
    void *context;
} trcpu_tile;

/* Bytes the tile takes in shared memory; all of them count for the mbarrier, filled ones too. */
uint32_t trcpu_tile_bytes(const trcpu_tensor_map *map, bool rows4);
bool trcpu_tile_load(const trcpu_tile *tile);
bool trcpu_tile_store(const trcpu_tile *tile, trcpu_reduction reduction);

/* to[i] = to[i] op from[i], each element atomically; false where PTX has no such operation. */
bool trcpu_reduce(void *to, const void *from, uint32_t count, trcpu_element element,
                  trcpu_reduction reduction);
bool trcpu_reduction_exists(trcpu_element element, trcpu_reduction reduction);

#endif
