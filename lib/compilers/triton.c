#include "compilers/triton.h"

#include "base/buffer.h"
#include "base/file.h"
#include "compilers/peer.h"
#include "compilers/ptxas.h"

#include <stdlib.h>
#include <string.h>

struct tr__tritons {
    tr__triton *found; /* ends with one without version */
    size_t count;
};

void tr__triton_release(tr__triton *triton) {
    tr__peer_destroy(triton->peer);
    free(triton->version);
    free(triton->interpreter);
    free(triton->site);
    free(triton->dist);
    free(triton->ptxas);
    free(triton->ptxas_blackwell);
    *triton = (tr__triton){0};
}

static tr_status make_peer(tr__triton *triton, const char *worker, tr_error **error) {
    char name[64];
    snprintf(name, sizeof name, "Triton %s", triton->version);
    const char *argv[] = {triton->interpreter, "-B", worker, triton->separate ? triton->site : "", NULL};
    tr__peer_options options = {.name = name, .argv = argv};
    return tr__peer_create(&options, &triton->peer, error);
}

tr_status tr__tritons_create(const char *worker, tr__tritons **out, tr_error **error) {
    *out = NULL;
    tr__tritons *tritons = calloc(1, sizeof *tritons);
    if (!tritons) return tr__fail_out_of_memory(error);
    tr_status status = tr__triton_search(&tritons->found, error);
    for (; !status && tritons->found[tritons->count].version; tritons->count++)
        status = make_peer(&tritons->found[tritons->count], worker, error);
    if (!status)
        *out = tritons;
    else
        tr__tritons_destroy(tritons);
    return status;
}

void tr__tritons_destroy(tr__tritons *tritons) {
    if (!tritons) return;
    for (tr__triton *triton = tritons->found; triton && triton->version; triton++) tr__triton_release(triton);
    free(tritons->found);
    free(tritons);
}

size_t tr__tritons_count(const tr__tritons *tritons) {
    return tritons->count;
}

const tr__triton *tr__tritons_at(const tr__tritons *tritons, size_t index) {
    return index < tritons->count ? &tritons->found[index] : NULL;
}

/* "3.4" for "3.4.1", not for "3.41.0". */
static bool is_version(const char *version, const char *asked) {
    size_t length = strlen(asked);
    return !strncmp(version, asked, length) && (!version[length] || strchr(".+", version[length]));
}

static const tr__triton *find(const tr__tritons *tritons, const char *which) {
    const tr__triton *best = NULL;
    for (size_t i = 0; i < tritons->count; i++) {
        const tr__triton *triton = &tritons->found[i];
        if (!which || !strcmp(triton->version, which) || !strcmp(triton->interpreter, which)) return triton;
        if (is_version(triton->version, which) && (!best || strverscmp(triton->version, best->version) > 0))
            best = triton;
    }
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
    if (tritons->count)
        tr__buffer_printf(out, "; or compile with one that is here (tr_compile_options.triton, --triton %s)",
                          tritons->found[0].version);
}

tr_status tr__tritons_select(const tr__tritons *tritons, const char *which, const tr__triton **out,
                             tr_error **error) {
    *out = find(tritons, which);
    if (*out) return TR_OK;
    tr__buffer have = {0}, advice = {0};
    for (size_t i = 0; i < tritons->count; i++)
        tr__buffer_printf(&have, "%s%s", i ? ", " : "found: ", tritons->found[i].version);
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
