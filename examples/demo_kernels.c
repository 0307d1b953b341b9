#include "demo_kernels.h"
#include "larger.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* A launch's arrays: device copies, brought back for the comparison, freed in any case. */
enum { ARRAYS = 8 };
typedef struct arrays {
    tr_runner *runner;
    uint64_t device[ARRAYS];
    size_t count;
    tr_status status;
    tr_error **error;
} arrays;

static tr_arg array_in(arrays *arrays, const void *data, size_t bytes) {
    uint64_t *device = &arrays->device[arrays->count++];
    if (!arrays->status) arrays->status = tr_device_alloc(arrays->runner, bytes, device, arrays->error);
    if (!arrays->status)
        arrays->status = tr_device_write(arrays->runner, *device, data, bytes, arrays->error);
    return tr_arg_ptr(*device);
}

static void array_out(arrays *arrays, tr_arg array, void *data, size_t bytes) {
    if (!arrays->status)
        arrays->status = tr_device_read(arrays->runner, data, array.value.ptr, bytes, arrays->error);
}

static void launch(arrays *arrays, const tr_kernel *kernel, uint32_t x, uint32_t y, const tr_arg *args,
                   size_t count) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = x;
    config.grid[1] = y;
    if (!arrays->status) arrays->status = tr_launch(kernel, &config, args, count, arrays->error);
    if (!arrays->status) arrays->status = tr_device_synchronize(arrays->runner, arrays->error);
}

static tr_status finish(arrays *arrays) {
    for (size_t i = 0; i < arrays->count; i++)
        if (arrays->device[i]) tr_device_free(arrays->runner, arrays->device[i], NULL);
    return arrays->status;
}

static void compare(double *largest, double got, double wanted) {
    *largest = larger(*largest, fabs(got - wanted) / fmax(1, fabs(wanted)));
}

/* Repeatable values in [-1, 1). */
static float noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state * 0x1p-31f;
}

static void fill(float *values, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) values[i] = noise(&seed);
}

/* binary16 from a float in [-1, 1], to nearest even; and back. */
static uint16_t to_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude < 0x38800000) /* subnormal as a half: units of 2^-24 */
        return (uint16_t)(sign | (uint32_t)lrintf(fabsf(value) * 0x1p24f));
    return (uint16_t)(sign | ((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13));
}

static float from_half(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float value = exponent == 31 ? (fraction ? NAN : INFINITY)
                  : exponent     ? ldexpf((float)(fraction + 1024), exponent - 25)
                                 : ldexpf((float)fraction, -24);
    return half & 0x8000 ? -value : value;
}

static void fill_half(uint16_t *values, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) values[i] = to_half(noise(&seed));
}

static tr_status vector_add(tr_runner *runner, const tr_kernel *kernel, double *largest, tr_error **error) {
    enum { N = 100003, BLOCK = 1024 };
    static float x[N], y[N], out[N];
    fill(x, N, 1);
    fill(y, N, 2);
    memset(out, 0, sizeof out);
    arrays arrays = {.runner = runner, .error = error};
    const tr_arg args[] = {array_in(&arrays, x, sizeof x), array_in(&arrays, y, sizeof y),
                           array_in(&arrays, out, sizeof out), tr_arg_i32(N)};
    launch(&arrays, kernel, (N + BLOCK - 1) / BLOCK, 1, args, 4);
    array_out(&arrays, args[2], out, sizeof out);
    *largest = 0;
    for (int i = 0; i < N; i++) compare(largest, out[i], (double)x[i] + y[i]);
    return finish(&arrays);
}

static tr_status softmax(tr_runner *runner, const tr_kernel *kernel, double *largest, tr_error **error) {
    enum { ROWS = 61, COLUMNS = 781 };
    static float x[ROWS * COLUMNS], out[ROWS * COLUMNS];
    fill(x, ROWS * COLUMNS, 3);
    for (int i = 0; i < ROWS * COLUMNS; i++) x[i] *= 8;
    memset(out, 0, sizeof out);
    arrays arrays = {.runner = runner, .error = error};
    const tr_arg args[] = {array_in(&arrays, x, sizeof x), array_in(&arrays, out, sizeof out),
                           tr_arg_i32(COLUMNS), tr_arg_i32(COLUMNS), tr_arg_i32(COLUMNS)};
    launch(&arrays, kernel, ROWS, 1, args, 5);
    array_out(&arrays, args[1], out, sizeof out);
    *largest = 0;
    for (int row = 0; row < ROWS; row++) {
        const float *from = x + row * COLUMNS;
        double sum = 0;
        for (int i = 0; i < COLUMNS; i++) sum += exp(from[i]);
        for (int i = 0; i < COLUMNS; i++) compare(largest, out[row * COLUMNS + i], exp(from[i]) / sum);
    }
    return finish(&arrays);
}

static tr_status layer_norm(tr_runner *runner, const tr_kernel *kernel, double *largest, tr_error **error) {
    enum { ROWS = 37, COLUMNS = 1155 };
    static uint16_t x[ROWS * COLUMNS], out[ROWS * COLUMNS];
    static float weight[COLUMNS], bias[COLUMNS], mean[ROWS], rstd[ROWS];
    fill_half(x, ROWS * COLUMNS, 4);
    fill(weight, COLUMNS, 5);
    fill(bias, COLUMNS, 6);
    memset(out, 0, sizeof out);
    arrays arrays = {.runner = runner, .error = error};
    const tr_arg args[] = {array_in(&arrays, x, sizeof x),
                           array_in(&arrays, weight, sizeof weight),
                           array_in(&arrays, bias, sizeof bias),
                           array_in(&arrays, out, sizeof out),
                           array_in(&arrays, mean, sizeof mean),
                           array_in(&arrays, rstd, sizeof rstd),
                           tr_arg_i32(COLUMNS),
                           tr_arg_i32(COLUMNS),
                           tr_arg_f32(1e-5f)};
    launch(&arrays, kernel, ROWS, 1, args, 9);
    array_out(&arrays, args[3], out, sizeof out);
    array_out(&arrays, args[4], mean, sizeof mean);
    array_out(&arrays, args[5], rstd, sizeof rstd);
    *largest = 0;
    for (int row = 0; row < ROWS; row++) {
        const uint16_t *from = x + row * COLUMNS;
        double sum = 0, squares = 0;
        for (int i = 0; i < COLUMNS; i++) sum += from_half(from[i]);
        double centre = sum / COLUMNS;
        for (int i = 0; i < COLUMNS; i++) squares += pow(from_half(from[i]) - centre, 2);
        double scale = 1 / sqrt(squares / COLUMNS + (double)1e-5f);
        compare(largest, mean[row], centre);
        compare(largest, rstd[row], scale);
        for (int i = 0; i < COLUMNS; i++)
            compare(largest, from_half(out[row * COLUMNS + i]),
                    (from_half(from[i]) - centre) * scale * weight[i] + bias[i]);
    }
    return finish(&arrays);
}

/* c of both matrix products; products of halves are exact in double precision. */
static void compare_product(double *largest, const uint16_t *a, const uint16_t *b, const uint16_t *c, int m,
                            int n, int k) {
    *largest = 0;
    for (int row = 0; row < m; row++) {
        for (int column = 0; column < n; column++) {
            double sum = 0;
            for (int i = 0; i < k; i++)
                sum += (double)from_half(a[row * k + i]) * from_half(b[i * n + column]);
            compare(largest, from_half(c[row * n + column]), sum);
        }
    }
}

/* The plain product takes the strides too, and its grid has one dimension. */
static tr_status multiply(tr_runner *runner, const tr_kernel *kernel, bool tma, double *largest,
                          tr_error **error) {
    enum {
        M = 150,
        N = 208,
        K = 112,
        BLOCK = 64,
        ROWS = (M + BLOCK - 1) / BLOCK,
        COLUMNS = (N + BLOCK - 1) / BLOCK
    };
    static uint16_t a[M * K], b[K * N], c[M * N];
    fill_half(a, M * K, 7);
    fill_half(b, K * N, 8);
    memset(c, 0, sizeof c);
    arrays arrays = {.runner = runner, .error = error};
    const tr_arg args[] = {array_in(&arrays, a, sizeof a),
                           array_in(&arrays, b, sizeof b),
                           array_in(&arrays, c, sizeof c),
                           tr_arg_i32(M),
                           tr_arg_i32(N),
                           tr_arg_i32(K),
                           tr_arg_i32(K),
                           tr_arg_i32(N),
                           tr_arg_i32(N)};
    launch(&arrays, kernel, tma ? ROWS : ROWS * COLUMNS, tma ? COLUMNS : 1, args, tma ? 6 : 9);
    array_out(&arrays, args[2], c, sizeof c);
    compare_product(largest, a, b, c, M, N, K);
    return finish(&arrays);
}

static tr_status matmul(tr_runner *runner, const tr_kernel *kernel, double *largest, tr_error **error) {
    return multiply(runner, kernel, false, largest, error);
}

static tr_status matmul_tma(tr_runner *runner, const tr_kernel *kernel, double *largest, tr_error **error) {
    return multiply(runner, kernel, true, largest, error);
}

/* Tolerances: one rounding of the result (2^-24 for float, 2^-11 for half), and for float sums a few of
 * theirs. */
const demo_kernel demo_kernels[] = {
    {"vector_add", "*fp32:16, *fp32:16, *fp32:16, i32, 1024", 6e-8, vector_add},
    {"softmax", "*fp32:16, *fp32:16, i32, i32, i32, 1024", 1e-6, softmax},
    {"layer_norm", "*fp16:16, *fp32:16, *fp32:16, *fp16:16, *fp32:16, *fp32:16, i32, i32, fp32, 512", 5e-4,
     layer_norm},
    {"matmul", "*fp16:16, *fp16:16, *fp16:16, i32, i32, i32, i32:16, i32:16, i32:16, 64, 64, 32, 8", 5e-4,
     matmul},
    {"matmul_tma", "*fp16:16, *fp16:16, *fp16:16, i32, i32:16, i32:16, 64, 64, 64", 5e-4, matmul_tma},
    {0},
};
