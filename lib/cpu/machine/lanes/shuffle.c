/* What lanes of a warp tell one another: shfl, vote, match, redux, activemask, elect, bar.warp. */
#include "machine/lanes/lanes.h"

/* Lanes that a .sync names and that live must be here. */
#define TOGETHER(members)                                                                                    \
    do {                                                                                                     \
        uint32_t wanted_ = (members)&warp->live;                                                             \
        if (wanted_ & ~warp->active) return trcpu_warp_gather(warp, insn, wanted_);                          \
    } while (0)

/* The membermask, which lanes that execute together agree on. */
static inline uint32_t members_of(const trcpu_warp *warp, uint32_t row, uint32_t mask) {
    return ROW_AT(const uint32_t, row)[__builtin_ctz(mask)];
}

enum { UP, DOWN, BFLY, IDX };

/* rows: d, p, a, b, c[, membermask] */
static inline const trcpu_insn *shuffle(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask) {
    uint32_t *d = ROW(uint32_t, 0), *p = PREDICATE(1), in[32], out[32], inside = 0;
    const uint32_t *a = ROW(uint32_t, 2), *b = ROW(uint32_t, 3), *c = ROW(uint32_t, 4);
    memcpy(in, a, sizeof in);
    uint32_t first = (uint32_t)__builtin_ctz(mask), bits = insn->mode & 3;
    uint32_t differ = 0, b0 = b[first], c0 = c[first];
    LANES differ |= (b[l] ^ b0) | (c[l] ^ c0);
    if (bits == BFLY && !differ && mask == ~0u && (c0 & 0x1f1f) == 0x1f) { /* nearly all there are */
        uint32_t x = b0 & 31;
        LANES out[l] = in[(l ^ x) & 31];
        memcpy(d, out, sizeof out);
        *p = ~0u;
        return insn + 1;
    }
    for (uint32_t l = 0; l < 32; l++) {
        uint32_t bound = c[l] & 31, segment = c[l] >> 8 & 31, delta = b[l] & 31;
        uint32_t most = (l & segment) | (bound & ~segment), least = l & segment, j;
        bool ok;
        switch (bits) {
        case UP: j = l - delta, ok = (int32_t)j >= (int32_t)most; break;
        case DOWN: j = l + delta, ok = j <= most; break;
        case BFLY: j = l ^ delta, ok = j <= most; break;
        default: j = least | (delta & ~segment), ok = j <= most; break;
        }
        out[l] = in[ok ? j & 31 : l];
        inside |= (uint32_t)ok << l;
    }
    LANES d[l] = mask >> l & 1 ? out[l] : d[l];
    set_predicate(p, inside, mask);
    return insn + 1;
}

HANDLER(shfl_sync) {
    TOGETHER(members_of(warp, insn->op[5], mask));
    return shuffle(warp, insn, mask);
}

/* ---- vote ---- rows: d, p, membermask */
enum { ALL, ANY, UNI };
HANDLER(vote) {
    uint32_t members = members_of(warp, insn->op[2], mask);
    TOGETHER(members);
    uint32_t set = *PREDICATE(1) & mask, among = mask & members;
    bool r = insn->mode == ALL   ? (set & among) == among
             : insn->mode == ANY ? (set & among) != 0
                                 : (set & among) == among || (set & among) == 0;
    set_predicate(PREDICATE(0), r ? ~0u : 0, mask);
    return insn + 1;
}

HANDLER(ballot) {
    uint32_t members = members_of(warp, insn->op[2], mask);
    TOGETHER(members);
    uint32_t *d = ROW(uint32_t, 0), set = *PREDICATE(1) & mask & members;
    LANES d[l] = mask >> l & 1 ? set : d[l];
    return insn + 1;
}

HANDLER(activemask) {
    uint32_t *d = ROW(uint32_t, 0);
    LANES d[l] = mask >> l & 1 ? mask : d[l];
    return insn + 1;
}

/* ---- match ---- */
#define MATCH(name, type)                                                                                    \
    HANDLER(match_any_##name) {                                                                              \
        uint32_t members = members_of(warp, insn->op[2], mask);                                              \
        TOGETHER(members);                                                                                   \
        const type *a = ROW(type, 1);                                                                        \
        uint32_t *d = ROW(uint32_t, 0), out[32];                                                             \
        for (uint32_t l = 0; l < 32; l++) {                                                                  \
            out[l] = 0;                                                                                      \
            for (uint32_t k = 0; k < 32; k++) out[l] |= (uint32_t)(a[k] == a[l]) << k;                       \
        }                                                                                                    \
        LANES d[l] = mask >> l & 1 ? out[l] & mask & members : d[l];                                         \
        return insn + 1;                                                                                     \
    }                                                                                                        \
    HANDLER(match_all_##name) {                                                                              \
        uint32_t members = members_of(warp, insn->op[3], mask);                                              \
        TOGETHER(members);                                                                                   \
        const type *a = ROW(type, 2);                                                                        \
        uint32_t *d = ROW(uint32_t, 0);                                                                      \
        type first = a[__builtin_ctz(mask)];                                                                 \
        bool same = true;                                                                                    \
        ACTIVE_LANES same &= a[l] == first;                                                                  \
        LANES d[l] = mask >> l & 1 ? (same ? mask & members : 0) : d[l];                                     \
        set_predicate(PREDICATE(1), same ? ~0u : 0, mask);                                                   \
        return insn + 1;                                                                                     \
    }
MATCH(b32, uint32_t)
MATCH(b64, uint64_t)

/* ---- redux ---- */
enum { ADD, MIN_U, MAX_U, MIN_S, MAX_S, AND, OR, XOR };
HANDLER(redux) {
    uint32_t members = members_of(warp, insn->op[2], mask);
    TOGETHER(members);
    const uint32_t *a = ROW(uint32_t, 1);
    uint32_t *d = ROW(uint32_t, 0), r = a[__builtin_ctz(mask)];
    for (uint32_t rest = mask & (mask - 1); rest; rest &= rest - 1) {
        uint32_t v = a[__builtin_ctz(rest)];
        switch (insn->mode) {
        case ADD: r += v; break;
        case MIN_U: r = v < r ? v : r; break;
        case MAX_U: r = v > r ? v : r; break;
        case MIN_S: r = (int32_t)v < (int32_t)r ? v : r; break;
        case MAX_S: r = (int32_t)v > (int32_t)r ? v : r; break;
        case AND: r &= v; break;
        case OR: r |= v; break;
        default: r ^= v; break;
        }
    }
    LANES d[l] = mask >> l & 1 ? r : d[l];
    return insn + 1;
}

/* rows: d, p, membermask */
HANDLER(elect) {
    uint32_t members = members_of(warp, insn->op[2], mask);
    TOGETHER(members);
    uint32_t *d = ROW(uint32_t, 0), leader = (uint32_t)__builtin_ctz(mask & members ? mask & members : mask);
    LANES d[l] = mask >> l & 1 ? leader : d[l];
    set_predicate(PREDICATE(1), 1u << leader, mask);
    return insn + 1;
}

HANDLER(warp_barrier) {
    TOGETHER(members_of(warp, insn->op[0], mask));
    return insn + 1;
}

FORMS(shuffle){
    {"shfl.sync.#up|down|bfly|idx.b32", "W=wwww", shfl_sync, 0, 0},
    {"vote.sync.all.pred", "p=pw", vote, ALL, 0},
    {"vote.sync.any.pred", "p=pw", vote, ANY, 0},
    {"vote.sync.uni.pred", "p=pw", vote, UNI, 0},
    {"vote.sync.ballot.b32", "w=pw", ballot, 0, 0},
    {"activemask.b32", "w", activemask, 0, 0},
    {"match.any.sync.b32", "w=ww", match_any_b32, 0, 0},
    {"match.any.sync.b64", "w=dw", match_any_b64, 0, 0},
    {"match.all.sync.b32", "W=ww", match_all_b32, 0, 0},
    {"match.all.sync.b64", "W=dw", match_all_b64, 0, 0},
    {"redux.sync.add.u32|s32", "w=ww", redux, ADD, 0},
    {"redux.sync.min.u32", "w=ww", redux, MIN_U, 0},
    {"redux.sync.max.u32", "w=ww", redux, MAX_U, 0},
    {"redux.sync.min.s32", "w=ww", redux, MIN_S, 0},
    {"redux.sync.max.s32", "w=ww", redux, MAX_S, 0},
    {"redux.sync.and.b32", "w=ww", redux, AND, 0},
    {"redux.sync.or.b32", "w=ww", redux, OR, 0},
    {"redux.sync.xor.b32", "w=ww", redux, XOR, 0},
    {"elect.sync", "W=w", elect, 0, 0},
    {"bar.warp.sync", "=w", warp_barrier, 0, 0},
    END_OF_FORMS,
};
