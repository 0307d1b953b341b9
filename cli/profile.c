#include "profile.h"

#include "command.h"

#include <jansson.h>
#include <string.h>

static json_int_t number(const json_t *of, const char *outer, const char *inner) {
    const json_t *value = json_object_get(of, outer);
    return json_integer_value(inner ? json_object_get(value, inner) : value);
}

static double share(json_int_t part, json_int_t whole) {
    return whole ? (double)part / (double)whole : 0;
}

/* One row for a launch or for a line of it. */
static void print_row(const char *name, const json_t *of) {
    json_int_t warps = number(of, "warp_instructions", NULL);
    printf("%-28s %12" JSON_INTEGER_FORMAT " %9.1f %7.1f%% %11" JSON_INTEGER_FORMAT " %11" JSON_INTEGER_FORMAT
           " %8.2f %11" JSON_INTEGER_FORMAT " %10" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT "\n",
           name, warps, share(number(of, "thread_instructions", NULL), warps),
           100 * share(number(of, "divergent", NULL), warps), number(of, "bytes", "global_read"),
           number(of, "bytes", "global_written"),
           share(number(of, "global", "sectors"), number(of, "global", "requests")),
           number(of, "bytes", "shared_read") + number(of, "bytes", "shared_written"),
           number(of, "shared", "conflicts"), number(of, "mma", "operations"));
}

static void print_launch(const json_t *launch) {
    const json_t *grid = json_object_get(launch, "grid"), *block = json_object_get(launch, "block"), *line;
    json_int_t size[6];
    for (size_t i = 0; i < 3; i++) {
        size[i] = json_integer_value(json_array_get(grid, i));
        size[3 + i] = json_integer_value(json_array_get(block, i));
    }
    printf("%s%s%s, grid %d x %d x %d, block %d x %d x %d\n", style(stdout, STYLE_BOLD),
           json_string_value(json_object_get(launch, "kernel")), style(stdout, STYLE_NONE), (int)size[0],
           (int)size[1], (int)size[2], (int)size[3], (int)size[4], (int)size[5]);
    printf("%-28s %12s %9s %8s %11s %11s %8s %11s %10s %12s\n", "", "instructions", "threads", "diverged",
           "read", "written", "sectors", "shared", "conflicts", "mma");
    print_row("all", launch);
    size_t index;
    json_array_foreach(json_object_get(launch, "lines"), index, line) {
        const char *file = json_string_value(json_object_get(line, "file"));
        const char *base = file && strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
        char name[64];
        snprintf(name, sizeof name, "%.20s:%d", base ? base : "?", (int)number(line, "line", NULL));
        print_row(name, line);
    }
    const char *family;
    json_t *count, *families = json_object_get(launch, "families");
    int column = 0;
    json_object_foreach(families, family, count) {
        column += printf("%s%s %" JSON_INTEGER_FORMAT, column ? ", " : "", family, json_integer_value(count));
        if (column > 100) column = 0, printf("\n");
    }
    printf(column ? "\n\n" : "\n");
}

int profile_print(const char *json) {
    json_t *report = json_loads(json, 0, NULL), *launch;
    const json_t *launches = json_object_get(json_object_get(report, "device"), "launches");
    size_t index;
    if (!launches) {
        json_decref(report);
        return fail("only the CPU device counts: add --device cpu");
    }
    json_array_foreach(launches, index, launch) print_launch(launch);
    printf("instructions: of warps; threads: on average for each; diverged: of warps whose lanes are apart;\n"
           "read, written: bytes of global memory; sectors: of 32 bytes, for each request of global memory;\n"
           "shared: bytes; conflicts: passes more than a request without bank conflicts takes; mma: "
           "operations\n");
    json_decref(report);
    return EXIT_OK;
}
