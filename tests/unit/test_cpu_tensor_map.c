/* Tiles against a copy made element by element from the definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "driver/cuda_api.h"
#include "machine/numeric.h"
#include "machine/tensor_map.h"

enum { device_base = 0x10000, device_bytes = 1 << 20, shared_bytes = 1 << 17 };

static _Alignas(64) unsigned char map_bytes[TRCPU_TENSOR_MAP_BYTES];
static _Alignas(16) char device[device_bytes], device_copy[device_bytes], shared[shared_bytes];
static uint64_t lowest, highest;
static bool refuse;

static void *host(void *context, uint64_t address, uint64_t size, bool write) {
    (void)context;
    (void)write;
    if (refuse || address < device_base || address + size > device_base + device_bytes) return NULL;
    if (address < lowest) lowest = address;
    if (address + size > highest) highest = address + size;
    return device + (address - device_base);
}

static uint32_t random_below(uint32_t limit) {
    static uint64_t state = 0x2545f4914f6cdd1d;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % limit;
}

typedef struct shape {
    uint32_t type, element, rank;
    uint64_t size[5], stride[4];
    uint32_t box[5], step[5];
    uint32_t swizzle;
} shape;

static shape random_shape(void) {
    static const uint32_t element_of[][2] = {
        {CU_TENSOR_MAP_DATA_TYPE_UINT8, 1},    {CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2},
        {CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2}, {CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4},
        {CU_TENSOR_MAP_DATA_TYPE_INT32, 4},    {CU_TENSOR_MAP_DATA_TYPE_FLOAT64, 8}};
    const uint32_t *pick = element_of[random_below(6)];
    shape s = {.type = pick[0], .element = pick[1], .rank = 1 + random_below(5), .swizzle = random_below(4)};
    uint64_t pitch = 1;
    for (uint32_t i = 0; i < s.rank; i++) {
        s.size[i] = 1 + random_below(i == 0 ? 150 : 5);
        s.box[i] = 1 + random_below(i == 0 ? 1 : 6);
        s.step[i] = i == 0 ? 1 : 1 + random_below(3);
        if (i == 0) {
            uint32_t most = s.swizzle ? 1u << s.swizzle : 8;
            s.box[0] = 16 / s.element * (1 + random_below(most));
            pitch = (s.size[0] * s.element + 15) / 16 * 16 + 16 * random_below(2);
        } else {
            s.stride[i - 1] = pitch;
            pitch *= s.size[i];
        }
    }
    return s;
}

/* Which bits a chunk of 16 bytes changes, told by lines of 128 bytes. */
static uint32_t place(uint32_t address, uint32_t swizzle) {
    uint32_t line = address / 128, chunk = address % 128 / 16;
    if (swizzle == 3) chunk ^= line % 8;
    if (swizzle == 2) chunk ^= line % 4;
    if (swizzle == 1) chunk ^= line % 2;
    return line * 128 + chunk * 16 + address % 16;
}

static int encode(const shape *s, uint32_t fill) {
    return trcpu_tensor_map_encode(map_bytes, s->type, s->rank, device_base + 256, s->size, s->stride, s->box,
                                   s->step, 0, s->swizzle, 2, fill);
}

/* Calls `visit` with each element of the tile: where in shared memory, where on the device, or -1. */
static uint32_t for_each_element(const shape *s, const int32_t *at, bool rows4, uint32_t start,
                                 void (*visit)(uint32_t in_shared, int64_t on_device, uint32_t bytes)) {
    uint32_t count[5] = {1, 1, 1, 1, 1}, linear = 0;
    for (uint32_t i = 0; i < s->rank; i++) count[i] = (s->box[i] + s->step[i] - 1) / s->step[i];
    if (rows4) count[1] = 4;
    uint32_t n[5];
    for (n[4] = 0; n[4] < count[4]; n[4]++)
        for (n[3] = 0; n[3] < count[3]; n[3]++)
            for (n[2] = 0; n[2] < count[2]; n[2]++)
                for (n[1] = 0; n[1] < count[1]; n[1]++)
                    for (n[0] = 0; n[0] < count[0]; n[0]++, linear += s->element) {
                        int64_t offset = 256;
                        bool inside = true;
                        for (uint32_t i = 0; i < s->rank; i++) {
                            int64_t c = rows4 && i == 1 ? at[1 + n[1]] : at[i] + (int64_t)n[i] * s->step[i];
                            inside = inside && c >= 0 && c < (int64_t)s->size[i];
                            offset += c * (int64_t)(i ? s->stride[i - 1] : s->element);
                        }
                        visit(place(start + linear, s->swizzle), inside ? offset : -1, s->element);
                    }
    return linear;
}

static bool nan_wanted;

static void check_loaded(uint32_t in_shared, int64_t on_device, uint32_t bytes) {
    const char *got = shared + in_shared;
    if (on_device >= 0) {
        assert_memory_equal(got, device + on_device, bytes);
        return;
    }
    uint64_t bits = 0;
    memcpy(&bits, got, bytes);
    if (!nan_wanted)
        assert_int_equal(bits, 0);
    else
        assert_int_equal(bits, bytes == 8 ? 0x7fffffffffffffff : bytes == 4 ? 0x7fffffff : 0x7fff);
}

static void apply_store(uint32_t in_shared, int64_t on_device, uint32_t bytes) {
    if (on_device >= 0) memcpy(device_copy + on_device, shared + in_shared, bytes);
}

static void fill_random(char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) bytes[i] = (char)random_below(256);
}

static void tiles_move(void **state) {
    (void)state;
    fill_random(device, device_bytes);
    for (int round = 0; round < 1500; round++) {
        shape s = random_shape();
        bool rows4 = round % 5 == 0;
        if (rows4) {
            s.rank = 2;
            s.box[1] = 1;
            s.step[1] = 1;
            s.size[1] = 1 + random_below(9);
            s.stride[0] = (s.size[0] * s.element + 31) / 16 * 16;
        }
        bool floating = s.type >= CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
        nan_wanted = floating && round % 2;
        assert_int_equal(encode(&s, nan_wanted), CUDA_SUCCESS);
        trcpu_tensor_map map;
        assert_null(trcpu_tensor_map_decode(map_bytes, &map));
        trcpu_tile tile = {
            .map = &map, .rows4 = rows4, .shared = shared, .address = 1024 * random_below(8), .host = host};
        for (uint32_t i = 0; i < 5; i++)
            tile.coordinate[i] = (int32_t)random_below(i == 0 ? 200 : 12) - (i ? 3 : 20);
        uint32_t bytes = trcpu_tile_bytes(&map, rows4);
        fill_random(device, 1 << 14);
        fill_random(shared, shared_bytes / 16);
        assert_true(trcpu_tile_load(&tile));
        assert_int_equal(for_each_element(&s, tile.coordinate, rows4, tile.address, check_loaded), bytes);

        fill_random(shared, shared_bytes / 16);
        memcpy(device_copy, device, device_bytes);
        assert_true(trcpu_tile_store(&tile, TRCPU_REDUCE_NONE));
        for_each_element(&s, tile.coordinate, rows4, tile.address, apply_store);
        assert_memory_equal(device, device_copy, device_bytes);
    }
}

static void a_failing_address_stops_the_copy(void **state) {
    (void)state;
    shape s = {CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, 2, {64, 8}, {128}, {64, 8}, {1, 1}, 3};
    assert_int_equal(encode(&s, 0), CUDA_SUCCESS);
    trcpu_tensor_map map;
    trcpu_tensor_map_decode(map_bytes, &map);
    trcpu_tile tile = {.map = &map, .shared = shared, .host = host};
    refuse = true;
    assert_false(trcpu_tile_load(&tile));
    assert_false(trcpu_tile_store(&tile, TRCPU_REDUCE_ADD));
    refuse = false;
    tile.coordinate[1] = 8; /* all outside: nothing is touched, nothing can fail */
    lowest = UINT64_MAX;
    assert_true(trcpu_tile_load(&tile));
    assert_true(lowest == UINT64_MAX);
}

static void elements_change_on_the_way(void **state) {
    (void)state;
    shape s = {CU_TENSOR_MAP_DATA_TYPE_TFLOAT32, 4, 1, {16}, {0}, {16}, {1}, 0};
    float in[16] = {1.0f, 1.00048828125f, 1.000732421875f, INFINITY, 0x1p-140f, -0x1p-140f};
    memcpy(device + 256, in, sizeof in);
    trcpu_tensor_map map;
    trcpu_tile tile = {.map = &map, .shared = shared, .host = host};
    assert_int_equal(encode(&s, 0), CUDA_SUCCESS);
    trcpu_tensor_map_decode(map_bytes, &map);
    assert_true(trcpu_tile_load(&tile));
    float out[16];
    memcpy(out, shared, sizeof out);
    assert_true(out[0] == 1 && out[1] == 1.0f && out[2] == 1.0009765625f && isinf(out[3]));
    s.type = CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ;
    assert_int_equal(encode(&s, 0), CUDA_SUCCESS);
    trcpu_tensor_map_decode(map_bytes, &map);
    assert_true(trcpu_tile_load(&tile));
    memcpy(out, shared, sizeof out);
    assert_true(out[2] == in[2] && trcpu_bits(out[4]) == 0 && trcpu_bits(out[5]) == 0x80000000);
}

static void kernels_make_maps(void **state) {
    (void)state;
    shape s = {CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, 3, {100, 20, 7}, {208, 4160}, {32, 4, 2}, {1, 1, 2}, 2};
    assert_int_equal(encode(&s, 1), CUDA_SUCCESS);
    unsigned char made[TRCPU_TENSOR_MAP_BYTES] = {0};
    trcpu_tensor_map_replace(made, TRCPU_TENSOR_ADDRESS, 0, device_base + 256);
    trcpu_tensor_map_replace(made, TRCPU_TENSOR_RANK_FIELD, 0, 2);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(trcpu_tensor_map_replace(made, TRCPU_TENSOR_BOX, i, s.box[i]));
        assert_true(trcpu_tensor_map_replace(made, TRCPU_TENSOR_SIZE, i, s.size[i]));
        assert_true(trcpu_tensor_map_replace(made, TRCPU_TENSOR_ELEMENT_STRIDE, i, s.step[i]));
        if (i) assert_true(trcpu_tensor_map_replace(made, TRCPU_TENSOR_STRIDE, i - 1, s.stride[i - 1]));
    }
    trcpu_tensor_map_replace(made, TRCPU_TENSOR_ELEMENT, 0, 10);
    trcpu_tensor_map_replace(made, TRCPU_TENSOR_INTERLEAVE, 0, 0);
    trcpu_tensor_map_replace(made, TRCPU_TENSOR_SWIZZLE, 0, 2);
    trcpu_tensor_map_replace(made, TRCPU_TENSOR_FILL, 0, 1);
    assert_memory_equal(made, map_bytes, sizeof made);
    assert_false(trcpu_tensor_map_replace(made, TRCPU_TENSOR_BOX, 5, 1));
    assert_false(trcpu_tensor_map_replace(made, TRCPU_TENSOR_STRIDE, 4, 16));
    trcpu_tensor_map map;
    memset(made, 0, sizeof made);
    assert_non_null(trcpu_tensor_map_decode(made, &map));
}

static void wrong_maps_are_refused(void **state) {
    (void)state;
    const shape right = {CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, 2, {64, 8}, {128}, {64, 8}, {1, 1}, 3};
    assert_int_equal(encode(&right, 0), CUDA_SUCCESS);
#define REFUSED(change)                                                                                      \
    do {                                                                                                     \
        shape s = right;                                                                                     \
        change;                                                                                              \
        assert_int_equal(encode(&s, 0), CUDA_ERROR_INVALID_VALUE);                                           \
    } while (0)
    REFUSED(s.rank = 0);
    REFUSED(s.rank = 6);
    REFUSED(s.type = 13);
    REFUSED(s.stride[0] = 120);
    REFUSED(s.stride[0] = (uint64_t)1 << 40);
    REFUSED(s.box[0] = 72);
    REFUSED(s.box[0] = 4);
    REFUSED(s.box[1] = 257);
    REFUSED(s.box[1] = 0);
    REFUSED(s.step[1] = 0);
    REFUSED(s.step[1] = 9);
    REFUSED(s.size[1] = 0);
    REFUSED(s.size[1] = ((uint64_t)1 << 32) + 1);
    REFUSED(s.swizzle = 4);
    REFUSED(s.swizzle = 2);
    assert_int_equal(trcpu_tensor_map_encode(map_bytes, 6, 2, device_base + 8, right.size, right.stride,
                                             right.box, right.step, 0, 3, 2, 0),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(trcpu_tensor_map_encode(map_bytes, 3, 2, device_base, right.size, right.stride,
                                             right.box, right.step, 0, 0, 2, 1),
                     CUDA_ERROR_INVALID_VALUE); /* NaN for integers */
}

static void reductions(void **state) {
    (void)state;
    uint32_t to[] = {5, 0, 0xffffffff, 7}, from[] = {3, 9, 2, 7};
    assert_true(trcpu_reduce(to, from, 4, TRCPU_ELEMENT_U32, TRCPU_REDUCE_INC));
    assert_true(to[0] == 0 && to[1] == 1 && to[2] == 0 && to[3] == 0);
    int32_t low[] = {-5, 4}, other[] = {3, -9};
    assert_true(trcpu_reduce(low, other, 2, TRCPU_ELEMENT_S32, TRCPU_REDUCE_MIN));
    assert_true(low[0] == -5 && low[1] == -9);
    uint64_t wide[] = {1}, more[] = {0xffffffffffffffff};
    assert_true(trcpu_reduce(wide, more, 1, TRCPU_ELEMENT_U64, TRCPU_REDUCE_MAX));
    assert_true(wide[0] == more[0]);
    float sum[] = {1.5f}, addend[] = {2.25f};
    assert_true(trcpu_reduce(sum, addend, 1, TRCPU_ELEMENT_F32, TRCPU_REDUCE_ADD));
    assert_true(sum[0] == 3.75f);
    uint16_t half[] = {0x3c00, 0x7e00, 0x8000}, add[] = {0x4000, 0x3c00, 0x0000}; /* 1 + 2; NaN, 1; -0, 0 */
    assert_true(trcpu_reduce(half, add, 1, TRCPU_ELEMENT_F16, TRCPU_REDUCE_ADD));
    assert_true(half[0] == 0x4200);
    assert_true(trcpu_reduce(half + 1, add + 1, 2, TRCPU_ELEMENT_F16, TRCPU_REDUCE_MIN));
    assert_true(half[1] == 0x3c00 && half[2] == 0x8000);
    assert_false(trcpu_reduce(sum, addend, 1, TRCPU_ELEMENT_F32, TRCPU_REDUCE_MIN));
    assert_false(trcpu_reduction_exists(TRCPU_ELEMENT_U8, TRCPU_REDUCE_ADD));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_move),        cmocka_unit_test(a_failing_address_stops_the_copy),
        cmocka_unit_test(kernels_make_maps), cmocka_unit_test(elements_change_on_the_way),
        cmocka_unit_test(reductions),        cmocka_unit_test(wrong_maps_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
