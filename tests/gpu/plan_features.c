/* All that a launch can have, in a plan. */
#include "plan.h"

#include "launch/plan_update.h"

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

/* A grid that is too large would write behind its CTAs. */
void test_plan_clusters(gpu *gpu) {
    enum { CELLS = 20, KINDS = 3, SIZE = CELLS * 16 * 16 };
    static const uint32_t sizes[KINDS] = {2, 8, 16};
    static uint32_t seen[KINDS][SIZE];
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
            for (uint32_t cta = 0, size = sizes[i]; cta < SIZE; cta++) {
                uint32_t neighbour = cta - cta % size + (cta % size + 1) % size;
                if (seen[i][cta] != (cta < grid[0] * size ? neighbour * 1000 + step : 0))
                    fail(gpu, "step %u: CTA %u of clusters of %u wrote %u", step, cta, size, seen[i][cta]);
            }
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
    enum { CTAS = 64, SIZE = CTAS * 128, ROUNDS = 20 };
    static uint32_t seen[SIZE];
    tr_kernel *kernel = load_step(gpu);
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
        if (step == 8 && gpu->sanitized) tr__updater_destroy(plan); /* see docs/testing.md */
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
