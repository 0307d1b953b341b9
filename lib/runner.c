#include "runner.h"

#include "base/file.h"
#include "base/options.h"
#include "cache/artifacts.h"
#include "cache/modules.h"
#include "compilers/native.h"
#include "compilers/triton.h"
#include "driver/driver.h"
#include "launch/scratch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- where the library's other files lie ---- */

/* "folder/tail/file" into *found if it is there; *first keeps the first place looked at, for the message of who finds
   nothing. False out of memory. */
static bool look(const char *folder, const char *tail, const char *file, char **found, char **first) {
    char *path = NULL;
    if (!folder || *found) return true;
    if (asprintf(&path, "%s%s/%s", folder, tail, file) < 0) return false;
    if (tr__file_exists(path)) {
        *found = realpath(path, NULL);
        free(path);
        return *found;
    }
    if (*first)
        free(path);
    else
        *first = path;
    return true;
}

static bool look_beside_library(const char *file, char **found, char **first) {
    static const char *const tails[] = {"/triton_runner", "/../libexec",
                                        ""}; /* installed, built, side by side */
    char *folder = *found ? NULL : tr__path_library_folder();
    bool ok = *found || folder;
    for (size_t i = 0; i < 3 && ok; i++) ok = look(folder, tails[i], file, found, first);
    free(folder);
    return ok;
}

char *tr__runner_find(const tr_runner *runner, const char *file) {
    char *first = NULL, *found = NULL;
    bool ok = look(runner->library_dir, "", file, &found, &first);
    if (ok && !runner->library_dir)
        ok = look(getenv("TRITON_RUNNER_LIBDIR"), "", file, &found, &first) &&
             look_beside_library(file, &found, &first);
    if (found || !ok) {
        free(first);
        first = NULL;
    }
    return found || !ok ? found : first ? first : strdup(file);
}

/* ---- the parts, each made when first needed ---- */

static tr_status make_driver(tr_runner *runner, void **out, tr_error **error) {
    tr__driver *driver = NULL;
    char *cpu = tr__runner_find(runner, "libtriton_runner_cpu.so");
    if (!cpu) return tr__fail_out_of_memory(error);
    tr_status status = tr__driver_open(runner->device, cpu, &driver, error);
    free(cpu);
    *out = driver;
    return status;
}

static tr_status make_modules(tr_runner *runner, void **out, tr_error **error) {
    tr__driver *driver;
    tr__modules *modules = NULL;
    tr_status status = tr__runner_driver(runner, &driver, error);
    if (!status) status = tr__modules_create(driver, &modules, error);
    *out = modules;
    return status;
}

static tr_status make_scratches(tr_runner *runner, void **out, tr_error **error) {
    tr__driver *driver;
    tr__scratches *scratches = NULL;
    tr_status status = tr__runner_driver(runner, &driver, error);
    if (!status) status = tr__scratches_create(driver, &scratches, error);
    *out = scratches;
    return status;
}

static tr_status make_artifacts(tr_runner *runner, void **out, tr_error **error) {
    *out = tr__artifacts_create(runner->cache_dir, runner->log, runner->log_user);
    return *out ? TR_OK : tr__fail_out_of_memory(error);
}

static tr_status make_tritons(tr_runner *runner, void **out, tr_error **error) {
    tr__tritons *tritons = NULL;
    char *worker = tr__runner_find(runner, "worker.py");
    if (!worker) return tr__fail_out_of_memory(error);
    tr_status status = tr__tritons_create(worker, &tritons, error);
    free(worker);
    *out = tritons;
    return status;
}

static tr_status make_native(tr_runner *runner, void **out, tr_error **error) {
    tr__native *native = NULL;
    char *helper = tr__runner_find(runner, TR__HELPER_FILE),
         *plugin = tr__runner_find(runner, TR__PLUGIN_FILE);
    tr_status status =
        helper && plugin ? tr__native_create(helper, plugin, &native, error) : tr__fail_out_of_memory(error);
    free(helper);
    free(plugin);
    *out = native;
    return status;
}

static void close_driver(void *part) {
    tr__driver_close(part);
}
static void close_modules(void *part) {
    tr__modules_close(part);
}
static void close_scratches(void *part) {
    tr__scratches_close(part);
}
static void close_artifacts(void *part) {
    tr__artifacts_destroy(part);
}
static void close_tritons(void *part) {
    tr__tritons_destroy(part);
}
static void close_native(void *part) {
    tr__native_destroy(part);
}

/* A later part may use an earlier one. `on_disk`: what making it would look for there. */
static const struct {
    tr_status (*make)(tr_runner *runner, void **out, tr_error **error);
    void (*close)(void *part);
    const char *on_disk;
} parts[TR__PARTS] = {
    [TR__PART_DRIVER] = {make_driver, close_driver, "driver"},
    [TR__PART_MODULES] = {make_modules, close_modules, NULL},
    [TR__PART_SCRATCHES] = {make_scratches, close_scratches, NULL},
    [TR__PART_ARTIFACTS] = {make_artifacts, close_artifacts, NULL},
    [TR__PART_TRITONS] = {make_tritons, close_tritons, "Triton"},
    [TR__PART_NATIVE] = {make_native, close_native, "LLVM or assembler"},
};

static void close_parts(tr_runner *runner) {
    for (int i = TR__PARTS - 1; i >= 0; i--)
        if (runner->parts[i]) parts[i].close(runner->parts[i]);
}

static tr_status part(tr_runner *runner, int index, void **out, tr_error **error) {
    void **place = &runner->parts[index];
    *out = __atomic_load_n(place, __ATOMIC_ACQUIRE);
    if (*out) return TR_OK;
    if (parts[index].on_disk && tr__runner_sealed(runner))
        return tr__fail(error, TR_E_SEALED, "the runner is sealed, and no %s was looked for before",
                        parts[index].on_disk);
    pthread_mutex_lock(&runner->lock);
    *out = *place;
    tr_status status = *out ? TR_OK : parts[index].make(runner, out, error);
    if (!status) __atomic_store_n(place, *out, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&runner->lock);
    return status;
}

tr_status tr__runner_driver(tr_runner *runner, tr__driver **out, tr_error **error) {
    void *found = NULL;
    tr_status status = part(runner, TR__PART_DRIVER, &found, error);
    *out = status ? NULL : found;
    return status;
}

tr_status tr__runner_modules(tr_runner *runner, tr__modules **out, tr_error **error) {
    void *found = NULL;
    tr__driver *driver; /* first, since making takes the lock */
    tr_status status = tr__runner_driver(runner, &driver, error);
    if (!status) status = part(runner, TR__PART_MODULES, &found, error);
    *out = status ? NULL : found;
    return status;
}

tr_status tr__runner_scratches(tr_runner *runner, tr__scratches **out, tr_error **error) {
    void *found = NULL;
    tr__driver *driver; /* first, since making takes the lock */
    tr_status status = tr__runner_driver(runner, &driver, error);
    if (!status) status = part(runner, TR__PART_SCRATCHES, &found, error);
    *out = status ? NULL : found;
    return status;
}

tr_status tr__runner_artifacts(tr_runner *runner, tr__artifacts **out, tr_error **error) {
    void *found = NULL;
    tr_status status = part(runner, TR__PART_ARTIFACTS, &found, error);
    *out = status ? NULL : found;
    return status;
}

tr_status tr__runner_tritons(tr_runner *runner, tr__tritons **out, tr_error **error) {
    void *found = NULL;
    tr_status status = part(runner, TR__PART_TRITONS, &found, error);
    *out = status ? NULL : found;
    return status;
}

tr_status tr__runner_native(tr_runner *runner, tr__native **out, tr_error **error) {
    void *found = NULL;
    tr_status status = part(runner, TR__PART_NATIVE, &found, error);
    *out = status ? NULL : found;
    return status;
}

/* ---- life ---- */

static bool is_device(const char *name) {
    if (!name || !strcmp(name, "cuda") || !strcmp(name, "cpu") || !strcmp(name, "auto")) return true;
    size_t digits = strncmp(name, "cuda:", 5) ? 0 : strspn(name + 5, "0123456789");
    return digits && digits <= 4 && !name[5 + digits];
}

static bool copy(char **out, const char *text) {
    *out = text ? strdup(text) : NULL;
    return !text || *out;
}

tr_status tr_runner_create(const tr_runner_options *options, tr_runner **out, tr_error **error) {
    tr__error_clear(error);
    if (!out) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_runner_create: out is NULL");
    *out = NULL;
    tr_runner_options given;
    tr_status status = tr__options_read(&given, sizeof given, options, "tr_runner_options", error);
    if (status) return status;
    if (!is_device(given.device))
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "tr_runner_options.device is '%.40s'; it can be \"cuda\", \"cuda:N\", \"cpu\" or \"auto\"",
            given.device);
    tr_runner *runner = calloc(1, sizeof *runner);
    if (!runner) return tr__fail_out_of_memory(error);
    runner->references = 1;
    runner->log = given.log;
    runner->log_user = given.log_user;
    pthread_mutex_init(&runner->lock, NULL);
    pthread_mutex_init(&runner->tools_lock, NULL);
    if (copy(&runner->device, given.device) && copy(&runner->triton, given.triton) &&
        copy(&runner->cache_dir, given.cache_dir) && copy(&runner->library_dir, given.library_dir)) {
        *out = runner;
        return TR_OK;
    }
    tr__runner_release(runner);
    return tr__fail_out_of_memory(error);
}

tr_runner *tr__runner_retain(tr_runner *runner) {
    __atomic_fetch_add(&runner->references, 1, __ATOMIC_RELAXED);
    return runner;
}

void tr__runner_release(tr_runner *runner) {
    if (!runner || __atomic_fetch_sub(&runner->references, 1, __ATOMIC_ACQ_REL) != 1) return;
    close_parts(runner);
    pthread_mutex_destroy(&runner->lock);
    pthread_mutex_destroy(&runner->tools_lock);
    tr__buffer_release(&runner->tools);
    free(runner->device);
    free(runner->triton);
    free(runner->cache_dir);
    free(runner->library_dir);
    free(runner);
}

void tr_runner_destroy(tr_runner *runner) {
    tr__runner_release(runner);
}

tr_status tr_runner_seal(tr_runner *runner, tr_error **error) {
    tr__error_clear(error);
    if (!runner) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_runner_seal: runner is NULL");
    __atomic_store_n(&runner->sealed, 1, __ATOMIC_RELEASE);
    return TR_OK;
}

bool tr__runner_sealed(const tr_runner *runner) {
    return __atomic_load_n(&runner->sealed, __ATOMIC_ACQUIRE) != 0;
}

void tr__runner_log(const tr_runner *runner, int32_t level, const char *format, ...) {
    char message[1024];
    if (!runner->log) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    runner->log(runner->log_user, level, message);
}
