#include "base/buffer.h"
#include "compilers/ptxas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How each Triton calls ptxas: from 13.0 on the flags are part of the cubin's bytes, so their order counts
   too. */
typedef struct manner {
    uint32_t since;          /* of Triton: 305 for 3.5 */
    bool keeps_line_info;    /* without line information: it is still read, then suppressed */
    bool debugs_unoptimised; /* DISABLE_PTXAS_OPT asks for full debug information too */
    bool takes_options;      /* "ptx_options" */
    bool limits_register_allocation;
    bool tames_sanitizers; /* instrumented kernels get --opt-level 1 */
} manner;

static const manner manners[] = {
    {302, false, false, false, false, false}, {303, true, false, false, false, false},
    {304, true, false, true, false, false},   {305, true, true, true, false, false},
    {307, true, true, true, true, false},     {308, true, true, true, true, true}};
static const manner plain = {0, true, true, true, false, false}; /* nobody says which Triton */

enum { FLAGS_MAX = 64 };
/* Memory, both: nothing on disk to leave behind. As long as the names that Triton gives, "/tmp/tmpXXXXXXXX.ptx" and
   that with ".o": for sm_100 the bytes depend on where ptxas's memory lies, and that on these lengths. */
#define SOURCE "/proc/self/fd//////0"
#define CUBIN  "/proc/self/fd////////3"

static const manner *find_manner(const char *version) {
    uint32_t release = tr__ptxas_release(version);
    const manner *found = &plain;
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++)
        if (release >= manners[i].since) found = &manners[i];
    return found;
}

static bool is_set(const tr__compile_request *request, const char *name) {
    static const char *const truths[] = {"1", "true", "on", "yes", "y"};
    size_t length = strlen(name);
    for (const char *const *at = request->environment; at && *at; at++) {
        if (strncmp(*at, name, length) != 0 || (*at)[length] != '=') continue;
        for (size_t i = 0; i < sizeof truths / sizeof *truths; i++)
            if (!strcasecmp(*at + length + 1, truths[i])) return true;
        return false;
    }
    return false;
}

typedef struct command {
    const char *flags[FLAGS_MAX + 1];
    size_t count;
    char *options; /* what ptx_options says, cut at its blanks */
    char gpu_name[40];
} command;

static void add(command *command, const char *flag) {
    if (command->count < FLAGS_MAX) command->flags[command->count++] = flag;
}

static void add_debug_flags(command *command, const tr__compile_request *request, const manner *manner) {
    bool optimised = !is_set(request, "DISABLE_PTXAS_OPT");
    if (is_set(request, "TRITON_DISABLE_LINE_INFO")) {
        if (!manner->keeps_line_info) return;
        add(command, "-lineinfo");
        add(command, "-suppress-debug-info");
    } else {
        add(command, optimised || !manner->debugs_unoptimised ? "-lineinfo" : "-g");
    }
}

static bool add_options(command *command, const char *options) {
    if (!options || !*options) return true;
    command->options = strdup(options);
    if (!command->options) return false;
    char *rest = command->options;
    for (char *option; (option = strsep(&rest, " "));)
        if (*option) add(command, option);
    return true;
}

static bool is_sanitized(const tr__compile_request *request) {
    const char *mode = json_string_value(tr__compile_option(request, "instrumentation_mode"));
    return mode && (strstr(mode, "consan") || strstr(mode, "fpsan"));
}

static bool make_command(command *command, const tr__compile_request *request, const manner *manner,
                         const char *program) {
    bool optimised = !is_set(request, "DISABLE_PTXAS_OPT");
    add(command, program);
    add_debug_flags(command, request, manner);
    if (json_is_false(tr__compile_option(request, "enable_fp_fusion"))) add(command, "--fmad=false");
    add(command, "-v");
    if (!optimised) add(command, "--opt-level"), add(command, "0");
    if (manner->limits_register_allocation) add(command, "--regAllocOptLevel=2");
    const char *options = json_string_value(tr__compile_option(request, "ptx_options"));
    if (manner->takes_options && !add_options(command, options)) return false;
    if (manner->tames_sanitizers && optimised && is_sanitized(request))
        add(command, "--opt-level"), add(command, "1");
    snprintf(command->gpu_name, sizeof command->gpu_name, "--gpu-name=%s%s", request->arch,
             tr__compile_suffix(request->arch));
    add(command, command->gpu_name);
    add(command, SOURCE);
    add(command, "-o");
    add(command, CUBIN);
    return true;
}

/* What ptxas said, under the source's own name. */
static char *rename_source(const char *text, const char *name) {
    tr__buffer renamed = {0};
    for (const char *at; (at = strstr(text, SOURCE)); text = at + strlen(SOURCE)) {
        tr__buffer_append(&renamed, text, (size_t)(at - text));
        tr__buffer_puts(&renamed, name);
    }
    tr__buffer_puts(&renamed, text);
    return tr__buffer_take(&renamed);
}

/* Which of its errors is the first, instead of its exit status. */
static void explain(const tr__ptxas_tool *tool, const char *log, const char *name, tr_error **error) {
    char *reason = tr__ptxas_first_error(log, name);
    if (reason) tr__fail(error, TR_E_COMPILE, "%s (ptxas %s)", reason, tool->version);
    free(reason);
}

static tr_status finish(const tr__compile_request *request, const tr__ptxas_tool *tool, tr__buffer *log,
                        tr__compile_result *result, tr_status status, tr_error **error) {
    const char *name = request->path ? request->path : "kernel.ptx";
    char *said = rename_source(result->log ? result->log : "", name);
    tr__buffer_puts(log, said ? said : "");
    if (!said || log->failed) {
        free(said);
        return status ? status : tr__fail_out_of_memory(error);
    }
    free(said);
    free(result->log);
    result->log = log->size ? tr__buffer_take(log) : NULL;
    const char *text = result->log ? result->log : "";
    if (status == TR_E_COMPILE) explain(tool, text, name, error);
    tr__blob **cubin = &result->stages[TR_STAGE_CUBIN];
    if (!status && !(*cubin)->size) {
        tr__blob_release(*cubin);
        *cubin = NULL;
        status = tr__fail(error, TR_E_COMPILE, "%s ended well but wrote no cubin", tool->path);
    }
    if (!status) result->extra = tr__ptxas_usage(text, request->kernel);
    free(result->maker);
    if (asprintf(&result->maker, "ptxas %s", tool->version) < 0) {
        result->maker = NULL;
        if (!status) status = tr__fail_out_of_memory(error);
    }
    if (status) tr__error_set_log(error, text, strlen(text));
    return status;
}

static tr_status run_tool(tr__native *native, const tr__compile_request *request, const tr__ptxas_tool *tool,
                          const char *version, tr__compile_result *result, tr_error **error) {
    command command = {.count = 0};
    tr__buffer log = {0};
    tr__blob *source = NULL;
    tr_status status = tr__ptx_readable(request->source, tool->ptx_version, &log, &source, error);
    if (!status && !make_command(&command, request, find_manner(version), tool->path))
        status = tr__fail_out_of_memory(error);
    if (!status) {
        tr__compile_request asked = *request;
        asked.source = source;
        asked.options = asked.metadata = NULL; /* they are in the flags */
        asked.environment = NULL;
        status = tr__native_execute(native, &asked, command.flags, result, error);
        status = finish(request, tool, &log, result, status, error);
    }
    tr__buffer_release(&log);
    tr__blob_release(source);
    free(command.options);
    return status;
}

tr_status tr__ptxas_compile(tr__native *native, const tr__compile_request *request,
                            const tr__ptxas_triton *triton, tr__compile_result *result, tr_error **error) {
    tr__ptxas_tool tool;
    tr_status status = tr__compile_check_arch(request, error);
    if (status) return status;
    status = tr__ptxas_find(native, request->arch, triton, request->environment, NULL, &tool, error);
    if (!status) {
        const char *version = triton ? triton->version : NULL;
        if (!version) version = json_string_value(tr__compile_option(request, "triton_version"));
        status = run_tool(native, request, &tool, version, result, error);
        tr__ptxas_tool_release(&tool);
    }
    tr__error_set_stage(error, TR_STAGE_CUBIN);
    return status;
}
