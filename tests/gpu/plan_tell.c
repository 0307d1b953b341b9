/* The kernel that tells changes, with another function in place of the device runtime's: it writes what it is asked for to
   the "node", which is an address here: 16 bytes for each field, and the arguments behind 64. */
#include "gpu.h"

#include "launch/plan_update.h"

enum { TOLD = 1100, PARAMS = 704, STRIDE = 32 + PARAMS, WARPS = 16, NODE = 64 + PARAMS };

static tr_kernel *load_tell(gpu *gpu) {
    static const char *const apply =
        ".func (.param .b32 status) cudaGraphKernelNodeUpdatesApply(.param .b64 updates, .param .b64 "
        "count)\n{\n"
        ".reg .pred %p<4>;\n.reg .b16 %h<2>;\n.reg .b32 %r<4>;\n.reg .b64 %d<10>;\n"
        "ld.param.u64 %d0, [updates];\nld.param.u64 %d1, [count];\n"
        "UPDATE:\nsetp.eq.u64 %p0, %d1, 0;\n@%p0 bra LAST;\nld.u64 %d2, [%d0];\nld.u32 %r0, [%d0+8];\n"
        "setp.eq.u32 %p1, %r0, 2;\n@%p1 bra BYTES;\n"
        "mul.wide.u32 %d3, %r0, 16;\nadd.u64 %d3, %d2, %d3;\nld.u32 %r1, [%d0+16];\nst.u32 [%d3], %r1;\n"
        "setp.eq.u32 %p3, %r0, 3;\n@%p3 bra NEXT_ONE;\n"
        "ld.u32 %r1, [%d0+20];\nst.u32 [%d3+4], %r1;\nld.u32 %r1, [%d0+24];\nst.u32 [%d3+8], %r1;\nbra "
        "NEXT_ONE;\n"
        "BYTES:\nld.u64 %d4, [%d0+16];\nld.u64 %d5, [%d0+24];\nld.u64 %d6, [%d0+32];\nadd.u64 %d7, %d2, "
        "%d5;\n"
        "BYTE:\nsetp.eq.u64 %p2, %d6, 0;\n@%p2 bra NEXT_ONE;\nld.u8 %h0, [%d4];\nst.u8 [%d7+64], %h0;\n"
        "add.u64 %d4, %d4, 1;\nadd.u64 %d7, %d7, 1;\nsub.u64 %d6, %d6, 1;\nbra BYTE;\n"
        "NEXT_ONE:\nadd.u64 %d0, %d0, 40;\nsub.u64 %d1, %d1, 1;\nbra UPDATE;\n"
        "LAST:\nst.param.b32 [status], 0;\nret;\n}\n";
    char source[16384], ptx[16384];
    snprintf(source, sizeof source, tr__updater_source, gpu->cpu ? 89 : 90);
    char *declared = strstr(source, ".extern"), *behind = strchr(declared, ';') + 1;
    snprintf(ptx, sizeof ptx, "%.*s%s%s", (int)(declared - source), source, apply, behind);
    tr_load_options options = TR_LOAD_OPTIONS_INIT;
    tr_program *program;
    tr_kernel *kernel;
    options.data = ptx, options.size = strlen(ptx);
    options.metadata = "{\"name\": \"tell\", \"num_warps\": 16, \"shared\": 13824, \"triton_runner\": "
                       "{\"kernel\": \"tell\", "
                       "\"parameters\": [{\"type\": \"*i32\"}, {\"type\": \"i32\"}, {\"type\": \"i32\"}, "
                       "{\"type\": \"i32\"}], \"hidden\": []}}";
    _Static_assert(WARPS * (128 + STRIDE) == 13824, "the shared memory above");
    ok(gpu, tr_load_stage(gpu->runner, TR_STAGE_PTX, NULL, &options, &program, &error));
    ok(gpu, tr_kernel_create(program, &kernel, &error));
    tr_program_destroy(program);
    return kernel;
}

/* Each fifth does not run, each third is switched, each seventh has no arguments. */
static bool runs(uint32_t i) {
    return i % 5 != 0;
}

static uint32_t size_of_params(uint32_t i) {
    return runs(i) && i % 7 ? i * 5 % 700 : 0;
}

static void write_record(char *at, uint64_t node, uint32_t i) {
    uint32_t rest[6] = {i, i + 1, i + 2, size_of_params(i), runs(i) | (i % 3 ? 0 : 2), 0};
    memset(at, 2, STRIDE); /* whatever was there */
    memcpy(at, &node, sizeof node);
    memcpy(at + 8, rest, sizeof rest);
    for (uint32_t k = 0; k < size_of_params(i); k++) at[32 + k] = (char)(i + k * 7);
}

static void judge_node(gpu *gpu, const char *node, uint32_t i) {
    static const uint32_t none[3];
    const uint32_t grid[3] = {i, i + 1, i + 2};
    uint32_t enabled;
    memcpy(&enabled, node + 48, sizeof enabled);
    need(gpu, !memcmp(node + 16, runs(i) ? grid : none, sizeof grid));
    need(gpu, enabled == (i % 3 ? 0 : runs(i)));
    for (uint32_t k = 0; k < PARAMS; k++)
        if (node[64 + k] != (k < size_of_params(i) ? (char)(i + k * 7) : 0))
            fail(gpu, "byte %u of the arguments of entry %u differs", k, i);
}

/* Done: the first record of each block has the ticket. Nothing was refused. */
static void judge_page(gpu *gpu, uint64_t device, uint32_t ticket) {
    uint32_t refused, done;
    read_back(gpu, &refused, device, sizeof refused);
    need(gpu, refused == 0);
    for (uint32_t i = 0; i < TOLD; i += WARPS) {
        read_back(gpu, &done, device + 16 + (uint64_t)STRIDE * i + 28, sizeof done);
        need(gpu, done == ticket);
    }
}

void test_plan_tell(gpu *gpu) {
    enum { PAGE = 16 + STRIDE * TOLD };
    tr_kernel *kernel = load_tell(gpu);
    char *page = calloc(1, PAGE), *seen = calloc(TOLD, NODE);
    uint64_t device = allocate(gpu, PAGE), nodes = allocate(gpu, TOLD * NODE);
    for (uint32_t i = 0; i < TOLD; i++)
        write_record(page + 16 + (size_t)STRIDE * i, nodes + (uint64_t)NODE * i, i);
    for (int32_t ticket = 4321; ticket < 4323; ticket++) {
        ok(gpu, tr_device_write(gpu->runner, device, page, PAGE, &error));
        const tr_arg args[] = {tr_arg_ptr(device), tr_arg_i32(STRIDE), tr_arg_i32(TOLD), tr_arg_i32(ticket)};
        launch(gpu, kernel, (TOLD + WARPS - 1) / WARPS, NULL, args, 4);
        read_back(gpu, seen, nodes, TOLD * NODE);
        judge_page(gpu, device, (uint32_t)ticket);
        for (uint32_t i = 0; i < TOLD; i++) judge_node(gpu, seen + (size_t)NODE * i, i);
        memset(seen, 0, TOLD * NODE);
        ok(gpu, tr_device_write(gpu->runner, nodes, seen, TOLD * NODE, &error));
    }
    ok(gpu, tr_device_free(gpu->runner, device, &error));
    ok(gpu, tr_device_free(gpu->runner, nodes, &error));
    tr_kernel_destroy(kernel);
    free(page);
    free(seen);
}
