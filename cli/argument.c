#include "argument.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static char *wrong(const char *text, const char *format, ...) {
    char *reason = NULL, *whole = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&reason, format, arguments) < 0) reason = NULL;
    va_end(arguments);
    if (asprintf(&whole, "--arg '%s': %s", text, reason ? reason : "out of memory") < 0) whole = NULL;
    free(reason);
    return whole ? whole : strdup("out of memory");
}

static bool is_float(tr_type type) {
    return type >= TR_TYPE_F16 && type <= TR_TYPE_F64;
}

static bool is_unsigned(tr_type type) {
    return type == TR_TYPE_PTR || (type >= TR_TYPE_U8 && type <= TR_TYPE_U64);
}

static char *parse_scalar(const char *text, tr_type type, const char *value, tr_arg *out) {
    char *end;
    errno = 0;
    *out = (tr_arg){.type = type};
    if (is_float(type))
        out->value.f = strtod(value, &end);
    else if (is_unsigned(type))
        out->value.u =
            *value == '-' ? (errno = ERANGE, end = (char *)value + 1, 0) : strtoull(value, &end, 0);
    else
        out->value.i = strtoll(value, &end, 0);
    if (end == value || (*end && errno != ERANGE)) return wrong(text, "'%s' is not a number", value);
    if (errno == ERANGE && !is_float(type)) return wrong(text, "'%s' is out of range", value);
    return NULL;
}

/* "f32[64,1024]" into the array's type and shape. */
static char *parse_shape(const char *text, const char *from, const char *to, npy_array *array) {
    const char *bracket = memchr(from, '[', (size_t)(to - from));
    if (!bracket || to[-1] != ']')
        return wrong(text, "write out:TYPE[SHAPE]=FILE, as out:f32[64,1024]=z.npy");
    array->element = npy_type(from, (size_t)(bracket - from));
    if (!array->element) return wrong(text, "there is no element type '%.*s'", (int)(bracket - from), from);
    array->bytes = npy_element_size(array->element);
    for (const char *at = bracket + 1; at < to - 1;) {
        char *end = (char *)at;
        errno = 0;
        unsigned long long length = *at == '-' ? (errno = ERANGE, 0) : strtoull(at, &end, 10);
        if (errno || end == at || (*end != ',' && end != to - 1))
            return wrong(text, "the shape is not [N,N,…]");
        if (array->rank == NPY_RANK) return wrong(text, "at most %d dimensions", NPY_RANK);
        array->shape[array->rank++] = (size_t)length;
        if (__builtin_mul_overflow(array->bytes, (size_t)length, &array->bytes))
            return wrong(text, "that is more memory than there is");
        at = *end == ',' ? end + 1 : end;
    }
    array->data = calloc(1, array->bytes ? array->bytes : 1);
    return array->data ? NULL : wrong(text, "out of memory: %zu bytes", array->bytes);
}

/* "bf16:x.npy" or "x.npy", up to `to`. A type's name ends at the first colon, so a path may have colons of
   its own behind one. */
static char *parse_input(const char *text, const char *from, const char *to, npy_array *array) {
    const char *colon = memchr(from, ':', (size_t)(to - from));
    tr_type as = colon ? npy_type(from, (size_t)(colon - from)) : 0;
    if (as) from = colon + 1;
    char *path = strndup(from, (size_t)(to - from));
    if (!path) return wrong(text, "out of memory");
    char *problem = npy_read(path, as, array), *told = problem ? wrong(text, "%s", problem) : NULL;
    free(problem);
    free(path);
    return told;
}

char *argument_parse(const char *text, argument *out) {
    *out = (argument){.text = text, .value.type = TR_TYPE_PTR};
    const char *colon = strchr(text, ':'), *equals = strrchr(text, '=');
    if (!colon) return wrong(text, "write TYPE:VALUE, in:FILE, out:TYPE[SHAPE]=FILE or inout:FILE=FILE");
    size_t length = (size_t)(colon - text);
    const char *rest = colon + 1, *end = text + strlen(text);
    bool is_out = length == 3 && !memcmp(text, "out", 3), is_inout = length == 5 && !memcmp(text, "inout", 5);
    if (is_out || is_inout) {
        if (!equals || equals < rest || !equals[1]) return wrong(text, "'=FILE' is missing");
        out->output = equals + 1;
        return is_out ? parse_shape(text, rest, equals, &out->array)
                      : parse_input(text, rest, equals, &out->array);
    }
    if (length == 2 && !memcmp(text, "in", 2)) return parse_input(text, rest, end, &out->array);
    tr_type type = length == 3 && !memcmp(text, "ptr", 3) ? TR_TYPE_PTR : npy_type(text, length);
    if (!type || type > TR_TYPE_F64)
        return wrong(text, "'%.*s' is not the type of an argument", (int)length, text);
    return parse_scalar(text, type, rest, &out->value);
}

void argument_release(argument *argument) {
    free(argument->array.data);
    argument->array.data = NULL;
}

tr_status argument_bind(const argument *argument, uint64_t memory, const tr_kernel *kernel, size_t param,
                        tr_arg *out, tr_tensor_map *map, tr_error **error) {
    const npy_array *array = &argument->array;
    tr_param_info info = TR_PARAM_INFO_INIT;
    *out = array->data ? tr_arg_ptr(memory) : argument->value;
    if (!array->data || tr_kernel_param(kernel, param, &info) || info.type != TR_TYPE_TENSOR_MAP)
        return TR_OK;
    tr_tensor tensor = TR_TENSOR_INIT;
    tensor.ptr = memory;
    tensor.element = array->element;
    tensor.rank = (uint32_t)array->rank;
    int64_t stride = 1;
    for (size_t axis = array->rank < 5 ? array->rank : 5; axis-- > 0; stride *= tensor.shape[axis]) {
        tensor.shape[axis] = (int64_t)array->shape[axis];
        tensor.strides[axis] = stride;
    }
    *out = tr_arg_map(map);
    return tr_tensor_map_encode(kernel, param, &tensor, map, error);
}
