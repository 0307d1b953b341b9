/* Kernels on the CPU device under every check: whatever a kernel does, it ends, and what it did wrong is told. */
#include "fuzz.h"
#include "machine.h"

enum { BUFFER = 4096, THREADS = 64 };

static void run(trcpu_memory *memory, const trcpu_function *function, uint64_t buffer) {
    const trcpu_function_info *info = trcpu_function_describe(function);
    const uint32_t *wanted = info->required_block;
    if (info->parameter_bytes > BUFFER) return;
    uint8_t *parameters = calloc(1, info->parameter_bytes + 1);
    trcpu_fault fault = {0};
    FUZZ_CHECK(parameters);
    for (uint32_t i = 0; i < info->parameter_count; i++) { /* pointers to the buffer, small numbers */
        const trcpu_parameter *parameter = &info->parameters[i];
        if (parameter->size == sizeof buffer) memcpy(parameters + parameter->offset, &buffer, sizeof buffer);
        if (parameter->size < sizeof buffer) parameters[parameter->offset] = 100;
    }
    trcpu_launch launch = {.function = function, .grid = {2, 1, 1}, .parameters = parameters};
    for (int i = 0; i < 3; i++) launch.block[i] = wanted[0] ? wanted[i] : i ? 1 : THREADS;
    int result = trcpu_execute(memory, &launch, trcpu_checks_parse("all", NULL, 0), NULL, &fault);
    FUZZ_CHECK(memchr(fault.message, 0, sizeof fault.message));
    FUZZ_CHECK(!fault.result || (fault.result == result && *fault.kind && *fault.message));
    free(parameters);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    trcpu_memory *memory = trcpu_memory_create((uint64_t)1 << 26);
    trcpu_module *module = NULL;
    char log[512];
    char *text = fuzz_text(data, size);
    setenv("TRITON_RUNNER_CPU_LOOP_LIMIT", "1000", 1);
    FUZZ_CHECK(memory);
    uint64_t buffer = trcpu_memory_allocate(memory, BUFFER);
    FUZZ_CHECK(buffer);
    trcpu_memory_wrote(memory, buffer, BUFFER / 2); /* the rest is not initialised */
    if (!trcpu_module_load(memory, text, size, 90, log, sizeof log, &module)) {
        for (size_t i = 0; i < trcpu_module_function_count(module); i++)
            run(memory, trcpu_module_function_at(module, i), buffer);
        trcpu_module_destroy(module);
    }
    FUZZ_CHECK(!trcpu_memory_free(memory, buffer));
    trcpu_memory_destroy(memory);
    free(text);
    return 0;
}
