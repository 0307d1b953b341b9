/* Triton's backend options, 3.2 – 3.9: what each may be, and which stages read it when they are made. One that no
   stage to come reads would be a promise nobody keeps, so it is refused. */
#include "job.h"

#include "base/json.h"

#include <string.h>

enum { TTIR = 1 << TR_STAGE_TTIR, TTGIR = 1 << TR_STAGE_TTGIR, LLIR = 1 << TR_STAGE_LLIR };
enum { PTX = 1 << TR_STAGE_PTX, CUBIN = 1 << TR_STAGE_CUBIN, LAUNCH = 1 << (TR_STAGE_CUBIN + 1) };

typedef enum kind { NUMBER, POWER, FLAG, TEXT, TEXTS, EXTENTS, LIBRARIES } kind;

static const struct option {
    const char *name;
    kind kind;
    int readers;
    json_int_t low, high;
} known[] = {
    {"num_warps", POWER, TTGIR, 1, 32},
    {"num_ctas", POWER, TTGIR, 1, 16},
    {"num_stages", NUMBER, TTGIR, 0, 64},
    {"cluster_dims", EXTENTS, TTGIR | LLIR, 1, 16},
    {"maxnreg", NUMBER, TTGIR | LLIR, 1, 1 << 16},
    {"num_buffers_warp_spec", NUMBER, TTGIR, 0, 64},
    {"num_consumer_groups", NUMBER, TTGIR, 0, 64},
    {"reg_dec_producer", NUMBER, TTGIR, 0, 512},
    {"reg_inc_consumer", NUMBER, TTGIR, 0, 512},
    {"clc", FLAG, TTGIR, 0, 1},
    {"fpsan_homomorphic_casts", FLAG, TTGIR, 0, 1},
    {"instrumentation_mode", TEXT, TTGIR | LLIR | PTX | CUBIN, 0, 0},
    {"min_shared_mem", NUMBER, LLIR, 0, 1 << 20},
    {"enable_reflect_ftz", FLAG, LLIR, 0, 1},
    {"extern_libs", LIBRARIES, LLIR, 0, 0},
    {"ptx_version", NUMBER, LLIR | PTX, 10, 999},
    {"enable_fp_fusion", FLAG, PTX | CUBIN, 0, 1},
    {"sched4reg", FLAG, PTX, 0, 1},
    {"ptx_options", TEXT, CUBIN, 0, 0},
    {"launch_cooperative_grid", FLAG, LAUNCH, 0, 1},
    {"launch_pdl", FLAG, TTGIR | LAUNCH, 0, 1},
    {"debug", FLAG, TTIR, 0, 1},
    {"sanitize_overflow", FLAG, TTIR, 0, 1},
    {"default_dot_input_precision", TEXT, TTIR, 0, 0},
    {"allowed_dot_input_precisions", TEXTS, TTIR, 0, 0},
    {"supported_fp8_dtypes", TEXTS, TTIR, 0, 0},
    {"deprecated_fp8_dtypes", TEXTS, TTIR, 0, 0},
    {"deprecated_fp8_dot_operand_dtypes", TEXTS, TTIR, 0, 0},
    {"max_num_imprecise_acc_default", NUMBER, TTIR, 0, INT32_MAX},
};

static const struct option *find(const char *name) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, name)) return &known[i];
    return NULL;
}

static bool in_range(const struct option *option, const json_t *value) {
    json_int_t number = json_integer_value(value);
    return json_is_integer(value) && number >= option->low && number <= option->high;
}

static bool every(const json_t *list, bool (*fits)(const struct option *, const json_t *),
                  const struct option *option) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!fits(option, json_array_get(list, i))) return false;
    return json_is_array(list);
}

static bool is_text(const struct option *option, const json_t *value) {
    return json_is_string(value);
}

/* [["name", "path"], …] or {"name": "path"} */
static bool is_library(const struct option *option, const json_t *value) {
    return json_array_size(value) == 2 && every(value, is_text, option);
}

static bool fits(const struct option *option, const json_t *value) {
    json_int_t number = json_integer_value(value);
    switch (option->kind) {
    case NUMBER: return json_is_null(value) || in_range(option, value);
    case POWER: return in_range(option, value) && !(number & (number - 1));
    case FLAG: return json_is_boolean(value);
    case TEXT: return json_is_null(value) || json_is_string(value);
    case TEXTS: return every(value, is_text, option);
    case EXTENTS: return json_array_size(value) == 3 && every(value, in_range, option);
    default: return json_is_object(value) || every(value, is_library, option);
    }
}

static const char *expected(const struct option *option) {
    static const char *const words[] = {"an integer in its range", "a power of two in its range",
                                        "true or false",           "a string",
                                        "a list of strings",       "three integers",
                                        "a list of name and path"};
    return words[option->kind];
}

/* The stages made from here on to a loaded kernel. */
static int stages_to_come(tr_stage from) {
    return (LAUNCH << 1) - (1 << (from + 1));
}

static const char *last_reader(const struct option *option) {
    tr_stage stage = TR_STAGE_CUBIN;
    while (stage > TR_STAGE_TTIR && !(option->readers & 1 << stage)) stage--;
    return tr__stage_name(stage);
}

static tr_status check(const tr__job *job, const char *name, const json_t *value, tr_error **error) {
    const struct option *option = find(name);
    if (!strcmp(name, "arch"))
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "option 'arch' is tr_compile_options.arch");
    if (!option)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "option '%.80s' is not one that Triton 3.2 to 3.9 has",
                        name);
    if (!fits(option, value)) {
        char *found = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        tr__fail(error, TR_E_INVALID_ARGUMENT, "option '%s' must be %s, not %.80s", name, expected(option),
                 found ? found : "that");
        free(found);
        return TR_E_INVALID_ARGUMENT;
    }
    if (!(option->readers & stages_to_come(job->program->stage)))
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "option '%s' is baked in: %s is where it is read, and kernel '%s' is past that, at %s", name,
            last_reader(option), tr_program_kernel(job->program), tr__stage_name(job->program->stage));
    return TR_OK;
}

static tr_status parse(tr__job *job, tr_error **error) {
    const char *text = job->given.options;
    tr_status status = tr__json_read(text, strlen(text), "tr_compile_options.options", TR_E_INVALID_ARGUMENT,
                                     &job->asked, error);
    if (status) return status;
    if (!json_is_object(job->asked))
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "tr_compile_options.options must be an object, as {\"num_warps\": 8}");
    return TR_OK;
}

static tr_status check_environment(const tr__job *job, tr_error **error) {
    const char *const *at = job->given.environment;
    for (; at && *at; at++)
        if (**at == '=' || !strchr(*at, '='))
            return tr__fail(error, TR_E_INVALID_ARGUMENT,
                            "tr_compile_options.environment: '%.80s' is not NAME=value", *at);
    return TR_OK;
}

tr_status tr__job_read_options(tr__job *job, tr_error **error) {
    const char *name;
    json_t *value;
    int to_come = stages_to_come(job->program->stage);
    tr_status status = check_environment(job, error);
    if (!status && job->given.options && *job->given.options) status = parse(job, error);
    if (status) return status;
    job->options = json_object();
    if (!job->options) return tr__fail_out_of_memory(error);
    json_object_foreach(job->program->record->options, name, value) {
        const struct option *option = find(name);
        if (option && (option->readers & to_come) && json_object_set(job->options, name, value))
            return tr__fail_out_of_memory(error);
    }
    json_object_foreach(job->asked, name, value) {
        status = check(job, name, value, error);
        if (status) return status;
        if (json_object_set(job->options, name, value)) return tr__fail_out_of_memory(error);
    }
    return TR_OK;
}
