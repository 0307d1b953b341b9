/* base/buffer: what is appended is there, growth keeps it, a failed buffer stays failed and gives nothing. */
#include "base/buffer.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void appends_and_grows(void **state) {
    tr__buffer buffer = {0};
    for (int i = 0; i < 1000; i++) tr__buffer_printf(&buffer, "%03d,", i);
    tr__buffer_puts(&buffer, "end");
    tr__buffer_append(&buffer, "\0x", 2);
    assert_false(buffer.failed);
    assert_int_equal(buffer.size, 4005);
    assert_memory_equal(buffer.data, "000,001,", 8);
    assert_memory_equal(buffer.data + 3996, "999,end\0x", 10); /* and the NUL behind the last byte */
    tr__buffer_release(&buffer);
    assert_null(buffer.data);
}

static void takes_an_empty_string(void **state) {
    tr__buffer buffer = {0};
    char *taken = tr__buffer_take(&buffer);
    assert_string_equal(taken, "");
    free(taken);
}

static void stays_failed(void **state) {
    tr__buffer buffer = {0};
    tr__buffer_puts(&buffer, "before");
    assert_null(tr__buffer_extend(&buffer, SIZE_MAX - 3)); /* wraps around */
    tr__buffer_puts(&buffer, "after");
    assert_true(buffer.failed);
    assert_int_equal(buffer.size, 6);
    assert_null(tr__buffer_take(&buffer));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_and_grows),
        cmocka_unit_test(takes_an_empty_string),
        cmocka_unit_test(stays_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
