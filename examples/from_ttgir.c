/* Start at ttgir, from memory: edit the text by hand or by program, then run what came of it. Here the
   example turns every addition of the vector add into a subtraction. */
#include "example.h"

#include <math.h>
#include <string.h>

enum { N = 4096, BLOCK = 1024 };
static float x[N], y[N], out[N];

static char *read_all(const char *path) {
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 16);
    if (!file || !text || !fread(text, 1, (1 << 16) - 1, file)) perror(path), exit(EXIT_FAILURE);
    fclose(file);
    return text;
}

int main(void) {
    char *text = read_all(KERNELS "/stages/sm_89/vector_add.ttgir");
    char *json = read_all(KERNELS "/stages/sm_89/vector_add.json");
    for (char *at = text; (at = strstr(at, "arith.addf")); at++) memcpy(at, "arith.subf", 10);

    tr_runner *runner = open_runner();
    tr_program *program;
    tr_kernel *kernel;
    tr_error *error;
    tr_load_options load = TR_LOAD_OPTIONS_INIT;
    load.data = text;
    load.size = strlen(text);
    load.metadata = json;
    check(tr_load_stage(runner, TR_STAGE_TTGIR, "edited.ttgir", &load, &program, &error), &error);
    check(tr_kernel_create(program, &kernel, &error), &error);

    for (int i = 0; i < N; i++) x[i] = (float)i, y[i] = 3;
    uint64_t device_x = upload(runner, x, sizeof x), device_y = upload(runner, y, sizeof y),
             device_out = upload(runner, out, sizeof out);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = N / BLOCK;
    const tr_arg args[] = {tr_arg_ptr(device_x), tr_arg_ptr(device_y), tr_arg_ptr(device_out), tr_arg_i32(N)};
    check(tr_launch(kernel, &config, args, 4, &error), &error);
    download(runner, out, device_out, sizeof out);

    double largest = 0;
    for (int i = 0; i < N; i++) largest = larger(largest, fabs(out[i] - ((double)x[i] - y[i])));
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    free(json);
    free(text);
    return report("edited vector_add from ttgir", largest, 0.0);
}
