/* Compiles what the lines of standard input say, one JSON object a line, and answers each with a line: what
   conformance.py and its sisters drive. Several threads share one runner; the answers come in the order of their ends.

     in   {"id": 1, "triton": "3.4.0", "from": 1, "to": 6, "source": FILE, "kernel": …, "signature": …,
           "arch": "sm_90", "options": {…}, "metadata": {…}, "environment": […], "timeout_ms": 0, "out": FOLDER}
     out  {"id": 1, "status": "TR_OK", "message": "", "log": "…", "seconds": 0.1, "metadata": {…}}, and in the folder
          the stages passed, as stage.2 … stage.6 */
#include "triton_runner.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VARIABLES_MAX = 15 };
static tr_runner *runner;
static pthread_mutex_t input = PTHREAD_MUTEX_INITIALIZER, output = PTHREAD_MUTEX_INITIALIZER;

static const char *text_of(const json_t *job, const char *key) {
    return json_string_value(json_object_get(job, key));
}

static int number_of(const json_t *job, const char *key) {
    return (int)json_integer_value(json_object_get(job, key));
}

static char *object_of(const json_t *job, const char *key) {
    const json_t *object = json_object_get(job, key);
    return json_is_object(object) ? json_dumps(object, 0) : NULL;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void write_stages(const json_t *job, const tr_program *program) {
    for (int stage = number_of(job, "from") + 1; stage <= number_of(job, "to"); stage++) {
        char path[4096];
        const void *data;
        size_t size;
        tr_program *passed;
        if (tr_program_at(program, stage, &passed, NULL) || tr_program_bytes(passed, &data, &size)) abort();
        snprintf(path, sizeof path, "%s/stage.%d", text_of(job, "out"), stage);
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(data, 1, size, file) != size || fclose(file)) abort();
        tr_program_destroy(passed);
    }
}

static tr_status compile(const json_t *job, tr_program **out, tr_error **error) {
    const char *environment[VARIABLES_MAX + 1] = {0};
    const json_t *asked = json_object_get(job, "environment");
    for (size_t i = 0; i < json_array_size(asked) && i < VARIABLES_MAX; i++)
        environment[i] = json_string_value(json_array_get(asked, i));
    char *metadata = object_of(job, "metadata"), *options = object_of(job, "options");
    tr_load_options load = TR_LOAD_OPTIONS_INIT;
    load.kernel = text_of(job, "kernel");
    load.signature = text_of(job, "signature");
    load.metadata = metadata;
    tr_compile_options how = TR_COMPILE_OPTIONS_INIT;
    how.arch = text_of(job, "arch");
    how.triton = text_of(job, "triton");
    how.options = options;
    how.llvm = "triton";
    how.environment = environment;
    how.timeout_ms = (uint32_t)number_of(job, "timeout_ms");
    how.flags = TR_COMPILE_NO_CACHE;
    tr_program *program;
    tr_status status =
        tr_load_stage(runner, number_of(job, "from"), text_of(job, "source"), &load, &program, error);
    if (!status) status = tr_compile_to(program, number_of(job, "to"), &how, out, error);
    tr_program_destroy(program);
    free(metadata);
    free(options);
    return status;
}

static json_t *run(const json_t *job) {
    tr_program *program = NULL;
    tr_error *error = NULL;
    double begun = now();
    tr_status status = compile(job, &program, &error);
    double seconds = now() - begun;
    if (!status && text_of(job, "out")) write_stages(job, program);
    json_t *log = json_string(status ? tr_error_log(error) : tr_program_log(program));
    json_t *metadata = status ? NULL : json_loads(tr_program_metadata(program), 0, NULL);
    json_t *reply = json_pack("{s:O*, s:s, s:s, s:f, s:o, s:o*}", "id", json_object_get(job, "id"), "status",
                              tr_status_name(status), "message", tr_error_message(error), "seconds", seconds,
                              "log", log ? log : json_string("(not UTF-8)"), "metadata", metadata);
    if (!reply)
        reply = json_pack("{s:O*, s:s, s:s}", "id", json_object_get(job, "id"), "status", "?", "message",
                          "the answer is not UTF-8");
    tr_program_destroy(program);
    tr_error_destroy(error);
    return reply;
}

static void *work(void *unused) {
    char *line = NULL;
    size_t capacity = 0;
    for (;;) {
        pthread_mutex_lock(&input);
        ssize_t length = getline(&line, &capacity, stdin);
        pthread_mutex_unlock(&input);
        if (length <= 0) break;
        json_t *job = json_loads(line, 0, NULL), *reply = run(job);
        pthread_mutex_lock(&output);
        json_dumpf(reply, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        pthread_mutex_unlock(&output);
        json_decref(job);
        json_decref(reply);
    }
    free(line);
    return NULL;
}

int main(int argc, char **argv) {
    enum { THREADS_MAX = 16 };
    pthread_t threads[THREADS_MAX];
    int count = argc > 1 ? atoi(argv[1]) : 1;
    tr_error *error = NULL;
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.cache_dir = "";
    if (count < 1 || count > THREADS_MAX || tr_runner_create(&options, &runner, &error)) {
        fprintf(stderr, "usage: compile_jobs [THREADS] %s\n", tr_error_message(error));
        return 2;
    }
    for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    tr_runner_destroy(runner);
    return 0;
}
