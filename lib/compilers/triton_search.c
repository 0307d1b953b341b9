/* Where Triton is installed, read from the folders of Python interpreters without starting them. */
#include "base/buffer.h"
#include "base/file.h"
#include "compilers/spawn.h"
#include "compilers/triton.h"
#include "compilers/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ASK_MS = 5000 };

typedef struct search {
    tr__triton *found;
    size_t count;
    const tr__triton *known; /* found before: not to be found again; NULL: none */
    tr_status status;        /* why it could not go on: out of memory, too many open files */
    tr_error **error;
} search;

/* What was allocated; without it the search has failed. */
static void *got(search *search, void *memory) {
    if (!memory && !search->status) search->status = tr__fail_out_of_memory(search->error);
    return memory;
}

/* A folder that is not there, or not for us, has no Triton; one that can't be read today may have. */
static void look_at_errno(search *search, const char *folder) {
    if (errno == ENOMEM) got(search, NULL);
    if (errno != EMFILE && errno != ENFILE && errno != EIO) return;
    if (!search->status)
        search->status =
            tr__fail(search->error, TR_E_IO, "cannot look for Triton in '%s': %s", folder, strerror(errno));
}

/* ---- one site folder ---- */

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && !strcmp(text + length - end_length, end);
}

/* "triton-3.4.0.dist-info" gives "3.4.0"; NULL for everything else. */
static char *dist_version(search *search, const char *name) {
    static const char *const packages[] = {"triton-", "pytorch_triton-", "triton_nightly-"};
    static const char suffix[] = ".dist-info";
    if (!ends_with(name, suffix)) return NULL;
    for (size_t i = 0; i < sizeof packages / sizeof *packages; i++) {
        size_t length = strlen(packages[i]);
        if (!strncmp(name, packages[i], length))
            return got(search, strndup(name + length, strlen(name) - length - (sizeof suffix - 1)));
    }
    return NULL;
}

/* "folder/name" if it is there. */
static char *if_exists(search *search, const char *folder, const char *name) {
    char *path = folder ? got(search, tr__path_join(folder, name)) : NULL;
    if (path && tr__file_exists(path)) return path;
    free(path);
    return NULL;
}

static bool has_site(const tr__triton *found, const char *site) {
    for (; found && found->version; found++)
        if (!strcmp(found->site, site)) return true;
    return false;
}

static void add(search *search, const char *interpreter, const char *site, const char *dist, char *version,
                bool separate) {
    if (has_site(search->found, site) || has_site(search->known, site)) {
        free(version);
        return;
    }
    tr__triton *grown = got(search, realloc(search->found, (search->count + 2) * sizeof *grown));
    if (!grown) {
        free(version);
        return;
    }
    search->found = grown;
    tr__triton *made = &grown[search->count++];
    grown[search->count] = (tr__triton){0};
    char *tools = got(search, tr__path_join(site, "triton/backends/nvidia/bin"));
    *made = (tr__triton){.version = version,
                         .interpreter = got(search, strdup(interpreter)),
                         .site = got(search, strdup(site)),
                         .separate = separate,
                         .dist = got(search, strdup(dist)),
                         .ptxas = if_exists(search, tools, "ptxas"),
                         .ptxas_blackwell = if_exists(search, tools, "ptxas-blackwell")};
    free(tools);
}

static bool look_in_site(search *search, const char *interpreter, const char *site, bool separate) {
    DIR *folder = opendir(site);
    if (!folder) return look_at_errno(search, site), false;
    bool there = false;
    errno = 0;
    for (struct dirent *entry; !there && (entry = readdir(folder)); errno = 0) {
        char *version = dist_version(search, entry->d_name);
        if (!version) continue;
        there = true;
        add(search, interpreter, site, entry->d_name, version, separate);
    }
    if (!there) look_at_errno(search, site);
    closedir(folder);
    return there;
}

/* ---- one interpreter ---- */

static bool look_in_pattern(search *search, const char *interpreter, const char *pattern) {
    glob_t found;
    int failed = glob(pattern, 0, NULL, &found);
    if (failed == GLOB_NOSPACE) got(search, NULL);
    if (failed) return false;
    bool there = false;
    for (size_t i = 0; i < found.gl_pathc && !there; i++)
        there = look_in_site(search, interpreter, found.gl_pathv[i], false);
    globfree(&found);
    return there;
}

static char *parent_folder(search *search, const char *path) {
    char *folder = got(search, tr__path_folder(path));
    char *parent = folder ? got(search, tr__path_folder(folder)) : NULL;
    free(folder);
    return parent;
}

/* "python3.11" as a file's name says which folders are its own; "python3" leaves all of them possible. */
static const char *version_of(const char *interpreter) {
    const char *slash = strrchr(interpreter, '/');
    const char *name = slash ? slash + 1 : interpreter;
    return !strncmp(name, "python3.", 8) ? name + 6 : "3*";
}

static bool look_in_prefix(search *search, const char *interpreter, const char *prefix, const char *version) {
    static const char *const patterns[] = {"%s/lib/python%s/site-packages", "%s/lib64/python%s/site-packages",
                                           "%s/lib/python%s/dist-packages",
                                           "%s/local/lib/python%s/dist-packages"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char pattern[4096];
        int length = snprintf(pattern, sizeof pattern, patterns[i], prefix, version);
        if (length > 0 && (size_t)length < sizeof pattern && look_in_pattern(search, interpreter, pattern))
            return true;
    }
    return false;
}

/* pyvenv.cfg beside bin/: an environment. It sees the base's packages when it says so. */
static bool is_closed_environment(search *search, const char *prefix, bool *environment) {
    char *path = got(search, tr__path_join(prefix, "pyvenv.cfg"));
    tr__blob *text = NULL;
    tr_status status = path ? tr__file_read(path, 1 << 16, &text, NULL) : TR_E_OUT_OF_MEMORY;
    if (status == TR_E_OUT_OF_MEMORY) got(search, NULL);
    *environment = !status;
    bool closed = *environment && !strstr(text->data, "include-system-site-packages = true");
    tr__blob_release(text);
    free(path);
    return closed;
}

static bool look_in_home(search *search, const char *interpreter, const char *version) {
    const char *home = getenv("HOME");
    char *local = home ? got(search, tr__path_join(home, ".local")) : NULL;
    bool there = local && look_in_prefix(search, interpreter, local, version);
    free(local);
    return there;
}

static bool is_script(const char *path) {
    char start[2] = "";
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    bool script = read(file, start, 2) == 2 && !memcmp(start, "#!", 2);
    close(file);
    return script;
}

/* What stands in an interpreter's place is run for the path of the real one; NULL when it doesn't say. */
static char *ask_for_interpreter(search *search, const char *script) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return look_at_errno(search, script), NULL;
    const char *argv[] = {script, "-c", "import sys; print(sys.executable)", NULL};
    char **environment = tr__spawn_environment(NULL), text[4096];
    tr__spawn what = {
        .argv = argv, .environment = (const char *const *)environment, .files = {-1, ends[1], -1, -1}};
    tr__spawned spawned = {0, -1};
    tr_status status = environment ? tr__spawn_start(&what, &spawned, NULL) : TR_E_OUT_OF_MEMORY;
    if (status == TR_E_OUT_OF_MEMORY) got(search, NULL);
    tr__spawn_environment_free(environment);
    close(ends[1]);
    int64_t until = tr__clock_ns() + (int64_t)ASK_MS * 1000000;
    while (!status && tr__spawn_check(&spawned) != TR__SPAWN_ENDED && tr__clock_ns() < until) usleep(2000);
    if (!status && tr__clock_ns() >= until) tr__spawn_kill(&spawned);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    ssize_t length = status ? 0 : read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    if (!status) tr__spawn_forget(&spawned);
    text[length > 0 ? length : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return *text == '/' && strcmp(text, script) ? got(search, strdup(text)) : NULL;
}

static void look_at_interpreter(search *search, const char *interpreter) {
    char *prefix = parent_folder(search, interpreter), *real = realpath(interpreter, NULL);
    if (!real) look_at_errno(search, interpreter);
    char *real_prefix = real ? parent_folder(search, real) : NULL;
    if (prefix && real && real_prefix) {
        bool environment, closed = is_closed_environment(search, prefix, &environment);
        const char *version = version_of(real);
        if (!environment || !look_in_prefix(search, interpreter, prefix, version)) {
            if (!closed && !look_in_home(search, interpreter, version))
                look_in_prefix(search, interpreter, real_prefix, version);
        }
    }
    free(prefix);
    free(real);
    free(real_prefix);
}

/* ---- where to look ---- */

/* `program` in the first folder of the PATH that has it; NULL when none has. */
static char *find_on_path(search *search, const char *program) {
    const char *path = getenv("PATH");
    char *copy = path ? got(search, strdup(path)) : NULL, *rest = copy, *found = NULL;
    for (char *folder; !found && copy && (folder = strsep(&rest, ":"));) {
        char *candidate = *folder == '/' ? got(search, tr__path_join(folder, program)) : NULL;
        if (candidate && !access(candidate, X_OK))
            found = candidate;
        else
            free(candidate);
    }
    free(copy);
    return found;
}

/* An interpreter's path, alone or with the site folder to use. */
static void look_behind(search *search, char *path, const char *site) {
    if (path && is_script(path)) {
        char *real = ask_for_interpreter(search, path);
        free(path);
        path = real;
    }
    if (path && site)
        look_in_site(search, path, site, true);
    else if (path && !access(path, X_OK))
        look_at_interpreter(search, path);
    free(path);
}

/* `interpreter`: a path, or a name on the PATH. */
static void look_at(search *search, const char *interpreter, const char *site) {
    look_behind(search,
                strchr(interpreter, '/') ? got(search, strdup(interpreter))
                                         : find_on_path(search, interpreter),
                site);
}

static void look_at_entry(search *search, char *entry) {
    char *equals = strchr(entry, '=');
    if (equals) *equals = '\0';
    if (*entry) look_at(search, entry, equals ? equals + 1 : NULL);
}

static tr_status finish(search *search, tr__triton **out) {
    *out = search->status ? NULL : search->found;
    if (search->status) tr__triton_release_all(search->found);
    return search->status;
}

tr_status tr__triton_search(tr__triton **out, char **script, tr_error **error) {
    search search = {.error = error};
    search.found = got(&search, calloc(1, sizeof *search.found));
    const char *listed = getenv("TRITON_RUNNER_PYTHON"), *active = getenv("VIRTUAL_ENV");
    char *copy = got(&search, strdup(listed ? listed : "")), *rest = copy;
    for (char *entry; !search.status && (entry = strsep(&rest, ":"));) look_at_entry(&search, entry);
    free(copy);
    char *environment = active && *active ? got(&search, tr__path_join(active, "bin/python")) : NULL;
    if (!search.status && environment) look_at(&search, environment, NULL);
    free(environment);
    char *python = search.status ? NULL : find_on_path(&search, "python3");
    *script = python && is_script(python) ? python : NULL;
    if (python && !*script) look_behind(&search, python, NULL);
    tr_status status = finish(&search, out);
    if (status) {
        free(*script);
        *script = NULL;
    }
    return status;
}

tr_status tr__triton_search_behind(const char *script, const tr__triton *known, tr__triton **out,
                                   tr_error **error) {
    search search = {.error = error, .known = known};
    search.found = got(&search, calloc(1, sizeof *search.found));
    char *path = search.status ? NULL : got(&search, strdup(script));
    if (path) look_behind(&search, path, NULL);
    return finish(&search, out);
}
