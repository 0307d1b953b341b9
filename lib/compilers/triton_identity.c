/* Whether a Triton installation is the one that it was. */
#include "base/buffer.h"
#include "base/file.h"
#include "compilers/triton.h"
#include "compilers/wire.h"

#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD_LIMIT = 1 << 24 };

/* RECORD lists the files of the installation with their hashes. */
static void add_record(tr__buffer *out, const tr__triton *triton) {
    static const char *const files[] = {"RECORD", "METADATA"};
    for (size_t i = 0; i < 2; i++) {
        tr__buffer path = {0};
        tr__blob *blob = NULL;
        tr__buffer_printf(&path, "%s/%s/%s", triton->site, triton->dist, files[i]);
        if (!path.failed && !tr__file_read(path.data, RECORD_LIMIT, &blob, NULL))
            tr__buffer_append(out, &blob->hash, sizeof blob->hash);
        tr__blob_release(blob);
        tr__buffer_release(&path);
    }
}

static int by_name(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool is_compiled(const FTSENT *entry) {
    return entry->fts_namelen > 4 && !strcmp(entry->fts_name + entry->fts_namelen - 4, ".pyc");
}

/* Sizes and times, as somebody may edit a file in place. False when there is nothing to see. */
static bool add_files(tr__buffer *out, const char *folder) {
    char *paths[] = {(char *)folder, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    size_t count = 0;
    for (FTSENT *entry; walk && (entry = fts_read(walk));) {
        if (entry->fts_info != FTS_F || is_compiled(entry)) continue;
        const struct stat *info = entry->fts_statp;
        tr__buffer_printf(out, "%s %lld %lld.%ld\n", entry->fts_path, (long long)info->st_size,
                          (long long)info->st_mtim.tv_sec, info->st_mtim.tv_nsec);
        count++;
    }
    if (walk) fts_close(walk);
    return count;
}

tr__hash tr__triton_identity(const tr__triton *triton) {
    tr__buffer told = {0};
    char *folder = tr__path_join(triton->site, "triton");
    add_record(&told, triton);
    if (!folder || !add_files(&told, folder) || told.failed)
        tr__buffer_printf(&told, "process %d at %lld", (int)getpid(), (long long)tr__clock_ns());
    tr__hash identity = tr__hash_bytes(told.data ? told.data : "", told.size);
    tr__buffer_release(&told);
    free(folder);
    return identity;
}
