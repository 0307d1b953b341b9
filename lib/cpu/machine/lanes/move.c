/* mov, cvta, isspacep, selp. */
#include "machine/lanes/lanes.h"

UNARY(mov32, uint32_t, uint32_t, a)
UNARY(mov64, uint64_t, uint64_t, a)
UNARY(join16, uint32_t, uint32_t, (uint16_t)a | ROW(uint32_t, 2)[l] << 16)
UNARY(join32, uint64_t, uint32_t, a | (uint64_t)ROW(uint32_t, 2)[l] << 32)

HANDLER(mov_predicate) {
    set_predicate(PREDICATE(0), *PREDICATE(1), mask);
    return insn + 1;
}

HANDLER(join16x4) {
    (void)mask;
    uint64_t *d = ROW(uint64_t, 0);
    const uint32_t *a = ROW(uint32_t, 1), *b = ROW(uint32_t, 2), *c = ROW(uint32_t, 3), *e = ROW(uint32_t, 4);
    LANES d[l] = (uint16_t)a[l] | (uint64_t)(uint16_t)b[l] << 16 | (uint64_t)(uint16_t)c[l] << 32 |
                 (uint64_t)e[l] << 48;
    return insn + 1;
}

HANDLER(join8x4) {
    (void)mask;
    uint32_t *d = ROW(uint32_t, 0);
    const uint32_t *a = ROW(uint32_t, 1), *b = ROW(uint32_t, 2), *c = ROW(uint32_t, 3), *e = ROW(uint32_t, 4);
    LANES d[l] = (uint8_t)a[l] | (uint32_t)(uint8_t)b[l] << 8 | (uint32_t)(uint8_t)c[l] << 16 | e[l] << 24;
    return insn + 1;
}

/* The source may be one of the destinations: read before writing. */
HANDLER(split16) {
    (void)mask;
    uint32_t *low = ROW(uint32_t, 0), *high = ROW(uint32_t, 1);
    const uint32_t *a = ROW(uint32_t, 2);
    LANES {
        uint32_t v = a[l];
        low[l] = v & 0xffff;
        high[l] = v >> 16;
    }
    return insn + 1;
}

HANDLER(split32) {
    (void)mask;
    uint32_t *low = ROW(uint32_t, 0), *high = ROW(uint32_t, 1);
    const uint64_t *a = ROW(uint64_t, 2);
    LANES {
        uint64_t v = a[l];
        low[l] = (uint32_t)v;
        high[l] = (uint32_t)(v >> 32);
    }
    return insn + 1;
}

HANDLER(split16x4) {
    (void)mask;
    uint32_t *d0 = ROW(uint32_t, 0), *d1 = ROW(uint32_t, 1), *d2 = ROW(uint32_t, 2), *d3 = ROW(uint32_t, 3);
    const uint64_t *a = ROW(uint64_t, 4);
    LANES {
        uint64_t v = a[l];
        d0[l] = (uint16_t)v;
        d1[l] = (uint16_t)(v >> 16);
        d2[l] = (uint16_t)(v >> 32);
        d3[l] = (uint16_t)(v >> 48);
    }
    return insn + 1;
}

HANDLER(split8x4) {
    (void)mask;
    uint32_t *d0 = ROW(uint32_t, 0), *d1 = ROW(uint32_t, 1), *d2 = ROW(uint32_t, 2), *d3 = ROW(uint32_t, 3);
    const uint32_t *a = ROW(uint32_t, 4);
    LANES {
        uint32_t v = a[l];
        d0[l] = (uint8_t)v;
        d1[l] = (uint8_t)(v >> 8);
        d2[l] = (uint8_t)(v >> 16);
        d3[l] = v >> 24;
    }
    return insn + 1;
}

/* cvta: a window's offset to a generic address and back; global addresses are generic ones. */
UNARY(to_shared, uint64_t, uint64_t, (uint32_t)a | TRCPU_WINDOW_SHARED)
UNARY(to_local, uint64_t, uint64_t, (uint32_t)a | TRCPU_WINDOW_LOCAL)
UNARY(to_param, uint64_t, uint64_t, (uint32_t)a | TRCPU_WINDOW_PARAM)
UNARY(to_shared_narrow, uint64_t, uint32_t, a | TRCPU_WINDOW_SHARED)
UNARY(to_local_narrow, uint64_t, uint32_t, a | TRCPU_WINDOW_LOCAL)
UNARY(to_param_narrow, uint64_t, uint32_t, a | TRCPU_WINDOW_PARAM)
UNARY(from_window, uint64_t, uint64_t, (uint32_t)a)

static const uint64_t windows[] = {[TRCPU_SPACE_SHARED] = TRCPU_WINDOW_SHARED,
                                   [TRCPU_SPACE_LOCAL] = TRCPU_WINDOW_LOCAL,
                                   [TRCPU_SPACE_PARAM] = TRCPU_WINDOW_PARAM};

HANDLER(isspacep) {
    const uint64_t *a = ROW(uint64_t, 1);
    uint32_t in = 0;
    bool global = insn->mode == TRCPU_SPACE_GLOBAL;
    for (uint32_t l = 0; l < 32; l++) {
        uint64_t window = a[l] & TRCPU_WINDOW_MASK;
        in |= (uint32_t)(global ? window <= TRCPU_DEVICE : window == windows[insn->mode]) << l;
    }
    set_predicate(PREDICATE(0), in, mask);
    return insn + 1;
}

#define SELECT(name, type)                                                                                   \
    HANDLER(name) {                                                                                          \
        (void)mask;                                                                                          \
        type *d = ROW(type, 0);                                                                              \
        const type *a = ROW(type, 1), *b = ROW(type, 2);                                                     \
        uint32_t p = *PREDICATE(3);                                                                          \
        LANES d[l] = p >> l & 1 ? a[l] : b[l];                                                               \
        return insn + 1;                                                                                     \
    }
SELECT(select32, uint32_t)
SELECT(select64, uint64_t)

BINARY(slct32_s32, uint32_t, uint32_t, uint32_t, ROW(int32_t, 3)[l] >= 0 ? a : b)
BINARY(slct64_s32, uint64_t, uint64_t, uint64_t, ROW(int32_t, 3)[l] >= 0 ? a : b)
BINARY(slct32_f32, uint32_t, uint32_t, uint32_t, ROW(float, 3)[l] >= 0 ? a : b)
BINARY(slct64_f32, uint64_t, uint64_t, uint64_t, ROW(float, 3)[l] >= 0 ? a : b)

FORMS(move){
    {"mov.b32|u32|s32|f32", "w=w", mov32, 0, PURE},
    {"mov.b64|u64|s64|f64", "d=d", mov64, 0, PURE},
    {"mov.b16|u16|s16|f16|bf16", "h=h", mov32, 0, PURE},
    {"mov.pred", "p=p", mov_predicate, 0, PURE},
    {"mov.b32", "w={hh}", join16, 0, PURE},
    {"mov.b64", "d={ww}", join32, 0, PURE},
    {"mov.b64", "d={hhhh}", join16x4, 0, PURE},
    {"mov.b32", "w={hhhh}", join8x4, 0, PURE},
    {"mov.b32", "{hh}=w", split16, 0, PURE},
    {"mov.b64", "{ww}=d", split32, 0, PURE},
    {"mov.b64", "{hhhh}=d", split16x4, 0, PURE},
    {"mov.b32", "{hhhh}=w", split8x4, 0, PURE},
    {"cvta.?to.global|const.u64", "d=d", mov64, 0, PURE},
    {"cvta.shared.u64", "d=d", to_shared, 0, PURE},
    {"cvta.local.u64", "d=d", to_local, 0, PURE},
    {"cvta.param.u64", "d=d", to_param, 0, PURE},
    {"cvta.shared.u64", "d=w", to_shared_narrow, 0, PURE},
    {"cvta.local.u64", "d=w", to_local_narrow, 0, PURE},
    {"cvta.param.u64", "d=w", to_param_narrow, 0, PURE},
    {"cvta.to.shared|local|param.u64", "d=d", from_window, 0, PURE},
    {"isspacep.global|const", "p=d", isspacep, TRCPU_SPACE_GLOBAL, PURE},
    {"isspacep.shared|shared::cluster", "p=d", isspacep, TRCPU_SPACE_SHARED, PURE},
    {"isspacep.local", "p=d", isspacep, TRCPU_SPACE_LOCAL, PURE},
    {"isspacep.param", "p=d", isspacep, TRCPU_SPACE_PARAM, PURE},
    {"selp.b32|u32|s32|f32", "w=wwp", select32, 0, PURE},
    {"selp.b16|u16|s16|f16", "h=hhp", select32, 0, PURE},
    {"selp.b64|u64|s64|f64", "d=ddp", select64, 0, PURE},
    {"slct.?ftz.b32|u32|s32|f32.s32", "w=www", slct32_s32, 0, PURE},
    {"slct.?ftz.b32|u32|s32|f32.f32", "w=www", slct32_f32, 0, PURE},
    {"slct.?ftz.b64|u64|s64|f64.s32", "d=ddw", slct64_s32, 0, PURE},
    {"slct.?ftz.b64|u64|s64|f64.f32", "d=ddw", slct64_f32, 0, PURE},
    END_OF_FORMS,
};
