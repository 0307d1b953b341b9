#include "options.h"

#include "profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    KEY_KERNEL = 256,
    KEY_SIGNATURE,
    KEY_METADATA,
    KEY_FROM,
    KEY_ARCH,
    KEY_TRITON,
    KEY_LLVM,
    KEY_ASSEMBLER,
    KEY_OPTION,
    KEY_ENV,
    KEY_TIMEOUT,
    KEY_NO_CACHE,
    KEY_IN_PROCESS,
    KEY_LOG
};

static const struct argp_option described[] = {
    {.name = "kernel", .key = KEY_KERNEL, .arg = "NAME", .doc = "Which kernel, where the file has several"},
    {.name = "signature",
     .key = KEY_SIGNATURE,
     .arg = "SIG",
     .doc = "Types of a Python kernel's arguments: \"*fp32:16, *fp32:16, i32, 1024\""},
    {.name = "metadata",
     .key = KEY_METADATA,
     .arg = "FILE",
     .doc = "Triton's JSON, where it is not in the file or beside it"},
    {.name = "from",
     .key = KEY_FROM,
     .arg = "STAGE",
     .doc = "The file's stage, where its name and content don't tell"},
    {.name = "arch",
     .key = KEY_ARCH,
     .arg = "ARCH",
     .doc = "Target, as sm_90; default: the file's own, else the device's"},
    {.name = "triton",
     .key = KEY_TRITON,
     .arg = "VERSION",
     .doc = "Triton to compile with: a version or an interpreter"},
    {.name = "llvm", .key = KEY_LLVM, .arg = "WHO", .doc = "Who makes llir into PTX: auto, llvm, triton"},
    {.name = "assembler",
     .key = KEY_ASSEMBLER,
     .arg = "WHO",
     .doc = "Who makes PTX into a cubin: auto, ptxas, nvjitlink, driver"},
    {.name = "option",
     .key = KEY_OPTION,
     .arg = "KEY=VALUE",
     .doc = "A Triton backend option, as num_warps=8; repeatable"},
    {.name = "env", .key = KEY_ENV, .arg = "KEY=VALUE", .doc = "Environment of the compiler; repeatable"},
    {.name = "timeout", .key = KEY_TIMEOUT, .arg = "SECONDS", .doc = "Give up compiling after that long"},
    {.name = "no-cache", .key = KEY_NO_CACHE, .doc = "Compile again, whatever is in the cache"},
    {.name = "in-process",
     .key = KEY_IN_PROCESS,
     .doc = "LLVM and nvJitLink in this process, without a helper"},
    {.name = "log", .key = KEY_LOG, .doc = "Show what the compilers printed"},
    {0},
};

/* VALUE as JSON where it is JSON (8, true, "x", [1]), else as a string. */
static error_t add_backend_option(options *options, const char *text, struct argp_state *state) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) argp_error(state, "--option '%s': write KEY=VALUE", text);
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY, NULL);
    if (!value) value = json_string(equals + 1);
    if (!value) argp_error(state, "--option '%s': the value is not UTF-8", text);
    if (!options->backend) options->backend = json_object();
    if (json_object_setn_new(options->backend, text, (size_t)(equals - text), value)) return ENOMEM;
    return 0;
}

static error_t add_environment(options *options, const char *text, struct argp_state *state) {
    if (!strchr(text, '=') || *text == '=') argp_error(state, "--env '%s': write NAME=VALUE", text);
    const char **grown = realloc(options->environment, (options->environment_count + 2) * sizeof *grown);
    if (!grown) return ENOMEM;
    options->environment = grown;
    grown[options->environment_count++] = text;
    grown[options->environment_count] = NULL;
    return 0;
}

static error_t parse(int key, char *text, struct argp_state *state) {
    options *options = state->input;
    tr_compile_options *compile = &options->compile;
    switch (key) {
    case KEY_KERNEL: options->kernel = text; return 0;
    case KEY_SIGNATURE: options->signature = text; return 0;
    case KEY_METADATA: options->metadata_file = text; return 0;
    case KEY_FROM:
        options->from = stage_by_name(text);
        if (options->from < 0) argp_error(state, "there is no stage '%s'", text);
        return 0;
    case KEY_ARCH: compile->arch = text; return 0;
    case KEY_TRITON: compile->triton = text; return 0;
    case KEY_LLVM: compile->llvm = text; return 0;
    case KEY_ASSEMBLER: compile->assembler = text; return 0;
    case KEY_OPTION: return add_backend_option(options, text, state);
    case KEY_ENV: return add_environment(options, text, state);
    case KEY_TIMEOUT: {
        char *end;
        double seconds = strtod(text, &end);
        if (*end || end == text || !(seconds > 0 && seconds < 1e6))
            argp_error(state, "--timeout '%s': write seconds, as 30 or 0.5", text);
        compile->timeout_ms = (uint32_t)(seconds * 1000 + 0.5);
        return 0;
    }
    case KEY_NO_CACHE: compile->flags |= TR_COMPILE_NO_CACHE; return 0;
    case KEY_IN_PROCESS: compile->flags |= TR_COMPILE_IN_PROCESS; return 0;
    case KEY_LOG: options->log = true; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp options_argp = {.options = described, .parser = parse};

static char *read_text(const char *path) {
    FILE *file = fopen(path, "rbe");
    if (!file) return NULL;
    char *text = NULL;
    size_t capacity = 0;
    ssize_t length = getdelim(&text, &capacity, '\0', file);
    fclose(file);
    if (length >= 0) return text;
    free(text);
    return strdup("");
}

int options_finish(options *options) {
    if (options->backend) {
        options->compile.options = json_dumps(options->backend, JSON_COMPACT);
        if (!options->compile.options) return fail("out of memory");
    }
    options->compile.environment = options->environment;
    if (options->metadata_file) {
        options->metadata = read_text(options->metadata_file);
        if (!options->metadata) return fail("cannot read '%s': %s", options->metadata_file, strerror(errno));
    }
    return EXIT_OK;
}

void options_release(options *options) {
    free((char *)options->compile.options);
    free(options->environment);
    free(options->metadata);
    json_decref(options->backend);
}

int options_load(const options *options, tr_runner *runner, tr_program **out) {
    tr_load_options load = TR_LOAD_OPTIONS_INIT;
    load.kernel = options->kernel;
    load.signature = options->signature;
    load.metadata = options->metadata;
    tr_error *error = NULL;
    if (tr_load_stage(runner, options->from, options->file, &load, out, &error))
        return fail_with(error, true);
    return EXIT_OK;
}

/* One line, and short, so that it can be taken back. */
static struct {
    bool shown;
    struct timespec begun;
} progress;

static int32_t show(void *user, tr_stage reached, double seconds) {
    const options *options = user;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double elapsed =
        (double)(now.tv_sec - progress.begun.tv_sec) + (double)(now.tv_nsec - progress.begun.tv_nsec) * 1e-9;
    const char *slash = strrchr(options->file, '/');
    fprintf(stderr, "\r\033[K%.40s: %s, %.1f s", slash ? slash + 1 : options->file, stage_name(reached),
            elapsed);
    fflush(stderr);
    progress.shown = true;
    return 0;
}

void options_show_progress(options *options) {
    if (!isatty(STDERR_FILENO)) return;
    clock_gettime(CLOCK_MONOTONIC, &progress.begun);
    options->compile.progress = show;
    options->compile.progress_user = options;
}

void options_hide_progress(void) {
    if (progress.shown) fputs("\r\033[K", stderr);
    progress.shown = false;
}

int options_prepare(options *options, tr_program **program) {
    tr_stage to = options->compile.assembler ? TR_STAGE_CUBIN : TR_STAGE_PTX;
    if (tr_program_stage(*program) >= to) return EXIT_OK;
    tr_program *compiled = NULL;
    tr_error *error = NULL;
    options_show_progress(options);
    tr_status status = tr_compile_to(*program, to, &options->compile, &compiled, &error);
    options_hide_progress();
    if (status) return fail_with(error, options->log);
    if (options->log) fputs(tr_program_log(compiled), stderr);
    tr_program_destroy(*program);
    *program = compiled;
    return EXIT_OK;
}

int options_print_counters(tr_runner *runner, bool as_json) {
    char *json = NULL;
    tr_error *error = NULL;
    if (tr_runner_report(runner, TR_REPORT_COUNTERS, &json, &error)) return fail_with(error, false);
    int status = as_json ? EXIT_OK : profile_print(json);
    if (as_json) puts(json);
    tr_free(json);
    return status;
}

int options_bring_back(argument *argument, tr_runner *runner, uint64_t memory) {
    tr_error *error = NULL;
    if (!argument->output) return EXIT_OK;
    if (tr_device_read(runner, argument->array.data, memory, argument->array.bytes, &error))
        return fail_with(error, false);
    char *problem = npy_write(argument->output, &argument->array);
    if (!problem) return EXIT_OK;
    fail("%s", problem);
    free(problem);
    return EXIT_FAILED;
}
