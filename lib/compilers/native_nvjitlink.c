#include "base/buffer.h"
#include "base/file.h"
#include "base/fork.h"
#include "compilers/native.h"
#include "compilers/ptxas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* nvJitLink's interface, as far as it is used; the same in 12 and 13. */
typedef struct linker *linker;
enum { LINK_OK = 0, LINK_INPUT_PTX = 2 };

static struct {
    int (*create)(linker *handle, uint32_t option_count, const char **options);
    int (*destroy)(linker *handle);
    int (*add)(linker handle, int kind, const void *data, size_t size, const char *name);
    int (*complete)(linker handle);
    int (*cubin_size)(linker handle, size_t *size);
    int (*cubin)(linker handle, void *cubin);
    int (*error_size)(linker handle, size_t *size);
    int (*error)(linker handle, char *text);
    int (*info_size)(linker handle, size_t *size);
    int (*info)(linker handle, char *text);
    int (*version)(unsigned *major, unsigned *minor); /* since 12.3 */
} api;

static const struct {
    const char *name;
    void *place;
    bool optional;
} symbols[] = {{"nvJitLinkCreate", &api.create, false},
               {"nvJitLinkDestroy", &api.destroy, false},
               {"nvJitLinkAddData", &api.add, false},
               {"nvJitLinkComplete", &api.complete, false},
               {"nvJitLinkGetLinkedCubinSize", &api.cubin_size, false},
               {"nvJitLinkGetLinkedCubin", &api.cubin, false},
               {"nvJitLinkGetErrorLogSize", &api.error_size, false},
               {"nvJitLinkGetErrorLog", &api.error, false},
               {"nvJitLinkGetInfoLogSize", &api.info_size, false},
               {"nvJitLinkGetInfoLog", &api.info, false},
               {"nvJitLinkVersion", &api.version, true}};

TR__PROCESS_LOCK(api_lock, (void)0);
static bool opened;
static unsigned version_major, version_minor;

static bool load_symbols(void *library) {
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol && !symbols[i].optional) return false;
        memcpy(symbols[i].place, &symbol, sizeof symbol);
    }
    version_major = 12;
    version_minor = 0;
    if (api.version) api.version(&version_major, &version_minor);
    return true;
}

static bool try_library(const char *root, const char *folder, const char *name) {
    char *path = NULL;
    if (root && !*root) return false;
    if (asprintf(&path, "%s%s%s", root ? root : "", root ? folder : "", name) < 0) return false;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    free(path);
    if (library && load_symbols(library)) return true;
    if (library) dlclose(library);
    return false;
}

static bool open_any(void) {
    static const char *const names[] = {"libnvJitLink.so.13", "libnvJitLink.so.12"};
    const char *named = getenv("TRITON_RUNNER_NVJITLINK"), *home = getenv("CUDA_HOME"),
               *path = getenv("CUDA_PATH");
    if (named && *named) return try_library(NULL, "", named);
    for (size_t i = 0; i < 2; i++)
        if (try_library(NULL, "", names[i]) || (home && try_library(home, "/lib64/", names[i])) ||
            (path && try_library(path, "/lib64/", names[i])) ||
            try_library("/usr/local/cuda", "/lib64/", names[i]))
            return true;
    return false;
}

tr_status tr__nvjitlink_open(unsigned *major, unsigned *minor, tr_error **error) {
    pthread_mutex_lock(&api_lock);
    if (!opened) opened = open_any();
    bool found = opened;
    pthread_mutex_unlock(&api_lock);
    if (!found)
        return tr__fail(error, TR_E_COMPILER_MISSING,
                        "no libnvJitLink.so.13 or .12 in the loader's folders, CUDA_HOME, CUDA_PATH or "
                        "/usr/local/cuda; install the CUDA toolkit's, or set TRITON_RUNNER_NVJITLINK");
    if (major) *major = version_major;
    if (minor) *minor = version_minor;
    return TR_OK;
}

static void read_text(linker handle, int (*size_of)(linker, size_t *), int (*read)(linker, char *),
                      tr__buffer *log) {
    size_t size = 0;
    if (size_of(handle, &size) || !size) return;
    char *text = calloc(1, size + 1);
    if (!text) return;
    if (!read(handle, text) && *text) tr__buffer_printf(log, "%s\n", text);
    free(text);
}

static tr_status read_cubin(linker handle, tr__blob **out, tr_error **error) {
    size_t size = 0;
    if (api.cubin_size(handle, &size) || !size)
        return tr__fail(error, TR_E_COMPILE, "nvJitLink made no cubin");
    tr__blob *cubin = tr__blob_allocate(size);
    if (!cubin) return tr__fail_out_of_memory(error);
    if (api.cubin(handle, cubin->data)) {
        tr__blob_release(cubin);
        return tr__fail(error, TR_E_COMPILE, "nvJitLink made no cubin");
    }
    tr__blob_seal(cubin);
    *out = cubin;
    return TR_OK;
}

static tr_status link_source(const tr__compile_request *request, const tr__blob *source, tr__buffer *log,
                             tr__blob **out, tr_error **error) {
    char arch[48];
    snprintf(arch, sizeof arch, "-arch=%s%s", request->arch, tr__compile_suffix(request->arch));
    bool fusion = !json_is_false(tr__compile_option(request, "enable_fp_fusion"));
    const char *options[] = {arch, "-lineinfo", "-verbose", fusion ? "-fma=1" : "-fma=0"};
    const char *name = request->path ? request->path : "kernel.ptx";
    linker handle = NULL;
    if (api.create(&handle, sizeof options / sizeof *options, options))
        return tr__fail(error, TR_E_UNSUPPORTED, "nvJitLink %u.%u does not know %s", version_major,
                        version_minor, request->arch);
    bool failed = api.add(handle, LINK_INPUT_PTX, source->data, source->size, name) || api.complete(handle);
    read_text(handle, api.info_size, api.info, log);
    read_text(handle, api.error_size, api.error, log);
    tr_status status;
    if (failed) {
        char *reason = tr__ptxas_first_error(log->data ? log->data : "", name);
        status = tr__fail(error, TR_E_COMPILE, "%s (nvJitLink %u.%u)", reason ? reason : "nvJitLink failed",
                          version_major, version_minor);
        free(reason);
    } else {
        status = read_cubin(handle, out, error);
    }
    api.destroy(&handle);
    return status;
}

tr_status tr__nvjitlink_compile(const tr__compile_request *request, tr__compile_result *result,
                                tr_error **error) {
    unsigned major = 0, minor = 0;
    tr__buffer log = {0};
    tr__blob *source = NULL;
    tr_status status = tr__compile_check_arch(request, error);
    if (!status) status = tr__nvjitlink_open(&major, &minor, error);
    if (!status)
        status = tr__ptx_readable(request->source, tr__ptx_newest(major * 100 + minor), &log, &source, error);
    if (!status) status = link_source(request, source, &log, &result->stages[TR_STAGE_CUBIN], error);
    if (!status && asprintf(&result->maker, "nvjitlink %u.%u", major, minor) < 0) {
        result->maker = NULL;
        status = tr__fail_out_of_memory(error);
    }
    if (!status) result->extra = tr__ptxas_usage(log.data ? log.data : "", request->kernel);
    if (log.size) result->log = tr__buffer_take(&log);
    tr__buffer_release(&log);
    tr__blob_release(source);
    tr__error_set_stage(error, TR_STAGE_CUBIN);
    return status;
}
