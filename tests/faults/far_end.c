/* A compiler that answers from files, right or as the file "fault" beside it says. As argv[0] says it is ptxas; else a
   fork server as worker.py and triton-runner-helper are, whose control socket is file 3. Built without the sanitizers:
   it is started thousands of times. */
#include "base/buffer.h"
#include "compilers/serve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONTROL = 3 };

static char folder[4096]; /* where the host put us, and the fault */

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rbe");
    static char text[1 << 20];
    *size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[*size] = '\0';
    return file ? text : NULL;
}

static char *read_stage(int stage, size_t *size) {
    static const char *const suffixes[] = {"", "py", "ttir", "ttgir", "llir", "ptx", "cubin"};
    char path[4096];
    snprintf(path, sizeof path, TR_SOURCE_DIR "/examples/kernels/stages/sm_89/vector_add.%s",
             suffixes[stage]);
    return read_file(path, size);
}

/* "ACTION AT": what is done when AT bytes of the answer are sent; AT < 0: before. */
typedef struct fault {
    char action[32];
    long at;
} fault;

static fault read_fault(void) {
    char path[4200];
    size_t size;
    fault fault = {"", 0};
    snprintf(path, sizeof path, "%s/fault", folder);
    const char *text = read_file(path, &size);
    if (!text || sscanf(text, "%31s %ld", fault.action, &fault.at) != 2) fault.action[0] = '\0';
    return fault;
}

static void act(const char *action, int connection) {
    static const char garbage[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    if (!strcmp(action, "exit")) _exit(0);
    if (!strcmp(action, "fail")) _exit(3);
    if (!strcmp(action, "abort")) abort();
    if (!strcmp(action, "kill")) kill(getpid(), SIGKILL);
    if (!strcmp(action, "stop")) kill(getpid(), SIGSTOP), pause();
    if (!strcmp(action, "kill-server")) kill(getppid(), SIGKILL), pause();
    if (!strcmp(action, "stop-server")) kill(getppid(), SIGSTOP), pause();
    if (!strcmp(action, "hang")) pause();
    if (!strcmp(action, "close")) close(connection), pause();
    if (!strcmp(action, "garbage")) {
        send(connection, garbage, sizeof garbage, MSG_NOSIGNAL);
        pause();
    }
}

/* ---- the fork server ---- */

static size_t bounds[64], bound_count; /* where a prefix, a header, a blob begin */

static void put_frame(tr__buffer *out, json_t *header, const void *data, size_t size) {
    char *text = json_dumps(header, JSON_COMPACT);
    size_t length = strlen(text);
    unsigned char prefix[12];
    for (int i = 0; i < 4; i++) prefix[i] = (unsigned char)(length >> 8 * i);
    for (int i = 0; i < 8; i++) prefix[4 + i] = (unsigned char)((uint64_t)size >> 8 * i);
    bounds[bound_count++] = out->size;
    tr__buffer_append(out, prefix, sizeof prefix);
    bounds[bound_count++] = out->size;
    tr__buffer_append(out, text, length);
    bounds[bound_count++] = out->size;
    tr__buffer_append(out, data, size);
    free(text);
    json_decref(header);
}

/* The whole answer as bytes, so that it can be broken anywhere. */
static void put_answer(tr__buffer *out, const json_t *request) {
    int from = (int)json_integer_value(json_object_get(request, "from"));
    int to = (int)json_integer_value(json_object_get(request, "to"));
    size_t size;
    for (int stage = from + 1; stage <= to; stage++) {
        const char *text = read_stage(stage, &size);
        put_frame(out, json_pack("{s:i, s:f}", "stage", stage, "seconds", 0.001), text, size);
    }
    char *text = read_file(TR_SOURCE_DIR "/examples/kernels/stages/sm_89/vector_add.json", &size);
    json_t *metadata = json_loads(text, 0, NULL);
    put_frame(out, json_pack("{s:b, s:o, s:s}", "done", 1, "metadata", metadata, "maker", "far end 1"), NULL,
              0);
}

static void send_all(int connection, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(connection, data, size, MSG_NOSIGNAL);
        if (sent <= 0) _exit(1);
        data += sent;
        size -= (size_t)sent;
    }
}

/* For the host, who chooses where to break it. */
static void write_bounds(size_t end) {
    char path[4200];
    snprintf(path, sizeof path, "%s/bounds", folder);
    FILE *file = fopen(path, "wbe");
    for (size_t i = 0; file && i < bound_count; i++) fprintf(file, "%zu\n", bounds[i]);
    if (file) fprintf(file, "%zu\n", end), fclose(file);
}

static void handle(int connection, const tr__frame *request) {
    tr__buffer answer = {0};
    fault fault = read_fault();
    put_answer(&answer, request->header);
    if (!strcmp(fault.action, "measure")) write_bounds(answer.size);
    size_t at = fault.at < 0 ? 0 : (size_t)fault.at;
    if (!*fault.action || at > answer.size) at = answer.size;
    send_all(connection, answer.data, at);
    act(fault.action, connection);
    send_all(connection, answer.data + at, answer.size - at);
}

/* Before a request is known. */
static void act_early(void) {
    fault fault = read_fault();
    if (fault.at >= 0) return;
    char *server = strstr(fault.action, "-server"); /* which is us */
    if (server) *server = '\0';
    act(fault.action, CONTROL);
}

/* ---- ptxas ---- */

static int assemble(int argc, char **argv) {
    const char *out = NULL;
    size_t size;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--version"))
            return puts("Cuda compilation tools, release 12.8, V12.8.93") < 0;
        else if (!strcmp(argv[i], "-o") && i + 1 < argc)
            out = argv[++i];
    fault fault = read_fault();
    const char *cubin = read_stage(6, &size);
    FILE *file = out ? fopen(out, "wbe") : NULL;
    if (!cubin || !file) return 2;
    size_t at = *fault.action && (size_t)fault.at < size ? (size_t)fault.at : size;
    fwrite(cubin, 1, at, file);
    fflush(file);
    fputs("ptxas info    : Used 16 registers\n", stderr);
    act(fault.action, -1);
    fwrite(cubin + at, 1, size - at, file);
    return fclose(file);
}

int main(int argc, char **argv) {
    const char *name = strrchr(argv[0], '/');
    /* ptxas: …/site/triton/backends/nvidia/bin/ptxas, the fault is beside the site. Else argv[2] is a file beside it. */
    bool ptxas = name && !strncmp(name, "/ptxas", 6);
    snprintf(folder, sizeof folder, "%s", ptxas || argc < 3 ? argv[0] : argv[2]);
    for (int up = ptxas ? 6 : 1; up; up--) *strrchr(folder, '/') = '\0';
    if (ptxas) return assemble(argc, argv);
    act_early();
    return tr__serve(CONTROL, handle);
}
