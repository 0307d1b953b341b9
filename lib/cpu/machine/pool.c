#include "machine/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct job {
    void (*work)(void *context);
    void *context;
    uint32_t wanted, running; /* helpers */
    struct job *next;
} job;

enum { MOST = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER, ended = PTHREAD_COND_INITIALIZER;
static job *jobs; /* that want helpers */
static pthread_t threads[MOST];
static uint32_t thread_count;
static bool quit;
static pid_t owner;

static void unlink_job(job *gone) {
    for (job **at = &jobs; *at; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            return;
        }
}

static void *helper(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    while (!quit) {
        job *mine = jobs;
        if (!mine) {
            pthread_cond_wait(&wake, &lock);
            continue;
        }
        mine->running++;
        if (--mine->wanted == 0) unlink_job(mine);
        pthread_mutex_unlock(&lock);
        mine->work(mine->context);
        pthread_mutex_lock(&lock);
        if (--mine->running == 0) pthread_cond_broadcast(&ended);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Signals are the caller's matter: no helper takes one. A child of fork starts with no helpers. */
static void start_helpers(uint32_t count) {
    if (owner != getpid()) {
        owner = getpid();
        thread_count = 0;
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (thread_count < count && thread_count < MOST &&
           pthread_create(&threads[thread_count], NULL, helper, NULL) == 0)
        thread_count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void trcpu_pool_run(void (*work)(void *context), void *context, uint32_t helpers) {
    job mine = {.work = work, .context = context, .wanted = helpers};
    if (helpers) {
        pthread_mutex_lock(&lock);
        start_helpers(helpers);
        mine.next = jobs;
        jobs = &mine;
        pthread_cond_broadcast(&wake);
        pthread_mutex_unlock(&lock);
    }
    work(context);
    if (!helpers) return;
    pthread_mutex_lock(&lock);
    unlink_job(&mine);
    while (mine.running) pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
}

uint32_t trcpu_pool_threads(void) {
    const char *text = getenv("TRITON_RUNNER_CPU_THREADS");
    long count = text ? strtol(text, NULL, 10) : 0;
    if (count < 1) count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > MOST ? MOST : (uint32_t)count;
}

/* When the library is closed, its threads end with it. */
__attribute__((destructor)) static void stop_helpers(void) {
    pthread_mutex_lock(&lock);
    quit = true;
    uint32_t count = owner == getpid() ? thread_count : 0;
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&lock);
    for (uint32_t i = 0; i < count; i++) pthread_join(threads[i], NULL);
}
