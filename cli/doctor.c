/* triton-runner doctor: a line for each thing the library may use, and the remedy for what is missing. */
#include "command.h"

#include <argp.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static error_t parse(int key, char *text, struct argp_state *state) {
    if (key == 'j') return *(bool *)state->input = true, 0;
    return ARGP_ERR_UNKNOWN;
}

/* {"checks": [{"name": "ptxas", "status": "ok" | "missing" | "broken" | "unused", "detail": …, "fix": …}, …]}
 */
static void print_check(const json_t *check) {
    const char *name = json_string_value(json_object_get(check, "name")),
               *status = json_string_value(json_object_get(check, "status")),
               *detail = json_string_value(json_object_get(check, "detail")),
               *fix = json_string_value(json_object_get(check, "fix"));
    bool ok = status && !strcmp(status, "ok");
    printf("%s%-8s%s %s%-12s%s %s\n", style(stdout, ok ? STYLE_GREEN : STYLE_RED), status ? status : "?",
           style(stdout, STYLE_NONE), style(stdout, STYLE_BOLD), name ? name : "?", style(stdout, STYLE_NONE),
           detail ? detail : "");
    if (fix && *fix) printf("%22s%s%s%s\n", "", style(stdout, STYLE_DIM), fix, style(stdout, STYLE_NONE));
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
    if (as_json) puts(json);
    for (size_t i = 0; !as_json && i < json_array_size(json_object_get(report, "checks")); i++)
        print_check(json_array_get(json_object_get(report, "checks"), i));
    json_decref(report);
    tr_free(json);
    return report ? EXIT_OK : fail("the report is not JSON");
}
