/* Signatures: what was read has one spelling, which reads as the same. */
#include "library.h"
#include "metadata/signature.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size);
    tr__signature first = {0}, second = {0};
    tr_error *error = NULL;
    if (fuzz_succeeded(tr__signature_parse(text, &first, &error), &error)) {
        FUZZ_MUST(tr__signature_parse(first.text, &second, &error), error);
        FUZZ_CHECK(!strcmp(first.text, second.text));
        FUZZ_CHECK(first.param_count == second.param_count && first.item_count == second.item_count);
        for (size_t i = 0; i < first.param_count; i++)
            FUZZ_CHECK(first.params[i].type == second.params[i].type && first.items[i] < first.item_count);
    }
    tr__signature_release(&first);
    tr__signature_release(&second);
    free(text);
    return 0;
}
