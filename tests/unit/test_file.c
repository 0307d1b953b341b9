/* base/file: whole files in and out, in one step, with the path in every message. */
#include "base/file.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/tr-test-file-XXXXXX";

static char *at(const char *name) {
    char *path = tr__path_join(folder, name);
    assert_non_null(path);
    return path;
}

static int entries(void) {
    int count = 0;
    DIR *open = opendir(folder);
    for (struct dirent *entry; (entry = readdir(open));) count += entry->d_name[0] != '.';
    closedir(open);
    return count;
}

static void writes_then_reads(void **state) {
    char *path = at("a");
    for (int round = 0; round < 2; round++) { /* the second replaces the first */
        char data[3] = {'x', '\0', (char)('0' + round)};
        assert_int_equal(tr__file_write(path, data, 3, NULL), TR_OK);
        tr__blob *blob = NULL;
        assert_int_equal(tr__file_read(path, 3, &blob, NULL), TR_OK);
        assert_int_equal(blob->size, 3);
        assert_memory_equal(blob->data, data, 3);
        tr__hash hash = tr__hash_bytes(data, 3);
        assert_true(tr__hash_equal(blob->hash, hash));
        tr__blob_release(blob);
    }
    assert_int_equal(entries(), 1); /* no temporary is left */
    unlink(path);
    free(path);
}

static void refuses(const char *path, size_t limit, tr_status expected, const char *words) {
    tr__blob *blob = (tr__blob *)path; /* must become NULL */
    tr_error *error = NULL;
    assert_int_equal(tr__file_read(path, limit, &blob, &error), expected);
    assert_null(blob);
    assert_non_null(strstr(tr_error_message(error), path));
    assert_non_null(strstr(tr_error_message(error), words));
    tr_error_destroy(error);
}

static void says_why_not(void **state) {
    char *path = at("b"), *fifo = at("fifo");
    refuses(path, 10, TR_E_IO, "No such file");
    refuses(folder, 10, TR_E_IO, "not a regular file");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    refuses(fifo, 10, TR_E_IO, "not a regular file"); /* and does not wait for a writer */
    assert_int_equal(tr__file_write(path, "12345", 5, NULL), TR_OK);
    refuses(path, 4, TR_E_UNSUPPORTED, "at most 4");
    tr_error *error = NULL;
    assert_int_equal(tr__file_write("/nowhere/at/all", "", 0, &error), TR_E_IO);
    assert_non_null(strstr(tr_error_message(error), "/nowhere/at/all"));
    tr_error_destroy(error);
    unlink(path);
    unlink(fifo);
    free(path);
    free(fifo);
}

/* As root, replacing /dev/null would take it from everybody. */
static void keeps_what_is_no_file(void **state) {
    char path[64], got[8] = "";
    struct stat info;
    snprintf(path, sizeof path, "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(tr__file_write(path, "abc", 3, NULL), TR_OK);
    assert_int_equal(read(reader, got, sizeof got), 3);
    assert_string_equal(got, "abc");
    assert_true(!stat(path, &info) && S_ISFIFO(info.st_mode));
    close(reader);
    assert_int_equal(unlink(path), 0);
}

static void splits_paths(void **state) {
    const char *cases[][2] = {{"a/b.c", "a"}, {"b.c", "."}, {"/b", "/"}, {"/a/b/c", "/a/b"}};
    for (size_t i = 0; i < 4; i++) {
        char *path = tr__path_folder(cases[i][0]);
        assert_string_equal(path, cases[i][1]);
        free(path);
    }
    char *joined = tr__path_join("/x/", "y"), *bare = tr__path_join("", "y");
    assert_string_equal(joined, "/x/y");
    assert_string_equal(bare, "y");
    free(joined);
    free(bare);
}

static int make_folder(void **state) {
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_then_reads),
        cmocka_unit_test(says_why_not),
        cmocka_unit_test(keeps_what_is_no_file),
        cmocka_unit_test(splits_paths),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
