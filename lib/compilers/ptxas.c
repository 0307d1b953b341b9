#include "compilers/ptxas.h"
#include "compilers/peer.h"
#include "compilers/spawn.h"
#include "compilers/wire.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How each Triton calls ptxas: from 13.0 on the flags are part of the cubin's bytes, so their order counts
 * too. */
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
#define SOURCE "/proc/self/fd/0" /* files 0 and 3 are memory: nothing on disk to leave behind */
#define CUBIN  "/proc/self/fd/3"

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
        if (strncmp(*at, name, length) || (*at)[length] != '=') continue;
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

/* Where the digits of the `.version` line are; NULL: there is none among the first lines. */
static const char *find_version(const tr__blob *source, size_t *length) {
    for (const char *line = source->data; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *at = line + strspn(line, " \t");
        if (strncmp(at, ".version", 8)) {
            if (*at && strncmp(at, "//", 2) && !isspace((unsigned char)*at)) return NULL;
            continue;
        }
        at += 8;
        at += strspn(at, " \t");
        *length = strspn(at, "0123456789.");
        return at;
    }
    return NULL;
}

/* The PTX as the tool can read it: a version newer than its own is often only a matter of that line. */
static tr_status write_source(int file, const tr__blob *source, const tr__ptxas_tool *tool, tr__buffer *log,
                              tr_error **error) {
    tr__buffer text = {0};
    size_t length = 0;
    const char *version = find_version(source, &length);
    unsigned major = 0, minor = 0;
    bool known = version && sscanf(version, "%u.%u", &major, &minor) == 2;
    if (known && major * 10 + minor > tool->ptx_version) {
        size_t before = (size_t)(version - source->data), after = before + length;
        tr__buffer_append(&text, source->data, before);
        tr__buffer_printf(&text, "%u.%u", tool->ptx_version / 10, tool->ptx_version % 10);
        tr__buffer_append(&text, source->data + after, source->size - after);
        tr__buffer_printf(log, ".version %u.%u is read as %u.%u, the newest that ptxas %s knows\n", major,
                          minor, tool->ptx_version / 10, tool->ptx_version % 10, tool->version);
    }
    const char *data = text.data ? text.data : source->data;
    size_t left = text.data ? text.size : source->size;
    tr_status status = text.failed ? tr__fail_out_of_memory(error) : TR_OK;
    while (left && !status) {
        ssize_t put = write(file, data, left);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0)
            status = tr__fail(error, TR_E_IO, "cannot hand the PTX to ptxas: %s", strerror(errno));
        else
            data += put, left -= (size_t)put;
    }
    tr__buffer_release(&text);
    return status;
}

static tr_status read_cubin(int file, tr__blob **out, tr_error **error) {
    struct stat info;
    if (fstat(file, &info)) return tr__fail(error, TR_E_IO, "cannot read the cubin: %s", strerror(errno));
    if (!info.st_size) return tr__fail(error, TR_E_COMPILE, "ptxas ended well but wrote no cubin");
    tr__blob *cubin = tr__blob_allocate((size_t)info.st_size);
    if (!cubin) return tr__fail_out_of_memory(error);
    if (pread(file, cubin->data, cubin->size, 0) != info.st_size) {
        tr__blob_release(cubin);
        return tr__fail(error, TR_E_IO, "cannot read the cubin");
    }
    tr__blob_seal(cubin);
    *out = cubin;
    return TR_OK;
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

static tr_status explain(const tr__ptxas_run *run, const tr__ptxas_tool *tool, const char *log,
                         const char *name, tr_error **error) {
    if (WIFSIGNALED(run->status)) {
        char how[96];
        tr__spawn_describe(run->status, how, sizeof how);
        return tr__fail(error, TR_E_COMPILER_CRASHED, "%s (%s) crashed %s", tool->path, tool->version, how);
    }
    char *reason = tr__ptxas_first_error(log, name);
    tr_status status =
        tr__fail(error, TR_E_COMPILE, "%s (ptxas %s)", reason ? reason : "ptxas failed", tool->version);
    free(reason);
    return status;
}

static tr_status run_tool(const tr__compile_request *request, const tr__ptxas_tool *tool, command *command,
                          int source, int cubin, tr__compile_result *result, tr_error **error) {
    tr__buffer log = {0};
    tr_status status = write_source(source, request->source, tool, &log, error);
    tr__ptxas_run run = {.argv = command->flags,
                         .source = source,
                         .cubin = cubin,
                         .request = request,
                         .timeout_ms = request->timeout_ms ? request->timeout_ms : TR__PEER_TIMEOUT_MS,
                         .log = &log};
    if (!status) {
        status = tr__ptxas_execute(&run, error);
        if (status) tr__error_prefix(error, "%s", tool->path);
    }
    const char *name = request->path ? request->path : "kernel.ptx";
    if (log.data && !(result->log = rename_source(log.data, name))) status = tr__fail_out_of_memory(error);
    tr__buffer_release(&log);
    const char *said = result->log ? result->log : "";
    if (!status && run.status) status = explain(&run, tool, said, name, error);
    if (!status) status = read_cubin(cubin, &result->stages[TR_STAGE_CUBIN], error);
    if (!status) result->extra = tr__ptxas_usage(said, request->kernel);
    if (status && result->log) tr__error_set_log(error, result->log, strlen(result->log));
    return status;
}

static tr_status compile(const tr__compile_request *request, const tr__ptxas_tool *tool, const char *version,
                         tr__compile_result *result, tr_error **error) {
    command command = {.count = 0};
    int source = memfd_create("kernel.ptx", MFD_CLOEXEC), cubin = memfd_create("kernel.cubin", MFD_CLOEXEC);
    tr_status status = TR_OK;
    if (source < 0 || cubin < 0)
        status = tr__fail(error, TR_E_IO, "memfd_create: %s", strerror(errno));
    else if (!make_command(&command, request, find_manner(version), tool->path))
        status = tr__fail_out_of_memory(error);
    else
        status = run_tool(request, tool, &command, source, cubin, result, error);
    if (source >= 0) close(source);
    if (cubin >= 0) close(cubin);
    free(command.options);
    if (!status && asprintf(&result->maker, "ptxas %s", tool->version) < 0) {
        result->maker = NULL;
        status = tr__fail_out_of_memory(error);
    }
    return status;
}

tr_status tr__ptxas_compile(const tr__compile_request *request, const tr__ptxas_triton *triton,
                            tr__compile_result *result, tr_error **error) {
    tr__ptxas_tool tool;
    int64_t begun = tr__clock_ns();
    if (!request->arch || strncmp(request->arch, "sm_", 3))
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "ptxas needs an architecture like \"sm_90\"");
    tr_status status = tr__ptxas_find(request->arch, triton, request->environment, &tool, error);
    if (!status) {
        const char *version = triton ? triton->version : NULL;
        if (!version) version = json_string_value(tr__compile_option(request, "triton_version"));
        status = compile(request, &tool, version, result, error);
        result->seconds[TR_STAGE_CUBIN] = (double)(tr__clock_ns() - begun) * 1e-9;
        tr__ptxas_tool_release(&tool);
    }
    tr__error_set_stage(error, TR_STAGE_CUBIN);
    return status;
}
