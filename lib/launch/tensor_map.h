/* What lies in the caller's tr_tensor_map. */
#ifndef TR_LAUNCH_TENSOR_MAP_H
#define TR_LAUNCH_TENSOR_MAP_H

#include "metadata/record.h"

typedef struct tr__tensor_map {
    uint64_t encoded[16]; /* a CUtensorMap, where the kernel takes one */
    uint64_t made_for;    /* tr__descriptor_print of the parameter it was encoded for; 0: never encoded */
    uint64_t ptr;
    int64_t shape[5], strides[5];
    uint8_t flags[8]; /* as the kernel's i1s: pad with NaN, round to tf32 */
} tr__tensor_map;
_Static_assert(sizeof(tr__tensor_map) <= sizeof(tr_tensor_map), "it must fit the public one");

/* Tells descriptors apart: equal for two parameters that one tensor map can serve. Never 0. */
uint64_t tr__descriptor_print(const tr__param *param);

#endif
