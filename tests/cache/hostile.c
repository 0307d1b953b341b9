/* hostile: programs that lie, in every way that a file can. Each gets an error, or the right result; nothing is written
   where it should not be, no command is run, and under the address sanitizer nothing is read past its end. */
#include "triton_runner.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/tr-hostile-XXXXXX", work[64], mark[64];
static tr_runner *runner;
static int cases, refused;
static bool has_ptxas;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "hostile: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (in %s)\n", root);
    exit(EXIT_FAILURE);
}

static void path_of(char path[300], const char *name) {
    snprintf(path, 300, "%s/%s", work, name);
}

static void write_file(const char *name, const void *data, size_t size) {
    char path[300];
    path_of(path, name);
    FILE *file = fopen(path, "we");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) die("cannot write %s", path);
}

/* What lies in the folders now, without the cache and what compilers keep while they run. */
static int count(const char *folder) {
    int files = 0;
    DIR *open = opendir(folder);
    for (struct dirent *entry; open && (entry = readdir(open));) {
        char path[400];
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "cache") ||
            !strncmp(entry->d_name, "triton-runner-", 14))
            continue;
        files++;
        if (!lstat(path, &info) && S_ISDIR(info.st_mode)) files += count(path);
    }
    if (open) closedir(open);
    return files;
}

static int files_before;
static void check_surroundings(const char *what) {
    if (!access(mark, F_OK)) die("%s: a command was run", what);
    int files = count(root);
    if (files != files_before) die("%s: %d files, where %d were", what, files, files_before);
}

/* Loaded, compiled as far as it goes, made a kernel. must_fail: at one of these; then with a message. */
static void try(const char *what, tr_stage stage, const char *path, const tr_load_options *options,
                bool must_fail) {
    tr_program *program = NULL, *cubin = NULL;
    tr_kernel *kernel = NULL;
    tr_error *error = NULL, *later = NULL;
    tr_compile_options how = TR_COMPILE_OPTIONS_INIT;
    how.arch = "sm_80", how.timeout_ms = 60000;
    tr_status status = tr_load_stage(runner, stage, path, options, &program, &error);
    tr_status compiled = status, made = status;
    if (!status && has_ptxas) compiled = tr_compile_to(program, TR_STAGE_CUBIN, &how, &cubin, &error);
    if (!status) made = tr_kernel_create(program, &kernel, &later);
    cases++;
    refused += status || compiled || made;
    const char *message = status || compiled ? tr_error_message(error) : tr_error_message(later);
    if ((status || compiled || made) && !*message) die("%s: refused without a word", what);
    if (must_fail && !status && !made) die("%s: was accepted", what);
    if (strchr(message, '\n')) die("%s: a message of several lines: %s", what, message);
    tr_error_destroy(error);
    tr_error_destroy(later);
    tr_kernel_destroy(kernel);
    tr_program_destroy(cubin);
    tr_program_destroy(program);
    check_surroundings(what);
}

static char *text_of(const char *format, const char *name) {
    char *text = NULL;
    if (asprintf(&text, format, name, name) < 0) die("no memory");
    return text;
}

/* ---- names ---- */

#define PTX                                                                                                  \
    ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry %s(\n.param .u64 a\n)\n.reqntid "        \
    "32\n{\nret;\n}\n"
static const char good_metadata[] = "{\"num_warps\": 1, \"shared\": 0}";

static char *long_name(size_t size) {
    char *name = malloc(size + 1);
    if (!name) die("no memory");
    memset(name, 'k', size);
    name[size] = '\0';
    return name;
}

/* In the text, in the record, in what the caller asks for, at each stage that has such a name. */
static void try_name(const char *name) {
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    char quoted[4400] = "", *at = quoted, what[64];
    for (const char *c = name; *c && at < quoted + 4096; c++) {
        if (*c == '"' || *c == '\\') *at++ = '\\';
        if ((unsigned char)*c < 32)
            at += sprintf(at, "\\u%04x", *c);
        else
            *at++ = *c;
    }
    snprintf(what, sizeof what, "the name '%.40s'", name);
    char *ptx = text_of(PTX, name),
         *record = text_of("{\"name\": \"%s\", \"num_warps\": 1, \"shared\": 0}", quoted);
    char *llir = text_of("target triple = \"nvptx64-nvidia-cuda\"\ndefine ptx_kernel void @\"%s\"(ptr "
                         "addrspace(1) %%a) {\n  ret void\n}\n",
                         name);
    char *ttir =
        text_of("module {\n  tt.func public @%s(%%a: !tt.ptr<f32>) {\n    tt.return\n  }\n}\n", name);
    options.data = ptx, options.size = strlen(ptx), options.metadata = good_metadata;
    try(what, TR_STAGE_PTX, NULL, &options, false);
    options.kernel = name;
    try(what, TR_STAGE_PTX, NULL, &options, false);
    options.kernel = NULL, options.metadata = record;
    try(what, TR_STAGE_PTX, NULL, &options, false);
    options.metadata = good_metadata;
    options.data = llir, options.size = strlen(llir);
    try(what, TR_STAGE_LLIR, NULL, &options, false);
    options.data = ttir, options.size = strlen(ttir), options.metadata = NULL;
    try(what, TR_STAGE_TTIR, NULL, &options, false);
    options.data = "import triton\n", options.size = 14, options.kernel = name, options.signature = "*fp32";
    try(what, TR_STAGE_PYTHON, NULL, &options, has_ptxas);
    free(ptx), free(record), free(llir), free(ttir);
}

static void try_names(void) {
    char touch[5][160];
    snprintf(touch[0], sizeof touch[0], "$(touch %s)", mark);
    snprintf(touch[1], sizeof touch[1], "`touch %s`", mark);
    snprintf(touch[2], sizeof touch[2], "; touch %s; #", mark);
    snprintf(touch[3], sizeof touch[3], "k\" || touch %s || \"", mark);
    snprintf(touch[4], sizeof touch[4], "__import__('os').system('touch %s')", mark);
    for (int i = 0; i < 5; i++) try_name(touch[i]);
    static const char *const names[] = {
        "../../x",  "/etc/passwd", "..",  "a/b", "-o",  "--output-file=x", "%s%n%n", "a\nb",     "a\x01",
        "\xff\xfe", "%1",          "CON", "a'b", "a\\", "_Z1kv",           "$k",     "__class__"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) try_name(names[i]);
    static const size_t sizes[] = {255, 4096, 70000, 1 << 21};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *name = long_name(sizes[i]);
        try_name(name);
        free(name);
    }
}

/* ---- metadata ---- */

static void try_metadata(const char *what, const char *metadata, bool must_fail) {
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    char path[300], *ptx = text_of(PTX, "kernel");
    options.data = ptx, options.size = strlen(ptx), options.metadata = metadata;
    try(what, TR_STAGE_PTX, NULL, &options, must_fail);
    write_file("beside.ptx", ptx, strlen(ptx)); /* and as the .json beside a file */
    write_file("beside.json", metadata, strlen(metadata));
    path_of(path, "beside.ptx");
    try(what, TR_STAGE_AUTO, path, NULL, must_fail);
    write_file("beside.json", "", 0);
    char *embedded = NULL;
    if (asprintf(&embedded, "%s\n// triton-runner-record: %s\n", ptx, metadata) < 0) die("no memory");
    options.data = embedded, options.size = strlen(embedded), options.metadata = NULL;
    try(what, TR_STAGE_PTX, NULL, &options, false);
    free(embedded);
    free(ptx);
}

static char *repeated(const char *begin, const char *part, size_t times, const char *end) {
    size_t size = strlen(part);
    char *text = malloc(strlen(begin) + size * times + strlen(end) + 1), *at = text;
    if (!text) die("no memory");
    at = stpcpy(at, begin);
    for (size_t i = 0; i < times; i++, at += size) memcpy(at, part, size);
    strcpy(at, end);
    return text;
}

static void try_lies(void) {
    static const char *const lies[] = {
        "{\"num_warps\": 1, \"shared\": 4294967296}",
        "{\"num_warps\": 1, \"shared\": -1}",
        "{\"num_warps\": 1, \"shared\": 4294967295}",
        "{\"num_warps\": 1, \"shared\": 1e300}",
        "{\"num_warps\": 1, \"shared\": \"much\"}",
        "{\"num_warps\": 1, \"shared\": 18446744073709551616}",
        "{\"num_warps\": 4294967295, \"shared\": 0}",
        "{\"num_warps\": 0, \"shared\": 0}",
        "{\"num_warps\": 2147483648, \"shared\": 0}",
        "{\"num_warps\": 3, \"shared\": 0}",
        "{\"num_warps\": 1, \"shared\": 0, \"global_scratch_size\": -5}",
        "{\"num_warps\": 1, \"shared\": 0, \"global_scratch_align\": 3, \"global_scratch_size\": 8}",
        "{\"num_warps\": 1, \"shared\": 0, \"cluster_dims\": [4294967295, 4294967295, 2]}",
        "{\"num_warps\": 1, \"shared\": 0, \"triton_runner\": {\"parameters\": [{\"type\": \"*fp32\"}, "
        "{\"type\": \"i32\"}]}}",
        "{\"num_warps\": 1, \"shared\": 0, \"triton_runner\": {\"parameters\": [{\"type\": \"fp8\"}]}}",
        "{\"num_warps\": 1, \"shared\": 0, \"triton_runner\": {\"parameters\": 7}}",
        "{\"num_warps\": 1, \"shared\": 0, \"triton_runner\": {\"kernel\": \"another\"}}",
        "{\"num_warps\": 1, \"shared\": 0, \"target\": {\"backend\": \"hip\", \"arch\": \"gfx942\", "
        "\"warp_size\": 64}}",
        "[]",
        "7",
        "null",
        "{",
        "{\"a\": \"\\u0000\"}",
        "{\"num_warps\": 1, \"num_warps\": \"\\ud800\"}"};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        try_metadata(lies[i], lies[i], true);
    }
    char *deep = repeated("{\"a\": ", "[", 1000000, ""),
         *wide = repeated("{\"num_warps\": 1, \"shared\": 0", ", \"k\": 1", 1000000, "}");
    char *large = repeated("{\"a\": \"", "xxxxxxxxxxxxxxxx", 4 << 20, "\"}");
    char *params = repeated("{\"num_warps\": 1, \"shared\": 0, \"triton_runner\": {\"parameters\": [",
                            "{\"type\": \"i32\"}, ", 100000, "{\"type\": \"i32\"}]}}");
    try_metadata("a million brackets", deep, true);
    try_metadata("a million keys", wide, false);
    try_metadata("64 MiB of metadata", large, true);
    try_metadata("100,000 parameters", params, true);
    free(deep), free(wide), free(large), free(params);
}

/* ---- sizes that a binary tells of itself ---- */

static void try_images(void) {
    static const uint64_t sizes[] = {0,          1,         63, 64, 1ull << 31, 1ull << 32, (1ull << 32) - 1,
                                     1ull << 63, UINT64_MAX};
    char path[300];
    FILE *file = fopen(TR_SOURCE_DIR "/examples/kernels/stages/sm_90/softmax.cubin", "re");
    static char image[1 << 16], harmed[1 << 16];
    size_t size = file ? fread(image, 1, sizeof image, file) : 0;
    if (file) fclose(file);
    if (!size) die("no cubin");
    path_of(path, "image.cubin");
    for (size_t offset = 0; offset < size; offset += offset < 256 ? 4 : 509)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            tr_load_options options = TR_LOAD_OPTIONS_INIT;
            size_t bytes = size - offset < 8 ? size - offset : 8;
            memcpy(harmed, image, size);
            memcpy(harmed + offset, &sizes[i], bytes);
            char *exact = malloc(size); /* for the sanitizer: nothing behind it */
            if (!exact) die("no memory");
            memcpy(exact, harmed, size);
            options.data = exact, options.size = size, options.metadata = good_metadata;
            tr_program *program = NULL;
            cases++;
            refused += tr_load_stage(runner, TR_STAGE_CUBIN, NULL, &options, &program, NULL) != TR_OK;
            tr_program_destroy(program);
            free(exact);
        }
    /* a trailer with the lengths of another world behind the image */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tr_load_options options = TR_LOAD_OPTIONS_INIT;
        tr_program *program = NULL;
        memcpy(harmed, image, size);
        size_t at = size + (size_t)sprintf(harmed + size, "\ntriton-runner-record: {\"shared\": 1}");
        memcpy(harmed + at, &sizes[i], 8);
        memset(harmed + at + 8, 0x5a, 24);
        options.data = harmed, options.size = at + 32;
        cases++;
        refused += tr_load_stage(runner, TR_STAGE_CUBIN, NULL, &options, &program, NULL) != TR_OK;
        tr_program_destroy(program);
    }
    check_surroundings("images");
}

int main(void) {
    const char *ptxas = getenv("TR_TEST_PTXAS");
    char path[80];
    has_ptxas = ptxas && !access(ptxas, X_OK);
    if (!mkdtemp(root)) die("no folder");
    snprintf(work, sizeof work, "%s/work", root);
    snprintf(mark, sizeof mark, "%s/mark", root);
    mkdir(work, 0700);
    if (chdir(work)) die("cannot enter %s", work);
    snprintf(path, sizeof path, "%s/tmp", root);
    mkdir(path, 0700);
    setenv("TMPDIR", path, 1);
    if (has_ptxas) setenv("TRITON_RUNNER_PTXAS", ptxas, 1);
    snprintf(path, sizeof path, "%s/cache", root);
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.device = "cpu", options.cache_dir = path;
    if (tr_runner_create(&options, &runner, NULL)) die("no runner");
    write_file("beside.ptx", "", 0);
    write_file("beside.json", "", 0);
    files_before = count(root);
    try_names();
    try_lies();
    try_images();
    tr_runner_destroy(runner);
    printf("    %d hostile programs, %d refused, nothing run, nothing written\n", cases, refused);
    char command[80];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) ? EXIT_FAILURE : EXIT_SUCCESS;
}
