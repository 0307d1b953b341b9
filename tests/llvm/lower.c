/* lower LIBEXEC < lines "ARCH METADATA.json IN.llir OUT.ptx": llir → PTX as the library does it, in this process.
   Prints a line for each that fails, and exits with 1 if one did. */
#include "base/file.h"
#include "compilers/native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tr_status lower(tr__native *native, char *fields[4], tr_error **error) {
    tr__compile_request request = {.from = TR_STAGE_LLIR, .to = TR_STAGE_PTX, .arch = fields[0]};
    json_t *metadata = json_load_file(fields[1], 0, NULL);
    request.metadata = metadata;
    tr__blob *source = NULL;
    tr__compile_result result = {.log = NULL};
    tr_status status = tr__file_read(fields[2], 1 << 28, &source, error);
    request.source = source;
    if (!status) status = tr__native_compile(native, &request, true, &result, error);
    const tr__blob *ptx = result.stages[TR_STAGE_PTX];
    if (!status) status = tr__file_write(fields[3], ptx->data, ptx->size, error);
    tr__compile_result_release(&result);
    tr__blob_release(source);
    json_decref(metadata);
    return status;
}

int main(int argc, char **argv) {
    char plugin[4096], line[16384];
    tr__native *native;
    if (argc != 2) return 2;
    snprintf(plugin, sizeof plugin, "%s/%s", argv[1], TR__PLUGIN_FILE);
    if (tr__native_create("", plugin, &native, NULL)) return 2;
    int failed = 0;
    while (fgets(line, sizeof line, stdin)) {
        char *fields[4] = {NULL}, *rest = line;
        for (int i = 0; i < 4; i++) fields[i] = strsep(&rest, " \n");
        tr_error *error = NULL;
        if (fields[3] && !lower(native, fields, &error)) continue;
        printf("%s: %s\n", fields[2], tr_error_message(error));
        tr_error_destroy(error);
        failed = 1;
    }
    tr__native_destroy(native);
    return failed;
}
