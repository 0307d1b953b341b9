/* Triton IR: what the kernel computes, on tensors, before anything is known of threads. */
#include "stages/mlir.h"

static bool recognise(const char *data, size_t size) {
    bool layouts;
    return tr__mlir_recognise(data, size, &layouts) && !layouts;
}

static tr_status read(tr__reading *reading, tr_error **error) {
    tr__mlir_module module;
    tr_status status = tr__mlir_read(reading, &module, error);
    if (!status && module.layouts)
        return tr__fail(error, TR_E_PARSE,
                        "%s:1:1: this is ttgir, not ttir: it has layouts (ttg). Load it as "
                        "TR_STAGE_TTGIR",
                        reading->name);
    return status;
}

const tr__stage tr__stage_ttir = {TR_STAGE_TTIR, "ttir", ".ttir", recognise, read};
