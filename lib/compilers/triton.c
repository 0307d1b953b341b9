#include "compilers/triton.h"

#include "base/buffer.h"
#include "base/file.h"
#include "compilers/peer.h"
#include "compilers/ptxas.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { NEAR, BEHIND, PLACES };
struct tr__tritons {
    tr__triton *found[PLACES]; /* each ends with one without version; BEHIND: what the script told of */
    size_t count[PLACES];      /* BEHIND: read with __atomic loads */
    pthread_mutex_t lock;      /* over asking it */
    char *worker, *script;
    bool asked;
};

void tr__triton_release_all(tr__triton *found) {
    for (tr__triton *triton = found; triton && triton->version; triton++) {
        tr__peer_destroy(triton->peer);
        free(triton->version);
        free(triton->interpreter);
        free(triton->site);
        free(triton->dist);
        free(triton->ptxas);
        free(triton->ptxas_blackwell);
    }
    free(found);
}

static tr_status make_peer(tr__triton *triton, const char *worker, tr_error **error) {
    char name[64];
    snprintf(name, sizeof name, "Triton %s", triton->version);
    const char *argv[] = {triton->interpreter, "-B", worker, triton->separate ? triton->site : "", NULL};
    tr__peer_options options = {.name = name, .argv = argv};
    return tr__peer_create(&options, &triton->peer, error);
}

/* Each found one gets its peer. */
static tr_status take(tr__tritons *tritons, int place, tr__triton *found, tr_error **error) {
    size_t count = 0;
    tr_status status = TR_OK;
    for (; !status && found[count].version; count++)
        status = make_peer(&found[count], tritons->worker, error);
    if (status) return tr__triton_release_all(found), status;
    tritons->found[place] = found;
    __atomic_store_n(&tritons->count[place], count, __ATOMIC_RELEASE);
    return TR_OK;
}

tr_status tr__tritons_create(const char *worker, tr__tritons **out, tr_error **error) {
    tr__triton *found;
    *out = NULL;
    tr__tritons *tritons = calloc(1, sizeof *tritons);
    if (!tritons) return tr__fail_out_of_memory(error);
    pthread_mutex_init(&tritons->lock, NULL);
    tritons->worker = strdup(worker);
    tr_status status =
        tritons->worker ? tr__triton_search(&found, &tritons->script, error) : tr__fail_out_of_memory(error);
    if (!status) status = take(tritons, NEAR, found, error);
    if (!status)
        *out = tritons;
    else
        tr__tritons_destroy(tritons);
    return status;
}

void tr__tritons_destroy(tr__tritons *tritons) {
    if (!tritons) return;
    for (int place = 0; place < PLACES; place++) tr__triton_release_all(tritons->found[place]);
    pthread_mutex_destroy(&tritons->lock);
    free(tritons->worker);
    free(tritons->script);
    free(tritons);
}

tr_status tr__tritons_complete(tr__tritons *tritons, tr_error **error) {
    tr__triton *found;
    pthread_mutex_lock(&tritons->lock);
    bool ask = tritons->script && !tritons->asked;
    tr_status status =
        ask ? tr__triton_search_behind(tritons->script, tritons->found[NEAR], &found, error) : TR_OK;
    if (ask && !status) status = take(tritons, BEHIND, found, error);
    tritons->asked = !status;
    pthread_mutex_unlock(&tritons->lock);
    return status;
}

size_t tr__tritons_count(const tr__tritons *tritons) {
    return tritons->count[NEAR] + __atomic_load_n(&tritons->count[BEHIND], __ATOMIC_ACQUIRE);
}

const tr__triton *tr__tritons_at(const tr__tritons *tritons, size_t index) {
    if (index >= tr__tritons_count(tritons)) return NULL;
    size_t near = tritons->count[NEAR];
    return index < near ? &tritons->found[NEAR][index] : &tritons->found[BEHIND][index - near];
}

/* "3.4" for "3.4.1", not for "3.41.0". */
static bool is_version(const char *version, const char *asked) {
    size_t length = strlen(asked);
    return !strncmp(version, asked, length) && (!version[length] || strchr(".+", version[length]));
}

/* *exact: nothing that is found later could be meant rather. */
static const tr__triton *find(const tr__tritons *tritons, const char *which, bool *exact) {
    const tr__triton *best = NULL;
    *exact = true;
    for (size_t i = 0; i < tr__tritons_count(tritons); i++) {
        const tr__triton *triton = tr__tritons_at(tritons, i);
        if (!which || !strcmp(triton->version, which) || !strcmp(triton->interpreter, which)) return triton;
        if (is_version(triton->version, which) && (!best || strverscmp(triton->version, best->version) > 0))
            best = triton;
    }
    *exact = false;
    return best;
}

/* "3.4.0" can be installed; anything else is a path or a mistake. */
static void advise(tr__buffer *out, const tr__tritons *tritons, const char *which) {
    if (which && (*which < '0' || *which > '9')) {
        tr__buffer_puts(out, "Give a version, as 3.4.0, or the path of an interpreter that has one");
        return;
    }
    tr__buffer_printf(out,
                      "Install it, for example with \"python3 -m venv triton && triton/bin/pip install "
                      "triton%s%s\", and name that triton/bin/python in TRITON_RUNNER_PYTHON",
                      which ? "==" : "", which ? which : "");
    if (tr__tritons_count(tritons))
        tr__buffer_printf(out, "; or compile with one that is here (tr_compile_options.triton, --triton %s)",
                          tr__tritons_at(tritons, 0)->version);
}

tr_status tr__tritons_select(tr__tritons *tritons, const char *which, bool known, const tr__triton **out,
                             tr_error **error) {
    bool exact;
    *out = find(tritons, which, &exact);
    if (!exact && !known) {
        tr_status incomplete = tr__tritons_complete(tritons, error);
        *out = incomplete ? NULL : find(tritons, which, &exact);
        if (incomplete) return incomplete;
    }
    if (*out) return TR_OK;
    tr__buffer have = {0}, advice = {0};
    for (size_t i = 0; i < tr__tritons_count(tritons); i++)
        tr__buffer_printf(&have, "%s%s", i ? ", " : "found: ", tr__tritons_at(tritons, i)->version);
    advise(&advice, tritons, which);
    tr_status status = tr__fail(error, TR_E_COMPILER_MISSING, "Triton%s%s is not here (%s). %s",
                                which ? " " : "", which ? which : "",
                                have.size ? have.data : "none was found", advice.data ? advice.data : "");
    tr__buffer_release(&have);
    tr__buffer_release(&advice);
    return status;
}

/* The far end hands ptxas's words on as "ptxas". */
static tr_status read_usage(tr__compile_result *result, tr_error **error) {
    const char *said = json_string_value(json_object_get(result->extra, "ptxas"));
    json_t *usage = said ? tr__ptxas_usage(said, NULL) : NULL;
    int failed = usage ? json_object_update(result->extra, usage) : 0;
    json_decref(usage);
    json_object_del(result->extra, "ptxas");
    return failed ? tr__fail_out_of_memory(error) : TR_OK;
}

tr_status tr__triton_compile(const tr__triton *triton, const tr__compile_request *request,
                             tr__compile_result *result, tr_error **error) {
    tr__compile_request with_path = *request;
    char *path = NULL;
    if (request->from == TR_STAGE_PYTHON) {
        /* It goes into the debug information, so it must not depend on the far end's current folder. */
        path = request->path ? tr__path_absolute(request->path) : strdup("<memory>.py");
        with_path.path = path;
        if (!path) return tr__fail_out_of_memory(error);
    }
    tr_status status = tr__peer_compile(triton->peer, &with_path, NULL, result, error);
    free(path);
    return status ? status : read_usage(result, error);
}
