/* triton-runner doctor: a line for each thing the library may use, and the remedy for what is missing. */
#include "command.h"

#include <argp.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static error_t parse(int key, char *text, struct argp_state *state) {
    if (key == 'j') return *(bool *)state->input = true, 0;
    return ARGP_ERR_UNKNOWN;
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

__attribute__((format(printf, 3, 4))) static void line(const char *name, bool ok, const char *format, ...) {
    printf("%s%-8s%s %s%-10s%s ", style(stdout, ok ? STYLE_GREEN : STYLE_RED), ok ? "ok" : "missing",
           style(stdout, STYLE_NONE), style(stdout, STYLE_BOLD), name, style(stdout, STYLE_NONE));
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* The reason ends with what to install. True when the part is there and the caller goes on. */
static bool is_there(const json_t *report, const char *key, const char *name) {
    const json_t *part = json_object_get(report, key);
    if (json_is_true(json_object_get(part, "found"))) return true;
    line(name, false, "%s", text_of(part, "reason"));
    return false;
}

static void print_devices(const json_t *report, const char *key, const char *name, const char *prefix) {
    if (!is_there(report, key, name)) return;
    const json_t *part = json_object_get(report, key), *devices = json_object_get(part, "devices");
    for (size_t i = 0; i < json_array_size(devices); i++) {
        const json_t *device = json_array_get(devices, i);
        line(name, true, "%s:%zu  %s, %s, %.1f GiB, driver for CUDA %s", prefix, i, text_of(device, "name"),
             text_of(device, "arch"),
             (double)json_integer_value(json_object_get(device, "memory")) / (1 << 30),
             text_of(part, "version"));
    }
    if (!json_array_size(devices)) line(name, false, "the driver is there, but no device");
}

static void print_tritons(const json_t *report) {
    if (!is_there(report, "triton", "triton")) return;
    const json_t *list = json_object_get(json_object_get(report, "triton"), "installations");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *triton = json_array_get(list, i);
        line("triton", true, "%s%s  %s  %s", text_of(triton, "version"),
             json_is_true(json_object_get(triton, "default")) ? " (default)" : "",
             text_of(triton, "interpreter"), text_of(triton, "site"));
    }
}

static void print_tool(const json_t *report, const char *key) {
    if (!is_there(report, key, key)) return;
    const json_t *part = json_object_get(report, key);
    const char *path = text_of(part, "path");
    line(key, true, "%s%s%s", text_of(part, "version"), *path ? "  " : "", path);
}

static void print_cache(const json_t *cache) {
    bool usable = json_is_true(json_object_get(cache, "usable"));
    const char *folder = text_of(cache, "folder");
    line("cache", usable, "%s, %lld entries, %.1f MiB%s", *folder ? folder : "no folder",
         (long long)json_integer_value(json_object_get(cache, "entries")),
         (double)json_integer_value(json_object_get(cache, "bytes")) / (1 << 20),
         usable ? "" : "; set TRITON_RUNNER_CACHE_DIR to a folder that only you can write");
}

static void print_report(const json_t *report) {
    print_devices(report, "gpu", "gpu", "cuda");
    print_devices(report, "cpu", "cpu device", "cpu");
    print_tritons(report);
    print_tool(report, "llvm");
    print_tool(report, "ptxas");
    print_tool(report, "nvjitlink");
    print_cache(json_object_get(report, "cache"));
}

int command_doctor(int argc, char **argv) {
    static const struct argp_option described[] = {{.name = "json", .key = 'j', .doc = "The report as JSON"},
                                                   {0}};
    static const struct argp argp = {.options = described,
                                     .parser = parse,
                                     .doc = "Tells which drivers, devices, compilers and caches the library "
                                            "finds, and how to get what is missing."};
    bool as_json = false;
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &as_json);

    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.device = "auto";
    tr_runner *runner = NULL;
    tr_error *error = NULL;
    char *json = NULL;
    if (tr_runner_create(&options, &runner, &error)) return fail_with(error, false);
    tr_status status = tr_runner_report(runner, TR_REPORT_DOCTOR, &json, &error);
    tr_runner_destroy(runner);
    if (status) return fail_with(error, false);
    json_t *report = json_loads(json, 0, NULL);
    int exit_status = report ? EXIT_OK : fail("the report is not JSON");
    if (as_json)
        puts(json);
    else if (report)
        print_report(report);
    json_decref(report);
    tr_free(json);
    return exit_status;
}
