/* What ttir and ttgir share: a module of MLIR with functions of the tt dialect. */
#ifndef TR_STAGES_MLIR_H
#define TR_STAGES_MLIR_H

#include "stages/stage.h"

/* Attributes of the module; strings are not terminated, NULL when absent. */
typedef struct tr__mlir_module {
    bool has_attributes;
    bool
        layouts; /* some word or attribute belongs to ttg, or to triton_gpu as it was called: this is ttgir */
    const char *at;
    uint32_t num_warps, num_ctas, maxnreg; /* 0: not there */
    const char *target;
    size_t target_length;
} tr__mlir_module;

/* Reads the whole text: balanced, a module, the kernel chosen, its parameters into the record. */
tr_status tr__mlir_read(tr__reading *reading, tr__mlir_module *module, tr_error **error);

/* Functions of the tt dialect stand in it; *layouts as above. */
bool tr__mlir_recognise(const char *data, size_t size, bool *layouts);

#endif
