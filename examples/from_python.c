/* Start at Python: a signature says what the arguments are; Triton compiles in a process of its own. */
#include "example.h"

#include <math.h>

enum { ROWS = 64, COLUMNS = 781 };
static float x[ROWS][COLUMNS], out[ROWS][COLUMNS];

static double softmax_error(void) {
    double largest = 0;
    for (int row = 0; row < ROWS; row++) {
        double peak = -INFINITY, sum = 0;
        for (int i = 0; i < COLUMNS; i++) peak = fmax(peak, x[row][i]);
        for (int i = 0; i < COLUMNS; i++) sum += exp(x[row][i] - peak);
        for (int i = 0; i < COLUMNS; i++)
            largest = larger(largest, fabs(out[row][i] - exp(x[row][i] - peak) / sum));
    }
    return largest;
}

int main(void) {
    tr_runner *runner = open_runner();
    tr_program *program;
    tr_kernel *kernel;
    tr_error *error;
    tr_load_options load = TR_LOAD_OPTIONS_INIT;
    load.kernel = "softmax";
    load.signature = "*fp32:16, *fp32:16, i32, i32, i32, 1024"; /* 1024: BLOCK, compiled in, not passed */
    check(tr_load_stage(runner, TR_STAGE_PYTHON, KERNELS "/softmax.py", &load, &program, &error), &error);
    check(tr_kernel_create(program, &kernel, &error), &error); /* compiles for the device it finds */

    for (int i = 0; i < ROWS * COLUMNS; i++) x[i / COLUMNS][i % COLUMNS] = sinf((float)i) * 10;
    uint64_t device_x = upload(runner, x, sizeof x), device_out = upload(runner, out, sizeof out);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = ROWS;
    const tr_arg args[] = {tr_arg_ptr(device_x), tr_arg_ptr(device_out), tr_arg_i32(COLUMNS),
                           tr_arg_i32(COLUMNS), tr_arg_i32(COLUMNS)};
    check(tr_launch(kernel, &config, args, 5, &error), &error);
    download(runner, out, device_out, sizeof out);
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    return report("softmax from python", softmax_error(), 1e-7);
}
