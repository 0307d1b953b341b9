/* triton-runner: the library from the shell. */
#include "command.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"doctor", command_doctor, "what is installed, what is missing, and how to get it"},
    {"inspect", command_inspect, "what a kernel file says of itself"},
    {"compile", command_compile, "take a kernel from its stage to a later one"},
    {"run", command_run, "launch a kernel on a GPU, or on the CPU device"},
    {"cache", command_cache, "compile results that are kept: info, list, verify, prune, clear"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const char *const stage_names[] = {"auto", "python", "ttir", "ttgir", "llir", "ptx", "cubin"};

tr_stage stage_by_name(const char *name) {
    for (tr_stage stage = TR_STAGE_PYTHON; stage <= TR_STAGE_CUBIN; stage++)
        if (!strcmp(name, stage_names[stage])) return stage;
    return -1;
}

const char *stage_name(tr_stage stage) {
    return stage >= 0 && stage <= TR_STAGE_CUBIN ? stage_names[stage] : "?";
}

const char *style(FILE *stream, const char *sequence) {
    const char *no_color = getenv("NO_COLOR");
    return isatty(fileno(stream)) && !(no_color && *no_color) ? sequence : "";
}

int fail(const char *format, ...) {
    fprintf(stderr, "%striton-runner:%s ", style(stderr, STYLE_RED), style(stderr, STYLE_NONE));
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

/* The last lines of a compiler's output are the ones that say why. */
static const char *last_lines(const char *log, int lines) {
    const char *at = log + strlen(log);
    while (at > log && at[-1] == '\n') at--;
    while (at > log && (at[-1] != '\n' || --lines > 0)) at--;
    return at;
}

int fail_with(tr_error *error, bool whole_log) {
    fail("%s", tr_error_message(error));
    const char *log = tr_error_log(error), *shown = whole_log ? log : last_lines(log, 12);
    if (*log) {
        if (shown != log) fprintf(stderr, "  … (--log shows all of it)\n");
        fprintf(stderr, "%s%s%s\n", style(stderr, STYLE_DIM), shown, style(stderr, STYLE_NONE));
    }
    tr_error_destroy(error);
    return EXIT_FAILED;
}

static void help(FILE *stream) {
    fprintf(stream, "Usage: triton-runner COMMAND [OPTION...] [FILE]\n"
                    "Runs Triton kernels from any stage of their compilation.\n\nCommands:\n");
    for (size_t i = 0; i < COMMANDS; i++) fprintf(stream, "  %-9s %s\n", commands[i].name, commands[i].help);
    fprintf(stream, "\n'triton-runner COMMAND --help' tells the options of a command.\n"
                    "Exit status: 0 done, 1 failed, 2 wrong usage.\n");
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) return help(stdout), EXIT_OK;
    if (!strcmp(name, "--version")) {
        uint32_t version = tr_version();
        printf("triton-runner %u.%u.%u\n", version >> 16, version >> 8 & 255, version & 255);
        return EXIT_OK;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i].name)) continue;
        char title[64];
        snprintf(title, sizeof title, "triton-runner %s", name);
        argv[1] = title;
        int status = commands[i].run(argc - 1, argv + 1);
        if (fflush(stdout) || ferror(stdout)) return fail("cannot write to the standard output");
        return status;
    }
    if (*name) fail("there is no command '%s'", name);
    help(stderr);
    return EXIT_USAGE;
}
