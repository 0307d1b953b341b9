/* triton-runner run: one kernel, its arguments from the command line, its results into files. */
#include "clock.h"
#include "options.h"
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct run {
    options options; /* first: the child parser's input */
    const char *device, *plan;
    tr_launch_config config;
    argument *arguments;
    uint64_t *memory; /* per argument: its device memory, 0 for none */
    size_t count;
    unsigned repeat;
    bool profile, profile_json;
} run;

enum { KEY_GRID = 'g', KEY_ARG = 'a', KEY_DEVICE = 'd', KEY_REPEAT = 'r', KEY_PROFILE = 300, KEY_PLAN };

static const struct argp_option described[] = {
    {.name = "grid", .key = KEY_GRID, .arg = "X[,Y[,Z]]", .doc = "Number of program instances (required)"},
    {.name = "arg",
     .key = KEY_ARG,
     .arg = "ARG",
     .doc = "The next argument: i32:1024, f32:0.5, in:x.npy, in:bf16:x.npy, out:f32[1024]=z.npy, "
            "inout:x.npy=y.npy"},
    {.name = "device",
     .key = KEY_DEVICE,
     .arg = "DEVICE",
     .doc = "auto (a GPU, else the CPU device), cpu, cuda, cuda:N; default: auto"},
    {.name = "repeat", .key = KEY_REPEAT, .arg = "N", .doc = "Launch N times and print the median time"},
    {.name = "plan",
     .key = KEY_PLAN,
     .arg = "FILE.json",
     .doc = "Instead of FILE: kernels, grids, arguments, dependencies and repeats, launched as one plan"},
    {.name = "profile",
     .key = KEY_PROFILE,
     .arg = "json",
     .flags = OPTION_ARG_OPTIONAL,
     .doc = "Print what the CPU device counted, as tables or as JSON"},
    {0},
};

static bool parse_grid(const char *text, uint32_t grid[3]) {
    for (int axis = 0; axis < 3; axis++) {
        char *end;
        unsigned long length = strtoul(text, &end, 10);
        if (end == text || *text == '-' || length > UINT32_MAX) return false;
        grid[axis] = (uint32_t)length;
        if (!*end) return true;
        if (*end != ',') return false;
        text = end + 1;
    }
    return false;
}

static error_t add_argument(run *run, const char *text, struct argp_state *state) {
    argument *grown = realloc(run->arguments, (run->count + 1) * sizeof *grown);
    if (!grown) return ENOMEM;
    run->arguments = grown;
    char *problem = argument_parse(text, &grown[run->count]);
    if (problem) argp_error(state, "%s", problem);
    run->count++;
    return 0;
}

static error_t parse(int key, char *text, struct argp_state *state) {
    run *run = state->input;
    char *end;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &run->options; return 0;
    case KEY_GRID:
        if (!parse_grid(text, run->config.grid)) argp_error(state, "--grid '%s': write X[,Y[,Z]]", text);
        return 0;
    case KEY_ARG: return add_argument(run, text, state);
    case KEY_DEVICE: run->device = text; return 0;
    case KEY_REPEAT:
        run->repeat = (unsigned)strtoul(text, &end, 10);
        if (*end || !run->repeat || run->repeat > 10000000)
            argp_error(state, "--repeat '%s': write a number from 1 to 10000000", text);
        return 0;
    case KEY_PROFILE:
        if (text && strcmp(text, "json") != 0) argp_error(state, "--profile=%s: json or nothing", text);
        run->profile = true;
        run->profile_json = text != NULL;
        return 0;
    case KEY_PLAN: run->plan = text; return 0;
    case ARGP_KEY_ARG:
        if (run->options.file) argp_error(state, "one file at a time");
        run->options.file = text;
        return 0;
    case ARGP_KEY_END:
        if (run->plan && (run->options.file || run->count || run->config.grid[0] != UINT32_MAX))
            argp_error(
                state,
                "--plan brings its kernels, grids and arguments along; leave FILE, --grid and --arg out");
        if (run->plan) return 0;
        if (!run->options.file) argp_error(state, "which file?");
        if (run->config.grid[0] == UINT32_MAX)
            argp_error(state, "--grid is missing: the number of programs, as --grid 64 or --grid 8,4");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Of which sign an integer is doesn't matter, and bytes may be of a type that numpy lacks. */
static bool element_fits(tr_type wanted, tr_type given) {
    bool integer = given >= TR_TYPE_I1 && given <= TR_TYPE_U64, float8 = wanted >= TR_TYPE_F8E4M3;
    if (!wanted || wanted == given) return true;
    return integer && (float8 || (wanted >= TR_TYPE_I1 && wanted <= TR_TYPE_U64)) &&
           npy_element_size(wanted) == npy_element_size(given);
}

/* The library sees addresses only; here it is known what lies there. */
static int check_elements(const run *run, const tr_kernel *kernel) {
    for (size_t i = 0; i < run->count; i++) {
        const argument *argument = &run->arguments[i];
        tr_param_info info = TR_PARAM_INFO_INIT;
        if (!argument->array.data || tr_kernel_param(kernel, i, &info) || info.type != TR_TYPE_PTR) continue;
        if (element_fits(info.element, argument->array.element)) continue;
        return fail("--arg '%s' has elements of %s, but argument %zu%s%s%s points to %s%s", argument->text,
                    npy_type_name(argument->array.element), i, info.name ? " (" : "",
                    info.name ? info.name : "", info.name ? ")" : "", npy_type_name(info.element),
                    argument->output ? "" : "; in:TYPE:FILE says what they are where numpy has no such type");
    }
    return EXIT_OK;
}

/* Device copies of the arrays; a descriptor of an array where the kernel takes one. */
static tr_status bring(run *run, tr_runner *runner, const tr_kernel *kernel, tr_arg *values,
                       tr_tensor_map *maps, tr_error **error) {
    for (size_t i = 0; i < run->count; i++) {
        argument *argument = &run->arguments[i];
        const npy_array *array = &argument->array;
        tr_status status = TR_OK;
        if (array->data)
            status = tr_device_alloc(runner, array->bytes ? array->bytes : 1, &run->memory[i], error);
        if (!status && array->data)
            status = tr_device_write(runner, run->memory[i], array->data, array->bytes, error);
        if (!status) status = argument_bind(argument, run->memory[i], kernel, i, &values[i], &maps[i], error);
        if (status) return status;
    }
    return TR_OK;
}

static tr_status launch(run *run, tr_runner *runner, const tr_kernel *kernel, const tr_arg *values,
                        tr_error **error) {
    unsigned times = run->repeat ? run->repeat : 1;
    timings timings = {0};
    tr_status status = timings_reserve(&timings, times) ? TR_OK : TR_E_OUT_OF_MEMORY;
    for (unsigned i = 0; !status && i < times; i++) {
        double start = clock_ms();
        status = tr_launch(kernel, &run->config, values, run->count, error);
        if (!status) status = tr_device_synchronize(runner, error);
        timings_add(&timings, clock_ms() - start);
    }
    if (!status && run->repeat) timings_print(&timings, run->options.file);
    timings_free(&timings);
    return status;
}

static int bring_back(run *run, tr_runner *runner) {
    for (size_t i = 0; i < run->count; i++) {
        int status = options_bring_back(&run->arguments[i], runner, run->memory[i]);
        if (status) return status;
    }
    return EXIT_OK;
}

static int run_kernel(run *run, tr_runner *runner, const tr_kernel *kernel) {
    tr_arg *values = calloc(run->count + 1, sizeof *values);
    tr_tensor_map *maps = aligned_alloc(64, (run->count + 1) * sizeof *maps);
    run->memory = calloc(run->count + 1, sizeof *run->memory);
    tr_error *error = NULL;
    bool ready = values && maps && run->memory;
    int status = ready ? check_elements(run, kernel) : fail("out of memory");
    if (!status &&
        (bring(run, runner, kernel, values, maps, &error) || launch(run, runner, kernel, values, &error)))
        status = fail_with(error, run->options.log);
    if (!status) status = bring_back(run, runner);
    if (!status && run->profile) status = options_print_counters(runner, run->profile_json);
    for (size_t i = 0; run->memory && i < run->count; i++)
        if (run->memory[i]) tr_device_free(runner, run->memory[i], NULL);
    free(run->memory);
    free(maps);
    free(values);
    return status;
}

static int run_file(run *run) {
    tr_runner_options runner_options = TR_RUNNER_OPTIONS_INIT;
    runner_options.device = run->device;
    tr_runner *runner = NULL;
    tr_program *program = NULL;
    tr_kernel *kernel = NULL;
    tr_error *error = NULL;
    if (tr_runner_create(&runner_options, &runner, &error)) return fail_with(error, false);
    int status = options_load(&run->options, runner, &program);
    if (!status) status = options_prepare(&run->options, &program);
    if (!status && tr_kernel_create(program, &kernel, &error)) status = fail_with(error, run->options.log);
    if (!status) status = run_kernel(run, runner, kernel);
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    return status;
}

int command_run(int argc, char **argv) {
    static const struct argp_child children[] = {
        {.argp = &options_argp, .header = "Compiling, where it is needed:"}, {0}};
    static const struct argp argp = {
        .options = described,
        .parser = parse,
        .children = children,
        .args_doc = "FILE\n--plan FILE.json",
        .doc = "Launches the kernel in FILE. Arguments are given in the kernel's order, without constants."};
    run run = {.options.compile = TR_COMPILE_OPTIONS_INIT, .config = TR_LAUNCH_CONFIG_INIT, .device = "auto"};
    run.config.grid[0] = UINT32_MAX; /* not given yet */
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &run);
    int status = options_finish(&run.options);
    if (!status && run.profile)
        setenv("TRITON_RUNNER_CPU_COUNTERS", "1", 1); /* the CPU device counts where it is told to */
    if (!status && run.plan)
        status = plan_run(
            &(plan_options){run.plan, run.device, &run.options, run.repeat, run.profile, run.profile_json});
    else if (!status)
        status = run_file(&run);
    for (size_t i = 0; i < run.count; i++) argument_release(&run.arguments[i]);
    free(run.arguments);
    options_release(&run.options);
    return status;
}
