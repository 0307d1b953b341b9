/* Modules and libraries: PTX text, parsed when it is loaded. A CUmodule, a CUlibrary and what they hold are
   the same things here; a library lives in the context it was loaded in. */
#include "driver/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the options that matter: where the log goes ---- */
typedef struct logs {
    char *info, *error;
    size_t info_size, error_size;
    void **info_written, **error_written;
} logs;

static void read_options(unsigned int count, const CUjit_option *options, void **values, logs *out) {
    for (unsigned int i = 0; i < count; i++) switch (options[i]) {
        case CU_JIT_INFO_LOG_BUFFER: out->info = values[i]; break;
        case CU_JIT_ERROR_LOG_BUFFER: out->error = values[i]; break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
            out->info_size = (unsigned int)(uintptr_t)values[i];
            out->info_written = &values[i];
            break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
            out->error_size = (unsigned int)(uintptr_t)values[i];
            out->error_written = &values[i];
            break;
        default: break; /* what an optimizer would want to know */
        }
}

static void write_log(char *buffer, size_t size, void **written, const char *text) {
    size_t length = 0;
    if (buffer && size) {
        length = strnlen(text, size - 1);
        memcpy(buffer, text, length);
        buffer[length++] = 0;
    }
    if (written) *written = (void *)(uintptr_t)length;
}

/* ---- loading ---- */
static bool is_binary(const unsigned char *image) {
    static const unsigned char ELF[] = {0x7f, 'E', 'L', 'F'}, FATBIN[] = {0x50, 0xed, 0x55, 0xba},
                               WRAPPER[] = {0xb1, 0x43, 0x62, 0x46};
    const unsigned char *magics[] = {ELF, FATBIN, WRAPPER};
    for (size_t i = 0; i < 3; i++) {
        size_t k = 0;
        while (k < 4 && image[k] == magics[i][k]) k++;
        if (k == 4) return true;
    }
    return false;
}

static CUresult add_functions(trcpu_loaded *loaded) {
    loaded->function_count = trcpu_module_function_count(loaded->module);
    loaded->functions = calloc(loaded->function_count + 1, sizeof *loaded->functions);
    if (!loaded->functions) return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < loaded->function_count; i++) {
        trcpu_callable *callable = &loaded->functions[i];
        callable->loaded = loaded;
        callable->function = trcpu_module_function_at(loaded->module, i);
        callable->info = trcpu_function_describe(callable->function);
        callable->max_dynamic_shared = trcpu_shared_limit(callable->info, 0);
        callable->carveout = -1;
        callable->handle = trcpu_handle_new(TRCPU_FUNCTION, callable);
        if (!callable->handle) return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return CUDA_SUCCESS;
}

static void forget_handles(trcpu_loaded *loaded) {
    for (size_t i = 0; loaded->functions && i < loaded->function_count; i++)
        if (loaded->functions[i].handle) {
            trcpu_handle_delete(loaded->functions[i].handle);
            loaded->functions[i].handle = NULL;
        }
    if (loaded->handle) {
        trcpu_handle_delete(loaded->handle);
        loaded->handle = NULL;
    }
}

void trcpu_loaded_release(trcpu_loaded *loaded) {
    if (--loaded->references) return;
    trcpu_module_destroy(loaded->module);
    free(loaded->functions);
    free(loaded);
}

static void unload(trcpu_loaded *loaded) {
    for (trcpu_loaded **at = &loaded->context->modules; *at; at = &(*at)->next)
        if (*at == loaded) {
            *at = loaded->next;
            break;
        }
    loaded->context = NULL;
    forget_handles(loaded);
    trcpu_loaded_release(loaded);
}

void trcpu_modules_unload_all(trcpu_context *context) {
    while (context->modules) unload(context->modules);
}

/* Under the lock again; the context may have gone while the text was parsed. */
static CUresult keep(CUcontext context_handle, unsigned long long id, trcpu_module *module, CUmodule *out) {
    trcpu_context *context = NULL;
    CUresult result = trcpu_context_find(context_handle, &context);
    trcpu_loaded *loaded = !result && context->id == id ? calloc(1, sizeof *loaded) : NULL;
    if (!loaded) {
        trcpu_module_destroy(module);
        return result ? result : CUDA_ERROR_OUT_OF_MEMORY;
    }
    *loaded = (trcpu_loaded){.context = context, .module = module, .references = 1, .next = context->modules};
    context->modules = loaded;
    result = add_functions(loaded);
    if (!result && !(loaded->handle = trcpu_handle_new(TRCPU_MODULE, loaded)))
        result = CUDA_ERROR_OUT_OF_MEMORY;
    if (result)
        unload(loaded);
    else
        *out = loaded->handle;
    return result;
}

static CUresult parse(trcpu_memory *memory, const void *image, char *log, size_t size, trcpu_module **out) {
    if (is_binary(image)) {
        snprintf(log, size, "this is a binary for a GPU; the CPU device runs PTX: load the PTX instead");
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    return (CUresult)trcpu_module_load(memory, image, strlen(image), trcpu.architecture->number, log, size,
                                       out);
}

static CUresult load(CUmodule *out, const void *image, unsigned int option_count, const CUjit_option *options,
                     void **values) {
    enum { LOG_SIZE = 16 << 10 };
    trcpu_context *context;
    trcpu_module *module = NULL;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    if (!out || !image || (option_count && (!options || !values)))
        return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    result = trcpu_capture_forbids();
    char *log = result ? NULL : calloc(1, LOG_SIZE);
    if (!log) return trcpu_leave(result ? result : CUDA_ERROR_OUT_OF_MEMORY);
    CUcontext handle = context->handle;
    unsigned long long id = context->id;
    trcpu_memory *memory = context->device->memory;
    pthread_mutex_unlock(&trcpu.lock);

    logs logs = {0};
    read_options(option_count, options, values, &logs);
    result = parse(memory, image, log, LOG_SIZE, &module);
    write_log(logs.info, logs.info_size, logs.info_written, result ? "" : log);
    write_log(logs.error, logs.error_size, logs.error_written, result ? log : "");
    free(log);

    pthread_mutex_lock(&trcpu.lock);
    return trcpu_leave(result ? result : keep(handle, id, module, out));
}

static CUresult load_file(CUmodule *out, const char *path, unsigned int option_count,
                          const CUjit_option *options, void **values) {
    if (!path) return CUDA_ERROR_INVALID_VALUE;
    FILE *file = fopen(path, "rbe");
    if (!file) return CUDA_ERROR_FILE_NOT_FOUND;
    char *text = NULL;
    size_t size = 0;
    ssize_t read = getdelim(&text, &size, 0, file); /* text ends at its first NUL anyway */
    fclose(file);
    CUresult result = read > 0 ? load(out, text, option_count, options, values) : CUDA_ERROR_INVALID_IMAGE;
    free(text);
    return result;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    return load(module, image, 0, NULL, NULL);
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int option_count,
                            CUjit_option *options, void **option_values) {
    return load(module, image, option_count, options, option_values);
}

CUresult cuModuleLoadFatBinary(CUmodule *module, const void *image) {
    return load(module, image, 0, NULL, NULL);
}

CUresult cuModuleLoad(CUmodule *module, const char *file) {
    return load_file(module, file, 0, NULL, NULL);
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode) {
    if (!mode) return CUDA_ERROR_INVALID_VALUE;
    *mode = CU_MODULE_EAGER_LOADING;
    return CUDA_SUCCESS;
}

/* ---- what is in a module ---- */
static CUresult enter_module(const void *handle, const void *out, trcpu_loaded **loaded) {
    trcpu_context *context;
    CUresult result = trcpu_enter_context(&context);
    if (result) return result;
    *loaded = trcpu_handle_find(TRCPU_MODULE, handle);
    if (!*loaded) return trcpu_leave(CUDA_ERROR_INVALID_HANDLE);
    result = (*loaded)->context->error;
    if (!result && !out) result = CUDA_ERROR_INVALID_VALUE;
    return result ? trcpu_leave(result) : CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule handle) {
    trcpu_loaded *loaded;
    CUresult result = enter_module(handle, handle, &loaded);
    if (result) return result;
    result = trcpu_capture_forbids();
    if (result) return trcpu_leave(result);
    unload(loaded);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuModuleGetFunction(CUfunction *out, CUmodule handle, const char *name) {
    trcpu_loaded *loaded;
    CUresult result = enter_module(handle, out, &loaded);
    if (result) return result;
    for (size_t i = 0; name && i < loaded->function_count; i++)
        if (!strcmp(loaded->functions[i].info->name, name)) {
            *out = loaded->functions[i].handle;
            return trcpu_leave(CUDA_SUCCESS);
        }
    return trcpu_leave(name ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_VALUE);
}

CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule handle) {
    trcpu_loaded *loaded;
    CUresult result = enter_module(handle, count, &loaded);
    if (result) return result;
    *count = (unsigned int)loaded->function_count;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned int count, CUmodule handle) {
    trcpu_loaded *loaded;
    CUresult result = enter_module(handle, functions, &loaded);
    if (result) return result;
    for (size_t i = 0; i < count && i < loaded->function_count; i++)
        functions[i] = loaded->functions[i].handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *size, CUmodule handle, const char *name) {
    trcpu_loaded *loaded;
    CUresult result = enter_module(handle, handle, &loaded);
    if (result) return result;
    uint64_t at = 0, bytes = 0;
    if (!name || !trcpu_module_global(loaded->module, name, &at, &bytes))
        return trcpu_leave(name ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_VALUE);
    if (address) *address = at;
    if (size) *size = bytes;
    return trcpu_leave(CUDA_SUCCESS);
}

/* ---- libraries ---- */
CUresult cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *options, void **option_values,
                           unsigned int option_count, CUlibraryOption *library_options,
                           void **library_option_values, unsigned int library_option_count) {
    return load((CUmodule *)(void *)library, code, option_count, options, option_values);
}

CUresult cuLibraryLoadFromFile(CUlibrary *library, const char *file, CUjit_option *options,
                               void **option_values, unsigned int option_count,
                               CUlibraryOption *library_options, void **library_option_values,
                               unsigned int library_option_count) {
    return load_file((CUmodule *)(void *)library, file, option_count, options, option_values);
}

CUresult cuLibraryUnload(CUlibrary library) {
    return cuModuleUnload((CUmodule)(void *)library);
}

CUresult cuLibraryGetModule(CUmodule *out, CUlibrary library) {
    trcpu_loaded *loaded;
    CUresult result = enter_module(library, out, &loaded);
    if (result) return result;
    *out = loaded->handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuLibraryGetKernel(CUkernel *out, CUlibrary library, const char *name) {
    return cuModuleGetFunction((CUfunction *)(void *)out, (CUmodule)(void *)library, name);
}

CUresult cuLibraryGetKernelCount(unsigned int *count, CUlibrary library) {
    return cuModuleGetFunctionCount(count, (CUmodule)(void *)library);
}

CUresult cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int count, CUlibrary library) {
    return cuModuleEnumerateFunctions((CUfunction *)(void *)kernels, count, (CUmodule)(void *)library);
}

CUresult cuLibraryGetGlobal(CUdeviceptr *address, size_t *size, CUlibrary library, const char *name) {
    return cuModuleGetGlobal_v2(address, size, (CUmodule)(void *)library, name);
}

/* ---- the driver's linker makes binaries: there is none ---- */
CUresult cuLinkCreate_v2(unsigned int option_count, CUjit_option *options, void **option_values,
                         CUlinkState *out) {
    return CUDA_ERROR_JIT_COMPILER_NOT_FOUND;
}

CUresult cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name,
                          unsigned int option_count, CUjit_option *options, void **option_values) {
    return CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuLinkComplete(CUlinkState state, void **cubin, size_t *size) {
    return CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuLinkDestroy(CUlinkState state) {
    return CUDA_ERROR_INVALID_HANDLE;
}
