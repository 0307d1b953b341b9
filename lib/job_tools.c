/* Who compiles: decided before anything is compiled, because the result's key must say it. */
#include "job.h"

#include "base/file.h"
#include "compilers/ptxas.h"
#include "driver/driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- for which architecture ---- */

tr_status tr__device_arch(tr_runner *runner, uint32_t *arch, bool *cpu, tr_error **error) {
    tr__driver *driver;
    int major = 0, minor = 0;
    tr_status status = tr__runner_driver(runner, &driver, error);
    if (status) return status;
    *cpu = driver->cpu;
    CUresult result =
        driver->cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, driver->device);
    if (!result)
        result = driver->cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                              driver->device);
    if (result) return tr__driver_fail(driver, result, "cuDeviceGetAttribute", error);
    *arch = (uint32_t)(major * 10 + minor);
    return TR_OK;
}

static bool has_descriptor(const tr__record *record) {
    for (size_t i = 0; i < record->param_count; i++)
        if (record->params[i].type == TR_TYPE_TENSOR_MAP) return true;
    return false;
}

/* What is lowered for one architecture already may not fit another. */
static tr_status check_arch(const tr__job *job, uint32_t arch, tr_error **error) {
    const tr_program *program = job->program;
    const char *baked = program->record->arch;
    if (!baked || program->stage == TR_STAGE_PYTHON) return TR_OK;
    uint32_t old = (uint32_t)atoi(baked + 3);
    bool fits =
        old == arch || program->stage == TR_STAGE_LLIR || (program->stage == TR_STAGE_PTX && old < arch) ||
        (program->stage == TR_STAGE_TTIR && (!has_descriptor(program->record) || (old < 90) == (arch < 90)));
    if (fits) return TR_OK;
    return tr__fail(
        error, TR_E_INVALID_ARGUMENT,
        "kernel '%s' is lowered for %s already, at %s: it can't become one for %s; start from an earlier "
        "stage",
        tr_program_kernel(program), baked, tr__stage_name(program->stage), job->arch);
}

tr_status tr__job_choose_arch(tr__job *job, tr_error **error) {
    const char *given = job->given.arch, *baked = job->program->record->arch;
    uint32_t arch = 0;
    bool cpu;
    if (given) {
        size_t length = strlen(given), digits = length > 3 ? strspn(given + 3, "0123456789") : 0;
        bool suffixed = 3 + digits + 1 == length && strchr("af", given[length - 1]);
        if (strncmp(given, "sm_", 3) || digits < 2 || digits > 3 || (3 + digits != length && !suffixed))
            return tr__fail(error, TR_E_INVALID_ARGUMENT,
                            "tr_compile_options.arch is '%.40s'; it must be an architecture like \"sm_90\"",
                            given);
        arch = (uint32_t)atoi(given + 3);
    } else if (baked) {
        arch = (uint32_t)atoi(baked + 3);
    } else {
        tr_status status = tr__device_arch(job->runner, &arch, &cpu, error);
        if (status) {
            tr__error_prefix(error,
                             "no architecture to compile for: give tr_compile_options.arch, as \"sm_90\"");
            return status;
        }
    }
    snprintf(job->arch, sizeof job->arch, "sm_%u", (unsigned)arch);
    return check_arch(job, arch, error);
}

/* ---- which compilers ---- */

static tr_status choose(const char *text, const char *field, const char *const *names,
                        const tr__maker *makers, tr__maker *out, tr_error **error) {
    size_t i = 0;
    while (names[i] && strcmp(names[i], text ? text : "auto")) i++;
    if (!names[i])
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "tr_compile_options.%s is '%.40s'; see the header for what it can be", field, text);
    *out = makers[i];
    return TR_OK;
}

static bool passes(const tr__job *job, tr_stage from) {
    return job->program->stage <= from && job->to > from;
}

/* A Triton that is needed must be there; one whose ptxas would only be the better choice need not. */
static tr_status choose_triton(tr__job *job, bool needed, tr_error **error) {
    tr__tritons *tritons;
    const tr__record *record = job->program->record;
    const char *which = job->given.triton;
    if (!which) which = record->triton_version;
    if (!which) which = job->runner->triton;
    needed = needed || job->given.triton;
    bool sealed = tr__runner_sealed(job->runner);
    if (sealed && !__atomic_load_n(&job->runner->parts[TR__PART_TRITONS], __ATOMIC_ACQUIRE))
        return TR_OK; /* nobody looks for one any more, and what it would make was not made before */
    tr_error *ours = NULL;
    tr_status status = tr__runner_tritons(job->runner, &tritons, &ours);
    if (!status) status = tr__tritons_select(tritons, which, sealed, &job->triton, &ours);
    if (status == TR_E_COMPILER_MISSING && !needed) status = TR_OK;
    if (status && error)
        *error = ours;
    else
        tr_error_destroy(ours);
    if (status == TR_E_COMPILER_MISSING && !job->given.triton && record->triton_version)
        tr__error_prefix(error, "kernel '%s' was made by Triton %s", tr_program_kernel(job->program),
                         record->triton_version);
    return status;
}

tr_status tr__job_choose_tools(tr__job *job, tr_error **error) {
    static const char *const llvms[] = {"auto", "llvm", "triton", NULL};
    static const tr__maker llvm_makers[] = {TR__MAKER_ANY_ASSEMBLER, TR__MAKER_LLVM, TR__MAKER_TRITON};
    static const char *const assemblers[] = {"auto", "ptxas", "nvjitlink", "driver", NULL};
    static const tr__maker assembler_makers[] = {TR__MAKER_ANY_ASSEMBLER, TR__MAKER_PTXAS,
                                                 TR__MAKER_NVJITLINK, TR__MAKER_DRIVER};
    bool early = passes(job, TR_STAGE_PYTHON) || passes(job, TR_STAGE_TTIR) || passes(job, TR_STAGE_TTGIR);
    tr_status status = choose(job->given.llvm, "llvm", llvms, llvm_makers, &job->llvm, error);
    if (!status)
        status =
            choose(job->given.assembler, "assembler", assemblers, assembler_makers, &job->assembler, error);
    if (status) return status;
    bool undecided = job->llvm == TR__MAKER_ANY_ASSEMBLER;
    bool known = job->given.triton || job->program->record->triton_version || early;
    bool through_triton = passes(job, TR_STAGE_LLIR) && job->llvm == TR__MAKER_TRITON;
    status = choose_triton(job, early || through_triton, error);
    if (undecided) job->llvm = job->triton && known ? TR__MAKER_TRITON : TR__MAKER_LLVM;
    return status;
}

/* ---- what the key says of them; found once in a runner's life ---- */

/* What a result looks like: changes with everything that makes other bytes or records of the same input. */
#define RESULT_FORMAT "0.1.0 2"

static void describe_file(tr__buffer *out, const char *path) {
    struct stat info;
    if (!path || stat(path, &info)) {
        tr__buffer_puts(out, "missing");
        return;
    }
    tr__buffer_printf(out, "%s,%lld,%lld.%ld", path, (long long)info.st_size, (long long)info.st_mtim.tv_sec,
                      info.st_mtim.tv_nsec);
}

/* What is not there is not described; what could not be looked for is an error: a key must not say that it is not
   there. */
static tr_status unless_missing(tr_status status, tr_error **error) {
    if (status == TR_E_OUT_OF_MEMORY || status == TR_E_IO) return status;
    tr__error_forget(error);
    return TR_OK;
}

/* Its path, and a file that changes when it does. */
static tr_status describe_interpreter(tr__job *job, tr__buffer *out, tr_error **error) {
    char *real = realpath(job->triton->interpreter, NULL);
    if (!real && errno == ENOMEM) return tr__fail_out_of_memory(error);
    tr__buffer_printf(out, "%s ", job->triton->interpreter);
    describe_file(out, real);
    free(real);
    return TR_OK;
}

static tr_status describe_triton(tr__job *job, tr__buffer *out, tr_error **error) {
    char text[33];
    tr__hash identity;
    tr_status status = tr__triton_identity(job->triton, &identity, error);
    if (status) return status;
    tr__hash_hex(identity, text);
    tr__buffer_puts(out, text);
    return TR_OK;
}

static tr_status describe_llvm(tr__job *job, tr__buffer *out, tr_error **error) {
    char *path = tr__runner_find(job->runner, TR__PLUGIN_FILE);
    if (!path) return tr__fail_out_of_memory(error);
    describe_file(out, path);
    free(path);
    return TR_OK;
}

static tr_status describe_driver(tr__job *job, tr__buffer *out, tr_error **error) {
    tr__driver *driver;
    tr_status status = tr__runner_driver(job->runner, &driver, error);
    if (!status) tr__buffer_printf(out, "driver %d", driver->version);
    return unless_missing(status, error);
}

/* Versions of ptxas programs are entries of the cache too: nothing is started for what is kept. */
static tr_status kept_version(void *user, tr__hash identity, tr__ptxas_ask *ask, void *context,
                              char version[24], tr_error **error) {
    char text[64] = "version of ptxas\n";
    tr__artifacts *cache;
    tr__artifact *found = NULL, *made = NULL;
    tr__artifact_claim *claim = NULL;
    tr__blob *nothing = tr__blob_create("", 0);
    tr__hash_hex(identity, text + strlen(text));
    tr__artifact_key key = {text, strlen(text), nothing};
    tr_status status = nothing ? tr__runner_artifacts(user, &cache, error) : tr__fail_out_of_memory(error);
    if (!status) status = tr__artifacts_acquire(cache, &key, NULL, &found, &claim, error);
    const tr__blob *kept = found ? found->sections[0] : NULL;
    if (kept && kept->size < 24) {
        memcpy(version, kept->data, kept->size + 1);
    } else if (!status) {
        status = ask(context, version, error);
        if (!status && *version && claim && (made = tr__artifact_create()))
            made->sections[0] = tr__blob_create(version, strlen(version));
    }
    if (made && made->sections[0])
        tr__artifacts_publish(claim, made);
    else
        tr__artifacts_abandon(claim);
    tr__artifact_release(made);
    tr__artifact_release(found);
    tr__blob_release(nothing);
    return status;
}

static tr_status describe_ptxas(tr__job *job, tr__native *native, tr__buffer *out, tr_error **error) {
    tr__ptxas_tool tool;
    tr__ptxas_triton triton = {job->triton ? job->triton->site : NULL,
                               job->triton ? job->triton->version : NULL};
    tr__ptxas_versions versions = {kept_version, job->runner};
    tr_status status = tr__ptxas_find(native, job->arch, job->triton ? &triton : NULL, job->given.environment,
                                      &versions, &tool, error);
    if (status) return unless_missing(status, error);
    tr__buffer_printf(out, "ptxas %s ", tool.version);
    describe_file(out, tool.path);
    tr__ptxas_tool_release(&tool);
    return TR_OK;
}

static tr_status describe_nvjitlink(tr__native *native, tr__buffer *out, tr_error **error) {
    char *version = NULL;
    tr_status status = tr__native_nvjitlink_version(native, &version, error);
    if (!status) tr__buffer_printf(out, "nvjitlink %s", version);
    free(version);
    return unless_missing(status, error);
}

static tr_status describe_assembler(tr__job *job, tr__buffer *out, tr_error **error) {
    tr__native *native;
    bool any = job->assembler == TR__MAKER_ANY_ASSEMBLER;
    tr_status status = tr__runner_native(job->runner, &native, error);
    if (!status && (any || job->assembler == TR__MAKER_PTXAS))
        status = describe_ptxas(job, native, out, error);
    if (!status && !out->size && (any || job->assembler == TR__MAKER_NVJITLINK))
        status = describe_nvjitlink(native, out, error);
    if (!status && !out->size && (any || job->assembler == TR__MAKER_DRIVER))
        status = describe_driver(job, out, error);
    return status;
}

/* runner->tools has "name\0description\0" pairs; an engine compiles for one or two architectures with one or two
   Tritons. */
static void recall(tr_runner *runner, const char *name, tr__buffer *out) {
    pthread_mutex_lock(&runner->tools_lock);
    const char *at = runner->tools.data;
    while (at && at < runner->tools.data + runner->tools.size && !out->size) {
        const char *description = at + strlen(at) + 1;
        if (!strcmp(at, name)) tr__buffer_puts(out, description);
        at = description + strlen(description) + 1;
    }
    pthread_mutex_unlock(&runner->tools_lock);
}

static void remember(tr_runner *runner, const char *name, const tr__buffer *found) {
    if (found->failed) return;
    pthread_mutex_lock(&runner->tools_lock);
    tr__buffer_append(&runner->tools, name, strlen(name) + 1);
    tr__buffer_append(&runner->tools, found->data, found->size + 1);
    if (runner->tools.failed) tr__buffer_release(&runner->tools); /* half a pair is none */
    pthread_mutex_unlock(&runner->tools_lock);
}

/* A line of the key, without printf: a hit in memory takes no longer than its parts. */
static void put(tr__buffer *key, const char *name, const char *value) {
    size_t name_size = strlen(name), value_size = strlen(value);
    char *at = tr__buffer_extend(key, name_size + value_size + 2);
    if (!at) return;
    memcpy(at, name, name_size);
    at[name_size] = '=';
    memcpy(at + name_size + 1, value, value_size);
    at[name_size + 1 + value_size] = '\n';
}

typedef tr_status finder(tr__job *job, tr__buffer *out, tr_error **error);

/* An assembler that is asked for with an environment of its own is looked for anew. */
static tr_status describe(tr__job *job, tr__buffer *key, const char *name, finder *find, tr_error **error) {
    tr__buffer found = {0};
    tr_status status = TR_OK;
    bool anew = find == describe_assembler && job->given.environment;
    if (!anew) recall(job->runner, name, &found);
    if (!found.size && tr__runner_sealed(job->runner)) {
        tr__buffer_puts(&found, "not looked for"); /* nothing that was made before matches this */
    } else if (!found.size) {
        status = find(job, &found, error);
        if (!found.size) tr__buffer_puts(&found, "none");
        if (!anew && !status) remember(job->runner, name, &found);
    }
    put(key, name, found.data ? found.data : "");
    if (!status && found.failed) status = tr__fail_out_of_memory(error);
    tr__buffer_release(&found);
    return status;
}

static tr_status describe_at(tr__job *job, tr__buffer *key, const char *name, finder *find,
                             tr_error **error) {
    tr__buffer at = {0};
    tr__buffer_puts(&at, name);
    tr__buffer_puts(&at, " ");
    tr__buffer_puts(&at, job->triton ? job->triton->site : "none");
    tr_status status = at.failed ? tr__fail_out_of_memory(error) : describe(job, key, at.data, find, error);
    tr__buffer_release(&at);
    return status;
}

/* Bitcode that the caller names. */
static void describe_library(tr__job *job, tr__buffer *key, const char *path) {
    tr__buffer found = {0};
    recall(job->runner, path ? path : "", &found);
    if (!found.size && path && !tr__runner_sealed(job->runner)) {
        describe_file(&found, path);
        remember(job->runner, path, &found);
    }
    put(key, "extern_lib", found.data ? found.data : "");
    key->failed = key->failed || found.failed;
    tr__buffer_release(&found);
}

static void describe_libraries(tr__job *job, tr__buffer *key) {
    json_t *libraries = json_object_get(job->options, "extern_libs"), *value;
    const char *name;
    for (size_t i = 0; i < json_array_size(libraries); i++)
        describe_library(job, key, json_string_value(json_array_get(json_array_get(libraries, i), 1)));
    json_object_foreach(libraries, name, value) describe_library(job, key, json_string_value(value));
}

tr_status tr__job_key(tr__job *job, tr__buffer *key, tr_error **error) {
    const tr_program *program = job->program;
    char metadata[33];
    tr_status status = TR_OK;
    tr__hash_hex(program->metadata->hash, metadata);
    put(key, "format", RESULT_FORMAT);
    put(key, "from", tr__stage_name(program->stage));
    put(key, "to", tr__stage_name(job->to));
    put(key, "arch", job->arch);
    put(key, "kernel", tr_program_kernel(program));
    put(key, "metadata", metadata);
    put(key, "options", job->given.options ? job->given.options : "");
    if (program->signature) {
        char *path = tr__path_absolute(tr__program_name(program));
        put(key, "signature", program->signature);
        put(key, "path", path ? path : "");
        status = path ? describe_at(job, key, "python", describe_interpreter, error)
                      : tr__fail_out_of_memory(error);
        free(path);
    }
    if (job->triton && !status) status = describe_at(job, key, "triton", describe_triton, error);
    describe_libraries(job, key);
    for (const char *const *at = job->given.environment; at && *at; at++) put(key, "env", *at);
    if (!status && passes(job, TR_STAGE_LLIR) && job->llvm == TR__MAKER_LLVM)
        status = describe(job, key, "llvm", describe_llvm, error);
    if (!status && passes(job, TR_STAGE_PTX)) {
        const char name[] = {'p', 't', 'x', ' ', (char)('0' + job->assembler), ' ', '\0'};
        tr__buffer of_arch = {0};
        tr__buffer_puts(&of_arch, name);
        tr__buffer_puts(&of_arch, job->arch);
        status = of_arch.failed ? tr__fail_out_of_memory(error)
                                : describe_at(job, key, of_arch.data, describe_assembler, error);
        tr__buffer_release(&of_arch);
    }
    return status || !key->failed ? status : tr__fail_out_of_memory(error);
}
