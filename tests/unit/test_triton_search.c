/* compilers/triton_search: installations are found where they are named; a script in python3's place on the PATH is asked
   once, and only for what was not found without it. */
#include "compilers/triton.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/tr-test-search-XXXXXX";

/* $ROOT in what the shell is to do is the folder of the test. */
static void run(const char *line) {
    assert_int_equal(system(line), 0);
}

/* Two Tritons that are named, and one behind a script in python3's place, which notes each time that it is asked. */
static int make_world(void **state) {
    char path[100], pairs[400];
    if (!mkdtemp(root)) return -1;
    setenv("ROOT", root, 1);
    run("cd $ROOT && mkdir -p near/triton-3.4.0.dist-info other/triton-3.6.0.dist-info bin shims real/bin"
        " real/lib/python3.9/site-packages/triton-3.6.1.dist-info");
    run("cp /bin/true $ROOT/bin/python && cp /bin/true $ROOT/real/bin/python3");
    run("printf \"#!/bin/sh\\necho >>$ROOT/asked\\necho $ROOT/real/bin/python3\\n\" >$ROOT/shims/python3");
    run("chmod 755 $ROOT/shims/python3");
    snprintf(path, sizeof path, "%s/shims:/usr/bin:/bin", root);
    setenv("PATH", path, 1);
    snprintf(pairs, sizeof pairs, "%s/bin/python=%s/near:%s/bin/python=%s/other", root, root, root, root);
    setenv("TRITON_RUNNER_PYTHON", pairs, 1);
    unsetenv("VIRTUAL_ENV");
    setenv("HOME", root, 1);
    return 0;
}

static int remove_world(void **state) {
    run("rm -rf $ROOT");
    return 0;
}

/* How often since the last time. */
static int asked(void) {
    char path[100];
    struct stat info;
    snprintf(path, sizeof path, "%s/asked", root);
    if (stat(path, &info)) return 0;
    unlink(path);
    return (int)info.st_size;
}

static tr__tritons *find_tritons(void) {
    tr__tritons *tritons = NULL;
    assert_int_equal(tr__tritons_create("/worker.py", &tritons, NULL), TR_OK);
    return tritons;
}

static void expect(tr__tritons *tritons, const char *which, bool known, const char *version) {
    const tr__triton *found = NULL;
    tr_error *error = NULL;
    tr_status status = tr__tritons_select(tritons, which, known, &found, &error);
    assert_int_equal(status, version ? TR_OK : TR_E_COMPILER_MISSING);
    if (version) assert_string_equal(found->version, version);
    if (!version) assert_null(found);
    tr_error_destroy(error);
}

static void not_asked_for_what_is_known(void **state) {
    tr__tritons *tritons = find_tritons();
    assert_int_equal(tr__tritons_count(tritons), 2);
    expect(tritons, NULL, false, "3.4.0");
    expect(tritons, "3.4.0", false, "3.4.0");
    expect(tritons, "3.6.0", false, "3.6.0");
    expect(tritons, "3.6", true, "3.6.0");
    expect(tritons, "3.6.1", true, NULL);
    assert_int_equal(asked(), 0);
    tr__tritons_destroy(tritons);
}

static void asked_once(void **state) {
    tr__tritons *tritons = find_tritons();
    const tr__triton *first = NULL, *again = NULL;
    assert_int_equal(tr__tritons_select(tritons, NULL, false, &first, NULL), TR_OK);
    expect(tritons, "3.6", false, "3.6.1"); /* the newest of those, wherever */
    assert_int_equal(asked(), 1);
    expect(tritons, "3.6.1", false, "3.6.1");
    expect(tritons, "3.7", false, NULL);
    assert_int_equal(tr__tritons_complete(tritons, NULL), TR_OK);
    assert_int_equal(asked(), 0);
    assert_int_equal(tr__tritons_count(tritons), 3);
    assert_string_equal(tr__tritons_at(tritons, 2)->version, "3.6.1");
    assert_null(tr__tritons_at(tritons, 3));
    assert_int_equal(tr__tritons_select(tritons, NULL, false, &again, NULL), TR_OK);
    assert_ptr_equal(first, again);
    tr__tritons_destroy(tritons);
}

/* One that is named and stands behind the script, too, is one. */
static void found_once(void **state) {
    char pair[200];
    snprintf(pair, sizeof pair, "%s/bin/python=%s/real/lib/python3.9/site-packages", root, root);
    setenv("TRITON_RUNNER_PYTHON", pair, 1);
    tr__tritons *tritons = find_tritons();
    assert_int_equal(tr__tritons_complete(tritons, NULL), TR_OK);
    assert_int_equal(asked(), 1);
    assert_int_equal(tr__tritons_count(tritons), 1);
    tr__tritons_destroy(tritons);
}

/* A script that was named is asked at once. */
static void named(void **state) {
    char path[100];
    snprintf(path, sizeof path, "%s/shims/python3", root);
    setenv("TRITON_RUNNER_PYTHON", path, 1);
    tr__tritons *tritons = find_tritons();
    assert_int_equal(asked(), 1);
    expect(tritons, NULL, false, "3.6.1");
    assert_int_equal(asked(), 0);
    tr__tritons_destroy(tritons);
}

static void only_behind(void **state) {
    setenv("TRITON_RUNNER_PYTHON", "", 1);
    tr__tritons *tritons = find_tritons();
    assert_int_equal(tr__tritons_count(tritons), 0);
    assert_int_equal(asked(), 0);
    expect(tritons, NULL, false, "3.6.1");
    assert_int_equal(asked(), 1);
    tr__tritons_destroy(tritons);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_asked_for_what_is_known),
        cmocka_unit_test(asked_once),
        cmocka_unit_test(found_once),
        cmocka_unit_test(named),
        cmocka_unit_test(only_behind),
    };
    return cmocka_run_group_tests(tests, make_world, remove_world);
}
