/* A libcuda.so.1 that does nothing but record: every call succeeds at once, or fails when a test says so. It
   is the no-op driver that the library's own cost is measured with. A program that links it has loaded the
   libcuda.so.1 that the library then opens by that name; others find these functions with dlsym.

   Not thread-safe: what configures it. Thread-safe: the driver calls, and what reads. */
#ifndef STUB_H
#define STUB_H

#include "driver/cuda_api.h"

#include <stdbool.h>

#pragma GCC visibility push(default)

/* As at the start: two devices of compute capability 9.0, driver 13.0, no failures, all counts zero. Handles
   that are alive stay valid and are counted no more. */
void stub_reset(void);

/* ---- what it is ---- */
void stub_set_device_count(int count); /* at most 8 */
void stub_set_driver_version(int version);
void stub_set_attribute(CUdevice_attribute attribute, int value); /* of every device */
void stub_set_compute_capability(int major, int minor);
void stub_set_function_attribute(CUfunction_attribute attribute,
                                 int value); /* of functions got from now on */

typedef struct stub_parameter {
    uint32_t offset, size;
} stub_parameter;
/* What cuFuncGetParamInfo answers for functions got from now on, instead of what the PTX or cubin says; NULL:
   the image's own again. */
void stub_set_parameters(const stub_parameter *parameters, size_t count);
/* Hides a symbol from cuGetProcAddress, as an older driver; dlsym still finds it. NULL: hides nothing. */
void stub_hide(const char *name);

/* ---- what fails ---- */
/* The n-th call from now (1: the next) of `name`, or of any function if NULL, gives `result`; and so do, when
   `forever`, all later ones of it. Any other call does its work. result CUDA_SUCCESS: nothing fails. */
void stub_fail(const char *name, unsigned long nth, CUresult result, bool forever);
bool stub_failed(void); /* has it happened? */

/* The current context, as a fault leaves it on a GPU: until stub_reset, waiting, allocating, asking its id and holding
   any primary context give `why`. */
void stub_break_context(CUresult why);

/* ---- what happened ---- */
unsigned long stub_calls(const char *name); /* since the reset; NULL: of all functions */
/* The names of the calls in order, separated by spaces, while recording is on; kept until the next
 * stub_record. */
void stub_record(bool on);
const char *stub_recorded(void);

typedef enum stub_kind {
    STUB_PRIMARY, /* retains not yet released */
    STUB_CONTEXT,
    STUB_MODULE,
    STUB_LIBRARY,
    STUB_MEMORY,
    STUB_HOST_MEMORY,
    STUB_STREAM,
    STUB_EVENT,
    STUB_GRAPH,
    STUB_GRAPH_EXEC,
    STUB_USER_OBJECT,
    STUB_LINK,
    STUB_KINDS
} stub_kind;
long stub_alive(stub_kind kind); /* made and not yet destroyed; STUB_KINDS: of all kinds */

/* The last kernel launched, or set in a graph, while recording is on. */
typedef struct stub_launch {
    CUfunction function;
    const char *name;
    uint32_t grid[3], block[3], shared;
    CUstream stream;
    CUcontext context; /* the current one */
    CUlaunchAttribute attributes[16];
    unsigned int attribute_count;
    unsigned char buffer[4096]; /* the parameters as the kernel would see them */
    size_t buffer_size;
} stub_launch;
const stub_launch *stub_last_launch(void);

#pragma GCC visibility pop

#endif
