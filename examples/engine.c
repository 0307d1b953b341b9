/* The way an inference engine embeds the library: load every kernel once, seal, then launch from a pool of
   threads. After the seal no call compiles, starts a process, reads the disk or loads a module; one that
   would have to fails at once with TR_E_SEALED. */
#include "example.h"

#include <math.h>
#include <pthread.h>

enum { THREADS = 4, STEPS = 50, N = 32768, BLOCK = 1024, ROWS = 32, COLUMNS = N / ROWS };

typedef struct engine {
    tr_runner *runner;
    tr_kernel *add, *softmax;
} engine;

static tr_kernel *load(tr_runner *runner, const char *path) {
    tr_program *program;
    tr_kernel *kernel;
    tr_error *error;
    check(tr_load_stage(runner, TR_STAGE_AUTO, path, NULL, &program, &error), &error);
    check(tr_kernel_create(program, &kernel, &error), &error);
    check(tr_kernel_load(kernel, &error), &error);
    tr_program_destroy(program); /* the kernel keeps what it needs */
    return kernel;
}

/* One request: y = softmax(x + x) by rows, STEPS times over. Buffers are the thread's own. */
static void *serve(void *argument) {
    const engine *engine = argument;
    static float input[N];
    float *output = calloc(N, sizeof *output);
    uint64_t x = upload(engine->runner, input, sizeof input),
             sum = upload(engine->runner, input, sizeof input),
             y = upload(engine->runner, input, sizeof input);
    tr_launch_config add = TR_LAUNCH_CONFIG_INIT, softmax = TR_LAUNCH_CONFIG_INIT;
    add.grid[0] = N / BLOCK;
    softmax.grid[0] = ROWS;
    const tr_arg add_args[] = {tr_arg_ptr(x), tr_arg_ptr(x), tr_arg_ptr(sum), tr_arg_i32(N)};
    const tr_arg softmax_args[] = {tr_arg_ptr(sum), tr_arg_ptr(y), tr_arg_i32(COLUMNS), tr_arg_i32(COLUMNS),
                                   tr_arg_i32(COLUMNS)};
    tr_error *error;
    for (int step = 0; step < STEPS; step++) {
        check(tr_launch(engine->add, &add, add_args, 4, &error), &error);
        check(tr_launch(engine->softmax, &softmax, softmax_args, 5, &error), &error);
    }
    download(engine->runner, output, y, N * sizeof *output);

    double *largest = calloc(1, sizeof *largest);
    for (int i = 0; i < N; i++)
        *largest = larger(*largest, fabs(output[i] - 1.0 / COLUMNS)); /* x is all zero */
    tr_device_free(engine->runner, x, NULL);
    tr_device_free(engine->runner, sum, NULL);
    tr_device_free(engine->runner, y, NULL);
    free(output);
    return largest;
}

int main(void) {
    engine engine = {.runner = open_runner()};
    engine.add = load(engine.runner, KERNELS "/stages/sm_89/vector_add.ptx");
    engine.softmax = load(engine.runner, KERNELS "/stages/sm_89/softmax.ptx");
    tr_error *error;
    check(tr_runner_seal(engine.runner, &error), &error);

    pthread_t threads[THREADS];
    double largest = 0;
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, serve, &engine);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        largest = larger(largest, *(double *)result);
        free(result);
    }
    printf("%d launches from %d threads\n", 2 * THREADS * STEPS, THREADS);
    tr_kernel_destroy(engine.softmax);
    tr_kernel_destroy(engine.add);
    tr_runner_destroy(engine.runner);
    return report("engine", largest, 1e-9);
}
