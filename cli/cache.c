/* triton-runner cache: what is kept of compile results, and keeping it in order. */
#include "command.h"

#include <argp.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct cache {
    const char *action;
    uint64_t limit;
    bool json;
} cache;

static error_t parse(int key, char *text, struct argp_state *state) {
    cache *cache = state->input;
    char *end;
    switch (key) {
    case 'j': cache->json = true; return 0;
    case 'l': {
        unsigned long long limit = strtoull(text, &end, 10);
        int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
        if (end == text || *text == '-' || (shift ? end[1] : *end) || limit > UINT64_MAX >> shift)
            argp_error(state, "--limit '%s': write a number of bytes, or 512M, 4G", text);
        cache->limit = limit << shift;
        return 0;
    }
    case ARGP_KEY_ARG:
        if (cache->action) argp_error(state, "one action at a time");
        cache->action = text;
        return 0;
    case ARGP_KEY_END:
        if (!cache->action) argp_error(state, "which action?");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static void print_info(const json_t *report) {
    const char *folder = json_string_value(json_object_get(report, "folder"));
    printf("folder   %s%s\n", folder ? folder : "none",
           json_is_true(json_object_get(report, "usable")) ? "" : " (not usable)");
    printf("entries  %lld\n", (long long)json_integer_value(json_object_get(report, "entries")));
    printf("size     %.1f MiB of %.1f\n",
           (double)json_integer_value(json_object_get(report, "bytes")) / (1 << 20),
           (double)json_integer_value(json_object_get(report, "limit")) / (1 << 20));
}

static void print_list(const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        time_t used = (time_t)json_number_value(json_object_get(entry, "used"));
        struct tm local;
        char when[32] = "";
        if (localtime_r(&used, &local)) strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local);
        printf("%s  %10lld  %s\n", when, (long long)json_integer_value(json_object_get(entry, "bytes")),
               json_string_value(json_object_get(entry, "name")));
    }
}

static int show(tr_runner *runner, const cache *cache) {
    char *json = NULL;
    tr_error *error = NULL;
    if (tr_runner_report(runner, TR_REPORT_CACHE, &json, &error)) return fail_with(error, false);
    json_t *report = json_loads(json, 0, NULL);
    if (cache->json)
        puts(json);
    else if (!strcmp(cache->action, "list"))
        print_list(json_object_get(report, "list"));
    else
        print_info(report);
    json_decref(report);
    tr_free(json);
    return EXIT_OK;
}

static int act(tr_runner *runner, tr_cache_action action, uint64_t limit, const char *what) {
    uint64_t affected;
    tr_error *error = NULL;
    if (tr_runner_cache(runner, action, limit, &affected, &error)) return fail_with(error, false);
    printf("%llu %s\n", (unsigned long long)affected, what);
    return action == TR_CACHE_VERIFY && affected ? EXIT_FAILED : EXIT_OK;
}

static int run(tr_runner *runner, const cache *cache) {
    const char *action = cache->action;
    if (!strcmp(action, "info") || !strcmp(action, "list")) return show(runner, cache);
    if (!strcmp(action, "verify"))
        return act(runner, TR_CACHE_VERIFY, 0, "entries were damaged and are set aside");
    if (!strcmp(action, "prune")) return act(runner, TR_CACHE_PRUNE, cache->limit, "entries removed");
    if (!strcmp(action, "clear")) return act(runner, TR_CACHE_CLEAR, 0, "entries removed");
    fail("cache: there is no action '%s'; there are info, list, verify, prune, clear", action);
    return EXIT_USAGE;
}

int command_cache(int argc, char **argv) {
    static const struct argp_option described[] = {
        {.name = "limit", .key = 'l', .arg = "SIZE", .doc = "What prune leaves: 512M, 4G; default: 1G"},
        {.name = "json", .key = 'j', .doc = "info and list as JSON"},
        {0}};
    static const struct argp argp = {.options = described,
                                     .parser = parse,
                                     .args_doc = "info|list|verify|prune|clear",
                                     .doc = "Looks at the cache of compile results, and keeps it in order."};
    cache cache = {.limit = (uint64_t)1 << 30};
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &cache);
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.device = "auto";
    tr_runner *runner = NULL;
    tr_error *error = NULL;
    if (tr_runner_create(&options, &runner, &error)) return fail_with(error, false);
    int status = run(runner, &cache);
    tr_runner_destroy(runner);
    return status;
}
