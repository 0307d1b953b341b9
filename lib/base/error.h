/* Why a call failed. The status is the contract; the object says what happened, where, and what to do. */
#ifndef TR_BASE_ERROR_H
#define TR_BASE_ERROR_H

#include "triton_runner.h"

/* Each of these tolerates error == NULL: a caller who does not ask gets the status alone. */

/* Makes the error object and returns `status`, so that a failing function ends in `return tr__fail(...)`.
   An error already there is replaced. */
__attribute__((format(printf, 3, 4))) tr_status tr__fail(tr_error **error, tr_status status,
                                                         const char *format, ...);

/* TR_E_OUT_OF_MEMORY without allocating: the object is static and tr_error_destroy leaves it alone. */
tr_status tr__fail_out_of_memory(tr_error **error);

/* Puts "<formatted>: " before the message already there; for the caller who knows the larger picture. */
__attribute__((format(printf, 2, 3))) void tr__error_prefix(tr_error **error, const char *format, ...);

/* The same with a file's name; a message that begins with "line:column" makes "file:line:column" with it. */
void tr__error_locate(tr_error **error, const char *file);

/* Details of an error already there; without one nothing happens. */
void tr__error_set_stage(tr_error **error, tr_stage stage);
void tr__error_set_log(tr_error **error, const char *log, size_t size);
void tr__error_set_driver_code(tr_error **error, int32_t code);

tr_status tr__error_status(const tr_error *error); /* TR_OK for NULL */

/* What every public call does first. */
static inline void tr__error_clear(tr_error **error) {
    if (error) *error = NULL;
}

/* For the caller who has another way. */
static inline void tr__error_forget(tr_error **error) {
    if (error) tr_error_destroy(*error);
    tr__error_clear(error);
}

#endif
