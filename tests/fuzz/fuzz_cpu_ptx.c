/* The CPU device's PTX: parsed and decoded, or refused with a reason. */
#include "fuzz.h"
#include "machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    trcpu_memory *memory = trcpu_memory_create((uint64_t)1 << 26);
    trcpu_module *module = NULL;
    char log[512] = "";
    char *text = fuzz_text(data, size);
    FUZZ_CHECK(memory);
    int result = trcpu_module_load(memory, text, size, 90, log, sizeof log, &module);
    FUZZ_CHECK(memchr(log, 0, sizeof log));
    FUZZ_CHECK(result ? !module && *log : module != NULL);
    if (module) {
        for (size_t i = 0; i < trcpu_module_function_count(module); i++) {
            const trcpu_function_info *info = trcpu_function_describe(trcpu_module_function_at(module, i));
            FUZZ_CHECK(trcpu_module_function(module, info->name));
            for (uint32_t j = 0; j < info->parameter_count; j++)
                FUZZ_CHECK((uint64_t)info->parameters[j].offset + info->parameters[j].size <=
                           info->parameter_bytes);
        }
        trcpu_module_destroy(module);
    }
    uint64_t used, capacity;
    trcpu_memory_info(memory, &used, &capacity);
    FUZZ_CHECK(!used);
    trcpu_memory_destroy(memory);
    free(text);
    return 0;
}
