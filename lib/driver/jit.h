/* PTX → cubin by the driver's own compiler, where there is no other. */
#ifndef TR_DRIVER_JIT_H
#define TR_DRIVER_JIT_H

#include "compilers/compiler.h"
#include "driver/driver.h"

/* For the runner's device only, whatever it can do; TR_E_UNSUPPORTED for another architecture and on the CPU device. */
tr_status tr__driver_assemble(tr__driver *driver, const tr__compile_request *request,
                              tr__compile_result *result, tr_error **error);

#endif
