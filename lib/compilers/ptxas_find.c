#include "base/file.h"
#include "base/fork.h"
#include "compilers/ptxas.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION_TIMEOUT_MS = 10000, KNOWN_MAX = 16 };

/* Which releases know an architecture: from `since` until before `until` (0: still). Others, older than all
   these or yet to come, are left to the program itself to refuse. */
static const struct {
    int arch;
    uint32_t since, until;
} known_archs[] = {{50, 0, 1300},  {52, 0, 1300},     {53, 0, 1300},  {60, 0, 1300},  {61, 0, 1300},
                   {62, 0, 1300},  {70, 0, 1300},     {72, 0, 1300},  {75, 1000, 0},  {80, 1100, 0},
                   {86, 1101, 0},  {87, 1104, 0},     {88, 1300, 0},  {89, 1108, 0},  {90, 1108, 0},
                   {100, 1208, 0}, {101, 1208, 1300}, {103, 1209, 0}, {110, 1300, 0}, {120, 1208, 0},
                   {121, 1209, 0}};

uint32_t tr__ptxas_release(const char *version) {
    unsigned major, minor;
    if (!version || sscanf(version, "%u.%u", &major, &minor) != 2 || major > 9999 || minor > 99) return 0;
    return major * 100 + minor;
}

static bool knows(uint32_t release, const char *arch) {
    int number = arch ? atoi(arch + 3) : 0;
    for (size_t i = 0; i < sizeof known_archs / sizeof *known_archs; i++)
        if (known_archs[i].arch == number)
            return release >= known_archs[i].since &&
                   (!known_archs[i].until || release < known_archs[i].until);
    return true;
}

/* ---- versions, asked once per file and kept ---- */

typedef struct known_file {
    tr__hash identity; /* path, inode, size, time of change */
    char version[24];
} known_file;

static known_file known[KNOWN_MAX];
static size_t known_next;
TR__PROCESS_LOCK(known_lock, memset(known, 0, sizeof known));

/* *there: a program that can be run. */
static tr_status file_identity(const char *path, tr__hash *identity, bool *there, tr_error **error) {
    struct stat info;
    errno = 0;
    *there = !stat(path, &info) && S_ISREG(info.st_mode) && !access(path, X_OK);
    if (!*there && (!errno || tr__file_absent(errno))) return TR_OK;
    if (!*there) return tr__fail(error, TR_E_IO, "cannot look at '%s': %s", path, strerror(errno));
    tr__hash path_hash = tr__hash_bytes(path, strlen(path));
    uint64_t words[] = {path_hash.low,
                        path_hash.high,
                        (uint64_t)info.st_dev,
                        (uint64_t)info.st_ino,
                        (uint64_t)info.st_size,
                        (uint64_t)info.st_mtim.tv_sec,
                        (uint64_t)info.st_mtim.tv_nsec};
    *identity = tr__hash_bytes(words, sizeof words);
    return TR_OK;
}

static bool recall(tr__hash identity, char version[24]) {
    bool found = false;
    pthread_mutex_lock(&known_lock);
    for (size_t i = 0; i < KNOWN_MAX && !found; i++) {
        found = known[i].version[0] && tr__hash_equal(known[i].identity, identity);
        if (found) memcpy(version, known[i].version, sizeof known[i].version);
    }
    pthread_mutex_unlock(&known_lock);
    return found;
}

static void remember(tr__hash identity, const char version[24]) {
    pthread_mutex_lock(&known_lock);
    known_file *place = &known[known_next++ % KNOWN_MAX];
    place->identity = identity;
    memcpy(place->version, version, sizeof place->version);
    pthread_mutex_unlock(&known_lock);
}

typedef struct question {
    tr__native *native;
    const char *path;
} question;

/* "Cuda compilation tools, release 12.8, V12.8.93"; empty when it says something else. */
static tr_status ask_version(void *context, char version[24], tr_error **error) {
    const question *question = context;
    const char *const argv[] = {question->path, "--version", NULL};
    tr__compile_request request = {
        .from = TR_STAGE_PTX, .to = TR_STAGE_CUBIN, .timeout_ms = VERSION_TIMEOUT_MS};
    tr__compile_result result = {.log = NULL};
    tr_status status = tr__native_execute(question->native, &request, argv, &result, error);
    const char *release = !status && result.log ? strstr(result.log, ", V") : NULL;
    if (!release || sscanf(release, ", V%23[0-9.]", version) != 1) version[0] = '\0';
    tr__compile_result_release(&result);
    return status;
}

/* ---- candidates ---- */

typedef struct search {
    tr__native *native;
    const tr__ptxas_versions *versions;
    const char *arch;
    tr__ptxas_tool *tool;
    tr__buffer seen;  /* "; <path> is 12.4, which does not know sm_120" for the message */
    tr_status status; /* why the search could not go on */
    tr_error *error;
} search;

static tr_status find_version(search *search, const char *path, tr__hash identity, char version[24],
                              tr_error **error) {
    question question = {search->native, path};
    const tr__ptxas_versions *kept = search->versions;
    return kept ? kept->get(kept->user, identity, ask_version, &question, version, error)
                : ask_version(&question, version, error);
}

/* One that doesn't run is passed over; not so one that could not be tried. */
static bool identify(search *search, const char *path, tr__ptxas_tool *tool) {
    tr__hash identity;
    tr_error *error = NULL;
    bool there, known = false;
    tr_status status = file_identity(path, &identity, &there, &error);
    if (!status && there) known = recall(identity, tool->version);
    if (!status && there && !known) status = find_version(search, path, identity, tool->version, &error);
    if (status == TR_E_OUT_OF_MEMORY || status == TR_E_IO) {
        search->status = status, search->error = error;
        return false;
    }
    tr_error_destroy(error);
    if (!there || status || !tool->version[0]) return false;
    if (!known) remember(identity, tool->version);
    tool->release = tr__ptxas_release(tool->version);
    tool->ptx_version = tr__ptx_newest(tool->release);
    return tool->release;
}

static bool try(search *search, const char *folder, const char *name) {
    if (search->status) return false;
    char *given = folder ? tr__path_join(folder, name) : strdup(name);
    char *path = given ? tr__path_absolute(given) : NULL; /* it is started in another folder */
    free(given);
    tr__ptxas_tool *tool = search->tool;
    if (!path) search->status = tr__fail_out_of_memory(&search->error);
    if (path && identify(search, path, tool)) {
        if (knows(tool->release, search->arch)) {
            tool->path = path;
            return true;
        }
        tr__buffer_printf(&search->seen, "; %s is %s, which does not know %s", path, tool->version,
                          search->arch);
    }
    free(path);
    return false;
}

static bool try_variable(search *search, const char *const *environment, const char *name) {
    size_t length = strlen(name);
    for (; environment && *environment; environment++)
        if (!strncmp(*environment, name, length) && (*environment)[length] == '=')
            return try(search, NULL, *environment + length + 1);
    return false;
}

/* Triton 3.3 and later bring a second, newer one: from sm_100 on, and since 3.9 from sm_90 on, it is the one
   used. */
static bool wants_newer(const char *arch, const tr__ptxas_triton *triton) {
    int from = triton && tr__ptxas_release(triton->version) >= 309 ? 90 : 100;
    return arch && atoi(arch + 3) >= from;
}

static bool try_installation(search *search, const tr__ptxas_triton *triton) {
    if (!triton || !triton->site) return false;
    char *folder = tr__path_join(triton->site, "triton/backends/nvidia/bin");
    bool found = folder && ((wants_newer(search->arch, triton) && try(search, folder, "ptxas-blackwell")) ||
                            try(search, folder, "ptxas"));
    if (!folder) search->status = tr__fail_out_of_memory(&search->error);
    free(folder);
    return found;
}

static bool try_toolkit(search *search, const char *root) {
    return root && *root && try(search, root, "bin/ptxas");
}

static bool try_path(search *search) {
    const char *path = getenv("PATH");
    for (const char *at = path; at && *at; at += strcspn(at, ":"), at += *at == ':') {
        char *folder = strndup(at, strcspn(at, ":"));
        bool found = folder && *folder && try(search, folder, "ptxas");
        if (!folder) search->status = tr__fail_out_of_memory(&search->error);
        free(folder);
        if (found) return true;
    }
    return false;
}

static bool try_all(search *search, const tr__ptxas_triton *triton, const char *const *environment) {
    const char *named = getenv("TRITON_RUNNER_PTXAS");
    const char *variable =
        wants_newer(search->arch, triton) ? "TRITON_PTXAS_BLACKWELL_PATH" : "TRITON_PTXAS_PATH";
    return try_variable(search, environment, variable) || try_installation(search, triton) ||
           (named && *named && try(search, NULL, named)) || try_toolkit(search, getenv("CUDA_HOME")) ||
           try_toolkit(search, getenv("CUDA_PATH")) || try_toolkit(search, "/usr/local/cuda") ||
           try_path(search);
}

tr_status tr__ptxas_find(tr__native *native, const char *arch, const tr__ptxas_triton *triton,
                         const char *const *environment, const tr__ptxas_versions *versions,
                         tr__ptxas_tool *out, tr_error **error) {
    *out = (tr__ptxas_tool){0};
    search search = {.native = native, .versions = versions, .arch = arch, .tool = out};
    bool found = try_all(&search, triton, environment);
    tr_status status = search.status;
    if (status && error)
        *error = search.error;
    else
        tr_error_destroy(search.error);
    if (!found && !status)
        status = tr__fail(
            error, TR_E_COMPILER_MISSING,
            "no ptxas%s%s: looked in the Triton installation, TRITON_RUNNER_PTXAS, CUDA_HOME, CUDA_PATH, "
            "/usr/local/cuda and PATH%s; install a Triton wheel or the CUDA toolkit, or set "
            "TRITON_RUNNER_PTXAS",
            arch ? " for " : "", arch ? arch : "", search.seen.data ? search.seen.data : "");
    tr__buffer_release(&search.seen);
    return status;
}

void tr__ptxas_tool_release(tr__ptxas_tool *tool) {
    free(tool->path);
    *tool = (tr__ptxas_tool){0};
}
