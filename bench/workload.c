#include "workload.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const workload_names[5] = {"vector_add", "softmax", "layer_norm", "matmul", "matmul_tma"};

static const workload_kind kinds[2][5] = {
    {{"vector_add", "*fp32:16, *fp32:16, *fp32:16, i32:16, 1024", "{}", {1024}, {1 << 25}},
     {"softmax", "*fp32:16, *fp32:16, i32:16, i32:16, i32:16, 1024", "{}", {1}, {32768, 1024}},
     {"layer_norm",
      "*fp16:16, *fp32:16, *fp32:16, *fp16:16, *fp32:16, *fp32:16, i32:16, i32:16, fp32, 1024",
      "{}",
      {1},
      {16384, 4096}},
     {"matmul",
      "*fp16:16, *fp16:16, *fp16:16, i32:16, i32:16, i32:16, i32:16, i32:16, i32:16, 128, 256, 64, 8",
      "{\"num_warps\":8,\"num_stages\":3}",
      {128, 256},
      {4096, 4096, 4096}},
     {"matmul_tma",
      "*fp16:16, *fp16:16, *fp16:16, i32:16, i32:16, i32:16, 128, 256, 64",
      "{\"num_warps\":8,\"num_stages\":3}",
      {128, 256},
      {4096, 4096, 4096}}},
    {{"vector_add", "*fp32:16, *fp32:16, *fp32:16, i32, 1024", "{}", {1024}, {8192}},
     {"softmax", "*fp32:16, *fp32:16, i32, i32, i32, 1024", "{}", {1}, {8, 1024}},
     {"layer_norm",
      "*fp16:16, *fp32:16, *fp32:16, *fp16:16, *fp32:16, *fp32:16, i32, i32, fp32, 512",
      "{}",
      {1},
      {8, 1024}},
     {"matmul",
      "*fp16:16, *fp16:16, *fp16:16, i32, i32, i32, i32:16, i32:16, i32:16, 64, 64, 32, 8",
      "{\"num_stages\":3}",
      {64, 64},
      {128, 128, 128}},
     {"matmul_tma",
      "*fp16:16, *fp16:16, *fp16:16, i32, i32:16, i32:16, 64, 64, 64",
      "{\"num_stages\":3}",
      {64, 64},
      {128, 128, 128}}}};

const char *workload_folder(void) {
    const char *named = getenv("TR_EXAMPLES_DIR");
    return named && *named ? named : KERNELS;
}

/* ---- values ---- */

static uint32_t next(uint32_t *state) {
    return *state = *state * 1664525u + 1013904223u;
}

static void fill_float(float *values, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) values[i] = (float)(int32_t)next(&seed) * 0x1p-31f;
}

/* 0.5 to 1, or the negative of that. */
static void fill_half(uint16_t *values, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) {
        uint32_t random = next(&seed);
        values[i] = (uint16_t)((random >> 16 & 0x8000) | 14 << 10 | (random >> 16 & 1023));
    }
}

static double from_half(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double value = exponent == 31 ? (fraction ? NAN : INFINITY)
                   : exponent     ? ldexp(fraction + 1024, exponent - 25)
                                  : ldexp(fraction, -24);
    return half & 0x8000 ? -value : value;
}

static void add_array(workload *w, size_t bytes, int element, uint32_t seed) {
    int i = w->arrays++;
    w->bytes[i] = bytes;
    w->args[w->arg_count] = tr_arg_ptr(0);
    RUN(tr_device_alloc(w->bench->runner, bytes, &w->array[i], &error));
    w->args[w->arg_count++].value.ptr = w->array[i];
    if (!element) return;
    w->host[i] = malloc(bytes);
    if (!w->host[i]) bench_fail("out of memory");
    if (element == 4) fill_float(w->host[i], bytes / 4, seed);
    if (element == 2) fill_half(w->host[i], bytes / 2, seed);
    RUN(tr_device_write(w->bench->runner, w->array[i], w->host[i], bytes, &error));
}

static void add_out(workload *w, size_t bytes) {
    w->out = w->arrays;
    add_array(w, bytes, 0, 0);
}

static void add_integer(workload *w, int64_t value) {
    w->args[w->arg_count++] = tr_arg_i32((int32_t)value);
}

/* ---- the kernels ---- */

enum { VECTOR_ADD, SOFTMAX, LAYER_NORM, MATMUL, MATMUL_TMA };

static int number_of(const char *name) {
    for (int i = 0; i < 5; i++)
        if (!strcmp(workload_names[i], name)) return i;
    bench_fail("no workload '%s'", name);
}

static uint32_t tiles(int64_t size, int tile) {
    return (uint32_t)((size + tile - 1) / tile);
}

static void make_products(workload *w, int number) {
    int64_t m = w->size[0], n = w->size[1], k = w->size[2];
    add_array(w, (size_t)(m * k) * 2, 2, 1);
    add_array(w, (size_t)(k * n) * 2, 2, 2);
    add_out(w, (size_t)(m * n) * 2);
    for (int i = 0; i < 3; i++) add_integer(w, w->size[i]);
    for (int i = 0; i < 3 && number == MATMUL; i++) add_integer(w, i ? n : k);
    uint32_t x = tiles(m, w->kind.tile[0]), y = tiles(n, w->kind.tile[1]);
    w->config.grid[0] = number == MATMUL ? x * y : x;
    w->config.grid[1] = number == MATMUL ? 1 : y;
    double work = 2e-12 * (double)m * (double)n * (double)k;
    w->launches = work > 1 ? 3 : work > 0.02 ? (int)(3 / work) : 150;
}

static void make_rows(workload *w, int number) {
    size_t rows = (size_t)w->size[0], columns = (size_t)w->size[1], element = number == SOFTMAX ? 4 : 2;
    add_array(w, rows * columns * element, (int)element, 3);
    if (number == LAYER_NORM) {
        add_array(w, columns * 4, 4, 4);
        add_array(w, columns * 4, 4, 5);
    }
    add_out(w, rows * columns * element);
    for (int i = 0; i < 2 && number == LAYER_NORM; i++) add_array(w, rows * 4, 0, 0);
    for (int i = 0; i < (number == SOFTMAX ? 3 : 2); i++) add_integer(w, w->size[1]);
    if (number == LAYER_NORM) w->args[w->arg_count++] = tr_arg_f32(1e-5f);
    w->config.grid[0] = (uint32_t)rows;
}

static void make_sum(workload *w) {
    size_t bytes = (size_t)w->size[0] * 4;
    add_array(w, bytes, 4, 6);
    add_array(w, bytes, 4, 7);
    add_out(w, bytes);
    add_integer(w, w->size[0]);
    w->config.grid[0] = tiles(w->size[0], w->kind.tile[0]);
}

void workload_make(workload *w, const bench *bench, const char *name, const int64_t *size) {
    int number = number_of(name);
    *w = (workload){.bench = bench, .kind = kinds[bench->cpu][number], .launches = 20};
    w->config = (tr_launch_config)TR_LAUNCH_CONFIG_INIT;
    w->config.stream = bench->stream;
    memcpy(w->size, size ? size : w->kind.size, sizeof w->size);
    if (number == VECTOR_ADD)
        make_sum(w);
    else if (number == SOFTMAX || number == LAYER_NORM)
        make_rows(w, number);
    else
        make_products(w, number);
    if (bench->cpu) w->launches = 1;
}

void workload_free(workload *w) {
    for (int i = 0; i < w->arrays; i++) {
        RUN(tr_device_free(w->bench->runner, w->array[i], &error));
        free(w->host[i]);
    }
}

/* ---- references: element `column` of row `row` ---- */

static double reference_softmax(const workload *w, int64_t row, int64_t column) {
    const float *x = (const float *)w->host[0] + row * w->size[1];
    double sum = 0;
    for (int64_t i = 0; i < w->size[1]; i++) sum += exp(x[i]);
    return exp(x[column]) / sum;
}

static double reference_layer_norm(const workload *w, int64_t row, int64_t column) {
    const uint16_t *x = (const uint16_t *)w->host[0] + row * w->size[1];
    double sum = 0, squares = 0, count = (double)w->size[1];
    for (int64_t i = 0; i < w->size[1]; i++) sum += from_half(x[i]);
    for (int64_t i = 0; i < w->size[1]; i++) squares += pow(from_half(x[i]) - sum / count, 2);
    return (from_half(x[column]) - sum / count) / sqrt(squares / count + (double)1e-5f) *
               ((const float *)w->host[1])[column] +
           ((const float *)w->host[2])[column];
}

static double reference_product(const workload *w, int64_t row, int64_t column) {
    const uint16_t *a = (const uint16_t *)w->host[0] + row * w->size[2], *b = w->host[1];
    double sum = 0;
    for (int64_t i = 0; i < w->size[2]; i++) sum += from_half(a[i]) * from_half(b[i * w->size[1] + column]);
    return sum;
}

static double reference(const workload *w, int number, int64_t row, int64_t column) {
    if (number == VECTOR_ADD)
        return (double)((const float *)w->host[0])[column] + ((const float *)w->host[1])[column];
    if (number == SOFTMAX) return reference_softmax(w, row, column);
    if (number == LAYER_NORM) return reference_layer_norm(w, row, column);
    return reference_product(w, row, column);
}

enum { SAMPLED_ROWS = 12, SAMPLED_COLUMNS = 24 };

/* Some elements of some rows, the first and the last among them. */
static void compare(const workload *w, const char *what) {
    static const double tolerances[] = {1e-6, 1e-5, 2e-3, 2e-3, 2e-3};
    int number = number_of(w->kind.name);
    int64_t rows = number == VECTOR_ADD ? 1 : w->size[0],
            columns = number == VECTOR_ADD ? w->size[0] : w->size[1];
    size_t element = number == VECTOR_ADD || number == SOFTMAX ? 4 : 2;
    char *line = malloc((size_t)columns * element);
    uint32_t state = 8;
    for (int i = 0; i < (rows > 1 ? SAMPLED_ROWS : 1); i++) {
        int64_t row = i == 0 ? 0 : i == 1 ? rows - 1 : next(&state) % rows;
        RUN(tr_device_read(w->bench->runner, line, w->array[w->out] + (uint64_t)(row * columns) * element,
                           (size_t)columns * element, &error));
        for (int j = 0; j < SAMPLED_COLUMNS; j++) {
            int64_t column = j == 0 ? 0 : j == 1 ? columns - 1 : next(&state) % columns;
            double wanted = reference(w, number, row, column);
            double got = element == 4 ? ((float *)line)[column] : from_half(((uint16_t *)line)[column]);
            if (!(fabs(got - wanted) <= tolerances[number] * fmax(1, fabs(wanted))))
                bench_fail("%s, %s: element %lld of row %lld is %g, not %g", w->kind.name, what,
                           (long long)column, (long long)row, got, wanted);
        }
    }
    free(line);
}

static void clear(const workload *w) {
    CU(cuMemsetD8Async(w->array[w->out], 0xff, w->bytes[w->out], w->bench->stream));
}

/* ---- programs, launches ---- */

tr_status workload_load_python(const workload *w, tr_program **out, tr_error **error) {
    char path[4096];
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    options.signature = w->kind.signature;
    options.kernel = w->kind.name;
    snprintf(path, sizeof path, "%s/%s.py", workload_folder(), w->kind.name);
    return tr_load_stage(w->bench->runner, TR_STAGE_PYTHON, path, &options, out, error);
}

tr_status workload_compile(const workload *w, const tr_program *program, tr_stage stage, const char *llvm,
                           tr_program **out, tr_error **error) {
    char arch[16];
    tr_compile_options options = TR_COMPILE_OPTIONS_INIT;
    snprintf(arch, sizeof arch, "sm_%d", w->bench->arch);
    options.arch = arch;
    options.llvm = llvm;
    options.flags = TR_COMPILE_NO_CACHE;
    if (tr_program_stage(program) == TR_STAGE_PYTHON) options.options = w->kind.options;
    return tr_compile_to(program, stage, &options, out, error);
}

tr_status workload_load_kept(const workload *w, const char *folder, tr_stage stage, tr_program **out,
                             tr_error **error) {
    static const char *const suffixes[] = {"", "py", "ttir", "ttgir", "llir", "ptx", "cubin"};
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%s", folder, w->kind.name, suffixes[stage]);
    return tr_load_stage(w->bench->runner, stage, path, NULL, out, error);
}

static void launch(const workload *w, const tr_kernel *kernel) {
    RUN(tr_launch(kernel, &w->config, w->args, w->arg_count, &error));
}

CUgraphExec workload_capture(workload *w, const tr_kernel *kernel, const char *what) {
    CUgraph graph;
    CUgraphExec exec;
    clear(w);
    launch(w, kernel);
    RUN(tr_device_synchronize(w->bench->runner, &error));
    compare(w, what);
    CU(cuStreamBeginCapture(w->bench->stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    for (int i = 0; i < w->launches; i++) launch(w, kernel);
    CU(cuStreamEndCapture(w->bench->stream, &graph));
    CU(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CU(cuGraphDestroy(graph));
    return exec;
}

double workload_replay(const workload *w, CUgraphExec exec) {
    static CUevent begin, end;
    float milliseconds;
    if (!begin) CU(cuEventCreate(&begin, 0));
    if (!end) CU(cuEventCreate(&end, 0));
    CU(cuEventRecord(begin, w->bench->stream));
    CU(cuGraphLaunch(exec, w->bench->stream));
    CU(cuEventRecord(end, w->bench->stream));
    CU(cuEventSynchronize(end));
    CU(cuEventElapsedTime(&milliseconds, begin, end));
    return (double)milliseconds / w->launches;
}

void workload_check(const workload *w, CUgraphExec exec, const char *what) {
    clear(w);
    CU(cuGraphLaunch(exec, w->bench->stream));
    CU(cuStreamSynchronize(w->bench->stream));
    compare(w, what);
}
