/* The kernel that changes the nodes of a graph: its source, and the device runtime that it is linked with. */
#include "base/buffer.h"
#include "base/file.h"
#include "base/fork.h"
#include "launch/plan_update.h"
#include "runner.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

/* A warp for each record, "told" of plan_update.c. Its lanes copy it into shared memory, since what is read one after the
   other would cross the bus each time; the first makes up to three cudaGraphKernelNodeUpdate of it and has the runtime apply
   them. When all of a block are applied its first thread writes the ticket. */
const char *const tr__updater_source =
    ".version 8.0\n.target sm_%d\n.address_size 64\n"
    ".extern .func (.param .b32 status) cudaGraphKernelNodeUpdatesApply(.param .b64 updates, .param .b64 "
    "count);\n"
    ".extern .shared .align 16 .b8 room[];\n" /* for each warp 128 bytes of updates, and the record */
    ".visible .entry tell(.param .u64 page, .param .u32 stride, .param .u32 count, .param .u32 ticket)\n"
    ".maxntid 512\n{\n"
    ".reg .pred %%p<4>;\n.reg .b32 %%r<24>;\n.reg .b64 %%d<12>;\n"
    "ld.param.u64 %%d0, [page];\nld.param.u32 %%r0, [stride];\nld.param.u32 %%r1, [count];\n"
    "mov.u32 %%r2, %%tid.x;\nshr.u32 %%r3, %%r2, 5;\nand.b32 %%r4, %%r2, 31;\n"
    "mov.u32 %%r5, %%ntid.x;\nshr.u32 %%r5, %%r5, 5;\nmov.u32 %%r6, %%ctaid.x;\n"
    "mad.lo.u32 %%r5, %%r6, %%r5, %%r3;\nmul.wide.u32 %%d1, %%r5, %%r0;\nadd.u64 %%d1, %%d0, %%d1;\n"
    "setp.ge.u32 %%p0, %%r5, %%r1;\n@%%p0 bra APPLIED;\n"
    "mov.u32 %%r6, room;\nadd.u32 %%r7, %%r0, 128;\nmad.lo.u32 %%r6, %%r3, %%r7, %%r6;\nshl.b32 %%r7, %%r4, "
    "4;\n"
    "COPY:\nsetp.ge.u32 %%p0, %%r7, %%r0;\n@%%p0 bra COPIED;\n"
    "cvt.u64.u32 %%d2, %%r7;\nadd.u64 %%d2, %%d1, %%d2;\nadd.u32 %%r12, %%r6, %%r7;\n"
    "ld.global.v4.u32 {%%r8, %%r9, %%r10, %%r11}, [%%d2+16];\n"
    "st.shared.v4.u32 [%%r12+128], {%%r8, %%r9, %%r10, %%r11};\nadd.u32 %%r7, %%r7, 512;\nbra COPY;\n"
    "COPIED:\nbar.warp.sync 0xffffffff;\nsetp.ne.u32 %%p0, %%r4, 0;\n@%%p0 bra APPLIED;\n"
    "ld.shared.u64 %%d2, [%%r6+128];\nld.shared.v2.u32 {%%r8, %%r9}, [%%r6+136];\n" /* node, grid */
    "ld.shared.v2.u32 {%%r10, %%r11}, [%%r6+144];\n"                                /* grid, size */
    "ld.shared.u32 %%r12, [%%r6+152];\nand.b32 %%r13, %%r12, 1;\n"                  /* runs, is switched */
    "cvt.u64.u32 %%d3, %%r6;\ncvta.shared.u64 %%d3, %%d3;\nmov.u64 %%d4, 0;\nmov.u64 %%d5, 0;\n"
    "setp.eq.u32 %%p0, %%r11, 0;\n@%%p0 bra GRID;\n"
    "cvt.u64.u32 %%d6, %%r11;\nadd.u64 %%d7, %%d3, 160;\n"
    "st.shared.u64 [%%r6], %%d2;\nst.shared.u32 [%%r6+8], 2;\nst.shared.u64 [%%r6+16], %%d7;\n"
    "st.shared.u64 [%%r6+24], %%d4;\nst.shared.u64 [%%r6+32], %%d6;\nadd.u64 %%d5, %%d5, 1;\n"
    "add.u32 %%r6, %%r6, 40;\n"
    "GRID:\nsetp.eq.u32 %%p0, %%r13, 0;\n@%%p0 bra ENABLED;\n"
    "st.shared.u64 [%%r6], %%d2;\nst.shared.u32 [%%r6+8], 1;\nst.shared.u32 [%%r6+16], %%r8;\n"
    "st.shared.u32 [%%r6+20], %%r9;\nst.shared.u32 [%%r6+24], %%r10;\nadd.u64 %%d5, %%d5, 1;\n"
    "add.u32 %%r6, %%r6, 40;\n"
    "ENABLED:\nsetp.lt.u32 %%p0, %%r12, 2;\n@%%p0 bra APPLY;\n"
    "st.shared.u64 [%%r6], %%d2;\nst.shared.u32 [%%r6+8], 3;\nst.shared.u32 [%%r6+16], %%r13;\n"
    "add.u64 %%d5, %%d5, 1;\n"
    "APPLY:\n{\n.param .b64 list;\n.param .b64 length;\n.param .b32 result;\n"
    "st.param.b64 [list], %%d3;\nst.param.b64 [length], %%d5;\n"
    "call (result), cudaGraphKernelNodeUpdatesApply, (list, length);\nld.param.b32 %%r14, [result];\n}\n"
    "setp.ne.s32 %%p1, %%r14, 0;\n@%%p1 st.global.u32 [%%d0], %%r14;\n"
    "APPLIED:\nbar.sync 0;\nsetp.ne.u32 %%p0, %%r2, 0;\n@%%p0 bra END;\n"
    "ld.param.u32 %%r15, [ticket];\nfence.acq_rel.sys;\nst.volatile.global.u32 [%%d1+44], %%r15;\n"
    "END:\nret;\n}\n";

static tr__blob *read_first(const char *pattern) {
    glob_t found = {0};
    tr__blob *library = NULL;
    if (!glob(pattern, 0, NULL, &found))
        for (size_t i = 0; i < found.gl_pathc && !library; i++)
            if (tr__file_read(found.gl_pathv[i], 64 << 20, &library, NULL)) library = NULL;
    globfree(&found);
    return library;
}

static tr__blob *read_in(const char *folder, size_t length, const char *pattern) {
    tr__buffer path = {0};
    tr__blob *library = NULL;
    tr__buffer_printf(&path, "%.*s/%s/libcudadevrt.a", (int)length, folder, pattern);
    if (length && path.data) library = read_first(path.data);
    tr__buffer_release(&path);
    return library;
}

/* Beside the Triton installations and the active virtual environment, in their NVIDIA packages. */
static tr__blob *read_from_python(void) {
    const char *list = getenv("TRITON_RUNNER_PYTHON"), *active = getenv("VIRTUAL_ENV");
    tr__blob *library = NULL;
    for (const char *at = list; at && *at && !library; at += strcspn(at, ":"), at += *at == ':') {
        size_t length = strcspn(at, ":"), name = strcspn(at, "=:");
        if (name < length) library = read_in(at + name + 1, length - name - 1, "nvidia/*/lib");
        for (int up = 0; up < 2 && name; name--) up += at[name - 1] == '/'; /* "/usr/bin/python3": "/usr" */
        if (!library) library = read_in(at, name, "lib/python3*/site-packages/nvidia/*/lib");
    }
    if (!library && active)
        library = read_in(active, strlen(active), "lib/python3*/site-packages/nvidia/*/lib");
    return library;
}

static tr__blob *read_library(const char *named) {
    tr__blob *library = NULL;
    if (named) return tr__file_read(named, 64 << 20, &library, NULL) ? NULL : library;
    static const char *const variables[] = {"CUDA_HOME", "CUDA_PATH"};
    for (int i = 0; i < 2 && !library; i++) {
        const char *root = getenv(variables[i]);
        if (root) library = read_in(root, strlen(root), "lib64");
    }
    if (!library) library = read_first("/usr/local/cuda/lib64/libcudadevrt.a");
    if (!library) library = read_first("/usr/lib/*-linux-gnu/libcudadevrt.a");
    return library ? library : read_from_python();
}

static tr__blob *link_kernel(tr__driver *driver, const char *ptx, const tr__blob *library) {
    CUlinkState state = NULL;
    void *cubin = NULL;
    size_t size = 0;
    tr__blob *made = NULL;
    CUresult result = driver->cuLinkCreate(0, NULL, NULL, &state);
    if (!result)
        result = driver->cuLinkAddData(state, CU_JIT_INPUT_PTX, (void *)ptx, strlen(ptx) + 1, "tell.ptx", 0,
                                       NULL, NULL);
    if (!result)
        result = driver->cuLinkAddData(state, CU_JIT_INPUT_LIBRARY, (void *)library->data, library->size,
                                       "libcudadevrt.a", 0, NULL, NULL);
    if (!result) result = driver->cuLinkComplete(state, &cubin, &size);
    if (!result && size) made = tr__blob_create(cubin, size);
    if (state) driver->cuLinkDestroy(state);
    return made;
}

TR__PROCESS_LOCK(lock, (void)0);

/* Linked once in a process, for the architecture that was first asked for; other ones go without. What was missing is
   looked for again: it may be there then. */
const tr__blob *tr__updater_image(const tr_plan *plan, int architecture) {
    static tr__blob *image;
    static int made_for;
    const char *named = getenv("TRITON_RUNNER_CUDADEVRT");
    tr__blob *library = NULL;
    char ptx[4096];
    if (named && !*named) return NULL;
    pthread_mutex_lock(&lock);
    if (!made_for && !tr__runner_sealed(plan->runner)) library = read_library(named);
    if (library) {
        snprintf(ptx, sizeof ptx, tr__updater_source, architecture);
        image = link_kernel(plan->driver, ptx, library);
        made_for = image ? architecture : 0;
        tr__runner_log(plan->runner, 0,
                       image ? "plans are changed on the device"
                             : "libcudadevrt.a cannot be linked; plans are changed by the host");
    }
    tr__blob *found = made_for == architecture ? image : NULL;
    pthread_mutex_unlock(&lock);
    tr__blob_release(library);
    return found;
}
