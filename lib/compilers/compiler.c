#include "compilers/compiler.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void tr__compile_result_release(tr__compile_result *result) {
    for (int stage = 0; stage < TR__STAGES; stage++) tr__blob_release(result->stages[stage]);
    json_decref(result->metadata);
    json_decref(result->extra);
    free(result->log);
    free(result->maker);
    *result = (tr__compile_result){0};
}

const json_t *tr__compile_option(const tr__compile_request *request, const char *name) {
    const json_t *value = json_object_get(request->options, name);
    return value ? value : json_object_get(request->metadata, name);
}

tr_status tr__compile_check_arch(const tr__compile_request *request, tr_error **error) {
    const char *arch = request->arch;
    if (arch && !strncmp(arch, "sm_", 3) && isdigit((unsigned char)arch[3])) return TR_OK;
    return tr__fail(error, TR_E_INVALID_ARGUMENT, "an architecture is wanted, like \"sm_90\"; \"%s\" is none",
                    arch ? arch : "");
}

const char *tr__compile_suffix(const char *arch) {
    size_t length = strlen(arch);
    bool bare = length > 3 && isdigit((unsigned char)arch[length - 1]);
    return bare && atoi(arch + 3) >= 90 ? "a" : "";
}
