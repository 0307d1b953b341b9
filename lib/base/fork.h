/* Locks of the whole process, which the child of a fork finds free: who held them is not there any more. */
#ifndef TR_BASE_FORK_H
#define TR_BASE_FORK_H

#include <pthread.h>

/* A static mutex. What it guards must be right at every moment, or `reset`, a statement, makes it so. */
#define TR__PROCESS_LOCK(name, reset)                                                                        \
    static pthread_mutex_t name;                                                                             \
    static void name##_in_child(void) {                                                                      \
        pthread_mutex_init(&name, NULL);                                                                     \
        reset;                                                                                               \
    }                                                                                                        \
    __attribute__((constructor)) static void name##_watch(void) {                                            \
        pthread_atfork(NULL, NULL, name##_in_child);                                                         \
    }                                                                                                        \
    static pthread_mutex_t name = PTHREAD_MUTEX_INITIALIZER

#endif
