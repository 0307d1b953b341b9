/* What a user's first program does: one kernel from its PTX, on the CPU device. C and C++ alike. */
#include <triton_runner.h>

#include <stdio.h>

int main(int argc, char **argv) {
    enum { N = 1000 };
    static float x[N], y[N], out[N];
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_runner *runner = NULL;
    tr_program *program = NULL;
    tr_kernel *kernel = NULL;
    tr_error *error = NULL;
    uint64_t device[3];
    float *host[3] = {x, y, out};
    int i, wrong = 0;
    if (argc != 2) return 2;
    for (i = 0; i < N; i++) x[i] = (float)i, y[i] = 2;
    options.device = "cpu";
    if (tr_runner_create(&options, &runner, &error) ||
        tr_load_stage(runner, TR_STAGE_AUTO, argv[1], NULL, &program, &error) ||
        tr_kernel_create(program, &kernel, &error)) {
        fprintf(stderr, "%s\n", tr_error_message(error));
        return 1;
    }
    for (i = 0; i < 3; i++)
        if (tr_device_alloc(runner, sizeof x, &device[i], &error) ||
            tr_device_write(runner, device[i], host[i], sizeof x, &error))
            return 1;
    tr_arg args[4] = {tr_arg_ptr(device[0]), tr_arg_ptr(device[1]), tr_arg_ptr(device[2]), tr_arg_i32(N)};
    if (tr_launch(kernel, &config, args, 4, &error) ||
        tr_device_read(runner, out, device[2], sizeof out, &error)) {
        fprintf(stderr, "%s\n", tr_error_message(error));
        return 1;
    }
    for (i = 0; i < N; i++) wrong += out[i] != x[i] + y[i];
    tr_kernel_destroy(kernel);
    tr_program_destroy(program);
    tr_runner_destroy(runner);
    printf("%d of %d right\n", N - wrong, N);
    return wrong != 0;
}
