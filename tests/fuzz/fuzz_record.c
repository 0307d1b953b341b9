/* Metadata JSON: what was read is written, and that text is its own image. */
#include "library.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tr__record *record = tr__record_create(), *again = tr__record_create();
    tr_error *error = NULL;
    FUZZ_CHECK(record && again);
    if (fuzz_succeeded(tr__record_read(record, (const char *)data, size, "input", &error), &error)) {
        char *first = fuzz_write(record);
        FUZZ_MUST(tr__record_read(again, first, strlen(first), "again", &error), error);
        char *second = fuzz_write(again);
        FUZZ_CHECK(!strcmp(first, second));
        free(first);
        free(second);
    }
    tr__record_release(record);
    tr__record_release(again);
    return 0;
}
