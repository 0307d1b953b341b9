#include "machine/numeric.h"

/* Calls `loop` with its format a constant. */
#define FOR_FORMAT(format, loop)                                                                             \
    switch (format) {                                                                                        \
    case TRCPU_F16: loop(TRCPU_F16); break;                                                                  \
    case TRCPU_BF16: loop(TRCPU_BF16); break;                                                                \
    case TRCPU_TF32: loop(TRCPU_TF32); break;                                                                \
    case TRCPU_E4M3: loop(TRCPU_E4M3); break;                                                                \
    case TRCPU_E5M2: loop(TRCPU_E5M2); break;                                                                \
    case TRCPU_E2M1: loop(TRCPU_E2M1); break;                                                                \
    case TRCPU_E2M3: loop(TRCPU_E2M3); break;                                                                \
    case TRCPU_E3M2: loop(TRCPU_E3M2); break;                                                                \
    default: break;                                                                                          \
    }

void trcpu_row_widen(float *out, const uint32_t *in, uint32_t shift, trcpu_format format) {
#define WIDEN(constant)                                                                                      \
    for (int lane = 0; lane < 32; lane++) out[lane] = trcpu_widen(in[lane] >> shift, constant)
    FOR_FORMAT(format, WIDEN)
}

TRCPU_INLINE void narrow_row(uint32_t *out, const float *in, trcpu_format format, trcpu_rounding rounding,
                             int flags) {
    for (int lane = 0; lane < 32; lane++) out[lane] = trcpu_narrow(in[lane], format, rounding, flags);
}

/* Rounding to nearest without .relu is nearly all there is; the rest may be slower. */
void trcpu_row_narrow(uint32_t *out, const float *in, trcpu_format format, trcpu_rounding rounding,
                      int flags) {
#define NARROW_NEAREST(constant)   narrow_row(out, in, constant, TRCPU_ROUND_NEAREST, 0)
#define NARROW_SATFINITE(constant) narrow_row(out, in, constant, TRCPU_ROUND_NEAREST, TRCPU_SATFINITE)
#define NARROW(constant)           narrow_row(out, in, constant, rounding, flags)
    if (rounding == TRCPU_ROUND_NEAREST && flags == 0)
        FOR_FORMAT(format, NARROW_NEAREST)
    else if (rounding == TRCPU_ROUND_NEAREST && flags == TRCPU_SATFINITE)
        FOR_FORMAT(format, NARROW_SATFINITE)
    else
        FOR_FORMAT(format, NARROW)
}

void trcpu_row_narrow_pair(uint32_t *out, const float *high, const float *low, trcpu_format format,
                           trcpu_rounding rounding, int flags) {
    uint32_t upper[32];
    uint32_t width = format == TRCPU_F16 || format == TRCPU_BF16 ? 16 : format == TRCPU_E2M1 ? 4 : 8;
    trcpu_row_narrow(upper, high, format, rounding, flags);
    trcpu_row_narrow(out, low, format, rounding, flags);
    for (int lane = 0; lane < 32; lane++) out[lane] |= upper[lane] << width;
}
