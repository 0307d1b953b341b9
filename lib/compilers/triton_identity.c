/* Whether a Triton installation is the one that it was. */
#include "base/buffer.h"
#include "base/file.h"
#include "compilers/triton.h"
#include "compilers/wire.h"

#include <errno.h>
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
        tr_status status =
            path.failed ? TR_E_OUT_OF_MEMORY : tr__file_read(path.data, RECORD_LIMIT, &blob, NULL);
        if (status == TR_E_OUT_OF_MEMORY) out->failed = true;
        if (!status) tr__buffer_append(out, &blob->hash, sizeof blob->hash);
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

/* Sizes and times, as somebody may edit a file in place. *seen: how many. */
static tr_status add_files(tr__buffer *out, const char *folder, size_t *seen, tr_error **error) {
    char *paths[] = {(char *)folder, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    for (FTSENT *entry; walk && (entry = fts_read(walk));) {
        if (entry->fts_info != FTS_F || is_compiled(entry)) continue;
        const struct stat *info = entry->fts_statp;
        tr__buffer_printf(out, "%s %lld %lld.%ld\n", entry->fts_path, (long long)info->st_size,
                          (long long)info->st_mtim.tv_sec, info->st_mtim.tv_nsec);
        ++*seen;
    }
    int number = errno; /* 0 at the end */
    if (walk) fts_close(walk);
    return number == ENOMEM ? tr__fail_out_of_memory(error) : TR_OK;
}

tr_status tr__triton_identity(const tr__triton *triton, tr__hash *out, tr_error **error) {
    tr__buffer told = {0};
    size_t seen = 0;
    char *folder = tr__path_join(triton->site, "triton");
    add_record(&told, triton);
    tr_status status = folder ? add_files(&told, folder, &seen, error) : tr__fail_out_of_memory(error);
    if (!seen) tr__buffer_printf(&told, "process %d at %lld", (int)getpid(), (long long)tr__clock_ns());
    if (!status && told.failed) status = tr__fail_out_of_memory(error);
    if (!status) *out = tr__hash_bytes(told.data, told.size);
    tr__buffer_release(&told);
    free(folder);
    return status;
}
