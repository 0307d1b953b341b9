#include "machine/stall.h"

#include "machine/checks.h"

#include <stdio.h>
#include <string.h>

enum { CUDA_LAUNCH_TIMEOUT = 702, CUDA_LAUNCH_FAILED = 719, FIRST_LOOK = 8 };

/* ---- who waits where ---- */
typedef struct listing {
    char text[400];
    size_t size;
    uint32_t left_out;
} listing;

static uint32_t line_of(const trcpu_function *f, const trcpu_insn *insn) {
    const trcpu_statement *s = f->sources[insn - f->code].statement;
    return s ? f->module->ptx->locations[s->location].line : 0;
}

static const trcpu_insn *place_of(const trcpu_path *path) {
    return path->wait == TRCPU_WAIT_BARRIER ? path->pc - 1 : path->pc;
}

static void list(listing *l, const trcpu_warp *warp, const trcpu_path *path, bool with_cta) {
    const uint32_t *cta = warp->cta->index, line = line_of(warp->launch->function, place_of(path));
    char entry[260], where[48] = "", what[160] = "";
    if (with_cta) snprintf(where, sizeof where, "CTA (%u, %u, %u) ", cta[0], cta[1], cta[2]);
    if (path->wait == TRCPU_WAIT_BARRIER)
        snprintf(what, sizeof what, "waits at barrier %u", path->barrier);
    else if (path->wait == TRCPU_WAIT_LANES)
        snprintf(what, sizeof what, "waits for other lanes");
    else if (warp->waits)
        snprintf(what, sizeof what, "waits for %s", warp->awaited);
    else if (warp->polled)
        snprintf(what, sizeof what, "spins on 0x%llx", (unsigned long long)warp->polled);
    else
        snprintf(what, sizeof what, "spins");
    int n = snprintf(entry, sizeof entry, "%s%swarp %u (lanes %08x) %s at line %u", l->size ? ", " : "",
                     where, warp->index, path->active, what, line);
    if (n > 0 && l->size + (size_t)n < sizeof l->text) {
        memcpy(l->text + l->size, entry, (size_t)n + 1);
        l->size += (size_t)n;
    } else {
        l->left_out++;
    }
}

static void end_list(listing *l) {
    if (l->left_out && l->size + 20 < sizeof l->text)
        snprintf(l->text + l->size, sizeof l->text - l->size, ", and %u more", l->left_out);
}

bool trcpu_stall_report_blocked(trcpu_cta *cta) {
    trcpu_warp *first = NULL;
    const trcpu_path *at = NULL;
    listing who = {0};
    bool lanes_apart = false;
    for (uint32_t w = 0; w < cta->warp_count; w++) {
        trcpu_warp *warp = &cta->warps[w];
        for (uint32_t k = 0; warp->state == TRCPU_WARP_BLOCKED && k < warp->path_count; k++) {
            const trcpu_path *path = &warp->paths[k];
            lanes_apart |= path->wait == TRCPU_WAIT_LANES;
            if (!first) {
                first = warp;
                at = path;
            }
            list(&who, warp, path, false);
        }
    }
    if (!first) return false;
    end_list(&who);
    uint32_t lane = (uint32_t)__builtin_ctz(at->active);
    if (lanes_apart)
        trcpu_fault_report(first, place_of(at), lane, CUDA_LAUNCH_FAILED, "barrier-divergence",
                           "lanes of a warp wait for one another at different places: %s", who.text);
    else
        trcpu_fault_report(first, place_of(at), lane, CUDA_LAUNCH_FAILED, "deadlock",
                           "no warp of the CTA can go on: %s; the others have exited", who.text);
    return true;
}

/* ---- going in circles ---- */
static uint64_t mix(uint64_t hash, const void *bytes, size_t size) {
    const char *at = bytes;
    uint64_t lanes[4] = {hash, hash ^ 1, hash ^ 2, hash ^ 3}, words[4];
    for (; size >= sizeof words; at += sizeof words, size -= sizeof words) {
        memcpy(words, at, sizeof words);
        for (int i = 0; i < 4; i++) {
            lanes[i] = (lanes[i] ^ words[i]) * 0x9e3779b97f4a7c15u;
            lanes[i] ^= lanes[i] >> 29;
        }
    }
    for (; size; at++, size--) lanes[0] = (lanes[0] ^ (unsigned char)*at) * 0x100000001b3u;
    for (int i = 1; i < 4; i++) lanes[0] = (lanes[0] ^ lanes[i]) * 0x9e3779b97f4a7c15u;
    return lanes[0];
}

static uint64_t state_of(trcpu_cta *const *ctas, uint32_t count) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < count; i++) {
        const trcpu_cta *cta = ctas[i];
        for (uint32_t w = 0; cta->in_use && !cta->finished && w < cta->warp_count; w++) {
            const trcpu_warp *warp = &cta->warps[w];
            for (uint32_t k = 0; k < warp->path_count; k++) {
                const trcpu_path *path = &warp->paths[k];
                uint64_t is[3] = {(uint64_t)(uintptr_t)path->pc, path->active, path->wait};
                hash = mix(hash, is, sizeof is);
            }
            hash = mix(hash, warp->file, warp->launch->function->file_bytes);
        }
    }
    return hash;
}

static void begin_round(trcpu_run *run, uint32_t circles) {
    run->stall_round++;
    run->stall_confirmed = 0;
    run->stall_circles = circles;
}

void trcpu_stall_enter(trcpu_run *run) {
    pthread_mutex_lock(&run->lock);
    run->stall_threads++;
    begin_round(run, 0);
    pthread_mutex_unlock(&run->lock);
}

void trcpu_stall_leave(trcpu_run *run) {
    pthread_mutex_lock(&run->lock);
    run->stall_threads--;
    begin_round(run, 0);
    pthread_mutex_unlock(&run->lock);
}

void trcpu_stall_moved(trcpu_run *run, trcpu_stall *stall) {
    stall->sweeps = 0;
    if (!atomic_load(&run->stall_suspected)) return;
    pthread_mutex_lock(&run->lock);
    begin_round(run, 0);
    pthread_mutex_unlock(&run->lock);
}

/* This thread goes in circles, since after the round began. Do all, for the second time? */
static bool confirm(trcpu_run *run, trcpu_stall *stall) {
    pthread_mutex_lock(&run->lock);
    bool all = false;
    if (stall->round == run->stall_round) {
        stall->round = 0;
        all = ++run->stall_confirmed == run->stall_threads && run->stall_circles;
        if (run->stall_confirmed == run->stall_threads) begin_round(run, 1);
    }
    pthread_mutex_unlock(&run->lock);
    return all;
}

/* Does the loop around look at memory? Else nothing could end it. */
static bool looks_at_memory(const trcpu_warp *warp, const trcpu_insn *head) {
    const trcpu_function *f = warp->launch->function;
    static const char *const words[] = {"ld.", "atom", "mbarrier"};
    for (const trcpu_insn *insn = head, *end = f->code + f->code_size; insn < end; insn++) {
        const trcpu_statement *s = f->sources[insn - f->code].statement;
        if (!s) continue;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            size_t size = strlen(words[i]);
            if (s->opcode.size > size && memcmp(s->opcode.at, words[i], size) == 0 &&
                !memmem(s->opcode.at, s->opcode.size, ".param", 6))
                return true;
        }
        if (s->opcode.size >= 3 && memcmp(s->opcode.at, "bra", 3) == 0 &&
            (const trcpu_insn *)(uintptr_t)insn->imm == head)
            return false;
    }
    return false;
}

static void report(trcpu_run *run, trcpu_cta *const *ctas, uint32_t count) {
    trcpu_warp *blamed = NULL;
    const trcpu_path *at = NULL;
    listing who = {0};
    bool memory = false;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t w = 0; ctas[i]->in_use && !ctas[i]->finished && w < ctas[i]->warp_count; w++) {
            trcpu_warp *warp = &ctas[i]->warps[w];
            for (uint32_t k = 0; warp->state != TRCPU_WARP_DONE && k < warp->path_count; k++) {
                const trcpu_path *path = &warp->paths[k];
                bool spins = path->wait == TRCPU_WAIT_NOTHING;
                if (spins) memory |= warp->waits || looks_at_memory(warp, path->pc);
                if (spins && (!at || at->wait != TRCPU_WAIT_NOTHING)) {
                    blamed = warp;
                    at = path;
                }
                list(&who, warp, path,
                     run->launch->grid[0] * run->launch->grid[1] * run->launch->grid[2] > 1);
            }
        }
    if (!blamed) return;
    end_list(&who);
    uint32_t lane = (uint32_t)__builtin_ctz(at->active);
    if (!memory)
        trcpu_fault_report(blamed, at->pc, lane, CUDA_LAUNCH_TIMEOUT, "infinite-loop",
                           "the loop changes nothing and looks at nothing: it does not end: %s", who.text);
    else
        trcpu_fault_report(blamed, at->pc, lane, blamed->waits ? CUDA_LAUNCH_FAILED : CUDA_LAUNCH_TIMEOUT,
                           "deadlock", "all that still run wait for what nobody will bring about: %s",
                           who.text);
}

bool trcpu_stall_found(trcpu_run *run, trcpu_stall *stall, trcpu_cta *const *ctas, uint32_t count) {
    if (!(run->checks & TRCPU_CHECK_DEADLOCK) || ++stall->sweeps < FIRST_LOOK) return false;
    atomic_store(&run->stall_suspected, true);
    uint64_t state = state_of(ctas, count);
    bool circle = stall->round && stall->saved == state;
    if (circle && confirm(run, stall)) {
        report(run, ctas, count);
        return true;
    }
    if (!stall->round ||
        stall->sweeps >= 2 * stall->saved_at) { /* circles of any length are found in the end */
        pthread_mutex_lock(&run->lock);
        stall->round = run->stall_round;
        pthread_mutex_unlock(&run->lock);
        stall->saved = state;
        stall->saved_at = stall->sweeps;
    }
    return false;
}
