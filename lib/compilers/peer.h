/* A compiler in a process of its own. One process serves any number of threads at once: each request is a
   connection, handed over the control socket together with a file for what the compiler prints. The process
   is started by the first request, and again by the first request after it died. It ends when the peer is
   destroyed or the host ends, however that happens. In a forked child of the host a peer starts a process of
   its own.

   The far end (worker.py, or serve.c in the helper) finds the control socket as file 3; its part of the
   protocol is, after the number of the request's architecture as the byte that comes with the files (89; 0: none),
       {"accepted": pid}                              as soon as somebody works on the request
       {"stage": number, "seconds": number} + bytes   for each stage passed
       {"done": true, "metadata": {…}, "extra": {…}, "maker": "…"}, or
       {"failed": status, "message": "…", "stage": number}, or
       {"crashed": "by signal 6 (Aborted)"}           by the far end's parent process, for a child that died
 */
#ifndef TR_COMPILERS_PEER_H
#define TR_COMPILERS_PEER_H

#include "compilers/compiler.h"

typedef struct tr__peer tr__peer;

typedef struct tr__peer_options {
    const char *name;               /* for messages: "Triton 3.4.0" */
    const char *const *argv;        /* argv[0] is the program's path; ends with NULL */
    const char *const *environment; /* over what spawn.h keeps of the host's; ends with NULL; may be NULL */
} tr__peer_options;

enum { TR__PEER_TIMEOUT_MS = 300000 }; /* of a request that names none */

tr_status tr__peer_create(const tr__peer_options *options, tr__peer **out,
                          tr_error **error); /* starts nothing yet */
void tr__peer_destroy(tr__peer *peer);       /* NULL is accepted; no call may be under way */

/* From any thread. `more` (an object, may be NULL) is added to the request's header. On failure `result` may
   hold the log and the stages that were reached. */
tr_status tr__peer_compile(tr__peer *peer, const tr__compile_request *request, const json_t *more,
                           tr__compile_result *result, tr_error **error);

/* The process's id, 0 when none runs now: for the doctor and for tests. */
int32_t tr__peer_process(tr__peer *peer);

#endif
