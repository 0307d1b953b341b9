/* The best of the instruction sets the lanes were compiled for. */
#include "machine/program.h"

#include <stdlib.h>
#include <string.h>

extern const trcpu_variant trcpu_variant_portable;
#if defined __x86_64__ && !defined TRCPU_PORTABLE_ONLY
extern const trcpu_variant trcpu_variant_avx2, trcpu_variant_avx512;
#endif

#if defined __x86_64__ && !defined TRCPU_PORTABLE_ONLY
/* TRITON_RUNNER_CPU_ISA=portable, avx2 or avx512 asks for less. */
static bool wanted(const char *name) {
    const char *most = getenv("TRITON_RUNNER_CPU_ISA");
    if (!most) return true;
    return strcmp(most, "portable") != 0 && (strcmp(most, "avx2") != 0 || strcmp(name, "avx2") == 0);
}
#endif

const trcpu_variant *trcpu_variant_best(void) {
#if defined __x86_64__ && !defined TRCPU_PORTABLE_ONLY
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                __builtin_cpu_supports("popcnt");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512cd");
    if (avx512 && wanted("avx512")) return &trcpu_variant_avx512;
    if (avx2 && wanted("avx2")) return &trcpu_variant_avx2;
#endif
    return &trcpu_variant_portable;
}
