#include "cache/artifacts.h"

#include "cache/entry.h"
#include "cache/folder.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

enum { MEMORY_MOST = 256 << 20, POLL_MS = 20 };
static const int64_t lock_patience_ms =
    5 * 60 * 1000; /* a lock held longer is somebody's fork: go on without */

/* An artifact in memory, or one that a thread of this process is making (artifact NULL). */
typedef struct slot {
    tr__hash hash; /* the table's key */
    char *text;
    size_t text_size;
    tr__blob *source;
    tr__artifact *artifact;
    size_t bytes;
    bool lost; /* uthash had no memory for it */
    UT_hash_handle hh;
} slot;

struct tr__artifacts {
    tr__folder folder;
    pthread_mutex_t lock;
    pthread_cond_t made;
    slot *slots; /* in order of use, the latest last */
    size_t bytes;
    uint64_t memory_hits, disk_hits, misses, damaged;
};

struct tr__artifact_claim {
    tr__artifacts *artifacts;
    slot *slot; /* NULL: a collision in memory; the result goes to nobody else */
    tr__artifact_key key;
    tr__hash hash;
    int lock;
};

tr__artifact *tr__artifact_create(void) {
    tr__artifact *artifact = calloc(1, sizeof *artifact);
    if (artifact) artifact->references = 1;
    return artifact;
}

tr__artifact *tr__artifact_retain(tr__artifact *artifact) {
    if (artifact) __atomic_fetch_add(&artifact->references, 1, __ATOMIC_RELAXED);
    return artifact;
}

void tr__artifact_release(tr__artifact *artifact) {
    if (!artifact || __atomic_fetch_sub(&artifact->references, 1, __ATOMIC_ACQ_REL) != 1) return;
    if (artifact->decoded) artifact->release_decoded(artifact->decoded);
    for (int i = 0; i < TR__ARTIFACT_SECTIONS; i++) tr__blob_release(artifact->sections[i]);
    free(artifact);
}

tr__artifacts *tr__artifacts_create(const char *folder, tr__log_function *log, void *log_user) {
    tr__artifacts *artifacts = calloc(1, sizeof *artifacts);
    if (!artifacts) return NULL;
    artifacts->folder.log = log;
    artifacts->folder.log_user = log_user;
    if (!tr__folder_init(&artifacts->folder, folder)) {
        free(artifacts);
        return NULL;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&artifacts->lock, NULL);
    pthread_cond_init(&artifacts->made, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return artifacts;
}

static void slot_destroy(slot *slot) {
    if (!slot) return;
    tr__artifact_release(slot->artifact);
    tr__blob_release(slot->source);
    free(slot->text);
    free(slot);
}

/* Under the lock. */
static void slot_remove(tr__artifacts *artifacts, slot *slot) {
    HASH_DEL(artifacts->slots, slot);
    artifacts->bytes -= slot->bytes;
    slot_destroy(slot);
}

void tr__artifacts_destroy(tr__artifacts *artifacts) {
    if (!artifacts) return;
    slot *slot, *next;
    HASH_ITER(hh, artifacts->slots, slot, next) slot_remove(artifacts, slot);
    pthread_cond_destroy(&artifacts->made);
    pthread_mutex_destroy(&artifacts->lock);
    tr__folder_release(&artifacts->folder);
    free(artifacts);
}

static bool slot_is_for(const slot *slot, const tr__artifact_key *key) {
    return slot->text_size == key->size && !memcmp(slot->text, key->text, key->size) &&
           tr__blob_equal(slot->source, key->source);
}

static slot *find(tr__artifacts *artifacts, const tr__hash *hash) {
    slot *slot;
    HASH_FIND(hh, artifacts->slots, hash, sizeof *hash, slot);
    return slot;
}

static bool insert(tr__artifacts *artifacts, slot *slot) {
    slot->lost = false;
    HASH_ADD(hh, artifacts->slots, hash, sizeof slot->hash, slot);
    return !slot->lost;
}

/* Under the lock: a finished slot's artifact, retained, and the slot now the latest used. */
static tr__artifact *use(tr__artifacts *artifacts, slot *slot) {
    tr__artifact *artifact = tr__artifact_retain(slot->artifact);
    HASH_DEL(artifacts->slots, slot);
    if (!insert(artifacts, slot)) {
        artifacts->bytes -= slot->bytes;
        slot_destroy(slot);
    }
    artifacts->memory_hits++;
    return artifact;
}

tr__artifact *tr__artifacts_recall(tr__artifacts *artifacts, const tr__artifact_key *key) {
    tr__hash hash = tr__artifact_key_hash(key);
    pthread_mutex_lock(&artifacts->lock);
    slot *slot = find(artifacts, &hash);
    tr__artifact *artifact = slot && slot->artifact && slot_is_for(slot, key) ? use(artifacts, slot) : NULL;
    pthread_mutex_unlock(&artifacts->lock);
    return artifact;
}

static slot *slot_create(const tr__artifact_key *key, tr__hash hash) {
    slot *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    made->hash = hash;
    made->text = malloc(key->size + 1);
    made->text_size = key->size;
    made->source = tr__blob_retain((tr__blob *)key->source);
    if (made->text) {
        memcpy(made->text, key->text, key->size);
        return made;
    }
    slot_destroy(made);
    return NULL;
}

static struct timespec in_milliseconds(int64_t milliseconds) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += milliseconds * 1000000;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

static tr_status ask_to_wait(const tr__artifact_hooks *hooks, tr_error **error) {
    tr_status status = hooks && hooks->wait ? hooks->wait(hooks->user) : TR_OK;
    if (!status) return TR_OK;
    return tr__fail(error, status > 0 ? status : TR_E_CANCELLED,
                    "gave up while waiting for another thread or process that compiles the same kernel");
}

/* The slot becomes the caller's to fill (*own), or *found is what another thread made meanwhile. */
static tr_status enter(tr__artifacts *artifacts, const tr__artifact_key *key, tr__hash hash,
                       const tr__artifact_hooks *hooks, tr__artifact **found, slot **own, tr_error **error) {
    tr_status status = TR_OK;
    pthread_mutex_lock(&artifacts->lock);
    for (;;) {
        slot *there = find(artifacts, &hash);
        if (!there) {
            *own = slot_create(key, hash);
            if (*own && !insert(artifacts, *own)) {
                slot_destroy(*own);
                *own = NULL;
            }
            if (!*own) status = tr__fail_out_of_memory(error);
            break;
        }
        if (!slot_is_for(there, key)) break; /* a collision: made for this caller alone */
        if (there->artifact) {
            *found = use(artifacts, there);
            break;
        }
        struct timespec until = in_milliseconds(POLL_MS);
        pthread_cond_timedwait(&artifacts->made, &artifacts->lock, &until);
        pthread_mutex_unlock(&artifacts->lock);
        status = ask_to_wait(hooks, error);
        pthread_mutex_lock(&artifacts->lock);
        if (status) break;
    }
    pthread_mutex_unlock(&artifacts->lock);
    return status;
}

static void evict(tr__artifacts *artifacts) {
    slot *slot, *next;
    HASH_ITER(hh, artifacts->slots, slot, next) {
        if (artifacts->bytes <= MEMORY_MOST) return;
        if (slot->artifact) slot_remove(artifacts, slot);
    }
}

/* The slot gets its artifact, or goes when there is none; whoever waits looks again. */
static void leave(tr__artifacts *artifacts, slot *slot, tr__artifact *artifact) {
    if (!slot) return;
    pthread_mutex_lock(&artifacts->lock);
    if (artifact) {
        slot->artifact = tr__artifact_retain(artifact);
        slot->bytes = slot->text_size + slot->source->size;
        for (int i = 0; i < TR__ARTIFACT_SECTIONS; i++)
            slot->bytes += artifact->sections[i] ? artifact->sections[i]->size : 0;
        artifacts->bytes += slot->bytes;
        evict(artifacts);
    } else {
        slot_remove(artifacts, slot);
    }
    pthread_cond_broadcast(&artifacts->made);
    pthread_mutex_unlock(&artifacts->lock);
}

static bool still_holds(const tr__artifact_hooks *hooks, const tr__artifact *artifact) {
    return !hooks || !hooks->holds || hooks->holds(hooks->user, artifact);
}

/* Of what enter found, when it does not hold any more; another thread may have put a new one there. */
static void forget(tr__artifacts *artifacts, const tr__hash *hash, tr__artifact **found) {
    pthread_mutex_lock(&artifacts->lock);
    slot *slot = find(artifacts, hash);
    if (slot && slot->artifact == *found) slot_remove(artifacts, slot);
    pthread_mutex_unlock(&artifacts->lock);
    tr__artifact_release(*found);
    *found = NULL;
}

static void count(tr__artifacts *artifacts, uint64_t *counter) {
    pthread_mutex_lock(&artifacts->lock);
    ++*counter;
    pthread_mutex_unlock(&artifacts->lock);
}

static tr__artifact *read_disk(tr__artifacts *artifacts, const tr__artifact_key *key, tr__hash hash,
                               const tr__artifact_hooks *hooks) {
    int fd = tr__folder_open(&artifacts->folder, hash);
    if (fd < 0) return NULL;
    tr__artifact *artifact;
    const char *why;
    tr__entry_read(fd, key, &artifact, &why, NULL);
    close(fd);
    if (why) {
        count(artifacts, &artifacts->damaged);
        tr__folder_set_aside(&artifacts->folder, hash, why);
    }
    if (artifact && ((hooks && hooks->decode && !hooks->decode(hooks->user, artifact)) ||
                     !still_holds(hooks, artifact))) {
        tr__artifact_release(artifact);
        return NULL;
    }
    if (artifact) count(artifacts, &artifacts->disk_hits);
    return artifact;
}

/* The disk's lock on the key, or the entry that its holder made while we waited. */
static tr_status lock_disk(tr__artifacts *artifacts, const tr__artifact_key *key, tr__hash hash,
                           const tr__artifact_hooks *hooks, tr__artifact **found, int *lock,
                           tr_error **error) {
    for (int64_t waited = 0; waited < lock_patience_ms; waited += POLL_MS) {
        *lock = tr__folder_lock(&artifacts->folder, hash);
        if (*lock != TR__LOCK_BUSY) {
            if (*lock >= 0 || waited) *found = read_disk(artifacts, key, hash, hooks);
            return TR_OK;
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000}, NULL);
        tr_status status = ask_to_wait(hooks, error);
        if (status) return status;
    }
    *lock = TR__LOCK_NONE;
    return TR_OK;
}

tr_status tr__artifacts_acquire(tr__artifacts *artifacts, const tr__artifact_key *key,
                                const tr__artifact_hooks *hooks, tr__artifact **found,
                                tr__artifact_claim **claim, tr_error **error) {
    *found = NULL;
    *claim = NULL;
    tr__hash hash = tr__artifact_key_hash(key);
    slot *own = NULL;
    tr_status status = enter(artifacts, key, hash, hooks, found, &own, error);
    while (*found && !still_holds(hooks, *found)) {
        forget(artifacts, &hash, found);
        status = enter(artifacts, key, hash, hooks, found, &own, error);
    }
    if (status || *found) return status;
    int lock = TR__LOCK_NONE;
    *found = read_disk(artifacts, key, hash, hooks);
    if (!*found) status = lock_disk(artifacts, key, hash, hooks, found, &lock, error);
    tr__artifact_claim *made = status || *found ? NULL : malloc(sizeof *made);
    if (!status && !*found && !made) status = tr__fail_out_of_memory(error);
    if (made) {
        count(artifacts, &artifacts->misses);
        *made = (tr__artifact_claim){artifacts, own, *key, hash, lock};
        *claim = made;
        return TR_OK;
    }
    tr__folder_unlock(lock, hash);
    leave(artifacts, own, *found);
    return status;
}

static void finish(tr__artifact_claim *claim, tr__artifact *artifact) {
    tr__folder_unlock(claim->lock, claim->hash);
    leave(claim->artifacts, claim->slot, artifact);
    free(claim);
}

void tr__artifacts_publish(tr__artifact_claim *claim, tr__artifact *artifact) {
    tr__blob *bytes = claim->artifacts->folder.path ? tr__entry_encode(&claim->key, artifact) : NULL;
    if (bytes) tr__folder_write(&claim->artifacts->folder, claim->hash, bytes->data, bytes->size);
    tr__blob_release(bytes);
    finish(claim, artifact);
}

void tr__artifacts_abandon(tr__artifact_claim *claim) {
    if (claim) finish(claim, NULL);
}

typedef struct listing {
    json_t *list;
    uint64_t entries, bytes;
} listing;

static bool add_to_list(void *user, const tr__entry_info *entry) {
    listing *listing = user;
    listing->entries++;
    listing->bytes += entry->bytes;
    return !listing->list ||
           !json_array_append_new(listing->list,
                                  json_pack("{s:s, s:I, s:f}", "name", entry->name, "bytes",
                                            (json_int_t)entry->bytes, "used", (double)entry->used * 1e-9));
}

json_t *tr__artifacts_report(tr__artifacts *artifacts, tr__look look) {
    listing listing = {.list = look == TR__LOOK_AT_ALL ? json_array() : NULL};
    bool usable = artifacts->folder.path && !artifacts->folder.told;
    if (look != TR__LOOK_NOWHERE) {
        usable = tr__folder_usable(&artifacts->folder);
        tr__folder_visit(&artifacts->folder, add_to_list, &listing);
    }
    pthread_mutex_lock(&artifacts->lock);
    json_t *report =
        json_pack("{s:s?, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "folder", artifacts->folder.path,
                  "usable", usable, "entries", (json_int_t)listing.entries, "bytes",
                  (json_int_t)listing.bytes, "limit", (json_int_t)artifacts->folder.limit, "memory_hits",
                  (json_int_t)artifacts->memory_hits, "disk_hits", (json_int_t)artifacts->disk_hits, "misses",
                  (json_int_t)artifacts->misses, "damaged", (json_int_t)artifacts->damaged);
    pthread_mutex_unlock(&artifacts->lock);
    if (report && listing.list) json_object_set(report, "list", listing.list);
    json_decref(listing.list);
    return report;
}

typedef struct verification {
    tr__artifacts *artifacts;
    uint64_t checked, damaged;
} verification;

static bool verify_entry(void *user, const tr__entry_info *entry) {
    verification *verification = user;
    tr__folder *folder = &verification->artifacts->folder;
    int fd = tr__folder_open(folder, entry->hash);
    tr__artifact *artifact = NULL;
    const char *why = "not readable";
    tr__hash at = {0, 0};
    if (fd >= 0) tr__entry_read(fd, NULL, &artifact, &why, &at);
    if (fd >= 0) close(fd);
    if (artifact && !tr__hash_equal(at, entry->hash)) why = "under another's name";
    tr__artifact_release(artifact);
    verification->checked++;
    if (!why) return true;
    verification->damaged++;
    tr__folder_set_aside(folder, entry->hash, why);
    return true;
}

tr_status tr__artifacts_verify(tr__artifacts *artifacts, uint64_t *checked, uint64_t *damaged,
                               tr_error **error) {
    verification verification = {.artifacts = artifacts};
    tr__folder_visit(&artifacts->folder, verify_entry, &verification);
    *checked = verification.checked;
    *damaged = verification.damaged;
    return TR_OK;
}

tr_status tr__artifacts_prune(tr__artifacts *artifacts, uint64_t limit, uint64_t *removed, tr_error **error) {
    return tr__folder_prune(&artifacts->folder, limit, removed, error);
}
