/* base/error: the message, the details, the replaced error, and the static one of memory running out. */
#include "base/error.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static void says_what_and_where(void **state) {
    tr_error *error = NULL;
    assert_int_equal(tr__fail(&error, TR_E_PARSE, "line %d: %s", 7, "no kernel"), TR_E_PARSE);
    tr__error_prefix(&error, "%s", "add.ttir");
    tr__error_set_stage(&error, TR_STAGE_TTIR);
    tr__error_set_log(&error, "the log, cut here", 7);
    tr__error_set_driver_code(&error, 218);
    assert_string_equal(tr_error_message(error), "add.ttir: line 7: no kernel");
    assert_string_equal(tr_error_log(error), "the log");
    assert_int_equal(tr_error_stage(error), TR_STAGE_TTIR);
    assert_int_equal(tr_error_driver_code(error), 218);
    assert_int_equal(tr__error_status(error), TR_E_PARSE);

    tr__fail(&error, TR_E_COMPILE, "21:5: unknown op");
    tr__error_locate(&error, "add.ttir");
    assert_string_equal(tr_error_message(error), "add.ttir:21:5: unknown op");
    tr__fail(&error, TR_E_COMPILE, "no idea where");
    tr__error_locate(&error, "add.ttir");
    assert_string_equal(tr_error_message(error), "add.ttir: no idea where");
    tr__error_set_log(&error, "the log", 7);

    tr__fail(&error, TR_E_IO, "later"); /* replaces it; nothing of the first is left */
    assert_string_equal(tr_error_message(error), "later");
    assert_string_equal(tr_error_log(error), "");
    assert_int_equal(tr_error_stage(error), TR_STAGE_AUTO);
    tr_error_destroy(error);
}

static void nobody_asked(void **state) {
    assert_int_equal(tr__fail(NULL, TR_E_IO, "unseen"), TR_E_IO);
    tr__error_prefix(NULL, "x");
    tr__error_set_log(NULL, "x", 1);
    assert_int_equal(tr__fail_out_of_memory(NULL), TR_E_OUT_OF_MEMORY);
}

static void memory_ran_out(void **state) {
    tr_error *error = NULL;
    assert_int_equal(tr__fail_out_of_memory(&error), TR_E_OUT_OF_MEMORY);
    assert_string_equal(tr_error_message(error), "out of memory");
    tr__error_prefix(&error, "a prefix it can't take");
    tr__error_set_stage(&error, TR_STAGE_PTX);
    assert_string_equal(tr_error_message(error), "out of memory");
    assert_int_equal(tr_error_stage(error), TR_STAGE_AUTO);
    tr_error_destroy(error); /* static: nothing to free, may happen twice */
    tr_error_destroy(error);
}

static void every_status_has_its_name(void **state) {
    const tr_status all[] = {0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 20, 21, 30, 31, 32, 33};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_memory_equal(tr_status_name(all[i]), i ? "TR_E_" : "TR_OK", 5);
    assert_string_equal(tr_status_name(99), "unknown status");
    assert_string_equal(tr_error_message(NULL), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_and_where),
        cmocka_unit_test(nobody_asked),
        cmocka_unit_test(memory_ran_out),
        cmocka_unit_test(every_status_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
