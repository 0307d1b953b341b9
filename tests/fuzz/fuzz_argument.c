/* The grammar of --arg. No file can be named but those of the current folder. */
#include "argument.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size);
    for (char *at = text; (at = strchr(at, '/'));) *at = '_';
    argument argument;
    char *problem = argument_parse(text, &argument);
    FUZZ_CHECK(!problem || *problem);
    if (!problem) FUZZ_CHECK(argument.value.type || argument.array.data);
    if (problem) FUZZ_CHECK(!argument.array.data);
    if (!problem && argument.output) FUZZ_CHECK(*argument.output && argument.array.data);
    free(problem);
    argument_release(&argument);
    free(text);
    return 0;
}
