/* The record inside a stage's bytes: the first byte is the stage. What is found lies in the bytes; put behind what
   remains it is found again, and the same remains. */
#include "library.h"

static void check_round_trip(const char *text, size_t size, tr_stage stage, const tr__embedded *found) {
    tr__buffer bytes = {0};
    tr__embedded again;
    tr_error *error = NULL;
    tr__buffer_append(&bytes, text, found->begin);
    tr__buffer_append(&bytes, text + found->end, size - found->end);
    size_t alone = bytes.size;
    FUZZ_MUST(tr__record_embed(found->json, stage, &bytes, &error), error);
    FUZZ_MUST(tr__record_extract(bytes.data, bytes.size, stage, "again", &again, &error), error);
    FUZZ_CHECK(again.begin == alone && again.end == bytes.size && !strcmp(again.json, found->json));
    free(again.json);
    tr__buffer_release(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    tr_stage stage = (tr_stage)(TR_STAGE_PYTHON + *data % TR_STAGE_CUBIN);
    char *text = fuzz_text(data + 1, --size);
    tr__embedded found;
    tr_error *error = NULL;
    if (fuzz_succeeded(tr__record_extract(text, size, stage, "input", &found, &error), &error)) {
        FUZZ_CHECK(found.begin <= found.end && found.end <= size);
        FUZZ_CHECK(found.json || found.begin == size);
        FUZZ_CHECK(stage == TR_STAGE_CUBIN || found.end == size || !found.begin ||
                   text[found.begin - 1] == '\n');
        if (found.json) check_round_trip(text, size, stage, &found);
    } else {
        FUZZ_CHECK(!found.json && found.begin == size && found.end == size);
    }
    free(found.json);
    free(text);
    return 0;
}
