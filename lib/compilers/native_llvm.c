#include "base/fork.h"
#include "compilers/llvm.h"
#include "compilers/native.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The PTX version that each Triton's own ptxas tells it to write, below and from sm_90, and from sm_100: the
   same llir gives the same text here. */
static const struct {
    unsigned major, minor;
    int below_90, from_90, from_100;
} triton_ptx[] = {{3, 2, 84, 84, 84}, {3, 3, 84, 84, 87}, {3, 4, 87, 87, 87}, {3, 5, 87, 87, 87},
                  {3, 6, 87, 87, 88}, {3, 7, 87, 87, 91}, {3, 8, 88, 88, 93}, {3, 9, 88, 94, 94}};

static uint32_t choose_ptx_version(const tr__compile_request *request) {
    json_int_t asked = json_integer_value(tr__compile_option(request, "ptx_version"));
    if (asked > 0 && asked < 1000) return (uint32_t)asked;
    const char *triton = json_string_value(tr__compile_option(request, "triton_version"));
    unsigned major, minor;
    if (!triton || sscanf(triton, "%u.%u", &major, &minor) != 2) return 0;
    int arch = atoi(request->arch + 3);
    for (size_t i = 0; i < sizeof triton_ptx / sizeof *triton_ptx; i++) {
        if (triton_ptx[i].major != major || triton_ptx[i].minor != minor) continue;
        int version = arch >= 100  ? triton_ptx[i].from_100
                      : arch >= 90 ? triton_ptx[i].from_90
                                   : triton_ptx[i].below_90;
        return arch > 90 && version < 86 ? 0 : (uint32_t)version; /* that Triton could not do it */
    }
    return 0;
}

/* One plugin per process, opened once and never closed: LLVM's own state is the process's too. */
TR__PROCESS_LOCK(plugin_lock, (void)0);
static const tr__llvm_plugin *plugin;

static tr_status open_plugin(const char *path, tr_error **error) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const tr__llvm_plugin *found = library ? dlsym(library, TR__LLVM_PLUGIN_SYMBOL) : NULL;
    if (found) {
        plugin = found;
        return TR_OK;
    }
    const char *reason = dlerror();
    tr_status status = tr__fail(
        error, TR_E_COMPILER_MISSING,
        "no LLVM plugin: %s; install it beside the library (it is built where LLVM 22 is installed), or "
        "compile llir with Triton",
        reason ? reason : path);
    if (library) dlclose(library);
    return status;
}

tr_status tr__llvm_open(const char *path, const char **version, tr_error **error) {
    tr_status status = TR_OK;
    pthread_mutex_lock(&plugin_lock);
    if (!plugin) status = open_plugin(path, error);
    pthread_mutex_unlock(&plugin_lock);
    if (!status && version) *version = plugin->version;
    return status;
}

static tr_status take_result(tr__llvm_result *made, tr__compile_result *result, tr_error **error) {
    result->stages[TR_STAGE_PTX] = tr__blob_create(made->ptx, made->ptx_size);
    bool told = asprintf(&result->maker, "llvm %s", plugin->version) >= 0;
    if (!told) result->maker = NULL;
    return result->stages[TR_STAGE_PTX] && told ? TR_OK : tr__fail_out_of_memory(error);
}

tr_status tr__llvm_compile(const char *path, const tr__compile_request *request, tr__compile_result *result,
                           tr_error **error) {
    static const tr_status statuses[] = {[TR__LLVM_BAD_REQUEST] = TR_E_UNSUPPORTED,
                                         [TR__LLVM_MALFORMED] = TR_E_PARSE,
                                         [TR__LLVM_REFUSED] = TR_E_COMPILE,
                                         [TR__LLVM_OUT_OF_MEMORY] = TR_E_OUT_OF_MEMORY};
    tr_status status = tr__compile_check_arch(request, error);
    if (!status) status = tr__llvm_open(path, NULL, error);
    if (status) return status;
    tr__llvm_request asked = {.text = request->source->data,
                              .size = request->source->size,
                              .name = request->path ? request->path : "kernel.llir",
                              .arch = request->arch,
                              .ptx_version = choose_ptx_version(request),
                              .fp_fusion = !json_is_false(tr__compile_option(request, "enable_fp_fusion"))};
    tr__llvm_result made;
    tr__llvm_outcome outcome = plugin->compile(&asked, &made);
    result->log = made.log;
    if (!outcome)
        status = take_result(&made, result, error);
    else if (outcome == TR__LLVM_OUT_OF_MEMORY)
        status = tr__fail_out_of_memory(error);
    else
        status = tr__fail(error, statuses[outcome], "%s%s", outcome == TR__LLVM_REFUSED ? "LLVM: " : "",
                          made.message ? made.message : "LLVM failed");
    tr__error_set_stage(error, outcome == TR__LLVM_MALFORMED ? TR_STAGE_LLIR : TR_STAGE_PTX);
    free(made.ptx);
    free(made.message);
    return status;
}
