/* tr_runner_report: what there is, what is missing and how to get it, and what was done so far. */
#include "base/json.h"
#include "cache/artifacts.h"
#include "cache/modules.h"
#include "compilers/native.h"
#include "compilers/ptxas.h"
#include "compilers/triton.h"
#include "driver/driver.h"
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes `value` over; what does not fit into memory shows as a missing key, and at the end as a failure. */
static void put(json_t *object, const char *key, json_t *value) {
    if (object && value)
        json_object_set_new(object, key, value);
    else
        json_decref(value);
}

/* {"found": true, …} or {"found": false, "reason": "…"}: reasons say what to install. */
static json_t *found(tr_status status, tr_error *error) {
    json_t *out = json_object();
    put(out, "found", json_boolean(!status));
    if (status) put(out, "reason", json_string(tr_error_message(error)));
    tr_error_destroy(error);
    return out;
}

static json_t *describe_device(tr__driver *driver, int ordinal) {
    CUdevice device;
    char name[128] = "";
    size_t memory = 0;
    int major = 0, minor = 0;
    if (driver->cuDeviceGet(&device, ordinal)) return NULL;
    driver->cuDeviceGetName(name, sizeof name, device);
    driver->cuDeviceTotalMem(&memory, device);
    driver->cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
    driver->cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
    char arch[24];
    snprintf(arch, sizeof arch, "sm_%d%d", major, minor);
    return json_pack("{s:i, s:s, s:s, s:I}", "ordinal", ordinal, "name", name, "arch", arch, "memory",
                     (json_int_t)memory);
}

/* Opened for this and closed again: a doctor looks at every driver, whichever the runner has. */
static json_t *describe_driver(tr_runner *runner, const char *device) {
    tr__driver *driver = NULL;
    tr_error *error = NULL;
    int count = 0;
    char *cpu = tr__runner_find(runner, "libtriton_runner_cpu.so");
    tr_status status = cpu ? tr__driver_open(device, cpu, &driver, &error) : tr__fail_out_of_memory(&error);
    json_t *out = found(status, error);
    if (!status) {
        json_t *list = json_array();
        driver->cuDeviceGetCount(&count);
        for (int i = 0; i < count; i++) json_array_append_new(list, describe_device(driver, i));
        char version[24];
        snprintf(version, sizeof version, "%d.%d", driver->version / 1000, driver->version % 1000 / 10);
        put(out, "version", json_string(version));
        put(out, "devices", list);
        tr__driver_close(driver);
    }
    free(cpu);
    return out;
}

static json_t *describe_tritons(tr_runner *runner) {
    tr__tritons *tritons;
    tr_error *error = NULL;
    const tr__triton *first = NULL;
    tr_status status = tr__runner_tritons(runner, &tritons, &error);
    if (!status) status = tr__tritons_complete(tritons, &error);
    if (!status) status = tr__tritons_select(tritons, runner->triton, true, &first, &error);
    bool missing = status != TR_OK;
    json_t *out = found(status, error), *list = json_array();
    for (size_t i = 0; list && tritons && i < tr__tritons_count(tritons); i++) {
        const tr__triton *triton = tr__tritons_at(tritons, i);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s?, s:b}", "version", triton->version,
                                        "interpreter", triton->interpreter, "site", triton->site, "ptxas",
                                        triton->ptxas, "default", !missing && triton == first));
    }
    put(out, "installations", list);
    return out;
}

static json_t *describe_llvm(tr__native *native) {
    tr_error *error = NULL;
    char *version = NULL;
    tr_status status = tr__native_llvm_version(native, &version, &error);
    json_t *out = found(status, error);
    if (!status) put(out, "version", json_string(version));
    free(version);
    return out;
}

static json_t *describe_nvjitlink(tr__native *native) {
    tr_error *error = NULL;
    char *version = NULL;
    tr_status status = tr__native_nvjitlink_version(native, &version, &error);
    json_t *out = found(status, error);
    if (!status) put(out, "version", json_string(version));
    free(version);
    return out;
}

/* The one outside of any Triton; each Triton's own is listed with it. */
static json_t *describe_ptxas(tr__native *native) {
    tr_error *error = NULL;
    tr__ptxas_tool tool = {0};
    tr_status status = tr__ptxas_find(native, NULL, NULL, NULL, NULL, &tool, &error);
    json_t *out = found(status, error);
    if (!status) {
        put(out, "version", json_string(tool.version));
        put(out, "path", json_string(tool.path));
        tr__ptxas_tool_release(&tool);
    }
    return out;
}

static json_t *describe_cache(tr_runner *runner) {
    tr__artifacts *artifacts;
    tr_error *error = NULL;
    tr_status status = tr__runner_artifacts(runner, &artifacts, &error);
    if (status) return found(status, error);
    return tr__artifacts_report(artifacts, TR__LOOK_AT_SIZE);
}

static json_t *doctor(tr_runner *runner) {
    tr__native *native;
    char version[24];
    json_t *out = json_object();
    char *folder = tr__runner_find(runner, TR__HELPER_FILE);
    snprintf(version, sizeof version, "%d.%d.%d", TR_VERSION_MAJOR, TR_VERSION_MINOR, TR_VERSION_PATCH);
    put(out, "version", json_string(version));
    put(out, "helper", folder ? json_string(folder) : json_null());
    free(folder);
    put(out, "gpu", describe_driver(runner, "cuda"));
    put(out, "cpu", describe_driver(runner, "cpu"));
    put(out, "triton", describe_tritons(runner));
    tr_error *error = NULL;
    tr_status status = tr__runner_native(runner, &native, &error);
    put(out, "llvm", status ? found(status, error) : describe_llvm(native));
    put(out, "ptxas", status ? json_null() : describe_ptxas(native));
    put(out, "nvjitlink", status ? json_null() : describe_nvjitlink(native));
    put(out, "cache", describe_cache(runner));
    return out;
}

/* What the CPU device counted, as it tells it; null on a GPU. */
static json_t *device_counters(tr_runner *runner) {
    const tr__driver *driver = __atomic_load_n(&runner->parts[TR__PART_DRIVER], __ATOMIC_ACQUIRE);
    if (!driver || !driver->trcpu_counters) return json_null();
    size_t size = driver->trcpu_counters(NULL, 0);
    char *text = malloc(size + 1);
    if (!text) return NULL;
    driver->trcpu_counters(text, size + 1);
    json_t *told = json_loads(text, 0, NULL);
    free(text);
    return told ? told : json_null();
}

static json_t *counters(tr_runner *runner) {
    json_t *out = json_object();
    tr__modules *modules = __atomic_load_n(&runner->parts[TR__PART_MODULES], __ATOMIC_ACQUIRE);
    tr__artifacts *artifacts = __atomic_load_n(&runner->parts[TR__PART_ARTIFACTS], __ATOMIC_ACQUIRE);
    put(out, "compiled", json_integer((json_int_t)__atomic_load_n(&runner->compiled, __ATOMIC_RELAXED)));
    put(out, "compile_failures",
        json_integer((json_int_t)__atomic_load_n(&runner->compile_failures, __ATOMIC_RELAXED)));
    put(out, "sealed", json_boolean(tr__runner_sealed(runner)));
    if (modules) {
        tr__modules_count count = tr__modules_counted(modules);
        put(out, "modules",
            json_pack("{s:I, s:I, s:I, s:I}", "loaded", (json_int_t)count.loaded, "loads",
                      (json_int_t)count.loads, "hits", (json_int_t)count.hits, "unloads",
                      (json_int_t)count.unloads));
    }
    if (artifacts) {
        tr__look look = tr__runner_sealed(runner) ? TR__LOOK_NOWHERE : TR__LOOK_AT_SIZE;
        put(out, "cache", tr__artifacts_report(artifacts, look));
    }
    put(out, "plan_builds",
        json_integer((json_int_t)__atomic_load_n(&runner->plan_builds, __ATOMIC_RELAXED)));
    put(out, "plan_updates_on_device",
        json_integer((json_int_t)__atomic_load_n(&runner->plan_updates, __ATOMIC_RELAXED)));
    put(out, "device", device_counters(runner));
    return out;
}

static json_t *list_cache(tr_runner *runner) {
    tr__artifacts *artifacts;
    tr_error *error = NULL;
    tr_status status = tr__runner_artifacts(runner, &artifacts, &error);
    return status ? found(status, error) : tr__artifacts_report(artifacts, TR__LOOK_AT_ALL);
}

tr_status tr_runner_report(tr_runner *runner, tr_report what, char **json, tr_error **error) {
    tr__error_clear(error);
    if (json) *json = NULL;
    if (!runner || !json)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_runner_report: runner or json is NULL");
    if (what < TR_REPORT_DOCTOR || what > TR_REPORT_COUNTERS)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_runner_report: %d is no report", (int)what);
    if (what != TR_REPORT_COUNTERS && tr__runner_sealed(runner))
        return tr__fail(error, TR_E_SEALED,
                        "the runner is sealed; this report would look at disks and start processes");
    json_t *report = what == TR_REPORT_DOCTOR  ? doctor(runner)
                     : what == TR_REPORT_CACHE ? list_cache(runner)
                                               : counters(runner);
    *json = report ? tr__json_print(report) : NULL;
    json_decref(report);
    return *json ? TR_OK : tr__fail_out_of_memory(error);
}

tr_status tr_runner_cache(tr_runner *runner, tr_cache_action action, uint64_t limit, uint64_t *affected,
                          tr_error **error) {
    tr__artifacts *artifacts;
    uint64_t ignored;
    tr__error_clear(error);
    if (!affected) affected = &ignored;
    *affected = 0;
    if (!runner) return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_runner_cache: runner is NULL");
    if (tr__runner_sealed(runner))
        return tr__fail(error, TR_E_SEALED, "the runner is sealed; its cache is not touched any more");
    tr_status status = tr__runner_artifacts(runner, &artifacts, error);
    if (status) return status;
    switch (action) {
    case TR_CACHE_VERIFY: return tr__artifacts_verify(artifacts, &ignored, affected, error);
    case TR_CACHE_PRUNE: return tr__artifacts_prune(artifacts, limit, affected, error);
    case TR_CACHE_CLEAR: return tr__artifacts_prune(artifacts, 0, affected, error);
    default: return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_runner_cache: %d is no action", (int)action);
    }
}
