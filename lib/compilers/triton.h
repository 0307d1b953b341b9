/* The Triton installations of this machine, each with a process of its own that compiles (worker.py). */
#ifndef TR_COMPILERS_TRITON_H
#define TR_COMPILERS_TRITON_H

#include "compilers/compiler.h"

typedef struct tr__tritons tr__tritons;
typedef struct tr__peer tr__peer;

typedef struct tr__triton {
    char *version;         /* "3.4.0" */
    char *interpreter;     /* its path */
    char *site;            /* the folder with triton's dist-info */
    bool separate;         /* the site folder is not one of the interpreter's own */
    char *dist;            /* its dist-info folder's name */
    char *ptxas;           /* its own; NULL: it brings none */
    char *ptxas_blackwell; /* for newer architectures than `ptxas` knows; NULL: it brings none */
    tr__peer *peer;
} tr__triton;

/* Looks in TRITON_RUNNER_PYTHON (interpreters, or interpreter=site-folder pairs, separated by colons), the
   active virtual environment, then the PATH, in this order; starts nothing, except that a script that was named in an
   interpreter's place (pyenv's shims) is asked for the interpreter behind it. A script on the PATH is asked, once, by
   who looks for what was not found before, since that may take a third of a second. No installation at all is no
   failure. */
tr_status tr__tritons_create(const char *worker, tr__tritons **out, tr_error **error);
void tr__tritons_destroy(tr__tritons *tritons); /* NULL is accepted; ends the processes */

/* Asks the script on the PATH, so that what follows knows all there is. */
tr_status tr__tritons_complete(tr__tritons *tritons, tr_error **error);
size_t tr__tritons_count(const tr__tritons *tritons);
const tr__triton *tr__tritons_at(const tr__tritons *tritons, size_t index);

/* `which`: NULL for the first found, a version ("3.4.0"; "3.4" for the newest 3.4.x), or an interpreter's
   path. `known`: among what was found so far only. TR_E_COMPILER_MISSING says what there is and what to install. */
tr_status tr__tritons_select(tr__tritons *tritons, const char *which, bool known, const tr__triton **out,
                             tr_error **error);

/* Changes with the installation: of the list of its files with their hashes, and of their sizes and times. One whose
   files lie elsewhere (editable) is never the same twice. Reads the disk. */
tr_status tr__triton_identity(const tr__triton *triton, tr__hash *out, tr_error **error);

/* From any thread. Messages about a source begin with "line:column: " where that is known; for Python with the file's
   path. result->extra holds, for a Python start, "parameters" in the caller's order: {"name", "type", "divisibility",
   "constant"}; and, when ptxas ran, what tr__ptxas_usage tells. */
tr_status tr__triton_compile(const tr__triton *triton, const tr__compile_request *request,
                             tr__compile_result *result, tr_error **error);

/* triton_search.c: what tr__tritons_create finds, in order, without the peers; the array ends with an entry
   without version. *script: what stands in python3's place on the PATH and was not asked; NULL if it is none.
   _behind: what is found by asking it, but for what is `known`. */
tr_status tr__triton_search(tr__triton **out, char **script, tr_error **error);
tr_status tr__triton_search_behind(const char *script, const tr__triton *known, tr__triton **out,
                                   tr_error **error);
/* Of an array, up to the entry without version, and the array itself; NULL is accepted. */
void tr__triton_release_all(tr__triton *found);

#endif
