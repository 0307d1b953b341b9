#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tr_error {
    tr_status status;
    tr_stage stage;
    int32_t driver_code;
    bool is_static;
    char *message;
    char *log; /* NULL: none */
};

static struct tr_error out_of_memory = {
    .status = TR_E_OUT_OF_MEMORY, .is_static = true, .message = (char *)"out of memory"};

tr_status tr__fail_out_of_memory(tr_error **error) {
    if (error) {
        tr_error_destroy(*error);
        *error = &out_of_memory;
    }
    return TR_E_OUT_OF_MEMORY;
}

/* Names come from files: none may begin a line of a log, or speak to a terminal. */
static void in_one_line(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 127) *text = ' ';
}

tr_status tr__fail(tr_error **error, tr_status status, const char *format, ...) {
    if (!error) return status;
    tr_error *made = calloc(1, sizeof *made);
    if (!made) return tr__fail_out_of_memory(error), status;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&made->message, format, arguments);
    va_end(arguments);
    if (length < 0) {
        free(made);
        return tr__fail_out_of_memory(error), status;
    }
    in_one_line(made->message);
    made->status = status;
    tr_error_destroy(*error);
    *error = made;
    return status;
}

static void put_before(tr_error *error, const char *prefix, const char *between) {
    char *message = NULL;
    if (asprintf(&message, "%s%s%s", prefix, between, error->message) < 0) return;
    in_one_line(message);
    free(error->message);
    error->message = message;
}

void tr__error_prefix(tr_error **error, const char *format, ...) {
    if (!error || !*error || (*error)->is_static) return;
    char *prefix = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&prefix, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    put_before(*error, prefix, ": ");
    free(prefix);
}

void tr__error_locate(tr_error **error, const char *file) {
    if (!error || !*error || (*error)->is_static) return;
    char first = (*error)->message[0];
    put_before(*error, file, first >= '0' && first <= '9' ? ":" : ": ");
}

void tr__error_set_stage(tr_error **error, tr_stage stage) {
    if (error && *error && !(*error)->is_static) (*error)->stage = stage;
}

void tr__error_set_log(tr_error **error, const char *log, size_t size) {
    if (!error || !*error || (*error)->is_static) return;
    char *copy = strndup(log ? log : "", log ? size : 0);
    if (!copy) return;
    free((*error)->log);
    (*error)->log = copy;
}

void tr__error_set_driver_code(tr_error **error, int32_t code) {
    if (error && *error && !(*error)->is_static) (*error)->driver_code = code;
}

tr_status tr__error_status(const tr_error *error) {
    return error ? error->status : TR_OK;
}

const char *tr_error_message(const tr_error *error) {
    return error ? error->message : "";
}

const char *tr_error_log(const tr_error *error) {
    return error && error->log ? error->log : "";
}

tr_stage tr_error_stage(const tr_error *error) {
    return error ? error->stage : TR_STAGE_AUTO;
}

int32_t tr_error_driver_code(const tr_error *error) {
    return error ? error->driver_code : 0;
}

void tr_error_destroy(tr_error *error) {
    if (!error || error->is_static) return;
    free(error->message);
    free(error->log);
    free(error);
}

const char *tr_status_name(tr_status status) {
    switch (status) {
    case TR_OK: return "TR_OK";
    case TR_E_INVALID_ARGUMENT: return "TR_E_INVALID_ARGUMENT";
    case TR_E_OUT_OF_MEMORY: return "TR_E_OUT_OF_MEMORY";
    case TR_E_UNSUPPORTED: return "TR_E_UNSUPPORTED";
    case TR_E_IO: return "TR_E_IO";
    case TR_E_SEALED: return "TR_E_SEALED";
    case TR_E_PARSE: return "TR_E_PARSE";
    case TR_E_COMPILE: return "TR_E_COMPILE";
    case TR_E_COMPILER_MISSING: return "TR_E_COMPILER_MISSING";
    case TR_E_COMPILER_CRASHED: return "TR_E_COMPILER_CRASHED";
    case TR_E_TIMEOUT: return "TR_E_TIMEOUT";
    case TR_E_CANCELLED: return "TR_E_CANCELLED";
    case TR_E_SIGNATURE: return "TR_E_SIGNATURE";
    case TR_E_RESOURCE: return "TR_E_RESOURCE";
    case TR_E_DRIVER_MISSING: return "TR_E_DRIVER_MISSING";
    case TR_E_DRIVER: return "TR_E_DRIVER";
    case TR_E_MEMORY_FAULT: return "TR_E_MEMORY_FAULT";
    case TR_E_STICKY: return "TR_E_STICKY";
    default: return "unknown status";
    }
}

uint32_t tr_version(void) {
    return TR_VERSION_MAJOR << 16 | TR_VERSION_MINOR << 8 | TR_VERSION_PATCH;
}

void tr_free(void *memory) {
    free(memory);
}
