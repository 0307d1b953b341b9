/* The reader of LLVM IR. */
#include "library.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_stage(TR_STAGE_LLIR, data, size);
}
