/* Every kind of parameter arrives: a kernel of all of them copies what it was given, byte for byte, to memory. */
#include "gpu.h"

typedef struct kind {
    const char *type; /* in the record */
    const char *ptx;  /* as Triton declares it, with the parameter's number for %d */
    tr_arg argument;
} kind;

/* Both descriptors are encoded tensor maps on a GPU, pointer, shape and strides on the CPU device. */
static const kind kinds[] = {
    {"*fp32", ".u64 p%d", {TR_TYPE_PTR, 0, {0}}}, /* where to copy to */
    {"i1", ".u8 p%d", {TR_TYPE_I1, 0, {.i = 1}}},
    {"i8", ".u8 p%d", {TR_TYPE_I8, 0, {.i = -100}}},
    {"tensordesc<fp16[64, 32]>", NULL, {TR_TYPE_TENSOR_MAP, 0, {0}}},
    {"u8", ".u8 p%d", {TR_TYPE_U8, 0, {.u = 200}}},
    {"i16", ".u16 p%d", {TR_TYPE_I16, 0, {.i = -30000}}},
    {"u16", ".u16 p%d", {TR_TYPE_U16, 0, {.u = 60000}}},
    {"fp16", ".align 2 .b8 p%d[2]", {TR_TYPE_F16, 0, {.f = 1.5}}},
    {"i32", ".u32 p%d", {TR_TYPE_I32, 0, {.i = -2000000000}}},
    {"bf16", ".align 2 .b8 p%d[2]", {TR_TYPE_BF16, 0, {.f = -3.0}}},
    {"u32", ".u32 p%d", {TR_TYPE_U32, 0, {.u = 4000000000}}},
    {"i64", ".u64 p%d", {TR_TYPE_I64, 0, {.i = -5000000000}}},
    {"fp32", ".f32 p%d", {TR_TYPE_F32, 0, {.f = 0.1}}},
    {"u64", ".u64 p%d", {TR_TYPE_U64, 0, {.u = 0xfedcba9876543210}}},
    {"tensordesc<fp32[16]>", NULL, {TR_TYPE_TENSOR_MAP, 0, {0}}},
    {"fp64", ".f64 p%d", {TR_TYPE_F64, 0, {.f = 0.1}}},
    {"*i8", ".u64 p%d", {TR_TYPE_PTR, 0, {.ptr = 0x7fff12345678}}},
};
enum { COUNT = sizeof kinds / sizeof *kinds };
/* The values above as the kernel must see them, but for pointers and descriptors. */
static const uint64_t expected[COUNT] = {0,
                                         1,
                                         0x9c,
                                         0,
                                         200,
                                         0x8ad0,
                                         60000,
                                         0x3e00,
                                         0x88ca6c00,
                                         0xc040,
                                         4000000000,
                                         0xfffffffed5fa0e00,
                                         0x3dcccccd,
                                         0xfedcba9876543210,
                                         0,
                                         0x3fb999999999999a,
                                         0x7fff12345678};

static const char *const META =
    "\"tensordesc_meta\": [{\"swizzle\": 2, \"elem_size\": 2, \"elem_type\": 6, \"block_size\": [64, 32], "
    "\"fp4_padded\": false}, {\"swizzle\": 0, \"elem_size\": 4, \"elem_type\": 7, \"block_size\": [16], "
    "\"fp4_padded\": false}], ";

/* One parameter as the kernel counts them: its declaration, and the instructions that copy it to `offset`. */
static void add_parameter(tr__buffer *declared, tr__buffer *body, int *index, const char *ptx,
                          uint32_t offset, uint32_t size) {
    char declaration[64];
    snprintf(declaration, sizeof declaration, ptx, *index);
    tr__buffer_printf(declared, "%s.param %s", *index ? ",\n" : "", declaration);
    for (uint32_t at = 0; at < size; at += 8) {
        uint32_t width = size < 8 ? size * 8 : 64;
        const char *registers = width == 64 ? "%d1" : width == 32 ? "%r1" : "%h1";
        tr__buffer_printf(body, "ld.param.u%u %s, [p%d+%u];\nst.global.u%u [%%d0+%u], %s;\n", width,
                          registers, *index, at, width, offset + at, registers);
    }
    ++*index;
}

static void add_kind(tr__buffer *declared, tr__buffer *body, int *index, const kind *kind, uint32_t rank,
                     bool encoded, uint32_t *offset) {
    tr_type types[TR__EXPANSION_MAX];
    tr__param param = {.type = TR_TYPE_TENSOR_MAP,
                       .descriptor = {.encoded = encoded, .rank = rank, .flags = 2}};
    uint32_t count = kind->ptx ? 1 : tr__param_expand(&param, types);
    for (uint32_t i = 0; i < count; i++) {
        const char *ptx = kind->ptx;
        uint32_t size = 8;
        if (!ptx) {
            ptx = types[i] == TR_TYPE_TENSOR_MAP ? ".align 64 .b8 p%d[128]"
                  : types[i] == TR_TYPE_I32      ? ".u32 p%d"
                  : types[i] == TR_TYPE_I1       ? ".u8 p%d"
                                                 : ".u64 p%d";
            size = types[i] == TR_TYPE_TENSOR_MAP ? 128
                   : types[i] == TR_TYPE_I32      ? 4
                   : types[i] == TR_TYPE_I1       ? 1
                                                  : 8;
        } else {
            size = strstr(ptx, "8 p%d[2]") || strstr(ptx, "16") ? 2
                   : strstr(ptx, "u8")                          ? 1
                   : strstr(ptx, "32")                          ? 4
                                                                : 8;
        }
        add_parameter(declared, body, index, ptx, *offset, size);
        *offset += 128;
    }
}

/* As the descriptor of these tensors must arrive, element by element of 128 bytes each; the map is the driver's. */
static void check_descriptor(gpu *gpu, const char *at, const tr_tensor *tensor, bool encoded) {
    uint32_t rank = tensor->rank;
    bool anything = false;
    for (int i = 0; i < (encoded ? 128 : 8); i++) anything |= at[i] != 0;
    need(gpu, anything);
    if (!encoded) {
        need(gpu, !memcmp(at, &tensor->ptr, 8));
        for (uint32_t i = 0; i < rank; i++) {
            need(gpu, !memcmp(at + 128 * (1 + i), &tensor->shape[i], 8));
            need(gpu, !memcmp(at + 128 * (1 + rank + i), &tensor->strides[i], 8));
        }
        need(gpu, !at[128 * (1 + 2 * rank)] && !at[128 * (2 + 2 * rank)]);
        at += 128 * (2 * rank + 2);
    }
    for (uint32_t i = 0; i < rank; i++) {
        need(gpu, !memcmp(at + 128 * (1 + i), &tensor->shape[i], 4));
        need(gpu, !memcmp(at + 128 * (1 + rank + i), &tensor->strides[i], 8));
    }
}

void test_abi(gpu *gpu) {
    tr__buffer declared = {0}, body = {0}, list = {0};
    uint32_t offset = 0, place[COUNT + 1];
    int index = 0;
    bool encoded = gpu->target >= 90;
    tr__buffer_puts(&body, "ld.param.u64 %d0, [p0];\n");
    for (int i = 0; i < COUNT; i++) {
        place[i] = offset;
        add_kind(&declared, &body, &index, &kinds[i], i == 3 ? 2 : 1, encoded, &offset);
        tr__buffer_printf(&list, "%s{\"type\": \"%s\", \"name\": \"a%d\"%s}", i ? ", " : "", kinds[i].type, i,
                          kinds[i].ptx || encoded ? "" : ", \"flags\": 2");
        if (i == 5)
            tr__buffer_puts(&list, ", {\"type\": \"i32\", \"constant\": 1}"); /* folded: no parameter */
    }
    place[COUNT] = offset;
    static const kind hidden = {NULL, ".u64 p%d", {0}};
    for (int i = 0; i < 2; i++) add_kind(&declared, &body, &index, &hidden, 0, false, &offset);
    char *ptx = write_ptx(gpu, "abi", declared.data, 128, body.data);
    char keys[1024];
    snprintf(keys, sizeof keys, "\"shared\": 0, \"global_scratch_size\": 0, \"global_scratch_align\": 1, %s",
             encoded ? META : "\"tensordesc_meta\": [], ");
    tr_kernel *kernel = load_ptx(gpu, "abi", ptx, list.data, keys);

    uint64_t out = allocate(gpu, offset);
    char *got = calloc(1, offset);
    tr_tensor tensors[2] = {{sizeof(tr_tensor), out, TR_TYPE_F16, 2, 0, 0, {100, 48}, {64, 1}},
                            {sizeof(tr_tensor), out, TR_TYPE_F32, 1, 0, 0, {33}, {1}}};
    tr_tensor_map maps[2];
    ok(gpu, tr_tensor_map_encode(kernel, 3, &tensors[0], &maps[0], &error));
    ok(gpu, tr_tensor_map_encode(kernel, 15, &tensors[1], &maps[1], &error));
    tr_arg args[COUNT + 1];
    for (int i = 0, to = 0; i < COUNT; i++) {
        args[to++] = kinds[i].argument;
        if (i == 5) args[to++] = tr_arg_i32(1);
    }
    args[0] = tr_arg_ptr(out), args[3] = tr_arg_map(&maps[0]), args[15] = tr_arg_map(&maps[1]);
    launch(gpu, kernel, 1, NULL, args, COUNT + 1);
    read_back(gpu, got, out, offset);
    need(gpu, !memcmp(got, &out, 8));
    for (int i = 1; i < COUNT; i++) {
        uint64_t value = 0;
        memcpy(&value, got + place[i], 8);
        if (!kinds[i].ptx)
            check_descriptor(gpu, got + place[i], &tensors[i > 3], encoded);
        else if (value != expected[i])
            fail(gpu, "parameter %d (%s) arrived as 0x%llx, not 0x%llx", i, kinds[i].type,
                 (unsigned long long)value, (unsigned long long)expected[i]);
    }
    static const char zeros[128];
    need(gpu, !memcmp(got + place[COUNT], zeros, 128) && !memcmp(got + place[COUNT] + 128, zeros, 8));
    ok(gpu, tr_device_free(gpu->runner, out, &error));
    tr_kernel_destroy(kernel);
    free(got);
    free(ptx);
    tr__buffer_release(&declared);
    tr__buffer_release(&body);
    tr__buffer_release(&list);
}
