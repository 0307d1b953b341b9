/* triton-runner compile: a file's kernel at a later stage. */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct compile {
    options options; /* first: the child parser's input */
    const char *output, *save_all;
    tr_stage to;
} compile;

enum { KEY_TO = 't', KEY_OUTPUT = 'o', KEY_SAVE_ALL = 300 };

static const struct argp_option described[] = {
    {.name = "to", .key = KEY_TO, .arg = "STAGE", .doc = "ttir, ttgir, llir, ptx or cubin (required)"},
    {.name = "output",
     .key = KEY_OUTPUT,
     .arg = "FILE",
     .doc = "Where it goes; default: KERNEL.STAGE in this folder; '-': the standard output"},
    {.name = "save-all",
     .key = KEY_SAVE_ALL,
     .arg = "FOLDER",
     .doc = "Every stage on the way too, and Triton's JSON"},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state) {
    compile *compile = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &compile->options; return 0;
    case KEY_TO:
        compile->to = stage_by_name(text);
        if (compile->to <= TR_STAGE_PYTHON)
            argp_error(state, "--to: there is no stage '%s' to compile to", text);
        return 0;
    case KEY_OUTPUT: compile->output = text; return 0;
    case KEY_SAVE_ALL: compile->save_all = text; return 0;
    case ARGP_KEY_ARG:
        if (compile->options.file) argp_error(state, "one file at a time");
        compile->options.file = text;
        return 0;
    case ARGP_KEY_END:
        if (!compile->options.file) argp_error(state, "which file?");
        if (!compile->to) argp_error(state, "--to STAGE is missing");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static int write_stdout(const tr_program *program) {
    const void *data;
    size_t size;
    tr_program_bytes(program, &data, &size);
    return fwrite(data, 1, size, stdout) == size ? EXIT_OK : fail("cannot write to the standard output");
}

static int save(const tr_program *program, const char *path) {
    tr_error *error = NULL;
    return tr_program_save(program, path, &error) ? fail_with(error, false) : EXIT_OK;
}

static int save_metadata(const tr_program *program, const char *path) {
    FILE *file = fopen(path, "wbe");
    if (!file) return fail("cannot write '%s': %s", path, strerror(errno));
    bool written = fputs(tr_program_metadata(program), file) >= 0 && fputc('\n', file) >= 0;
    return !fclose(file) && written ? EXIT_OK : fail("cannot write '%s': %s", path, strerror(errno));
}

/* FOLDER/KERNEL.{ttir,…,json}: what Triton's own cache folder holds. */
static int save_all(const tr_program *program, const char *folder) {
    if (mkdir(folder, 0777) && errno != EEXIST) return fail("cannot make '%s': %s", folder, strerror(errno));
    int status = EXIT_OK;
    for (tr_stage stage = TR_STAGE_TTIR; !status && stage <= tr_program_stage(program); stage++) {
        tr_program *passed = NULL;
        if (tr_program_at(program, stage, &passed, NULL)) continue; /* it started later */
        char *path = NULL;
        if (asprintf(&path, "%s/%s.%s", folder, tr_program_kernel(program), stage_name(stage)) < 0)
            return fail("out of memory");
        status = save(passed, path);
        tr_program_destroy(passed);
        free(path);
    }
    char *path = NULL;
    if (asprintf(&path, "%s/%s.json", folder, tr_program_kernel(program)) < 0) return fail("out of memory");
    if (!status) status = save_metadata(program, path);
    free(path);
    return status;
}

static int deliver(const compile *compile, const tr_program *program) {
    if (compile->options.log) fputs(tr_program_log(program), stderr);
    int status = compile->save_all ? save_all(program, compile->save_all) : EXIT_OK;
    if (status || (compile->save_all && !compile->output)) return status;
    if (compile->output && !strcmp(compile->output, "-")) return write_stdout(program);
    char *path = NULL;
    if (!compile->output && asprintf(&path, "%s.%s", tr_program_kernel(program), stage_name(compile->to)) < 0)
        return fail("out of memory");
    status = save(program, compile->output ? compile->output : path);
    free(path);
    return status;
}

static int compile_file(compile *compile) {
    tr_runner_options runner_options = TR_RUNNER_OPTIONS_INIT;
    runner_options.device = "auto";
    tr_runner *runner = NULL;
    tr_program *source = NULL, *result = NULL;
    tr_error *error = NULL;
    if (tr_runner_create(&runner_options, &runner, &error)) return fail_with(error, false);
    int status = options_load(&compile->options, runner, &source);
    if (!status) {
        options_show_progress(&compile->options);
        tr_status compiled = tr_compile_to(source, compile->to, &compile->options.compile, &result, &error);
        options_hide_progress();
        status = compiled ? fail_with(error, compile->options.log) : deliver(compile, result);
    }
    tr_program_destroy(result);
    tr_program_destroy(source);
    tr_runner_destroy(runner);
    return status;
}

int command_compile(int argc, char **argv) {
    static const struct argp_child children[] = {{.argp = &options_argp}, {0}};
    static const struct argp argp = {
        .options = described,
        .parser = parse,
        .children = children,
        .args_doc = "FILE",
        .doc = "Takes the kernel in FILE (.py, .ttir, .ttgir, .llir, .ptx, .cubin) to a later stage."};
    compile compile = {.options.compile = TR_COMPILE_OPTIONS_INIT};
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &compile);
    int status = options_finish(&compile.options);
    if (!status) status = compile_file(&compile);
    options_release(&compile.options);
    return status;
}
