/* cache/artifacts: found again, never wrong, made once by whoever asks at the same time, bounded, private. */
#include "cache/artifacts.h"

#include "base/buffer.h"
#include "sections.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[] = "/tmp/tr-test-artifacts-XXXXXX";
static char folder[64];
static int warnings;
static useconds_t make_for; /* how long making one takes */
static char last_warning[1024];

static void on_log(void *user, int32_t level, const char *message) {
    if (level < 2) return;
    warnings++;
    snprintf(last_warning, sizeof last_warning, "%s", message);
}

static int fresh_folder(void **state) {
    static int number;
    snprintf(folder, sizeof folder, "%s/%d", root, number++);
    warnings = 0;
    make_for = 0;
    return 0;
}

static tr__artifacts *open_cache(void) {
    tr__artifacts *artifacts = tr__artifacts_create(folder, on_log, NULL);
    assert_non_null(artifacts);
    return artifacts;
}

/* Key i, and what is kept for it: 3000 bytes that name i in every word, a text that is seldom asked for, and 64 bytes of
   noise, which no compression makes smaller. */
enum { WORDS = 3, SELDOM = 4, NOISE = 5, EMPTY = 15 };
static tr__artifact_key key_of(int i, tr__blob **source) {
    static _Thread_local char text[64];
    snprintf(text, sizeof text, "to=cubin\narch=sm_90\nnumber=%d\n", i);
    char bytes[32];
    *source = tr__blob_create(bytes, (size_t)snprintf(bytes, sizeof bytes, "source %d", i / 2));
    return (tr__artifact_key){text, strlen(text), *source};
}

static tr__artifact *value_of(int i) {
    int words[750];
    for (int j = 0; j < 750; j++) words[j] = i * 1000 + j;
    tr__artifact *artifact = tr__artifact_create();
    artifact->sections[WORDS] = tr__blob_create(words, sizeof words);
    tr__buffer text = {0};
    for (int j = 0; j < 500; j++) tr__buffer_printf(&text, "%%%d = arith.addi %%%d\n", i + j, i + j + 1);
    artifact->sections[SELDOM] = tr__blob_create(text.data, text.size);
    tr__buffer_release(&text);
    uint64_t noise[8] = {(uint64_t)i + 1};
    for (int j = 1; j < 8; j++) noise[j] = noise[j - 1] * 6364136223846793005u + 1442695040888963407u;
    artifact->sections[NOISE] = tr__blob_create(noise, sizeof noise);
    artifact->sections[EMPTY] = tr__blob_create("", 0);
    artifact->seldom = 1u << SELDOM | 1u << NOISE | 1u << EMPTY;
    return artifact;
}

static bool is_value(const tr__artifact *artifact, int i) {
    tr__artifact *wanted = value_of(i);
    bool same = artifact && !artifact->sections[0] && has_section(artifact, wanted, WORDS) &&
                has_section(artifact, wanted, SELDOM) && has_section(artifact, wanted, NOISE) &&
                has_section(artifact, wanted, EMPTY);
    tr__artifact_release(wanted);
    return same;
}

/* Asks for i; makes it when it must. 1: made, 0: found; anything else is wrong. */
static int ask(tr__artifacts *artifacts, int i) {
    tr__blob *source;
    tr__artifact_key key = key_of(i, &source);
    tr__artifact *found = NULL;
    tr__artifact_claim *claim = NULL;
    int result = -1;
    if (!tr__artifacts_acquire(artifacts, &key, NULL, &found, &claim, NULL)) {
        if (claim) {
            usleep(make_for);
            tr__artifact *made = value_of(i);
            tr__artifacts_publish(claim, made);
            tr__artifact_release(made);
            result = 1;
        } else if (is_value(found, i)) {
            result = 0;
        }
        tr__artifact_release(found);
    }
    tr__blob_release(source);
    return result;
}

static void found_again(void **state) {
    tr__artifacts *artifacts = open_cache();
    for (int i = 0; i < 20; i++) assert_int_equal(ask(artifacts, i), 1);
    for (int i = 0; i < 20; i++) assert_int_equal(ask(artifacts, i), 0); /* from memory */
    tr__blob *source;
    tr__artifact_key key = key_of(7, &source);
    tr__artifact *recalled = tr__artifacts_recall(artifacts, &key);
    assert_true(is_value(recalled, 7));
    tr__artifacts_destroy(artifacts);
    assert_true(is_value(recalled, 7)); /* it outlives the cache */
    tr__artifact_release(recalled);

    artifacts = open_cache();
    assert_null(tr__artifacts_recall(artifacts, &key));
    for (int i = 0; i < 20; i++) assert_int_equal(ask(artifacts, i), 0); /* from disk */
    json_t *report = tr__artifacts_report(artifacts, TR__LOOK_AT_ALL);
    assert_int_equal(json_integer_value(json_object_get(report, "disk_hits")), 20);
    assert_int_equal(json_integer_value(json_object_get(report, "misses")), 0);
    assert_int_equal(json_array_size(json_object_get(report, "list")), 20);
    json_decref(report);
    tr__blob_release(source);
    tr__artifacts_destroy(artifacts);
    assert_int_equal(warnings, 0);
    struct stat info;
    assert_int_equal(stat(folder, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
}

/* What is seldom asked for lies compressed on disk, and stays so in memory until somebody asks. */
static void seldom_stays_compressed(void **state) {
    tr__artifacts *artifacts = open_cache();
    assert_int_equal(ask(artifacts, 1), 1);
    tr__artifacts_destroy(artifacts);
    artifacts = open_cache();
    tr__blob *source;
    tr__artifact_key key = key_of(1, &source);
    tr__artifact *found, *wanted = value_of(1);
    tr__artifact_claim *claim;
    assert_int_equal(tr__artifacts_acquire(artifacts, &key, NULL, &found, &claim, NULL), TR_OK);
    assert_non_null(found);
    assert_true(is_value(found, 1));
    assert_int_equal(found->compressed, 1u << SELDOM);
    tr__blob *small = found->sections[SELDOM];
    assert_true(small->size * 2 < wanted->sections[SELDOM]->size);
    for (size_t size = 0; size < small->size; size++) { /* cut: nothing, and no harm */
        tr__blob *cut = tr__blob_create(small->data, size);
        assert_null(tr__decompress(cut));
        tr__blob_release(cut);
    }
    assert_null(tr__decompress(wanted->sections[WORDS]));
    tr__artifact_release(wanted);
    tr__artifact_release(found);
    tr__blob_release(source);
    tr__artifacts_destroy(artifacts);
}

static void abandoned_is_asked_again(void **state) {
    tr__artifacts *artifacts = open_cache();
    tr__blob *source;
    tr__artifact_key key = key_of(1, &source);
    tr__artifact *found;
    tr__artifact_claim *claim;
    assert_int_equal(tr__artifacts_acquire(artifacts, &key, NULL, &found, &claim, NULL), TR_OK);
    assert_non_null(claim);
    tr__artifacts_abandon(claim);
    assert_int_equal(ask(artifacts, 1), 1);
    tr__blob_release(source);
    tr__artifacts_destroy(artifacts);
}

static tr_status no_patience(void *user) {
    return ++*(int *)user < 3 ? TR_OK : TR_E_TIMEOUT;
}

static void waiting_ends(void **state) {
    tr__artifacts *first = open_cache(), *second = open_cache();
    tr__blob *source;
    tr__artifact_key key = key_of(1, &source);
    tr__artifact *found;
    tr__artifact_claim *claim, *none;
    assert_int_equal(tr__artifacts_acquire(first, &key, NULL, &found, &claim, NULL), TR_OK);
    tr__artifacts *asked[] = {first, second}; /* within one cache, and across two as across processes */
    for (int i = 0; i < 2; i++) {
        int calls = 0;
        tr_error *error = NULL;
        tr__artifact_hooks hooks = {.wait = no_patience, .user = &calls};
        assert_int_equal(tr__artifacts_acquire(asked[i], &key, &hooks, &found, &none, &error), TR_E_TIMEOUT);
        assert_null(found);
        assert_null(none);
        assert_int_equal(calls, 3);
        assert_non_null(strstr(tr_error_message(error), "waiting"));
        tr_error_destroy(error);
    }
    tr__artifacts_abandon(claim);
    tr__blob_release(source);
    tr__artifacts_destroy(first);
    tr__artifacts_destroy(second);
}

static bool refuse(void *user, tr__artifact *artifact) {
    return false;
}

static void refused_by_its_reader(void **state) {
    tr__artifacts *artifacts = open_cache();
    assert_int_equal(ask(artifacts, 4), 1);
    tr__artifacts_destroy(artifacts);
    artifacts = open_cache();
    tr__blob *source;
    tr__artifact_key key = key_of(4, &source);
    tr__artifact_hooks hooks = {.decode = refuse};
    tr__artifact *found;
    tr__artifact_claim *claim;
    assert_int_equal(tr__artifacts_acquire(artifacts, &key, &hooks, &found, &claim, NULL), TR_OK);
    assert_null(found);
    tr__artifact *made = value_of(4);
    tr__artifacts_publish(claim, made); /* over the one that was refused */
    tr__artifact_release(made);
    tr__blob_release(source);
    tr__artifacts_destroy(artifacts);
}

/* ---- many at once ---- */
enum { KEYS = 20, THREADS = 16, PROCESSES = 60 };
typedef struct counts {
    int made, wrong;
} counts;

static void *ask_for_all(void *argument) {
    tr__artifacts *artifacts = ((void **)argument)[0];
    counts *counts = ((void **)argument)[1];
    for (int i = 0; i < KEYS; i++) {
        int result = ask(artifacts, i);
        if (result < 0)
            __atomic_fetch_add(&counts->wrong, 1, __ATOMIC_RELAXED);
        else
            __atomic_fetch_add(&counts->made, result, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void made_once_by_threads(void **state) {
    counts counts = {0};
    make_for = 2000;
    tr__artifacts *artifacts = open_cache();
    void *argument[] = {artifacts, &counts};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_all, argument), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    tr__artifacts_destroy(artifacts);
    assert_int_equal(counts.wrong, 0);
    assert_int_equal(counts.made, KEYS);
}

static void run_processes(counts *counts, bool kill_some, unsigned seed) {
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i]) continue;
        tr__artifacts *artifacts = open_cache();
        ask_for_all((void *[]){artifacts, counts});
        tr__artifacts_destroy(artifacts);
        _exit(0);
    }
    for (int i = 0; kill_some && i < PROCESSES; i += 3) {
        usleep(rand_r(&seed) % 2000);
        kill(children[i], SIGKILL);
    }
    for (int i = 0; i < PROCESSES; i++) waitpid(children[i], NULL, 0);
}

static void made_once_by_processes(void **state) {
    counts *counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    make_for = 2000;
    run_processes(counts, false, 0);
    assert_int_equal(counts->wrong, 0);
    assert_int_equal(counts->made, KEYS);
    munmap(counts, sizeof *counts);
}

/* Everything that lies in a folder: files that are entries, and others. */
static void count_files(const char *path, int *entries, int *others) {
    DIR *open = opendir(path);
    assert_non_null(open);
    for (struct dirent *entry; (entry = readdir(open));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char inner[512];
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        struct stat info;
        assert_int_equal(lstat(inner, &info), 0);
        if (S_ISDIR(info.st_mode))
            count_files(inner, entries, others);
        else if (strlen(entry->d_name) == 30)
            ++*entries;
        else
            ++*others;
    }
    closedir(open);
}

static void killed_leave_nothing(void **state) {
    counts *counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (unsigned round = 0; round < 10; round++) {
        fresh_folder(NULL);
        run_processes(counts, true, round);
        assert_int_equal(counts->wrong, 0);
        tr__artifacts *artifacts = open_cache();
        uint64_t checked, damaged;
        assert_int_equal(tr__artifacts_verify(artifacts, &checked, &damaged, NULL), TR_OK);
        assert_int_equal(damaged, 0);
        for (int i = 0; i < KEYS; i++) assert_true(ask(artifacts, i) >= 0); /* no lock is held by the dead */
        tr__artifacts_destroy(artifacts);
        int entries = 0, others = 0;
        count_files(folder, &entries, &others);
        assert_int_equal(entries, KEYS);
        assert_int_equal(others, 1); /* the lock file */
    }
    munmap(counts, sizeof *counts);
}

/* ---- what may lie in the folder ---- */
static void pick_entry(char path[512], unsigned number) {
    tr__artifacts *artifacts = open_cache();
    json_t *report = tr__artifacts_report(artifacts, TR__LOOK_AT_ALL),
           *list = json_object_get(report, "list");
    assert_true(json_array_size(list) > 0);
    const json_t *entry = json_array_get(list, number % json_array_size(list));
    snprintf(path, 512, "%s/%s", folder, json_string_value(json_object_get(entry, "name")));
    json_decref(report);
    tr__artifacts_destroy(artifacts);
}

static void damage(unsigned *seed) {
    char path[512], other[512];
    pick_entry(path, (unsigned)rand_r(seed));
    int fd = open(path, O_RDWR);
    struct stat info;
    assert_true(fd >= 0 && !fstat(fd, &info));
    off_t at = rand_r(seed) % (info.st_size ? info.st_size : 1);
    char byte = 0;
    switch (rand_r(seed) % 4) {
    case 0:
    case 1: /* a bit flips */
        if (pread(fd, &byte, 1, at) == 1) byte ^= (char)(1 << rand_r(seed) % 8);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        break;
    case 2: assert_int_equal(ftruncate(fd, at), 0); break;
    case 3: /* another entry under this name */
        pick_entry(other, (unsigned)rand_r(seed));
        assert_int_equal(rename(other, path), 0);
        break;
    }
    close(fd);
}

static void damage_is_found_or_harmless(void **state) {
    unsigned seed = 11;
    for (int round = 0; round < 500; round++) {
        tr__artifacts *artifacts = open_cache();
        for (int i = 0; i < KEYS; i++) assert_true(ask(artifacts, i) >= 0); /* 0 only with the right bytes */
        tr__artifacts_destroy(artifacts);
        for (int i = 0; i < 4; i++) damage(&seed);
    }
    tr__artifacts *artifacts = open_cache();
    for (int i = 0; i < KEYS; i++) assert_true(ask(artifacts, i) >= 0);
    tr__artifacts_destroy(artifacts);
    assert_true(warnings > 100); /* each was told */
}

static void never_follows_links(void **state) {
    tr__artifacts *artifacts = open_cache();
    assert_int_equal(ask(artifacts, 3), 1);
    tr__artifacts_destroy(artifacts);
    char path[512], moved[512], victim[128];
    pick_entry(path, 0);
    snprintf(moved, sizeof moved, "%s/elsewhere", root);
    snprintf(victim, sizeof victim, "%s/victim", root);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(symlink(moved, path), 0);
    artifacts = open_cache();
    assert_int_equal(ask(artifacts, 3), 1); /* not read through the link */
    tr__artifacts_destroy(artifacts);

    /* the two-digit folder is a link to somewhere else: nothing is written there */
    *strrchr(path, '/') = '\0';
    char away[520];
    snprintf(away, sizeof away, "%s-away", path);
    assert_int_equal(rename(path, away), 0);
    assert_int_equal(mkdir(victim, 0700), 0);
    assert_int_equal(symlink(victim, path), 0);
    artifacts = open_cache();
    assert_int_equal(ask(artifacts, 3), 1);
    tr__artifacts_destroy(artifacts);
    int entries = 0, others = 0;
    count_files(victim, &entries, &others);
    assert_int_equal(entries + others, 0);
    assert_int_equal(warnings, 1);
}

static void others_may_not_write(void **state) {
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(chmod(folder, 0770), 0);
    tr__artifacts *artifacts = open_cache();
    for (int i = 0; i < 3; i++) assert_int_equal(ask(artifacts, i), 1);
    assert_int_equal(ask(artifacts, 2), 0); /* memory goes on */
    tr__artifacts_destroy(artifacts);
    assert_int_equal(warnings, 1); /* said once */
    assert_non_null(strstr(last_warning, "other users can write"));
    int entries = 0, others = 0;
    count_files(folder, &entries, &others);
    assert_int_equal(entries + others, 0);
}

static void without_a_place(void **state) {
    snprintf(folder, sizeof folder, "/proc/nowhere/cache");
    tr__artifacts *artifacts = open_cache();
    assert_int_equal(ask(artifacts, 1), 1);
    assert_int_equal(ask(artifacts, 1), 0);
    tr__artifacts_destroy(artifacts);
    assert_int_equal(warnings, 1);
    folder[0] = '\0'; /* asked for none: nothing to say */
    artifacts = open_cache();
    assert_int_equal(ask(artifacts, 1), 1);
    assert_int_equal(ask(artifacts, 1), 0);
    tr__artifacts_destroy(artifacts);
    assert_int_equal(warnings, 1);
}

static void bounded(void **state) {
    setenv("TRITON_RUNNER_CACHE_SIZE", "100K", 1);
    tr__artifacts *artifacts = open_cache();
    for (int i = 0; i < 200; i++) assert_int_equal(ask(artifacts, i), 1);
    json_t *report = tr__artifacts_report(artifacts, TR__LOOK_AT_SIZE);
    json_int_t bytes = json_integer_value(json_object_get(report, "bytes"));
    assert_in_range(bytes, 60 * 1024, 104 * 1024);
    json_decref(report);
    tr__artifacts_destroy(artifacts);
    unsetenv("TRITON_RUNNER_CACHE_SIZE");

    artifacts = open_cache();
    assert_int_equal(ask(artifacts, 199), 0); /* the latest are there */
    assert_int_equal(ask(artifacts, 0), 1);   /* the first had to go */
    uint64_t removed;
    assert_int_equal(tr__artifacts_prune(artifacts, 0, &removed, NULL), TR_OK);
    assert_true(removed > 10);
    report = tr__artifacts_report(artifacts, TR__LOOK_AT_SIZE);
    assert_int_equal(json_integer_value(json_object_get(report, "entries")), 0);
    json_decref(report);
    tr__artifacts_destroy(artifacts);
}

/* What was set aside counts, and goes before any entry does. */
static void damaged_is_bounded(void **state) {
    char path[128], bytes[90 * 1024] = "";
    tr__artifacts *artifacts = open_cache();
    for (int i = 0; i < 5; i++) assert_int_equal(ask(artifacts, i), 1);
    snprintf(path, sizeof path, "%s/damaged", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/00112233445566778899aabbccddeeff");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    close(fd);
    uint64_t removed;
    assert_int_equal(tr__artifacts_prune(artifacts, 120 * 1024, &removed, NULL), TR_OK);
    assert_int_equal(access(path, F_OK), 0); /* there is room for both */
    assert_int_equal(tr__artifacts_prune(artifacts, 100 * 1024, &removed, NULL), TR_OK);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(removed, 0);
    tr__artifacts_destroy(artifacts);
    artifacts = open_cache();
    for (int i = 0; i < 5; i++) assert_int_equal(ask(artifacts, i), 0);
    tr__artifacts_destroy(artifacts);
}

static int make_root(void **state) {
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(found_again, fresh_folder),
        cmocka_unit_test_setup(seldom_stays_compressed, fresh_folder),
        cmocka_unit_test_setup(abandoned_is_asked_again, fresh_folder),
        cmocka_unit_test_setup(waiting_ends, fresh_folder),
        cmocka_unit_test_setup(refused_by_its_reader, fresh_folder),
        cmocka_unit_test_setup(made_once_by_threads, fresh_folder),
        cmocka_unit_test_setup(made_once_by_processes, fresh_folder),
        cmocka_unit_test_setup(killed_leave_nothing, fresh_folder),
        cmocka_unit_test_setup(damage_is_found_or_harmless, fresh_folder),
        cmocka_unit_test_setup(never_follows_links, fresh_folder),
        cmocka_unit_test_setup(others_may_not_write, fresh_folder),
        cmocka_unit_test_setup(without_a_place, fresh_folder),
        cmocka_unit_test_setup(bounded, fresh_folder),
        cmocka_unit_test_setup(damaged_is_bounded, fresh_folder),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
