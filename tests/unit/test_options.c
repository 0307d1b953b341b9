/* base/options: structs of callers built for older and newer versions. */
#include "base/options.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

typedef struct old {
    size_t struct_size;
    int first;
} old;
typedef struct now {
    size_t struct_size;
    int first, padding;
    const char *second;
} now;
typedef struct later {
    now known;
    uint64_t third;
} later;

static void reads_what_is_known(void **state) {
    now out;
    assert_int_equal(tr__options_read(&out, sizeof out, NULL, "x", NULL), TR_OK);
    assert_true(out.struct_size == sizeof out && out.first == 0 && !out.second);
    old given = {sizeof given, 7};
    assert_int_equal(tr__options_read(&out, sizeof out, &given, "x", NULL), TR_OK);
    assert_true(out.first == 7 && !out.second);
    now zero = {0};
    zero.first = 5; /* struct_size 0: all zero is all that it may be */
    assert_int_equal(tr__options_read(&out, sizeof out, &zero, "x", NULL), TR_OK);
    assert_int_equal(out.first, 0);
}

static void refuses_what_it_cannot_know(void **state) {
    now out;
    tr_error *error = NULL;
    later given = {{sizeof given, 7, 0, "a"}, 0};
    assert_int_equal(tr__options_read(&out, sizeof out, &given, "x", &error), TR_OK);
    assert_string_equal(out.second, "a");
    given.third = 1;
    assert_int_equal(tr__options_read(&out, sizeof out, &given, "x", &error), TR_E_UNSUPPORTED);
    tr_error_destroy(error);
    error = NULL;
    given.known.struct_size = 4;
    assert_int_equal(tr__options_read(&out, sizeof out, &given, "x", &error), TR_E_INVALID_ARGUMENT);
    assert_string_equal(tr_error_message(error), "x.struct_size is 4: begin with the struct's _INIT");
    tr_error_destroy(error);
    given.known.struct_size = (size_t)1 << 60;
    assert_int_equal(tr__options_read(&out, sizeof out, &given, "x", NULL), TR_E_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_known),
        cmocka_unit_test(refuses_what_it_cannot_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
