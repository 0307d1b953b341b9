/* The reader of Triton IR. */
#include "library.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_stage(TR_STAGE_TTIR, data, size);
}
