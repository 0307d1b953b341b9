/* What runs: warps, the CTA they form, the launch it belongs to. */
#ifndef TRCPU_WARP_H
#define TRCPU_WARP_H

#include "machine/inflight.h"
#include "machine/memory.h"
#include "machine/program.h"
#include "machine/shadow.h"
#include "machine/watch.h"

#include <pthread.h>
#include <stdatomic.h>

/* Lanes at one place of the code. A warp that doesn't diverge has one path. The path with the lowest address goes
   first, so that the others meet it where the branches join. */
typedef enum trcpu_wait {
    TRCPU_WAIT_NOTHING,
    TRCPU_WAIT_LANES,   /* for lanes of the warp, at an instruction that wants them together */
    TRCPU_WAIT_BARRIER, /* for other warps */
} trcpu_wait;

typedef struct trcpu_path {
    const trcpu_insn *pc;
    uint32_t active;
    uint8_t wait, barrier;
} trcpu_path;

typedef struct trcpu_range { /* of device addresses: [low, high), as a handler may access them */
    uint64_t low, high;
    uint64_t last; /* where the lanes began last time: a guess where they will next */
} trcpu_range;

typedef struct trcpu_copy { /* a cp.async that has not landed */
    const trcpu_insn *insn;
    uint32_t mask, bytes, group;
    /* in lines: four lanes each read 64 bytes side by side, and fill a line (lanes/line.h): to and from have the first lanes';
       whole: no lane reads a part of its bytes, and there are no sizes */
    bool in_lines, whole;
    uint32_t to[32];
    const char *from[32]; /* trcpu_zeros: nothing is read */
    uint32_t size[32];
} trcpu_copy;

extern const char trcpu_zeros[64];

static inline uint32_t trcpu_copy_to(const trcpu_copy *copy, uint32_t lane) {
    return copy->in_lines ? copy->to[lane / 4] ^ 16 * (lane % 4) : copy->to[lane];
}

static inline const char *trcpu_copy_from(const trcpu_copy *copy, uint32_t lane) {
    return copy->in_lines ? copy->from[lane / 4] + 16 * (lane % 4) : copy->from[lane];
}

/* woken: no longer blocked, its path is yet to be selected */
typedef enum trcpu_warp_state {
    TRCPU_WARP_READY,
    TRCPU_WARP_WOKEN,
    TRCPU_WARP_BLOCKED,
    TRCPU_WARP_DONE,
    TRCPU_WARP_FAULTED
} trcpu_warp_state;

typedef struct trcpu_cta trcpu_cta;
typedef struct trcpu_run trcpu_run;

struct trcpu_warp {
    char *file; /* the register file */
    const trcpu_insn *pc;
    uint32_t active, live; /* lanes of the current path; lanes that have not exited */
    uintptr_t stop;        /* where another path waits */
    char *shared;
    uint32_t shared_bytes;
    trcpu_shadow *shadow; /* of it; NULL: no check needs one */
    uint32_t fuel;        /* backward branches until it must give way */
    trcpu_range *ranges;  /* one a slot */
    char *local;          /* lane after lane */
    uint32_t local_bytes;
    uint32_t index;
    trcpu_cta *cta;
    trcpu_run *launch;
    uint8_t state;
    bool paused;        /* gave way: nothing blocks it */
    uint32_t carry;     /* the condition code of add.cc and its like, a bit per lane */
    uint32_t syncs;     /* accesses that other threads look at since the last pause: is it spinning? */
    trcpu_watch *watch; /* of global memory; NULL: no check needs one */
    uint64_t polled;    /* the address of the last atomic, for reports */
    uint64_t branches;  /* backward ones so far */
    uint32_t path_count, current;
    trcpu_path paths[32];
    trcpu_copy *copies; /* cp.async under way: a ring, its room a power of two */
    uint32_t copy_first, copy_count, copy_room, copy_group;
    uint32_t wgmma_group, bulk_group; /* the ones being filled */
    uint32_t waits;                   /* in vain, one after the other */
    char awaited[128];                /* what for */
    uint32_t cluster_arrived;         /* lanes that have arrived at the cluster's barrier and not waited */
    uint32_t cluster_phase;           /* in which they arrived */
};

typedef struct trcpu_barrier {
    uint32_t arrived, expected;                /* threads; expected 0: all that have not exited */
    uint32_t value_and, value_or, value_count; /* of bar.red */
    uint32_t last_and, last_or, last_count;
} trcpu_barrier;

enum { TRCPU_CLUSTER_ROOM = 16 };

typedef struct trcpu_cluster { /* CTAs that run on one host thread; most are alone */
    trcpu_cta *ctas[TRCPU_CLUSTER_ROOM];
    uint32_t size, running;
    uint32_t arrived, phase; /* of its barrier */
} trcpu_cluster;

struct trcpu_cta {
    trcpu_run *launch;
    uint32_t index[3];
    char *shared;
    trcpu_shadow *shadow;
    trcpu_watcher *watcher;            /* NULL: the launch isn't watched */
    uint32_t warp_count, threads_left; /* in whole warps: those that have not exited */
    trcpu_warp *warps;
    trcpu_barrier barriers[16];
    bool in_use, finished; /* a finished one is in use until its cluster has finished */
    trcpu_cluster *cluster, own;
    uint32_t rank; /* in the cluster */
    trcpu_inflight inflight;
    char *memory; /* everything above lies in it */
};

/* One trcpu_execute. */
struct trcpu_run {
    trcpu_memory *memory;
    const trcpu_launch *launch;
    const trcpu_function *function;
    uint32_t checks;
    trcpu_watch *watch;                    /* NULL: neither check of global memory is on */
    uint32_t threads, warps, shared_bytes; /* of a CTA */
    uint32_t workers;                      /* threads of the host */
    uint64_t cluster_count;
    uint32_t cluster[3], cluster_size;
    uint64_t limit;      /* backward branches of a warp, then it is an infinite loop */
    uint64_t serial;     /* %gridid */
    atomic_bool stopped; /* a fault: everybody leaves */
    atomic_bool starved; /* a thread had no memory for clusters it had taken */
    pthread_mutex_t lock;
    trcpu_fault *fault;
    trcpu_counts *counters; /* NULL: nothing is counted */
    /* stall.c: threads that run CTAs; how many of them have gone in circles this round; had all done so before? */
    uint32_t stall_threads, stall_confirmed, stall_round;
    bool stall_circles;
    atomic_bool stall_suspected;
    _Alignas(128) atomic_ullong next; /* cluster; all threads write it, and only read the rest */
};

/* The k-th oldest. */
static inline trcpu_copy *trcpu_warp_copy(const trcpu_warp *warp, uint32_t k) {
    return &warp->copies[(warp->copy_first + k) & (warp->copy_room - 1)];
}

static inline bool trcpu_run_reaches(const trcpu_run *run, uint64_t address, uint64_t size, bool write,
                                     trcpu_range *range) {
    return trcpu_memory_reach(run->memory, address, size, write, run->checks, &range->low, &range->high);
}

/* ---- what handlers call; all return what the handler returns ---- */
/* warp.c: control flow */
const trcpu_insn *trcpu_warp_branch(trcpu_warp *warp, const trcpu_insn *insn, const trcpu_insn *target,
                                    uint32_t mask);
const trcpu_insn *trcpu_warp_pause(trcpu_warp *warp, const trcpu_insn *next);
const trcpu_insn *trcpu_warp_exit(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask);
/* Lanes of `members` that still live are not here: wait for them. */
const trcpu_insn *trcpu_warp_gather(trcpu_warp *warp, const trcpu_insn *insn, uint32_t members);
/* Splits off the lanes of `mask`, which go on at `target`; the rest at `next`. */
const trcpu_insn *trcpu_warp_split(trcpu_warp *warp, const trcpu_insn *next, const trcpu_insn *target,
                                   uint32_t mask);
bool trcpu_warp_select(trcpu_warp *warp); /* the path to run next; false: none can */

/* barrier.c; count 0: for all threads; values: the predicate of a bar.red */
const trcpu_insn *trcpu_barrier_wait(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, uint32_t id,
                                     uint32_t count, uint32_t values, bool arrive_only);
void trcpu_barrier_check(trcpu_cta *cta, uint32_t id); /* after an arrival or an exit */

/* fault.c */
const trcpu_insn *trcpu_fault_access(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane,
                                     uint64_t address, uint32_t bytes, trcpu_space space, bool write);
void trcpu_fault_address(trcpu_warp *warp, uint64_t address); /* of the report that follows */
const trcpu_insn *trcpu_fault_report(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, int result,
                                     const char *kind, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* inflight.c: an access to shared memory that should have waited */
const trcpu_insn *trcpu_inflight_report(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane,
                                        const trcpu_flight *flight, uint32_t address, bool write);

#endif
