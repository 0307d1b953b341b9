/* Option structs that grow: each begins with struct_size, which says how much of it the caller knows. */
#ifndef TR_BASE_OPTIONS_H
#define TR_BASE_OPTIONS_H

#include "base/error.h"

/* Copies what the caller knows of `in` into `out`, `size` bytes, and zeroes the rest; in NULL, or all zero, is all
   defaults. What the caller knows beyond `size` must be zero: TR_E_UNSUPPORTED. */
tr_status tr__options_read(void *out, size_t size, const void *in, const char *name, tr_error **error);

#endif
