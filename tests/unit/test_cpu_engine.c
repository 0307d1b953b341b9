/* The PTX engine: control flow, barriers, arithmetic against the host's, and what each mistake is reported as. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"
#include "machine/checks.h"

static trcpu_memory *memory;
static trcpu_fault fault;

enum { BYTES = 4096 };

/* A kernel k(a, o) around `body`; %rd1 is a, %rd2 is o, both of BYTES bytes; %r0 is the thread, %rd3 = a + 4 thread,
   %rd4 = o + 4 thread. */
static trcpu_module *load(const char *globals, const char *body) {
    static char text[16384], log[512];
    snprintf(
        text, sizeof text,
        ".version 8.4\n.target sm_89\n.address_size 64\n.file 1 \"kernel.py\"\n%s\n"
        ".visible .entry k(.param .u64 a, .param .u64 o)\n{\n"
        ".reg .pred %%p<16>; .reg .b16 %%h<16>; .reg .b32 %%r<64>; .reg .f32 %%f<32>; .reg .b64 %%rd<32>;\n"
        ".shared .align 16 .b8 buffer[1024];\n"
        "ld.param.u64 %%rd1, [a]; ld.param.u64 %%rd2, [o]; mov.u32 %%r0, %%tid.x;\n"
        "mad.wide.u32 %%rd3, %%r0, 4, %%rd1; mad.wide.u32 %%rd4, %%r0, 4, %%rd2;\n%s\nret;\n}\n",
        globals, body);
    trcpu_module *module = NULL;
    int result = trcpu_module_load(memory, text, strlen(text), 89, log, sizeof log, &module);
    if (result) print_message("%s\n", log);
    assert_int_equal(result, 0);
    return module;
}

static int execute(const char *globals, const char *body, uint32_t grid, uint32_t block, uint64_t a,
                   uint64_t o) {
    trcpu_module *module = load(globals, body);
    const uint64_t parameters[2] = {a, o};
    trcpu_launch launch = {.function = trcpu_module_function(module, "k"),
                           .grid = {grid, 1, 1},
                           .block = {block, 1, 1},
                           .parameters = parameters};
    int result = trcpu_execute(memory, &launch, TRCPU_CHECK_DEFAULT, NULL, &fault);
    trcpu_module_destroy(module);
    return result;
}

/* Runs `body` in one CTA over `in`; what it stores comes back in `out`. */
static void compute(const char *globals, const char *body, uint32_t block, const void *in, void *out) {
    uint64_t a = trcpu_memory_allocate(memory, BYTES), o = trcpu_memory_allocate(memory, BYTES);
    if (in) memcpy(trcpu_memory_host(memory, a, BYTES), in, BYTES);
    memset(trcpu_memory_host(memory, o, BYTES), 0, BYTES);
    if (execute(globals, body, 1, block, a, o)) fail_msg("%s", fault.message);
    memcpy(out, trcpu_memory_host(memory, o, BYTES), BYTES);
    trcpu_memory_free(memory, a);
    trcpu_memory_free(memory, o);
}

static void expect_fault(const char *kind, int result, const char *body, uint32_t block) {
    uint64_t a = trcpu_memory_allocate(memory, BYTES), o = trcpu_memory_allocate(memory, BYTES);
    int got = execute(".const .align 4 .b32 fixed = 7;", body, 1, block, a, o);
    if (strcmp(fault.kind, kind) != 0) print_message("%s\n", fault.message);
    assert_string_equal(fault.kind, kind);
    assert_int_equal(got, result);
    assert_int_equal(fault.line, 42);
    assert_string_equal(fault.file, "kernel.py");
    trcpu_memory_free(memory, a);
    trcpu_memory_free(memory, o);
}

/* ---- control flow ---- */
static void diverges_and_joins(void **state) {
    uint32_t out[BYTES / 4];
    /* lanes loop as often as their number says, odd ones add 100; then all tell their neighbour */
    compute("",
            "mov.u32 %r1, 0; mov.u32 %r2, 0;\n"
            "loop: setp.ge.u32 %p1, %r1, %r0; @%p1 bra done; add.u32 %r2, %r2, %r1; add.u32 %r1, %r1, 1; bra "
            "loop;\n"
            "done: and.b32 %r3, %r0, 1; setp.eq.u32 %p2, %r3, 0; @%p2 bra even; add.u32 %r2, %r2, 100; bra "
            "join;\n"
            "even: add.u32 %r2, %r2, 1000;\n"
            "join: shfl.sync.bfly.b32 %r4, %r2, 1, 31, -1; st.global.u32 [%rd4], %r4;",
            64, NULL, out);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t j = i ^ 1;
        assert_int_equal(out[i], j * (j ? j - 1 : 0) / 2 + (j & 1 ? 100 : 1000));
    }
}

/* A cold block at the end of the text: the lanes that stay wait for those that were there. */
static void waits_for_lanes_on_the_way(void **state) {
    uint32_t out[BYTES / 4];
    compute("",
            "mov.u32 %r2, %r0; setp.lt.u32 %p1, %r0, 5; @%p1 bra slow;\n"
            "join: shfl.sync.idx.b32 %r3, %r2, 2, 31, -1; st.global.u32 [%rd4], %r3; ret;\n"
            "slow: mul.lo.u32 %r2, %r2, 50; bra join;",
            32, NULL, out);
    for (int i = 0; i < 32; i++) assert_int_equal(out[i], 100);
}

static void calls_functions(void **state) {
    uint32_t out[BYTES / 4];
    compute(".func (.param .b32 result) twice(.param .b32 x)\n{ .reg .b32 %r<4>; .reg .pred %p<2>;\n"
            "ld.param.b32 %r1, [x]; setp.gt.u32 %p1, %r1, 40; @%p1 bra big; add.u32 %r2, %r1, %r1;\n"
            "st.param.b32 [result], %r2; ret;\nbig: st.param.b32 [result], 1; ret; }\n",
            "setp.lt.u32 %p1, %r0, 50; @!%p1 bra other;\n"
            "{ .param .b32 x0; .param .b32 r0; st.param.b32 [x0], %r0; call (r0), twice, (x0);\n"
            "ld.param.b32 %r1, [r0]; } bra join;\n"
            "other: add.u32 %r2, %r0, -50;\n"
            "{ .param .b32 x0; .param .b32 r0; st.param.b32 [x0], %r2; call (r0), twice, (x0);\n"
            "ld.param.b32 %r1, [r0]; }\n"
            "join: st.global.u32 [%rd4], %r1;",
            64, NULL, out);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t x = i < 50 ? i : i - 50;
        assert_int_equal(out[i], x > 40 ? 1 : 2 * x);
    }
}

/* One name in several scopes, as inlined waits have it: a branch means the one around it, else the one outside. */
static void keeps_labels_apart(void **state) {
    uint32_t out[BYTES / 4];
    compute(
        "",
        "mov.u32 %r1, 0; mov.u32 %r2, 0;\n"
        "{ .reg .pred done; again: add.u32 %r1, %r1, 1; setp.ge.u32 done, %r1, 3; @!done bra.uni again; }\n"
        "{ .reg .pred done; again: add.u32 %r2, %r2, 10; setp.ge.u32 done, %r2, 50; @!done bra.uni again;\n"
        "  { again: add.u32 %r2, %r2, 100; setp.lt.u32 done, %r2, 400; @done bra.uni again; bra outside; }\n"
        "}\n"
        "outside: mad.lo.u32 %r3, %r1, 1000, %r2; st.global.u32 [%rd4], %r3;",
        32, NULL, out);
    for (int i = 0; i < 32; i++) assert_int_equal(out[i], 3450);
}

static void branches_by_index(void **state) {
    uint32_t out[BYTES / 4];
    compute("",
            "and.b32 %r1, %r0, 3; ts: .branchtargets t0, t1, t2, t3; brx.idx %r1, ts;\n"
            "t0: mov.u32 %r2, 10; bra join;\nt1: mov.u32 %r2, 11; bra join;\nt2: mov.u32 %r2, 12; bra join;\n"
            "t3: mov.u32 %r2, 13;\njoin: st.global.u32 [%rd4], %r2;",
            32, NULL, out);
    for (uint32_t i = 0; i < 32; i++) assert_int_equal(out[i], 10 + (i & 3));
}

static void synchronises(void **state) {
    uint32_t out[BYTES / 4];
    compute("",
            "mov.u32 %r1, buffer; shl.b32 %r2, %r0, 2; add.u32 %r3, %r1, %r2; st.shared.u32 [%r3], %r0;\n"
            "bar.sync 0; xor.b32 %r2, %r2, 252; add.u32 %r3, %r1, %r2; ld.shared.u32 %r4, [%r3];\n"
            "setp.lt.u32 %p1, %r0, 40; bar.red.popc.u32 %r5, 0, %p1; bar.red.and.pred %p2, 0, %p1;\n"
            "selp.u32 %r6, 1000, 2000, %p2; mad.lo.u32 %r4, %r5, 100, %r4; add.u32 %r4, %r4, %r6;\n"
            "st.global.u32 [%rd4], %r4;",
            64, NULL, out);
    for (uint32_t i = 0; i < 64; i++) assert_int_equal(out[i], (63 - i) + 40 * 100 + 2000);
}

/* Valgrind's processor rounds to nearest, whatever it is told. */
static bool processor_rounds_as_told(void) {
    volatile float one = 1, little = 1e-10F;
    fesetround(FE_UPWARD);
    volatile float sum = one + little;
    fesetround(FE_TONEAREST);
    return sum > one;
}

/* Each CTA waits for the one after it, which has not started when there are more CTAs than threads. Under valgrind, where
   each turn of each takes fifty times as long, it is only a few more. */
static void runs_ctas_that_wait(void **state) {
    uint64_t a = trcpu_memory_allocate(memory, BYTES);
    uint32_t ctas = processor_rounds_as_told() ? 100 : (uint32_t)sysconf(_SC_NPROCESSORS_ONLN) + 4;
    memset(trcpu_memory_host(memory, a, BYTES), 0, BYTES);
    int result = execute(
        "",
        "mov.u32 %r1, %ctaid.x; mov.u32 %r2, %nctaid.x; sub.u32 %r2, %r2, 1; setp.eq.u32 %p1, %r1, %r2;\n"
        "@%p1 bra go;\n"
        "mad.wide.u32 %rd5, %r1, 4, %rd1;\n"
        "spin: ld.acquire.gpu.global.u32 %r2, [%rd5+4]; setp.eq.u32 %p2, %r2, 0; @%p2 bra spin;\n"
        "go: mad.wide.u32 %rd5, %r1, 4, %rd1; atom.global.release.gpu.exch.b32 %r3, [%rd5], 1;",
        ctas, 32, a, a);
    if (result) fail_msg("%s", fault.message);
    const uint32_t *flags = trcpu_memory_host(memory, a, BYTES);
    for (uint32_t i = 0; i < ctas; i++) assert_int_equal(flags[i], 1);
    trcpu_memory_free(memory, a);
}

/* ---- arithmetic ---- */
static float any_float(void) {
    uint32_t bits = (uint32_t)rand() << 16 ^ (uint32_t)rand();
    float value;
    if (rand() % 4 == 0) bits = (bits & 0x80ffffff) | 0x3f000000;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void rounds_as_told(void **state) {
    static const struct {
        const char *name;
        int mode;
    } modes[] = {{"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}};
    int obeyed = processor_rounds_as_told() ? 4 : 1;
    if (obeyed == 1)
        print_message("this processor (valgrind's) rounds to nearest only: rz, rm, rp are left out\n");
    for (int round = 0; round < 40; round++) {
        for (int m = 0; m < obeyed; m++) {
            float in[BYTES / 4], out[BYTES / 4];
            for (int i = 0; i < BYTES / 4; i++) in[i] = any_float();
            char body[2048];
            const char *n = modes[m].name;
            snprintf(body, sizeof body,
                     "ld.global.f32 %%f1, [%%rd3]; ld.global.f32 %%f2, [%%rd3+256]; ld.global.f32 %%f3, "
                     "[%%rd3+512];\n"
                     "add.%s.f32 %%f4, %%f1, %%f2; mul.%s.f32 %%f5, %%f1, %%f2; fma.%s.f32 %%f6, %%f1, %%f2, "
                     "%%f3;\n"
                     "div.%s.f32 %%f7, %%f1, %%f2; sqrt.%s.f32 %%f8, %%f1;\n"
                     "st.global.f32 [%%rd4], %%f4; st.global.f32 [%%rd4+256], %%f5; st.global.f32 "
                     "[%%rd4+512], %%f6;\n"
                     "st.global.f32 [%%rd4+768], %%f7; st.global.f32 [%%rd4+1024], %%f8;",
                     n, n, n, n, n);
            compute("", body, 64, in, out);
            for (int i = 0; i < 64; i++) {
                volatile float a = in[i], b = in[i + 64], c = in[i + 128], want[5];
                fesetround(modes[m].mode);
                want[0] = a + b;
                want[1] = a * b;
                want[2] = fmaf(a, b, c);
                want[3] = a / b;
                want[4] = sqrtf(a);
                fesetround(FE_TONEAREST);
                for (int k = 0; k < 5; k++) {
                    float w = want[k], g = out[i + 64 * k];
                    if ((w != w && g != g) || memcmp(&w, &g, 4) == 0) continue;
                    fail_msg("%s, operation %d of %a %a %a: %a, not %a", n, k, (double)a, (double)b,
                             (double)c, (double)g, (double)w);
                }
            }
        }
    }
}

static void approximates(void **state) {
    float in[BYTES / 4], out[BYTES / 4];
    for (int i = 0; i < BYTES / 4; i++) in[i] = (float)(rand() % 20000 - 10000) / 777;
    compute("",
            "ld.global.f32 %f1, [%rd3]; ex2.approx.f32 %f2, %f1; abs.f32 %f3, %f1; lg2.approx.f32 %f4, %f3;\n"
            "sin.approx.f32 %f5, %f1; cos.approx.f32 %f6, %f1; tanh.approx.f32 %f7, %f1; rsqrt.approx.f32 "
            "%f8, %f3;\n"
            "st.global.f32 [%rd4], %f2; st.global.f32 [%rd4+256], %f4; st.global.f32 [%rd4+512], %f5;\n"
            "st.global.f32 [%rd4+768], %f6; st.global.f32 [%rd4+1024], %f7; st.global.f32 [%rd4+1280], %f8;",
            64, in, out);
    for (int i = 0; i < 64; i++) {
        double x = in[i], want[6] = {exp2(x), log2(fabs(x)), sin(x), cos(x), tanh(x), 1 / sqrt(fabs(x))};
        for (int k = 0; k < 6; k++)
            assert_true(fabs(out[i + 64 * k] - want[k]) <= 1.2e-7 * fabs(want[k]) + 1e-12);
    }
}

static void counts_in_integers(void **state) {
    uint32_t in[BYTES / 4], out[BYTES / 4];
    for (int i = 0; i < BYTES / 4; i++) in[i] = ((uint32_t)rand() << 16 ^ (uint32_t)rand()) >> rand() % 32;
    in[0] = 0x80000000, in[64] = ~0u, in[65] = 0;
    compute(
        "",
        "ld.global.u32 %r1, [%rd3]; ld.global.u32 %r2, [%rd3+256];\n"
        "div.s32 %r3, %r1, %r2; rem.u32 %r4, %r1, %r2; mul.hi.s32 %r5, %r1, %r2; bfe.s32 %r6, %r1, 5, 9;\n"
        "bfi.b32 %r7, %r1, %r2, 7, 11; prmt.b32 %r8, %r1, %r2, 0x7a31; shf.l.wrap.b32 %r9, %r1, %r2, 13;\n"
        "add.cc.u32 %r10, %r1, %r2; addc.u32 %r11, 0, 0; lop3.b32 %r12, %r1, %r2, %r0, 0xca; bfind.u32 %r13, "
        "%r1;\n"
        "st.global.u32 [%rd4], %r3; st.global.u32 [%rd4+256], %r4; st.global.u32 [%rd4+512], %r5;\n"
        "st.global.u32 [%rd4+768], %r6; st.global.u32 [%rd4+1024], %r7; st.global.u32 [%rd4+1280], %r8;\n"
        "st.global.u32 [%rd4+1536], %r9; st.global.u32 [%rd4+1792], %r11; st.global.u32 [%rd4+2048], %r12;\n"
        "st.global.u32 [%rd4+2304], %r13;",
        64, in, out);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t a = in[i], b = in[i + 64];
        int64_t sa = (int32_t)a, sb = (int32_t)b;
        uint64_t both = (uint64_t)b << 32 | a;
        uint32_t sign = both >> 16 & 0x80 ? 0xff : 0;
        uint32_t want[] = {b ? (uint32_t)(sa / sb) : ~0u,
                           b ? a % b : a,
                           (uint32_t)((sa * sb) >> 32),
                           (uint32_t)((int32_t)(a << 18) >> 23),
                           (b & ~(0x7ffu << 7)) | (a & 0x7ff) << 7,
                           (uint32_t)(both >> 8 & 0xff) | (uint32_t)(both >> 24 & 0xff) << 8 | sign << 16 |
                               (uint32_t)(both >> 56) << 24,
                           (uint32_t)(both << 13 >> 32),
                           (uint32_t)(((uint64_t)a + b) >> 32),
                           (a & b) | (~a & i),
                           a ? 31u - (uint32_t)__builtin_clz(a) : ~0u};
        for (uint32_t k = 0; k < sizeof want / sizeof *want; k++)
            if (out[i + 64 * k] != want[k])
                fail_msg("operation %u of %x, %x: %x, not %x", k, a, b, out[i + 64 * k], want[k]);
    }
}

/* ---- mistakes ---- */
static void reports_accesses(void **state) {
    expect_fault("out-of-bounds", 700, ".loc 1 42 1\nld.global.u32 %r1, [%rd3+4096];", 32);
    assert_non_null(strstr(fault.message, "4 bytes past the end"));
    expect_fault("out-of-bounds", 700, ".loc 1 42 1\nst.global.u32 [%rd4+4092], %r0;", 32);
    assert_int_equal(fault.lane, 1);
    expect_fault("out-of-bounds", 700, "mov.u64 %rd5, 0;\n.loc 1 42 1\nld.global.u32 %r1, [%rd5];", 32);
    expect_fault("misaligned", 716, ".loc 1 42 1\nld.global.u32 %r1, [%rd3+2];", 32);
    expect_fault("out-of-bounds", 700, "mov.u32 %r1, buffer;\n.loc 1 42 1\nst.shared.u32 [%r1+1024], %r0;",
                 32);
    expect_fault("read-only", 700, "mov.u64 %rd5, fixed;\n.loc 1 42 1\nst.global.u32 [%rd5], %r0;", 32);
    expect_fault("trap", 719, ".loc 1 42 1\ntrap;", 32);
}

static void reports_whose_memory_it_is(void **state) {
    const char *body = ".loc 1 42 1\nld.global.u32 %r1, [%rd1+8];";
    uint32_t host[16] = {0};
    assert_int_equal(execute("", body, 1, 32, (uint64_t)(uintptr_t)host, 0), 700);
    assert_string_equal(fault.kind, "host-pointer");
    assert_int_equal(trcpu_memory_register(memory, host, sizeof host), 0);
    assert_int_equal(execute("", body, 1, 32, (uint64_t)(uintptr_t)host, 0), 0);
    assert_int_equal(trcpu_memory_unregister(memory, host), 0);
    uint64_t a = trcpu_memory_allocate(memory, 64);
    assert_int_equal(trcpu_memory_free(memory, a), 0);
    assert_int_equal(execute("", body, 1, 32, a, 0), 700);
    assert_string_equal(fault.kind, "use-after-free");
}

static void reports_who_waits(void **state) {
    expect_fault("deadlock", 719,
                 "setp.lt.u32 %p1, %r0, 32;\n.loc 1 42 1\n@%p1 bra here; ret; here: bar.sync 1, 64;", 64);
    expect_fault("barrier-divergence", 719,
                 "setp.lt.u32 %p1, %r0, 5;\n.loc 1 42 1\n@%p1 bra here; bar.sync 1; ret; here: bar.sync 0;",
                 32);
    expect_fault("infinite-loop", 702, ".loc 1 42 1\nagain: add.u32 %r1, %r1, 1; bra again;", 32);
}

static void refuses_what_it_does_not_know(void **state) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        {".version 8.4\n.target sm_89\n.visible .entry k()\n{\n.reg .b32 %r<3>;\nfrobnicate.b32 %r1, "
         "%r2;\nret;\n}\n",
         "line 6: the instruction is not supported by the CPU device: frobnicate.b32 %r1, %r2"},
        {".version 8.4\n.target sm_89\n.visible .entry k()\n{\n.reg .b32 %r<3>;\nadd.u32 %r1, %r9;\n}\n",
         "line 6: "},
        {".version 8.4\n.target sm_89\n.visible .entry k()\n{\nbra nowhere;\n}\n", "line 5: "},
        {".version 8.4\n.target sm_89\n.visible .entry k(\n", "line 4: "},
        {".version 8.4\n.target sm_89\n.visible .entry k()\n{\n.reg .b32 %r<3>;\n.reg .b64 "
         "%rd<3>;\nld.global.ca.L1::evict_last.b32 %r1, [%rd1];\nret;\n}\n",
         "line 7: '.ca' cannot be combined with '.L1::evict_last'"},
        {".version 8.4\n.target sm_89\n.visible .entry k()\n{\n.reg .b32 %r<3>;\n.reg .b64 "
         "%rd<3>;\nst.volatile.global.L1::evict_first.b32 [%rd1], %r1;\nret;\n}\n",
         "line 7: '.volatile' cannot be combined with '.L1::evict_first'"},
        {".version 8.4\n.target sm_89\n.visible .entry k()\n{\n.reg .b16 %h<3>;\ncvt.rn.bf16.f16 %h1, "
         "%h2;\nret;\n}\n",
         "line 6: this needs .target sm_90 or higher"},
        {"hello", "line 1: "},
        {"\177ELF\2\1", "cubin"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char log[512];
        trcpu_module *module = (trcpu_module *)1;
        assert_int_not_equal(
            trcpu_module_load(memory, cases[i].text, strlen(cases[i].text), 89, log, sizeof log, &module), 0);
        assert_null(module);
        if (!strstr(log, cases[i].says)) fail_msg("'%s' does not say '%s'", log, cases[i].says);
    }
}

int main(void) {
    setenv("TRITON_RUNNER_CPU_LOOP_LIMIT", "20000000", 1); /* read at the first launch */
    memory = trcpu_memory_create(1ull << 30);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diverges_and_joins),  cmocka_unit_test(waits_for_lanes_on_the_way),
        cmocka_unit_test(calls_functions),     cmocka_unit_test(keeps_labels_apart),
        cmocka_unit_test(branches_by_index),   cmocka_unit_test(synchronises),
        cmocka_unit_test(runs_ctas_that_wait), cmocka_unit_test(rounds_as_told),
        cmocka_unit_test(approximates),        cmocka_unit_test(counts_in_integers),
        cmocka_unit_test(reports_accesses),    cmocka_unit_test(reports_whose_memory_it_is),
        cmocka_unit_test(reports_who_waits),   cmocka_unit_test(refuses_what_it_does_not_know),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    trcpu_memory_destroy(memory);
    return failed;
}
