/* Triton GPU IR: tensors have layouts, the module says for which GPU and how many warps. */
#include "stages/mlir.h"

#include <string.h>

static bool recognise(const char *data, size_t size) {
    bool layouts;
    return tr__mlir_recognise(data, size, &layouts) && layouts;
}

/* "cuda:90" */
static uint32_t target_arch(const tr__mlir_module *module) {
    uint32_t arch = 0;
    size_t i = 5;
    if (module->target_length < 7 || module->target_length > 8 || memcmp(module->target, "cuda:", 5))
        return 0;
    for (; i < module->target_length && module->target[i] >= '0' && module->target[i] <= '9'; i++)
        arch = arch * 10 + (uint32_t)(module->target[i] - '0');
    return i == module->target_length && arch >= 20 ? arch : 0;
}

static tr_status fail_at(tr__reading *reading, const char *at, const char *message, tr_error **error) {
    tr__scan scan;
    tr__scan_start(&scan, NULL, reading->data, reading->size, reading->name, error);
    return tr__scan_fail_at(&scan, at ? at : reading->data, TR_E_PARSE, message);
}

/* Triton itself takes a module without them, and compiles it for a GPU that does not exist. */
static tr_status check(tr__reading *reading, const tr__mlir_module *module, tr_error **error) {
    if (!module->layouts && !module->has_attributes)
        return fail_at(reading, module->at,
                       "this is ttir, not ttgir: it has no layouts and the module no attributes. Load it as "
                       "TR_STAGE_TTIR",
                       error);
    if (!module->target)
        return fail_at(reading, module->at,
                       "the module has no ttg.target: add ttg.target = \"cuda:90\", or whichever "
                       "GPU it was lowered for, to its attributes",
                       error);
    if (!target_arch(module))
        return fail_at(reading, module->target,
                       "ttg.target must be \"cuda:\" and a compute capability, as \"cuda:90\"", error);
    if (!module->num_warps)
        return fail_at(reading, module->at,
                       "the module has no ttg.num-warps: add \"ttg.num-warps\" = 4 : i32, or as "
                       "many as its layouts have",
                       error);
    return TR_OK;
}

static tr_status read(tr__reading *reading, tr_error **error) {
    tr__mlir_module module;
    tr__record *record = reading->record;
    tr_status status = tr__mlir_read(reading, &module, error);
    if (!status) status = check(reading, &module, error);
    if (!status) status = tr__reading_arch(reading, target_arch(&module), error);
    if (status) return status;
    record->num_warps =
        module.num_warps; /* an edited text decides: everything that depends on it is still to come */
    record->num_ctas = module.num_ctas ? module.num_ctas : 1;
    if (module.maxnreg) record->maxnreg = module.maxnreg;
    return TR_OK;
}

const tr__stage tr__stage_ttgir = {TR_STAGE_TTGIR, "ttgir", ".ttgir", recognise, read};
