/* Start at ttir: it can still be compiled with other options. Here: the same kernel with 1, 4 and 8 warps. */
#include "example.h"

#include <math.h>
#include <string.h>

enum { N = 100000, BLOCK = 1024 };
static float x[N], y[N], out[N];

static double run(tr_runner *runner, const tr_program *ttir, int warps) {
    char options[32];
    snprintf(options, sizeof options, "{\"num_warps\": %d}", warps);
    tr_compile_options compile = TR_COMPILE_OPTIONS_INIT;
    compile.options = options;
    tr_program *ptx;
    tr_kernel *kernel;
    tr_error *error;
    check(tr_compile_to(ttir, TR_STAGE_PTX, &compile, &ptx, &error), &error);
    check(tr_kernel_create(ptx, &kernel, &error), &error);

    memset(out, 0, sizeof out);
    uint64_t device_x = upload(runner, x, sizeof x), device_y = upload(runner, y, sizeof y),
             device_out = upload(runner, out, sizeof out);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = (N + BLOCK - 1) / BLOCK;
    const tr_arg args[] = {tr_arg_ptr(device_x), tr_arg_ptr(device_y), tr_arg_ptr(device_out), tr_arg_i32(N)};
    check(tr_launch(kernel, &config, args, 4, &error), &error);
    download(runner, out, device_out, sizeof out);
    tr_kernel_destroy(kernel);
    tr_program_destroy(ptx);

    double largest = 0;
    for (int i = 0; i < N; i++) largest = larger(largest, fabs(out[i] - ((double)x[i] + y[i])));
    printf("%d warps: largest error %g\n", warps, largest);
    return largest;
}

int main(void) {
    tr_runner *runner = open_runner();
    tr_program *ttir;
    tr_error *error;
    check(tr_load_stage(runner, TR_STAGE_AUTO, KERNELS "/stages/sm_89/vector_add.ttir", NULL, &ttir, &error),
          &error);
    for (int i = 0; i < N; i++) x[i] = (float)i, y[i] = 0.25f;
    double largest = larger(run(runner, ttir, 1), larger(run(runner, ttir, 4), run(runner, ttir, 8)));
    tr_program_destroy(ttir);
    tr_runner_destroy(runner);
    return report("vector_add from ttir", largest, 0.0);
}
