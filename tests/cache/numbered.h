/* Kernels that differ by a number, PTX → cubin by ptxas: something to compile, and to tell from each other. */
#ifndef TESTS_CACHE_NUMBERED_H
#define TESTS_CACHE_NUMBERED_H

#include "triton_runner.h"

#include <stdio.h>
#include <string.h>

/* Its cubin; NULL on failure. */
static tr_program *compile_numbered(tr_runner *runner, int kernel, tr_error **error) {
    char ptx[1024];
    snprintf(ptx, sizeof ptx,
             ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry kernel_%d(\n.param .u64 a\n)\n"
             ".reqntid 32\n{\n.reg .b32 %%r<2>;\n.reg .b64 %%d<2>;\nld.param.u64 %%d0, [a];\n"
             "mov.u32 %%r0, %d;\nst.global.u32 [%%d0], %%r0;\nret;\n}\n",
             kernel, kernel * 1000 + 7);
    tr_load_options load = TR_LOAD_OPTIONS_INIT;
    tr_compile_options how = TR_COMPILE_OPTIONS_INIT;
    tr_program *program, *cubin = NULL;
    load.data = ptx, load.size = strlen(ptx);
    load.metadata = "{\"num_warps\": 1, \"shared\": 0}";
    how.assembler = "ptxas", how.arch = "sm_80";
    if (tr_load_stage(runner, TR_STAGE_PTX, NULL, &load, &program, error)) return NULL;
    tr_compile_to(program, TR_STAGE_CUBIN, &how, &cubin, error);
    tr_program_destroy(program);
    return cubin;
}

#endif
