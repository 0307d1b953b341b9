/* How much scratch memory a launch takes, and where each hidden parameter's part of it lies. */
#include "launch/kernel.h"

tr_status tr__kernel_scratch(const tr_kernel *kernel, const uint32_t grid[3], tr__workspace *out,
                             tr_error **error) {
    const tr__record *record = kernel->record;
    uint64_t ctas = 1;
    bool over = false;
    *out = (tr__workspace){.alignment = 1};
    for (int i = 0; i < 3; i++) {
        over |= __builtin_mul_overflow(ctas, grid[i], &ctas);
        over |= __builtin_mul_overflow(ctas, kernel->spread[i], &ctas);
    }
    for (uint32_t i = 0; i < record->hidden_count; i++) {
        tr__scratch scratch =
            record->hidden[i] == TR__HIDDEN_GLOBAL_SCRATCH ? record->global_scratch : record->profile_scratch;
        uint64_t bytes, alignment = scratch.alignment ? scratch.alignment : 1;
        if (!scratch.size || !ctas) continue;
        over |= __builtin_mul_overflow(ctas, scratch.size, &bytes);
        over |= __builtin_add_overflow(out->bytes, alignment - 1, &out->offset[i]);
        out->offset[i] -= out->offset[i] % alignment;
        over |= __builtin_add_overflow(out->offset[i], bytes, &out->bytes);
        out->used[i] = true;
        if (alignment > out->alignment) out->alignment = (uint32_t)alignment;
    }
    if (over || out->bytes > INT64_MAX)
        return tr__fail(error, TR_E_RESOURCE,
                        "the scratch memory of '%s' for a grid of %u x %u x %u has no number", record->kernel,
                        grid[0], grid[1], grid[2]);
    return TR_OK;
}

tr_status tr_kernel_workspace(const tr_kernel *kernel, const uint32_t grid[3], size_t *bytes,
                              size_t *alignment, tr_error **error) {
    tr__error_clear(error);
    tr__workspace workspace;
    if (bytes) *bytes = 0;
    if (alignment) *alignment = 1;
    if (!kernel || !grid || !bytes)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_kernel_workspace: %s is NULL",
                        !kernel ? "kernel"
                        : !grid ? "grid"
                                : "bytes");
    tr_status status = tr__kernel_scratch(kernel, grid, &workspace, error);
    if (status) return status;
    *bytes = workspace.bytes;
    if (alignment) *alignment = workspace.alignment;
    return TR_OK;
}
