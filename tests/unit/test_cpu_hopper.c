/* sm_90: kernels written by hand, run by the machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "machine.h"
#include "machine/tensor_map.h"

static trcpu_memory *memory;

static int set_up(void **state) {
    (void)state;
    memory = trcpu_memory_create((uint64_t)1 << 30);
    return memory ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    trcpu_memory_destroy(memory);
    return 0;
}

#define KERNEL(parameters, body)                                                                             \
    ".version 8.4\n.target sm_90a\n.address_size 64\n"                                                       \
    ".shared .align 1024 .b8 buffer[4096];\n.shared .align 8 .b64 barrier;\n"                                \
    ".visible .entry kernel(" parameters ")\n{\n.reg .pred %p<4>;\n.reg .b32 %r<16>;\n.reg .b64 %rd<8>;\n"   \
    ".reg .f32 %f<4>;\n" body "ret;\n}\n"

/* The launch's result; *fault tells more. */
static int run(const char *ptx, uint32_t ctas, uint32_t cluster, uint32_t threads, const void *parameters,
               trcpu_fault *fault) {
    char log[1024] = "";
    trcpu_module *module;
    int result = trcpu_module_load(memory, ptx, strlen(ptx), 90, log, sizeof log, &module);
    if (result) fail_msg("load: %d: %s", result, log);
    trcpu_launch launch = {.function = trcpu_module_function(module, "kernel"),
                           .grid = {ctas, 1, 1},
                           .block = {threads, 1, 1},
                           .cluster = {cluster, 1, 1},
                           .parameters = parameters};
    uint32_t checks = trcpu_checks_parse(NULL, NULL, 0);
    result = trcpu_execute(memory, &launch, checks, NULL, fault);
    trcpu_module_destroy(module);
    return result;
}

static uint64_t allocate(uint64_t bytes, const void *content) {
    uint64_t address = trcpu_memory_allocate(memory, bytes);
    assert_int_not_equal(address, 0);
    char *host = trcpu_memory_host(memory, address, bytes);
    memset(host, 0, bytes);
    if (content) memcpy(host, content, bytes);
    trcpu_memory_wrote(memory, address, bytes);
    return address;
}

typedef struct tile_parameters {
    _Alignas(64) unsigned char map[128];
    uint64_t out;
} tile_parameters;

#define TILE_PARAMETERS ".param .align 64 .b8 map[128], .param .u64 out"
#define BEGIN_LOAD                                                                                           \
    "mov.u32 %r1, buffer;\nmov.u32 %r2, barrier;\nmov.u32 %r3, %tid.x;\nsetp.eq.u32 %p1, %r3, 0;\n"          \
    "@%p1 mbarrier.init.shared::cta.b64 [%r2], 1;\nfence.proxy.async.shared::cta;\nbar.sync 0;\n"            \
    "mov.b64 %rd1, map;\ncvta.param.u64 %rd1, %rd1;\nmov.b32 %r4, 4;\nmov.b32 %r5, 2;\n"                     \
    "@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 512;\n"                                        \
    "@%p1 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r4, "  \
    "%r5}], [%r2];\n"
#define WAIT "again:\nmbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], 0;\n@!%p2 bra.uni again;\n"
#define COPY_OUT                                                                                             \
    "shl.b32 %r6, %r3, 2;\nadd.u32 %r7, %r1, %r6;\nld.shared.b32 %r8, [%r7];\nld.param.u64 %rd2, [out];\n"   \
    "cvt.u64.u32 %rd3, %r6;\nadd.u64 %rd2, %rd2, %rd3;\nst.global.b32 [%rd2], %r8;\n"

/* A box of 8 × 16 floats of a tensor of 16 × 16. */
static void encode(tile_parameters *p, uint64_t tensor) {
    const uint64_t size[] = {16, 16}, stride[] = {64};
    const uint32_t box[] = {16, 8}, step[] = {1, 1};
    assert_int_equal(trcpu_tensor_map_encode(p->map, 7, 2, tensor, size, stride, box, step, 0, 0, 0, 0), 0);
}

static void a_tile_arrives(void **state) {
    (void)state;
    float tensor[16][16], got[8][16];
    for (int i = 0; i < 256; i++) tensor[i / 16][i % 16] = (float)i;
    tile_parameters p = {.out = allocate(sizeof got, NULL)};
    encode(&p, allocate(sizeof tensor, tensor));
    trcpu_fault fault;
    if (run(KERNEL(TILE_PARAMETERS, BEGIN_LOAD WAIT COPY_OUT), 1, 0, 128, &p, &fault))
        fail_msg("%s", fault.message);
    memcpy(got, trcpu_memory_host(memory, p.out, sizeof got), sizeof got);
    for (int row = 0; row < 8; row++)
        for (int column = 0; column < 16; column++)
            assert_true(got[row][column] == (column + 4 < 16 ? tensor[row + 2][column + 4] : 0.0f));
}

static void reading_before_the_tile_arrived(void **state) {
    (void)state;
    tile_parameters p = {.out = allocate(512, NULL)};
    encode(&p, allocate(1024, NULL));
    trcpu_fault fault;
    assert_int_not_equal(run(KERNEL(TILE_PARAMETERS, BEGIN_LOAD COPY_OUT), 1, 0, 128, &p, &fault), 0);
    assert_string_equal(fault.kind, "missing-wait");
    assert_non_null(strstr(fault.instruction, "ld.shared"));
}

static void a_tensor_beyond_its_memory(void **state) {
    (void)state;
    tile_parameters p = {.out = allocate(512, NULL)};
    encode(&p, allocate(512, NULL)); /* half of what the map says */
    trcpu_fault fault;
    assert_int_equal(run(KERNEL(TILE_PARAMETERS, BEGIN_LOAD WAIT COPY_OUT), 1, 0, 128, &p, &fault), 700);
    assert_string_equal(fault.kind, "out-of-bounds");
    assert_non_null(strstr(fault.instruction, "cp.async.bulk.tensor"));
}

/* {5, 2}: 20 bytes into the rows. */
static void a_tile_that_begins_between_16_bytes(void **state) {
    (void)state;
    tile_parameters p = {.out = allocate(512, NULL)};
    encode(&p, allocate(1024, NULL));
    trcpu_fault fault;
    char text[4096];
    snprintf(text, sizeof text, "%s", KERNEL(TILE_PARAMETERS, BEGIN_LOAD WAIT COPY_OUT));
    char *column = strstr(text, "mov.b32 %r4, 4;");
    assert_non_null(column);
    column[strlen("mov.b32 %r4, ")] = '5';
    assert_int_equal(run(text, 1, 0, 128, &p, &fault), 715);
    assert_string_equal(fault.kind, "tensor-map");
    assert_non_null(strstr(fault.message, "column 5, 20 bytes"));
}

static void a_map_that_is_none(void **state) {
    (void)state;
    tile_parameters p = {.out = allocate(512, NULL)};
    trcpu_fault fault;
    assert_int_not_equal(run(KERNEL(TILE_PARAMETERS, BEGIN_LOAD WAIT COPY_OUT), 1, 0, 128, &p, &fault), 0);
    assert_string_equal(fault.kind, "tensor-map");
}

static void bytes_nobody_sends(void **state) {
    (void)state;
    trcpu_fault fault;
    uint64_t unused = 0;
    int result = run(KERNEL(".param .u64 out",
                            "mov.u32 %r2, barrier;\nmov.u32 %r3, %tid.x;\nsetp.eq.u32 %p1, %r3, 0;\n"
                            "@%p1 mbarrier.init.shared::cta.b64 [%r2], 1;\nbar.sync 0;\n"
                            "@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 512;\n" WAIT),
                     1, 0, 64, &unused, &fault);
    assert_int_not_equal(result, 0);
    assert_string_equal(fault.kind, "deadlock");
    assert_non_null(strstr(fault.message, "512 bytes"));
}

/* Each CTA puts its rank plus ten into its neighbour's memory. */
static void a_cluster_shares_memory(void **state) {
    (void)state;
    uint64_t out = allocate(8 * 4, NULL);
    trcpu_fault fault;
    int result =
        run(KERNEL(".param .u64 out",
                   "mov.u32 %r1, buffer;\nmov.u32 %r2, %cluster_ctarank;\nmov.u32 %r3, %cluster_nctarank;\n"
                   "add.u32 %r4, %r2, 1;\nrem.u32 %r4, %r4, %r3;\nmapa.shared::cluster.u32 %r5, %r1, %r4;\n"
                   "add.u32 %r6, %r2, 10;\nbarrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n"
                   "st.shared::cluster.u32 [%r5], %r6;\nbarrier.cluster.arrive.aligned;\n"
                   "barrier.cluster.wait.aligned;\nld.shared.u32 %r7, [%r1];\nld.param.u64 %rd1, [out];\n"
                   "mov.u32 %r8, %ctaid.x;\nmul.wide.u32 %rd2, %r8, 4;\nadd.u64 %rd1, %rd1, %rd2;\n"
                   "st.global.u32 [%rd1], %r7;\n"),
            8, 4, 64, &out, &fault);
    if (result) fail_msg("%s", fault.message);
    const uint32_t *got = trcpu_memory_host(memory, out, 32);
    for (uint32_t cta = 0; cta < 8; cta++) assert_int_equal(got[cta], 10 + (cta + 3) % 4);
}

static void clusters_divide_the_grid(void **state) {
    (void)state;
    uint64_t unused = 0;
    trcpu_fault fault;
    assert_int_equal(run(KERNEL(".param .u64 out", ""), 6, 4, 32, &unused, &fault), 912);
}

#define FILL_AND_REDUCE                                                                                      \
    "mov.u32 %r1, buffer;\nmov.u32 %r3, %tid.x;\nshl.b32 %r6, %r3, 2;\nadd.u32 %r7, %r1, %r6;\n"             \
    "mov.f32 %f1, 0f3FC00000;\nst.shared.f32 [%r7], %f1;\nbar.sync 0;\nsetp.eq.u32 %p1, %r3, 0;\n"           \
    "ld.param.u64 %rd1, [out];\n"                                                                            \
    "@%p1 cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%rd1], [%r1], 128;\n"                  \
    "cp.async.bulk.commit_group;\n"

static void bulk_copies_reduce(void **state) {
    (void)state;
    float sum[32];
    for (int i = 0; i < 32; i++) sum[i] = (float)i;
    uint64_t out = allocate(sizeof sum, sum);
    trcpu_fault fault;
    if (run(KERNEL(".param .u64 out",
                   FILL_AND_REDUCE "cp.async.bulk.wait_group.read 0;\nst.shared.f32 [%r7], %f1;\n"),
            4, 0, 32, &out, &fault))
        fail_msg("%s", fault.message);
    memcpy(sum, trcpu_memory_host(memory, out, sizeof sum), sizeof sum);
    for (int i = 0; i < 32; i++) assert_true(sum[i] == (float)i + 4 * 1.5f);
    assert_int_not_equal(
        run(KERNEL(".param .u64 out", FILL_AND_REDUCE "st.shared.f32 [%r7], %f1;\n"), 1, 0, 32, &out, &fault),
        0);
    assert_string_equal(fault.kind, "missing-wait");
}

static void one_lane_is_elected(void **state) {
    (void)state;
    uint64_t out = allocate(4, NULL);
    trcpu_fault fault;
    if (run(KERNEL(".param .u64 out",
                   "ld.param.u64 %rd1, [out];\nelect.sync %r1|%p1, -1;\n"
                   "@%p1 red.global.add.u32 [%rd1], 1;\nsetmaxnreg.dec.sync.aligned.u32 40;\n"),
            1, 0, 128, &out, &fault))
        fail_msg("%s", fault.message);
    assert_int_equal(*(uint32_t *)trcpu_memory_host(memory, out, 4), 4);
}

static void later_devices_are_refused(void **state) {
    (void)state;
    static const char ptx[] =
        ".version 8.7\n.target sm_100a\n.address_size 64\n.visible .entry kernel()\n{\nret;\n}\n";
    char log[512] = "";
    trcpu_module *module;
    assert_int_not_equal(trcpu_module_load(memory, ptx, sizeof ptx - 1, 90, log, sizeof log, &module), 0);
    assert_null(module);
    assert_non_null(strstr(log, "sm_100"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tile_arrives),
        cmocka_unit_test(reading_before_the_tile_arrived),
        cmocka_unit_test(a_tensor_beyond_its_memory),
        cmocka_unit_test(a_tile_that_begins_between_16_bytes),
        cmocka_unit_test(a_map_that_is_none),
        cmocka_unit_test(bytes_nobody_sends),
        cmocka_unit_test(a_cluster_shares_memory),
        cmocka_unit_test(clusters_divide_the_grid),
        cmocka_unit_test(bulk_copies_reduce),
        cmocka_unit_test(one_lane_is_elected),
        cmocka_unit_test(later_devices_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
