#include "parameters.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- device memory, launches ---- */

static bool fine(trial *trial, tr_status status, tr_error **error, const char *what) {
    if (status) complain(trial, "%s: %s: %s", what, tr_status_name(status), tr_error_message(*error));
    tr_error_destroy(*error);
    return !status;
}

static uint64_t upload(trial *trial, const void *data, size_t bytes) {
    tr_error *error;
    uint64_t ptr = 0;
    void *zeros = data ? NULL : calloc(1, bytes);
    fine(trial, tr_device_alloc(trial->runner, bytes, &ptr, &error), &error, "tr_device_alloc");
    fine(trial, tr_device_write(trial->runner, ptr, data ? data : zeros, bytes, &error), &error,
         "tr_device_write");
    free(zeros);
    return ptr;
}

static void download(trial *trial, void *to, uint64_t from, size_t bytes) {
    tr_error *error;
    fine(trial, tr_device_synchronize(trial->runner, &error), &error, "tr_device_synchronize");
    fine(trial, tr_device_read(trial->runner, to, from, bytes, &error), &error, "tr_device_read");
    fine(trial, tr_device_free(trial->runner, from, &error), &error, "tr_device_free");
}

static void launch(trial *trial, uint32_t x, uint32_t y, const tr_arg *args, size_t count) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_error *error;
    config.grid[0] = x, config.grid[1] = y;
    fine(trial, tr_launch(trial->kernel, &config, args, count, &error), &error, "tr_launch");
}

static void compare_integers(trial *trial, const int64_t *got, const int64_t *expected, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (got[i] != expected[i])
            complain(trial, "integer %zu arrived as %lld, not %lld", i, (long long)got[i],
                     (long long)expected[i]);
}

static void compare_floats(trial *trial, const double *got, const double *expected, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (memcmp(&got[i], &expected[i], sizeof *got))
            complain(trial, "float %zu arrived as %.17g, not %.17g", i, got[i], expected[i]);
}

static tr_arg integer(tr_type type, int64_t value) {
    return (tr_arg){type, 0, {.i = value}};
}

static tr_arg number(tr_type type, double value) {
    return (tr_arg){type, 0, {.f = value}};
}

/* ---- scalars, tuples ---- */

static void run_scalars(trial *trial) {
    static const int64_t expected[] = {1,
                                       -100,
                                       -30000,
                                       -2000000000,
                                       -5000000000000000000,
                                       200,
                                       60000,
                                       4000000000,
                                       (int64_t)0xfedcba9876543210,
                                       1,
                                       -48,
                                       0x7fff12345678,
                                       1234};
    /* What is no half and no bf16 is rounded to nearest even on the way. */
    static const double floats[] = {0.0999755859375, -3.140625, 0.1f, 0.1};
    enum { INTEGERS = sizeof expected / sizeof *expected, FLOATS = sizeof floats / sizeof *floats };
    int64_t got[INTEGERS];
    double got_floats[FLOATS];
    uint64_t out = upload(trial, NULL, sizeof got), out_floats = upload(trial, NULL, sizeof got_floats);
    const tr_arg args[] = {
        tr_arg_ptr(out),
        tr_arg_ptr(out_floats),
        integer(TR_TYPE_I1, 1),
        integer(TR_TYPE_I8, -100),
        integer(TR_TYPE_I16, -30000),
        tr_arg_i32(-2000000000),
        tr_arg_i64(-5000000000000000000),
        integer(TR_TYPE_U8, 200),
        integer(TR_TYPE_U16, 60000),
        integer(TR_TYPE_U32, 4000000000),
        integer(TR_TYPE_U64, (int64_t)0xfedcba9876543210),
        number(TR_TYPE_F16, 0.1),
        number(TR_TYPE_BF16, -3.14159265),
        tr_arg_f32(0.1f),
        number(TR_TYPE_F64, 0.1),
        tr_arg_i32(1),
        tr_arg_i32(-48),
        tr_arg_ptr(0x7fff12345678),
    };
    launch(trial, 1, 1, args, sizeof args / sizeof *args);
    download(trial, got, out, sizeof got);
    download(trial, got_floats, out_floats, sizeof got_floats);
    compare_integers(trial, got, expected, INTEGERS);
    compare_floats(trial, got_floats, floats, FLOATS);
}

static void run_tuples(trial *trial) {
    static const int64_t expected[] = {-7, 250, -12345, 1LL << 40, 7};
    static const double floats[] = {2.5, -0.0078125};
    static const int16_t pointed[] = {1, 2, 3, -12345};
    int64_t got[5];
    double got_floats[2];
    uint64_t out = upload(trial, NULL, sizeof got), out_floats = upload(trial, NULL, sizeof got_floats),
             in = upload(trial, pointed, sizeof pointed);
    const tr_arg args[] = {tr_arg_ptr(out),       tr_arg_ptr(out_floats),         tr_arg_i32(-7),
                           tr_arg_f32(2.5f),      integer(TR_TYPE_U8, 250),       tr_arg_ptr(in),
                           tr_arg_i64(1LL << 40), number(TR_TYPE_F16, -0.0078125)};
    launch(trial, 1, 1, args, sizeof args / sizeof *args);
    download(trial, got, out, sizeof got);
    download(trial, got_floats, out_floats, sizeof got_floats);
    tr_device_free(trial->runner, in, NULL);
    compare_integers(trial, got, expected, 5);
    compare_floats(trial, got_floats, floats, 2);
}

/* ---- descriptors: a matrix with a pitch, a block that begins before it or ends behind it ---- */

/* A block may begin in any row, but only at a column that is a multiple of 16 bytes, else a GPU calls the instruction
   illegal. */
enum { ROWS = 37, COLUMNS = 75, PITCH = 144 };

typedef struct matrix {
    tr_type element;
    uint32_t size; /* of an element */
    uint64_t ptr;
    tr_tensor_map map;
} matrix;

/* Small whole numbers, exact in every type; the pitch's rest must never be read. */
static double value_at(int64_t row, int64_t column) {
    return (double)((row * 31 + column * 7) % 101 - 50);
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void put(tr_type element, void *to, double value) {
    uint32_t bits = bits_of((float)value);
    uint16_t brain = (uint16_t)(bits >> 16), half = 0;
    int8_t byte = (int8_t)value;
    if (value != 0) /* a half's exponent is narrower, and these values fit */
        half = (uint16_t)((bits >> 16 & 0x8000) | (((bits >> 23 & 0xff) - 112) << 10) | (bits >> 13 & 0x3ff));
    switch (element) {
    case TR_TYPE_F16: memcpy(to, &half, 2); break;
    case TR_TYPE_BF16: memcpy(to, &brain, 2); break;
    case TR_TYPE_I8: memcpy(to, &byte, 1); break;
    default: memcpy(to, &bits, 4);
    }
}

static void make_matrix(trial *trial, size_t param, tr_type element, uint32_t rank, uint32_t flags,
                        double (*value)(int64_t row, int64_t column), matrix *out) {
    tr_error *error;
    tr_tensor tensor = TR_TENSOR_INIT;
    out->element = element;
    out->size = element == TR_TYPE_F32 ? 4 : element == TR_TYPE_I8 ? 1 : 2;
    char *data = malloc((size_t)ROWS * PITCH * out->size);
    for (int64_t row = 0; row < ROWS; row++)
        for (int64_t column = 0; column < PITCH; column++)
            put(element, data + (row * PITCH + column) * out->size,
                column < COLUMNS ? value(row, column) : 99);
    out->ptr = upload(trial, data, (size_t)ROWS * PITCH * out->size);
    free(data);
    tensor.ptr = out->ptr;
    tensor.element = element;
    tensor.rank = rank;
    tensor.flags = flags;
    const int64_t shape[] = {ROWS, COLUMNS}, strides[] = {PITCH, 1};
    memcpy(tensor.shape, shape + 2 - rank, rank * sizeof *shape);
    memcpy(tensor.strides, strides + 2 - rank, rank * sizeof *strides);
    fine(trial, tr_tensor_map_encode(trial->kernel, param, &tensor, &out->map, &error), &error,
         "tr_tensor_map_encode");
}

static void release(trial *trial, matrix *matrices, size_t count) {
    for (size_t i = 0; i < count; i++) tr_device_free(trial->runner, matrices[i].ptr, NULL);
}

/* The block of `rows` x `columns` at (row, column); what lies outside reads as `fill`. */
static void compare_block(trial *trial, const float *got, int rows, int columns, int64_t row, int64_t column,
                          float fill, double (*value)(int64_t row, int64_t column)) {
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            int64_t y = row + r, x = column + c;
            bool inside = y >= 0 && y < ROWS && x >= 0 && x < COLUMNS;
            float expected = inside ? (float)value(y, x) : fill, is = got[r * columns + c];
            if (isnan(expected) ? isnan(is) : is == expected) continue;
            complain(trial, "a block's element (%d, %d) arrived as %g, not %g", r, c, (double)is,
                     (double)expected);
            return;
        }
    }
}

static const int64_t geometry[] = {ROWS, COLUMNS, PITCH, 1};

static void run_two(trial *trial, uint32_t flags) {
    static const int64_t corners[][2] = {{0, 0}, {-3, 32}, {30, -16}, {32, 64}};
    const float fill = flags & TR_TENSOR_PAD_NAN ? NAN : 0;
    enum { A = 16 * 64, B = 8 * 8 };
    static float got[A + B];
    matrix m[2];
    make_matrix(trial, 2, TR_TYPE_F16, 2, flags, value_at, &m[0]);
    make_matrix(trial, 4, TR_TYPE_F32, 2, flags, value_at, &m[1]);
    for (size_t i = 0; i < sizeof corners / sizeof *corners && !trial->failed; i++) {
        int64_t row = corners[i][0], column = corners[i][1], integers[9];
        uint64_t out = upload(trial, NULL, sizeof integers), values = upload(trial, NULL, sizeof got);
        const tr_arg args[] = {tr_arg_ptr(out),
                               tr_arg_ptr(values),
                               tr_arg_map(&m[0].map),
                               integer(TR_TYPE_U8, 201),
                               tr_arg_map(&m[1].map),
                               tr_arg_i32((int32_t)row),
                               tr_arg_i32((int32_t)column)};
        launch(trial, 1, 1, args, sizeof args / sizeof *args);
        download(trial, integers, out, sizeof integers);
        download(trial, got, values, sizeof got);
        compare_integers(trial, integers, geometry, 4);
        compare_integers(trial, integers + 4, geometry, 4);
        compare_integers(trial, integers + 8, (const int64_t[]){201}, 1);
        compare_block(trial, got, 16, 64, row, column, fill, value_at);
        compare_block(trial, got + A, 8, 8, row, column, fill, value_at);
    }
    release(trial, m, 2);
}

static void run_two_descriptors(trial *trial) {
    run_two(trial, 0);
}

static void run_nan(trial *trial) {
    run_two(trial, TR_TENSOR_PAD_NAN);
}

/* Halfway between two tf32 numbers, a bit more, and a bit less; the CPU device and the GPU must agree. */
static double between_tf32(int64_t row, int64_t column) {
    return 1 + ldexp(1 + (double)(column % 3 - 1) / 16, -11);
}

static double rounded_to_tf32(int64_t row, int64_t column) {
    return column % 3 == 0 ? 1 : 1 + ldexp(1, -10);
}

static void run_tf32(trial *trial) {
    enum { A = 16 * 64, B = 8 * 8 };
    static float got[A + B];
    matrix m[2];
    int64_t integers[9];
    uint64_t out = upload(trial, NULL, sizeof integers), values = upload(trial, NULL, sizeof got);
    make_matrix(trial, 2, TR_TYPE_F16, 2, 0, value_at, &m[0]);
    make_matrix(trial, 4, TR_TYPE_F32, 2, TR_TENSOR_ROUND_TF32, between_tf32, &m[1]);
    const tr_arg args[] = {
        tr_arg_ptr(out),       tr_arg_ptr(values), tr_arg_map(&m[0].map), integer(TR_TYPE_U8, 201),
        tr_arg_map(&m[1].map), tr_arg_i32(0),      tr_arg_i32(0)};
    launch(trial, 1, 1, args, sizeof args / sizeof *args);
    download(trial, integers, out, sizeof integers);
    download(trial, got, values, sizeof got);
    compare_block(trial, got, 16, 64, 0, 0, 0, value_at);
    for (int i = 0; i < B; i++) /* a tie may go either way; what it may not is stay */
        if (got[A + i] != 1 && got[A + i] != 1 + ldexpf(1, -10))
            complain(trial, "element %d arrived as %.9g, which is no tf32", i, (double)got[A + i]);
    for (int i = 0; i < B; i++)
        if (i % 8 % 3 != 1 && (double)got[A + i] != rounded_to_tf32(0, i % 8))
            complain(trial, "element %d arrived as %.9g", i, (double)got[A + i]);
    release(trial, m, 2);
}

static void run_one(trial *trial, tr_type element, int rows, int columns) {
    static const int64_t corners[][2] = {{0, 0}, {-3, -16}, {30, 48}};
    static float got[32 * 128];
    matrix m;
    make_matrix(trial, 2, element, 2, 0, value_at, &m);
    for (size_t i = 0; i < sizeof corners / sizeof *corners && !trial->failed; i++) {
        int64_t integers[4];
        uint64_t out = upload(trial, NULL, sizeof integers), values = upload(trial, NULL, sizeof got);
        const tr_arg args[] = {tr_arg_ptr(out), tr_arg_ptr(values), tr_arg_map(&m.map),
                               tr_arg_i32((int32_t)corners[i][0]), tr_arg_i32((int32_t)corners[i][1])};
        launch(trial, 1, 1, args, sizeof args / sizeof *args);
        download(trial, integers, out, sizeof integers);
        download(trial, got, values, sizeof got);
        compare_integers(trial, integers, geometry, 4);
        compare_block(trial, got, rows, columns, corners[i][0], corners[i][1], 0, value_at);
    }
    release(trial, &m, 1);
}

static void run_wide(trial *trial) {
    run_one(trial, TR_TYPE_F16, 16, 128);
}
static void run_bf16(trial *trial) {
    run_one(trial, TR_TYPE_BF16, 32, 32);
}
static void run_i8(trial *trial) {
    run_one(trial, TR_TYPE_I8, 16, 16);
}
static void run_f32(trial *trial) {
    run_one(trial, TR_TYPE_F32, 8, 16);
}

static void run_line(trial *trial) {
    float got[32];
    matrix m;
    int64_t integers[2];
    uint64_t out = upload(trial, NULL, sizeof integers), values = upload(trial, NULL, sizeof got);
    make_matrix(trial, 2, TR_TYPE_F32, 1, 0, value_at, &m);
    const tr_arg args[] = {tr_arg_ptr(out), tr_arg_ptr(values), tr_arg_map(&m.map), tr_arg_i32(48)};
    launch(trial, 1, 1, args, sizeof args / sizeof *args);
    download(trial, integers, out, sizeof integers);
    download(trial, got, values, sizeof got);
    compare_integers(trial, integers, (const int64_t[]){COLUMNS, 1}, 2);
    compare_block(trial, got, 1, 32, 0, 48, 0, value_at);
    release(trial, &m, 1);
}

static void run_more(trial *trial) {
    enum { WIDE = 16 * 128, BRAIN = 32 * 32, BYTE = 16 * 16, LINE = 32, ALL = WIDE + BRAIN + BYTE + LINE };
    static float got[ALL];
    matrix m[4];
    int64_t integers[14];
    const int64_t row = 30, column = 48;
    uint64_t out = upload(trial, NULL, sizeof integers), values = upload(trial, NULL, sizeof got);
    make_matrix(trial, 2, TR_TYPE_F16, 2, 0, value_at, &m[0]);
    make_matrix(trial, 3, TR_TYPE_BF16, 2, 0, value_at, &m[1]);
    make_matrix(trial, 4, TR_TYPE_I8, 2, 0, value_at, &m[2]);
    make_matrix(trial, 5, TR_TYPE_F32, 1, 0, value_at, &m[3]);
    const tr_arg args[] = {tr_arg_ptr(out),          tr_arg_ptr(values),         tr_arg_map(&m[0].map),
                           tr_arg_map(&m[1].map),    tr_arg_map(&m[2].map),      tr_arg_map(&m[3].map),
                           tr_arg_i32((int32_t)row), tr_arg_i32((int32_t)column)};
    launch(trial, 1, 1, args, sizeof args / sizeof *args);
    download(trial, integers, out, sizeof integers);
    download(trial, got, values, sizeof got);
    for (int i = 0; i < 3; i++) compare_integers(trial, integers + 4 * i, geometry, 4);
    compare_integers(trial, integers + 12, (const int64_t[]){COLUMNS, 1}, 2);
    compare_block(trial, got, 16, 128, row, column, 0, value_at);
    compare_block(trial, got + WIDE, 32, 32, row, column, 0, value_at);
    compare_block(trial, got + WIDE + BRAIN, 16, 16, row, column, 0, value_at);
    compare_block(trial, got + WIDE + BRAIN + BYTE, 1, 32, 0, column, 0, value_at);
    release(trial, m, 4);
}

static void run_descriptor_in_tuple(trial *trial) {
    static float got[16 * 64 + 1];
    matrix m;
    int64_t integers[6];
    uint64_t out = upload(trial, NULL, sizeof integers), values = upload(trial, NULL, sizeof got);
    make_matrix(trial, 3, TR_TYPE_F16, 2, 0, value_at, &m);
    const tr_arg args[] = {tr_arg_ptr(out),    tr_arg_ptr(values), integer(TR_TYPE_I16, -321),
                           tr_arg_map(&m.map), tr_arg_f32(0.5f),   integer(TR_TYPE_U8, 199)};
    launch(trial, 1, 1, args, sizeof args / sizeof *args);
    download(trial, integers, out, sizeof integers);
    download(trial, got, values, sizeof got);
    compare_integers(trial, integers, geometry, 4);
    compare_integers(trial, integers + 4, (const int64_t[]){-321, 199}, 2);
    compare_block(trial, got, 16, 64, 3, 16, 0, value_at);
    if (got[16 * 64] != 0.5f) complain(trial, "the tuple's float arrived as %g", (double)got[16 * 64]);
    release(trial, &m, 1);
}

/* ---- scratch, clusters ---- */

static void run_scratch(trial *trial) {
    enum { HIGH = 160, LONG = 96 };
    static float data[HIGH * LONG], got[HIGH * LONG];
    const uint32_t grid[3] = {HIGH / 16, LONG / 32, 1};
    size_t bytes;
    tr_error *error;
    int64_t ctas = 1;
    for (int i = 0; i < HIGH * LONG; i++) data[i] = (float)i;
    uint64_t x = upload(trial, data, sizeof data), out = upload(trial, NULL, sizeof got);
    const tr_arg args[] = {tr_arg_ptr(x), tr_arg_ptr(out), tr_arg_i32(HIGH), tr_arg_i32(LONG)};
    fine(trial, tr_kernel_workspace(trial->kernel, grid, &bytes, NULL, &error), &error,
         "tr_kernel_workspace");
    fine(trial, tr_kernel_attribute(trial->kernel, TR_ATTRIBUTE_NUM_CTAS, &ctas, &error), &error, "num_ctas");
    /* Two descriptors of 128 bytes, or none where they aren't needed. */
    if (bytes != (trial->arch >= 90 ? 30 * 256 * (size_t)ctas : 0))
        complain(trial, "%zu bytes of scratch for 30 programs of %lld CTAs", bytes, (long long)ctas);
    launch(trial, grid[0], grid[1], args, 4);
    download(trial, got, out, sizeof got);
    tr_device_free(trial->runner, x, NULL);
    for (int i = 0; i < HIGH * LONG && !trial->failed; i++)
        if (got[i] != (float)i + 1) complain(trial, "element %d is %g", i, (double)got[i]);
}

static void run_cluster(trial *trial) {
    enum { ROW = 64, BLOCK_ROWS = 32, PROGRAMS = 5, ALL_ROWS = BLOCK_ROWS * PROGRAMS };
    static float data[ALL_ROWS * ROW], got[ALL_ROWS * ROW], totals[ALL_ROWS];
    for (int i = 0; i < ALL_ROWS * ROW; i++) data[i] = (float)(i % 17);
    uint64_t x = upload(trial, data, sizeof data), out = upload(trial, NULL, sizeof got),
             total = upload(trial, NULL, sizeof totals);
    const tr_arg args[] = {tr_arg_ptr(x), tr_arg_ptr(out), tr_arg_ptr(total)};
    launch(trial, PROGRAMS, 1, args, 3);
    download(trial, got, out, sizeof got);
    download(trial, totals, total, sizeof totals);
    tr_device_free(trial->runner, x, NULL);
    for (int row = 0; row < ALL_ROWS && !trial->failed; row++) {
        double sum = 0;
        for (int i = row * ROW; i < (row + 1) * ROW; i++) {
            sum += (double)data[i];
            if (got[i] != 2 * data[i]) complain(trial, "element %d is %g", i, (double)got[i]);
        }
        if ((double)totals[row] != sum)
            complain(trial, "the sum of row %d is %g, not %g", row, (double)totals[row], sum);
    }
}

#define SCALARS                                                                                              \
    "*i64:16, *fp64:16, i1, i8, i16, i32, i64, u8, u16, u32, u64, fp16, bf16, fp32, fp64, i32:1, i32:16, "   \
    "*i8, 1234"
#define TWO       "*i64:16, *fp32:16, tensordesc<fp16[16, 64]>, u8, tensordesc<fp32[8, 8]>, i32, i32"
#define ONE(type) "*i64:16, *fp32:16, tensordesc<" type ">, i32, i32"
#define MATRIX    "*fp32:16, *fp32:16, i32, i32"

const parameters_case parameters_cases[] = {
    {"scalars", "scalars", SCALARS, NULL, 302, 999, 0, run_scalars},
    {"tuples", "tuples", "*i64:16, *fp64:16, (i32, fp32), ((u8, *i16), i64, 7), fp16", NULL, 303, 999, 0,
     run_tuples},
    {"two_descriptors", "two_descriptors", TWO, NULL, 304, 999, 0, run_two_descriptors},
    {"nan_fill", "two_descriptors", TWO, NULL, 305, 999, 0, run_nan},
    {"tf32", "two_descriptors", TWO, NULL, 307, 999, 0, run_tf32},
    {"fp16_128", "one_descriptor", ONE("fp16[16, 128]") ", 16, 128", NULL, 304, 999, 0, run_wide},
    {"bf16_32", "one_descriptor", ONE("bf16[32, 32]") ", 32, 32", NULL, 304, 999, 0, run_bf16},
    {"i8_16", "one_descriptor", ONE("i8[16, 16]") ", 16, 16", NULL, 304, 999, 0, run_i8},
    {"fp32_16", "one_descriptor", ONE("fp32[8, 16]") ", 8, 16", NULL, 304, 999, 0, run_f32},
    {"line", "line_descriptor", "*i64:16, *fp32:16, tensordesc<fp32[32]>, i32", NULL, 304, 999, 0, run_line},
    {"more_descriptors", "more_descriptors",
     "*i64:16, *fp32:16, tensordesc<fp16[16, 128]>, tensordesc<bf16[32, 32]>, tensordesc<i8[16, 16]>, "
     "tensordesc<fp32[32]>, i32, i32",
     NULL, 304, 999, 0, run_more},
    {"descriptor_in_tuple", "descriptor_in_tuple",
     "*i64:16, *fp32:16, (i16, (tensordesc<fp16[16, 64]>, fp32)), u8", NULL, 309, 999, 0,
     run_descriptor_in_tuple},
    {"scratch", "scratch_3_3", MATRIX, NULL, 303, 303, 90, run_scratch},
    {"scratch", "scratch", MATRIX, NULL, 304, 999, 0, run_scratch},
    {"cluster_2", "cluster", "*fp32:16, *fp32:16, *fp32:16", "{\"num_ctas\": 2}", 302, 999, 90, run_cluster},
    {"cluster_4", "cluster", "*fp32:16, *fp32:16, *fp32:16", "{\"num_ctas\": 4}", 302, 999, 90, run_cluster},
    {NULL, NULL, NULL, NULL, 0, 0, 0, NULL},
};
