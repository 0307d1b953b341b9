#include "compilers/native.h"

#include "base/json.h"
#include "compilers/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LLVM, NVJITLINK, PROGRAMS, HELPERS };

struct tr__native {
    char *plugin;
    tr__peer *helpers[HELPERS];
};

/* Variables by which the helper finds nvJitLink as this process would. */
static tr_status collect_environment(char *variables[4], tr_error **error) {
    static const char *const names[] = {"CUDA_HOME", "CUDA_PATH", "TRITON_RUNNER_NVJITLINK"};
    size_t count = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (!value) continue;
        if (asprintf(&variables[count], "%s=%s", names[i], value) < 0) {
            variables[count] = NULL;
            return tr__fail_out_of_memory(error);
        }
        count++;
    }
    return TR_OK;
}

static tr_status create_helpers(tr__native *native, const char *helper, tr_error **error) {
    static const char *const names[HELPERS] = {"LLVM", "nvJitLink", "ptxas"};
    static const char *const roles[HELPERS] = {"llvm", "nvjitlink", "execute"};
    char *variables[4] = {NULL};
    tr_status status = collect_environment(variables, error);
    for (int i = 0; i < HELPERS && !status; i++) {
        const char *const argv[] = {helper, roles[i], native->plugin, NULL};
        tr__peer_options options = {names[i], argv, (const char *const *)variables};
        status = tr__peer_create(&options, &native->helpers[i], error);
    }
    for (size_t i = 0; i < 4; i++) free(variables[i]);
    return status;
}

tr_status tr__native_create(const char *helper, const char *plugin, tr__native **out, tr_error **error) {
    *out = NULL;
    tr__native *native = calloc(1, sizeof *native);
    if (!native) return tr__fail_out_of_memory(error);
    native->plugin = strdup(plugin);
    tr_status status = native->plugin ? create_helpers(native, helper, error) : tr__fail_out_of_memory(error);
    if (status)
        tr__native_destroy(native);
    else
        *out = native;
    return status;
}

void tr__native_destroy(tr__native *native) {
    if (!native) return;
    for (int i = 0; i < HELPERS; i++) tr__peer_destroy(native->helpers[i]);
    free(native->plugin);
    free(native);
}

static tr_status compile_here(tr__native *native, const tr__compile_request *request,
                              tr__compile_result *result, tr_error **error) {
    bool llvm = request->from == TR_STAGE_LLIR;
    tr_status status = llvm ? tr__llvm_compile(native->plugin, request, result, error)
                            : tr__nvjitlink_compile(request, result, error);
    if (status && result->log) tr__error_set_log(error, result->log, strlen(result->log));
    return status;
}

tr_status tr__native_compile(tr__native *native, const tr__compile_request *request, bool in_process,
                             tr__compile_result *result, tr_error **error) {
    if (in_process) return compile_here(native, request, result, error);
    tr__peer *helper = native->helpers[request->from == TR_STAGE_LLIR ? LLVM : NVJITLINK];
    return tr__peer_compile(helper, request, NULL, result, error);
}

tr_status tr__native_execute(tr__native *native, const tr__compile_request *request, const char *const *argv,
                             tr__compile_result *result, tr_error **error) {
    json_t *more = json_pack("{s:o}", "argv", tr__json_strings(argv));
    if (!more) return tr__fail_out_of_memory(error);
    tr_status status = tr__peer_compile(native->helpers[PROGRAMS], request, more, result, error);
    json_decref(more);
    return status;
}

tr_status tr__native_llvm_version(tr__native *native, char **version, tr_error **error) {
    const char *found;
    *version = NULL;
    tr_status status = tr__llvm_open(native->plugin, &found, error);
    if (status) return status;
    *version = strdup(found);
    return *version ? TR_OK : tr__fail_out_of_memory(error);
}

tr_status tr__native_nvjitlink_version(tr__native *native, char **version, tr_error **error) {
    unsigned major, minor;
    *version = NULL;
    tr_status status = tr__nvjitlink_open(&major, &minor, error);
    if (!status && asprintf(version, "%u.%u", major, minor) < 0) {
        *version = NULL;
        status = tr__fail_out_of_memory(error);
    }
    return status;
}
