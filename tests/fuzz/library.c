#include "library.h"

static tr__record *record_of(const char *json) {
    tr__record *record = tr__record_create();
    tr_error *error = NULL;
    FUZZ_CHECK(record);
    if (json) FUZZ_MUST(tr__record_read(record, json, strlen(json), "record", &error), error);
    return record;
}

int fuzz_stage(tr_stage stage, const uint8_t *data, size_t size) {
    tr__blob *bytes = tr__blob_create(data, size);
    tr__record *first = record_of(NULL);
    tr_error *error = NULL;
    FUZZ_CHECK(bytes);
    tr__stage_of_content(bytes->data, size);
    if (fuzz_succeeded(tr__stage_read(stage, bytes, "input", NULL, first, &error), &error)) {
        char *before = fuzz_write(first);
        tr__record *second = record_of(before);
        FUZZ_MUST(tr__stage_read(stage, bytes, "input", NULL, second, &error), error);
        char *after = fuzz_write(second);
        if (strcmp(before, after)) fprintf(stderr, "%s\n%s\n", before, after);
        FUZZ_CHECK(!strcmp(before, after));
        free(after);
        free(before);
        tr__record_release(second);
    }
    tr__record_release(first);
    tr__blob_release(bytes);
    return 0;
}
