/* The kernel that changes the nodes of a graph: its source, and the device runtime that it is linked with. */
#include "base/buffer.h"
#include "base/file.h"
#include "base/fork.h"
#include "launch/plan_update.h"
#include "runner.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

/* A thread for each entry, which the runtime reads where it lies, in the host's memory. */
const char *const tr__updater_source =
    ".version 8.0\n.target sm_%d\n.address_size 64\n"
    ".extern .func (.param .b32 status) cudaGraphKernelNodeUpdatesApply(.param .b64 updates, .param .b64 "
    "count);\n"
    ".visible .entry tell(.param .u64 page, .param .u32 count, .param .u32 ticket)\n.reqntid 256\n{\n"
    ".reg .pred %%p<4>;\n.reg .b32 %%r<8>;\n.reg .b64 %%d<8>;\n"
    "ld.param.u64 %%d0, [page];\nld.param.u32 %%r0, [count];\nmov.u32 %%r1, %%tid.x;\n"
    "NEXT:\nsetp.ge.u32 %%p0, %%r1, %%r0;\n@%%p0 bra DONE;\n"
    "mul.wide.u32 %%d1, %%r1, 128;\nadd.u64 %%d1, %%d0, %%d1;\nld.u64 %%d2, [%%d1+16];\nadd.u64 %%d3, %%d1, "
    "24;\n"
    "{\n.param .b64 list;\n.param .b64 length;\n.param .b32 result;\n"
    "st.param.b64 [list], %%d3;\nst.param.b64 [length], %%d2;\n"
    "call (result), cudaGraphKernelNodeUpdatesApply, (list, length);\nld.param.b32 %%r2, [result];\n}\n"
    "setp.eq.s32 %%p1, %%r2, 0;\n@%%p1 bra FINE;\nst.u32 [%%d0+4], %%r2;\nFINE:\n"
    "add.u32 %%r1, %%r1, 256;\nbra NEXT;\n"
    "DONE:\nbar.sync 0;\nmov.u32 %%r3, %%tid.x;\nsetp.ne.u32 %%p2, %%r3, 0;\n@%%p2 bra END;\n"
    "ld.param.u32 %%r4, [ticket];\nfence.sc.sys;\nst.volatile.u32 [%%d0], %%r4;\nEND:\nret;\n}\n";

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
