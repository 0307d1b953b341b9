/* The far end of peer.h for a helper written in C: a process that forks a child for each request, so that a
   request that kills its compiler harms no other, and tells the host how a child died. Single-threaded. */
#ifndef TR_COMPILERS_SERVE_H
#define TR_COMPILERS_SERVE_H

#include "compilers/wire.h"

/* Runs in a forked child whose files 1 and 2 are the request's log; it answers with the functions below. */
typedef void tr__serve_handler(int connection, const tr__frame *request);

/* Serves the control socket until it closes or the host ends; the exit status of the process. Load what every
   request needs before. */
int tr__serve(int control, tr__serve_handler *handle);

void tr__serve_stage(int connection, tr_stage stage, double seconds, const void *data, size_t size);
void tr__serve_done(int connection, json_t *metadata, json_t *extra,
                    const char *maker); /* steals both; may be NULL */
__attribute__((format(printf, 4, 5))) void tr__serve_failed(int connection, tr_status status, tr_stage stage,
                                                            const char *format, ...);

#endif
