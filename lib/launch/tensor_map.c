#include "launch/tensor_map.h"

#include "base/hash.h"
#include "launch/kernel.h"

#include <stdio.h>
#include <string.h>

/* What Triton's launchers do differently about descriptors, by the version that compiled the kernel. */
typedef struct manners {
    int from; /* 304: 3.4 and up to the next line */
    bool pads_with_nan, rounds_to_tf32;
    bool passes_padded_shape; /* of packed fp4, the kernel gets the doubled last dimension too */
} manners;

static const manners by_version[] = {
    {304, false, false, false},
    {305, true, false, true},
    {307, true, true, false},
};

static const manners *manners_of(const tr__record *record) {
    const manners *last = &by_version[sizeof by_version / sizeof *by_version - 1], *found = by_version;
    int major, minor;
    if (!record->triton_version || sscanf(record->triton_version, "%d.%d", &major, &minor) != 2) return last;
    for (const manners *at = by_version; at <= last; at++)
        if (at->from <= 100 * major + minor) found = at;
    return found;
}

uint64_t tr__descriptor_print(const tr__param *param) {
    const tr__descriptor *d = &param->descriptor;
    int64_t fields[13] = {d->encoded,
                          d->rank,
                          d->flags,
                          d->swizzle,
                          d->element_size,
                          d->element_type,
                          d->fp4_padded,
                          d->im2col,
                          0,
                          0,
                          0,
                          0,
                          0};
    for (uint32_t i = 0; i < d->rank && i < 5; i++) fields[8 + i] = d->block[i];
    tr__hash hash = tr__hash_bytes(fields, sizeof fields);
    return (hash.low ^ hash.high) | 1;
}

typedef struct encoding {
    const tr_kernel *kernel;
    const tr__param *param;
    const tr_tensor *tensor;
    char which[160]; /* "argument 0 'a' of 'matmul'" */
} encoding;

/* Bytes of an element; of packed fp4, of two. */
static uint32_t element_size(const tr__param *param) {
    if (param->descriptor.element_size) return (uint32_t)param->descriptor.element_size;
    switch (param->element) {
    case TR_TYPE_F16:
    case TR_TYPE_BF16:
    case TR_TYPE_I16:
    case TR_TYPE_U16: return 2;
    case TR_TYPE_I32:
    case TR_TYPE_U32:
    case TR_TYPE_F32:
    case TR_TYPE_TF32: return 4;
    case TR_TYPE_I64:
    case TR_TYPE_U64:
    case TR_TYPE_F64: return 8;
    default: return 1;
    }
}

static bool is_float(tr_type type) {
    return type == TR_TYPE_F16 || type == TR_TYPE_BF16 || type == TR_TYPE_F32 || type == TR_TYPE_F64;
}

/* Integers of one size are one to a descriptor, and packed fp4 travels in bytes. */
static bool same_element(const tr__param *param, tr_type given) {
    static const tr_type twins[][2] = {{TR_TYPE_I8, TR_TYPE_U8},    {TR_TYPE_I16, TR_TYPE_U16},
                                       {TR_TYPE_I32, TR_TYPE_U32},  {TR_TYPE_I64, TR_TYPE_U64},
                                       {TR_TYPE_F32, TR_TYPE_TF32}, {TR_TYPE_U8, TR_TYPE_F4E2M1}};
    tr_type wanted = param->element;
    if (!wanted || wanted == given) return true;
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++)
        if ((twins[i][0] == wanted && twins[i][1] == given) ||
            (twins[i][1] == wanted && twins[i][0] == given))
            return true;
    return false;
}

static tr_status check_kind(const encoding *e, tr_error **error) {
    const tr_tensor *t = e->tensor;
    const manners *manners = manners_of(e->kernel->record);
    const char *version =
        e->kernel->record->triton_version ? e->kernel->record->triton_version : "this version";
    if (t->rank != e->param->descriptor.rank)
        return tr__fail(error, TR_E_SIGNATURE,
                        "%s is a descriptor of rank %u, but a tensor of rank %u was given", e->which,
                        e->param->descriptor.rank, t->rank);
    if (!same_element(e->param, t->element))
        return tr__fail(error, TR_E_SIGNATURE, "%s is a descriptor of %s, but a tensor of %s was given",
                        e->which, tr__type_name(e->param->element), tr__type_name(t->element));
    if (t->reserved)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "%s: tr_tensor.reserved must be 0", e->which);
    if (t->flags & ~(uint32_t)(TR_TENSOR_PAD_NAN | TR_TENSOR_ROUND_TF32))
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "%s: tr_tensor.flags 0x%x has bits that mean nothing",
                        e->which, t->flags);
    if (t->flags & TR_TENSOR_PAD_NAN && !is_float(t->element))
        return tr__fail(error, TR_E_SIGNATURE, "%s: a tensor of %s cannot be padded with NaN", e->which,
                        tr__type_name(t->element));
    if (t->flags & TR_TENSOR_PAD_NAN && !manners->pads_with_nan)
        return tr__fail(error, TR_E_UNSUPPORTED, "%s: Triton %s cannot pad with NaN, which came with 3.5",
                        e->which, version);
    if (t->flags & TR_TENSOR_ROUND_TF32 && t->element != TR_TYPE_F32 && t->element != TR_TYPE_TF32)
        return tr__fail(error, TR_E_SIGNATURE, "%s: only fp32 is rounded to tf32, not %s", e->which,
                        tr__type_name(t->element));
    if (t->flags & TR_TENSOR_ROUND_TF32 && !manners->rounds_to_tf32)
        return tr__fail(error, TR_E_UNSUPPORTED, "%s: Triton %s cannot round to tf32, which came with 3.7",
                        e->which, version);
    return TR_OK;
}

static tr_status check_shape(const encoding *e, tr_error **error) {
    const tr_tensor *t = e->tensor;
    bool encoded = e->param->descriptor.encoded;
    uint32_t size = element_size(e->param), last = t->rank - 1;
    if (!t->ptr || t->ptr % 16)
        return tr__fail(error, TR_E_SIGNATURE,
                        "%s: the tensor lies at 0x%llx; a descriptor's must be a multiple of 16", e->which,
                        (unsigned long long)t->ptr);
    if (t->strides[last] != 1)
        return tr__fail(error, TR_E_SIGNATURE,
                        "%s: the last dimension's stride is %lld elements; it must be 1", e->which,
                        (long long)t->strides[last]);
    for (uint32_t i = 0; i < t->rank; i++) {
        if (t->shape[i] < encoded || t->shape[i] > INT32_MAX)
            return tr__fail(error, TR_E_SIGNATURE, "%s: shape[%u] is %lld; it must be %d to 2147483647",
                            e->which, i, (long long)t->shape[i], encoded);
        if (i < last &&
            (t->strides[i] <= 0 || t->strides[i] > (INT64_C(1) << 40) / size || t->strides[i] * size % 16))
            return tr__fail(
                error, TR_E_SIGNATURE,
                "%s: strides[%u] is %lld elements of %u bytes; it must be positive, below 2^40 bytes and a "
                "multiple of 16 bytes",
                e->which, i, (long long)t->strides[i], size);
    }
    return TR_OK;
}

/* Triton numbers the elements as the device's instructions do; cuTensorMapEncodeTiled has its own order. */
static CUtensorMapDataType host_type(const encoding *e) {
    int32_t type = e->param->descriptor.element_type;
    if (e->tensor->flags & TR_TENSOR_ROUND_TF32) return CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
    switch (type) {
    case 8: return CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ;
    case 9: return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
    case 10: return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    default: return (CUtensorMapDataType)type;
    }
}

enum { CORRECT_AFTER = 13010, SMALL = 128 << 10 };

/* Drivers up to 13.1 encode tensors below 128 KiB with a bit that makes their accesses go wrong. */
static void correct(const tr__driver *driver, uint64_t words[16], uint64_t last_byte) {
    if (driver->version <= CORRECT_AFTER && last_byte + 1 < SMALL) words[1] &= ~(UINT64_C(1) << 21);
}

static tr_status encode(const encoding *e, uint64_t words[16], tr_error **error) {
    const tr__descriptor *d = &e->param->descriptor;
    const tr_tensor *t = e->tensor;
    tr__driver *driver = e->kernel->driver;
    uint32_t rank = t->rank, box[5], steps[5] = {1, 1, 1, 1, 1};
    uint64_t shape[5], strides[5], last_byte = 0;
    CUtensorMap map = {{0}};
    if (!driver->cuTensorMapEncodeTiled)
        return tr__fail(error, TR_E_UNSUPPORTED, "%s: tensor maps take a driver of CUDA 12.0 or later",
                        e->which);
    if (d->element_size <= 0)
        return tr__fail(
            error, TR_E_INVALID_ARGUMENT,
            "%s: how its tensor map is encoded (tensordesc_meta) is recorded nowhere; load the kernel with "
            "its metadata",
            e->which);
    for (uint32_t i = 0; i < rank; i++) { /* the innermost dimension first */
        uint32_t from = rank - 1 - i;
        shape[i] = (uint64_t)t->shape[from] << (i == 0 && d->fp4_padded);
        box[i] = (uint32_t)d->block[from];
        strides[i] = (uint64_t)t->strides[from] * (uint64_t)d->element_size;
        last_byte += (shape[i] - 1) * strides[i];
    }
    tr__scope scope; /* encoding takes a current context */
    tr_status status = tr__driver_enter(driver, &scope, error);
    if (status) return status;
    CUresult result = driver->cuTensorMapEncodeTiled(
        &map, host_type(e), rank, (void *)(uintptr_t)t->ptr, shape, strides + 1, box, steps,
        CU_TENSOR_MAP_INTERLEAVE_NONE, (CUtensorMapSwizzle)d->swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
        t->flags & TR_TENSOR_PAD_NAN ? CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA
                                     : CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    tr__driver_leave(driver, &scope);
    if (result) {
        status = tr__driver_fail(driver, result, "cuTensorMapEncodeTiled", error);
        tr__error_prefix(error, "%s: a box of %u x %u with swizzle %d", e->which, rank > 1 ? box[1] : 1,
                         box[0], d->swizzle);
        return status;
    }
    correct(driver, map.opaque, last_byte);
    memcpy(words, map.opaque, sizeof map.opaque);
    return TR_OK;
}

static tr_status fill(const encoding *e, tr_tensor_map *out, tr_error **error) {
    const tr__descriptor *d = &e->param->descriptor;
    const tr_tensor *t = e->tensor;
    tr__tensor_map made = {.made_for = tr__descriptor_print(e->param), .ptr = t->ptr};
    tr_status status = d->encoded ? encode(e, made.encoded, error) : TR_OK;
    if (status) return status;
    memcpy(made.shape, t->shape, t->rank * sizeof *t->shape);
    memcpy(made.strides, t->strides, t->rank * sizeof *t->strides);
    if (d->fp4_padded && manners_of(e->kernel->record)->passes_padded_shape) made.shape[t->rank - 1] *= 2;
    made.flags[0] = t->flags & TR_TENSOR_PAD_NAN;
    made.flags[1] = t->flags & TR_TENSOR_ROUND_TF32 ? 1 : 0;
    memset(out, 0, sizeof *out);
    memcpy(out, &made, sizeof made);
    return TR_OK;
}

static tr_status read_tensor(const tr_tensor *tensor, tr_tensor *out, tr_error **error) {
    size_t size = tensor->struct_size, known = size < sizeof *out ? size : sizeof *out;
    if (size < sizeof *out || size > 4096)
        return tr__fail(error, TR_E_INVALID_ARGUMENT,
                        "tr_tensor.struct_size is %zu; begin with TR_TENSOR_INIT", size);
    for (size_t i = known; i < size; i++)
        if (((const char *)tensor)[i])
            return tr__fail(
                error, TR_E_UNSUPPORTED,
                "tr_tensor has something at byte %zu that this version of the library does not know", i);
    memcpy(out, tensor, known);
    return TR_OK;
}

tr_status tr_tensor_map_encode(const tr_kernel *kernel, size_t param, const tr_tensor *tensor,
                               tr_tensor_map *out, tr_error **error) {
    tr__error_clear(error);
    if (out) memset(out, 0, sizeof *out);
    if (!kernel || !tensor || !out)
        return tr__fail(error, TR_E_INVALID_ARGUMENT, "tr_tensor_map_encode: %s is NULL",
                        !kernel   ? "kernel"
                        : !tensor ? "tensor"
                                  : "out");
    const tr__record *record = kernel->record;
    if (param >= record->param_count)
        return tr__fail(error, TR_E_SIGNATURE, "'%s' has %zu arguments, and none of index %zu",
                        record->kernel, record->param_count, param);
    tr_tensor known;
    encoding e = {kernel, &record->params[param], &known, ""};
    const char *name = e.param->name ? e.param->name : "";
    snprintf(e.which, sizeof e.which, "argument %zu%s%.80s%s of '%.40s'", param, *name ? " '" : "", name,
             *name ? "'" : "", record->kernel);
    if (e.param->type != TR_TYPE_TENSOR_MAP)
        return tr__fail(error, TR_E_SIGNATURE, "%s takes %s, not a tensor map", e.which,
                        tr__type_name(e.param->type));
    tr_status status = read_tensor(tensor, &known, error);
    if (!status) status = check_kind(&e, error);
    if (!status) status = check_shape(&e, error);
    return status ? status : fill(&e, out, error);
}
