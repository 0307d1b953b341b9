#include "compilers/compiler.h"

#include <stdlib.h>

void tr__compile_result_release(tr__compile_result *result) {
    for (int stage = 0; stage < TR__STAGES; stage++) tr__blob_release(result->stages[stage]);
    json_decref(result->metadata);
    json_decref(result->extra);
    free(result->log);
    free(result->maker);
    *result = (tr__compile_result){0};
}
