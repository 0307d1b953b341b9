#include "base/options.h"

#include <string.h>

enum { SIZE_MOST = 4096 }; /* more is no struct of ours in any release to come */

tr_status tr__options_read(void *out, size_t size, const void *in, const char *name, tr_error **error) {
    size_t given = 0;
    memset(out, 0, size);
    if (in) memcpy(&given, in, sizeof given);
    if (given && (given < sizeof given || given > SIZE_MOST))
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "%s.struct_size is %zu: begin with the struct's _INIT",
                        name, given);
    if (given) memcpy(out, in, given < size ? given : size);
    for (size_t i = size; i < given; i++)
        if (((const char *)in)[i])
            return tr__fail(
                error, TR_E_UNSUPPORTED,
                "%s: byte %zu is set, but this version of the library knows only %zu: the caller was built "
                "for a newer one",
                name, i, size);
    memcpy(out, &size, sizeof size);
    return TR_OK;
}
