#include "counting.h"

#include "raw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_source(size_t count, char *ptx, size_t ptx_size, char *metadata, size_t metadata_size) {
    static const char *const types[] = {"*i32", "i32", "fp32"}, *const kinds[] = {".u64", ".u32", ".f32"};
    char declared[4096] = "", list[4096] = "";
    for (size_t i = 0; i < count; i++) {
        sprintf(declared + strlen(declared), ".param %s p%zu,\n", kinds[i % 3], i);
        sprintf(list + strlen(list), "%s{\"type\": \"%s\"}", i ? ", " : "", types[i % 3]);
    }
    snprintf(ptx, ptx_size,
             ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry counting(\n%s.param .u64 "
             "g,\n.param .u64 s\n)\n"
             ".reqntid 128\n{\n.reg .pred %%p<2>;\n.reg .b32 %%r<2>;\n.reg .b64 %%d<2>;\n%sret;\n}\n",
             declared,
             count ? "mov.u32 %r0, %tid.x;\nsetp.ne.u32 %p0, %r0, 0;\nld.param.u64 %d0, [p0];\n"
                     "@!%p0 red.global.add.u32 [%d0], 1;\n"
                   : "");
    snprintf(metadata, metadata_size,
             "{\"name\": \"counting\", \"num_warps\": 4, \"shared\": 0, \"global_scratch_size\": 0, "
             "\"global_scratch_align\": 1, \"triton_version\": \"3.7.1\", \"triton_runner\": {\"kernel\": "
             "\"counting\", \"parameters\": [%s], \"hidden\": [\"global_scratch\", \"profile_scratch\"]}}",
             list);
}

static void write_image(counting *counting, const tr_program *program) {
    char path[] = "/tmp/tr-bench-XXXXXX";
    const void *data;
    size_t size;
    int file = mkstemp(path);
    tr_program_bytes(program, &data, &size);
    if (file < 0 || write(file, data, size) != (ssize_t)size || close(file))
        bench_fail("%s: cannot be written", path);
    counting->image = strdup(path);
}

static void make_kernel(counting *counting) {
    char ptx[8192], metadata[8192], arch[16];
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_compile_options compile = TR_COMPILE_OPTIONS_INIT;
    tr_program *program, *image;
    snprintf(arch, sizeof arch, "sm_%d", counting->bench->arch);
    compile.arch = arch;
    write_source(counting->count, ptx, sizeof ptx, metadata, sizeof metadata);
    options.data = ptx, options.size = strlen(ptx), options.metadata = metadata;
    RUN(tr_load_stage(counting->bench->runner, TR_STAGE_PTX, NULL, &options, &program, &error));
    RUN(tr_compile_to(program, counting->bench->cpu ? TR_STAGE_PTX : TR_STAGE_CUBIN, &compile, &image,
                      &error));
    RUN(tr_kernel_create(image, &counting->kernel, &error));
    write_image(counting, image);
    tr_program_destroy(image);
    tr_program_destroy(program);
}

void counting_make(counting *counting, const bench *bench, size_t count) {
    unsigned zero = 0;
    int64_t size;
    void *function;
    *counting = (struct counting){.bench = bench, .count = count, .config = TR_LAUNCH_CONFIG_INIT};
    counting->config.stream = bench->stream;
    RUN(tr_device_alloc(bench->runner, sizeof zero, &counting->counter, &error));
    RUN(tr_device_write(bench->runner, counting->counter, &zero, sizeof zero, &error));
    make_kernel(counting);
    for (size_t i = 0; i < count; i++)
        counting->args[i] = i % 3 == 0   ? tr_arg_ptr(counting->counter)
                            : i % 3 == 1 ? tr_arg_i32(7)
                                         : tr_arg_f32(1.5f);
    RUN(tr_kernel_attribute(counting->kernel, TR_ATTRIBUTE_PACKED_SIZE, &size, &error));
    counting->size = (size_t)size;
    RUN(tr_kernel_pack(counting->kernel, counting->args, count, counting->packed, sizeof counting->packed,
                       &error));
    RUN(tr_kernel_function(counting->kernel, &function, &error));
    counting->function = function;
}

/* The attributes are those that tr_launch passes for this kernel: none. */
void counting_launch_raw(counting *counting) {
    bench_need(raw_launch(cu.cuLaunchKernelEx, counting->function, 1, counting->config.stream,
                          counting->packed, counting->size),
               "cuLaunchKernelEx");
}

void counting_launch_asking(counting *counting) {
    unsigned long long id;
    CUstreamCaptureStatus capturing;
    CU(cuCtxGetId(NULL, &id));
    if (counting->config.stream) CU(cuStreamIsCapturing(counting->config.stream, &capturing));
    counting_launch_raw(counting);
}

void counting_launch(counting *counting) {
    RUN(tr_launch(counting->kernel, &counting->config, counting->args, counting->count, &error));
}

void counting_launch_packed(counting *counting) {
    RUN(tr_launch_packed(counting->kernel, &counting->config, counting->packed, counting->size, &error));
}

void counting_end(counting *counting) {
    unsigned arrived = 0;
    RUN(tr_device_synchronize(counting->bench->runner, &error));
    RUN(tr_device_read(counting->bench->runner, &arrived, counting->counter, sizeof arrived, &error));
    if (counting->count && arrived != counting->launches)
        bench_fail("of %u launches %u arrived", counting->launches, arrived);
    RUN(tr_device_free(counting->bench->runner, counting->counter, &error));
    tr_kernel_destroy(counting->kernel);
    unlink(counting->image);
    free(counting->image);
}
