/* What can be asked of a kernel. */
#include "launch/kernel.h"

static CUresult from_driver(const tr_kernel *kernel, const tr__instance *instance,
                            CUfunction_attribute attribute, int64_t *out) {
    int value = 0;
    CUresult result = kernel->driver->cuFuncGetAttribute(&value, attribute, instance->function);
    *out = value;
    return result;
}

static CUresult occupancy(const tr_kernel *kernel, const tr__instance *instance, int64_t *out) {
    int value = 0;
    CUresult result = kernel->driver->cuOccupancyMaxActiveBlocksPerMultiprocessor(
        &value, instance->function, (int)instance->launch.blockDimX, instance->launch.sharedMemBytes);
    *out = value;
    return result;
}

/* Triton counts spills as local memory in words; ptxas's own figure, where it is recorded, leaves out arrays.
 */
static CUresult spills(const tr_kernel *kernel, const tr__instance *instance, int64_t *out) {
    *out = kernel->record->spills;
    if (*out >= 0) return CUDA_SUCCESS;
    CUresult result = from_driver(kernel, instance, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, out);
    *out /= 4;
    return result;
}

static tr_status ask(const tr_kernel *kernel, tr_attribute attribute, int64_t *out, tr_error **error) {
    const tr__record *record = kernel->record;
    tr__scope scope;
    tr__instance *instance;
    CUresult result = CUDA_SUCCESS;
    tr_status status = tr__driver_enter(kernel->driver, &scope, error);
    if (status) return status;
    status = tr__kernel_instance(kernel, scope.context, &instance, error);
    if (!status) {
        switch (attribute) {
        case TR_ATTRIBUTE_NUM_WARPS: *out = record->num_warps; break;
        case TR_ATTRIBUTE_NUM_CTAS: *out = record->num_ctas; break;
        case TR_ATTRIBUTE_SHARED: *out = (int64_t)record->shared + instance->static_shared; break;
        case TR_ATTRIBUTE_PACKED_SIZE: *out = (int64_t)kernel->pack->size; break;
        case TR_ATTRIBUTE_REGISTERS:
            result = from_driver(kernel, instance, CU_FUNC_ATTRIBUTE_NUM_REGS, out);
            break;
        case TR_ATTRIBUTE_LOCAL:
            result = from_driver(kernel, instance, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, out);
            break;
        case TR_ATTRIBUTE_CONSTANT:
            result = from_driver(kernel, instance, CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES, out);
            break;
        case TR_ATTRIBUTE_MAX_THREADS:
            result = from_driver(kernel, instance, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, out);
            break;
        case TR_ATTRIBUTE_SPILLS: result = spills(kernel, instance, out); break;
        case TR_ATTRIBUTE_BLOCKS_PER_SM: result = occupancy(kernel, instance, out); break;
        default: status = tr__fail(error, TR_E_INVALID_ARGUMENT, "attribute %d is none", (int)attribute);
        }
    }
    if (result) status = tr__driver_fail(kernel->driver, result, "reading a kernel's attribute", error);
    tr__driver_leave(kernel->driver, &scope);
    return status;
}

tr_status tr_kernel_attribute(const tr_kernel *kernel, tr_attribute attribute, int64_t *out,
                              tr_error **error) {
    tr__error_clear(error);
    if (out) *out = 0;
    if (!kernel || !out)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_kernel_attribute: %s is NULL",
                        kernel ? "out" : "kernel");
    tr_status status = ask(kernel, attribute, out, error);
    if (status) *out = 0;
    return status;
}
