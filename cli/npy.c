#include "npy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* numpy's descriptor of each type; what numpy lacks is written as raw bytes of that size. */
static const struct {
    tr_type type;
    uint32_t size;
    const char *name, *descriptor;
} types[] = {
    {TR_TYPE_I1, 1, "i1", "|b1"},         {TR_TYPE_I8, 1, "i8", "|i1"},
    {TR_TYPE_I16, 2, "i16", "<i2"},       {TR_TYPE_I32, 4, "i32", "<i4"},
    {TR_TYPE_I64, 8, "i64", "<i8"},       {TR_TYPE_U8, 1, "u8", "|u1"},
    {TR_TYPE_U16, 2, "u16", "<u2"},       {TR_TYPE_U32, 4, "u32", "<u4"},
    {TR_TYPE_U64, 8, "u64", "<u8"},       {TR_TYPE_F16, 2, "f16", "<f2"},
    {TR_TYPE_F32, 4, "f32", "<f4"},       {TR_TYPE_F64, 8, "f64", "<f8"},
    {TR_TYPE_BF16, 2, "bf16", "<u2"},     {TR_TYPE_F8E4M3, 1, "f8e4m3", "|u1"},
    {TR_TYPE_F8E5M2, 1, "f8e5m2", "|u1"}, {TR_TYPE_F4E2M1, 1, "f4e2m1", "|u1"},
    {TR_TYPE_TF32, 4, "tf32", "<f4"},
};
enum { TYPES = sizeof types / sizeof *types };

size_t npy_element_size(tr_type element) {
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].type == element) return types[i].size;
    return 0;
}

tr_type npy_type(const char *name, size_t length) {
    for (size_t i = 0; i < TYPES; i++)
        if (strlen(types[i].name) == length && !memcmp(types[i].name, name, length)) return types[i].type;
    return 0;
}

const char *npy_type_name(tr_type type) {
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].type == type) return types[i].name;
    return "?";
}

__attribute__((format(printf, 1, 2))) static char *message(const char *format, ...) {
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0) text = NULL;
    va_end(arguments);
    return text ? text : strdup("out of memory");
}

/* The value behind 'key' in the header's dictionary; NULL when it isn't there. */
static const char *value_of(const char *header, const char *key) {
    const char *at = strstr(header, key);
    if (!at) return NULL;
    at += strlen(key);
    while (*at == ' ' || *at == ':') at++;
    return at;
}

static bool read_shape(const char *at, npy_array *array) {
    if (*at++ != '(') return false;
    for (;;) {
        while (*at == ' ' || *at == ',') at++;
        if (*at == ')') return true;
        char *end;
        errno = 0;
        unsigned long long length = strtoull(at, &end, 10);
        if (*at == '-' || end == at || errno || array->rank == NPY_RANK) return false;
        array->shape[array->rank++] = (size_t)length;
        at = end;
    }
}

static bool count_bytes(npy_array *array) {
    array->bytes = npy_element_size(array->element);
    for (size_t i = 0; i < array->rank; i++)
        if (__builtin_mul_overflow(array->bytes, array->shape[i], &array->bytes)) return false;
    return true;
}

static char *read_header(const char *path, const char *header, tr_type as, npy_array *array) {
    const char *descriptor = value_of(header, "'descr'"), *order = value_of(header, "'fortran_order'"),
               *shape = value_of(header, "'shape'");
    if (!descriptor || !order || !shape || *descriptor != '\'')
        return message("'%s' has a header that is not numpy's", path);
    if (strncmp(order, "False", 5))
        return message("'%s' is in Fortran order; save numpy.ascontiguousarray(x)", path);
    if (!read_shape(shape, array)) return message("'%s' has a shape this command can't read", path);
    const char *end = strchr(++descriptor, '\'');
    for (size_t i = 0; end && i < TYPES && !array->element; i++)
        if (strlen(types[i].descriptor) == (size_t)(end - descriptor) &&
            !memcmp(types[i].descriptor, descriptor, (size_t)(end - descriptor)))
            array->element = types[i].type;
    if (as && end) { /* any type of the same size: numpy's u1, u2, V2, ml_dtypes' own names */
        size_t size = (size_t)strtoul(descriptor + 2, NULL, 10);
        if (size != npy_element_size(as))
            return message("'%s' holds elements of %zu bytes; %s has %zu", path, size, npy_type_name(as),
                           npy_element_size(as));
        array->element = as;
    }
    if (!array->element)
        return message("'%s' holds '%.*s', which is not a type of kernels; say what it is: in:TYPE:%s", path,
                       end ? (int)(end - descriptor) : 0, descriptor, path);
    return count_bytes(array) ? NULL : message("'%s' says it is larger than memory", path);
}

static char *read_file(FILE *file, const char *path, tr_type as, npy_array *array) {
    unsigned char start[12];
    size_t length, prefix;
    if (fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6) || start[6] < 1 || start[6] > 3)
        return message("'%s' is not a .npy file", path);
    length = start[8] | (size_t)start[9] << 8;
    prefix = 10;
    if (start[6] > 1) {
        if (fread(start + 10, 1, 2, file) != 2) return message("'%s' ends in its header", path);
        length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
        prefix = 12;
    }
    if (length > 1 << 20) return message("'%s' has a header of %zu bytes", path, length);
    char *header = malloc(length + 1);
    if (!header) return message("out of memory");
    header[length] = '\0';
    char *problem = fread(header, 1, length, file) == length ? read_header(path, header, as, array)
                                                             : message("'%s' ends in its header", path);
    free(header);
    if (problem) return problem;
    if (fseek(file, 0, SEEK_END) || (size_t)ftell(file) != prefix + length + array->bytes)
        return message("'%s' does not hold the %zu bytes that its header promises", path, array->bytes);
    fseek(file, (long)(prefix + length), SEEK_SET);
    array->data = malloc(array->bytes ? array->bytes : 1);
    if (!array->data) return message("out of memory: '%s' has %zu bytes", path, array->bytes);
    if (fread(array->data, 1, array->bytes, file) == array->bytes) return NULL;
    free(array->data);
    array->data = NULL;
    return message("cannot read '%s'", path);
}

char *npy_read(const char *path, tr_type as, npy_array *array) {
    *array = (npy_array){0};
    FILE *file = fopen(path, "rbe");
    if (!file) return message("cannot open '%s': %s", path, strerror(errno));
    char *problem = read_file(file, path, as, array);
    fclose(file);
    return problem;
}

char *npy_write(const char *path, const npy_array *array) {
    const char *descriptor = "";
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].type == array->element) descriptor = types[i].descriptor;
    char header[512];
    int length =
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (", descriptor);
    for (size_t i = 0; i < array->rank; i++)
        length += snprintf(header + length, sizeof header - (size_t)length, "%zu,%s", array->shape[i],
                           i + 1 < array->rank ? " " : "");
    length += snprintf(header + length, sizeof header - (size_t)length, "), }");
    while ((10 + length + 1) % 64) header[length++] = ' '; /* numpy aligns the data to 64 bytes */
    header[length++] = '\n';
    const unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(length & 255), (unsigned char)(length >> 8)};
    FILE *file = fopen(path, "wbe");
    if (!file) return message("cannot write '%s': %s", path, strerror(errno));
    bool written = fwrite(start, 1, 10, file) == 10 &&
                   fwrite(header, 1, (size_t)length, file) == (size_t)length &&
                   fwrite(array->data, 1, array->bytes, file) == array->bytes;
    written = !fclose(file) && written;
    return written ? NULL : message("cannot write '%s': %s", path, strerror(errno));
}
