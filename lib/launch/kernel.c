#include "launch/kernel.h"

#include "pipeline.h"

#include <stdlib.h>
#include <string.h>

/* What the caller's grid may be on any device; a cell takes `spread` CTAs. */
static const uint32_t most_ctas[3] = {2147483647, 65535, 65535};

static bool is_power_of_two(uint32_t alignment) {
    return !(alignment & (alignment - 1));
}

static tr_status check_record(const tr__record *record, tr_error **error) {
    const char *remedy =
        "load it with its metadata: tr_load_options.metadata, or Triton's .json beside the file";
    if (!record->params_known)
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "kernel '%s' cannot be launched: what parameters it takes is recorded nowhere; %s",
                        record->kernel, remedy);
    if (!record->resources_known)
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "kernel '%s' cannot be launched: its shared memory and scratch sizes are recorded nowhere; %s",
            record->kernel, remedy);
    if (!is_power_of_two(record->global_scratch.alignment) ||
        !is_power_of_two(record->profile_scratch.alignment))
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "the record of kernel '%s' asks for scratch memory aligned to %u and %u bytes; both must be "
            "powers of two",
            record->kernel, record->global_scratch.alignment, record->profile_scratch.alignment);
    for (size_t i = 0; i < record->param_count; i++) {
        const tr__param *param = &record->params[i];
        if (!is_power_of_two(param->divisibility))
            return tr__fail(
                error, TR_E_UNSUPPORTED,
                "parameter %zu of kernel '%s' is promised to be a multiple of %u; only powers of two are "
                "understood",
                i, record->kernel, param->divisibility);
        if (param->type == TR_TYPE_TENSOR_MAP && param->descriptor.im2col)
            return tr__fail(
                error, TR_E_UNSUPPORTED,
                "parameter %zu of kernel '%s' is an im2col tensor descriptor, which cannot be passed", i,
                record->kernel);
    }
    return TR_OK;
}

/* ≤ 3.5 says cluster_dims, later versions num_ctas alone. */
static tr_status find_spread(tr_kernel *kernel, tr_error **error) {
    const tr__record *record = kernel->record;
    uint64_t size = 1;
    for (int i = 0; i < 3; i++) {
        kernel->spread[i] = record->num_ctas > 1 && record->cluster[i] ? record->cluster[i] : 1;
        size *= kernel->spread[i] > 65535 ? 65535 : kernel->spread[i];
    }
    if (record->num_ctas > 1 && size == 1) size = kernel->spread[0] = record->num_ctas;
    if (record->num_ctas > 1 && size != record->num_ctas)
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "the record of kernel '%s' contradicts itself: num_ctas is %u, cluster_dims %u x %u x %u",
            record->kernel, record->num_ctas, record->cluster[0], record->cluster[1], record->cluster[2]);
    for (int i = 0; i < 3; i++) kernel->grid_limit[i] = most_ctas[i] / kernel->spread[i];
    return TR_OK;
}

/* What the record does not tell, the driver may: everything behind the caller's parameters is hidden tail. */
static tr_status find_hidden(tr_kernel *kernel, CUfunction function, tr_error **error) {
    const tr__record *record = kernel->record;
    tr_type types[TR__EXPANSION_MAX];
    size_t offset, size, told = 0, counted = 0;
    if (record->hidden_known) return TR_OK;
    if (!kernel->driver->cuFuncGetParamInfo)
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "kernel '%s' cannot be launched: which hidden parameters it takes is recorded nowhere, and this "
            "driver cannot tell; load it with its metadata",
            record->kernel);
    for (size_t i = 0; i < record->param_count; i++) told += tr__param_expand(&record->params[i], types);
    while (counted < told + TR__HIDDEN_MAX &&
           !kernel->driver->cuFuncGetParamInfo(function, counted, &offset, &size))
        counted++;
    if (counted < told || counted > told + 2)
        return tr__fail(
            error, TR_E_SIGNATURE,
            "kernel '%s' has %zu parameters, but %zu are recorded; the record belongs to another build",
            record->kernel, counted, told);
    tr__record *completed = kernel->own_record = tr__record_copy(record);
    if (!completed) return tr__fail_out_of_memory(error);
    completed->hidden_count = (uint32_t)(counted - told);
    completed->hidden[0] = TR__HIDDEN_GLOBAL_SCRATCH;
    completed->hidden[1] = TR__HIDDEN_PROFILE_SCRATCH;
    completed->hidden_known = true;
    kernel->record = completed;
    return TR_OK;
}

/* How tensor maps lie in the parameters the driver knows; where it can't be asked, the device tells the likeliest. */
static tr_status find_layout(tr_kernel *kernel, const tr__instance *instance, tr_error **error) {
    uint32_t likely = instance->architecture / 10 == 9 && !kernel->driver->cpu ? TR__LEAD_SM90 : 0;
    const tr__layout layouts[] = {
        {64, likely}, {128, likely}, {64, TR__LEAD_SM90 - likely}, {128, TR__LEAD_SM90 - likely}};
    tr_status status = TR_OK;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        tr__pack *pack = NULL;
        tr__error_forget(error);
        status = tr__pack_create(kernel->record, layouts[i], &pack, error);
        if (!status) status = tr__pack_compare(pack, kernel->driver, instance->function, error);
        kernel->pack = pack;
        if (!status || !pack || !pack->has_maps) return status;
        if (i + 1 < sizeof layouts / sizeof *layouts) tr__pack_destroy(pack);
    }
    return status;
}

static void free_kernel(tr_kernel *kernel) {
    for (tr__instance *instance = kernel->instances, *next; instance; instance = next) {
        next = instance->next;
        tr__instance_destroy(instance);
    }
    tr__pack_destroy((tr__pack *)kernel->pack);
    tr__record_release(kernel->own_record);
    tr__program_release(kernel->program);
    pthread_mutex_destroy(&kernel->lock);
    free(kernel);
}

static bool needs_scratch(const tr__record *record) {
    for (uint32_t i = 0; i < record->hidden_count; i++)
        if ((record->hidden[i] == TR__HIDDEN_GLOBAL_SCRATCH ? record->global_scratch
                                                            : record->profile_scratch)
                .size)
            return true;
    return false;
}

static tr_status assemble(tr_kernel *kernel, tr__scope *scope, tr_error **error) {
    tr_runner *runner = kernel->program->runner;
    kernel->record = kernel->program->record;
    tr_status status = check_record(kernel->record, error);
    if (!status) status = find_spread(kernel, error);
    if (!status) status = tr__runner_modules(runner, &kernel->modules, error);
    if (!status) status = tr__runner_scratches(runner, &kernel->scratches, error);
    if (!status) status = tr__instance_create(kernel, scope->context, &kernel->instances, error);
    if (!status) status = find_hidden(kernel, kernel->instances->function, error);
    if (!status) status = find_layout(kernel, kernel->instances, error);
    if (status) return status;
    kernel->count = kernel->pack->size > TR__PACKED_USUAL ? SIZE_MAX : kernel->pack->count;
    kernel->careful = kernel->record->num_ctas > 1 || kernel->record->cooperative || !kernel->pack->size ||
                      needs_scratch(kernel->record);
    return TR_OK;
}

tr_status tr_kernel_create(const tr_program *program, tr_kernel **out, tr_error **error) {
    tr__error_clear(error);
    if (!out) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_kernel_create: out is NULL");
    *out = NULL;
    if (!program) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_kernel_create: program is NULL");
    tr__scope scope;
    tr__driver *driver;
    tr_kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel) return tr__fail_out_of_memory(error);
    kernel->references = 1;
    pthread_mutex_init(&kernel->lock, NULL);
    tr_status status = tr__pipeline_launchable(program, &kernel->program, error);
    if (!status) status = tr__runner_driver(program->runner, &driver, error);
    if (!status) status = tr__driver_enter(driver, &scope, error);
    if (!status) {
        kernel->driver = driver;
        status = assemble(kernel, &scope, error);
        if (status) free_kernel(kernel);
        tr__driver_leave(driver, &scope);
    } else {
        free_kernel(kernel);
    }
    if (!status) *out = kernel;
    return status;
}

tr_status tr__kernel_instance(const tr_kernel *kernel, tr__context context, tr__instance **out,
                              tr_error **error) {
    tr_kernel *changing = (tr_kernel *)kernel; /* the list of instances is what a const kernel may gain */
    *out = tr__kernel_find(kernel, context.id);
    if (*out) return TR_OK;
    pthread_mutex_lock(&changing->lock);
    tr_status status = TR_OK;
    *out = tr__kernel_find(kernel, context.id);
    if (!*out) {
        status = tr__instance_create(kernel, context, out, error);
        if (!status) {
            (*out)->next = changing->instances;
            __atomic_store_n(&changing->instances, *out, __ATOMIC_RELEASE);
        }
    }
    pthread_mutex_unlock(&changing->lock);
    return status;
}

tr_status tr_kernel_load(const tr_kernel *kernel, tr_error **error) {
    tr__error_clear(error);
    tr__scope scope;
    tr__instance *instance;
    if (!kernel) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_kernel_load: kernel is NULL");
    tr_status status = tr__driver_enter(kernel->driver, &scope, error);
    if (status) return status;
    status = tr__kernel_instance(kernel, scope.context, &instance, error);
    tr__driver_leave(kernel->driver, &scope);
    return status;
}

tr_kernel *tr__kernel_retain(const tr_kernel *kernel) {
    tr_kernel *counted = (tr_kernel *)kernel;
    __atomic_fetch_add(&counted->references, 1, __ATOMIC_RELAXED);
    return counted;
}

void tr_kernel_destroy(tr_kernel *kernel) {
    if (!kernel || __atomic_fetch_sub(&kernel->references, 1, __ATOMIC_ACQ_REL) != 1) return;
    free_kernel(kernel);
    tr__settle();
}

size_t tr_kernel_param_count(const tr_kernel *kernel) {
    return kernel ? kernel->pack->count : 0;
}

tr_status tr_kernel_param(const tr_kernel *kernel, size_t index, tr_param_info *info) {
    if (!kernel || !info || index >= kernel->pack->count || info->struct_size < sizeof info->struct_size)
        return TR_E_INVALID_ARGUMENT;
    const tr__param *param = &kernel->record->params[index];
    const tr__place *place = &kernel->pack->places[index];
    tr_param_info known = {
        .struct_size = info->struct_size,
        .name = param->name,
        .type = param->type,
        .element = param->element,
        .flags = param->folded ? TR_PARAM_FOLDED : 0,
        .divisibility = param->divisibility ? param->divisibility : 1,
        .offset = place->offset,
        .size = place->size,
        .alignment = place->alignment,
        .constant = param->folded ? param->constant : 0,
    };
    size_t size = info->struct_size;
    memset(info, 0, size);
    memcpy(info, &known, size < sizeof known ? size : sizeof known);
    return TR_OK;
}

tr_status tr_kernel_function(const tr_kernel *kernel, void **cufunction, tr_error **error) {
    tr__error_clear(error);
    if (cufunction) *cufunction = NULL;
    if (!kernel || !cufunction)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_kernel_function: %s is NULL",
                        kernel ? "cufunction" : "kernel");
    tr__scope scope;
    tr__instance *instance;
    tr_status status = tr__driver_enter(kernel->driver, &scope, error);
    if (status) return status;
    status = tr__kernel_instance(kernel, scope.context, &instance, error);
    if (!status) *cufunction = instance->function;
    tr__driver_leave(kernel->driver, &scope);
    return status;
}
