/* Modules: parsed, their variables placed and initialised, every kernel decoded. */
#include "machine/memory.h"
#include "machine/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_NO_BINARY_FOR_GPU = 209,
    CUDA_INVALID_PTX = 218,
    CUDA_UNSUPPORTED_PTX_VERSION = 222,
};

static bool is_device_data(const trcpu_variable *v) {
    return v->space == TRCPU_SPACE_GLOBAL || v->space == TRCPU_SPACE_CONST;
}

static int place_variables(trcpu_module *module, char *log, size_t log_size) {
    trcpu_ptx *ptx = module->ptx;
    module->allocations = calloc(ptx->variable_count + 1, sizeof *module->allocations);
    if (!module->allocations) return CUDA_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < ptx->variable_count; i++) {
        trcpu_variable *v = ptx->variables[i];
        if (!is_device_data(v)) continue;
        if (v->is_extern) {
            snprintf(log, log_size, "line 1: '%.*s' is defined in no module", (int)v->name.size, v->name.at);
            return CUDA_INVALID_PTX;
        }
        v->address = trcpu_memory_allocate(module->memory, v->size ? v->size : 1);
        if (!v->address) return CUDA_OUT_OF_MEMORY;
        module->allocations[module->allocation_count++] = v->address;
        if (v->bytes) memcpy(trcpu_host_of(v->address), v->bytes, v->size);
        trcpu_memory_wrote(module->memory, v->address, v->size);
        if (v->space == TRCPU_SPACE_CONST) trcpu_memory_protect(module->memory, v->address);
    }
    for (uint32_t i = 0; i < ptx->variable_count; i++) {
        trcpu_variable *v = ptx->variables[i];
        for (uint32_t k = 0; is_device_data(v) && k < v->relocation_count; k++) {
            const trcpu_relocation *r = &v->relocations[k];
            if (!r->variable || !is_device_data(r->variable)) {
                snprintf(log, log_size,
                         "line 1: the initial value '%.*s' of '%.*s' is not the address of a global variable",
                         (int)r->function.size, r->function.at, (int)v->name.size, v->name.at);
                return CUDA_INVALID_PTX;
            }
            uint64_t value = r->variable->address + (uint64_t)r->addend;
            memcpy(trcpu_host_of(v->address) + r->offset, &value, r->size < 8 ? r->size : 8);
        }
    }
    return 0;
}

/* Parameters lie as a C struct's members; their offsets in the packed buffer are what cuFuncGetParamInfo says. */
static int describe(trcpu_function *function) {
    const trcpu_ptx_function *ptx = function->ptx;
    uint32_t offset = 0;
    function->parameters = calloc(ptx->parameter_count + 1, sizeof *function->parameters);
    function->name = strndup(ptx->name.at, ptx->name.size);
    if (!function->parameters || !function->name) return CUDA_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < ptx->parameter_count; i++) {
        trcpu_variable *v = ptx->parameters[i];
        offset = (offset + v->alignment - 1) & ~(v->alignment - 1);
        v->address = offset;
        function->parameters[i] = (trcpu_parameter){offset, (uint32_t)v->size, v->alignment};
        offset += (uint32_t)v->size;
    }
    trcpu_function_info *info = &function->info;
    *info = (trcpu_function_info){.name = function->name,
                                  .parameters = function->parameters,
                                  .parameter_count = ptx->parameter_count,
                                  .parameter_bytes = offset,
                                  .ptx_version = function->module->ptx->version,
                                  .target_arch = function->module->ptx->target};
    memcpy(info->required_block, ptx->required_block, sizeof info->required_block);
    memcpy(info->max_block, ptx->max_block, sizeof info->max_block);
    memcpy(info->required_cluster, ptx->required_cluster, sizeof info->required_cluster);
    return 0;
}

/* What the hardware's compiler would say is the matter of no one here: a modest number that fits every block. */
static void describe_resources(trcpu_function *function) {
    trcpu_function_info *info = &function->info;
    const uint32_t *block = info->required_block[0] ? info->required_block : info->max_block;
    info->max_threads = block[0] ? block[0] * block[1] * block[2] : 1024;
    info->static_shared = function->shared_bytes;
    info->local_bytes = function->frame_bytes;
    info->registers = 32;
}

static int load_functions(trcpu_module *module, char *log, size_t log_size) {
    trcpu_ptx *ptx = module->ptx;
    module->functions = calloc(ptx->function_count + 1, sizeof *module->functions);
    if (!module->functions) return CUDA_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < ptx->function_count; i++) {
        if (!ptx->functions[i]->is_entry || !ptx->functions[i]->has_body) continue;
        trcpu_function *function = &module->functions[module->function_count++];
        function->module = module;
        function->ptx = ptx->functions[i];
        int result = describe(function);
        if (!result) result = trcpu_function_decode(function, trcpu_variant_best(), log, log_size);
        if (result) return result;
        describe_resources(function);
    }
    return 0;
}

static bool looks_like_a_cubin(const char *image, size_t size) {
    static const unsigned char fatbin[4] = {0x50, 0xed, 0x55, 0xba};
    return size >= 4 && (memcmp(image, "\177ELF", 4) == 0 || memcmp(image, fatbin, 4) == 0);
}

int trcpu_module_load(trcpu_memory *memory, const char *ptx, size_t size, int arch, char *log,
                      size_t log_size, trcpu_module **out) {
    *out = NULL;
    if (log_size) log[0] = 0;
    if (looks_like_a_cubin(ptx, size)) {
        snprintf(log, log_size,
                 "line 1: this is a cubin: the CPU device runs PTX, load the kernel's .ptx instead");
        return CUDA_NO_BINARY_FOR_GPU;
    }
    trcpu_module *module = calloc(1, sizeof *module);
    if (!module) return CUDA_OUT_OF_MEMORY;
    module->memory = memory;
    bool exhausted;
    module->ptx = trcpu_ptx_parse(ptx, size, log, log_size, &exhausted);
    int result = module->ptx ? 0 : exhausted ? CUDA_OUT_OF_MEMORY : CUDA_INVALID_PTX;
    if (!result && module->ptx->target > arch) {
        snprintf(log, log_size, "line 1: .target sm_%d is beyond this device, which is sm_%d",
                 module->ptx->target, arch);
        result = CUDA_NO_BINARY_FOR_GPU;
    }
    if (!result) result = place_variables(module, log, log_size);
    if (!result) result = load_functions(module, log, log_size);
    if (!result)
        *out = module;
    else
        trcpu_module_destroy(module);
    return result;
}

void trcpu_module_destroy(trcpu_module *module) {
    if (!module) return;
    for (size_t i = 0; i < module->function_count; i++) trcpu_function_release(&module->functions[i]);
    for (uint32_t i = 0; i < module->allocation_count; i++)
        trcpu_memory_free(module->memory, module->allocations[i]);
    free(module->functions);
    free(module->allocations);
    trcpu_ptx_destroy(module->ptx);
    free(module);
}

trcpu_function *trcpu_module_function(trcpu_module *module, const char *name) {
    for (size_t i = 0; i < module->function_count; i++)
        if (strcmp(module->functions[i].name, name) == 0) return &module->functions[i];
    return NULL;
}

size_t trcpu_module_function_count(const trcpu_module *module) {
    return module->function_count;
}

trcpu_function *trcpu_module_function_at(trcpu_module *module, size_t index) {
    return index < module->function_count ? &module->functions[index] : NULL;
}

bool trcpu_module_global(trcpu_module *module, const char *name, uint64_t *address, uint64_t *size) {
    for (uint32_t i = 0; i < module->ptx->variable_count; i++) {
        const trcpu_variable *v = module->ptx->variables[i];
        if (!is_device_data(v) || !trcpu_text_is(v->name, name)) continue;
        *address = v->address;
        *size = v->size;
        return true;
    }
    return false;
}

const trcpu_function_info *trcpu_function_describe(const trcpu_function *function) {
    return &function->info;
}

/* As an SM of sm_89: 1536 threads, 24 CTAs, 100 KiB of shared memory, 1 KiB of it a CTA's own. */
int trcpu_occupancy(const trcpu_function *function, uint32_t block_threads, uint32_t dynamic_shared) {
    uint32_t shared = function->shared_dynamic + dynamic_shared + 1024;
    if (block_threads == 0 || block_threads > 1024 || shared > 100 * 1024) return 0;
    uint32_t by_threads = 1536 / ((block_threads + 31) & ~31u), by_shared = 100 * 1024 / shared;
    uint32_t least = by_threads < by_shared ? by_threads : by_shared;
    return (int)(least < 24 ? least : 24);
}
