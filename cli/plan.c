#include "plan.h"

#include "clock.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct array {
    const char *name;
    char *text; /* the argument points into it */
    argument argument;
    uint64_t memory;
} array;

typedef struct kernel {
    const char *name;
    tr_kernel *kernel;
} kernel;

typedef struct job {
    const plan_options *options;
    json_t *root;
    tr_runner *runner;
    array *arrays;
    kernel *kernels;
    size_t array_count, kernel_count;
    tr_plan *plan;
    uint32_t *index; /* of each entry of the file that was added: its last one in the plan */
    uint32_t added;  /* to the plan */
} job;

/* ---- what is wrong, where, and what to write instead ---- */

__attribute__((format(printf, 3, 4))) static int bad(const job *job, const char *place, const char *format,
                                                     ...) {
    char *reason = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&reason, format, arguments) < 0) reason = NULL;
    va_end(arguments);
    fail("%s: %s: %s", job->options->path, place, reason ? reason : "out of memory");
    free(reason);
    return EXIT_USAGE;
}

/* All keys are known ones; `known` ends with NULL. */
static int check_keys(const job *job, const char *place, json_t *object, const char *const *known) {
    const char *key;
    json_t *value;
    if (!json_is_object(object)) return bad(job, place, "this must be an object, { … }");
    json_object_foreach(object, key, value) {
        char list[256] = "";
        bool found = false;
        for (size_t i = 0; known[i]; i++) {
            found |= !strcmp(known[i], key);
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s'%s'", i ? ", " : "", known[i]);
        }
        if (!found) return bad(job, place, "there is no '%s'; there can be %s", key, list);
    }
    return EXIT_OK;
}

static int read_number(const job *job, const char *place, json_t *value, uint64_t most, uint64_t *out) {
    if (!value) return EXIT_OK; /* as it was */
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > most)
        return bad(job, place, "this must be a whole number from 0 to %llu", (unsigned long long)most);
    *out = (uint64_t)json_integer_value(value);
    return EXIT_OK;
}

/* ---- arrays ---- */

/* "tmp:f32[64]" is "out:f32[64]=…" that is not written to a file. */
static int read_array(job *job, const char *name, json_t *value) {
    static const char TEMPORARY[] = "tmp:";
    char place[128];
    array *array = &job->arrays[job->array_count];
    snprintf(place, sizeof place, "arrays.%.100s", name);
    const char *text = json_string_value(value);
    bool temporary = text && !strncmp(text, TEMPORARY, sizeof TEMPORARY - 1);
    if (!text) return bad(job, place, "this must be a string, as \"in:x.npy\" or \"out:f32[64]=z.npy\"");
    array->name = name;
    if (asprintf(&array->text, temporary ? "out:%s=-" : "%s", text + (temporary ? sizeof TEMPORARY - 1 : 0)) <
        0) {
        array->text = NULL;
        return fail("out of memory");
    }
    job->array_count++;
    char *problem = argument_parse(array->text, &array->argument);
    if (temporary) array->argument.output = NULL;
    int status = problem ? bad(job, place, "%s", problem) : EXIT_OK;
    free(problem);
    if (!status && !array->argument.array.data)
        status = bad(
            job, place,
            "'%s' is a value; write in:FILE, inout:FILE=FILE, out:TYPE[SHAPE]=FILE or tmp:TYPE[SHAPE]", text);
    return status;
}

static int bring_array(job *job, array *array) {
    const npy_array *data = &array->argument.array;
    tr_error *error = NULL;
    if (tr_device_alloc(job->runner, data->bytes ? data->bytes : 1, &array->memory, &error) ||
        tr_device_write(job->runner, array->memory, data->data, data->bytes, &error))
        return fail_with(error, false);
    return EXIT_OK;
}

static int read_arrays(job *job) {
    json_t *arrays = json_object_get(job->root, "arrays"), *value;
    const char *name;
    if (!arrays) return EXIT_OK;
    if (!json_is_object(arrays))
        return bad(job, "arrays", "this must be an object, { \"x\": \"in:x.npy\", … }");
    job->arrays = calloc(json_object_size(arrays) + 1, sizeof *job->arrays);
    if (!job->arrays) return fail("out of memory");
    json_object_foreach(arrays, name, value) {
        int status = read_array(job, name, value);
        if (!status) status = bring_array(job, &job->arrays[job->array_count - 1]);
        if (status) return status;
    }
    return EXIT_OK;
}

static array *find_array(const job *job, const char *name) {
    for (size_t i = 0; name && i < job->array_count; i++)
        if (!strcmp(job->arrays[i].name, name)) return &job->arrays[i];
    return NULL;
}

/* ---- kernels ---- */

static int read_kernel(job *job, const char *name, json_t *value) {
    static const char *const known[] = {"file", "kernel", "signature", NULL};
    char place[128];
    options options = *job->options->compile;
    tr_program *program = NULL;
    tr_error *error = NULL;
    snprintf(place, sizeof place, "kernels.%.100s", name);
    int status = json_is_string(value) ? EXIT_OK : check_keys(job, place, value, known);
    if (status) return status;
    options.file = json_string_value(json_is_string(value) ? value : json_object_get(value, "file"));
    if (!options.file) return bad(job, place, "'file' is missing: where the kernel is");
    options.kernel = json_string_value(json_object_get(value, "kernel"));
    options.signature = json_string_value(json_object_get(value, "signature"));
    kernel *kernel = &job->kernels[job->kernel_count++];
    kernel->name = name;
    status = options_load(&options, job->runner, &program);
    if (!status) status = options_prepare(&options, &program);
    if (!status && tr_kernel_create(program, &kernel->kernel, &error)) status = fail_with(error, options.log);
    tr_program_destroy(program);
    return status;
}

static int read_kernels(job *job) {
    json_t *kernels = json_object_get(job->root, "kernels"), *value;
    const char *name;
    if (kernels && !json_is_object(kernels))
        return bad(job, "kernels", "this must be an object, { \"add\": \"add.ptx\", … }");
    job->kernels = calloc(json_object_size(kernels) + 1, sizeof *job->kernels);
    if (!job->kernels) return fail("out of memory");
    json_object_foreach(kernels, name, value) {
        int status = read_kernel(job, name, value);
        if (status) return status;
    }
    return EXIT_OK;
}

static const kernel *find_kernel(const job *job, const char *name) {
    for (size_t i = 0; name && i < job->kernel_count; i++)
        if (!strcmp(job->kernels[i].name, name)) return &job->kernels[i];
    return NULL;
}

/* ---- entries ---- */

typedef struct entry {
    const job *job;
    json_t *json;
    char place[64]; /* "entries[3]" */
    uint32_t *after;
    size_t number, after_count;
    bool has_after;
} entry;

static const char *inside(const entry *entry, char place[128], const char *key) {
    snprintf(place, 128, "%s.%s", entry->place, key);
    return place;
}

static int read_grid(const entry *entry, uint32_t grid[3]) {
    json_t *given = json_object_get(entry->json, "grid");
    char place[128];
    size_t axes = json_is_array(given) ? json_array_size(given) : 1;
    if (!given || !axes || axes > 3)
        return bad(entry->job, inside(entry, place, "grid"), "write the number of programs, N or [X, Y, Z]");
    for (size_t i = 0; i < axes; i++) {
        uint64_t length = 0;
        json_t *axis = json_is_array(given) ? json_array_get(given, i) : given;
        int status = read_number(entry->job, inside(entry, place, "grid"), axis, UINT32_MAX, &length);
        if (status) return status;
        grid[i] = (uint32_t)length;
    }
    return EXIT_OK;
}

/* Numbers of earlier entries of the file. */
static int read_after(entry *entry) {
    json_t *after = json_object_get(entry->json, "after"), *value;
    char place[128];
    size_t i;
    inside(entry, place, "after");
    entry->has_after = after != NULL;
    if (!after) return EXIT_OK;
    if (!json_is_array(after))
        return bad(entry->job, place, "this must be a list of earlier entries' numbers, from 0");
    entry->after = calloc(json_array_size(after) + 1, sizeof *entry->after);
    if (!entry->after) return fail("out of memory");
    json_array_foreach(after, i, value) {
        uint64_t number = UINT64_MAX;
        if (json_is_integer(value)) number = (uint64_t)json_integer_value(value);
        if (number >= entry->number)
            return bad(entry->job, place, "[%zu] must be the number of an earlier entry, from 0 to %zu", i,
                       entry->number ? entry->number - 1 : 0);
        entry->after[entry->after_count++] = entry->job->index[number];
    }
    return EXIT_OK;
}

/* An array's name, or a value as "i32:1024". */
static int read_arg(const entry *entry, const kernel *kernel, size_t i, json_t *value, tr_arg *out,
                    tr_tensor_map *map) {
    char place[128];
    argument argument;
    tr_error *error = NULL;
    const char *text = json_string_value(value);
    snprintf(place, sizeof place, "%s.args[%zu]", entry->place, i);
    const array *array = find_array(entry->job, text);
    if (array) {
        if (argument_bind(&array->argument, array->memory, kernel->kernel, i, out, map, &error))
            return fail_with(error, false);
        return EXIT_OK;
    }
    if (!text || !strchr(text, ':'))
        return bad(entry->job, place, "write the name of one of \"arrays\", or a value as \"i32:1024\"");
    char *problem = argument_parse(text, &argument);
    int status = problem ? bad(entry->job, place, "%s", problem) : EXIT_OK;
    free(problem);
    if (!status && argument.array.data) {
        argument_release(&argument);
        status = bad(entry->job, place, "give the array '%s' a name under \"arrays\", and write that", text);
    }
    if (!status) *out = argument.value;
    return status;
}

static int add_kernel(job *job, entry *entry, const uint32_t *after, size_t count) {
    json_t *args = json_object_get(entry->json, "args");
    const char *name = json_string_value(json_object_get(entry->json, "kernel"));
    const kernel *kernel = find_kernel(job, name);
    char place[128];
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_error *error = NULL;
    if (!kernel)
        return bad(job, inside(entry, place, "kernel"), "there is no kernel '%s'; name one of \"kernels\"",
                   name ? name : "");
    if (args && !json_is_array(args))
        return bad(job, inside(entry, place, "args"), "this must be a list, [ … ]");
    size_t arg_count = json_array_size(args);
    tr_arg *values = calloc(arg_count + 1, sizeof *values);
    tr_tensor_map *maps = aligned_alloc(64, (arg_count + 1) * sizeof *maps);
    int status = values && maps ? read_grid(entry, config.grid) : fail("out of memory");
    for (size_t i = 0; i < arg_count && !status; i++)
        status = read_arg(entry, kernel, i, json_array_get(args, i), &values[i], &maps[i]);
    if (!status && tr_plan_add(job->plan, kernel->kernel, &config, values, arg_count, after, count,
                               &job->index[entry->number], &error)) {
        fail("%s: %s: %s", job->options->path, entry->place, tr_error_message(error));
        tr_error_destroy(error);
        status = EXIT_FAILED;
    }
    free(values);
    free(maps);
    return status;
}

/* A copy's "to" and "from", a fill's "to", and how many bytes: at most what the arrays have, which is the default. */
static int read_ends(const entry *entry, const char *key, uint64_t *to, uint64_t *from, uint64_t *bytes) {
    json_t *given = json_object_get(entry->json, key);
    const array *target = find_array(entry->job, json_string_value(json_object_get(given, "to"))),
                *source = target;
    char place[128];
    if (from) source = find_array(entry->job, json_string_value(json_object_get(given, "from")));
    if (!target || !source)
        return bad(entry->job, inside(entry, place, key), "'%s' must be the name of one of \"arrays\"",
                   target ? "from" : "to");
    size_t most = target->argument.array.bytes;
    if (source->argument.array.bytes < most) most = source->argument.array.bytes;
    *to = target->memory, *bytes = most;
    if (from) *from = source->memory;
    return read_number(entry->job, inside(entry, place, key), json_object_get(given, "bytes"), most, bytes);
}

static int add_copy(job *job, entry *entry, const uint32_t *after, size_t count) {
    static const char *const known[] = {"to", "from", "bytes", NULL};
    char place[128];
    uint64_t to = 0, from = 0, bytes = 0;
    tr_error *error = NULL;
    int status = check_keys(job, inside(entry, place, "copy"), json_object_get(entry->json, "copy"), known);
    if (!status) status = read_ends(entry, "copy", &to, &from, &bytes);
    if (!status &&
        tr_plan_add_copy(job->plan, to, from, bytes, after, count, &job->index[entry->number], &error))
        status = fail_with(error, false);
    return status;
}

static int add_fill(job *job, entry *entry, const uint32_t *after, size_t count) {
    static const char *const known[] = {"to", "value", "bytes", NULL};
    json_t *fill = json_object_get(entry->json, "fill");
    char place[128];
    uint64_t to = 0, bytes = 0, value = 0;
    tr_error *error = NULL;
    int status = check_keys(job, inside(entry, place, "fill"), fill, known);
    if (!status) status = read_ends(entry, "fill", &to, NULL, &bytes);
    if (!status)
        status = read_number(job, inside(entry, place, "fill"), json_object_get(fill, "value"), 255, &value);
    if (!status && tr_plan_add_fill(job->plan, to, (uint8_t)value, bytes, after, count,
                                    &job->index[entry->number], &error))
        status = fail_with(error, false);
    return status;
}

/* Repetitions follow each other. */
static int add_entry(job *job, entry *entry) {
    static const char *const known[] = {"kernel", "grid", "args", "copy", "fill", "after", "repeat", NULL};
    json_t *json = entry->json;
    char place[128];
    uint64_t repeat = 1;
    int status = check_keys(job, entry->place, json, known);
    if (!status && (json_object_get(json, "kernel") != NULL) + (json_object_get(json, "copy") != NULL) +
                           (json_object_get(json, "fill") != NULL) !=
                       1)
        status = bad(job, entry->place, "an entry has one of 'kernel', 'copy' and 'fill'");
    if (!status)
        status = read_number(job, inside(entry, place, "repeat"), json_object_get(json, "repeat"), 1000000,
                             &repeat);
    if (!status) status = read_after(entry);
    static const uint32_t none[1];
    for (uint64_t i = 0; i < repeat && !status; i++) {
        bool first = !i && entry->has_after;
        const uint32_t *after = !first ? NULL : entry->after_count ? entry->after : none;
        size_t count = first ? entry->after_count : 0;
        if (json_object_get(json, "kernel"))
            status = add_kernel(job, entry, after, count);
        else if (json_object_get(json, "copy"))
            status = add_copy(job, entry, after, count);
        else
            status = add_fill(job, entry, after, count);
        job->added++;
    }
    return status;
}

static int add_entries(job *job) {
    json_t *entries = json_object_get(job->root, "entries"), *value;
    tr_error *error = NULL;
    size_t i;
    if (!json_is_array(entries))
        return bad(job, "entries", "this must be a list of what the plan does, [ { … }, … ]");
    job->index = calloc(json_array_size(entries) + 1, sizeof *job->index);
    if (!job->index) return fail("out of memory");
    if (tr_plan_create(job->runner, &job->plan, &error)) return fail_with(error, false);
    json_array_foreach(entries, i, value) {
        entry entry = {.job = job, .json = value, .number = i};
        snprintf(entry.place, sizeof entry.place, "entries[%zu]", i);
        int status = add_entry(job, &entry);
        free(entry.after);
        if (status) return status;
    }
    return EXIT_OK;
}

/* ---- running ---- */

static int launch(job *job) {
    uint64_t repeat = 1;
    int status = read_number(job, "repeat", json_object_get(job->root, "repeat"), 10000000, &repeat);
    if (status) return status;
    bool told = job->options->repeat || json_object_get(job->root, "repeat");
    unsigned times = job->options->repeat ? job->options->repeat : (unsigned)repeat;
    timings timings = {0};
    tr_error *error = NULL;
    if (!timings_reserve(&timings, times)) return fail("out of memory");
    for (unsigned i = 0; i < times && !status; i++) {
        double start = clock_ms();
        if (tr_plan_launch(job->plan, NULL, &error) || tr_device_synchronize(job->runner, &error))
            status = fail_with(error, false);
        timings_add(&timings, clock_ms() - start);
    }
    if (!status && told) {
        char what[4200];
        snprintf(what, sizeof what, "%s: %u entries", job->options->path, job->added);
        timings_print(&timings, what);
    }
    timings_free(&timings);
    return status;
}

static int bring_back(const job *job) {
    for (size_t i = 0; i < job->array_count; i++) {
        int status = options_bring_back(&job->arrays[i].argument, job->runner, job->arrays[i].memory);
        if (status) return status;
    }
    return EXIT_OK;
}

static int read_file(job *job) {
    static const char *const known[] = {"arrays", "kernels", "entries", "repeat", NULL};
    json_error_t error;
    job->root = json_load_file(job->options->path, JSON_REJECT_DUPLICATES, &error);
    if (job->root) return check_keys(job, "at the top", job->root, known);
    if (error.line < 0) return fail("%s", error.text); /* "unable to open …" */
    fail("%s:%d:%d: %s; the file must be JSON, as triton-runner(1) describes it", job->options->path,
         error.line, error.column, error.text);
    return EXIT_USAGE;
}

int plan_run(const plan_options *options) {
    job job = {.options = options};
    tr_runner_options runner_options = TR_RUNNER_OPTIONS_INIT;
    tr_error *error = NULL;
    runner_options.device = options->device;
    int status = read_file(&job);
    if (!status && tr_runner_create(&runner_options, &job.runner, &error)) status = fail_with(error, false);
    if (!status) status = read_arrays(&job);
    if (!status) status = read_kernels(&job);
    if (!status) status = add_entries(&job);
    if (!status) status = launch(&job);
    if (!status) status = bring_back(&job);
    if (!status && options->profile) status = options_print_counters(job.runner, options->profile_json);
    tr_plan_destroy(job.plan);
    for (size_t i = 0; i < job.kernel_count; i++) tr_kernel_destroy(job.kernels[i].kernel);
    for (size_t i = 0; i < job.array_count; i++) {
        if (job.arrays[i].memory) tr_device_free(job.runner, job.arrays[i].memory, NULL);
        argument_release(&job.arrays[i].argument);
        free(job.arrays[i].text);
    }
    free(job.arrays);
    free(job.kernels);
    free(job.index);
    tr_runner_destroy(job.runner);
    json_decref(job.root);
    return status;
}
