/* What a signature can say, end to end: signature_kernels.py through each Triton found that can express it, to PTX, saved,
   loaded from that file alone, launched on the CPU device. */
#include "tritons.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARGUMENTS = 6, OUT = 8, ROWS = 4, COLUMNS = 8 };
/* What the kernels are given besides numbers. */
enum { NOTHING, IS_OUT, IS_NUMBERS, IS_DESCRIPTOR };
#define OUTPUT                                                                                               \
    {                                                                                                        \
        TR_TYPE_PTR, 0, {                                                                                    \
            .ptr = IS_OUT                                                                                    \
        }                                                                                                    \
    }
#define NUMBERS                                                                                              \
    {                                                                                                        \
        TR_TYPE_PTR, 0, {                                                                                    \
            .ptr = IS_NUMBERS                                                                                \
        }                                                                                                    \
    }
#define DESCRIPTOR                                                                                           \
    {                                                                                                        \
        TR_TYPE_TENSOR_MAP, 0, {                                                                             \
            .ptr = IS_DESCRIPTOR                                                                             \
        }                                                                                                    \
    }
#define I(type, value)                                                                                       \
    {                                                                                                        \
        TR_TYPE_##type, 0, {                                                                                 \
            .i = value                                                                                       \
        }                                                                                                    \
    }
#define U(type, value)                                                                                       \
    {                                                                                                        \
        TR_TYPE_##type, 0, {                                                                                 \
            .u = value                                                                                       \
        }                                                                                                    \
    }
#define F(type, value)                                                                                       \
    {                                                                                                        \
        TR_TYPE_##type, 0, {                                                                                 \
            .f = value                                                                                       \
        }                                                                                                    \
    }

static const struct row {
    const char *kernel, *signature, *since; /* the first Triton that can express it */
    tr_arg args[ARGUMENTS];
    int32_t wanted[OUT];
    const char *refused; /* words of the TR_E_SIGNATURE that the arguments get instead */
} rows[] = {
    {"absent", "*i32, None, 4", "3.2", {OUTPUT}, {7}, NULL},
    {"absent", "*i32, *i32, 4", "3.2", {OUTPUT, NUMBERS}, {14}, NULL},
    {"truth", "*i32, i1, True", "3.2", {OUTPUT, I(I1, 1)}, {11}, NULL},
    {"truth", "*i32, u1, True", "3.2", {OUTPUT, I(I1, 0)}, {10}, NULL},
    {"truth", "*i32, True, True", "3.2", {OUTPUT}, {11}, NULL},
    {"truth", "*i32, i1, False", "3.2", {OUTPUT, I(I1, 1)}, {3}, NULL},
    {"truth", "*i32, i1, True", "3.2", {OUTPUT, I(I32, 2)}, {0}, "argument 1"},
    {"text", "*i32, \"sum, (of 'two')\"", "3.2", {OUTPUT}, {1}, NULL},
    {"text", "*i32, 'sum, (of \\'two\\')'", "3.2", {OUTPUT}, {1}, NULL},
    {"text", "*i32, 'sum'", "3.2", {OUTPUT}, {2}, NULL},
    {"rounded", "*i32, fp32, tl.float32", "3.2", {OUTPUT, F(F32, 1 + 0x1p-12)}, {1}, NULL},
    {"rounded", "*i32, fp32, triton.language.float16", "3.2", {OUTPUT, F(F32, 1 + 0x1p-12)}, {0}, NULL},
    {"rounded", "*i32, fp32, tl.int8", "3.2", {OUTPUT, F(F32, 3.5)}, {2 * 4096}, NULL},
    {"strided", "*i32, i32:1, 4", "3.2", {OUTPUT, I(I32, 1)}, {1, 2, 3, 4}, NULL},
    {"strided", "*i32, i32:1, 4", "3.2", {OUTPUT, I(I32, 2)}, {0}, "1"},
    {"strided", "*i32, i32, 4", "3.2", {OUTPUT, I(I32, 2)}, {1, 0, 2, 0, 3, 0, 4}, NULL},
    {"strided", "*i32:16, i32:16, 1", "3.2", {OUTPUT, I(I32, 16)}, {1}, NULL},
    {"strided", "*i32:16, i32:16, 1", "3.2", {OUTPUT, I(I32, 8)}, {0}, "16"},
    {"strided", "*i32, i64, 2", "3.2", {OUTPUT, I(I64, 7)}, {1, 0, 0, 0, 0, 0, 0, 2}, NULL},
    {"widths",
     "*i32, i8, u8, i64, u64",
     "3.2",
     {OUTPUT, I(I8, -3), U(U8, 200), I(I64, -(INT64_C(5) << 40)), U(U64, UINT64_C(15) << 60)},
     {-3, 200, -5, 15},
     NULL},
    {"widths",
     "*i32, i8, u8, i64, u64",
     "3.2",
     {OUTPUT, I(I32, 128), I(I32, 0), I(I32, 0), I(I32, 0)},
     {0},
     "128"},
    {"widths",
     "*i32, i16, u32, i64, u64",
     "3.2",
     {OUTPUT, I(I32, -300), I(I32, 70000), I(I32, 0), I(I32, 0)},
     {-300, 70000, 0, 0},
     NULL},
    {"floats",
     "*i32, fp16, bf16, fp32, fp64",
     "3.2",
     {OUTPUT, F(F32, 1 + 0x1p-11), F(F64, 1 + 0x1p-7), F(F64, -1.5), F(F64, 0x1p-11)},
     {2048, 2064, -3072, 1},
     NULL},
    {"literals", "*i32, -3, 0x10, 1.5e2, True", "3.2", {OUTPUT}, {-3, 16, 300, 1}, NULL},
    {"pair", "*i32, (i32, *i32)", "3.3", {OUTPUT, I(I32, 5), NUMBERS}, {510}, NULL},
    {"nested", "*i32, (i32, (i32, i32))", "3.3", {OUTPUT, I(I32, 3), I(I32, 4), I(I32, 5)}, {345}, NULL},
    {"nested", "*i32, (i32:1, (i32, i32:1))", "3.3", {OUTPUT, I(I32, 1), I(I32, 4), I(I32, 1)}, {141}, NULL},
    {"nested", "*i32, (i32:1, (i32, i32))", "3.3", {OUTPUT, I(I32, 2), I(I32, 4), I(I32, 1)}, {0}, "1"},
    {"mixed", "*i32, (i32, None, 6)", "3.3", {OUTPUT, I(I32, 5)}, {506}, NULL},
    {"single", "*i32, (i32,)", "3.3", {OUTPUT, I(I32, 9)}, {9}, NULL},
    {"described",
     "*i32, tensordesc<i32[2, 4]>, 2, 4",
     "3.4",
     {OUTPUT, DESCRIPTOR},
     {12, 13, 14, 15, 20, 21, 22, 23},
     NULL},
};

static tr_runner *runner;
static uint64_t out, numbers;
static char folder[] = "/tmp/signatures.XXXXXX";

/* What stands in a row becomes what is launched. */
static tr_status prepare(const tr_kernel *kernel, const struct row *row, tr_arg *args, size_t *count,
                         tr_tensor_map *map, tr_error **error) {
    tr_status status = TR_OK;
    for (*count = 0; *count < ARGUMENTS && row->args[*count].type; ++*count) {
        tr_arg *arg = &args[*count];
        *arg = row->args[*count];
        if (arg->type == TR_TYPE_PTR) arg->value.ptr = arg->value.ptr == IS_OUT ? out : numbers;
        if (arg->type != TR_TYPE_TENSOR_MAP) continue;
        tr_tensor tensor = TR_TENSOR_INIT;
        tensor.ptr = numbers;
        tensor.element = TR_TYPE_I32;
        tensor.rank = 2;
        tensor.shape[0] = ROWS, tensor.shape[1] = tensor.strides[0] = COLUMNS;
        tensor.strides[1] = 1;
        if (!status) status = tr_tensor_map_encode(kernel, *count, &tensor, map, error);
        *arg = tr_arg_map(map);
    }
    return status;
}

static tr_status launch(const tr_kernel *kernel, const struct row *row, int32_t *got, tr_error **error) {
    static const int32_t zeros[OUT];
    tr_arg args[ARGUMENTS];
    tr_tensor_map map;
    size_t count;
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_status status = prepare(kernel, row, args, &count, &map, error);
    if (!status) status = tr_device_write(runner, out, zeros, sizeof zeros, error);
    if (!status) status = tr_launch(kernel, &config, args, count, error);
    if (!status) status = tr_device_synchronize(runner, error);
    if (!status) status = tr_device_read(runner, got, out, OUT * sizeof *got, error);
    return status;
}

/* To PTX, into a file, and from that file alone. */
static tr_status make(const struct row *row, const char *version, const char *arch, tr_kernel **kernel,
                      tr_error **error) {
    tr_program *python = NULL, *ptx = NULL, *loaded = NULL;
    tr_load_options load = TR_LOAD_OPTIONS_INIT;
    tr_compile_options compile = TR_COMPILE_OPTIONS_INIT;
    char path[64];
    snprintf(path, sizeof path, "%s/k.ptx", folder);
    load.kernel = row->kernel;
    load.signature = row->signature;
    compile.triton = version;
    compile.arch = arch;
    tr_status status = tr_load_stage(runner, TR_STAGE_AUTO, KERNELS, &load, &python, error);
    if (!status) status = tr_compile_to(python, TR_STAGE_PTX, &compile, &ptx, error);
    if (!status) status = tr_program_save(ptx, path, error);
    if (!status) status = tr_load_stage(runner, TR_STAGE_AUTO, path, NULL, &loaded, error);
    if (!status) status = tr_kernel_create(loaded, kernel, error);
    tr_program_destroy(loaded);
    tr_program_destroy(ptx);
    tr_program_destroy(python);
    return status;
}

static bool is_right(const struct row *row, tr_status status, const int32_t *got, const char *message) {
    if (row->refused) return status == TR_E_SIGNATURE && strstr(message, row->refused);
    return !status && !memcmp(got, row->wanted, sizeof row->wanted);
}

static int check(const struct row *row, const char *version, const char *arch) {
    tr_kernel *kernel = NULL;
    tr_error *error = NULL;
    int32_t got[OUT] = {0};
    tr_status status = make(row, version, arch, &kernel, &error);
    if (!status) status = launch(kernel, row, got, &error);
    bool right = is_right(row, status, got, tr_error_message(error));
    if (!right) {
        printf("FAULT Triton %s, %s, %s(%s): %s %s\n     ", version, arch, row->kernel, row->signature,
               tr_status_name(status), tr_error_message(error));
        for (int i = 0; i < OUT; i++) printf(" %d", got[i]);
        printf("\n%s", tr_error_log(error));
    }
    tr_error_destroy(error);
    tr_kernel_destroy(kernel);
    return !right;
}

/* What a Triton cannot express is refused in words, not compiled into something else. */
static int check_refused(const struct row *row, const char *version, const char *arch) {
    tr_kernel *kernel = NULL;
    tr_error *error = NULL;
    tr_status status = make(row, version, arch, &kernel, &error);
    bool right = status == TR_E_UNSUPPORTED || status == TR_E_COMPILE;
    if (!right)
        printf("FAULT Triton %s cannot express %s(%s), but: %s %s\n", version, row->kernel, row->signature,
               tr_status_name(status), tr_error_message(error));
    tr_error_destroy(error);
    tr_kernel_destroy(kernel);
    return !right;
}

static bool start(const char *arch) {
    tr_runner_options options = TR_RUNNER_OPTIONS_INIT;
    options.cache_dir = "";
    options.device = "cpu";
    setenv("TRITON_RUNNER_CPU_ARCH", arch, 1);
    int32_t values[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++) values[i] = i;
    values[0] = 10;
    return !tr_runner_create(&options, &runner, NULL) && !tr_device_alloc(runner, OUT * 4, &out, NULL) &&
           !tr_device_alloc(runner, sizeof values, &numbers, NULL) &&
           !tr_device_write(runner, numbers, values, sizeof values, NULL);
}

int main(int count, char **arguments) {
    const char *arch = count > 1 ? arguments[1] : "sm_89";
    if (!mkdtemp(folder) || !start(arch)) return printf("no CPU device\n"), 1;
    json_t *tritons = find_tritons(runner);
    int failed = 0, launched = 0, refused = 0;
    for (size_t i = 0; i < json_array_size(tritons); i++) {
        const char *version = json_string_value(json_object_get(json_array_get(tritons, i), "version"));
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            bool can = strncmp(version, rows[k].since, 3) >= 0;
            failed += can ? check(&rows[k], version, arch) : check_refused(&rows[k], version, arch);
            launched += can;
            refused += !can;
        }
    }
    char path[64];
    snprintf(path, sizeof path, "%s/k.ptx", folder);
    unlink(path);
    rmdir(folder);
    json_decref(tritons);
    tr_device_free(runner, out, NULL);
    tr_device_free(runner, numbers, NULL);
    tr_runner_destroy(runner);
    printf("%s: %d signatures launched, %d that a version cannot express, %d failed\n", arch, launched,
           refused, failed);
    if (!launched) printf("skipped: no Triton is installed (TRITON_RUNNER_PYTHON)\n");
    return launched ? failed != 0 : 77;
}
