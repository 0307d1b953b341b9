/* Start at llir, without any Triton: LLVM makes the PTX, and each stage passed can be looked at. */
#include "example.h"

#include <math.h>

enum { ROWS = 32, COLUMNS = 1000 };
static float x[ROWS][COLUMNS], out[ROWS][COLUMNS];

int main(void) {
    tr_runner *runner = open_runner();
    tr_program *llir, *ptx;
    tr_kernel *kernel;
    tr_error *error;
    tr_compile_options compile = TR_COMPILE_OPTIONS_INIT;
    compile.llvm = "llvm";
    check(tr_load_stage(runner, TR_STAGE_AUTO, KERNELS "/stages/sm_89/softmax.llir", NULL, &llir, &error),
          &error);
    check(tr_compile_to(llir, TR_STAGE_PTX, &compile, &ptx, &error), &error);
    const void *text;
    size_t size;
    tr_program_bytes(ptx, &text, &size);
    printf("%zu bytes of PTX for kernel '%s'\n", size, tr_program_kernel(ptx));
    check(tr_kernel_create(ptx, &kernel, &error), &error);

    for (int i = 0; i < ROWS * COLUMNS; i++) x[i / COLUMNS][i % COLUMNS] = (float)(i % 7);
    uint64_t device_x = upload(runner, x, sizeof x), device_out = upload(runner, out, sizeof out);
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    config.grid[0] = ROWS;
    const tr_arg args[] = {tr_arg_ptr(device_x), tr_arg_ptr(device_out), tr_arg_i32(COLUMNS),
                           tr_arg_i32(COLUMNS), tr_arg_i32(COLUMNS)};
    check(tr_launch(kernel, &config, args, 5, &error), &error);
    download(runner, out, device_out, sizeof out);

    double largest = 0;
    for (int row = 0; row < ROWS; row++) {
        double sum = 0;
        for (int i = 0; i < COLUMNS; i++) sum += exp(x[row][i]);
        for (int i = 0; i < COLUMNS; i++) largest = larger(largest, fabs(out[row][i] - exp(x[row][i]) / sum));
    }
    tr_kernel_destroy(kernel);
    tr_program_destroy(ptx);
    tr_program_destroy(llir);
    tr_runner_destroy(runner);
    return report("softmax from llir", largest, 1e-8);
}
