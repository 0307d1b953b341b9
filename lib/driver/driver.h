/* A CUDA driver opened at run time: libcuda.so.1, or the CPU device, which is one too. */
#ifndef TR_DRIVER_DRIVER_H
#define TR_DRIVER_DRIVER_H

#include "base/error.h"
#include "driver/cuda_api.h"

/* One device of it, and every entry point by name: driver->cuMemAlloc(…). Symbols the driver lacks are NULL where
   cuda_symbols.inc calls them optional. */
typedef struct tr__driver tr__driver;

/* device: as tr_runner_options.device. cpu_path: the CPU device's file. Never falls back unless it says "auto". */
tr_status tr__driver_open(const char *device, const char *cpu_path, tr__driver **out, tr_error **error);
void tr__driver_close(tr__driver *driver);

#endif
