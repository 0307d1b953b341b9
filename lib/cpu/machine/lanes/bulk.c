/* cp.async.bulk and tensor maps. Copies take effect at once; what they signal, they signal then. */
#include "machine/lanes/cluster.h"
#include "machine/mbarrier.h"
#include "machine/tensor_map.h"

enum { INVALID_MAP = 719, ILLEGAL_INSTRUCTION = 715 };

/* ---- global memory for copies: the allocation this instruction hit last, then any ---- */
typedef struct access {
    trcpu_warp *warp;
    const trcpu_insn *insn;
    uint32_t lane;
    bool reduces;
} access;

static void *watched(const access *a, uint64_t address, uint64_t size, bool write) {
    trcpu_watch_kind kind = !write ? TRCPU_WATCH_READ : a->reduces ? TRCPU_WATCH_ATOMIC : TRCPU_WATCH_WRITE;
    if (a->warp->watch && !trcpu_watch_range(a->warp, a->insn, a->lane, address, size, kind)) return NULL;
    return trcpu_host_of(address);
}

static void *global_place(void *context, uint64_t address, uint64_t size, bool write) {
    access *a = context;
    trcpu_range *range = &a->warp->ranges[a->insn->slot];
    if (address >= range->low && address < range->high && size <= range->high - address)
        return watched(a, address, size, write);
    if (trcpu_run_reaches(a->warp->launch, address, size, write, range))
        return watched(a, address, size, write);
    /* the report is about the first byte that is not there */
    trcpu_range there;
    uint64_t bad = trcpu_run_reaches(a->warp->launch, address, 1, write, &there) ? there.high : address;
    trcpu_fault_access(a->warp, a->insn, a->lane, bad, 1, TRCPU_SPACE_GLOBAL, write);
    return NULL;
}

static const trcpu_insn *misuse(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane,
                                const char *problem) {
    return trcpu_fault_report(warp, insn, lane, INVALID_MAP, "bulk-copy", "%s", problem);
}

/* ---- what is in flight in the CTA of a shared address ---- */
static bool is_free(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t address, uint32_t bytes,
                    bool write) {
    uint32_t at = address & TRCPU_CLUSTER_OFFSET_MASK;
    const trcpu_flight *flight = trcpu_inflight_find(&cta_of(warp, address)->inflight, at, at + bytes, write);
    if (flight) trcpu_inflight_report(warp, insn, lane, flight, at, write);
    return !flight && shadow_bulk(warp, insn, lane, address, bytes, write);
}

static void note_store(trcpu_warp *warp, const trcpu_insn *insn, uint32_t address, uint32_t bytes) {
    trcpu_inflight_add(&warp->cta->inflight, (trcpu_flight){.low = address,
                                                            .high = address + bytes,
                                                            .kind = TRCPU_FLIGHT_STORE,
                                                            .owner = (uint8_t)warp->index,
                                                            .group = warp->bulk_group,
                                                            .insn = insn});
}

/* `bytes` have come to `to`: the mbarrier at `address` counts them. */
static bool signal(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t address, uint32_t to,
                   uint32_t bytes) {
    uint64_t *barrier = (uint64_t *)(void *)shared_place(warp, insn, lane, address, 8, 8, true);
    if (!barrier) return false;
    uint32_t at = to & TRCPU_CLUSTER_OFFSET_MASK;
    trcpu_inflight_add(&cta_of(warp, to)->inflight,
                       (trcpu_flight){.low = at,
                                      .high = at + bytes,
                                      .kind = TRCPU_FLIGHT_LOAD,
                                      .parity = trcpu_mbarrier_passed_parity(*barrier, 0),
                                      .barrier = address & TRCPU_CLUSTER_OFFSET_MASK,
                                      .insn = insn});
    give(warp, address);
    const char *problem = trcpu_mbarrier_complete_tx(barrier, bytes);
    if (problem) misuse(warp, insn, lane, problem);
    return !problem;
}

/* ---- tiles ---- */
static bool read_map(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint64_t address,
                     uint32_t coordinates, bool rows4, trcpu_tensor_map *map) {
    const char *bytes = place_lane(warp, insn, lane, address, 64, TRCPU_SPACE_GENERIC, false);
    if (bytes) bytes = place_lane(warp, insn, lane, address + 64, 64, TRCPU_SPACE_GENERIC, false);
    if (!bytes) return false;
    warp->ranges[insn->slot] = (trcpu_range){0}; /* the slot is for the tensor */
    const char *problem = trcpu_tensor_map_decode(bytes - 64, map);
    if (!problem &&
        (rows4 ? map->rank_minus_one != 1 || map->box[1] != 1 : map->rank_minus_one + 1u != coordinates))
        problem = rows4 ? "gather4 and scatter4 want a map of rank 2 with one row a box"
                        : "the instruction's number of coordinates is not the map's rank";
    if (problem)
        trcpu_fault_report(warp, insn, lane, INVALID_MAP, "tensor-map",
                           "the tensor map at 0x%llx can't be used: %s", (unsigned long long)address,
                           problem);
    return !problem;
}

/* Seen on an H200 of loads: a tile that does not begin at a multiple of 16 bytes of its rows ends the kernel with
   CUDA_ERROR_ILLEGAL_INSTRUCTION. */
static bool begins_well(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, const trcpu_tensor_map *map,
                        int32_t column) {
    int64_t bytes = (int64_t)column * trcpu_element_bytes((trcpu_element)map->element);
    if (bytes % 16 == 0) return true;
    trcpu_fault_report(
        warp, insn, lane, ILLEGAL_INSTRUCTION, "tensor-map",
        "the tile begins at column %d, %lld bytes into its rows: hardware wants a multiple of 16", column,
        (long long)bytes);
    return false;
}

/* Rows: from `row` on the map's address and the coordinates. */
static bool set_tile(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t row, uint32_t shared,
                     bool write, trcpu_tensor_map *map, access *where, trcpu_tile *tile) {
    const bool rows4 = insn->mode & 0x80;
    if (!read_map(warp, insn, lane, ROW_AT(uint64_t, insn->rows[row])[lane], insn->count, rows4, map))
        return false;
    *where = (access){warp, insn, lane, false};
    *tile = (trcpu_tile){.map = map, .rows4 = rows4, .host = global_place, .context = where};
    for (uint32_t i = 0; i < insn->count; i++)
        tile->coordinate[i] = ROW_AT(int32_t, insn->rows[row + 1 + i])[lane];
    if (!write && !rows4 && !begins_well(warp, insn, lane, map, tile->coordinate[0])) return false;
    uint32_t bytes = trcpu_tile_bytes(map, rows4);
    if (map->swizzle) bytes = (bytes + 127) & ~127u; /* its pieces move about within 128 bytes */
    char *at = shared_place(warp, insn, lane, shared, bytes, 128, !write);
    if (!at) return false;
    tile->address = shared & TRCPU_CLUSTER_OFFSET_MASK;
    tile->shared = at - tile->address;
    return is_free(warp, insn, lane, shared, bytes, !write);
}

HANDLER(load_tile) { /* [destination], [map, {coordinates}], [mbarrier] */
    ACTIVE_LANES {
        trcpu_tensor_map map;
        trcpu_tile tile;
        access where;
        uint32_t to = ROW(uint32_t, 0)[l];
        if (!set_tile(warp, insn, l, 1, to, false, &map, &where, &tile) || !trcpu_tile_load(&tile))
            return TRCPU_LEAVE;
        uint32_t barrier = ROW_AT(uint32_t, insn->rows[2 + insn->count])[l];
        if (!signal(warp, insn, l, barrier, to, trcpu_tile_bytes(&map, tile.rows4))) return TRCPU_LEAVE;
    }
    return insn + 1;
}

/* The same into each CTA of a mask, at the same offsets. */
HANDLER(load_tile_multicast) {
    ACTIVE_LANES {
        uint32_t to = ROW(uint32_t, 0)[l] & TRCPU_CLUSTER_OFFSET_MASK;
        uint32_t barrier = ROW_AT(uint32_t, insn->rows[2 + insn->count])[l] & TRCPU_CLUSTER_OFFSET_MASK;
        uint32_t ctas = ROW_AT(uint32_t, insn->rows[3 + insn->count])[l] & 0xffff;
        for (uint32_t rank = 0; rank < 16; rank++) {
            trcpu_tensor_map map;
            trcpu_tile tile;
            access where;
            uint32_t there = (rank + 1) << TRCPU_CLUSTER_RANK_SHIFT;
            if (!(ctas >> rank & 1)) continue;
            if (!set_tile(warp, insn, l, 1, there | to, false, &map, &where, &tile) ||
                !trcpu_tile_load(&tile) ||
                !signal(warp, insn, l, there | barrier, there | to, trcpu_tile_bytes(&map, tile.rows4)))
                return TRCPU_LEAVE;
        }
    }
    return insn + 1;
}

HANDLER(store_tile) { /* [map, {coordinates}], [source]; mode: the reduction */
    ACTIVE_LANES {
        trcpu_tensor_map map;
        trcpu_tile tile;
        access where;
        trcpu_reduction reduction = (trcpu_reduction)(insn->mode & 0x7f);
        uint32_t from = ROW_AT(uint32_t, insn->rows[1 + insn->count])[l];
        if (!set_tile(warp, insn, l, 0, from, true, &map, &where, &tile)) return TRCPU_LEAVE;
        if (reduction && !trcpu_reduction_exists((trcpu_element)map.element, reduction))
            return misuse(warp, insn, l, "the map's element type has no such reduction");
        where.reduces = reduction != TRCPU_REDUCE_NONE;
        if (!trcpu_tile_store(&tile, reduction)) return TRCPU_LEAVE;
        note_store(warp, insn, from, trcpu_tile_bytes(&map, tile.rows4));
    }
    return insn + 1;
}

/* ---- plain bulk copies ---- */
static bool check_bulk(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint64_t global,
                       uint32_t bytes) {
    if (bytes % 16 == 0 && global % 16 == 0) return true;
    misuse(warp, insn, lane, "addresses and size of a bulk copy are multiples of 16");
    return false;
}

HANDLER(load_bulk) { /* [destination], [source], size, [mbarrier] */
    ACTIVE_LANES {
        access where = {warp, insn, l, insn->mode != 0};
        uint64_t from = ROW(uint64_t, 1)[l];
        uint32_t to = ROW(uint32_t, 0)[l], bytes = ROW(uint32_t, 2)[l];
        if (!check_bulk(warp, insn, l, from, bytes)) return TRCPU_LEAVE;
        char *at = shared_place(warp, insn, l, to, bytes, 16, true);
        const char *source = at ? global_place(&where, from, bytes, false) : NULL;
        if (!source || !is_free(warp, insn, l, to, bytes, true)) return TRCPU_LEAVE;
        memcpy(at, source, bytes);
        if (!signal(warp, insn, l, ROW(uint32_t, 3)[l], to, bytes)) return TRCPU_LEAVE;
    }
    return insn + 1;
}

HANDLER(copy_bulk) { /* shared to shared of the cluster */
    ACTIVE_LANES {
        uint32_t to = ROW(uint32_t, 0)[l], from = ROW(uint32_t, 1)[l], bytes = ROW(uint32_t, 2)[l];
        if (!check_bulk(warp, insn, l, 0, bytes)) return TRCPU_LEAVE;
        char *at = shared_place(warp, insn, l, to, bytes, 16, true);
        const char *source = at ? shared_place(warp, insn, l, from, bytes, 16, false) : NULL;
        if (!source || !is_free(warp, insn, l, from, bytes, false) ||
            !is_free(warp, insn, l, to, bytes, true))
            return TRCPU_LEAVE;
        memmove(at, source, bytes);
        if (!signal(warp, insn, l, ROW(uint32_t, 3)[l], to, bytes)) return TRCPU_LEAVE;
    }
    return insn + 1;
}

HANDLER(store_bulk) { /* [destination], [source], size; mode: reduction, element << 4 */
    ACTIVE_LANES {
        access where = {warp, insn, l, insn->mode != 0};
        uint64_t to = ROW(uint64_t, 0)[l];
        uint32_t from = ROW(uint32_t, 1)[l], bytes = ROW(uint32_t, 2)[l];
        if (!check_bulk(warp, insn, l, to, bytes)) return TRCPU_LEAVE;
        const char *source = shared_place(warp, insn, l, from, bytes, 16, false);
        char *at = source ? global_place(&where, to, bytes, true) : NULL;
        if (!at || !is_free(warp, insn, l, from, bytes, false)) return TRCPU_LEAVE;
        note_store(warp, insn, from, bytes);
        trcpu_element element = (trcpu_element)(insn->mode >> 4);
        if (insn->mode == 0)
            memcpy(at, source, bytes);
        else
            trcpu_reduce(at, source, bytes / trcpu_element_bytes(element), element,
                         (trcpu_reduction)(insn->mode & 15));
    }
    return insn + 1;
}

/* ---- tensor maps in the making ---- */
/* PTX before 8.6 has strides in units of 16 bytes: ptxas of that time put them into the map as they were. */
static uint64_t field_value(const trcpu_warp *warp, uint64_t value, trcpu_tensor_field field) {
    bool units = field == TRCPU_TENSOR_STRIDE && warp->launch->function->module->ptx->version < 86;
    return units ? value << 4 : value;
}

enum { IN_SHARED = 0x40 };

/* NULL: done. */
static const trcpu_insn *replace(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint32_t index,
                                 uint64_t value) {
    char *map = insn->mode & IN_SHARED
                    ? shared_place(warp, insn, lane, ROW(uint32_t, 0)[lane], TRCPU_TENSOR_MAP_BYTES, 64, true)
                    : place_lane(warp, insn, lane, ROW(uint64_t, 0)[lane], 128, TRCPU_SPACE_GENERIC, true);
    if (!map) return TRCPU_LEAVE;
    trcpu_tensor_field field = (trcpu_tensor_field)(insn->mode & ~IN_SHARED);
    if (!trcpu_tensor_map_replace(map, field, index, field_value(warp, value, field)))
        return misuse(warp, insn, lane, "a tensor map has no such dimension");
    return NULL;
}

HANDLER(replace_indexed) { /* [map], dimension, value */
    ACTIVE_LANES {
        bool wide = (insn->mode & ~IN_SHARED) == TRCPU_TENSOR_STRIDE;
        uint64_t value = wide ? ROW(uint64_t, 2)[l] : ROW(uint32_t, 2)[l];
        const trcpu_insn *fault = replace(warp, insn, l, ROW(uint32_t, 1)[l], value);
        if (fault) return fault;
    }
    return insn + 1;
}

HANDLER(replace_field) { /* [map], value */
    ACTIVE_LANES {
        bool wide = (insn->mode & ~IN_SHARED) == TRCPU_TENSOR_ADDRESS;
        uint64_t value = wide ? ROW(uint64_t, 1)[l] : ROW(uint32_t, 1)[l];
        const trcpu_insn *fault = replace(warp, insn, l, 0, value);
        if (fault) return fault;
    }
    return insn + 1;
}

HANDLER(publish_map) { /* tensormap.cp_fenceproxy [global], [shared], 128: each lane has the same addresses */
    uint32_t lane = (uint32_t)__builtin_ctz(mask);
    access where = {warp, insn, lane, false};
    const char *from =
        shared_place(warp, insn, lane, ROW(uint32_t, 1)[lane], TRCPU_TENSOR_MAP_BYTES, 128, false);
    char *to = from ? global_place(&where, ROW(uint64_t, 0)[lane], TRCPU_TENSOR_MAP_BYTES, true) : NULL;
    if (!to) return TRCPU_LEAVE;
    memcpy(to, from, TRCPU_TENSOR_MAP_BYTES);
    return insn + 1;
}

HANDLER(commit) {
    (void)mask;
    warp->bulk_group++;
    return insn + 1;
}

HANDLER(wait_group) {
    (void)mask;
    uint64_t pending = (uint64_t)insn->imm, begun = warp->bulk_group;
    if (begun > pending)
        trcpu_inflight_waited(&warp->cta->inflight, TRCPU_FLIGHT_STORE, warp->index,
                              (uint32_t)(begun - pending));
    return insn + 1;
}

HANDLER(nothing) {
    (void)warp;
    (void)mask;
    return insn + 1;
}

#define MEMORY     TRCPU_FORM_MEMORY
#define DIMENSIONS "1d|2d|3d|4d|5d"
#define HINT       ".?L2::cache_hint"
#define STORE(mode_text, flag)                                                                               \
    {                                                                                                        \
        "cp.async.bulk.tensor." DIMENSIONS ".global.shared." mode_text "bulk_group" HINT, "=Ts?_",           \
            store_tile, flag, MEMORY                                                                         \
    }
#define REDUCE(name, op)                                                                                     \
    {                                                                                                        \
        "cp.reduce.async.bulk.tensor." DIMENSIONS ".global.shared." name ".?tile.bulk_group" HINT, "=Ts?_",  \
            store_tile, op, MEMORY                                                                           \
    }
#define REDUCE_BULK(name, op, types, element)                                                                \
    {                                                                                                        \
        "cp.reduce.async.bulk.global.shared.bulk_group" HINT "." name "." types, "=asw?_", store_bulk,       \
            op | element << 4, MEMORY                                                                        \
    }
#define REPLACE(name, field, type, operands, handler)                                                        \
    {"tensormap.replace.tile." name ".shared.b1024." type, "=s" operands, handler, field | IN_SHARED, 0}, {  \
        "tensormap.replace.tile." name ".?global.b1024." type, "=a" operands, handler, field, MEMORY         \
    }

FORMS(bulk){
    {"cp.async.bulk.tensor." DIMENSIONS
     ".?tile.shared|shared::cluster.global.?tile.mbarrier::complete_tx::bytes" HINT,
     "=sTs?_", load_tile, 0, MEMORY},
    {"cp.async.bulk.tensor.2d.?tile::gather4.shared|shared::cluster.global.?tile::gather4.mbarrier::complete_"
     "tx::bytes" HINT,
     "=sTs?_", load_tile, 0x80, MEMORY},
    {"cp.async.bulk.tensor." DIMENSIONS
     ".?tile.shared::cluster.global.?tile.mbarrier::complete_tx::bytes.multicast::cluster" HINT,
     "=sTsh?_", load_tile_multicast, 0, MEMORY},
    STORE("?tile.", 0),
    STORE("tile::scatter4.", 0x80),
    REDUCE("add", TRCPU_REDUCE_ADD),
    REDUCE("min", TRCPU_REDUCE_MIN),
    REDUCE("max", TRCPU_REDUCE_MAX),
    REDUCE("inc", TRCPU_REDUCE_INC),
    REDUCE("dec", TRCPU_REDUCE_DEC),
    REDUCE("and", TRCPU_REDUCE_AND),
    REDUCE("or", TRCPU_REDUCE_OR),
    REDUCE("xor", TRCPU_REDUCE_XOR),
    {"cp.async.bulk.shared|shared::cluster.global.mbarrier::complete_tx::bytes" HINT, "=saws?_", load_bulk, 0,
     MEMORY},
    {"cp.async.bulk.shared::cluster.shared.mbarrier::complete_tx::bytes", "=ssws", copy_bulk, 0, 0},
    {"cp.async.bulk.global.shared.bulk_group" HINT, "=asw?_", store_bulk, 0, MEMORY},
    REDUCE_BULK("add", TRCPU_REDUCE_ADD, "u32", TRCPU_ELEMENT_U32),
    REDUCE_BULK("add", TRCPU_REDUCE_ADD, "s32", TRCPU_ELEMENT_S32),
    REDUCE_BULK("add", TRCPU_REDUCE_ADD, "u64", TRCPU_ELEMENT_U64),
    REDUCE_BULK("add", TRCPU_REDUCE_ADD, "f32", TRCPU_ELEMENT_F32),
    REDUCE_BULK("add", TRCPU_REDUCE_ADD, "f64", TRCPU_ELEMENT_F64),
    REDUCE_BULK("add", TRCPU_REDUCE_ADD, "noftz.f16", TRCPU_ELEMENT_F16),
    REDUCE_BULK("add", TRCPU_REDUCE_ADD, "noftz.bf16", TRCPU_ELEMENT_BF16),
    REDUCE_BULK("min", TRCPU_REDUCE_MIN, "u32", TRCPU_ELEMENT_U32),
    REDUCE_BULK("min", TRCPU_REDUCE_MIN, "s32", TRCPU_ELEMENT_S32),
    REDUCE_BULK("min", TRCPU_REDUCE_MIN, "u64", TRCPU_ELEMENT_U64),
    REDUCE_BULK("min", TRCPU_REDUCE_MIN, "s64", TRCPU_ELEMENT_S64),
    REDUCE_BULK("min", TRCPU_REDUCE_MIN, "f16", TRCPU_ELEMENT_F16),
    REDUCE_BULK("min", TRCPU_REDUCE_MIN, "bf16", TRCPU_ELEMENT_BF16),
    REDUCE_BULK("max", TRCPU_REDUCE_MAX, "u32", TRCPU_ELEMENT_U32),
    REDUCE_BULK("max", TRCPU_REDUCE_MAX, "s32", TRCPU_ELEMENT_S32),
    REDUCE_BULK("max", TRCPU_REDUCE_MAX, "u64", TRCPU_ELEMENT_U64),
    REDUCE_BULK("max", TRCPU_REDUCE_MAX, "s64", TRCPU_ELEMENT_S64),
    REDUCE_BULK("max", TRCPU_REDUCE_MAX, "f16", TRCPU_ELEMENT_F16),
    REDUCE_BULK("max", TRCPU_REDUCE_MAX, "bf16", TRCPU_ELEMENT_BF16),
    REDUCE_BULK("inc", TRCPU_REDUCE_INC, "u32", TRCPU_ELEMENT_U32),
    REDUCE_BULK("dec", TRCPU_REDUCE_DEC, "u32", TRCPU_ELEMENT_U32),
    REDUCE_BULK("and", TRCPU_REDUCE_AND, "b32", TRCPU_ELEMENT_U32),
    REDUCE_BULK("and", TRCPU_REDUCE_AND, "b64", TRCPU_ELEMENT_U64),
    REDUCE_BULK("or", TRCPU_REDUCE_OR, "b32", TRCPU_ELEMENT_U32),
    REDUCE_BULK("or", TRCPU_REDUCE_OR, "b64", TRCPU_ELEMENT_U64),
    REDUCE_BULK("xor", TRCPU_REDUCE_XOR, "b32", TRCPU_ELEMENT_U32),
    REDUCE_BULK("xor", TRCPU_REDUCE_XOR, "b64", TRCPU_ELEMENT_U64),
    {"cp.async.bulk.commit_group", "", commit, 0, 0},
    {"cp.async.bulk.wait_group.?read", "=#", wait_group, 0, 0},
    {"cp.async.bulk.prefetch.L2.global" HINT, "=__?_", nothing, 0, 0},
    {"cp.async.bulk.prefetch.tensor." DIMENSIONS ".L2.global.?tile|tile::gather4" HINT, "=_?_", nothing, 0,
     0},
    {"prefetch.?param.tensormap", "=_", nothing, 0, 0},
    REPLACE("global_address", TRCPU_TENSOR_ADDRESS, "b64", "d", replace_field),
    REPLACE("rank", TRCPU_TENSOR_RANK_FIELD, "b32", "w", replace_field),
    REPLACE("box_dim", TRCPU_TENSOR_BOX, "b32", "ww", replace_indexed),
    REPLACE("global_dim", TRCPU_TENSOR_SIZE, "b32", "ww", replace_indexed),
    REPLACE("global_stride", TRCPU_TENSOR_STRIDE, "b64", "wd", replace_indexed),
    REPLACE("element_stride", TRCPU_TENSOR_ELEMENT_STRIDE, "b32", "ww", replace_indexed),
    REPLACE("elemtype", TRCPU_TENSOR_ELEMENT, "b32", "w", replace_field),
    REPLACE("interleave_layout", TRCPU_TENSOR_INTERLEAVE, "b32", "w", replace_field),
    REPLACE("swizzle_mode", TRCPU_TENSOR_SWIZZLE, "b32", "w", replace_field),
    REPLACE("fill_mode", TRCPU_TENSOR_FILL, "b32", "w", replace_field),
    {"tensormap.cp_fenceproxy.global.shared.tensormap::generic.release.cta|cluster|gpu|sys.sync.aligned",
     "=as_", publish_map, 0, MEMORY},
    END_OF_FORMS,
};
