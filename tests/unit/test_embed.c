/* metadata/embed: what is embedded comes out again and leaves the stage as it was; edited, doubled, damaged.
 */
#include "metadata/record.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static const char json[] = "{\"name\":\"k\",\"shared\":0}";

static void expect_extracted(const tr__buffer *bytes, tr_stage stage, const char *rest, size_t rest_size) {
    tr__embedded found;
    assert_int_equal(tr__record_extract(bytes->data, bytes->size, stage, "f", &found, NULL), TR_OK);
    assert_string_equal(found.json, json);
    assert_int_equal(found.begin + bytes->size - found.end, rest_size);
    assert_memory_equal(bytes->data, rest, found.begin);
    assert_memory_equal(bytes->data + found.end, rest + found.begin, rest_size - found.begin);
    free(found.json);
}

static void round_trips_text(void **state) {
    static const char *const texts[] = {"module {\n}\n", "module {\n}", "", "\n"};
    for (tr_stage stage = TR_STAGE_PYTHON; stage <= TR_STAGE_PTX; stage++)
        for (size_t i = 0; i < 4; i++) {
            tr__buffer bytes = {0};
            tr__buffer_puts(&bytes, texts[i]);
            assert_int_equal(tr__record_embed(json, stage, &bytes, NULL), TR_OK);
            expect_extracted(&bytes, stage, texts[i], strlen(texts[i]));
            tr__buffer_release(&bytes);
        }
}

static void survives_editing(void **state) {
    static const struct {
        const char *text, *rest;
    } cases[] = {
        {"a\n// triton-runner-record: {\"name\":\"k\",\"shared\":0}", "a"},
        {"a\r\n//triton-runner-record: {\"name\":\"k\",\"shared\":0} \r\n", "a\r"},
        {"// triton-runner-record: {\"name\":\"k\",\"shared\":0}\na\n", "a\n"},
        {"a\n\n  /// triton-runner-record: {\"name\":\"k\",\"shared\":0}\nb\n", "a\nb\n"},
        {"a\n// triton-runner-record: {\"name\":\"k\",\"shared\":0}\nb\n", "a\nb\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr__buffer bytes = {0};
        tr__buffer_puts(&bytes, cases[i].text);
        expect_extracted(&bytes, TR_STAGE_PTX, cases[i].rest, strlen(cases[i].rest));
        tr__buffer_release(&bytes);
    }
}

static void tells_none_from_several(void **state) {
    tr__embedded found;
    tr_error *error = NULL;
    static const char none[] = "x = \"// triton-runner-record: {}\"\n; triton-runner-record: {}\n";
    assert_int_equal(tr__record_extract(none, strlen(none), TR_STAGE_PTX, "f", &found, NULL), TR_OK);
    assert_null(found.json);
    assert_int_equal(found.begin, strlen(none));
    static const char two[] = "a\n// triton-runner-record: {}\nb\n// triton-runner-record: {}\n";
    assert_int_equal(tr__record_extract(two, strlen(two), TR_STAGE_TTIR, "f", &found, &error), TR_E_PARSE);
    assert_string_equal(tr_error_message(error),
                        "f:4:1: a second embedded record; the first is in line 2: remove one");
    assert_null(found.json);
    tr_error_destroy(error);
}

/* An ELF header without sections is the smallest image there is. */
static void image(tr__buffer *bytes) {
    char header[64] = "\177ELF\2\1\1";
    tr__buffer_append(bytes, header, sizeof header);
}

static void round_trips_images(void **state) {
    tr__buffer bytes = {0};
    image(&bytes);
    assert_int_equal(tr__record_embed(json, TR_STAGE_CUBIN, &bytes, NULL), TR_OK);
    char header[64];
    memcpy(header, bytes.data, 64);
    expect_extracted(&bytes, TR_STAGE_CUBIN, header, 64);
    size_t size = bytes.size, refused = 0;
    for (size_t i = 64; i < size; i++) { /* one flipped bit is noticed, or leaves no record */
        tr__embedded found;
        bytes.data[i] ^= 4;
        tr_status status = tr__record_extract(bytes.data, size, TR_STAGE_CUBIN, "f", &found, NULL);
        assert_true(status == TR_E_PARSE || !found.json || !strcmp(found.json, json));
        refused += status == TR_E_PARSE;
        free(found.json);
        bytes.data[i] ^= 4;
    }
    assert_true(refused > strlen(json) + 30);
    assert_int_equal(tr__record_embed(json, TR_STAGE_CUBIN, &bytes, NULL), TR_OK);
    tr__embedded found;
    assert_int_equal(tr__record_extract(bytes.data, bytes.size, TR_STAGE_CUBIN, "f", &found, NULL),
                     TR_E_PARSE);
    tr__buffer_release(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips_text),
        cmocka_unit_test(survives_editing),
        cmocka_unit_test(tells_none_from_several),
        cmocka_unit_test(round_trips_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
