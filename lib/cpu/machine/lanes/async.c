/* cp.async: copies from global to shared memory. They land when the kernel waits for them, not before, so that a
   missing wait shows. */
#include "machine/lanes/place.h"

#include <stdlib.h>

/* What lanes bring that read nothing. */
static const char zeros[16];

static bool more_room(trcpu_warp *warp) {
    uint32_t room = warp->copy_room ? 2 * warp->copy_room : 16;
    trcpu_copy *larger = malloc(room * sizeof *larger);
    if (!larger) return false;
    for (uint32_t k = 0; k < warp->copy_count; k++) larger[k] = *trcpu_warp_copy(warp, k);
    free(warp->copies);
    warp->copies = larger;
    warp->copy_first = 0;
    warp->copy_room = room;
    return true;
}

static trcpu_copy *new_copy(trcpu_warp *warp) {
    if (warp->copy_count == warp->copy_room && !more_room(warp)) return NULL;
    return trcpu_warp_copy(warp, warp->copy_count); /* counted when nothing is wrong with it */
}

/* In the shadow it is under way from now on. */
static bool shadow_copy(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, const trcpu_copy *copy) {
    const trcpu_view v = view_of(warp, insn);
    uint32_t left = copy->lines         ? write_lines(&v, copy->to, TRCPU_SHADOW_PENDING)
                    : copy->bytes == 16 ? trcpu_view_write_chunks(&v, copy->to, mask, TRCPU_SHADOW_PENDING)
                                        : mask;
    for (; left; left &= left - 1) {
        const uint32_t l = (uint32_t)__builtin_ctz(left);
        if (!trcpu_shadow_start(warp, insn, l, copy->to[l], copy->bytes, copy->from[l])) return false;
    }
    return true;
}

/* Does every fourth lane read where the next three go on? */
TRCPU_INLINE bool are_runs(const uint64_t from[32]) {
    uint64_t first[32];
    uint32_t apart;
    first_of_four64(first, from);
    SET_LANES(apart, from[l] != first[l] + 16 * (l % 4));
    return !apart;
}

/* It will be there when it lands. */
static void prefetch(const trcpu_copy *copy, uint32_t reading) {
    if (reading == ~0u)
        for (uint32_t l = 0; l < 32; l += copy->runs ? 4 : 1) __builtin_prefetch(copy->from[l]);
}

/* rows: to, from, bytes of a lane, optionally how many of them to read (the rest is zeros). */
TRCPU_INLINE const trcpu_insn *start(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, bool with_size,
                                     bool ignores) {
    const uint32_t bytes = ROW(uint32_t, 2)[__builtin_ctz(mask)];
    if (bytes != 4 && bytes != 8 && bytes != 16)
        return trcpu_fault_report(warp, insn, (uint32_t)__builtin_ctz(mask), 715, "misaligned",
                                  "cp.async copies 4, 8 or 16 bytes, not %u", bytes);
    trcpu_copy *copy = new_copy(warp);
    if (!copy)
        return trcpu_fault_report(warp, insn, (uint32_t)__builtin_ctz(mask), 2, "out-of-memory",
                                  "no memory for a cp.async");
    copy->insn = insn;
    copy->mask = mask;
    copy->bytes = bytes;
    copy->group = warp->copy_group;
    const uint32_t *to = ROW(uint32_t, 0), *size = with_size ? ROW(uint32_t, 3) : NULL;
    const uint64_t *from = ROW(uint64_t, 1);
    uint64_t source[32];
    uint32_t none, parts;
    LANES copy->to[l] = to[l];
    LANES source[l] = from[l];
    if (with_size) {
        LANES copy->size[l] = size[l] > bytes ? bytes : size[l];
    } else if (ignores) {
        uint32_t ignored = *PREDICATE(3);
        LANES copy->size[l] = ignored >> l & 1 ? 0 : bytes;
    } else {
        LANES copy->size[l] = bytes;
    }
    SET_LANES(none, copy->size[l] == 0);
    SET_LANES(parts, copy->size[l] != bytes);
    if (!all_in_shared(warp, mask, copy->to, bytes)) ACTIVE_LANES {
            if (!place_lane(warp, insn, l, copy->to[l], bytes, TRCPU_SPACE_SHARED, true)) return TRCPU_LEAVE;
            if (copy->to[l] < warp->shared_bytes) continue; /* another CTA's it can't fill */
            return trcpu_fault_access(warp, insn, l, copy->to[l], bytes, TRCPU_SPACE_SHARED, true);
        }
    uint32_t lane;
    const trcpu_flight *flight = in_flight(warp, mask, copy->to, bytes, true, &lane);
    if (flight) return trcpu_inflight_report(warp, insn, lane, flight, copy->to[lane], true);
    const uint32_t reading = mask & ~none;
    const bool whole = copy->whole = !(parts & reading);
    copy->lines = mask == ~0u && bytes == 16 && are_lines(copy->to);
    if (reading && !(whole && all_in_range(warp, insn, reading, source, bytes))) {
        for (uint32_t l = 0; l < 32; l++) {
            if (!(reading >> l & 1)) continue;
            if (source[l] & (bytes - 1)) {
                trcpu_fault_access(warp, insn, l, source[l], bytes, TRCPU_SPACE_GLOBAL, false);
                return TRCPU_LEAVE;
            }
            trcpu_range *range = &warp->ranges[insn->slot];
            if (source[l] >= range->low && source[l] < range->high &&
                copy->size[l] <= range->high - source[l])
                continue;
            if (!trcpu_run_reaches(warp->launch, source[l], copy->size[l], false, range)) {
                trcpu_fault_access(warp, insn, l, source[l], copy->size[l] & -copy->size[l],
                                   TRCPU_SPACE_GLOBAL, false);
                return TRCPU_LEAVE;
            }
        }
    }
    LANES copy->from[l] = copy->size[l] ? trcpu_host_of(source[l]) : zeros;
    copy->runs = copy->lines && reading == ~0u && whole && are_runs(source);
    prefetch(copy, reading);
    if (warp->shadow && !shadow_copy(warp, insn, mask, copy)) return TRCPU_LEAVE;
    if (reading && warp->watch) {
        if (whole && !trcpu_watch_lanes(warp, insn, reading, source, bytes, TRCPU_WATCH_READ))
            return TRCPU_LEAVE;
        for (uint32_t rest = whole ? 0 : reading; rest; rest &= rest - 1) {
            uint32_t l = (uint32_t)__builtin_ctz(rest);
            if (!trcpu_watch_range(warp, insn, l, source[l], copy->size[l], TRCPU_WATCH_READ))
                return TRCPU_LEAVE;
        }
    }
    warp->copy_count++;
    return insn + 1;
}

HANDLER(copy_all) {
    return start(warp, insn, mask, false, false);
}
HANDLER(copy_sized) {
    return start(warp, insn, mask, true, false);
}
HANDLER(copy_unless) {
    return start(warp, insn, mask, false, true);
}

static void shadow_landing(const trcpu_warp *warp, const trcpu_copy *copy) {
    const trcpu_view v = view_of(warp, copy->insn);
    uint32_t left = copy->lines         ? land_lines(&v, copy->to)
                    : copy->bytes == 16 ? trcpu_view_land_chunks(&v, copy->to, copy->mask)
                                        : copy->mask;
    for (; left; left &= left - 1) trcpu_view_land(&v, copy->to[__builtin_ctz(left)] / 4, copy->bytes / 4);
}

static void land(trcpu_warp *warp, const trcpu_copy *copy) {
    char *shared = warp->shared;
    if (warp->shadow) shadow_landing(warp, copy);
    if (copy->runs) {
        for (uint32_t l = 0; l < 32; l += 4) fill_line(shared, copy->to[l], copy->from[l]);
        return;
    }
    if (copy->mask == ~0u && copy->bytes == 16 && copy->whole) {
        for (uint32_t l = 0; l < 32; l++) memcpy(shared + copy->to[l], copy->from[l], 16);
        return;
    }
    for (uint32_t rest = copy->mask; rest; rest &= rest - 1) {
        uint32_t l = (uint32_t)__builtin_ctz(rest);
        char *to = shared + copy->to[l];
        memcpy(to, copy->from[l], copy->size[l]);
        memset(to + copy->size[l], 0, copy->bytes - copy->size[l]);
    }
}

/* All but the youngest `pending` groups have landed. */
static void wait_for(trcpu_warp *warp, uint64_t pending) {
    for (const trcpu_copy *oldest; warp->copy_count; warp->copy_count--, warp->copy_first++) {
        oldest = trcpu_warp_copy(warp, 0);
        if ((uint64_t)oldest->group + pending >= warp->copy_group) return;
        land(warp, oldest);
    }
}

HANDLER(commit) {
    (void)mask;
    warp->copy_group++;
    return insn + 1;
}

HANDLER(wait_group) {
    (void)mask;
    wait_for(warp, (uint64_t)insn->imm);
    return insn + 1;
}

HANDLER(wait_all) {
    (void)mask;
    warp->copy_group++;
    wait_for(warp, 0);
    return insn + 1;
}

#define M TRCPU_FORM_MEMORY
/* .ca and .cg, hints of L2, and an optional cache policy at the end */
#define COPY "cp.async.ca|cg.shared|shared::cluster.global.?L2::cache_hint.?L2::64B|L2::128B|L2::256B"

FORMS(async){
    {COPY, "=saww?_", copy_sized, 0, M},
    {COPY, "=sawp?_", copy_unless, 0, M},
    {COPY, "=saw?_", copy_all, 0, M},
    {"cp.async.commit_group", "", commit, 0, 0},
    {"cp.async.wait_group", "=#", wait_group, 0, 0},
    {"cp.async.wait_all", "", wait_all, 0, 0},
    END_OF_FORMS,
};
