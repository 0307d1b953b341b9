/* Plans on a device that runs kernels: what the real driver lets a graph be changed into, and what runs meanwhile. */
#include "gpu.h"

#include "launch/plan_update.h"

#include <pthread.h>

#define HIDDEN  ".param .u64 g,\n.param .u64 s"
#define NOTHING "\"shared\": 0, \"global_scratch_size\": 0, \"global_scratch_align\": 1, "

/* out[i] = in[i] * a + b + i for i < n: two of them in the wrong order, or one left out, are seen. */
static tr_kernel *load_affine(gpu *gpu) {
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

static void affine_args(tr_arg args[5], uint64_t out, uint64_t in, uint32_t a, uint32_t b, uint32_t n) {
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

static unsigned long builds(gpu *gpu) {
    return counted(gpu, "plan_builds");
}

/* How often changes were told: with that many kernels on the device, where CUDA's device runtime is. */
enum { ENOUGH = 8 };
static void print_updates(gpu *gpu, const char *what, unsigned long builds_before) {
    printf("    %s: the graph was built %lu times; %lu launches so far were told on the device\n", what,
           builds(gpu) - builds_before, counted(gpu, "plan_updates_on_device"));
}

static uint32_t next_random(uint32_t *state, uint32_t below) {
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(*state >> 8) * below >> 24);
}

static CUstream make_stream(gpu *gpu) {
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

static void change(operation *at, uint32_t *random) {
    at->a = next_random(random, 1000), at->b = next_random(random, 1 << 20);
    at->n = next_random(random, WORDS + 1);
    at->grid = next_random(random, 10); /* 0: no launch */
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
        change(at, random);
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
            change(&all[i], random);
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

/* ---- the kernel that tells changes, with another function in place of the device runtime's: it writes what it is asked for
   to the "node", which is an address here: 16 bytes for each field, and the arguments behind 64 ---- */

enum { TOLD = 300, RECORD = 64 + 704, PAGE_ENTRY = 128 };

static tr_kernel *load_tell(gpu *gpu) {
    static const char *const apply =
        ".func (.param .b32 status) cudaGraphKernelNodeUpdatesApply(.param .b64 updates, .param .b64 "
        "count)\n{\n"
        ".reg .pred %p<4>;\n.reg .b16 %h<2>;\n.reg .b32 %r<4>;\n.reg .b64 %d<10>;\n"
        "ld.param.u64 %d0, [updates];\nld.param.u64 %d1, [count];\n"
        "UPDATE:\nsetp.eq.u64 %p0, %d1, 0;\n@%p0 bra LAST;\nld.u64 %d2, [%d0];\nld.u32 %r0, [%d0+8];\n"
        "setp.eq.u32 %p1, %r0, 2;\n@%p1 bra BYTES;\n"
        "mul.wide.u32 %d3, %r0, 16;\nadd.u64 %d3, %d2, %d3;\nld.u32 %r1, [%d0+16];\nst.u32 [%d3], %r1;\n"
        "ld.u32 %r1, [%d0+20];\nst.u32 [%d3+4], %r1;\nld.u32 %r1, [%d0+24];\nst.u32 [%d3+8], %r1;\nbra "
        "NEXT_ONE;\n"
        "BYTES:\nld.u64 %d4, [%d0+16];\nld.u64 %d5, [%d0+24];\nld.u64 %d6, [%d0+32];\nadd.u64 %d7, %d2, "
        "%d5;\n"
        "BYTE:\nsetp.eq.u64 %p2, %d6, 0;\n@%p2 bra NEXT_ONE;\nld.u8 %h0, [%d4];\nst.u8 [%d7+64], %h0;\n"
        "add.u64 %d4, %d4, 1;\nadd.u64 %d7, %d7, 1;\nsub.u64 %d6, %d6, 1;\nbra BYTE;\n"
        "NEXT_ONE:\nadd.u64 %d0, %d0, 40;\nsub.u64 %d1, %d1, 1;\nbra UPDATE;\n"
        "LAST:\nst.param.b32 [status], 0;\nret;\n}\n";
    char source[16384], ptx[16384];
    snprintf(source, sizeof source, tr__updater_source, gpu->cpu ? 89 : 90);
    char *declared = strstr(source, ".extern"), *behind = strchr(declared, ';') + 1;
    snprintf(ptx, sizeof ptx, "%.*s%s%s", (int)(declared - source), source, apply, behind);
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_program *program;
    tr_kernel *kernel;
    options.data = ptx, options.size = strlen(ptx);
    options.metadata =
        "{\"name\": \"tell\", \"num_warps\": 8, \"shared\": 0, \"triton_runner\": {\"kernel\": \"tell\", "
        "\"parameters\": [{\"type\": \"*i32\"}, {\"type\": \"i32\"}, {\"type\": \"i32\"}], \"hidden\": []}}";
    ok(gpu, tr_load_stage(gpu->runner, TR_STAGE_PTX, NULL, &options, &program, &error));
    ok(gpu, tr_kernel_create(program, &kernel, &error));
    tr_program_destroy(program);
    return kernel;
}

/* Entry i has i % 700 bytes of arguments; each third one is switched off or on, and each seventh has no arguments. */
static void write_told(char *page, uint64_t device, uint64_t nodes, uint32_t i, uint64_t params) {
    char *at = page + 16 + PAGE_ENTRY * (size_t)i;
    uint64_t count = 1, size = i % 7 ? i * 5 % 700 : 0, node = nodes + (uint64_t)RECORD * i,
             words[5] = {node, 1};
    const uint32_t grid[3] = {i, i + 1, i + 2};
    memset(at, 2, PAGE_ENTRY); /* whatever was there */
    memcpy((char *)words + 16, grid, sizeof grid);
    memcpy(at + 8, words, 40);
    if (size) {
        const uint64_t second[5] = {node, 2, device + params, 0, size};
        memcpy(at + 8 + 40 * count++, second, 40);
    }
    if (i % 3 == 0) {
        const uint64_t third[5] = {node, 3, i % 2};
        memcpy(at + 8 + 40 * count++, third, 40);
    }
    memcpy(at, &count, sizeof count);
    for (uint64_t k = 0; k < size; k++) page[params + k] = (char)(i + k * 7);
}

void test_plan_tell(gpu *gpu) {
    enum { PARAMS = 16 + PAGE_ENTRY * TOLD, PAGE = PARAMS + 704 * TOLD + 128 };
    tr_kernel *kernel = load_tell(gpu);
    char *page = calloc(1, PAGE), *seen = calloc(TOLD, RECORD);
    uint64_t device = allocate(gpu, PAGE), nodes = allocate(gpu, TOLD * RECORD);
    uint32_t ends[2];
    for (uint32_t i = 0; i < TOLD; i++) write_told(page, device, nodes, i, PARAMS + 704 * (uint64_t)i);
    memset(page, 0, 16);
    ok(gpu, tr_device_write(gpu->runner, device, page, PAGE, &error));
    const tr_arg args[] = {tr_arg_ptr(device), tr_arg_i32(TOLD), tr_arg_i32(4321)};
    launch(gpu, kernel, 1, NULL, args, 3);
    read_back(gpu, seen, nodes, TOLD * RECORD);
    read_back(gpu, ends, device, sizeof ends);
    need(gpu, ends[0] == 4321 && ends[1] == 0); /* done, and nothing refused */
    for (uint32_t i = 0; i < TOLD; i++) {
        const char *record = seen + (size_t)RECORD * i;
        uint64_t size = i % 7 ? i * 5 % 700 : 0;
        const uint32_t grid[3] = {i, i + 1, i + 2};
        uint32_t enabled;
        memcpy(&enabled, record + 48, sizeof enabled);
        need(gpu, !memcmp(record + 16, grid, sizeof grid) && enabled == (i % 3 == 0 ? i % 2 : 0));
        for (uint64_t k = 0; k < 704; k++)
            if (record[64 + k] != (k < size ? (char)(i + k * 7) : 0))
                fail(gpu, "byte %u of the arguments of entry %u differs", (unsigned)k, i);
    }
    ok(gpu, tr_device_free(gpu->runner, device, &error));
    ok(gpu, tr_device_free(gpu->runner, nodes, &error));
    tr_kernel_destroy(kernel);
    free(page);
    free(seen);
}

/* ---- all that a launch can have ---- */

/* in[1] counts the CTAs that have come; each waits for all of the grid and writes how many they are, and `value`. */
static tr_kernel *load_together(gpu *gpu) {
    static const char *const body =
        "ld.param.u64 %d0, [out];\nld.param.u64 %d1, [in];\nld.param.u32 %r5, [value];\n"
        "mov.u32 %r0, %tid.x;\nsetp.ne.u32 %p0, %r0, 0;\n@%p0 bra DONE;\n"
        "mov.u32 %r1, %nctaid.x;\natom.global.add.u32 %r2, [%d1], 1;\n"
        "WAIT:\nld.volatile.global.u32 %r3, [%d1];\nsetp.lt.u32 %p1, %r3, %r1;\n@%p1 bra WAIT;\n"
        "mov.u32 %r4, %ctaid.x;\nmul.wide.u32 %d2, %r4, 4;\nadd.u64 %d2, %d0, %d2;\nadd.u32 %r3, %r3, %r5;\n"
        "st.global.u32 [%d2], %r3;\nDONE:\n";
    char *ptx = write_ptx(gpu, "together", ".param .u64 out,\n.param .u64 in,\n.param .u32 value,\n" HIDDEN,
                          128, body);
    tr_kernel *kernel =
        load_ptx(gpu, "together", ptx, "{\"type\": \"*i32\"}, {\"type\": \"*i32\"}, {\"type\": \"i32\"}",
                 NOTHING "\"launch_cooperative_grid\": true, ");
    free(ptx);
    return kernel;
}

/* The counter is zeroed by an entry of the plan; the grid, up to the most that fits, and the value change. */
void test_plan_cooperative(gpu *gpu) {
    const uint32_t count = gpu->cpu ? 1 : ENOUGH; /* the CPU device is slow at spinning */
    tr_plan *plan;
    tr_kernel *kernel = load_together(gpu);
    int64_t per_multiprocessor;
    ok(gpu, tr_kernel_attribute(kernel, TR_ATTRIBUTE_BLOCKS_PER_SM, &per_multiprocessor, &error));
    uint32_t most = (uint32_t)(per_multiprocessor * gpu->multiprocessors), *seen = calloc(most, 4);
    uint64_t out = allocate(gpu, most * 4), counter = allocate(gpu, 4);
    tr_arg args[] = {tr_arg_ptr(out), tr_arg_ptr(counter), tr_arg_i32(0)};
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    for (uint32_t i = 0; i < count; i++) {
        ok(gpu, tr_plan_add_fill(plan, counter, 0, 4, NULL, 0, NULL, &error));
        ok(gpu, tr_plan_add(plan, kernel, NULL, args, 3, NULL, 0, NULL, &error));
    }
    unsigned long before = builds(gpu);
    for (uint32_t step = 0; step < (gpu->cpu ? 3 : 10); step++) {
        const uint32_t grid[3] = {step % 2 ? most : 1 + step * most / 16, 1, 1}, over[3] = {most + 1, 1, 1};
        args[2] = tr_arg_i32((int32_t)(1000 * step));
        need(gpu, tr_plan_set(plan, 1, over, args, 3, NULL) == TR_E_RESOURCE);
        for (uint32_t i = 0; i < count; i++) ok(gpu, tr_plan_set(plan, 2 * i + 1, grid, args, 3, &error));
        ok(gpu, tr_plan_launch(plan, NULL, &error));
        read_back(gpu, seen, out, grid[0] * 4);
        for (uint32_t i = 0; i < grid[0]; i++) need(gpu, seen[i] == grid[0] + 1000 * step);
    }
    print_updates(gpu, "cooperative", before);
    tr_plan_destroy(plan);
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    ok(gpu, tr_device_free(gpu->runner, counter, &error));
    tr_kernel_destroy(kernel);
    free(seen);
}

/* Each CTA reads the number that its neighbour in the cluster left in its shared memory. */
static tr_kernel *load_cluster(gpu *gpu, uint32_t size) {
    static const char *const body =
        ".shared .align 4 .b32 cell;\nld.param.u64 %d0, [out];\nld.param.u32 %r7, [value];\n"
        "mov.u32 %r0, %cluster_ctarank;\nmov.u32 %r1, %cluster_nctarank;\n"
        "mov.u32 %r2, %ctaid.x;\nmov.u32 %r3, cell;\nst.shared.u32 [%r3], %r2;\n"
        "barrier.cluster.arrive;\nbarrier.cluster.wait;\nadd.u32 %r4, %r0, 1;\nrem.u32 %r4, %r4, %r1;\n"
        "mapa.shared::cluster.u32 %r5, %r3, %r4;\nld.shared::cluster.u32 %r6, [%r5];\n"
        "barrier.cluster.arrive;\nbarrier.cluster.wait;\nmad.lo.u32 %r6, %r6, 1000, %r7;\n"
        "mul.wide.u32 %d1, %r2, 4;\nadd.u64 %d1, %d0, %d1;\nst.global.u32 [%d1], %r6;\n";
    char keys[128];
    char *ptx = write_ptx(gpu, "neighbours", ".param .u64 out,\n.param .u32 value,\n" HIDDEN, 128, body);
    snprintf(keys, sizeof keys, NOTHING "\"num_ctas\": %u, ", size);
    tr_kernel *kernel = load_ptx(gpu, "neighbours", ptx, "{\"type\": \"*i32\"}, {\"type\": \"i32\"}", keys);
    free(ptx);
    return kernel;
}

void test_plan_clusters(gpu *gpu) {
    enum { CELLS = 20, KINDS = 3 };
    static const uint32_t sizes[KINDS] = {2, 8, 16};
    static uint32_t seen[KINDS][CELLS * 16];
    tr_kernel *kernels[KINDS];
    tr_plan *plan;
    uint64_t out = allocate(gpu, sizeof seen);
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    for (int i = 0; i < KINDS; i++) {
        const tr_arg args[] = {tr_arg_ptr(out + i * sizeof *seen), tr_arg_i32(0)};
        kernels[i] = load_cluster(gpu, sizes[i]);
        for (int k = 0; k < ENOUGH; k++)
            ok(gpu, tr_plan_add(plan, kernels[i], NULL, args, 2, NULL, 0, NULL, &error));
    }
    unsigned long before = builds(gpu);
    for (uint32_t step = 0; step < 10; step++) {
        const uint32_t grid[3] = {1 + 2 * step, 1, 1};
        for (uint32_t i = 0; i < KINDS; i++) {
            const tr_arg args[] = {tr_arg_ptr(out + i * sizeof *seen), tr_arg_i32((int32_t)step)};
            for (uint32_t k = 0; k < ENOUGH; k++)
                ok(gpu, tr_plan_set(plan, ENOUGH * i + k, grid, args, 2, &error));
        }
        ok(gpu, tr_plan_launch(plan, NULL, &error));
        read_back(gpu, seen, out, sizeof seen);
        for (uint32_t i = 0; i < KINDS; i++)
            for (uint32_t cta = 0, size = sizes[i]; cta < grid[0] * size; cta++)
                need(gpu, seen[i][cta] == (cta - cta % size + (cta % size + 1) % size) * 1000 + step);
    }
    print_updates(gpu, "clusters", before);
    tr_plan_destroy(plan);
    for (int i = 0; i < KINDS; i++) tr_kernel_destroy(kernels[i]);
    ok(gpu, tr_device_free(gpu->runner, out, &error));
}

/* 200 KiB of shared memory: written, and read back from the other end. */
void test_plan_shared(gpu *gpu) {
    static const char *const body =
        "ld.param.u64 %d0, [out];\nld.param.u32 %r7, [value];\nmov.u32 %r0, %tid.x;\nmov.u32 %r1, %ctaid.x;\n"
        "mov.u32 %r2, dynamic;\nmov.u32 %r3, %r0;\n"
        "FILL:\nadd.u32 %r4, %r3, %r7;\nshl.b32 %r5, %r3, 2;\nadd.u32 %r5, %r5, %r2;\nst.shared.u32 [%r5], "
        "%r4;\n"
        "add.u32 %r3, %r3, 128;\nsetp.lt.u32 %p0, %r3, 51200;\n@%p0 bra FILL;\nbar.sync 0;\n"
        "sub.u32 %r4, 51199, %r0;\nshl.b32 %r5, %r4, 2;\nadd.u32 %r5, %r5, %r2;\nld.shared.u32 %r4, [%r5];\n"
        "mad.lo.u32 %r6, %r1, 128, %r0;\nmul.wide.u32 %d1, %r6, 4;\nadd.u64 %d1, %d0, %d1;\nst.global.u32 "
        "[%d1], %r4;\n";
    static uint32_t seen[400 * 128];
    tr_plan *plan;
    char *ptx = write_ptx(gpu, "large", ".param .u64 out,\n.param .u32 value,\n" HIDDEN, 128, body);
    tr_kernel *kernel =
        load_ptx(gpu, "large", ptx, "{\"type\": \"*i32\"}, {\"type\": \"i32\"}",
                 "\"shared\": 204800, \"global_scratch_size\": 0, \"global_scratch_align\": 1, ");
    uint64_t out = allocate(gpu, sizeof seen);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.flags = TR_LAUNCH_CARVEOUT | TR_LAUNCH_PRIORITY | TR_LAUNCH_CHECK_POINTERS;
    config.carveout = 100, config.priority = -1;
    tr_arg args[] = {tr_arg_ptr(out), tr_arg_i32(0)};
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    for (int i = 0; i < ENOUGH; i++)
        ok(gpu, tr_plan_add(plan, kernel, &config, args, 2, NULL, 0, NULL, &error));
    unsigned long before = builds(gpu);
    for (uint32_t step = 0; step < 5; step++) {
        const uint32_t grid[3] = {80 * (step + 1), 1, 1};
        args[1] = tr_arg_i32((int32_t)(77 * step));
        for (uint32_t i = 0; i < ENOUGH; i++) ok(gpu, tr_plan_set(plan, i, grid, args, 2, &error));
        ok(gpu, tr_plan_launch(plan, NULL, &error));
        read_back(gpu, seen, out, sizeof seen);
        for (uint32_t i = 0; i < grid[0] * 128; i++) need(gpu, seen[i] == 51199 - i % 128 + 77 * step);
    }
    need(gpu, builds(gpu) == before + 1);
    print_updates(gpu, "shared memory", before);
    tr_plan_destroy(plan);
    tr_kernel_destroy(kernel);
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    free(ptx);
}

/* Kernels that may begin before the one ahead has ended, and wait for its data; one of them is switched off and on. */
void test_plan_programmatic(gpu *gpu) {
    static const char *const body =
        "ld.param.u64 %d0, [out];\nld.param.u64 %d1, [in];\n"
        "mov.u32 %r0, %ctaid.x;\nmov.u32 %r1, %tid.x;\nmad.lo.u32 %r0, %r0, 128, %r1;\n"
        "mul.wide.u32 %d2, %r0, 4;\nadd.u64 %d0, %d0, %d2;\nadd.u64 %d1, %d1, %d2;\n"
        "griddepcontrol.launch_dependents;\ngriddepcontrol.wait;\n"
        "mov.u64 %d3, %globaltimer;\nadd.u64 %d3, %d3, 20000;\n"
        "AGAIN:\nmov.u64 %d4, %globaltimer;\nsetp.lt.u64 %p0, %d4, %d3;\n@%p0 bra AGAIN;\n"
        "ld.global.u32 %r2, [%d1];\nadd.u32 %r2, %r2, 1;\nst.global.u32 [%d0], %r2;\n";
    enum { CTAS = 64, SIZE = CTAS * 128, ROUNDS = 20 };
    static uint32_t seen[SIZE];
    char *ptx = write_ptx(gpu, "step", ".param .u64 out,\n.param .u64 in,\n" HIDDEN, 128, body);
    tr_kernel *kernel = load_ptx(gpu, "step", ptx, "{\"type\": \"*i32\"}, {\"type\": \"*i32\"}",
                                 NOTHING "\"launch_pdl\": true, ");
    uint64_t a = allocate(gpu, sizeof seen), b = allocate(gpu, sizeof seen);
    tr_plan *plan;
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    ok(gpu, tr_plan_add_fill(plan, a, 0, sizeof seen, NULL, 0, NULL, &error));
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = CTAS;
    for (int i = 0; i < ROUNDS; i++) { /* a → b → a …, each one more; in the middle both come before one */
        const tr_arg args[] = {tr_arg_ptr(i % 2 ? a : b), tr_arg_ptr(i % 2 ? b : a)};
        const uint32_t both[] = {0, 10};
        ok(gpu,
           tr_plan_add(plan, kernel, &config, args, 2, i == 10 ? both : NULL, i == 10 ? 2 : 0, NULL, &error));
    }
    unsigned long before = builds(gpu);
    for (int step = 0; step < 12; step++) {
        if (step == 4) ok(gpu, tr_plan_enable(plan, 7, 0, &error)); /* b keeps what it seen a step ago … */
        if (step == 5) ok(gpu, tr_plan_enable(plan, 8, 0, &error));
        if (step == 8) ok(gpu, tr_plan_enable(plan, 7, 1, &error));
        if (step == 8) ok(gpu, tr_plan_enable(plan, 8, 1, &error));
        ok(gpu, tr_plan_launch(plan, NULL, &error));
        if (step == 4) continue;
        read_back(gpu, seen, a, sizeof seen);
        for (int i = 0; i < SIZE; i++)
            if (seen[i] != (step >= 5 && step < 8 ? ROUNDS - 2 : ROUNDS))
                fail(gpu, "step %d: word %d is %u", step, i, seen[i]);
    }
    need(gpu, plan->entries[2].linked && plan->entries[ROUNDS].linked && !plan->entries[0].linked);
    print_updates(gpu, "programmatic", before);
    tr_plan_destroy(plan);
    ok(gpu, tr_device_free(gpu->runner, a, &error));
    ok(gpu, tr_device_free(gpu->runner, b, &error));
    tr_kernel_destroy(kernel);
    free(ptx);
}

/* A descriptor's 128 bytes as the kernel sees them, changed from step to step; the caller's own copy is gone by then. */
void test_plan_descriptors(gpu *gpu) {
    static const char *const body =
        "ld.param.u64 %d0, [out];\nld.param.u32 %r0, [shape];\nst.global.u32 [%d0+128], %r0;\n"
        "ld.param.u64 %d1, [map+0];\nst.global.u64 [%d0+0], %d1;\nld.param.u64 %d1, [map+8];\nst.global.u64 "
        "[%d0+8], %d1;\n"
        "ld.param.u64 %d1, [map+16];\nst.global.u64 [%d0+16], %d1;\nld.param.u64 %d1, [map+24];\n"
        "st.global.u64 [%d0+24], %d1;\nld.param.u64 %d1, [map+32];\nst.global.u64 [%d0+32], %d1;\n"
        "ld.param.u64 %d1, [map+40];\nst.global.u64 [%d0+40], %d1;\n";
    char *ptx = write_ptx(
        gpu, "mapped",
        ".param .u64 out,\n.param .align 64 .b8 map[128],\n.param .u32 shape,\n.param .u64 stride,\n" HIDDEN,
        128, body);
    tr_kernel *kernel = load_ptx(
        gpu, "mapped", ptx, "{\"type\": \"*i32\"}, {\"type\": \"tensordesc<fp32[16]>\"}",
        NOTHING
        "\"tensordesc_meta\": [{\"swizzle\": 0, \"elem_size\": 4, \"elem_type\": 7, \"block_size\": [16], "
        "\"fp4_padded\": false}], ");
    uint64_t out = allocate(gpu, 256);
    tr_plan *plan;
    tr_tensor tensor = {sizeof(tr_tensor), out, TR_TYPE_F32, 1, 0, 0, {16}, {1}};
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    for (int step = 0; step < 5; step++) {
        tr_tensor_map map, kept;
        unsigned char seen[132], plainly[132];
        tensor.shape[0] = 16 + 8 * step, tensor.ptr = out + 16 * (uint64_t)step;
        ok(gpu, tr_tensor_map_encode(kernel, 1, &tensor, &map, &error));
        kept = map;
        const tr_arg args[] = {tr_arg_ptr(out), tr_arg_map(&map)},
                     same[] = {tr_arg_ptr(out), tr_arg_map(&kept)};
        for (uint32_t i = 0; i < ENOUGH; i++)
            if (step)
                ok(gpu, tr_plan_set(plan, i, NULL, args, 2, &error));
            else
                ok(gpu, tr_plan_add(plan, kernel, NULL, args, 2, NULL, 0, NULL, &error));
        memset(&map, 0xee, sizeof map);
        ok(gpu, tr_plan_launch(plan, NULL, &error));
        read_back(gpu, seen, out, sizeof seen);
        launch(gpu, kernel, 1, NULL, same, 2);
        read_back(gpu, plainly, out, sizeof plainly);
        need(gpu, !memcmp(seen, plainly, sizeof seen) && !memcmp(seen + 128, &tensor.shape[0], 4));
    }
    tr_plan_destroy(plan);
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    tr_kernel_destroy(kernel);
    free(ptx);
}

/* ---- scratch: two branches side by side and one behind them, on two streams without any order but the plan's ---- */

void test_plan_scratch(gpu *gpu) {
    enum { MOST = 24, SIZE = MOST * 128, ROUNDS = 60 };
    static uint32_t seen[3 * SIZE];
    char *ptx;
    tr__scope scope;
    tr_plan *plan;
    tr_kernel *kernel = load_scratching(gpu, &ptx);
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    CUstream streams[] = {make_stream(gpu), make_stream(gpu)};
    uint64_t outs = allocate(gpu, sizeof seen), logs = allocate(gpu, ROUNDS * sizeof seen);
    const uint32_t none[1] = {0}, both[] = {0, 1};
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    for (uint32_t i = 0; i < 3; i++) {
        const tr_arg args[] = {tr_arg_ptr(outs + 4 * SIZE * i), tr_arg_i32(0)};
        ok(gpu, tr_plan_add(plan, kernel, NULL, args, 2, i < 2 ? none : both, i < 2 ? 0 : 2, NULL, &error));
    }
    ok(gpu, tr_plan_add_copy(plan, logs, outs, sizeof seen, NULL, 0, NULL, &error));
    tr_kernel_destroy(kernel); /* the plan holds it */
    need(gpu, plan->lane_count == 2);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < 3; i++) {
            const tr_arg args[] = {tr_arg_ptr(outs + 4 * SIZE * i),
                                   tr_arg_i32((int32_t)(1000000 * i + round))};
            const uint32_t grid[3] = {1 + (round + i) * (MOST - 1) / (ROUNDS + 3), 1, 1};
            ok(gpu, tr_plan_set(plan, i, grid, args, 2, &error));
        }
        ok(gpu, tr_plan_set_copy(plan, 3, logs + round * sizeof seen, outs, sizeof seen, &error));
        if (round % 16 == 15)
            ok(gpu, tr_plan_add_fill(plan, outs, 0, 0, NULL, 0, NULL, &error)); /* a graph anew */
        ok(gpu, tr_plan_launch(plan, streams[round % 2], &error));
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        read_back(gpu, seen, logs + round * sizeof seen, sizeof seen);
        for (uint32_t i = 0; i < 3; i++)
            for (uint32_t k = 0; k < 128 * (1 + (round + i) * (MOST - 1) / (ROUNDS + 3)); k++)
                if (seen[i * SIZE + k] != 1000000 * i + round + k)
                    fail(gpu, "round %u: word %u of entry %u is %u", round, k, i, seen[i * SIZE + k]);
    }
    ok(gpu, tr_plan_launch(plan, streams[0], &error));
    tr_plan_destroy(plan); /* while it runs */
    for (int i = 0; i < 2; i++) cu(gpu, cuStreamDestroy(streams[i]));
    ok(gpu, tr_device_free(gpu->runner, outs, &error));
    ok(gpu, tr_device_free(gpu->runner, logs, &error));
    tr__driver_leave(gpu->driver, &scope);
    free(ptx);
}

/* ---- recording ---- */

void test_plan_record(gpu *gpu) {
    enum { SIZE = 24 * 128 };
    static uint32_t seen[2][SIZE];
    char *ptx;
    uint32_t first, count;
    tr_arg args[5];
    tr__scope scope;
    tr_plan *plan;
    tr_error *told = NULL;
    tr_kernel *scratching = load_scratching(gpu, &ptx), *affine = load_affine(gpu);
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    CUstream stream = make_stream(gpu), other = make_stream(gpu);
    uint64_t x = allocate(gpu, sizeof *seen), y = allocate(gpu, sizeof *seen);
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    need(gpu, tr_plan_record(plan, NULL, &told) && strstr(tr_error_message(told), "default stream"));
    tr_error_destroy(told);
    ok(gpu, tr_plan_record(plan, stream, &error));
    const tr_arg scratch_args[] = {tr_arg_ptr(x), tr_arg_i32(100)};
    launch(gpu, scratching, 24, stream, scratch_args, 2);
    affine_args(args, y, x, 3, 1, SIZE);
    launch(gpu, affine, 24, stream, args, 5);
    launch(gpu, affine, 24, other, args, 5); /* another stream: launched */
    ok(gpu, tr_plan_recorded(plan, &first, &count, &error));
    need(gpu, first == 0 && count == 2);
    read_back(gpu, seen[0], x, sizeof *seen);
    need(gpu, seen[0][0] == 0); /* nothing ran */
    for (uint32_t step = 0; step < 3; step++) {
        affine_args(args, y, x, 3 + step, 1, SIZE);
        ok(gpu, tr_plan_set(plan, first + 1, NULL, args, 5, &error));
        ok(gpu, tr_plan_launch(plan, other, &error));
        read_back(gpu, seen[0], x, sizeof *seen);
        read_back(gpu, seen[1], y, sizeof *seen);
        for (uint32_t i = 0; i < SIZE; i++)
            need(gpu, seen[0][i] == 100 + i && seen[1][i] == (100 + i) * (3 + step) + 1 + i);
    }
    ok(gpu, tr_plan_record(plan, stream, &error));
    cu(gpu, cuMemcpyDtoDAsync(x, y, 64, stream)); /* not by tr_launch */
    told = NULL;
    need(gpu, tr_plan_recorded(plan, NULL, NULL, &told) == TR_E_UNSUPPORTED);
    printf("    %s\n", tr_error_message(told));
    tr_error_destroy(told);
    launch(gpu, affine, 24, stream, args, 5); /* the stream is as it was */
    ok(gpu, tr_plan_record(plan, stream, &error));
    tr_plan_destroy(plan);
    launch(gpu, affine, 24, stream, args, 5);
    cu(gpu, cuStreamSynchronize(stream));
    cu(gpu, cuStreamDestroy(stream));
    cu(gpu, cuStreamDestroy(other));
    ok(gpu, tr_device_free(gpu->runner, x, &error));
    ok(gpu, tr_device_free(gpu->runner, y, &error));
    tr__driver_leave(gpu->driver, &scope);
    tr_kernel_destroy(scratching);
    tr_kernel_destroy(affine);
    free(ptx);
}

/* ---- moments that are not convenient ---- */

/* While a stream is captured in the strictest mode, by this thread; then into that stream itself. */
void test_plan_in_a_capture(gpu *gpu) {
    char *ptx;
    uint32_t seen[128];
    tr__scope scope;
    tr_plan *plan;
    CUgraph graph;
    tr_kernel *kernel = load_scratching(gpu, &ptx);
    ok(gpu, tr__driver_enter(gpu->driver, &scope, &error));
    CUstream captured = make_stream(gpu), stream = make_stream(gpu);
    uint64_t out = allocate(gpu, sizeof seen);
    const tr_arg args[] = {tr_arg_ptr(out), tr_arg_i32(9)};
    cu(gpu, cuStreamBeginCapture(captured, CU_STREAM_CAPTURE_MODE_GLOBAL));
    ok(gpu, tr_plan_create(gpu->runner, &plan, &error));
    ok(gpu, tr_plan_add(plan, kernel, NULL, args, 2, NULL, 0, NULL, &error));
    ok(gpu, tr_plan_launch(plan, stream, &error));
    need(gpu, tr_plan_launch(plan, captured, NULL) == TR_E_INVALID_ARGUMENT);
    launch(gpu, kernel, 1, captured, args, 2);
    cu(gpu, cuStreamEndCapture(captured, &graph));
    cu(gpu, cuGraphDestroy(graph));
    cu(gpu, cuStreamSynchronize(stream));
    read_back(gpu, seen, out, sizeof seen);
    for (uint32_t i = 0; i < 128; i++) need(gpu, seen[i] == 9 + i);
    cu(gpu, cuStreamBeginCapture(captured, CU_STREAM_CAPTURE_MODE_GLOBAL));
    tr_plan_destroy(plan);
    launch(gpu, kernel, 1, captured, args, 2);
    cu(gpu, cuStreamEndCapture(captured, &graph));
    cu(gpu, cuGraphDestroy(graph));
    cu(gpu, cuStreamDestroy(captured));
    cu(gpu, cuStreamDestroy(stream));
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    tr__driver_leave(gpu->driver, &scope);
    tr_kernel_destroy(kernel);
    free(ptx);
}

/* ---- a plan per thread ---- */

typedef struct worker {
    gpu *gpu;
    const tr_kernel *affine, *scratching;
    uint64_t x, y;
    uint32_t seed;
    tr_status status;
    bool right;
} worker;

static tr_status work(worker *worker) {
    enum { SIZE = 512, ROUNDS = 30 };
    tr_runner *runner = worker->gpu->runner;
    tr_arg args[5];
    tr_plan *plan;
    uint32_t seen[SIZE], value = 0;
    const uint32_t grid[3] = {4, 1, 1};
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = 4;
    tr_status status = tr_plan_create(runner, &plan, NULL);
    if (status) return status;
    tr_arg scratch_args[] = {tr_arg_ptr(worker->x), tr_arg_i32(0)};
    affine_args(args, worker->y, worker->x, 1, 0, SIZE);
    status = tr_plan_add(plan, worker->scratching, &config, scratch_args, 2, NULL, 0, NULL, NULL);
    if (!status) status = tr_plan_add(plan, worker->affine, &config, args, 5, NULL, 0, NULL, NULL);
    worker->right = true;
    for (int round = 0; round < ROUNDS && !status; round++) {
        uint32_t factor = 1 + next_random(&worker->seed, 1000);
        value = next_random(&worker->seed, 1000000);
        scratch_args[1] = tr_arg_i32((int32_t)value);
        affine_args(args, worker->y, worker->x, factor, 0, SIZE);
        status = tr_plan_set(plan, 0, grid, scratch_args, 2, NULL);
        if (!status) status = tr_plan_set(plan, 1, grid, args, 5, NULL);
        if (!status) status = tr_plan_launch(plan, NULL, NULL);
        if (!status)
            status =
                tr_device_read(runner, seen, worker->y, sizeof seen, NULL); /* behind the default stream */
        for (uint32_t i = 0; i < SIZE; i++) worker->right &= seen[i] == (value + i) * factor + i;
    }
    tr_plan_destroy(plan);
    return status;
}

static void *run_worker(void *argument) {
    worker *worker = argument;
    worker->status = work(worker);
    return NULL;
}

static void run_workers(gpu *gpu) {
    enum { THREADS = 8 };
    char *ptx;
    pthread_t threads[THREADS];
    worker workers[THREADS];
    tr_kernel *affine = load_affine(gpu), *scratching = load_scratching(gpu, &ptx);
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i] =
            (worker){gpu, affine, scratching, allocate(gpu, 2048), allocate(gpu, 2048), i, TR_OK, false};
        need(gpu, !pthread_create(&threads[i], NULL, run_worker, &workers[i]));
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        need(gpu, workers[i].status == TR_OK && workers[i].right);
        ok(gpu, tr_device_free(gpu->runner, workers[i].x, &error));
        ok(gpu, tr_device_free(gpu->runner, workers[i].y, &error));
    }
    tr_kernel_destroy(affine);
    tr_kernel_destroy(scratching);
    free(ptx);
}

void test_plan_threads(gpu *gpu) {
    run_workers(gpu);
}

/* The same on the second device, where there is one. */
void test_plan_devices(gpu *gpu) {
    char name[64];
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_runner *first = gpu->runner, *second;
    tr__driver *driver = gpu->driver;
    tr_error *told = NULL;
    snprintf(name, sizeof name, "%.50s:1", gpu->name);
    options.device = name;
    options.cache_dir = "";
    ok(gpu, tr_runner_create(&options, &second, &error));
    if (tr__runner_driver(second, &gpu->driver, &told)) {
        printf("    SKIPPED: %s\n", tr_error_message(told));
        tr_error_destroy(told);
        gpu->driver = driver;
    } else {
        gpu->runner = second;
        run_workers(gpu);
        gpu->runner = first, gpu->driver = driver;
        run_workers(gpu);
    }
    tr_runner_destroy(second);
}
