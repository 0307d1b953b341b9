/* Runs single handlers of the CPU device, in each variant that this CPU can run. */
#ifndef TESTS_LANES_H
#define TESTS_LANES_H

#include <stdlib.h>
#include <string.h>

#include "machine/program.h"
#include "machine/warp.h"

extern const trcpu_variant trcpu_variant_portable;
#ifdef __x86_64__
extern const trcpu_variant trcpu_variant_avx2, trcpu_variant_avx512;
#endif

/* NULL past the last. */
static inline const trcpu_variant *variant_at(int index) {
    const trcpu_variant *variants[4] = {&trcpu_variant_portable};
#ifdef __x86_64__
    const trcpu_variant *best = trcpu_variant_best();
    if (best != variants[0]) variants[1] = &trcpu_variant_avx2;
    if (best == &trcpu_variant_avx512) variants[2] = best;
#endif
    return variants[index];
}

/* The form of an opcode whose operands are written as `operands`; NULL takes any. */
static inline const trcpu_form *find_form(const trcpu_variant *variant, const char *opcode,
                                          const char *operands) {
    trcpu_opcode split;
    uint8_t mode;
    trcpu_opcode_split((trcpu_text){opcode, (uint32_t)strlen(opcode)}, &split);
    for (const trcpu_form *const *table = variant->tables; *table; table++)
        for (const trcpu_form *form = *table; form->pattern; form++)
            if (trcpu_form_matches(form, &split, &mode) &&
                (!operands || strcmp(form->operands, operands) == 0))
                return form;
    return NULL;
}

/* A warp of 32 lanes whose register file is rows of 256 bytes, and one instruction: row i is operand i. */
enum { LANE_ROWS = 160 };

typedef struct lane_bench {
    _Alignas(64) char file[LANE_ROWS][256];
    uint32_t offsets[LANE_ROWS];
    trcpu_cluster cluster;
    trcpu_cta cta;
    trcpu_run run;
    trcpu_fault fault;
    trcpu_warp warp;
    trcpu_insn insn;
} lane_bench;

static inline void lane_bench_set(lane_bench *bench, const trcpu_form *form, char *shared,
                                  uint32_t shared_bytes) {
    memset(bench, 0, sizeof *bench);
    for (uint32_t i = 0; i < LANE_ROWS; i++) bench->offsets[i] = i * 256;
    bench->warp = (trcpu_warp){.file = bench->file[0],
                               .active = ~0u,
                               .live = ~0u,
                               .shared = shared,
                               .shared_bytes = shared_bytes,
                               .cta = &bench->cta,
                               .launch = &bench->run};
    bench->cta = (trcpu_cta){.shared = shared, .cluster = &bench->cluster};
    bench->cluster = (trcpu_cluster){.ctas = {&bench->cta}, .size = 1};
    bench->insn = (trcpu_insn){.run = form->run, .rows = bench->offsets, .mode = form->mode};
    memcpy(bench->insn.op, bench->offsets, sizeof bench->insn.op);
}

/* Whether it ran through. */
static inline bool lane_bench_run(lane_bench *bench) {
    return bench->insn.run(&bench->warp, &bench->insn, ~0u) == &bench->insn + 1;
}

#endif
