/* Files and folders. Paths are bytes as given. */
#ifndef TR_BASE_FILE_H
#define TR_BASE_FILE_H

#include "base/blob.h"
#include "base/error.h"

/* The whole of a regular file of at most `limit` bytes. TR_E_IO names path and reason; too large is
   TR_E_UNSUPPORTED. */
tr_status tr__file_read(const char *path, size_t limit, tr__blob **out, tr_error **error);

/* Replaces `path` in one step (a temporary beside it, then rename): a reader sees the old bytes or the new. What is there
   and no regular file, as /dev/null or a pipe, stays and is written into. */
tr_status tr__file_write(const char *path, const void *data, size_t size, tr_error **error);

bool tr__file_exists(const char *path);

/* Does this errno say that a file is not there, for us? Others say that nobody can tell. */
bool tr__file_absent(int number);

/* As tr__file_exists, where it matters that nobody can tell: TR_E_IO then. */
tr_status tr__file_find(const char *path, bool *there, tr_error **error);

/* "folder/name", or "name" when folder is empty; free() it. NULL out of memory. */
char *tr__path_join(const char *folder, const char *name);

/* A path that holds in any current folder: "a" as "<current folder>/a". free() it. NULL out of memory. */
char *tr__path_absolute(const char *path);
char *tr__path_folder(const char *path); /* of "a/b.c": "a"; of "b.c": "." */

/* The folder of the shared object (or program) that holds this code; free() it. NULL when it can't be told.
 */
char *tr__path_library_folder(void);

#endif
