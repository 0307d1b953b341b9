/* cp.async: copies from global to shared memory. They land when the kernel waits for them, not before, so that a
   missing wait shows. */
#include "machine/lanes/place.h"

#include <stdlib.h>

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
    uint32_t left = copy->in_lines      ? write_lines(&v, copy->to, TRCPU_SHADOW_PENDING)
                    : copy->bytes == 16 ? trcpu_view_write_chunks(&v, copy->to, mask, TRCPU_SHADOW_PENDING)
                                        : mask;
    for (; left; left &= left - 1) {
        const uint32_t l = (uint32_t)__builtin_ctz(left);
        if (!trcpu_shadow_start(warp, insn, l, trcpu_copy_to(copy, l), copy->bytes, trcpu_copy_from(copy, l)))
            return false;
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

/* From where to where, and what will be there when it lands is fetched. */
TRCPU_INLINE void keep_places(trcpu_copy *copy, const uint32_t to[32], const uint64_t from[32]) {
    copy->in_lines = copy->mask == ~0u && copy->bytes == 16 && copy->whole && are_lines(to) && are_runs(from);
    if (copy->in_lines) {
        for (uint32_t l = 0; l < 8; l++) copy->to[l] = to[4 * l];
        for (uint32_t l = 0; l < 8; l++) copy->from[l] = (const char *)(uintptr_t)from[4 * l];
    } else {
        memcpy(copy->to, to, sizeof copy->to);
        memcpy(copy->from, from, sizeof copy->from);
    }
    for (uint32_t l = 0; l < (copy->in_lines ? 8 : copy->mask == ~0u ? 32 : 0); l++)
        __builtin_prefetch(copy->from[l]);
}

/* Where the lanes read, each `size` of `bytes`; those that read nothing, from zeros. False: there is a fault. */
TRCPU_INLINE bool find_sources(trcpu_warp *warp, const trcpu_insn *insn, uint32_t reading, bool whole,
                               const uint64_t source[32], const uint32_t size[32], uint32_t bytes) {
    if (!reading || (whole && all_in_range(warp, insn, reading, source, bytes))) return true;
    for (uint32_t rest = reading; rest; rest &= rest - 1) {
        const uint32_t l = (uint32_t)__builtin_ctz(rest);
        trcpu_range *range = &warp->ranges[insn->slot];
        const bool aligned = !(source[l] & (bytes - 1));
        if (aligned && source[l] >= range->low && source[l] < range->high &&
            size[l] <= range->high - source[l])
            continue;
        if (aligned && trcpu_run_reaches(warp->launch, source[l], size[l], false, range)) continue;
        trcpu_fault_access(warp, insn, l, source[l], aligned ? size[l] & -size[l] : bytes, TRCPU_SPACE_GLOBAL,
                           false);
        return false;
    }
    return true;
}

static bool watch_sources(trcpu_warp *warp, const trcpu_insn *insn, uint32_t reading, bool whole,
                          const uint64_t source[32], const uint32_t size[32], uint32_t bytes) {
    if (!reading || !warp->watch) return true;
    if (whole) return trcpu_watch_lanes(warp, insn, reading, source, bytes, TRCPU_WATCH_READ);
    for (uint32_t rest = reading; rest; rest &= rest - 1) {
        const uint32_t l = (uint32_t)__builtin_ctz(rest);
        if (!trcpu_watch_range(warp, insn, l, source[l], size[l], TRCPU_WATCH_READ)) return false;
    }
    return true;
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
    const uint32_t *to = ROW(uint32_t, 0), *asked = with_size ? ROW(uint32_t, 3) : NULL;
    const uint64_t *source = ROW(uint64_t, 1);
    const uint32_t ignored = ignores ? *PREDICATE(3) : 0;
    uint64_t from[32];
    uint32_t size[32], none, parts, lane;
    if (with_size)
        LANES size[l] = asked[l] > bytes ? bytes : asked[l];
    else
        LANES size[l] = ignored >> l & 1 ? 0 : bytes;
    SET_LANES(none, size[l] == 0);
    SET_LANES(parts, size[l] != bytes);
    if (!all_in_shared(warp, mask, to, bytes)) ACTIVE_LANES {
            if (!place_lane(warp, insn, l, to[l], bytes, TRCPU_SPACE_SHARED, true)) return TRCPU_LEAVE;
            if (to[l] < warp->shared_bytes) continue; /* another CTA's it can't fill */
            return trcpu_fault_access(warp, insn, l, to[l], bytes, TRCPU_SPACE_SHARED, true);
        }
    const trcpu_flight *flight = in_flight(warp, mask, to, bytes, true, &lane);
    if (flight) return trcpu_inflight_report(warp, insn, lane, flight, to[lane], true);
    const uint32_t reading = mask & ~none;
    const bool whole = !(parts & reading);
    if (!find_sources(warp, insn, reading, whole, source, size, bytes)) return TRCPU_LEAVE;
    const uint64_t nothing = (uint64_t)(uintptr_t)trcpu_zeros;
    LANES from[l] = size[l] ? (uint64_t)(uintptr_t)trcpu_host_of(source[l]) : nothing + 16 * (l % 4);
    copy->insn = insn;
    copy->mask = mask;
    copy->bytes = bytes;
    copy->group = warp->copy_group;
    copy->whole = whole;
    if (!whole) memcpy(copy->size, size, sizeof size);
    keep_places(copy, to, from);
    if ((warp->shadow && !shadow_copy(warp, insn, mask, copy)) ||
        !watch_sources(warp, insn, reading, whole, source, size, bytes))
        return TRCPU_LEAVE;
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
    uint32_t left = copy->in_lines      ? land_lines(&v, copy->to)
                    : copy->bytes == 16 ? trcpu_view_land_chunks(&v, copy->to, copy->mask)
                                        : copy->mask;
    for (; left; left &= left - 1)
        trcpu_view_land(&v, trcpu_copy_to(copy, (uint32_t)__builtin_ctz(left)) / 4, copy->bytes / 4);
}

static void land(trcpu_warp *warp, const trcpu_copy *copy) {
    char *shared = warp->shared;
    if (warp->shadow) shadow_landing(warp, copy);
    if (copy->in_lines) {
        for (uint32_t l = 0; l < 8; l++) fill_line(shared, copy->to[l], copy->from[l]);
        return;
    }
    if (copy->mask == ~0u && copy->bytes == 16 && copy->whole) {
        for (uint32_t l = 0; l < 32; l++) memcpy(shared + copy->to[l], copy->from[l], 16);
        return;
    }
    for (uint32_t rest = copy->mask; rest; rest &= rest - 1) {
        const uint32_t l = (uint32_t)__builtin_ctz(rest), size = copy->whole ? copy->bytes : copy->size[l];
        memcpy(shared + copy->to[l], copy->from[l], size);
        memset(shared + copy->to[l] + size, 0, copy->bytes - size);
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
