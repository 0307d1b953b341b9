/* Compile results, found again by what they were made from: in memory, then on disk.

   A key is a canonical text (stage, target stage, arch, options, environment, tools, record format) and the
   source's bytes. Its hash finds an entry; text and bytes are compared, so a collision is a miss and never a
   wrong result.

   On disk an entry is one file, <folder>/<2 hex digits>/<30 hex digits>, published in one step and read back
   under a checksum; one that is damaged is moved to <folder>/damaged, told to the log, and made again. Who
   makes an entry holds a one-byte lock on <folder>/lock at the key's own offset: threads and processes that
   ask for the same thing wait for it, and a killed one leaves nothing. The folder belongs to the user alone
   (0700). Whatever the disk refuses costs the cache, never the result. */
#ifndef TR_CACHE_ARTIFACTS_H
#define TR_CACHE_ARTIFACTS_H

#include "base/blob.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

typedef struct tr__artifacts tr__artifacts;

typedef struct tr__artifact_key {
    const char *text; /* canonical, one "name=value" a line */
    size_t size;
    const tr__blob *source;
} tr__artifact_key;

/* What is kept: sections of bytes, by a small number of the caller's choosing. */
enum { TR__ARTIFACT_SECTIONS = 16 };
typedef struct tr__artifact {
    uint32_t references;
    tr__blob *sections[TR__ARTIFACT_SECTIONS]; /* NULL: none */
    /* A bit for each section: the maker sets those that will seldom be asked for; what comes from disk has those that
       are still as tr__compress made them. */
    uint32_t seldom, compressed;
    /* What the caller made of the sections, kept with them in memory. Set before anyone else sees the
     * artifact. */
    void *decoded;
    void (*release_decoded)(void *decoded);
} tr__artifact;

tr__artifact *tr__artifact_create(void); /* NULL out of memory */
tr__artifact *tr__artifact_retain(tr__artifact *artifact);
void tr__artifact_release(tr__artifact *artifact); /* NULL is accepted */

typedef void tr__log_function(void *user, int32_t level, const char *message);

/* folder: NULL: TRITON_RUNNER_CACHE_DIR, else $XDG_CACHE_HOME/triton_runner, else ~/.cache/triton_runner;
   "": memory only. Nothing on disk is touched before it is needed. NULL out of memory. */
tr__artifacts *tr__artifacts_create(const char *folder, tr__log_function *log, void *log_user);
void tr__artifacts_destroy(tr__artifacts *artifacts);

/* The artifact in memory (retained), or NULL: no lock on disk, no system call. */
tr__artifact *tr__artifacts_recall(tr__artifacts *artifacts, const tr__artifact_key *key);

/* Asks for an entry with the intent to make it. One of:
     - *found (retained): it was there, or another thread or process has just made it
     - *claim: it is the caller's to make; ends in tr__artifacts_publish or tr__artifacts_abandon, and what
   `key` points to lives until then While another makes it, `wait` is called about every 20 ms; non-zero gives
   up with TR_E_CANCELLED (or the status it returns, if that is one). wait may be NULL. decode, called on what
   comes from disk, sets `decoded`, or says no (the entry's parts changed since; it is then made anew): may be
   NULL. holds, called on what is found in memory or on disk, says no when what it was made from has changed since: it
   is then made anew too; may be NULL. */
typedef struct tr__artifact_claim tr__artifact_claim;
typedef struct tr__artifact_hooks {
    tr_status (*wait)(void *user);
    bool (*decode)(void *user, tr__artifact *artifact);
    bool (*holds)(void *user, const tr__artifact *artifact);
    void *user;
} tr__artifact_hooks;
tr_status tr__artifacts_acquire(tr__artifacts *artifacts, const tr__artifact_key *key,
                                const tr__artifact_hooks *hooks, tr__artifact **found,
                                tr__artifact_claim **claim, tr_error **error);
void tr__artifacts_publish(tr__artifact_claim *claim,
                           tr__artifact *artifact); /* keeps a reference of its own */
void tr__artifacts_abandon(tr__artifact_claim *claim);

/* With TR__LOOK_NOWHERE without what lies on disk ("entries", "bytes", "list"), and with TR__LOOK_AT_ALL with the list:
   {"folder": …, "usable": …, "entries": …, "bytes": …, "limit": …, "memory_hits": …, "disk_hits": …,
   "misses": …, "damaged": …, "list": [{"name", "bytes", "used"}, …]}. NULL out of memory. */
typedef enum tr__look { TR__LOOK_NOWHERE, TR__LOOK_AT_SIZE, TR__LOOK_AT_ALL } tr__look;
json_t *tr__artifacts_report(tr__artifacts *artifacts, tr__look look);

/* Each counts what it did. verify reads every entry and sets aside the damaged; prune removes the least
   recently used until `limit` bytes are left; clear removes all. */
tr_status tr__artifacts_verify(tr__artifacts *artifacts, uint64_t *checked, uint64_t *damaged,
                               tr_error **error);
tr_status tr__artifacts_prune(tr__artifacts *artifacts, uint64_t limit, uint64_t *removed, tr_error **error);

#endif
