/* metadata/signature: what is understood, in which spelling, and where a bad one goes wrong. */
#include "metadata/signature.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void reads_every_kind(void **state) {
    tr__signature s;
    static const char text[] =
        "*fp32:16, i32:1,( i32,*fp16 , (u8,)), tensordesc< fp16[128,64] >, None, 1024, -1.5e-3,"
        " True, 'a, (b', tl.float32, *kbf16, f32";
    assert_int_equal(tr__signature_parse(text, &s, NULL), TR_OK);
    assert_string_equal(
        s.text, "*fp32:16, i32:1, (i32, *fp16, (u8,)), tensordesc<fp16[128,64]>, None, 1024, -1.5e-3, "
                "True, 'a, (b', tl.float32, *kbf16, f32");
    assert_int_equal(s.item_count, 12);
    assert_int_equal(s.param_count, 8);
    static const tr_type types[] = {TR_TYPE_PTR, TR_TYPE_I32,        TR_TYPE_I32, TR_TYPE_PTR,
                                    TR_TYPE_U8,  TR_TYPE_TENSOR_MAP, TR_TYPE_PTR, TR_TYPE_F32};
    static const uint32_t items[] = {0, 1, 2, 2, 2, 3, 10, 11};
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(s.params[i].type, types[i]);
        assert_int_equal(s.items[i], items[i]);
    }
    assert_int_equal(s.params[0].divisibility, 16);
    assert_int_equal(s.params[0].element, TR_TYPE_F32);
    assert_true(s.params[1].folded && s.params[1].constant == 1);
    assert_int_equal(s.params[5].descriptor.rank, 2);
    assert_int_equal(s.params[5].descriptor.block[0], 128);
    assert_int_equal(s.params[6].element, TR_TYPE_BF16);
    tr__signature_release(&s);
}

static void accepts_none_and_reads_its_own_spelling(void **state) {
    tr__signature s, again;
    assert_int_equal(tr__signature_parse("  ", &s, NULL), TR_OK);
    assert_int_equal(s.item_count, 0);
    tr__signature_release(&s);
    assert_int_equal(tr__signature_parse("(i32,),(  ), *", &s, NULL), TR_OK);
    assert_int_equal(tr__signature_parse(s.text, &again, NULL), TR_OK);
    assert_string_equal(s.text, again.text);
    tr__signature_release(&s);
    tr__signature_release(&again);
}

static void says_where_it_goes_wrong(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"*fp32, float", "signature:1:8: expected a type"},
        {"*fp32,", "signature:1:7: expected a type"},
        {",", "signature:1:1: expected a type"},
        {"i32 i32", "signature:1:5: expected ',' or the end"},
        {"i32,\n  (i32, fp99)", "signature:2:9: expected a type"},
        {"(i32", "signature:1:5: expected ',' or ')'"},
        {"i32)", "signature:1:4: expected ',' or the end"},
        {"i32:3", "signature:1:5: expected 1 or a power of two"},
        {"i32:", "signature:1:5: expected 1 or a power of two"},
        {"i32:99999999999999999999", "signature:1:5: expected 1 or a power of two"},
        {"fp32:16", "signature:1:5: only integers and pointers"},
        {"*fp32:1", "signature:1:6: ':1' promises that an integer"},
        {"'abc", "signature:1:1: the string does not end"},
        {"12ab", "signature:1:4: not a number"},
        {"-", "signature:1:1: expected a number"},
        {"tensordesc<fp16>", "signature:1:1: expected a type"},
        {"tensordesc<fp16[1,2,3,4,5,6]>", "signature:1:1: expected a type"},
        {"tensordesc<fp16[-1]>", "signature:1:1: expected a type"},
        {"tensordesc<fp16[]>", "signature:1:1: expected a type"},
        {"tensordesc<void[]>", "signature:1:1: expected a type"},
        {"tensordesc<fp16[64]", "signature:1:1: expected a type"},
        {"((((((((((((((((((i32))))))))))))))))))", "signature:1:17: tuples nested deeper"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr__signature s;
        tr_error *error = NULL;
        tr_status status = tr__signature_parse(cases[i].text, &s, &error);
        if (status != TR_E_PARSE ||
            strncmp(tr_error_message(error), cases[i].message, strlen(cases[i].message)))
            fail_msg("'%s': %s", cases[i].text, tr_error_message(error));
        assert_null(s.text);
        tr_error_destroy(error);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind),
        cmocka_unit_test(accepts_none_and_reads_its_own_spelling),
        cmocka_unit_test(says_where_it_goes_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
