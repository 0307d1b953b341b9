/* transformer_step [DEVICE [STEPS [KERNELS]]]: a transformer's layer whose batch and length are others in each step, once
   by tr_launch and once by a plan. The plan is made once; each step sets arguments and grids and submits all of it:

       norm ─┬─ query ─┐
             ├─ key ───┼─ attend ─ project ─ add ─┐
             ├─ value ─┘                          ├─ add ─ norm
             └─ up, gate ─ multiply ─ down ───────┘

   Both ways give the same bytes in every step; the first step is compared with double precision. */
#include "example.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { HEAD = 32, TILE = 64, BLOCK = 1024, CHUNK = 8, ARGS = 9, ENTRIES = 13 };
enum { NORM, MATMUL, MATMUL_TMA, ATTENTION, GATE, RESIDUAL, KERNELS_COUNT };
static const char *const names[KERNELS_COUNT] = {"layer_norm", "matmul", "matmul_tma",
                                                 "attention",  "gate",   "residual"};

typedef struct model {
    tr_runner *runner;
    tr_kernel *kernels[KERNELS_COUNT];
    uint32_t width, inner, most_batch, most_length; /* inner: of the MLP */
    size_t most;                                    /* rows: batch times length */
    uint64_t input, output, mean, rstd, scale, shift;
    uint64_t query_w, key_w, value_w, project_w, up_w, gate_w, down_w;
    uint64_t normed, query, key, value, attended, projected, up, gate, multiplied, down, added, summed;
    uint16_t *host_input, *host_w[7]; /* for the reference */
    float *host_scale, *host_shift;
} model;

typedef struct entry { /* one launch of a step */
    int kernel;
    uint32_t grid[3];
    tr_arg args[ARGS];
    size_t count;
} entry;

/* ---- halves ---- */

static float from_half(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float value = exponent ? ldexpf((float)(fraction + 1024), exponent - 25) : ldexpf((float)fraction, -24);
    return half & 0x8000 ? -value : value;
}

/* A repeatable half in (-1, 1), times a power of two. */
static uint16_t next_half(uint32_t *state, int power) {
    *state = *state * 1664525u + 1013904223u;
    uint32_t fraction = *state >> 22, exponent = (uint32_t)(14 - (*state >> 20 & 3) + power);
    return (uint16_t)((*state & 1 << 12 ? 0x8000 : 0) | exponent << 10 | fraction);
}

/* ---- the step ---- */

static uint32_t tiles(uint64_t size, uint32_t tile) {
    return (uint32_t)((size + tile - 1) / tile);
}

static entry normalize(const model *model, uint64_t x, uint64_t out, uint32_t rows) {
    return (entry){NORM,
                   {rows, 1, 1},
                   {tr_arg_ptr(x), tr_arg_ptr(model->scale), tr_arg_ptr(model->shift), tr_arg_ptr(out),
                    tr_arg_ptr(model->mean), tr_arg_ptr(model->rstd), tr_arg_i32((int32_t)model->width),
                    tr_arg_i32((int32_t)model->width), tr_arg_f32(1e-5f)},
                   9};
}

static entry multiply(uint64_t a, uint64_t b, uint64_t c, uint32_t rows, uint32_t n, uint32_t k) {
    return (entry){MATMUL,
                   {tiles(rows, TILE) * tiles(n, TILE), 1, 1},
                   {tr_arg_ptr(a), tr_arg_ptr(b), tr_arg_ptr(c), tr_arg_i32((int32_t)rows),
                    tr_arg_i32((int32_t)n), tr_arg_i32((int32_t)k), tr_arg_i32((int32_t)k),
                    tr_arg_i32((int32_t)n), tr_arg_i32((int32_t)n)},
                   9};
}

/* By descriptors that the kernel makes: on sm_90 it needs scratch memory. */
static entry multiply_tma(uint64_t a, uint64_t b, uint64_t c, uint32_t rows, uint32_t n, uint32_t k) {
    return (entry){MATMUL_TMA,
                   {tiles(rows, TILE), tiles(n, TILE), 1},
                   {tr_arg_ptr(a), tr_arg_ptr(b), tr_arg_ptr(c), tr_arg_i32((int32_t)rows),
                    tr_arg_i32((int32_t)n), tr_arg_i32((int32_t)k)},
                   6};
}

static entry elementwise(int kernel, uint64_t x, uint64_t y, uint64_t out, uint64_t n) {
    return (entry){kernel,
                   {tiles(n, BLOCK), 1, 1},
                   {tr_arg_ptr(x), tr_arg_ptr(y), tr_arg_ptr(out), tr_arg_i32((int32_t)n)},
                   4};
}

static entry attend(const model *model, uint32_t batch, uint32_t length) {
    return (entry){ATTENTION,
                   {tiles(length, TILE), model->width / HEAD, batch},
                   {tr_arg_ptr(model->query), tr_arg_ptr(model->key), tr_arg_ptr(model->value),
                    tr_arg_ptr(model->attended), tr_arg_f32(1 / sqrtf(HEAD)), tr_arg_i32((int32_t)length),
                    tr_arg_i32((int32_t)model->width)},
                   7};
}

/* What each entry comes after. */
static const struct {
    uint32_t count, after[3];
} order[ENTRIES] = {{0, {0}}, {1, {0}},    {1, {0}}, {1, {0}}, {3, {1, 2, 3}}, {1, {4}}, {1, {0}},
                    {1, {0}}, {2, {6, 7}}, {1, {8}}, {1, {5}}, {2, {9, 10}},   {1, {11}}};

static void describe(const model *m, uint64_t input, uint64_t output, uint32_t batch, uint32_t length,
                     entry step[ENTRIES]) {
    uint32_t rows = batch * length, width = m->width, inner = m->inner;
    step[0] = normalize(m, input, m->normed, rows);
    step[1] = multiply(m->normed, m->query_w, m->query, rows, width, width);
    step[2] = multiply(m->normed, m->key_w, m->key, rows, width, width);
    step[3] = multiply(m->normed, m->value_w, m->value, rows, width, width);
    step[4] = attend(m, batch, length);
    step[5] = multiply(m->attended, m->project_w, m->projected, rows, width, width);
    step[6] = multiply(m->normed, m->up_w, m->up, rows, inner, width);
    step[7] = multiply(m->normed, m->gate_w, m->gate, rows, inner, width);
    step[8] = elementwise(GATE, m->gate, m->up, m->multiplied, (uint64_t)rows * inner);
    step[9] = multiply_tma(m->multiplied, m->down_w, m->down, rows, width, inner);
    step[10] = elementwise(RESIDUAL, input, m->projected, m->added, (uint64_t)rows * width);
    step[11] = elementwise(RESIDUAL, m->added, m->down, m->summed, (uint64_t)rows * width);
    step[12] = normalize(m, m->summed, output, rows);
}

static void launch_step(const model *model, const entry step[ENTRIES]) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_error *error;
    for (int i = 0; i < ENTRIES; i++) {
        memcpy(config.grid, step[i].grid, sizeof config.grid);
        check(tr_launch(model->kernels[step[i].kernel], &config, step[i].args, step[i].count, &error),
              &error);
    }
}

static tr_plan *make_plan(const model *model, const entry step[ENTRIES]) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_plan *plan;
    tr_error *error;
    check(tr_plan_create(model->runner, &plan, &error), &error);
    for (int i = 0; i < ENTRIES; i++) {
        memcpy(config.grid, step[i].grid, sizeof config.grid);
        check(tr_plan_add(plan, model->kernels[step[i].kernel], &config, step[i].args, step[i].count,
                          order[i].after, order[i].count, NULL, &error),
              &error);
    }
    return plan;
}

static void submit_step(tr_plan *plan, const entry step[ENTRIES]) {
    tr_error *error;
    for (uint32_t i = 0; i < ENTRIES; i++)
        check(tr_plan_set(plan, i, step[i].grid, step[i].args, step[i].count, &error), &error);
    check(tr_plan_launch(plan, NULL, &error), &error);
}

/* ---- the model ---- */

static uint64_t room(const model *model, size_t halves) {
    uint64_t pointer;
    tr_error *error;
    check(tr_device_alloc(model->runner, 2 * halves, &pointer, &error), &error);
    return pointer;
}

static uint64_t fill(const model *model, size_t count, int power, uint32_t seed, uint16_t **host) {
    *host = malloc(2 * count);
    for (size_t i = 0; i < count; i++) (*host)[i] = next_half(&seed, power);
    return upload(model->runner, *host, 2 * count);
}

static void make_model(model *m, const char *device, const char *folder) {
    bool cpu = !strncmp(device, "cpu", 3);
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_error *error;
    options.device = device;
    check(tr_runner_create(&options, &m->runner, &error), &error);
    for (int i = 0; i < KERNELS_COUNT; i++) {
        char path[4096];
        tr_program *program;
        snprintf(path, sizeof path, "%s/stages/sm_%d/%s.ptx", folder, cpu ? 89 : 90, names[i]);
        check(tr_load_stage(m->runner, TR_STAGE_AUTO, path, NULL, &program, &error), &error);
        check(tr_kernel_create(program, &m->kernels[i], &error), &error);
        tr_program_destroy(program);
    }
    m->width = cpu ? 64 : 256, m->inner = cpu ? 96 : 768;
    m->most_batch = cpu ? 3 : 4, m->most_length = cpu ? 48 : 200;
    m->most = (size_t)m->most_batch * m->most_length;
    size_t square = (size_t)m->width * m->width, oblong = (size_t)m->width * m->inner;
    int power = cpu ? -2 : -3; /* weights get smaller as sums get longer */
    m->input = fill(m, (m->most + CHUNK) * m->width, 1, 1, &m->host_input);
    m->query_w = fill(m, square, power, 2, &m->host_w[0]),
    m->key_w = fill(m, square, power, 3, &m->host_w[1]);
    m->value_w = fill(m, square, power, 4, &m->host_w[2]),
    m->project_w = fill(m, square, power, 5, &m->host_w[3]);
    m->up_w = fill(m, oblong, power, 6, &m->host_w[4]), m->gate_w = fill(m, oblong, power, 7, &m->host_w[5]);
    m->down_w = fill(m, oblong, power, 8, &m->host_w[6]);
    m->host_scale = malloc(4 * m->width), m->host_shift = malloc(4 * m->width);
    for (uint32_t i = 0, seed = 9; i < m->width; i++) {
        m->host_scale[i] = 1 + from_half(next_half(&seed, -1));
        m->host_shift[i] = from_half(next_half(&seed, -1));
    }
    m->scale = upload(m->runner, m->host_scale, 4 * m->width),
    m->shift = upload(m->runner, m->host_shift, 4 * m->width);
    m->mean = room(m, 2 * m->most), m->rstd = room(m, 2 * m->most);
    uint64_t *const rows[] = {&m->normed,    &m->query, &m->key,   &m->value, &m->attended,
                              &m->projected, &m->down,  &m->added, &m->summed};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) *rows[i] = room(m, m->most * m->width);
    m->up = room(m, m->most * m->inner), m->gate = room(m, m->most * m->inner);
    m->multiplied = room(m, m->most * m->inner);
    m->output = room(m, CHUNK * m->most * m->width);
}

/* ---- in double precision, without rounding in between ---- */

static void reference_norm(const model *m, const double *x, double *out, size_t rows) {
    uint32_t width = m->width;
    for (size_t row = 0; row < rows; row++, x += width, out += width) {
        double sum = 0, squares = 0;
        for (uint32_t i = 0; i < width; i++) sum += x[i];
        for (uint32_t i = 0; i < width; i++) squares += (x[i] - sum / width) * (x[i] - sum / width);
        for (uint32_t i = 0; i < width; i++)
            out[i] = (x[i] - sum / width) / sqrt(squares / width + (double)1e-5f) * m->host_scale[i] +
                     m->host_shift[i];
    }
}

static double *reference_multiply(const double *a, const uint16_t *b, size_t rows, size_t n, size_t k) {
    double *c = calloc(rows * n, sizeof *c);
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < k; i++)
            for (size_t column = 0; column < n; column++)
                c[row * n + column] += a[row * k + i] * (double)from_half(b[i * n + column]);
    return c;
}

static void reference_attend(const model *m, const double *q, const double *k, const double *v, double *out,
                             uint32_t batch, uint32_t length) {
    double *weights = malloc(length * sizeof *weights);
    for (uint32_t one = 0; one < batch * (m->width / HEAD) * length; one++) {
        uint32_t at = one % length, head = one / length % (m->width / HEAD),
                 item = one / length / (m->width / HEAD);
        size_t base = (size_t)item * length * m->width + head * HEAD, here = base + (size_t)at * m->width;
        double total = 0;
        for (uint32_t other = 0; other <= at; other++) {
            double score = 0;
            for (int i = 0; i < HEAD; i++)
                score += q[here + (size_t)i] * k[base + other * m->width + (size_t)i];
            total += weights[other] = exp(score * (double)(1 / sqrtf(HEAD)));
        }
        for (int i = 0; i < HEAD; i++) {
            out[here + (size_t)i] = 0;
            for (uint32_t other = 0; other <= at; other++)
                out[here + (size_t)i] += weights[other] / total * v[base + other * m->width + (size_t)i];
        }
    }
    free(weights);
}

static double compare_with_reference(const model *m, const uint16_t *got, uint32_t batch, uint32_t length) {
    size_t rows = (size_t)batch * length, width = m->width, inner = m->inner;
    double *x = malloc(rows * width * 8), *h = malloc(rows * width * 8), *attended = malloc(rows * width * 8),
           largest = 0;
    for (size_t i = 0; i < rows * width; i++) x[i] = from_half(m->host_input[i]);
    reference_norm(m, x, h, rows);
    double *q = reference_multiply(h, m->host_w[0], rows, width, width);
    double *k = reference_multiply(h, m->host_w[1], rows, width, width);
    double *v = reference_multiply(h, m->host_w[2], rows, width, width);
    reference_attend(m, q, k, v, attended, batch, length);
    double *projected = reference_multiply(attended, m->host_w[3], rows, width, width);
    double *up = reference_multiply(h, m->host_w[4], rows, inner, width);
    double *gate = reference_multiply(h, m->host_w[5], rows, inner, width);
    for (size_t i = 0; i < rows * inner; i++) up[i] *= gate[i] / (1 + exp(-gate[i]));
    double *down = reference_multiply(up, m->host_w[6], rows, width, inner);
    for (size_t i = 0; i < rows * width; i++) x[i] += projected[i] + down[i];
    reference_norm(m, x, h, rows);
    for (size_t i = 0; i < rows * width; i++)
        largest = larger(largest, fabs(from_half(got[i]) - h[i]) / fmax(1, fabs(h[i])));
    double *const all[] = {x, h, attended, q, k, v, projected, up, gate, down};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    return largest;
}

/* ---- both ways ---- */

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec * 1e-3;
}

/* A step's batch and length, and where in the input it begins. */
static void choose(const model *m, int step, entry entries[ENTRIES]) {
    uint32_t state = (uint32_t)step * 2654435761u, batch = 1 + (state >> 8) % m->most_batch;
    uint32_t length = step ? 1 + (state >> 16) % m->most_length : m->most_length;
    uint64_t bytes = 2 * m->most * m->width * (uint64_t)(step % CHUNK),
             first = 2 * m->width * (uint64_t)(step % CHUNK);
    describe(m, m->input + first, m->output + bytes, step ? batch : m->most_batch, length, entries);
}

int main(int argc, char **argv) {
    const char *device = argc > 1 ? argv[1] : "cpu";
    int steps = argc > 2 ? atoi(argv[2]) : 100, different = 0;
    static model m;
    static entry entries[CHUNK][ENTRIES];
    make_model(&m, device, argc > 3 ? argv[3] : KERNELS);
    size_t bytes = 2 * CHUNK * m.most * m.width;
    uint16_t *launched = malloc(bytes), *planned = malloc(bytes);
    tr_plan *plan = NULL;
    double times[2] = {0}, largest = NAN;
    tr_error *error;
    for (int first = 0; first < steps; first += CHUNK) {
        int count = steps - first < CHUNK ? steps - first : CHUNK;
        for (int i = 0; i < count; i++) choose(&m, first + i, entries[i]);
        if (!plan) plan = make_plan(&m, entries[0]);
        memset(launched, 0, bytes);
        check(tr_device_write(m.runner, m.output, launched, bytes, &error), &error);
        double begin = now();
        for (int i = 0; i < count; i++) launch_step(&m, entries[i]);
        times[0] += now() - begin;
        download(m.runner, launched, m.output, bytes);
        memset(planned, 0, bytes);
        check(tr_device_write(m.runner, m.output, planned, bytes, &error), &error);
        begin = now();
        for (int i = 0; i < count; i++) submit_step(plan, entries[i]); /* the one before may still run */
        times[1] += now() - begin;
        download(m.runner, planned, m.output, bytes);
        for (int i = 0; i < count; i++)
            different += memcmp((char *)launched + bytes / CHUNK * (size_t)i,
                                (char *)planned + bytes / CHUNK * (size_t)i, bytes / CHUNK) != 0;
        if (!first) largest = compare_with_reference(&m, planned, m.most_batch, m.most_length);
    }
    printf("%d steps of %d launches, %d of them different; submitting one took %.1f us by tr_launch, %.1f us "
           "by the plan\n",
           steps, ENTRIES, different, times[0] / steps, times[1] / steps);
    tr_plan_destroy(plan);
    for (int i = 0; i < KERNELS_COUNT; i++) tr_kernel_destroy(m.kernels[i]);
    tr_runner_destroy(m.runner);
    free(launched), free(planned);
    int status = report("the first step against double precision", largest, 1e-2);
    return different ? EXIT_FAILURE : status;
}
