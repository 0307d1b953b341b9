/* Wrong calls on a device: each is told, none starts anything, and after each a right launch works. The kernel counts its
   launches, so that one too many would be seen; under compute-sanitizer, one that does harm as well. */
#include "gpu.h"

#include <math.h>

static const char *const PARAMETERS =
    "{\"type\": \"*i32\", \"name\": \"out\", \"divisibility\": 16}, {\"type\": \"i32\", \"name\": \"n\"}, "
    "{\"type\": \"i32\", \"name\": \"one\", \"constant\": 1}, {\"type\": \"fp16\", \"name\": \"half\"}, "
    "{\"type\": \"i1\", \"name\": \"flag\"}, {\"type\": \"u8\", \"name\": \"byte\"}, {\"type\": \"i64\", "
    "\"name\": "
    "\"long\", \"divisibility\": 8}, {\"type\": \"i16\", \"name\": \"short\"}, {\"type\": \"u64\", \"name\": "
    "\"huge\"}, "
    "{\"type\": \"tensordesc<fp16[64, 32]>\", \"name\": \"desc\"}, {\"type\": \"fp32\", \"name\": "
    "\"single\"}";
static const char *const DECLARED =
    ".param .u64 out,\n.param .u32 n,\n.param .align 2 .b8 half[2],\n.param .u8 flag,\n.param .u8 "
    "byte,\n.param .u64 "
    "long,\n.param .u16 short,\n.param .u64 huge,\n.param .align 64 .b8 map[128],\n.param .u32 s0,\n.param "
    ".u32 "
    "s1,\n.param .u64 t0,\n.param .u64 t1,\n.param .f32 single,\n.param .u64 g,\n.param .u64 s";
#define META                                                                                                 \
    "\"tensordesc_meta\": [{\"swizzle\": 2, \"elem_size\": 2, \"elem_type\": 6, \"block_size\": [64, 32], "  \
    "\"fp4_padded\": false}], "
#define KEYS(shared, scratch)                                                                                \
    "\"shared\": " shared ", \"global_scratch_size\": " scratch ", \"global_scratch_align\": 128, "

enum { OUT, N, ONE, HALF, FLAG, BYTE, LONG, SHORT, HUGE_, DESC, SINGLE, COUNT };

typedef struct bench {
    gpu *gpu;
    tr_kernel *kernel;
    tr_arg good[COUNT];
    uint64_t out;
    uint32_t right, mistakes;
} bench;

static void launch_right(bench *b) {
    ok(b->gpu, tr_launch(b->kernel, NULL, b->good, COUNT, &error));
    b->right++;
}

static void judge(bench *b, tr_status got, tr_error *error, tr_status status, const char *words,
                  const char *call) {
    if (got != status || !strstr(tr_error_message(error), words))
        fail(b->gpu, "%s gave %s '%s', not %s '%s'", call, tr_status_name(got), tr_error_message(error),
             tr_status_name(status), words);
    tr_error_destroy(error);
    b->mistakes++;
    launch_right(b);
}
#define wrong(b, status, words, call)                                                                        \
    do {                                                                                                     \
        tr_error *error = NULL;                                                                              \
        tr_status got = call;                                                                                \
        judge(b, got, error, status, words, #call);                                                          \
    } while (0)

/* ---- arguments ---- */

static tr_status launch_with(bench *b, int index, tr_arg argument, tr_error **error) {
    tr_arg args[COUNT];
    memcpy(args, b->good, sizeof args);
    args[index] = argument;
    return tr_launch(b->kernel, NULL, args, COUNT, error);
}

static tr_arg integer(tr_type type, int64_t value) {
    return (tr_arg){type, 0, {.i = value}};
}

static tr_arg number(tr_type type, double value) {
    return (tr_arg){type, 0, {.f = value}};
}

static void wrong_arguments(bench *b) {
    static tr_tensor_map never;
    const struct {
        int index;
        tr_arg argument;
        const char *words;
    } cases[] = {
        {OUT, tr_arg_ptr(b->out + 8),
         "argument 0 'out' of 'counting' was promised to be a multiple of 16 when the kernel was compiled, "
         "but pointer"},
        {OUT, tr_arg_ptr(b->out + 1), "a multiple of 16"},
        {OUT, tr_arg_i64((int64_t)b->out), "argument 0 'out' of 'counting' takes pointer, but i64"},
        {OUT, integer(TR_TYPE_U64, (int64_t)b->out), "takes pointer, but u64"},
        {OUT, tr_arg_f32(1), "takes pointer, but fp32 1 was given"},
        {OUT, tr_arg_map(&never), "takes pointer, but a tensor map was given"},
        {OUT, (tr_arg){TR_TYPE_PTR, 7, {.ptr = b->out}}, "tr_arg.reserved is 7; it must be 0"},
        {N, tr_arg_i64(1LL << 40),
         "argument 1 'n' of 'counting' takes i32, -2147483648 to 2147483647, but i64 1099511627776 was "
         "given"},
        {N, tr_arg_i64(-(1LL << 40)), "but i64 -1099511627776 was given"},
        {N, tr_arg_i64(1LL << 31), "but i64 2147483648 was given"},
        {N, integer(TR_TYPE_I32, 1LL << 32), "but i32 4294967296 was given"},
        {N, integer(TR_TYPE_U32, 1LL << 31), "but u32 2147483648 was given"},
        {N, integer(TR_TYPE_U64, -1), "but u64 18446744073709551615 was given"},
        {N, number(TR_TYPE_F64, 3), "takes i32, but fp64 3 was given"},
        {N, number(TR_TYPE_BF16, 3), "takes i32, but bf16 3 was given"},
        {N, tr_arg_ptr(3), "takes i32, but pointer 0x3 was given"},
        {N, tr_arg_map(&never), "takes i32, but a tensor map was given"},
        {N, (tr_arg){0}, "takes i32, but type number 0 was given"},
        {N, (tr_arg){-1, 0, {0}}, "takes i32, but type number -1 was given"},
        {N, (tr_arg){1000, 0, {0}}, "takes i32, but type number 1000 was given"},
        {N, integer(TR_TYPE_F8E4M3, 0), "takes i32, but type number 24 was given"},
        {N, (tr_arg){TR_TYPE_I32, 1, {0}}, "tr_arg.reserved is 1"},
        {ONE, tr_arg_i32(2), "argument 2 'one' of 'counting' was compiled in as 1, but i32 2 was given"},
        {ONE, tr_arg_i32(0), "was compiled in as 1, but i32 0 was given; compile the kernel for that value"},
        {ONE, tr_arg_i64(1LL << 32 | 1), "takes i32"},
        {ONE, tr_arg_f32(1), "takes i32, but fp32 1 was given"},
        {ONE, tr_arg_ptr(1), "takes i32, but pointer 0x1 was given"},
        {HALF, tr_arg_f32(65520),
         "argument 3 'half' of 'counting' takes fp16, a finite value of magnitude up to 65504"},
        {HALF, number(TR_TYPE_F16, -1e6), "but fp16 -1e+06 was given"},
        {HALF, number(TR_TYPE_F64, 1e300), "but fp64 1e+300 was given"},
        {HALF, tr_arg_i32(1), "takes fp16, but i32 1 was given"},
        {HALF, tr_arg_ptr(0), "takes fp16, but pointer 0x0 was given"},
        {FLAG, integer(TR_TYPE_I1, 2),
         "argument 4 'flag' of 'counting' takes i1, 0 to 1, but i1 2 was given"},
        {FLAG, tr_arg_i32(-1), "takes i1, 0 to 1, but i32 -1 was given"},
        {FLAG, tr_arg_f32(1), "takes i1, but fp32 1 was given"},
        {BYTE, tr_arg_i32(-1), "argument 5 'byte' of 'counting' takes u8, 0 to 255, but i32 -1 was given"},
        {BYTE, tr_arg_i32(256), "takes u8, 0 to 255, but i32 256 was given"},
        {BYTE, integer(TR_TYPE_I8, -128), "but i8 -128 was given"},
        {BYTE, number(TR_TYPE_F16, 1), "takes u8, but fp16 1 was given"},
        {LONG, tr_arg_i64(4), "argument 6 'long' of 'counting' was promised to be a multiple of 8"},
        {LONG, tr_arg_i64(-9), "a multiple of 8 when the kernel was compiled, but i64 -9 was given"},
        {LONG, tr_arg_i32(7), "but i32 7 was given"},
        {LONG, integer(TR_TYPE_U64, INT64_MIN),
         "takes i64, -9223372036854775808 to 9223372036854775807, but u64"},
        {LONG, tr_arg_f32(8), "takes i64, but fp32 8 was given"},
        {SHORT, tr_arg_i32(32768),
         "argument 7 'short' of 'counting' takes i16, -32768 to 32767, but i32 32768"},
        {SHORT, tr_arg_i32(-32769), "but i32 -32769 was given"},
        {SHORT, integer(TR_TYPE_U16, 65535), "but u16 65535 was given"},
        {HUGE_, tr_arg_i64(-1),
         "argument 8 'huge' of 'counting' takes u64, 0 to 18446744073709551615, but i64 -1"},
        {HUGE_, tr_arg_ptr(8), "takes u64, but pointer 0x8 was given"},
        {DESC, tr_arg_map(NULL), "argument 9 'desc' of 'counting' takes a tensor map, but NULL was given"},
        {DESC, tr_arg_map(&never), "was never encoded; fill it with tr_tensor_map_encode"},
        {DESC, tr_arg_ptr(b->out), "takes tensor map, but pointer"},
        {DESC, tr_arg_i32(0), "takes tensor map, but i32 0 was given"},
        {SINGLE, number(TR_TYPE_F64, 1e39), "argument 10 'single' of 'counting' takes fp32"},
        {SINGLE, number(TR_TYPE_F64, -3.5e38),
         "a finite value of magnitude up to 3.40282e+38, but fp64 -3.5e+38"},
        {SINGLE, tr_arg_i32(0), "takes fp32, but i32 0 was given"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        wrong(b, TR_E_SIGNATURE, cases[i].words, launch_with(b, cases[i].index, cases[i].argument, &error));
}

/* ---- tensor maps ---- */

static void wrong_tensors(bench *b) {
    const tr_tensor right = {sizeof(tr_tensor), b->out, TR_TYPE_F16, 2, 0, 0, {100, 48}, {64, 1}};
    tr_tensor_map out;
    tr_tensor t = right;
#define tensor(status, words, change)                                                                        \
    t = right, change;                                                                                       \
    wrong(b, status, words, tr_tensor_map_encode(b->kernel, DESC, &t, &out, &error))
    tensor(TR_E_SIGNATURE,
           "argument 9 'desc' of 'counting' is a descriptor of rank 2, but a tensor of rank 3", t.rank = 3);
    tensor(TR_E_SIGNATURE, "is a descriptor of fp16, but a tensor of bf16 was given",
           t.element = TR_TYPE_BF16);
    tensor(TR_E_SIGNATURE, "must be a multiple of 16", t.ptr += 8);
    tensor(TR_E_SIGNATURE, "the tensor lies at 0x0", t.ptr = 0);
    tensor(TR_E_SIGNATURE, "the last dimension's stride is 2 elements; it must be 1", t.strides[1] = 2);
    tensor(TR_E_SIGNATURE, "strides[0] is 63 elements of 2 bytes", t.strides[0] = 63);
    tensor(TR_E_SIGNATURE, "strides[0] is -64", t.strides[0] = -64);
    tensor(TR_E_SIGNATURE, "shape[0] is 0; it must be 1 to 2147483647", t.shape[0] = 0);
    tensor(TR_E_SIGNATURE, "shape[1] is 4294967296", t.shape[1] = 1LL << 32);
    tensor(TR_E_SIGNATURE, "only fp32 is rounded to tf32, not fp16", t.flags = TR_TENSOR_ROUND_TF32);
    tensor(TR_E_INVALID_ARGUMENT, "flags 0x80 has bits that mean nothing", t.flags = 0x80);
    tensor(TR_E_INVALID_ARGUMENT, "tr_tensor.reserved must be 0", t.reserved = 1);
    tensor(TR_E_INVALID_ARGUMENT, "tr_tensor.struct_size is 3", t.struct_size = 3);
#undef tensor
    t = right;
    wrong(b, TR_E_SIGNATURE, "argument 1 'n' of 'counting' takes i32, not a tensor map",
          tr_tensor_map_encode(b->kernel, N, &t, &out, &error));
    wrong(b, TR_E_SIGNATURE, "has 11 arguments, and none of index 11",
          tr_tensor_map_encode(b->kernel, COUNT, &t, &out, &error));
    wrong(b, TR_E_INVALID_ARGUMENT, "tensor is NULL",
          tr_tensor_map_encode(b->kernel, DESC, NULL, &out, &error));
}

/* ---- calls ---- */

static tr_status launch_grid(bench *b, uint32_t x, uint32_t y, uint32_t z, tr_error **error) {
    tr_launch_config config = {sizeof config, {x, y, z}, 0, 0, 0, 0, 0, 0};
    return tr_launch(b->kernel, &config, b->good, COUNT, error);
}

static tr_status launch_flags(bench *b, uint32_t flags, tr_arg out, tr_error **error) {
    tr_launch_config config = TR_LAUNCH_CONFIG_INIT;
    tr_arg args[COUNT];
    memcpy(args, b->good, sizeof args);
    args[OUT] = out;
    config.flags = flags;
    config.carveout = 101;
    return tr_launch(b->kernel, &config, args, COUNT, error);
}

static void wrong_calls(bench *b) {
    static _Alignas(16) char packed[1024], host[16];
    size_t size = b->kernel->pack->size;
    uint64_t freed = allocate(b->gpu, 1 << 22);
    ok(b->gpu, tr_device_free(b->gpu->runner, freed, &error));
    wrong(b, TR_E_SIGNATURE,
          "'counting' takes 11 arguments (out: pointer, n: i32, one: i32, half: fp16, flag: i1",
          tr_launch(b->kernel, NULL, b->good, COUNT - 1, &error));
    wrong(b, TR_E_SIGNATURE, "but 12 were given", tr_launch(b->kernel, NULL, b->good, COUNT + 1, &error));
    wrong(b, TR_E_SIGNATURE, "but 0 were given", tr_launch(b->kernel, NULL, NULL, 0, &error));
    wrong(b, TR_E_INVALID_ARGUMENT, "args is NULL", tr_launch(b->kernel, NULL, NULL, COUNT, &error));
    wrong(b, TR_E_INVALID_ARGUMENT, "it is NULL", tr_launch(NULL, NULL, b->good, COUNT, &error));
    wrong(b, TR_E_RESOURCE,
          "2147483648 x 1 x 1 is over the limit of 2147483647 x 65535 x 65535 for kernel 'counting'",
          launch_grid(b, 1u << 31, 1, 1, &error));
    wrong(b, TR_E_RESOURCE, "1 x 65536 x 1 is over", launch_grid(b, 1, 65536, 1, &error));
    wrong(b, TR_E_RESOURCE, "1 x 1 x 65536 is over", launch_grid(b, 1, 1, 65536, &error));
    wrong(b, TR_E_INVALID_ARGUMENT, "flags is 0x80000000", launch_flags(b, 1u << 31, b->good[OUT], &error));
    wrong(b, TR_E_INVALID_ARGUMENT, "carveout is 101 percent",
          launch_flags(b, TR_LAUNCH_CARVEOUT, b->good[OUT], &error));
    wrong(b, TR_E_INVALID_ARGUMENT, "both TR_LAUNCH_OVERLAP and TR_LAUNCH_NO_OVERLAP",
          launch_flags(b, TR_LAUNCH_OVERLAP | TR_LAUNCH_NO_OVERLAP, b->good[OUT], &error));
    wrong(b, TR_E_SIGNATURE, "argument 0 'out' of 'counting': pointer 0x",
          launch_flags(b, TR_LAUNCH_CHECK_POINTERS, tr_arg_ptr((uintptr_t)host), &error));
    wrong(b, TR_E_SIGNATURE,
          "pointer 0x10 is no address that the driver knows: the host's, freed, or never allocated",
          launch_flags(b, TR_LAUNCH_CHECK_POINTERS, tr_arg_ptr(16), &error));
    wrong(b, TR_E_SIGNATURE, "is no address that the driver knows",
          launch_flags(b, TR_LAUNCH_CHECK_POINTERS, tr_arg_ptr(freed), &error));
    ok(b->gpu, tr_kernel_pack(b->kernel, b->good, COUNT, packed, sizeof packed, &error));
    wrong(b, TR_E_SIGNATURE, "but 8 were given", tr_launch_packed(b->kernel, NULL, packed, 8, &error));
    wrong(b, TR_E_INVALID_ARGUMENT, "buffer is NULL", tr_launch_packed(b->kernel, NULL, NULL, size, &error));
    wrong(b, TR_E_INVALID_ARGUMENT, "but the buffer has 16",
          tr_kernel_pack(b->kernel, b->good, COUNT, packed, 16, &error));
    packed[0] = 1;
    wrong(b, TR_E_SIGNATURE, "argument 0 'out' of 'counting' was promised to be a multiple of 16",
          tr_launch_packed(b->kernel, NULL, packed, size, &error));
}

/* ---- kernels ---- */

static const char *const POINTER = "{\"type\": \"*i32\"}", *const TWO =
                                                               "{\"type\": \"*i32\"}, {\"type\": \"i32\"}";

static tr_program *load(gpu *gpu, const char *ptx, const char *parameters, const char *keys, const char *name,
                        tr_status *status, tr_error **error) {
    char json[2048];
    tr_program *program = NULL;
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    snprintf(
        json, sizeof json,
        "{%s\"name\": \"%s\", \"num_warps\": 4, \"triton_version\": \"3.7.1\", \"profile_scratch_size\": 0, "
        "\"profile_scratch_align\": 1, \"triton_runner\": {\"kernel\": \"%s\", \"parameters\": [%s], "
        "\"hidden\": "
        "[\"global_scratch\", \"profile_scratch\"]}}",
        keys, name, name, parameters);
    options.data = ptx;
    options.size = strlen(ptx);
    options.metadata = json;
    *status = tr_load_stage(gpu->runner, TR_STAGE_PTX, NULL, &options, &program, error);
    return program;
}

static tr_status create(gpu *gpu, const char *ptx, const char *parameters, const char *keys, const char *name,
                        tr_error **error) {
    tr_status status;
    tr_kernel *kernel = NULL;
    tr_program *program = load(gpu, ptx, parameters, keys, name, &status, error);
    if (!status) status = tr_kernel_create(program, &kernel, error);
    tr_program_destroy(program);
    tr_kernel_destroy(kernel);
    return status;
}

/* ptx → cubin by one assembler; the driver's knows its own device only. */
static tr_status assemble(gpu *gpu, const char *ptx, const char *assembler, tr_error **error) {
    char arch[16];
    tr_status status;
    tr_program *made = NULL;
    tr_compile_options options = TR_COMPILE_OPTIONS_INIT;
    tr_program *program = load(gpu, ptx, POINTER, KEYS("0", "0"), "made", &status, error);
    snprintf(arch, sizeof arch, "sm_%d", gpu->architecture);
    options.arch = arch, options.assembler = assembler;
    if (!status) status = tr_compile_to(program, TR_STAGE_CUBIN, &options, &made, error);
    tr_program_destroy(program);
    tr_program_destroy(made);
    return status;
}

/* Whoever assembles names the line; which of them is here depends on the machine. */
static void wrong_ptx(bench *b) {
    static const char *const words = "kernel.ptx:16: Not a name of any known instruction: 'frobnicate'";
    static const struct {
        const char *name, *missing;
    } programs[] = {{"ptxas", "no ptxas"}, {"nvjitlink", "no libnvJitLink"}};
    gpu *gpu = b->gpu;
    char *ptx = write_ptx(gpu, "made", ".param .u64 out,\n.param .u64 g,\n.param .u64 s", 128,
                          "frobnicate.u32 %r0;\n");
    for (int i = 0; i < 2; i++) {
        tr_error *error = NULL;
        tr_status status = assemble(gpu, ptx, programs[i].name, &error);
        bool missing = status == TR_E_COMPILER_MISSING;
        if (missing) printf("    %s: not on this machine\n", programs[i].name);
        judge(b, status, error, missing ? TR_E_COMPILER_MISSING : TR_E_COMPILE,
              missing ? programs[i].missing : words, programs[i].name);
    }
    if (gpu->cpu) { /* executes PTX itself */
        wrong(b, TR_E_UNSUPPORTED, "this driver has no compiler that makes cubins",
              assemble(gpu, ptx, "driver", &error));
        wrong(b, TR_E_COMPILE, "the driver's compiler refuses the PTX; tr_error_log says why",
              create(gpu, ptx, POINTER, KEYS("0", "0"), "made", &error));
    } else {
        wrong(b, TR_E_COMPILE, words, assemble(gpu, ptx, "driver", &error));
        wrong(b, TR_E_COMPILE, words, create(gpu, ptx, POINTER, KEYS("0", "0"), "made", &error));
    }
    free(ptx);
}

static void wrong_kernels(bench *b) {
    gpu *gpu = b->gpu;
    char *ptx = write_ptx(gpu, "made", ".param .u64 out,\n.param .u64 g,\n.param .u64 s", 128, "");
    char *wide =
        write_ptx(gpu, "made", ".param .u64 out,\n.param .u64 n,\n.param .u64 g,\n.param .u64 s", 128, "");
    wrong(b, TR_E_RESOURCE, "bytes of shared memory",
          create(gpu, ptx, POINTER, KEYS("400000", "0"), "made", &error));
    wrong(b, TR_E_PARSE,
          "kernel 'made' has 3 parameters; the 2 arguments that its metadata tell of don't fit them",
          create(gpu, ptx, TWO, KEYS("0", "0"), "made", &error));
    wrong(b, TR_E_PARSE, "that its metadata tell of don't fit them (at parameter 1)",
          create(gpu, wide, TWO, KEYS("0", "0"), "made", &error));
    free(ptx);
    free(wide);
}

void test_mistakes(gpu *gpu) {
    static const char *const body =
        "ld.param.u64 %d0, [out];\nmov.u32 %r0, %tid.x;\nmov.u32 %r1, %ctaid.x;\nor.b32 %r0, %r0, %r1;\n"
        "setp.ne.u32 %p0, %r0, 0;\n@%p0 bra DONE;\natom.global.add.u32 %r2, [%d0], 1;\nDONE:\n";
    bench b = {.gpu = gpu};
    uint32_t counted;
    tr_tensor_map map;
    char *ptx = write_ptx(gpu, "counting", DECLARED, 128, body);
    b.kernel = load_ptx(gpu, "counting", ptx, PARAMETERS, KEYS("0", "0") META);
    b.out = allocate(gpu, 1 << 16);
    tr_tensor tensor = {sizeof(tr_tensor), b.out, TR_TYPE_F16, 2, 0, 0, {100, 48}, {64, 1}};
    ok(gpu, tr_tensor_map_encode(b.kernel, DESC, &tensor, &map, &error));
    const tr_arg good[COUNT] = {
        [OUT] = tr_arg_ptr(b.out),
        [N] = tr_arg_i32(-5),
        [ONE] = tr_arg_i64(1),
        [HALF] = number(TR_TYPE_F64, (double)NAN), /* stays one */
        [FLAG] = tr_arg_i32(1),
        [BYTE] = tr_arg_i64(255),
        [LONG] = tr_arg_i32(-8),
        [SHORT] = integer(TR_TYPE_U64, 32767),
        [HUGE_] = integer(TR_TYPE_U64, -1),
        [DESC] = tr_arg_map(&map),
        [SINGLE] = number(TR_TYPE_F64, -(double)INFINITY),
    };
    memcpy(b.good, good, sizeof good);
    launch_right(&b);
    wrong_arguments(&b);
    wrong_tensors(&b);
    wrong_calls(&b);
    wrong_kernels(&b);
    wrong_ptx(&b);
    read_back(gpu, &counted, b.out, sizeof counted);
    printf("    %u wrong calls, %u right ones, %u launches counted\n", b.mistakes, b.right, counted);
    need(gpu, counted == b.right && b.mistakes >= 80);
    ok(gpu, tr_device_free(gpu->runner, b.out, &error));
    tr_kernel_destroy(b.kernel);
    free(ptx);
}
