/* Start at a cubin: nothing is compiled and nothing but the driver is opened. It runs on the architecture it
   was made for, and on no other: without such a GPU this example says so and exits with 77. */
#include "example.h"

#include <math.h>

enum { N = 1 << 20, BLOCK = 1024 };
static float x[N], y[N], out[N];

int main(int argc, char **argv) {
    tr_runner *runner;
    tr_program *program;
    tr_kernel *kernel;
    tr_error *error;
    const char *path = argc > 1 ? argv[1] : KERNELS "/stages/sm_90/vector_add.cubin";
    check(tr_runner_create(NULL, &runner, &error), &error);
    check(tr_load_stage(runner, TR_STAGE_CUBIN, path, NULL, &program, &error), &error);
    tr_status status = tr_kernel_create(program, &kernel, &error);
    if (status == TR_E_DRIVER_MISSING || status == TR_E_UNSUPPORTED) {
        printf("skipped: %s\n", tr_error_message(error));
        tr_error_destroy(error);
        tr_program_destroy(program);
        tr_runner_destroy(runner);
        return 77;
    }
    check(status, &error);

    for (int i = 0; i < N; i++) x[i] = (float)i, y[i] = 2;
    uint64_t device_x = upload(runner, x, sizeof x), device_y = upload(runner, y, sizeof y),
             device_out = upload(runner, out, sizeof out);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = N / BLOCK;
    const tr_arg args[] = {tr_arg_ptr(device_x), tr_arg_ptr(device_y), tr_arg_ptr(device_out), tr_arg_i32(N)};
    check(tr_launch(kernel, &config, args, 4, &error), &error);
    download(runner, out, device_out, sizeof out);

    double largest = 0;
    for (int i = 0; i < N; i++) largest = larger(largest, fabs(out[i] - ((double)x[i] + y[i])));
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    return report("vector_add from cubin", largest, 0.0);
}
