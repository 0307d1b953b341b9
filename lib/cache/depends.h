/* What a result was made from besides its source and its tools: a start at Python imports and reads other files. Told
   by the far end (worker_depends.py), kept as a section of the artifact, checked before the artifact is used again. */
#ifndef TR_CACHE_DEPENDS_H
#define TR_CACHE_DEPENDS_H

#include "base/blob.h"
#include "base/error.h"

#include <jansson.h>

/* `told` is {"files": [[path, size, mtime, ctime, inode, when read], …], "missing": [path, …], "folders": [path, …],
   "places": [[folder, mtime, ctime, inode], …], "variables": {name: value or null}}, times in nanoseconds, or
   {"unsafe": why}. TR_E_UNSUPPORTED: it can't be told later whether the result still holds, and the message says why. */
tr_status tr__depends_create(const json_t *told, tr__blob **out, tr_error **error);

/* Files have the content that they had, what was missing is missing. One that looks untouched is not read. */
bool tr__depends_hold(const tr__blob *depends);

#endif
