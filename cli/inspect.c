/* triton-runner inspect: stage, kernel, target, parameters and promises, hidden tail, resources, who made it.
 */
#include "options.h"

#include <stdlib.h>
#include <string.h>

typedef struct inspect {
    options options; /* first: options_load reads it */
    bool json;
} inspect;

enum { KEY_KERNEL = 'k', KEY_METADATA = 'm', KEY_JSON = 'j' };

static const struct argp_option described[] = {
    {.name = "kernel",
     .key = KEY_KERNEL,
     .arg = "NAME",
     .doc = "Which kernel, where the file has several; default: all"},
    {.name = "metadata",
     .key = KEY_METADATA,
     .arg = "FILE",
     .doc = "Triton's JSON, where it is not beside the file"},
    {.name = "json", .key = KEY_JSON, .doc = "The whole record, as JSON"},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state) {
    inspect *inspect = state->input;
    switch (key) {
    case KEY_KERNEL: inspect->options.kernel = text; return 0;
    case KEY_METADATA: inspect->options.metadata_file = text; return 0;
    case KEY_JSON: inspect->json = true; return 0;
    case ARGP_KEY_ARG:
        if (inspect->options.file) argp_error(state, "one file at a time");
        inspect->options.file = text;
        return 0;
    case ARGP_KEY_END:
        if (!inspect->options.file) argp_error(state, "which file?");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char *text_of(const json_t *object, const char *key, const char *otherwise) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : otherwise;
}

static void row(const char *name, const char *value) {
    printf("%s%-11s%s %s\n", style(stdout, STYLE_BOLD), name, style(stdout, STYLE_NONE), value);
}

static void print_parameters(const tr_program *program, const json_t *extra) {
    const json_t *parameters = json_object_get(extra, "parameters"),
                 *hidden = json_object_get(extra, "hidden");
    if (!parameters)
        row("parameters", tr_program_stage(program) == TR_STAGE_PYTHON
                              ? "what --signature says when it is compiled"
                              : "not known: neither the text nor a record tells them");
    for (size_t i = 0; i < json_array_size(parameters); i++) {
        const json_t *parameter = json_array_get(parameters, i),
                     *constant = json_object_get(parameter, "constant");
        json_int_t divisibility = json_integer_value(json_object_get(parameter, "divisibility"));
        printf("%s%-11s%s %2zu  %-16s %s", style(stdout, STYLE_BOLD), i ? "" : "parameters",
               style(stdout, STYLE_NONE), i, text_of(parameter, "name", "-"),
               text_of(parameter, "type", "?"));
        if (divisibility > 1) printf("  divisible by %lld", (long long)divisibility);
        if (constant) printf("  equal to %lld", (long long)json_integer_value(constant));
        putchar('\n');
    }
    for (size_t i = 0; i < json_array_size(hidden); i++)
        row(i ? "" : "hidden", json_string_value(json_array_get(hidden, i)));
}

static void print_numbers(const json_t *metadata, const json_t *extra) {
    static const char *const keys[] = {
        "num_warps", "num_ctas",  "num_stages", "shared",         "global_scratch_size", "tmem_size",
        "maxnreg",   "registers", "spills",     "constant_bytes", "local_bytes"};
    bool any = false;
    printf("%s%-11s%s", style(stdout, STYLE_BOLD), "resources", style(stdout, STYLE_NONE));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *value = json_object_get(metadata, keys[i]);
        if (!json_is_integer(value)) value = json_object_get(extra, keys[i]);
        if (!json_is_integer(value)) continue;
        printf("%s %s %lld", any ? "," : "", keys[i], (long long)json_integer_value(value));
        any = true;
    }
    puts(any ? "" : " not known");
}

static void print_text(const tr_program *program, const json_t *metadata) {
    const json_t *extra = json_object_get(metadata, "triton_runner");
    row("kernel", tr_program_kernel(program) ? tr_program_kernel(program) : "?");
    row("stage", stage_name(tr_program_stage(program)));
    row("target", text_of(extra, "arch", "not known"));
    row("triton", text_of(metadata, "triton_version", "not known"));
    print_parameters(program, extra);
    print_numbers(metadata, extra);
    const char *stage;
    json_t *maker;
    const char *name = "made by";
    json_object_foreach(json_object_get(extra, "made_by"), stage, maker) {
        char line[160];
        snprintf(line, sizeof line, "%-6s %s", stage,
                 json_string_value(maker) ? json_string_value(maker) : "?");
        row(name, line);
        name = "";
    }
}

static int inspect_kernel(const inspect *inspect, tr_runner *runner) {
    tr_program *program = NULL;
    int status = options_load(&inspect->options, runner, &program);
    json_t *metadata = status ? NULL : json_loads(tr_program_metadata(program), 0, NULL);
    if (!status && !metadata) status = fail("out of memory");
    if (!status && inspect->json)
        status = json_dumpf(metadata, stdout, JSON_INDENT(2)) || puts("") < 0;
    else if (!status)
        print_text(program, metadata);
    json_decref(metadata);
    tr_program_destroy(program);
    return status;
}

/* The names, one a line, where a file has several kernels and none was chosen; else NULL. */
static char *several(const inspect *inspect, tr_runner *runner) {
    tr_program *program = NULL;
    tr_error *error = NULL;
    tr_load_options load = TR_LOAD_OPTIONS_INIT;
    load.metadata = inspect->options.metadata;
    tr_status status = inspect->options.kernel ? TR_OK
                                               : tr_load_stage(runner, TR_STAGE_AUTO, inspect->options.file,
                                                               &load, &program, &error);
    bool names = status == TR_E_INVALID_ARGUMENT && *tr_error_log(error);
    char *list = names ? strdup(tr_error_log(error)) : NULL;
    tr_error_destroy(error);
    tr_program_destroy(program);
    return list;
}

static int inspect_all(inspect *inspect, tr_runner *runner, char *names) {
    int status = EXIT_OK;
    char *rest = NULL;
    const char *before = inspect->json ? "[" : "", *between = inspect->json ? "," : "\n";
    for (char *name = strtok_r(names, "\n", &rest); name && !status; name = strtok_r(NULL, "\n", &rest)) {
        fputs(before, stdout);
        inspect->options.kernel = name;
        status = inspect_kernel(inspect, runner);
        before = between;
    }
    if (inspect->json && !status) puts("]");
    return status;
}

static int inspect_file(inspect *inspect) {
    tr_runner *runner = NULL;
    tr_error *error = NULL;
    tr_runner_options runner_options = TR_RUNNER_OPTIONS_INIT;
    runner_options.device = "auto";
    if (tr_runner_create(&runner_options, &runner, &error)) return fail_with(error, false);
    char *names = several(inspect, runner);
    int status = names ? inspect_all(inspect, runner, names) : inspect_kernel(inspect, runner);
    free(names);
    tr_runner_destroy(runner);
    return status;
}

int command_inspect(int argc, char **argv) {
    static const struct argp argp = {.options = described,
                                     .parser = parse,
                                     .args_doc = "FILE",
                                     .doc = "Tells what FILE says of its kernel; nothing is compiled."};
    inspect inspect = {.options.compile = TR_COMPILE_OPTIONS_INIT};
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &inspect);
    int status = options_finish(&inspect.options);
    if (!status) status = inspect_file(&inspect);
    options_release(&inspect.options);
    return status;
}
