/* For the fuzzers of the library: its failures, records and stages. */
#ifndef FUZZ_LIBRARY_H
#define FUZZ_LIBRARY_H

#include "fuzz.h"
#include "pipeline.h"

/* A failure has a message, a success has none. Ends the error; true for success. */
static inline bool fuzz_succeeded(tr_status status, tr_error **error) {
    FUZZ_CHECK(tr__error_status(*error) == status);
    FUZZ_CHECK(!status || *tr_error_message(*error));
    tr__error_forget(error);
    return !status;
}

/* What has to succeed. */
#define FUZZ_MUST(call, error)                                                                               \
    FUZZ_CHECK(!(call) || (fprintf(stderr, "%s\n", tr_error_message(error)), false))

/* A record as text; free(). */
static inline char *fuzz_write(const tr__record *record) {
    char *json = NULL;
    tr_error *error = NULL;
    FUZZ_MUST(tr__record_write(record, &json, &error), error);
    return json;
}

/* A stage's reader: what it could read, it reads again beside the record it made, and learns nothing new. That is what
   happens to a program that is saved and loaded. */
int fuzz_stage(tr_stage stage, const uint8_t *data, size_t size);

#endif
