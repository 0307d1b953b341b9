/* Start at PTX: the JSON beside the file says what the text can't, such as shared memory and promises. */
#include "example.h"

#include <math.h>

enum { N = 1000000, BLOCK = 1024 };
static float x[N], y[N], out[N];

int main(int argc, char **argv) {
    tr_runner *runner = open_runner();
    tr_program *program;
    tr_kernel *kernel;
    tr_error *error;
    const char *path = argc > 1 ? argv[1] : KERNELS "/stages/sm_89/vector_add.ptx";
    check(tr_load_stage(runner, TR_STAGE_AUTO, path, NULL, &program, &error), &error);
    check(tr_kernel_create(program, &kernel, &error), &error);

    for (int i = 0; i < N; i++) x[i] = (float)i, y[i] = 0.5f;
    uint64_t device_x = upload(runner, x, sizeof x), device_y = upload(runner, y, sizeof y),
             device_out = upload(runner, out, sizeof out);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = (N + BLOCK - 1) / BLOCK;
    const tr_arg args[] = {tr_arg_ptr(device_x), tr_arg_ptr(device_y), tr_arg_ptr(device_out), tr_arg_i32(N)};
    check(tr_launch(kernel, &config, args, 4, &error), &error);
    download(runner, out, device_out, sizeof out);

    double largest = 0;
    for (int i = 0; i < N; i++) largest = larger(largest, fabs(out[i] - ((double)x[i] + y[i])));
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    return report("vector_add from ptx", largest, 0.0);
}
