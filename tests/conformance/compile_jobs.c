/* Compiles what the lines of standard input say, one JSON object a line, and answers each with a line: what
   conformance.py and its sisters drive. "threads" jobs run at once; the answers come in the order of their ends.

     in   {"id": 1, "triton": "3.4.0", "from": 1, "to": 6, "source": FILE, "kernel": …, "signature": …,
           "arch": "sm_90", "options": {…}, "metadata": {…}, "environment": […], "timeout_ms": 0, "out": FOLDER}
     out  {"id": 1, "status": "TR_OK", "message": "", "log": "…", "seconds": 0.1, "stage_seconds": […],
           "metadata": {…}, "extra": {…}}, and in the folder the stages passed, as stage.2 … stage.6 */
#include "base/file.h"
#include "compilers/triton.h"
#include "compilers/wire.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tr__tritons *tritons;
static pthread_mutex_t input = PTHREAD_MUTEX_INITIALIZER, output = PTHREAD_MUTEX_INITIALIZER;

static const char *text_of(const json_t *job, const char *key) {
    return json_string_value(json_object_get(job, key));
}

static int number_of(const json_t *job, const char *key) {
    return (int)json_integer_value(json_object_get(job, key));
}

static void write_stages(const json_t *job, const tr__compile_result *result) {
    for (int stage = 0; stage < TR__STAGES; stage++) {
        char path[4096];
        if (!result->stages[stage] || !text_of(job, "out")) continue;
        snprintf(path, sizeof path, "%s/stage.%d", text_of(job, "out"), stage);
        if (tr__file_write(path, result->stages[stage]->data, result->stages[stage]->size, NULL)) abort();
    }
}

static tr_status compile(const json_t *job, tr__compile_result *result, tr_error **error) {
    const tr__triton *triton;
    tr__blob *source = NULL;
    const char *environment[16] = {0};
    for (size_t i = 0; i < json_array_size(json_object_get(job, "environment")) && i < 15; i++)
        environment[i] = json_string_value(json_array_get(json_object_get(job, "environment"), i));
    tr_status status = tr__tritons_select(tritons, text_of(job, "triton"), &triton, error);
    if (!status) status = tr__file_read(text_of(job, "source"), (size_t)1 << 30, &source, error);
    tr__compile_request request = {.from = number_of(job, "from"),
                                   .to = number_of(job, "to"),
                                   .source = source,
                                   .path = number_of(job, "from") == TR_STAGE_PYTHON ? text_of(job, "source")
                                                                                     : NULL,
                                   .kernel = text_of(job, "kernel"),
                                   .signature = text_of(job, "signature"),
                                   .arch = text_of(job, "arch"),
                                   .options = json_object_get(job, "options"),
                                   .metadata = json_object_get(job, "metadata"),
                                   .environment = environment,
                                   .timeout_ms = (uint32_t)number_of(job, "timeout_ms")};
    if (!status) status = tr__triton_compile(triton, &request, result, error);
    tr__blob_release(source);
    return status;
}

static json_t *run(const json_t *job) {
    tr__compile_result result = {0};
    tr_error *error = NULL;
    int64_t begun = tr__clock_ns();
    tr_status status = compile(job, &result, &error);
    double seconds = (double)(tr__clock_ns() - begun) * 1e-9;
    write_stages(job, &result);
    json_t *stage_seconds = json_array();
    for (int stage = 0; stage < TR__STAGES; stage++)
        json_array_append_new(stage_seconds, json_real(result.seconds[stage]));
    json_t *reply =
        json_pack("{s:O*, s:s, s:s, s:f, s:o, s:O*, s:O*}", "id", json_object_get(job, "id"), "status",
                  tr_status_name(status), "message", tr_error_message(error), "seconds", seconds,
                  "stage_seconds", stage_seconds, "metadata", result.metadata, "extra", result.extra);
    json_t *log = json_string(result.log ? result.log : "");
    json_object_set_new(reply, "log", log ? log : json_string("(not UTF-8)"));
    tr__compile_result_release(&result);
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
    int count = argc > 2 ? atoi(argv[2]) : 1;
    tr_error *error = NULL;
    if (argc < 2 || count < 1 || count > THREADS_MAX || tr__tritons_create(argv[1], &tritons, &error)) {
        fprintf(stderr, "usage: compile_jobs WORKER [THREADS] %s\n", tr_error_message(error));
        return 2;
    }
    for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    tr__tritons_destroy(tritons);
    return 0;
}
