#include "companion.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void companion_python(const bench *bench, char *interpreter, char *packages, size_t size) {
    const char *list = getenv("TRITON_RUNNER_PYTHON");
    const char *found = *bench->python ? bench->python : list && *list ? list : "python3";
    size_t length = strcspn(found, ":"), name = strcspn(found, "=:");
    snprintf(interpreter, size, "%.*s", (int)name, found);
    const char *folder = found + name + (name < length);
    snprintf(packages, size, "%.*s", (int)(found + length - folder), folder);
}

static void become(const bench *bench, int in, int out) {
    char interpreter[4096], packages[4096], script[4096];
    companion_python(bench, interpreter, packages, sizeof interpreter);
    if (*packages) setenv("PYTHONPATH", packages, 1);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    bench_file("companion.py", script, sizeof script);
    execlp(interpreter, interpreter, "-B", script, (char *)NULL);
    _exit(127);
}

void companion_start(companion *companion, const bench *bench) {
    int to[2], from[2];
    *companion = (struct companion){0};
    if (bench->cpu || !strcmp(bench->python, "none")) return;
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) bench_fail("no pipe");
    signal(SIGPIPE, SIG_IGN); /* a companion that ended is told of by its missing answer */
    companion->process = fork();
    if (companion->process < 0) bench_fail("no process");
    if (!companion->process) become(bench, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    companion->to = fdopen(to[1], "w");
    companion->from = fdopen(from[0], "r");
}

static void tell_once(const char *request, const char *why) {
    static char told[32][64];
    char key[64];
    const char *space = strchr(request, ' '), *end = space ? strchr(space + 1, ' ') : NULL;
    snprintf(key, sizeof key, "%.*s", (int)(end ? end - request : (long)strlen(request)), request);
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        if (!strcmp(told[i], key)) return;
        if (*told[i]) continue;
        strcpy(told[i], key);
        printf("not here: %s: %s\n", key, why);
        return;
    }
}

static bool ask(companion *companion, const char *request, char *answer, size_t size) {
    if (!companion->to) return false;
    fprintf(companion->to, "%s\n", request);
    fflush(companion->to);
    if (!fgets(answer, (int)size, companion->from))
        bench_fail(
            "companion.py ended, asked for '%s' (is --python an interpreter with torch and Triton? There is "
            "--python none)",
            request);
    answer[strcspn(answer, "\n")] = 0;
    return true;
}

double companion_ask(companion *companion, const char *format, ...) {
    char request[512], answer[1024] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(request, sizeof request, format, arguments);
    va_end(arguments);
    if (!ask(companion, request, answer, sizeof answer)) return 0;
    if (!strncmp(answer, "ok ", 3)) return strtod(answer + 3, NULL);
    if (strncmp(answer, "missing ", 8)) bench_fail("%s: %s", request, answer);
    tell_once(request, answer + 8);
    return 0;
}

void companion_versions(companion *companion, char *text, size_t size) {
    char answer[512] = "";
    snprintf(text, size, "%s", "");
    if (ask(companion, "versions", answer, sizeof answer)) snprintf(text, size, "%s", answer);
}

void companion_end(companion *companion) {
    if (!companion->to) return;
    fclose(companion->to);
    fclose(companion->from);
    waitpid(companion->process, NULL, 0);
}
