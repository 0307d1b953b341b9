/* damage [COUNT]: bits flip, files are cut, renamed, replaced by links, folders and crafted entries in the cache's folder,
   COUNT times (10000). What is asked for then is right, whatever lies there; nothing is written or read elsewhere. */
#include "cache/entry.h"
#include "sections.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 20, BATCH = 8, WORDS = 700, FILES_MOST = 256 };
static char root[] = "/tmp/tr-damage-XXXXXX", folder[64], victim[64];
static unsigned seed;
static unsigned long told, made, found;

static unsigned draw(unsigned most) {
    return (unsigned)rand_r(&seed) % most;
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (in %s)\n", root);
    exit(EXIT_FAILURE);
}

static void on_log(void *user, int32_t level, const char *message) {
    told += level >= 2;
}

/* ---- keys, and what belongs to them ---- */

static char key_text[64];
static tr__artifact_key key_of(int i) {
    char source[32];
    snprintf(key_text, sizeof key_text, "to=cubin\nnumber=%d\n", i);
    return (tr__artifact_key){
        key_text, strlen(key_text),
        tr__blob_create(source, (size_t)snprintf(source, sizeof source, "source %d", i / 2))};
}

static tr__artifact *value_of(int i) {
    int words[WORDS];
    for (int j = 0; j < WORDS; j++) words[j] = i * 1000003 + j;
    tr__artifact *artifact = tr__artifact_create();
    artifact->sections[3] = tr__blob_create(words, sizeof words);
    artifact->sections[4] = tr__blob_create(words, sizeof words);
    artifact->sections[15] = tr__blob_create("", 0);
    artifact->seldom = 1u << 4;
    return artifact;
}

static bool is_value(const tr__artifact *artifact, int i) {
    tr__artifact *wanted = value_of(i);
    bool same = true;
    for (int k = 0; k < TR__ARTIFACT_SECTIONS; k++) same = same && has_section(artifact, wanted, k);
    tr__artifact_release(wanted);
    return same;
}

static void ask_for_all(void) {
    tr__artifacts *artifacts = tr__artifacts_create(folder, on_log, NULL);
    for (int i = 0; i < KEYS; i++) {
        tr__artifact_key key = key_of(i);
        tr__artifact *artifact;
        tr__artifact_claim *claim;
        if (tr__artifacts_acquire(artifacts, &key, NULL, &artifact, &claim, NULL))
            die("key %d is refused", i);
        if (artifact && !is_value(artifact, i)) die("key %d: wrong bytes", i);
        found += artifact != NULL;
        made += claim != NULL;
        if (claim) {
            tr__artifact *value = value_of(i);
            tr__artifacts_publish(claim, value);
            tr__artifact_release(value);
        }
        tr__artifact_release(artifact);
        tr__blob_release((tr__blob *)key.source);
    }
    tr__artifacts_destroy(artifacts);
}

/* ---- what happens to the folder ---- */

static char files[FILES_MOST][400];
static int file_count;
static void list_files(const char *path) {
    DIR *open = opendir(path);
    for (struct dirent *entry; open && (entry = readdir(open)) && file_count < FILES_MOST;) {
        char inner[400];
        struct stat info;
        if (entry->d_name[0] == '.' || snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) >= 390)
            continue;
        if (lstat(inner, &info)) continue;
        if (S_ISDIR(info.st_mode))
            list_files(inner);
        else if (S_ISREG(info.st_mode))
            memcpy(files[file_count++], inner, sizeof inner);
    }
    if (open) closedir(open);
}

static void flip(int fd, off_t size) {
    off_t at = size ? draw((unsigned)size) : 0;
    char byte = 0;
    if (pread(fd, &byte, 1, at) == 1) byte ^= (char)(1 << draw(8));
    if (pwrite(fd, &byte, 1, at) != 1) die("cannot write");
}

/* Sizes that say more than there is, under a checksum that is right: of the whole, at byte 8, or of one of the parts, each
   a form, a size and a hash. */
static void craft(int fd) {
    enum { PARTS_AT = 32, PARTS = 18, PART = 32, SIZE_AT = 8 };
    static const uint64_t sizes[] = {1,          2,          1ull << 31, 1ull << 32, (1ull << 32) + 1,
                                     1ull << 62, 1ull << 63, UINT64_MAX};
    char bytes[PARTS_AT + PARTS * PART];
    if (pread(fd, bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) return;
    for (unsigned i = draw(3) + 1; i; i--)
        memcpy(bytes + PARTS_AT + PART * draw(PARTS) + SIZE_AT, &sizes[draw(8)], 8);
    if (!draw(4)) memcpy(bytes + 8, &sizes[draw(8)], 8);
    tr__hash checksum = tr__hash_bytes(bytes + PARTS_AT, PARTS * PART);
    memcpy(bytes + 16, &checksum, sizeof checksum);
    if (pwrite(fd, bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) die("cannot write");
}

/* A link in the place of a file, of the folder that it lies in, of the lock, of what is set aside. */
static void put_link(const char *file) {
    char path[400];
    snprintf(path, sizeof path, "%s", file);
    switch (draw(4)) {
    case 0: break;
    case 1: *strrchr(path, '/') = '\0'; break;
    case 2: snprintf(path, sizeof path, "%s/lock", folder); break;
    case 3: snprintf(path, sizeof path, "%s/damaged", folder); break;
    }
    char away[420];
    snprintf(away, sizeof away, "%s/away-%u", root, draw(1u << 30));
    if (!strcmp(path, folder)) return; /* that would be the user's own wish */
    rename(path, away);
    if (symlink(victim, path)) die("cannot link %s", path);
}

static void harm(void) {
    file_count = 0;
    list_files(folder);
    if (!file_count) return;
    const char *file = files[draw((unsigned)file_count)], *other = files[draw((unsigned)file_count)];
    int fd = open(file, O_RDWR | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info)) die("cannot open %s", file);
    char to[420];
    switch (draw(12)) {
    default: flip(fd, info.st_size); break;
    case 6:
        if (ftruncate(fd, info.st_size ? draw((unsigned)info.st_size) : 0)) die("cannot cut");
        break;
    case 7:
        if (ftruncate(fd, info.st_size + draw(9000) + 1)) die("cannot grow");
        break;
    case 8: craft(fd); break;
    case 9: rename(file, other); break;
    case 10: /* under a name that nobody looks for, or a folder in its place */
        snprintf(to, sizeof to, "%s.%u", file, draw(1000));
        rename(file, to);
        if (draw(2)) mkdir(file, 0700);
        break;
    case 11: put_link(file); break;
    }
    close(fd);
}

static void check_victim(void) {
    DIR *open = opendir(victim);
    for (struct dirent *entry; (entry = readdir(open));)
        if (entry->d_name[0] != '.') die("%s was written into the folder that a link named", entry->d_name);
    closedir(open);
}

/* Links and folders in the way are nobody's to mend: begin again now and then. */
static void begin_again(void) {
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s' '%s'/away-*", folder, root);
    if (system(command)) die("cannot remove %s", folder);
    ask_for_all();
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 10000;
    seed = argc > 2 ? (unsigned)atoi(argv[2]) : (unsigned)time(NULL);
    if (!mkdtemp(root)) die("no folder");
    snprintf(folder, sizeof folder, "%s/cache", root);
    snprintf(victim, sizeof victim, "%s/victim", root);
    mkdir(victim, 0700);
    for (int done = 0; done < count; done += BATCH) {
        if (done % (BATCH * 16) == 0) begin_again();
        for (int i = 0; i < BATCH; i++) harm();
        ask_for_all();
        check_victim();
    }
    printf("    seed %u: %d times harmed: %lu found right, %lu made again, %lu told, none wrong\n", seed,
           count, found, made, told);
    char command[80];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) || !told ? EXIT_FAILURE : EXIT_SUCCESS;
}
