/* Watching a launch's accesses to global memory: reads of what nobody wrote, and races between CTAs.

   Two CTAs are ordered when one lets the other know what it did: through an atomic operation of a single lane, or a
   volatile, relaxed, acquire or release access, to the same address. Within a CTA all is taken for ordered; the shadow
   of shared memory looks at that. */
#ifndef TRCPU_WATCH_H
#define TRCPU_WATCH_H

#include "machine/program.h"

typedef struct trcpu_traces trcpu_traces;
typedef struct trcpu_watch trcpu_watch;     /* of a launch */
typedef struct trcpu_watcher trcpu_watcher; /* of a CTA */

typedef enum trcpu_watch_kind {
    TRCPU_WATCH_READ = false,
    TRCPU_WATCH_WRITE = true,
    TRCPU_WATCH_ATOMIC,
} trcpu_watch_kind;

trcpu_watch *trcpu_watch_create(trcpu_traces *traces, uint32_t checks);
void trcpu_watch_destroy(trcpu_watch *watch);

trcpu_watcher *trcpu_watcher_create(void);
void trcpu_watcher_destroy(trcpu_watcher *watcher);
void trcpu_watcher_begin(trcpu_watcher *watcher, trcpu_watch *watch,
                         uint32_t cta); /* its number in the grid */

/* Before the access; false: a fault is reported. */
bool trcpu_watch_lanes(trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask, const uint64_t address[32],
                       uint32_t bytes, trcpu_watch_kind kind);
bool trcpu_watch_range(trcpu_warp *warp, const trcpu_insn *insn, uint32_t lane, uint64_t address,
                       uint64_t bytes, trcpu_watch_kind kind);
/* Before an access that lets others know, and after one that may learn of them. */
void trcpu_watch_give(trcpu_warp *warp, uint64_t address);
void trcpu_watch_take(trcpu_warp *warp, uint64_t address);

#endif
