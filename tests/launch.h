/* Kernels for the no-op driver, made of a signature alone: the image is PTX with the parameters that the signature
   expands to and nothing in it, from which the stub tells offsets and sizes as a driver would. */
#ifndef TEST_LAUNCH_H
#define TEST_LAUNCH_H

#include "launch/kernel.h"
#include "metadata/signature.h"
#include "stub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CUDA_FUNCTION(name, symbol, since, params) CUresult symbol params;
#include "driver/cuda_symbols.inc"

typedef void adjust(tr__record *record);

static inline void write_parameter(tr__buffer *ptx, tr_type type, int index) {
    const char *kind;
    switch (type) {
    case TR_TYPE_TENSOR_MAP: kind = ".align 64 .b8 p%d[128]"; break;
    case TR_TYPE_F16:
    case TR_TYPE_BF16: kind = ".align 2 .b8 p%d[2]"; break;
    case TR_TYPE_I1:
    case TR_TYPE_I8:
    case TR_TYPE_U8: kind = ".u8 p%d"; break;
    case TR_TYPE_I16:
    case TR_TYPE_U16: kind = ".u16 p%d"; break;
    case TR_TYPE_I32:
    case TR_TYPE_U32: kind = ".u32 p%d"; break;
    case TR_TYPE_F32: kind = ".f32 p%d"; break;
    case TR_TYPE_F64: kind = ".f64 p%d"; break;
    default: kind = ".u64 p%d";
    }
    char text[64];
    snprintf(text, sizeof text, kind, index);
    tr__buffer_printf(ptx, "%s.param %s", index ? ", " : "", text);
}

static inline tr__blob *make_image(const tr__record *record) {
    tr__buffer ptx = {0};
    tr_type types[TR__EXPANSION_MAX];
    int index = 0;
    tr__buffer_printf(&ptx, ".version 8.7\n.target sm_90\n.visible .entry %s(", record->kernel);
    for (size_t i = 0; i < record->param_count; i++) {
        uint32_t count = tr__param_expand(&record->params[i], types);
        for (uint32_t k = 0; k < count; k++) write_parameter(&ptx, types[k], index++);
    }
    for (uint32_t i = 0; i < record->hidden_count; i++) write_parameter(&ptx, TR_TYPE_PTR, index++);
    tr__buffer_puts(&ptx, ") { ret; }\n");
    tr__blob *image = tr__blob_create(ptx.data, ptx.size);
    tr__buffer_release(&ptx);
    return image;
}

/* "f3" of "*fp32:16, i32", as Triton 3.7 makes them (two hidden parameters, no scratch) unless `adjust` changes it. */
static inline tr_program *make_program(tr_runner *runner, const char *name, const char *signature,
                                       adjust *adjust) {
    tr__record *record = tr__record_create();
    tr__signature parsed;
    tr_program *program = NULL;
    assert_non_null(record);
    assert_int_equal(tr__signature_parse(signature, &parsed, NULL), TR_OK);
    assert_int_equal(tr__record_set_params(record, parsed.params, parsed.param_count, NULL), TR_OK);
    parsed.params = NULL, parsed.param_count = 0;
    tr__signature_release(&parsed);
    assert_true(tr__record_set_text(&record->kernel, name) && tr__record_set_text(&record->arch, "sm_90") &&
                tr__record_set_text(&record->triton_version, "3.7.1"));
    record->params_known = record->hidden_known = record->resources_known = true;
    record->hidden_count = 2;
    record->hidden[0] = TR__HIDDEN_GLOBAL_SCRATCH;
    record->hidden[1] = TR__HIDDEN_PROFILE_SCRATCH;
    tr__blob *image = make_image(record);
    if (adjust) adjust(record);
    tr__program_parts parts = {.stage = TR_STAGE_CUBIN, .bytes = image, .record = record};
    assert_int_equal(tr__program_create(runner, &parts, &program, NULL), TR_OK);
    tr__blob_release(image);
    tr__record_release(record);
    return program;
}

static inline tr_kernel *make_kernel(tr_runner *runner, const char *name, const char *signature,
                                     adjust *adjust) {
    tr_program *program = make_program(runner, name, signature, adjust);
    tr_kernel *kernel;
    tr_error *error = NULL;
    if (tr_kernel_create(program, &kernel, &error)) fail_msg("%s", tr_error_message(error));
    tr_program_destroy(program);
    return kernel;
}

#endif
