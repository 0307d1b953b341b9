/* A kernel comes into a context: loaded, checked against the device, its launch prepared. */
#include "launch/kernel.h"
#include "runner.h"

#include <stdlib.h>

typedef struct device {
    int architecture, shared_optin, cooperative, clusters, multiprocessors;
} device;

static tr_status look_at_device(tr__driver *driver, device *out, tr_error **error) {
    CUdevice handle;
    int major = 0, minor = 0;
    const struct {
        CUdevice_attribute attribute;
        int *value;
    } wanted[] = {
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &out->shared_optin},
        {CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, &out->cooperative},
        {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &out->multiprocessors},
    };
    CUresult result = driver->cuCtxGetDevice(&handle);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && !result; i++)
        result = driver->cuDeviceGetAttribute(wanted[i].value, wanted[i].attribute, handle);
    if (result) return tr__driver_fail(driver, result, "looking at the device", error);
    if (driver->cuDeviceGetAttribute(&out->clusters, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, handle))
        out->clusters = 0;
    out->architecture = 10 * major + minor;
    return TR_OK;
}

static tr_status load(const tr_kernel *kernel, const device *device, tr__instance *instance,
                      tr_error **error) {
    const tr__record *record = kernel->record;
    tr__driver *driver = kernel->driver;
    if (driver->cpu && kernel->program->stage == TR_STAGE_CUBIN)
        return tr__fail(
            error, TR_E_UNSUPPORTED,
            "kernel '%s' is a cubin, and the CPU device executes PTX: load the PTX that it was made of",
            record->kernel);
    bool may_load = !tr__runner_sealed(kernel->program->runner);
    tr_status status = tr__modules_get(kernel->modules, kernel->program->bytes, instance->context, may_load,
                                       record->kernel, &instance->module, error);
    if (status) {
        if (status != TR_E_SEALED)
            tr__error_prefix(error, "kernel '%s', built for %s, this device is sm_%d", record->kernel,
                             record->arch ? record->arch : "an unknown architecture", device->architecture);
        tr__error_set_stage(error, kernel->program->stage);
        return status;
    }
    CUresult result =
        driver->cuModuleGetFunction(&instance->function, tr__module_handle(instance->module), record->kernel);
    if (!result) return TR_OK;
    status = tr__driver_fail(driver, result, "cuModuleGetFunction", error);
    tr__error_prefix(error, "kernel '%s'", record->kernel);
    return status;
}

static tr_status read_attribute(const tr_kernel *kernel, CUfunction function, CUfunction_attribute attribute,
                                int *out, tr_error **error) {
    CUresult result = kernel->driver->cuFuncGetAttribute(out, attribute, function);
    return result ? tr__driver_fail(kernel->driver, result, "cuFuncGetAttribute", error) : TR_OK;
}

static tr_status check_threads(const tr_kernel *kernel, tr__instance *instance, tr_error **error) {
    uint32_t threads = 32 * kernel->record->num_warps;
    int most = 0;
    tr_status status =
        read_attribute(kernel, instance->function, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, &most, error);
    if (!status && (int64_t)threads > most)
        status = tr__fail(
            error, TR_E_RESOURCE,
            "kernel '%s' has %u warps, %u threads per CTA, but on this device its registers allow %d; "
            "compile it with fewer warps",
            kernel->record->kernel, kernel->record->num_warps, threads, most);
    instance->launch.blockDimX = threads;
    instance->launch.blockDimY = instance->launch.blockDimZ = 1;
    return status;
}

enum { SHARED_WITHOUT_ASKING = 48 << 10 };

static tr_status opt_in(const tr_kernel *kernel, const device *device, CUfunction function, int fixed,
                        tr_error **error) {
    tr__driver *driver = kernel->driver;
    CUresult result = driver->cuFuncSetCacheConfig(function, CU_FUNC_CACHE_PREFER_SHARED);
    if (!result)
        result = driver->cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                            device->shared_optin - fixed);
    return result ? tr__driver_fail(driver, result, "asking for more than 48 KiB of shared memory", error)
                  : TR_OK;
}

static tr_status check_shared(const tr_kernel *kernel, const device *device, tr__instance *instance,
                              tr_error **error) {
    uint32_t shared = kernel->record->shared;
    int fixed = 0;
    tr_status status =
        read_attribute(kernel, instance->function, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, &fixed, error);
    if (status) return status;
    if ((int64_t)shared + fixed > device->shared_optin)
        return tr__fail(
            error, TR_E_RESOURCE,
            "kernel '%s' needs %lld bytes of shared memory per CTA, but this device has %d; compile it with "
            "smaller blocks or fewer stages",
            kernel->record->kernel, (long long)shared + fixed, device->shared_optin);
    if (kernel->record->tensor_memory > 512)
        return tr__fail(error, TR_E_RESOURCE,
                        "kernel '%s' needs %u columns of tensor memory, but there are 512",
                        kernel->record->kernel, kernel->record->tensor_memory);
    instance->launch.sharedMemBytes = shared;
    instance->static_shared = (uint32_t)fixed;
    return shared > SHARED_WITHOUT_ASKING ? opt_in(kernel, device, instance->function, fixed, error) : TR_OK;
}

static CUlaunchAttributeValue *add_attribute(tr__instance *instance, CUlaunchAttributeID id) {
    CUlaunchAttribute *attribute = &instance->attributes[instance->launch.numAttrs++];
    attribute->id = id;
    return &attribute->value;
}

enum { PORTABLE_CLUSTER = 8, LARGEST_CLUSTER = 16 };

static tr_status prepare_cluster(const tr_kernel *kernel, const device *device, tr__instance *instance,
                                 tr_error **error) {
    const char *name = kernel->record->kernel;
    uint32_t x = kernel->spread[0], y = kernel->spread[1], z = kernel->spread[2], size = x * y * z;
    if (size == 1) return TR_OK;
    if (!device->clusters)
        return tr__fail(
            error, TR_E_UNSUPPORTED,
            "kernel '%s' runs in clusters of %u CTAs, which devices have from sm_90 on; this one is sm_%d",
            name, size, device->architecture);
    if (size > LARGEST_CLUSTER)
        return tr__fail(error, TR_E_RESOURCE, "kernel '%s' runs in clusters of %u CTAs, but %d is the most",
                        name, size, LARGEST_CLUSTER);
    if (size > PORTABLE_CLUSTER) {
        CUresult result = kernel->driver->cuFuncSetAttribute(
            instance->function, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1);
        if (result)
            return tr__driver_fail(kernel->driver, result, "asking for a cluster of more than 8 CTAs", error);
    }
    CUlaunchAttributeValue *value = add_attribute(instance, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
    value->clusterDim.x = x, value->clusterDim.y = y, value->clusterDim.z = z;
    value = add_attribute(instance, CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE);
    value->clusterSchedulingPolicyPreference = CU_CLUSTER_SCHEDULING_POLICY_SPREAD;
    return TR_OK;
}

static tr_status prepare_cooperative(const tr_kernel *kernel, const device *device, tr__instance *instance,
                                     tr_error **error) {
    int per_multiprocessor = 0;
    if (!kernel->record->cooperative) return TR_OK;
    if (!device->cooperative)
        return tr__fail(error, TR_E_UNSUPPORTED,
                        "kernel '%s' needs a cooperative launch, which this device lacks",
                        kernel->record->kernel);
    CUresult result = kernel->driver->cuOccupancyMaxActiveBlocksPerMultiprocessor(
        &per_multiprocessor, instance->function, (int)instance->launch.blockDimX,
        instance->launch.sharedMemBytes);
    if (result)
        return tr__driver_fail(kernel->driver, result, "cuOccupancyMaxActiveBlocksPerMultiprocessor", error);
    instance->cooperative_limit = (uint64_t)per_multiprocessor * (uint64_t)device->multiprocessors;
    add_attribute(instance, CU_LAUNCH_ATTRIBUTE_COOPERATIVE)->cooperative = 1;
    return TR_OK;
}

static tr_status prepare(const tr_kernel *kernel, tr__instance *instance, tr_error **error) {
    device device = {0};
    tr_status status = look_at_device(kernel->driver, &device, error);
    if (!status) status = load(kernel, &device, instance, error);
    if (!status && kernel->pack)
        status = tr__pack_compare(kernel->pack, kernel->driver, instance->function, error);
    if (!status) status = check_threads(kernel, instance, error);
    if (!status) status = check_shared(kernel, &device, instance, error);
    if (!status && kernel->record->programmatic)
        add_attribute(instance, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
            ->programmaticStreamSerializationAllowed = 1;
    if (!status) status = prepare_cooperative(kernel, &device, instance, error);
    if (!status) status = prepare_cluster(kernel, &device, instance, error);
    instance->architecture = device.architecture;
    return status;
}

tr_status tr__instance_create(const tr_kernel *kernel, tr__context context, tr__instance **out,
                              tr_error **error) {
    tr__instance *instance = calloc(1, sizeof *instance);
    *out = NULL;
    if (!instance) return tr__fail_out_of_memory(error);
    instance->context = context;
    instance->launch.attrs = instance->attributes;
    tr_status status = prepare(kernel, instance, error);
    if (status)
        tr__instance_destroy(instance);
    else
        *out = instance;
    return status;
}

void tr__instance_destroy(tr__instance *instance) {
    tr__module_put(instance->module);
    free(instance);
}
