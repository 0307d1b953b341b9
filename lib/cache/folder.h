/* The cache's folder on disk: entries by hash, one lock file, what is set aside. See artifacts.h for the
 * layout. */
#ifndef TR_CACHE_FOLDER_H
#define TR_CACHE_FOLDER_H

#include "cache/artifacts.h"

typedef struct tr__folder {
    char *path;     /* NULL: none was asked for, or none can be told */
    bool homeless;  /* none can be told */
    uint64_t limit; /* bytes that may lie in it */
    tr__log_function *log;
    void *log_user;
    uint32_t told;      /* the folder can't be used: said once */
    uint64_t unscanned; /* bytes published since the last look at the whole */
} tr__folder;

/* As tr__artifacts_create says of its argument. False out of memory. */
bool tr__folder_init(tr__folder *folder, const char *path);
void tr__folder_release(tr__folder *folder);

/* An entry's file, open for reading, and marked as used; -1: none. The caller closes it. */
int tr__folder_open(tr__folder *folder, tr__hash hash);
void tr__folder_write(tr__folder *folder, tr__hash hash, const void *data, size_t size);
void tr__folder_set_aside(tr__folder *folder, tr__hash hash, const char *why);

/* The lock on a key: a descriptor that holds it; -1: busy; -2: there are no locks here, go on without. */
enum { TR__LOCK_BUSY = -1, TR__LOCK_NONE = -2 };
int tr__folder_lock(tr__folder *folder, tr__hash hash);
void tr__folder_unlock(int lock, tr__hash hash);

/* Whether entries can be read and kept, as far as can be told without writing one. */
bool tr__folder_usable(const tr__folder *folder);

/* Calls `visit` for each entry, with the folder open; stops when it returns false. False when there is no
 * folder. */
typedef struct tr__entry_info {
    tr__hash hash;
    char name[34]; /* "ab/cdef…" */
    uint64_t bytes;
    int64_t used; /* nanoseconds since 1970 */
} tr__entry_info;
bool tr__folder_visit(tr__folder *folder, bool (*visit)(void *user, const tr__entry_info *entry), void *user);

/* TR_E_IO: an entry that must go cannot be removed. */
tr_status tr__folder_prune(tr__folder *folder, uint64_t limit, uint64_t *removed, tr_error **error);

#endif
