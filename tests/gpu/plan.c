/* A plan whose entries change, against a model on the host: what the real driver lets a graph be changed into. */
#include "plan.h"

tr_kernel *load_affine(gpu *gpu) {
    static const char *const body =
        "ld.param.u64 %d0, [out];\nld.param.u64 %d1, [in];\nld.param.u32 %r0, [a];\nld.param.u32 %r1, [b];\n"
        "ld.param.u32 %r2, [n];\nmov.u32 %r3, %ctaid.x;\nmov.u32 %r4, %tid.x;\nmad.lo.u32 %r3, %r3, 128, "
        "%r4;\n"
        "setp.ge.u32 %p0, %r3, %r2;\n@%p0 bra DONE;\nmul.wide.u32 %d2, %r3, 4;\nadd.u64 %d0, %d0, %d2;\n"
        "add.u64 %d1, %d1, %d2;\nld.global.u32 %r5, [%d1];\nmad.lo.u32 %r5, %r5, %r0, %r1;\n"
        "add.u32 %r5, %r5, %r3;\nst.global.u32 [%d0], %r5;\nDONE:\n";
    char *ptx = write_ptx(
        gpu, "affine",
        ".param .u64 out,\n.param .u64 in,\n.param .u32 a,\n.param .u32 b,\n.param .u32 n,\n" HIDDEN, 128,
        body);
    tr_kernel *kernel =
        load_ptx(gpu, "affine", ptx,
                 "{\"type\": \"*i32\", \"name\": \"out\"}, {\"type\": \"*i32\", \"name\": \"in\"}, "
                 "{\"type\": \"i32\", \"name\": \"a\"}, {\"type\": \"i32\", \"name\": \"b\"}, "
                 "{\"type\": \"i32\", \"name\": \"n\"}",
                 NOTHING);
    free(ptx);
    return kernel;
}

void affine_args(tr_arg args[5], uint64_t out, uint64_t in, uint32_t a, uint32_t b, uint32_t n) {
    args[0] = tr_arg_ptr(out), args[1] = tr_arg_ptr(in);
    args[2] = tr_arg_i32((int32_t)a), args[3] = tr_arg_i32((int32_t)b), args[4] = tr_arg_i32((int32_t)n);
}

static unsigned long counted(gpu *gpu, const char *name) {
    char *json, key[64];
    snprintf(key, sizeof key, "\"%s\": ", name);
    ok(gpu, tr_runner_report(gpu->runner, TR_REPORT_COUNTERS, &json, &error));
    const char *at = strstr(json, key);
    unsigned long count = at ? strtoul(at + strlen(key), NULL, 10) : 99999;
    tr_free(json);
    return count;
}

unsigned long builds(gpu *gpu) {
    return counted(gpu, "plan_builds");
}

void print_updates(gpu *gpu, const char *what, unsigned long builds_before) {
    printf("    %s: the graph was built %lu times; %lu launches so far were told on the device\n", what,
           builds(gpu) - builds_before, counted(gpu, "plan_updates_on_device"));
}

uint32_t next_random(uint32_t *state, uint32_t below) {
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(*state >> 8) * below >> 24);
}

CUstream make_stream(gpu *gpu) {
    CUstream stream;
    cu(gpu, cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    return stream;
}

/* ---- a random step, changed at random, against a model on the host ---- */

enum { BUFFERS = 6, WORDS = 1024, ENTRIES = 40, STEPS = 300, CPU_STEPS = 60 };

typedef struct operation { /* on buffers `to` and `from` */
    tr__entry_kind kind;
    uint32_t to, from, a, b, n, grid, bytes, enabled;
} operation;

static void change(const gpu *gpu, operation *at, uint32_t *random) {
    at->a = next_random(random, 1000), at->b = next_random(random, 1 << 20);
    at->n = next_random(random, WORDS + 1);
    at->grid = next_random(random, 10); /* 0: no launch */
    at->grid += gpu->sanitized;         /* see docs/testing.md */
    at->bytes = next_random(random, 4) ? next_random(random, 4 * WORDS + 1) : 0;
    at->enabled = next_random(random, 5) != 0;
}

static void calculate(const operation *at, uint32_t buffers[BUFFERS][WORDS]) {
    uint32_t *to = buffers[at->to];
    const uint32_t *from = buffers[at->from];
    if (!at->enabled) return;
    if (at->kind == TR__ENTRY_COPY) memcpy(to, from, at->bytes);
    if (at->kind == TR__ENTRY_FILL) memset(to, (int)(at->a & 255), at->bytes);
    for (uint32_t i = 0; at->kind == TR__ENTRY_KERNEL && i < at->n && i < 128 * at->grid; i++)
        to[i] = from[i] * at->a + at->b + i;
}

static bool conflict(const operation *x, const operation *y) {
    bool x_reads = x->kind != TR__ENTRY_FILL, y_reads = y->kind != TR__ENTRY_FILL;
    return x->to == y->to || (y_reads && x->to == y->from) || (x_reads && x->from == y->to);
}

static void add(gpu *gpu, tr_plan *plan, const tr_kernel *kernel, uint64_t base, const operation *all,
                uint32_t i) {
    const operation *at = &all[i];
    uint64_t to = base + 4ull * WORDS * at->to, from = base + 4ull * WORDS * at->from;
    uint32_t after[ENTRIES], count = 0, index;
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_arg args[5];
    for (uint32_t j = 0; j < i; j++)
        if (conflict(at, &all[j])) after[count++] = j;
    config.grid[0] = at->grid;
    affine_args(args, to, from, at->a, at->b, at->n);
    if (at->kind == TR__ENTRY_KERNEL)
        ok(gpu, tr_plan_add(plan, kernel, &config, args, 5, after, count, &index, &error));
    else if (at->kind == TR__ENTRY_COPY)
        ok(gpu, tr_plan_add_copy(plan, to, from, at->bytes, after, count, &index, &error));
    else
        ok(gpu, tr_plan_add_fill(plan, to, (uint8_t)at->a, at->bytes, after, count, &index, &error));
    need(gpu, index == i);
}

static void set(gpu *gpu, tr_plan *plan, uint64_t base, const operation *at, uint32_t i) {
    uint64_t to = base + 4ull * WORDS * at->to, from = base + 4ull * WORDS * at->from;
    const uint32_t grid[3] = {at->grid, 1, 1};
    tr_arg args[5];
    affine_args(args, to, from, at->a, at->b, at->n);
    if (at->kind == TR__ENTRY_KERNEL)
        ok(gpu, tr_plan_set(plan, i, grid, args, 5, &error));
    else if (at->kind == TR__ENTRY_COPY)
        ok(gpu, tr_plan_set_copy(plan, i, to, from, at->bytes, &error));
    else
        ok(gpu, tr_plan_set_fill(plan, i, to, (uint8_t)at->a, at->bytes, &error));
    ok(gpu, tr_plan_enable(plan, i, (int32_t)at->enabled, &error));
}

/* Never waits between the steps: what a step did is copied away by its last entry, and looked at afterwards. */
static void run_steps(gpu *gpu, uint32_t steps, const tr_kernel *kernel, uint32_t *random) {
    enum { STREAMS = 3, BYTES = 4 * BUFFERS * WORDS };
    static uint32_t model[BUFFERS][WORDS];
    uint32_t(*expected)[BUFFERS][WORDS] = malloc(steps * sizeof *expected);
    uint32_t *seen = malloc((size_t)steps * BYTES), last[ENTRIES], log;
    uint64_t buffers = allocate(gpu, BYTES), logs = allocate(gpu, (size_t)steps * BYTES);
    operation all[ENTRIES];
    CUstream streams[STREAMS];
    CUevent launched;
    tr_plan *plan;
    for (int i = 0; i < STREAMS; i++) streams[i] = make_stream(gpu);
    cu(gpu, cuEventCreate(&launched, CU_EVENT_DISABLE_TIMING));
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    for (uint32_t i = 0; i < ENTRIES; i++) {
        operation *at = &all[i];
        at->kind = i % 5 == 3 ? TR__ENTRY_COPY : i % 7 == 6 ? TR__ENTRY_FILL : TR__ENTRY_KERNEL;
        at->to = next_random(random, BUFFERS);
        at->from = (at->to + (at->kind == TR__ENTRY_COPY) + next_random(random, BUFFERS - 1)) % BUFFERS;
        change(gpu, at, random);
        at->bytes = 4 * WORDS; /* so that each has a node of its kind, and nothing is ever built again */
        at->enabled = 1;
        add(gpu, plan, kernel, buffers, all, i);
        last[i] = i;
    }
    ok(gpu, tr_plan_add_copy(plan, logs, buffers, BYTES, last, ENTRIES, &log, &error));
    unsigned long before = builds(gpu);
    memset(model, 0, sizeof model);
    for (uint32_t step = 0; step < steps; step++) {
        CUstream stream = streams[next_random(random, STREAMS)];
        for (uint32_t i = 0; step && i < ENTRIES; i++) {
            if (next_random(random, 3)) continue;
            change(gpu, &all[i], random);
            set(gpu, plan, buffers, &all[i], i);
        }
        ok(gpu, tr_plan_set_copy(plan, log, logs + (uint64_t)step * BYTES, buffers, BYTES, &error));
        cu(gpu, cuStreamWaitEvent(stream, launched, 0));
        ok(gpu, tr_plan_launch(plan, stream, &error));
        cu(gpu, cuEventRecord(launched, stream));
        for (uint32_t i = 0; i < ENTRIES; i++) calculate(&all[i], model);
        memcpy(expected[step], model, BYTES);
    }
    read_back(gpu, seen, logs, (size_t)steps * BYTES);
    for (uint32_t step = 0; step < steps; step++)
        if (memcmp(seen + (size_t)step * (BYTES / 4), expected[step], BYTES))
            fail(gpu, "step %u differs", step);
    if (builds(gpu) != before + 1) fail(gpu, "the graph was built %lu times", builds(gpu) - before);
    print_updates(gpu, "changes", before);
    tr_plan_destroy(plan);
    cu(gpu, cuEventDestroy(launched));
    for (int i = 0; i < STREAMS; i++) cu(gpu, cuStreamDestroy(streams[i]));
    ok(gpu, tr_device_free(gpu->runner, buffers, &error));
    ok(gpu, tr_device_free(gpu->runner, logs, &error));
    free(expected);
    free(seen);
}

void test_plan_changes(gpu *gpu) {
    uint32_t random = 1;
    tr__scope scope;
    if (gpu->sanitized) printf("    compute-sanitizer: without empty grids\n");
    tr_kernel *kernel = load_affine(gpu);
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    for (int round = 0; round < 3; round++) run_steps(gpu, gpu->cpu ? CPU_STEPS : STEPS, kernel, &random);
    tr__driver_leave(gpu->driver, &scope);
    tr_kernel_destroy(kernel);
}

/* ---- what has to be built again, and what not ---- */

void test_plan_builds(gpu *gpu) {
    uint32_t seen[128], wanted[128], index;
    tr_arg args[5];
    tr_plan *plan;
    tr_kernel *kernel = load_affine(gpu);
    uint64_t x = allocate(gpu, sizeof seen), y = allocate(gpu, sizeof seen);
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    affine_args(args, x, y, 3, 5, 128);
    ok(gpu, tr_plan_add(plan, kernel, NULL, args, 5, NULL, 0, NULL, &error));
    ok(gpu, tr_plan_add_fill(plan, y, 7, 0, NULL, 0, &index, &error)); /* nothing to fill yet */
    unsigned long before = builds(gpu);
    ok(gpu, tr_plan_launch(plan, NULL, &error)); /* the default stream */
    ok(gpu, tr_plan_launch(plan, NULL, &error));
    need(gpu, builds(gpu) == before + 1);
    ok(gpu, tr_plan_set_fill(plan, index, y, 7, sizeof seen, &error)); /* an empty node can't become a fill */
    ok(gpu, tr_plan_launch(plan, NULL, &error));
    need(gpu, builds(gpu) == before + 2);
    ok(gpu, tr_plan_enable(plan, index, 0, &error));
    ok(gpu, tr_plan_launch(plan, NULL, &error));
    ok(gpu, tr_plan_enable(plan, index, 1, &error));
    ok(gpu, tr_plan_launch(plan, NULL, &error));
    need(gpu, builds(gpu) == before + 2);
    ok(gpu, tr_plan_add_copy(plan, y, x, sizeof seen, NULL, 0, NULL, &error)); /* another entry */
    ok(gpu, tr_plan_launch(plan, NULL, &error));
    need(gpu, builds(gpu) == before + 3);
    read_back(gpu, seen, y, sizeof seen);
    for (uint32_t i = 0; i < 128; i++) wanted[i] = 0x07070707 * 3 + 5 + i;
    for (uint32_t i = 0; i < 128; i++)
        if (seen[i] != wanted[i]) fail(gpu, "word %u is 0x%x, not 0x%x", i, seen[i], wanted[i]);
    tr_plan_destroy(plan);
    ok(gpu, tr_device_free(gpu->runner, x, &error));
    ok(gpu, tr_device_free(gpu->runner, y, &error));
    tr_kernel_destroy(kernel);
}
