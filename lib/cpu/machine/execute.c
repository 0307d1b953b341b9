/* A grid: CTAs over threads, several at a time on each when they wait for one another. */
#include "machine/checks.h"
#include "machine/pool.h"
#include "machine/stall.h"
#include "machine/warp.h"

#include <stdlib.h>
#include <string.h>

enum {
    CUDA_INVALID_VALUE = 1,
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_INVALID_CLUSTER_SIZE = 912,
    FUEL = 4096,
    MOST_RESIDENT = 4096 /* CTAs a thread holds */
};

/* Backward branches of a warp before its loop counts as endless; TRITON_RUNNER_CPU_LOOP_LIMIT sets another. */
static uint64_t loop_limit = 1ull << 31;
static pthread_once_t loop_limit_once = PTHREAD_ONCE_INIT;

static void read_loop_limit(void) {
    const char *text = getenv("TRITON_RUNNER_CPU_LOOP_LIMIT");
    uint64_t limit = text ? strtoull(text, NULL, 10) : 0;
    if (limit) loop_limit = limit;
}

/* ---- a CTA's memory: warps, register files, shared and local memory ---- */
typedef struct layout {
    size_t warps, ranges, files, file, shared, local, local_each, size;
} layout;

static size_t take(size_t *end, size_t size) {
    size_t at = *end;
    *end = (at + size + 127) & ~(size_t)127;
    return at;
}

static layout layout_of(const trcpu_run *run) {
    layout l = {0};
    const trcpu_function *f = run->function;
    l.warps = take(&l.size, run->warps * sizeof(trcpu_warp));
    l.ranges = take(&l.size, (size_t)run->warps * (f->slot_count + 1) * sizeof(trcpu_range));
    l.file = ((size_t)f->file_bytes + 127) & ~(size_t)127;
    l.files = take(&l.size, l.file * run->warps);
    l.shared = take(&l.size, run->shared_bytes + 64);
    l.local_each = (size_t)f->frame_bytes * 32;
    l.local = take(&l.size, l.local_each * run->warps + 64);
    return l;
}

static void fill32(char *file, uint32_t row, uint32_t value) {
    uint32_t *lanes = (uint32_t *)(void *)(file + row);
    for (int l = 0; l < 32; l++) lanes[l] = value;
}

static void fill64(char *file, uint32_t row, uint64_t value) {
    uint64_t *lanes = (uint64_t *)(void *)(file + row);
    for (int l = 0; l < 32; l++) lanes[l] = value;
}

static void set_constants(char *file, const trcpu_function *f) {
    static const uint32_t predicates[3] = {~0u, 0, 0};
    memcpy(file, predicates, sizeof predicates);
    for (uint32_t i = 0; i < f->constant_count; i++) {
        if (f->constants[i].bytes == 8)
            fill64(file, f->constants[i].row, f->constants[i].value);
        else
            fill32(file, f->constants[i].row, (uint32_t)f->constants[i].value);
    }
}

static uint32_t special_value(const trcpu_warp *warp, uint32_t special, uint32_t lane) {
    const trcpu_run *run = warp->launch;
    const trcpu_launch *launch = run->launch;
    const uint32_t *index = warp->cta->index, *grid = launch->grid, *block = launch->block;
    const uint32_t *cluster = run->cluster;
    uint32_t thread = warp->index * 32 + lane;
    switch (special) {
    case TRCPU_TID_X: return thread % block[0];
    case TRCPU_TID_Y: return thread / block[0] % block[1];
    case TRCPU_TID_Z: return thread / block[0] / block[1];
    case TRCPU_LANEID: return lane;
    case TRCPU_WARPID: return warp->index;
    case TRCPU_NWARPID: return run->warps;
    case TRCPU_LANEMASK_EQ: return 1u << lane;
    case TRCPU_LANEMASK_LT: return (1u << lane) - 1;
    case TRCPU_LANEMASK_LE: return (2u << lane) - 1;
    case TRCPU_LANEMASK_GT: return ~((2u << lane) - 1);
    case TRCPU_LANEMASK_GE: return ~((1u << lane) - 1);
    case TRCPU_NTID_X:
    case TRCPU_NTID_Y:
    case TRCPU_NTID_Z: return block[special - TRCPU_NTID_X];
    case TRCPU_NCTAID_X:
    case TRCPU_NCTAID_Y:
    case TRCPU_NCTAID_Z: return grid[special - TRCPU_NCTAID_X];
    case TRCPU_CTAID_X:
    case TRCPU_CTAID_Y:
    case TRCPU_CTAID_Z: return index[special - TRCPU_CTAID_X];
    case TRCPU_CLUSTERID_X:
    case TRCPU_CLUSTERID_Y:
    case TRCPU_CLUSTERID_Z: return index[special - TRCPU_CLUSTERID_X] / cluster[special - TRCPU_CLUSTERID_X];
    case TRCPU_NCLUSTERID_X:
    case TRCPU_NCLUSTERID_Y:
    case TRCPU_NCLUSTERID_Z:
        return grid[special - TRCPU_NCLUSTERID_X] / cluster[special - TRCPU_NCLUSTERID_X];
    case TRCPU_CLUSTER_CTAID_X:
    case TRCPU_CLUSTER_CTAID_Y:
    case TRCPU_CLUSTER_CTAID_Z:
        return index[special - TRCPU_CLUSTER_CTAID_X] % cluster[special - TRCPU_CLUSTER_CTAID_X];
    case TRCPU_CLUSTER_NCTAID_X:
    case TRCPU_CLUSTER_NCTAID_Y:
    case TRCPU_CLUSTER_NCTAID_Z: return cluster[special - TRCPU_CLUSTER_NCTAID_X];
    case TRCPU_CLUSTER_CTARANK: return warp->cta->rank;
    case TRCPU_CLUSTER_NCTARANK: return run->cluster_size;
    case TRCPU_IS_EXPLICIT_CLUSTER: return run->cluster_size > 1 ? ~0u : 0;
    case TRCPU_NSMID: return trcpu_pool_threads();
    case TRCPU_GRIDID: return (uint32_t)run->serial;
    case TRCPU_DYNAMIC_SMEM_SIZE: return launch->dynamic_shared;
    case TRCPU_TOTAL_SMEM_SIZE: return run->shared_bytes;
    default: return 0;
    }
}

/* Do CTAs of a launch differ in it? The rest is set once, and stays. */
static bool of_the_cta(uint32_t special) {
    return (special >= TRCPU_CTAID_X && special <= TRCPU_CTAID_Z) ||
           (special >= TRCPU_CLUSTERID_X && special <= TRCPU_CLUSTERID_Z) ||
           (special >= TRCPU_CLUSTER_CTAID_X && special <= TRCPU_CLUSTER_CTAID_Z) ||
           special == TRCPU_CLUSTER_CTARANK;
}

static void set_specials(trcpu_warp *warp, bool of_cta) {
    const trcpu_function *f = warp->launch->function;
    for (uint32_t i = 0; i < f->special_count; i++) {
        uint32_t special = f->specials[i].special, row = f->specials[i].row;
        if (special >= TRCPU_CLOCK || of_the_cta(special) != of_cta) continue;
        if (of_cta) {
            fill32(warp->file, row, special_value(warp, special, 0));
        } else if (special == TRCPU_GRIDID) {
            fill64(warp->file, row, warp->launch->serial);
        } else {
            uint32_t *lanes = (uint32_t *)(void *)(warp->file + row);
            for (uint32_t l = 0; l < 32; l++) lanes[l] = special_value(warp, special, l);
        }
    }
}

static trcpu_cta *create_cta(trcpu_run *run) {
    layout l = layout_of(run);
    trcpu_cta *cta = calloc(1, sizeof *cta);
    char *memory = cta ? aligned_alloc(128, l.size) : NULL;
    if (!memory) {
        free(cta);
        return NULL;
    }
    memset(memory, 0, l.size);
    cta->launch = run;
    cta->memory = memory;
    cta->warps = (trcpu_warp *)(void *)(memory + l.warps);
    cta->warp_count = run->warps;
    cta->shared = memory + l.shared;
    bool shadowed = run->shared_bytes && run->checks & TRCPU_CHECK_SHARED;
    if (shadowed) cta->shadow = trcpu_shadow_create(run->shared_bytes, run->checks);
    if (run->watch) cta->watcher = trcpu_watcher_create();
    if ((shadowed && !cta->shadow) || (run->watch && !cta->watcher)) {
        trcpu_shadow_destroy(cta->shadow);
        free(memory);
        free(cta);
        return NULL;
    }
    for (uint32_t w = 0; w < run->warps; w++) {
        trcpu_warp *warp = &cta->warps[w];
        warp->file = memory + l.files + w * l.file;
        warp->ranges =
            (trcpu_range *)(void *)(memory + l.ranges) + (size_t)w * (run->function->slot_count + 1);
        warp->shared = cta->shared;
        warp->shadow = cta->shadow;
        warp->watch = run->watch;
        warp->shared_bytes = run->shared_bytes;
        warp->local = memory + l.local + w * l.local_each;
        warp->local_bytes = run->function->frame_bytes;
        warp->index = w;
        warp->cta = cta;
        warp->launch = run;
        set_constants(warp->file, run->function);
        set_specials(warp, false);
    }
    return cta;
}

static void destroy_cta(trcpu_cta *cta) {
    if (!cta) return;
    for (uint32_t w = 0; w < cta->warp_count; w++) free(cta->warps[w].copies);
    trcpu_shadow_destroy(cta->shadow);
    trcpu_watcher_destroy(cta->watcher);
    free(cta->memory);
    free(cta);
}

/* The CTA of a rank in a cluster, clusters counted along x first. */
static void begin_cta(trcpu_cta *cta, uint64_t number, uint32_t rank) {
    trcpu_run *run = cta->launch;
    uint32_t inside = rank;
    for (int d = 0; d < 3; d++) {
        uint32_t size = run->cluster[d], clusters = run->launch->grid[d] / size;
        cta->index[d] = (uint32_t)(number % clusters) * size + inside % size;
        number /= clusters;
        inside /= size;
    }
    if (cta->watcher) {
        const uint32_t *grid = run->launch->grid;
        trcpu_watcher_begin(cta->watcher, run->watch,
                            cta->index[0] + grid[0] * (cta->index[1] + grid[1] * cta->index[2]));
    }
    cta->rank = rank;
    cta->in_use = true;
    cta->finished = false;
    cta->inflight.readers = cta->inflight.writers = 0;
    cta->inflight.off = !(run->checks & TRCPU_CHECK_MISSING_WAIT);
    memset(cta->barriers, 0, sizeof cta->barriers);
    cta->threads_left = 32 * cta->warp_count;
    bool unlanded = false;
    for (uint32_t w = 0; w < cta->warp_count; w++) unlanded |= cta->warps[w].copy_count != 0;
    if (cta->shadow) trcpu_shadow_begin(cta->shadow, run->warps, unlanded);
    for (uint32_t w = 0; w < cta->warp_count; w++) {
        trcpu_warp *warp = &cta->warps[w];
        uint32_t left = run->threads - 32 * w;
        warp->live = warp->active = left >= 32 ? ~0u : (1u << left) - 1;
        warp->pc = run->function->code;
        warp->stop = UINTPTR_MAX;
        warp->fuel = FUEL;
        warp->branches = warp->syncs = 0;
        warp->carry = 0;
        warp->state = TRCPU_WARP_READY;
        warp->paused = false;
        warp->path_count = 1;
        warp->current = 0;
        warp->paths[0] = (trcpu_path){.pc = warp->pc, .active = warp->active};
        warp->copy_count = warp->copy_group = 0;
        warp->wgmma_group = warp->bulk_group = 0;
        warp->waits = warp->cluster_arrived = warp->cluster_phase = 0;
        set_specials(warp, true);
    }
}

/* ---- running ---- */
typedef enum outcome { CTA_DONE, CTA_WAITS, CTA_FAULTED } outcome;

/* Runs the CTA's warps in turn until it is done, or only spins. */
static outcome run_cta(trcpu_cta *cta, const trcpu_variant *variant) {
    for (;;) {
        bool ran = false, left = false, only_pauses = true;
        for (uint32_t w = 0; w < cta->warp_count; w++) {
            trcpu_warp *warp = &cta->warps[w];
            if (warp->state == TRCPU_WARP_READY || warp->state == TRCPU_WARP_WOKEN) {
                warp->paused = false;
                ran = true;
                (cta->launch->counters ? variant->run_counted : variant->run)(warp);
                only_pauses &= warp->paused && warp->state == TRCPU_WARP_READY;
                if (warp->state == TRCPU_WARP_FAULTED) return CTA_FAULTED;
            }
            left |= warp->state != TRCPU_WARP_DONE;
        }
        if (!left && cta->shadow && trcpu_shadow_settle(cta->shadow, cta->warps)) return CTA_FAULTED;
        if (!left) return CTA_DONE;
        if (atomic_load_explicit(&cta->launch->stopped, memory_order_relaxed)) return CTA_FAULTED;
        if (!ran) return trcpu_stall_report_blocked(cta) ? CTA_FAULTED : CTA_DONE;
        if (only_pauses) return CTA_WAITS;
    }
}

typedef struct resident { /* of one thread */
    trcpu_cta **ctas;
    uint32_t count, used;
    uint64_t next, end; /* clusters taken, and not yet started */
    bool waited;        /* CTAs waited for others */
} resident;

/* Slots for a cluster's CTAs: free ones, then new ones. */
static bool find_slots(trcpu_run *run, resident *here, trcpu_cta **out) {
    uint32_t found = 0;
    for (uint32_t slot = 0; found < run->cluster_size; slot++) {
        if (slot == MOST_RESIDENT) return false;
        if (slot == here->count) {
            trcpu_cta *cta = create_cta(run);
            if (!cta) return false;
            here->ctas[here->count++] = cta;
        }
        if (!here->ctas[slot]->in_use) out[found++] = here->ctas[slot];
    }
    return true;
}

/* Neighbours in the grid are neighbours in memory: a thread takes several at a time, near the end of the grid fewer, so
   that all threads end together; one where they wait for their neighbours. */
static bool take_clusters(trcpu_run *run, resident *here) {
    enum { MOST_TAKEN = 64, SHARES = 8 };
    uint64_t next = atomic_load(&run->next), count = run->cluster_count;
    if (here->next < here->end) return true;
    if (next >= count) return false;
    uint64_t share = (count - next) / ((uint64_t)run->workers * SHARES);
    uint64_t taken = share < 1 || here->waited ? 1 : share > MOST_TAKEN ? MOST_TAKEN : share;
    here->next = atomic_fetch_add(&run->next, taken);
    here->end = here->next + taken < count ? here->next + taken : count;
    return here->next < here->end;
}

/* Puts the grid's next cluster, mostly one CTA, into slots; false when there is none left, or no memory. */
static bool start_next(trcpu_run *run, resident *here) {
    trcpu_cta *ctas[TRCPU_CLUSTER_ROOM];
    if (!take_clusters(run, here) || !find_slots(run, here, ctas)) return false;
    uint64_t number = here->next++;
    trcpu_cluster *cluster = &ctas[0]->own;
    *cluster = (trcpu_cluster){.size = run->cluster_size, .running = run->cluster_size};
    for (uint32_t rank = 0; rank < cluster->size; rank++) {
        cluster->ctas[rank] = ctas[rank];
        ctas[rank]->cluster = cluster;
        begin_cta(ctas[rank], number, rank);
    }
    here->used += cluster->size;
    return true;
}

/* A CTA is done; its slot is free when its cluster's CTAs all are, for they may look at each other's memory. */
static bool retire(trcpu_cta *cta, resident *here) {
    trcpu_cluster *cluster = cta->cluster;
    cta->finished = true;
    if (--cluster->running) return false;
    for (uint32_t rank = 0; rank < cluster->size; rank++) cluster->ctas[rank]->in_use = false;
    here->used -= cluster->size;
    return true;
}

static void work(void *context) {
    trcpu_run *run = context;
    const trcpu_variant *variant = trcpu_variant_best();
    resident here = {.ctas = calloc(MOST_RESIDENT, sizeof *here.ctas)};
    if (!here.ctas) return;
    trcpu_stall stall = {0};
    trcpu_stall_enter(run);
    while (!atomic_load_explicit(&run->stopped, memory_order_relaxed)) {
        if (here.used == 0 && !start_next(run, &here)) break;
        bool all_wait = true;
        for (uint32_t i = 0; i < here.count; i++) {
            trcpu_cta *cta = here.ctas[i];
            outcome how = CTA_WAITS;
            while (cta->in_use && !cta->finished && (how = run_cta(cta, variant)) == CTA_DONE) {
                all_wait = false;
                trcpu_stall_moved(run, &stall);
                if (!retire(cta, &here) || here.used || !start_next(run, &here)) break;
            }
            if (how == CTA_FAULTED) goto out;
        }
        if (!all_wait || !here.used) continue;
        here.waited = true;
        if (start_next(run, &here))
            trcpu_stall_moved(run, &stall);
        else if (trcpu_stall_found(run, &stall, here.ctas, here.count))
            break;
    }
    if (here.next < here.end && !here.used) atomic_store(&run->starved, true);
out:
    trcpu_stall_leave(run);
    for (uint32_t i = 0; i < here.count; i++) destroy_cta(here.ctas[i]);
    free(here.ctas);
}

static bool fits(const trcpu_launch *launch) {
    const trcpu_function_info *info = &launch->function->info;
    uint64_t threads = 1;
    for (int d = 0; d < 3; d++) {
        if (!launch->grid[d] || !launch->block[d]) return false;
        if (info->required_block[0] && launch->block[d] != info->required_block[d]) return false;
        threads *= launch->block[d];
    }
    return threads <= 1024;
}

/* The cluster's shape: the launch's, else what the kernel was compiled for. */
static bool set_cluster(trcpu_run *run) {
    const uint32_t *required = run->function->info.required_cluster, *asked = run->launch->cluster;
    uint64_t size = 1;
    run->cluster_count = 1;
    for (int d = 0; d < 3; d++) {
        run->cluster[d] = asked[d] ? asked[d] : required[d] ? required[d] : 1;
        if (required[0] && run->cluster[d] != (required[d] ? required[d] : 1)) return false;
        if (run->launch->grid[d] % run->cluster[d]) return false;
        run->cluster_count *= run->launch->grid[d] / run->cluster[d];
        size *= run->cluster[d];
    }
    run->cluster_size = (uint32_t)size;
    return size <= TRCPU_CLUSTER_ROOM;
}

static bool set_watch(trcpu_run *run) {
    if (!(run->checks & TRCPU_CHECK_GLOBAL)) return true;
    if (!trcpu_memory_watch(run->memory, run->checks & TRCPU_CHECK_RACE_GLOBAL)) return false;
    trcpu_traces *traces = trcpu_memory_traces(run->memory);
    if (!traces) return true; /* what was written isn't known */
    run->watch = trcpu_watch_create(traces, run->checks);
    return run->watch != NULL;
}

int trcpu_execute(trcpu_memory *memory, const trcpu_launch *launch, uint32_t checks, trcpu_counts *counters,
                  trcpu_fault *fault) {
    static atomic_ullong serial;
    pthread_once(&loop_limit_once, read_loop_limit);
    if (!fits(launch)) return CUDA_INVALID_VALUE;
    const trcpu_function *f = launch->function;
    trcpu_fault unread = {0};
    trcpu_run run = {.memory = memory,
                     .launch = launch,
                     .function = f,
                     .checks = checks,
                     .threads = launch->block[0] * launch->block[1] * launch->block[2],
                     .shared_bytes = (launch->dynamic_shared ? f->shared_dynamic : f->shared_bytes) +
                                     launch->dynamic_shared,
                     .limit = checks & TRCPU_CHECK_INFINITE_LOOP ? loop_limit : UINT64_MAX,
                     .serial = atomic_fetch_add(&serial, 1) + 1,
                     .fault = fault ? fault : &unread,
                     .counters = counters};
    run.warps = (run.threads + 31) / 32;
    if (!set_cluster(&run)) return CUDA_INVALID_CLUSTER_SIZE;
    memset(run.fault, 0, sizeof *run.fault);
    uint32_t threads = trcpu_pool_threads();
    uint64_t helpers = run.cluster_count - 1 < threads - 1 ? run.cluster_count - 1 : threads - 1;
    run.workers = (uint32_t)helpers + 1;
    if (!set_watch(&run) || pthread_mutex_init(&run.lock, NULL) != 0) {
        trcpu_watch_destroy(run.watch);
        return CUDA_OUT_OF_MEMORY;
    }
    trcpu_pool_run(work, &run, (uint32_t)helpers);
    pthread_mutex_destroy(&run.lock);
    trcpu_watch_destroy(run.watch);
    if (run.fault->result) return run.fault->result;
    return atomic_load(&run.next) >= run.cluster_count && !atomic_load(&run.starved) ? 0 : CUDA_OUT_OF_MEMORY;
}
