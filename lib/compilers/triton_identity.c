/* Whether a Triton installation is the one that it was. */
#include "base/buffer.h"
#include "base/file.h"
#include "compilers/triton.h"
#include "compilers/wire.h"

#include <dirent.h>
#include <errno.h>
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

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_source(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
           (length < 4 || strcmp(entry->d_name + length - 4, ".pyc") != 0);
}

static tr_status add_files(tr__buffer *out, const char *folder, size_t *seen, tr_error **error);

static tr_status add_entry(tr__buffer *out, const char *folder, const char *name, size_t *seen,
                           tr_error **error) {
    struct stat info;
    char *path = tr__path_join(folder, name);
    if (!path) return tr__fail_out_of_memory(error);
    tr_status status = TR_OK;
    bool there = !lstat(path, &info);
    if (there && S_ISDIR(info.st_mode)) status = add_files(out, path, seen, error);
    if (there && S_ISREG(info.st_mode)) {
        tr__buffer_printf(out, "%s %lld %lld.%ld\n", path, (long long)info.st_size,
                          (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
        ++*seen;
    }
    free(path);
    return status;
}

/* Sizes and times, as somebody may edit a file in place. *seen: how many. (Not fts, which crashes without memory.) */
static tr_status add_files(tr__buffer *out, const char *folder, size_t *seen, tr_error **error) {
    struct dirent **entries;
    int count = scandir(folder, &entries, is_source, by_name);
    if (count < 0 && errno == ENOMEM) return tr__fail_out_of_memory(error);
    if (count < 0 && (errno == EMFILE || errno == ENFILE || errno == EIO))
        return tr__fail(error, TR_E_IO, "cannot read '%s': %s", folder, strerror(errno));
    tr_status status = TR_OK;
    for (int i = 0; i < count; i++) {
        if (!status) status = add_entry(out, folder, entries[i]->d_name, seen, error);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    return status;
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
