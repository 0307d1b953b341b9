/* loaded DEVICE FILE: the milliseconds from main() to a loaded kernel. From a cubin, or from PTX on the CPU device, that
   takes no compiler: the process must have opened neither Python nor LLVM, and talk to no other process. */
#include "bench.h"

#include <triton_runner.h>

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_mapped(const char *name) {
    char line[4352];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps)) found = found || strstr(line, name);
    if (maps) fclose(maps);
    return found;
}

static bool has_socket(void) {
    DIR *folder = opendir("/proc/self/fd");
    bool found = false;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char target[64] = "";
        found = found || (readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1) > 0 &&
                          !strncmp(target, "socket:", 7));
    }
    if (folder) closedir(folder);
    return found;
}

int main(int count, char **arguments) {
    double begun = bench_now();
    if (count != 3) return fprintf(stderr, "usage: loaded DEVICE FILE\n"), 2;
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.device = arguments[1];
    tr_runner *runner = NULL;
    tr_program *program = NULL;
    tr_kernel *kernel = NULL;
    tr_error *error = NULL;
    tr_status status = tr_runner_create(&options, &runner, &error);
    if (!status) status = tr_load_stage(runner, TR_STAGE_AUTO, arguments[2], NULL, &program, &error);
    if (!status) status = tr_kernel_create(program, &kernel, &error);
    double milliseconds = (bench_now() - begun) * 1e-6;
    if (status) return fprintf(stderr, "%s: %s\n", tr_status_name(status), tr_error_message(error)), 1;
    if (has_mapped("libtriton_runner_llvm") || has_mapped("libpython") || has_socket())
        return fprintf(stderr, "a compiler was opened\n"), 1;
    printf("%.3f\n", milliseconds);
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    return 0;
}
