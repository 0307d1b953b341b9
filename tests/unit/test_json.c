/* base/json: values in and out, where a bad text goes wrong, and no character lost when memory runs out. */
#include "base/json.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void reads_and_writes(void **state) {
    static const struct {
        const char *text, *again;
    } cases[] = {
        {" {\"b\" : [1, -2.5e3 , true,false,null,{}] ,\"a\":\"\\u00e9\\ud83d\\ude00\\n\\/\"}\n",
         "{\"a\":\"\\u00E9\\uD83D\\uDE00\\n/\",\"b\":[1,-2500.0,true,false,null,{}]}"},
        {"[]", "[]"},
        {"[[],[[]]]", "[[],[[]]]"},
        {"-0", "0"},
        {"9223372036854775807", "9223372036854775807"},
        {"\"\"", "\"\""},
        {"\"\xc3\xa9\"", "\"\\u00E9\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value;
        tr_error *error = NULL;
        if (tr__json_read(cases[i].text, strlen(cases[i].text), "f", TR_E_PARSE, &value, &error))
            fail_msg("%s: %s", cases[i].text, tr_error_message(error));
        char *again = tr__json_write(value);
        assert_string_equal(again, cases[i].again);
        free(again);
        json_decref(value);
    }
}

static void says_where_it_goes_wrong(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "f:1:1: the text ends where a value was expected"},
        {"{", "f:1:2: the text ends inside a value"},
        {"{\n \"a\" 1}", "f:2:6: expected ':' behind a key"},
        {"{\"a\":1,}", "f:1:8: expected a string"},
        {"{a:1}", "f:1:2: expected a string"},
        {"[1 2]", "f:1:4: expected ',' or ']'"},
        {"[1,]", "f:1:4: expected a value"},
        {"{]", "f:1:2: expected ',' or '}'"},
        {"[}", "f:1:2: expected ',' or ']'"},
        {"1 2", "f:1:3: something follows the value"},
        {"nul", "f:1:1: expected a value"},
        {"01", "f:1:2: something follows the value"},
        {"1.", "f:1:3: expected digits behind the point"},
        {"1e", "f:1:3: expected digits of an exponent"},
        {"1e999", "f:1:6: a number beyond what a double holds"},
        {"99999999999999999999", "f:1:21: an integer beyond 64 bits"},
        {"\"abc", "f:1:5: the string does not end"},
        {"\"\n\"", "f:1:2: a control character in a string"},
        {"\"\\x\"", "f:1:3: no such escape in a string"},
        {"\"\\u12g4\"", "f:1:6: expected four hexadecimal digits"},
        {"\"\\u0000\"", "f:1:8: \\u0000 is not allowed"},
        {"\"\\ud800x\"", "f:1:8: half of a surrogate pair"},
        {"\"\\udc00\"", "f:1:8: half of a surrogate pair"},
        {"\"\xff\"", "f:1:4: a string that is not UTF-8"},
        {"\"\xc0\x80\"", "f:1:5: a string that is not UTF-8"},
        {"\"\xed\xa0\x80\"", "f:1:6: a string that is not UTF-8"},
        {"\"\xc3\"", "f:1:4: a string that is not UTF-8"},
        {"{\"\xff\":1}", "f:1:5: a string that is not UTF-8"},
        {"{\"a\":1,\"a\":2}", "f:1:11: a key that was there before"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value;
        tr_error *error = NULL;
        tr_status status =
            tr__json_read(cases[i].text, strlen(cases[i].text), "f", TR_E_PARSE, &value, &error);
        if (status != TR_E_PARSE ||
            strncmp(tr_error_message(error), cases[i].message, strlen(cases[i].message)))
            fail_msg("'%s': '%s' is not '%s'", cases[i].text, tr_error_message(error), cases[i].message);
        assert_null(value);
        tr_error_destroy(error);
    }
}

static void limits_the_depth(void **state) {
    char text[1100];
    json_t *value;
    for (int deep = 512; deep <= 513; deep++) {
        memset(text, '[', (size_t)deep);
        memset(text + deep, ']', (size_t)deep);
        assert_int_equal(tr__json_read(text, 2 * (size_t)deep, "f", TR_E_PARSE, &value, NULL),
                         deep == 512 ? TR_OK : TR_E_PARSE);
        json_decref(value);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(says_where_it_goes_wrong),
        cmocka_unit_test(limits_the_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
