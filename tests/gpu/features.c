/* What a launch can ask of a device, and what happens when it asks wrongly. */
#include "gpu.h"

#include <dlfcn.h>

#define POINTER  "{\"type\": \"*i32\", \"name\": \"out\"}"
#define POINTERS POINTER ", {\"type\": \"*i32\", \"name\": \"in\"}"

/* ---- clusters: each CTA reads its neighbour's shared memory ---- */

static void run_cluster(gpu *gpu, uint32_t size, const char *keys_of) {
    static const char *const body =
        ".shared .align 4 .b32 cell;\n"
        "ld.param.u64 %d0, [out];\n"
        "mov.u32 %r0, %cluster_ctarank;\nmov.u32 %r1, %cluster_nctarank;\n"
        "mov.u32 %r2, %ctaid.x;\nmov.u32 %r3, cell;\n"
        "st.shared.u32 [%r3], %r2;\n"
        "barrier.cluster.arrive;\nbarrier.cluster.wait;\n"
        "add.u32 %r4, %r0, 1;\nrem.u32 %r4, %r4, %r1;\n"
        "mapa.shared::cluster.u32 %r5, %r3, %r4;\n"
        "ld.shared::cluster.u32 %r6, [%r5];\n"
        "barrier.cluster.arrive;\nbarrier.cluster.wait;\n"
        "mad.lo.u32 %r6, %r6, 1000, %r1;\n"
        "mul.wide.u32 %d1, %r2, 4;\nadd.u64 %d1, %d0, %d1;\nst.global.u32 [%d1], %r6;\n";
    enum { CELLS = 6 };
    char keys[256];
    uint32_t got[CELLS * 16];
    char *ptx = write_ptx(gpu, "cluster", ".param .u64 out,\n" HIDDEN, 128, body);
    snprintf(keys, sizeof keys, NOTHING "\"num_ctas\": %u, %s", size, keys_of);
    tr_kernel *kernel = load_ptx(gpu, "cluster", ptx, POINTER, keys);
    uint64_t out = allocate(gpu, sizeof got);
    tr_arg arg = tr_arg_ptr(out);
    launch(gpu, kernel, CELLS, NULL, &arg, 1);
    read_back(gpu, got, out, CELLS * size * 4);
    for (uint32_t cta = 0; cta < CELLS * size; cta++) {
        uint32_t neighbour = cta - cta % size + (cta % size + 1) % size;
        if (got[cta] != neighbour * 1000 + size)
            fail(gpu, "clusters of %u: CTA %u wrote %u", size, cta, got[cta]);
    }
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    tr_kernel_destroy(kernel);
    free(ptx);
}

void test_clusters(gpu *gpu) {
    run_cluster(gpu, 2, "\"cluster_dims\": [2, 1, 1], "); /* as ≤ 3.5 tells it */
    run_cluster(gpu, 2, "");                              /* as ≥ 3.6 */
    run_cluster(gpu, 4, "");
    run_cluster(gpu, 8, "");
    run_cluster(gpu, 16, "");
}

/* ---- cooperative: a barrier over the whole grid ---- */

tr_kernel *load_together(gpu *gpu) {
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

void test_cooperative(gpu *gpu) {
    tr_kernel *kernel = load_together(gpu);
    int64_t per_multiprocessor;
    ok(gpu, tr_kernel_attribute(kernel, TR_ATTRIBUTE_BLOCKS_PER_SM, &per_multiprocessor, &error));
    uint32_t most = (uint32_t)(per_multiprocessor * gpu->multiprocessors), *got = calloc(most, 4);
    uint64_t out = allocate(gpu, most * 4), counter = allocate(gpu, 4);
    const tr_arg args[] = {tr_arg_ptr(out), tr_arg_ptr(counter), tr_arg_i32(0)};
    launch(gpu, kernel, most, NULL, args, 3);
    read_back(gpu, got, out, most * 4);
    for (uint32_t i = 0; i < most; i++) need(gpu, got[i] == most);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = most + 1;
    need(gpu, tr_launch(kernel, &config, args, 3, NULL) == TR_E_RESOURCE);
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    ok(gpu, tr_device_free(gpu->runner, counter, &error));
    tr_kernel_destroy(kernel);
    free(got);
}

/* ---- programmatic dependence: the second may begin before the first has ended, and waits for its data ---- */

tr_kernel *load_step(gpu *gpu) {
    static const char *const body =
        "ld.param.u64 %d0, [out];\nld.param.u64 %d1, [in];\n"
        "mov.u32 %r0, %ctaid.x;\nmov.u32 %r1, %tid.x;\nmad.lo.u32 %r0, %r0, 128, %r1;\n"
        "mul.wide.u32 %d2, %r0, 4;\nadd.u64 %d0, %d0, %d2;\nadd.u64 %d1, %d1, %d2;\n"
        "griddepcontrol.launch_dependents;\ngriddepcontrol.wait;\n"
        "mov.u64 %d3, %globaltimer;\nadd.u64 %d3, %d3, 20000;\n"
        "AGAIN:\nmov.u64 %d4, %globaltimer;\nsetp.lt.u64 %p0, %d4, %d3;\n@%p0 bra AGAIN;\n"
        "ld.global.u32 %r2, [%d1];\nadd.u32 %r2, %r2, 1;\nst.global.u32 [%d0], %r2;\n";
    char *ptx = write_ptx(gpu, "step", ".param .u64 out,\n.param .u64 in,\n" HIDDEN, 128, body);
    tr_kernel *kernel = load_ptx(gpu, "step", ptx, "{\"type\": \"*i32\"}, {\"type\": \"*i32\"}",
                                 NOTHING "\"launch_pdl\": true, ");
    free(ptx);
    return kernel;
}

void test_programmatic(gpu *gpu) {
    enum { CTAS = 64, WORDS = CTAS * 128, ROUNDS = 50 };
    static uint32_t got[WORDS];
    tr_kernel *kernel = load_step(gpu);
    uint64_t a = allocate(gpu, sizeof got), b = allocate(gpu, sizeof got);
    for (int i = 0; i < ROUNDS; i++) { /* a → b → a …, each one more */
        const tr_arg args[] = {tr_arg_ptr(i % 2 ? a : b), tr_arg_ptr(i % 2 ? b : a)};
        launch(gpu, kernel, CTAS, NULL, args, 2);
    }
    read_back(gpu, got, a, sizeof got);
    for (int i = 0; i < WORDS; i++) need(gpu, got[i] == ROUNDS);
    ok(gpu, tr_device_free(gpu->runner, a, &error));
    ok(gpu, tr_device_free(gpu->runner, b, &error));
    tr_kernel_destroy(kernel);
}

/* ---- 200 KiB of shared memory ---- */

void test_shared(gpu *gpu) {
    static const char *const body =
        "ld.param.u64 %d0, [out];\nmov.u32 %r0, %tid.x;\nmov.u32 %r1, %ctaid.x;\nmov.u32 %r2, dynamic;\n"
        "mov.u32 %r3, %r0;\n"
        "FILL:\nmad.lo.u32 %r4, %r3, 3, %r1;\nshl.b32 %r5, %r3, 2;\nadd.u32 %r5, %r5, %r2;\n"
        "st.shared.u32 [%r5], %r4;\nadd.u32 %r3, %r3, 128;\nsetp.lt.u32 %p0, %r3, 51200;\n@%p0 bra FILL;\n"
        "bar.sync 0;\nmov.u32 %r3, %r0;\nmov.u32 %r6, 0;\n"
        "SUM:\nsub.u32 %r4, 51199, %r3;\nshl.b32 %r5, %r4, 2;\nadd.u32 %r5, %r5, %r2;\nld.shared.u32 %r4, "
        "[%r5];\n"
        "add.u32 %r6, %r6, %r4;\nadd.u32 %r3, %r3, 128;\nsetp.lt.u32 %p0, %r3, 51200;\n@%p0 bra SUM;\n"
        "mad.lo.u32 %r7, %r1, 128, %r0;\nmul.wide.u32 %d1, %r7, 4;\nadd.u64 %d1, %d0, %d1;\n"
        "st.global.u32 [%d1], %r6;\n";
    enum { WORDS = 51200, CTAS = 300 };
    static uint32_t got[CTAS * 128];
    char *ptx = write_ptx(gpu, "large", ".param .u64 out,\n" HIDDEN, 128, body);
    tr_kernel *kernel =
        load_ptx(gpu, "large", ptx, POINTER,
                 "\"shared\": 204800, \"global_scratch_size\": 0, \"global_scratch_align\": 1, ");
    uint64_t out = allocate(gpu, sizeof got);
    tr_arg arg = tr_arg_ptr(out);
    launch(gpu, kernel, CTAS, NULL, &arg, 1);
    read_back(gpu, got, out, sizeof got);
    for (uint32_t cta = 0; cta < CTAS; cta++) {
        for (uint32_t thread = 0; thread < 128; thread++) {
            uint32_t sum = 0;
            for (uint32_t at = thread; at < WORDS; at += 128) sum += (WORDS - 1 - at) * 3 + cta;
            need(gpu, got[cta * 128 + thread] == sum);
        }
    }
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    tr_kernel_destroy(kernel);
    free(ptx);
}

/* ---- lifetimes ---- */

static tr_kernel *load_slow(gpu *gpu, char **ptx) {
    static const char *const body =
        "ld.param.u64 %d0, [out];\nmov.u32 %r0, 0;\n"
        "SPIN:\nadd.u32 %r0, %r0, 1;\nld.volatile.global.u32 %r1, [%d0];\n"
        "setp.lt.u32 %p0, %r0, 20000;\n@%p0 bra SPIN;\n"
        "mov.u32 %r2, %ctaid.x;\nmul.wide.u32 %d1, %r2, 4;\nadd.u64 %d1, %d0, %d1;\n"
        "st.global.u32 [%d1], %r0;\n";
    *ptx = write_ptx(gpu, "slow", ".param .u64 out,\n" HIDDEN, 128, body);
    return load_ptx(gpu, "slow", *ptx, POINTER, NOTHING);
}

/* The kernel is destroyed, and its module unloaded, while it runs. */
void test_destroy_in_flight(gpu *gpu) {
    enum { CTAS = 4 };
    for (int round = 0; round < 5; round++) {
        char *ptx;
        uint32_t got[CTAS];
        tr_kernel *kernel = load_slow(gpu, &ptx);
        uint64_t out = allocate(gpu, sizeof got);
        tr_arg arg = tr_arg_ptr(out);
        launch(gpu, kernel, CTAS, NULL, &arg, 1);
        tr_kernel_destroy(kernel);
        read_back(gpu, got, out, sizeof got);
        for (int i = 0; i < CTAS; i++) need(gpu, got[i] == 20000);
        ok(gpu, tr_device_free(gpu->runner, out, &error));
        free(ptx);
    }
}

/* The library itself never makes a context, so its table of the driver lacks these two. */
static CUcontext make_context(gpu *gpu) {
    CUresult (*create)(CUcontext *, unsigned int, CUdevice);
    CUcontext context = NULL;
    void *found = dlsym(gpu->driver->library, "cuCtxCreate_v2");
    memcpy(&create, &found, sizeof create);
    need(gpu, found && !create(&context, 0, gpu->driver->device));
    return context;
}

static void destroy_context(gpu *gpu, CUcontext context) {
    CUresult (*destroy)(CUcontext);
    void *found = dlsym(gpu->driver->library, "cuCtxDestroy_v2");
    memcpy(&destroy, &found, sizeof destroy);
    need(gpu, found && !destroy(context));
}

/* The caller's own contexts: used when current, told apart, outlived. */
void test_contexts(gpu *gpu) {
    char *ptx;
    uint32_t got;
    CUcontext context, current, before;
    tr_kernel *kernel = load_slow(gpu, &ptx);
    cu(gpu, cuCtxGetCurrent(&before));
    for (int round = 0; round < 3; round++) {
        context = make_context(gpu);
        uint64_t out = allocate(gpu, 4);
        tr_arg arg = tr_arg_ptr(out);
        launch(gpu, kernel, 1, NULL, &arg, 1);
        read_back(gpu, &got, out, 4);
        need(gpu, got == 20000);
        cu(gpu, cuCtxGetCurrent(&current));
        need(gpu, current == context);
        destroy_context(gpu, context);
        cu(gpu, cuCtxGetCurrent(&current));
        need(gpu, current == before);
    }
    uint64_t out = allocate(gpu, 4);
    tr_arg arg = tr_arg_ptr(out);
    launch(gpu, kernel, 1, NULL, &arg, 1);
    read_back(gpu, &got, out, 4);
    need(gpu, got == 20000);
    tr_kernel_destroy(kernel); /* with modules in contexts that are gone */

    /* A stream of a context that is not current. */
    CUstream stream;
    free(ptx);
    kernel = load_slow(gpu, &ptx);
    context = make_context(gpu);
    cu(gpu, cuStreamCreate(&stream, 0));
    cu(gpu, cuCtxPopCurrent(&current));
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_error *error = NULL;
    config.stream = stream;
    tr_status status = tr_launch(kernel, &config, &arg, 1, &error);
    printf("    foreign stream: %s: %s\n", tr_status_name(status), tr_error_message(error));
    tr_error_destroy(error);
    cu(gpu, cuCtxPushCurrent(context));
    cu(gpu, cuStreamDestroy(stream));
    destroy_context(gpu, context);
    launch(gpu, kernel, 1, NULL, &arg, 1);
    read_back(gpu, &got, out, 4);
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    tr_kernel_destroy(kernel);
    free(ptx);
}

/* ---- mistakes that only a real driver finds ---- */

static void refused(gpu *gpu, const char *path, tr_status expected) {
    char full[1024];
    tr_program *program;
    tr_kernel *kernel = NULL;
    tr_error *error = NULL;
    snprintf(full, sizeof full, "%s/%s", gpu->root, path);
    ok(gpu, tr_load_stage(gpu->runner, TR_STAGE_AUTO, full, NULL, &program, &error));
    tr_status status = tr_kernel_create(program, &kernel, &error);
    printf("    %s: %s: %s\n", path, tr_status_name(status), tr_error_message(error));
    tr_error_destroy(error);
    tr_program_destroy(program);
    need(gpu, status == expected && !kernel);
}

void test_refused_images(gpu *gpu) {
    if (gpu->cpu)
        refused(gpu, "examples/kernels/stages/sm_89/vector_add.cubin", TR_E_UNSUPPORTED);
    else if (gpu->architecture != 89)
        refused(gpu, "examples/kernels/stages/sm_89/vector_add.cubin", TR_E_UNSUPPORTED);
}

/* Last: the runner's context is broken by it. A new runner works on the CPU device; a GPU's driver is of no more use to the
   process (it returns the same error even for a new context), and the new runner says so. */
void test_sticky(gpu *gpu) {
    static const char *const body = "ld.param.u64 %d0, [out];\nst.global.u32 [%d0], 1;\n";
    char *ptx = write_ptx(gpu, "broken", ".param .u64 out,\n" HIDDEN, 128, body);
    tr_kernel *kernel = load_ptx(gpu, "broken", ptx, POINTER, NOTHING);
    tr_arg arg = tr_arg_ptr(0x10);
    tr_error *error = NULL;
    tr_status status = tr_launch(kernel, NULL, &arg, 1, &error);
    if (!status) status = tr_device_synchronize(gpu->runner, &error);
    printf("    first: %s: %s\n", tr_status_name(status), tr_error_message(error));
    tr_error_destroy(error);
    need(gpu, status == (gpu->cpu ? TR_E_MEMORY_FAULT : TR_E_DRIVER));
    status = tr_launch(kernel, NULL, &arg, 1, &error);
    printf("    then: %s: %s\n", tr_status_name(status), tr_error_message(error));
    tr_error_destroy(error);
    need(gpu, status == TR_E_STICKY);
    uint64_t ptr;
    need(gpu, tr_device_alloc(gpu->runner, 8, &ptr, NULL) == TR_E_STICKY);
    tr_kernel_destroy(kernel);
    tr_runner_destroy(gpu->runner);

    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.device = gpu->name;
    options.cache_dir = "";
    gpu->runner = NULL;
    ok(gpu, tr_runner_create(&options, &gpu->runner, &error));
    ok(gpu, tr__runner_driver(gpu->runner, &gpu->driver, &error));
    free(ptx);
    if (!gpu->cpu) {
        status = tr_device_alloc(gpu->runner, 8, &ptr, &error);
        printf("    anew: %s: %s\n", tr_status_name(status), tr_error_message(error));
        need(gpu, status == TR_E_STICKY && strstr(tr_error_message(error), "start another one"));
        tr_error_destroy(error);
        return;
    }
    char *slow;
    uint32_t got;
    kernel = load_slow(gpu, &slow);
    uint64_t out = allocate(gpu, 4);
    arg = tr_arg_ptr(out);
    launch(gpu, kernel, 1, NULL, &arg, 1);
    read_back(gpu, &got, out, 4);
    need(gpu, got == 20000);
    tr_kernel_destroy(kernel);
    free(slow);
}
