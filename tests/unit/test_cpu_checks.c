/* The CPU device's checks: each finds its mistake, can be left out, and lets right programs alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "machine/checks.h"

enum { BYTES = 4096 };

static trcpu_memory *memory;
static trcpu_fault fault;
static uint64_t a, o;

static uint64_t allocate(bool written) {
    uint64_t address = trcpu_memory_allocate(memory, BYTES);
    if (written) trcpu_memory_wrote(memory, address, BYTES);
    return address;
}

/* Runs a kernel k(a, o) around `body`, with two buffers of BYTES; %r0 is the thread, %r1 the CTA, %rd1 a, %rd2 o,
   %rd3 a + 4 thread, %r2 the offset of 1 KiB of shared memory, %r3 = %r2 + 4 thread. */
static int run(const char *body, uint32_t grid, uint32_t block, uint32_t checks) {
    static char text[16384], log[512];
    snprintf(
        text, sizeof text,
        ".version 8.4\n.target sm_90\n.address_size 64\n.file 1 \"kernel.py\"\n"
        ".const .align 4 .b32 fixed = 7;\n"
        ".visible .entry k(.param .u64 a, .param .u64 o)\n{\n"
        ".reg .pred %%p<16>; .reg .b16 %%h<16>; .reg .b32 %%r<64>; .reg .b64 %%rd<32>;\n"
        ".shared .align 16 .b8 buffer[1024]; .shared .align 8 .b64 bar;\n"
        "ld.param.u64 %%rd1, [a]; ld.param.u64 %%rd2, [o]; mov.u32 %%r0, %%tid.x; mov.u32 %%r1, %%ctaid.x;\n"
        "mad.wide.u32 %%rd3, %%r0, 4, %%rd1; mov.u32 %%r2, buffer; mad.lo.u32 %%r3, %%r0, 4, %%r2;\n"
        ".loc 1 42 1\n%s\nret;\n}\n",
        body);
    trcpu_module *module = NULL;
    int result = trcpu_module_load(memory, text, strlen(text), 90, log, sizeof log, &module);
    if (result) fail_msg("%s", log);
    const uint64_t parameters[2] = {a, o};
    trcpu_launch launch = {.function = trcpu_module_function(module, "k"),
                           .grid = {grid, 1, 1},
                           .block = {block, 1, 1},
                           .parameters = parameters};
    result = trcpu_execute(memory, &launch, checks, NULL, &fault);
    trcpu_module_destroy(module);
    return result;
}

static void with_buffers(bool written) {
    a = allocate(written);
    o = allocate(true);
}

static void free_buffers(void) {
    trcpu_memory_free(memory, a);
    trcpu_memory_free(memory, o);
}

/* ---- names ---- */
static void reads_names(void **state) {
    (void)state;
    char unknown[32];
    assert_int_equal(trcpu_checks_parse(NULL, NULL, 0), TRCPU_CHECK_DEFAULT);
    assert_int_equal(trcpu_checks_parse("all", unknown, sizeof unknown), TRCPU_CHECK_ALL);
    assert_int_equal(trcpu_checks_parse("none", unknown, sizeof unknown), 0);
    assert_int_equal(trcpu_checks_parse("race-shared,deadlock", unknown, sizeof unknown),
                     TRCPU_CHECK_RACE_SHARED | TRCPU_CHECK_DEADLOCK);
    assert_int_equal(trcpu_checks_parse("default,race-global", unknown, sizeof unknown),
                     TRCPU_CHECK_DEFAULT | TRCPU_CHECK_RACE_GLOBAL);
    assert_int_equal(trcpu_checks_parse("-race-shared", unknown, sizeof unknown),
                     TRCPU_CHECK_DEFAULT & ~TRCPU_CHECK_RACE_SHARED);
    assert_int_equal(trcpu_checks_parse("all,-default", unknown, sizeof unknown), TRCPU_CHECK_GLOBAL);
    assert_string_equal(unknown, "");
    trcpu_checks_parse("all,racing,other", unknown, sizeof unknown);
    assert_string_equal(unknown, "racing");
}

/* ---- each check ---- */
#define BARRIER  "bar.sync 0;\n"
#define PARTIAL  "setp.lt.u32 %p1, %r0, 5; @%p1 bra here; bar.sync 0; bra join; here: bar.sync 0; join:\n"
#define LONG     "mov.u32 %r9, 0; again: add.u32 %r9, %r9, 1; setp.ne.u32 %p1, %r9, 3000000; @%p1 bra again;\n"
#define SPIN     "again: ld.volatile.global.u32 %r9, [%rd1]; setp.eq.u32 %p1, %r9, 0; @%p1 bra again;\n"
#define CP_ASYNC "cp.async.ca.shared.global [%r3], [%rd3], 4; cp.async.commit_group;\n"
/* 16 bytes a thread, four threads a line of 64 bytes; %r8: where they go, %rd8: where they come from. */
#define FILL "cp.async.cg.shared.global [%r8], [%rd8], 16;\n"
#define LINES                                                                                                \
    "shl.b32 %r8, %r0, 4; cvt.u64.u32 %rd8, %r8; add.u64 %rd8, %rd8, %rd1; xor.b32 %r8, %r8, 48;\n"          \
    "add.u32 %r8, %r8, %r2;\n" FILL
#define LANDED "cp.async.wait_all; bar.sync 0;\n"

static const struct {
    const char *name, *body;
    uint32_t grid, block;
    const char *otherwise; /* the report without the check; NULL: none */
} mistakes[] = {
    {"out-of-bounds", "ld.global.u32 %r9, [%rd3+4096];", 1, 32, NULL},
    {"use-after-free", "ld.global.u32 %r9, [%rd3];", 1, 32, NULL},
    {"host-pointer", "ld.global.u32 %r9, [%rd3];", 1, 32, "out-of-bounds"},
    {"misaligned", "ld.global.u32 %r9, [%rd3+2];", 1, 32, NULL},
    {"misaligned", "st.shared.u32 [%r3+2], %r0;", 1, 32, NULL},
    {"read-only", "mov.u64 %rd5, fixed; st.global.u32 [%rd5], %r0;", 1, 32, NULL},
    {"uninitialised-shared", "ld.shared.u32 %r9, [%r3];", 1, 64, NULL},
    {"uninitialised-shared", "st.shared.b16 [%r3], %h1; ld.shared.u32 %r9, [%r3];", 1, 32, NULL},
    {"race-shared", "st.shared.u32 [%r2], %r0;", 1, 64, NULL},
    {"race-shared", "st.shared.u32 [%r3], %r0; ld.shared.u32 %r9, [%r2];", 1, 64, NULL},
    {"race-shared",
     "setp.lt.u32 %p1, %r0, 32; @%p1 st.shared.u32 [%r2], %r0; bar.sync 0; ld.shared.u32 %r9, [%r2];\n"
     "st.shared.u32 [%r2], 5;",
     1, 64, NULL},
    {"missing-wait", CP_ASYNC "ld.shared.u32 %r9, [%r3];", 1, 32, NULL},
    {"missing-wait", CP_ASYNC "cp.async.wait_group 1; st.shared.u32 [%r3], %r0;", 1, 32, NULL},
    {"missing-wait", LINES "ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r8];", 1, 32, NULL},
    {"missing-wait", LINES "add.u64 %rd8, %rd8, 1024;\n" FILL, 1, 32, NULL},
    {"race-shared", /* the first warp fills what the second, which came last, has just read */
     LINES LANDED "setp.lt.u32 %p1, %r0, 32; @!%p1 ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r8+-512];\n"
                  "@%p1 " FILL,
     1, 64, NULL},
    {"race-shared", /* … has just written */
     LINES LANDED "setp.lt.u32 %p1, %r0, 32; @!%p1 st.shared.v4.u32 [%r8+-512], {%r0, %r0, %r0, %r0};\n"
                  "@%p1 " FILL,
     1, 64, NULL},
    {"barrier-divergence", PARTIAL, 1, 32, NULL},
    {"deadlock", SPIN, 1, 32, "infinite-loop"},
    {"deadlock", SPIN, 3, 64, "infinite-loop"},
    {"infinite-loop", LONG, 1, 32, NULL},
    {"race-global", "st.global.u32 [%rd2], %r1;", 2, 32, NULL},
    {"race-global", "ld.global.u32 %r9, [%rd2]; st.global.u32 [%rd2], %r1;", 2, 32, NULL},
    {"race-global", "st.global.u32 [%rd2], %r1; atom.global.add.u32 %r9, [%rd2], 1;", 2, 32, NULL},
    {"uninitialised-global", "ld.global.u32 %r9, [%rd3];", 1, 32, NULL},
    {"uninitialised-global", "red.global.add.u32 [%rd1], 1;", 1, 32, NULL},
};

static int run_mistake(size_t i, uint32_t checks) {
    static uint32_t host[1024];
    with_buffers(strcmp(mistakes[i].name, "uninitialised-global") != 0);
    uint64_t mine = a;
    if (strcmp(mistakes[i].name, "use-after-free") == 0) trcpu_memory_free(memory, a);
    if (strcmp(mistakes[i].name, "host-pointer") == 0) a = (uint64_t)(uintptr_t)host;
    memset(&fault, 0, sizeof fault);
    int result = run(mistakes[i].body, mistakes[i].grid, mistakes[i].block, checks);
    a = mine;
    free_buffers();
    return result;
}

static void each_finds_its_mistake(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        char list[64], unknown[32];
        int result = run_mistake(i, trcpu_checks_parse(mistakes[i].name, unknown, sizeof unknown));
        assert_string_equal(unknown, "");
        if (!result || strcmp(fault.kind, mistakes[i].name) != 0)
            fail_msg("mistake %zu, %s: %d %s", i, mistakes[i].name, result, fault.message);
        if (fault.line != 42) fail_msg("mistake %zu, %s: line %u", i, mistakes[i].name, fault.line);
        snprintf(list, sizeof list, "default,-%s", mistakes[i].name);
        result = run_mistake(i, trcpu_checks_parse(list, unknown, sizeof unknown));
        const char *otherwise = mistakes[i].otherwise;
        if (strcmp(otherwise ? otherwise : "", fault.kind) != 0 || !result != !otherwise)
            fail_msg("mistake %zu without %s: %d %s", i, mistakes[i].name, result, fault.message);
    }
}

/* ---- what is right ---- */
#define FIRST_WARP "setp.lt.u32 %p1, %r0, 32;\n"
#define MBARRIER                                                                                             \
    "mov.u32 %r4, bar; setp.eq.u32 %p2, %r0, 0; @%p2 mbarrier.init.shared.b64 [%r4], 32; bar.sync "          \
    "0;\n" FIRST_WARP
static const struct {
    const char *body;
    uint32_t grid, block;
} right[] = {
    {"st.shared.u32 [%r3], %r0; bar.sync 0; xor.b32 %r9, %r3, 128; ld.shared.u32 %r9, [%r9]; bar.sync 0;\n"
     "st.shared.u32 [%r3], %r9;",
     3, 64},
    /* a named barrier: the second warp waits for the first, which goes on */
    {FIRST_WARP "@!%p1 bra second; st.shared.u32 [%r3], %r0; bar.arrive 1, 64; bra done;\n"
                "second: bar.sync 1, 64; ld.shared.u32 %r9, [%r3+-128]; done:",
     2, 64},
    {MBARRIER
     "@!%p1 bra second; st.shared.u32 [%r3], %r0; mbarrier.arrive.shared.b64 %rd9, [%r4]; bra done;\n"
     "second: mbarrier.try_wait.parity.shared.b64 %p3, [%r4], 0; @!%p3 bra second;\n"
     "ld.shared.u32 %r9, [%r3+-128]; done:",
     2, 64},
    /* halves of a word, by two warps */
    {"shl.b32 %r9, %r0, 1; and.b32 %r9, %r9, 62; add.u32 %r9, %r9, %r9; shr.u32 %r10, %r0, 5; shl.b32 %r10, "
     "%r10, 1;\n"
     "add.u32 %r9, %r9, %r10; add.u32 %r9, %r9, %r2; st.shared.b16 [%r9], %h1; bar.sync 0; ld.shared.u32 "
     "%r9, [%r2];",
     1, 64},
    {"st.shared.u32 [%r2], 7; bar.sync 0; ld.shared.u32 %r9, [%r2];", 1, 128}, /* all the same */
    {"st.shared.u32 [%r3], 0; bar.sync 0; atom.shared.add.u32 %r9, [%r2], 1; bar.sync 0; ld.shared.u32 %r9, "
     "[%r2];",
     1, 128},
    {CP_ASYNC "cp.async.wait_group 0; ld.shared.u32 %r9, [%r3]; bar.sync 0; xor.b32 %r9, %r3, 128;\n"
              "ld.shared.u32 %r9, [%r9];",
     2, 64},
    {LINES FILL LANDED "ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r8]; xor.b32 %r9, %r8, 512;\n"
                       "ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r9]; bar.sync 0;\n" FILL LANDED
                       "ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r9];",
     2, 64},
    /* a lock around a counter, CTAs in any order */
    {"setp.ne.u32 %p1, %r0, 0; @%p1 bra done; again: atom.acquire.gpu.global.cas.b32 %r9, [%rd1], 0, 1;\n"
     "setp.ne.u32 %p2, %r9, 0; @%p2 bra again; ld.global.u32 %r9, [%rd2]; add.u32 %r9, %r9, 1;\n"
     "st.global.u32 [%rd2], %r9; atom.release.gpu.global.exch.b32 %r9, [%rd1], 0; done:",
     40, 64},
    /* a flag */
    {"setp.ne.u32 %p1, %r0, 0; @%p1 bra done; setp.eq.u32 %p2, %r1, 0; @%p2 bra first;\n"
     "again: ld.acquire.gpu.global.u32 %r9, [%rd1]; setp.eq.u32 %p2, %r9, 0; @%p2 bra again;\n"
     "ld.global.u32 %r9, [%rd2]; bra done;\n"
     "first: st.global.u32 [%rd2], 5; st.release.gpu.global.u32 [%rd1], 1; done:",
     8, 32},
    {"red.global.add.u32 [%rd2], 1; atom.global.max.u32 %r9, [%rd2+4], %r1; ld.global.u32 %r9, [%rd3];", 30,
     64},
    /* bytes side by side, by as many CTAs */
    {"cvt.u64.u32 %rd5, %r1; add.u64 %rd5, %rd5, %rd2; setp.eq.u32 %p1, %r0, 0; @%p1 st.global.u8 [%rd5], "
     "%r1;",
     50, 32},
};

static void right_programs_are_let_alone(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        with_buffers(true);
        if (run(right[i].body, right[i].grid, right[i].block, TRCPU_CHECK_ALL))
            fail_msg("program %zu: %s", i, fault.message);
        free_buffers();
    }
}

/* ---- what reports say ---- */
static void tells_who_wrote(void **state) {
    (void)state;
    with_buffers(true);
    assert_int_not_equal(
        run("st.shared.u32 [%r3], %r0;\n.loc 1 43 1\nld.shared.u32 %r9, [%r2];", 1, 64, TRCPU_CHECK_DEFAULT),
        0);
    assert_string_equal(fault.kind, "race-shared");
    assert_int_equal(fault.warp, 1);
    assert_int_equal(fault.line, 43);
    assert_non_null(strstr(fault.message, "warp 0 wrote at kernel.py:42"));
    free_buffers();
}

static void tells_who_spins(void **state) {
    (void)state;
    with_buffers(true);
    assert_int_equal(run("setp.ne.u32 %p1, %r1, 1; @%p1 ret; again: atom.global.cas.b32 %r9, [%rd1], 1, 2;\n"
                         "setp.ne.u32 %p2, %r9, 1; @%p2 bra again;",
                         3, 32, TRCPU_CHECK_DEFAULT),
                     702);
    assert_string_equal(fault.kind, "deadlock");
    assert_int_equal(fault.cta[0], 1);
    assert_non_null(strstr(fault.message, "CTA (1, 0, 0) warp 0 (lanes ffffffff) spins on 0x"));
    free_buffers();
}

static void a_function_that_calls_itself_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {".func f(.param .b32 x)\n{ { .param .b32 y; call f, (y); } ret; }\n.visible .entry k()\n{\n"
         "{ .param .b32 y; call f, (y); } ret; }\n",
         "recursion is not supported"},
        {".func f(.param .b32 x)\n{ ret; }\n.visible .entry k()\n{ .reg .b64 %rd<2>; mov.u64 %rd1, f;\n"
         "{ .param .b32 y; p: .callprototype _ (.param .b32 _); call %rd1, (y), p; } ret; }\n",
         "indirect calls are not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024], log[512];
        trcpu_module *module = NULL;
        snprintf(text, sizeof text, ".version 8.4\n.target sm_89\n%s", cases[i].text);
        assert_int_not_equal(trcpu_module_load(memory, text, strlen(text), 89, log, sizeof log, &module), 0);
        if (!strstr(log, cases[i].says)) fail_msg("'%s' does not say '%s'", log, cases[i].says);
    }
}

static int set_up(void **state) {
    (void)state;
    setenv("TRITON_RUNNER_CPU_LOOP_LIMIT", "1000000", 1);
    memory = trcpu_memory_create(1u << 30);
    return memory && trcpu_memory_watch(memory, TRCPU_CHECK_ALL) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    trcpu_memory_destroy(memory);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_names),
        cmocka_unit_test(each_finds_its_mistake),
        cmocka_unit_test(right_programs_are_let_alone),
        cmocka_unit_test(tells_who_wrote),
        cmocka_unit_test(tells_who_spins),
        cmocka_unit_test(a_function_that_calls_itself_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
