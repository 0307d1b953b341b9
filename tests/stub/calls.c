/* Every function, doing nothing. driver.c has better ones of some, which take their place. */
#include "state.h"

#define CUDA_FUNCTION(name, symbol, since, params)                                                           \
    __attribute__((weak)) CUresult symbol params {                                                           \
        return stub_enter(ID_##symbol);                                                                      \
    }
#include "driver/cuda_symbols.inc"
