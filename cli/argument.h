/* The grammar of --arg: one kernel argument as it is written on a command line.

       i32:1024  f32:0.5  i1:1  ptr:0    a value of that type; ptr: a device address
       in:x.npy  in:bf16:x.npy           a device copy of an array; the second where numpy lacks the type
       out:f32[64,1024]=z.npy            zeroed device memory, written to the file when the kernel is done
       inout:x.npy=y.npy                 both; inout:bf16:x.npy=y.npy

   Where the kernel takes a tensor descriptor, an array becomes one of its shape. */
#ifndef CLI_ARGUMENT_H
#define CLI_ARGUMENT_H

#include "npy.h"

typedef struct argument {
    const char *text;
    tr_arg value;
    npy_array array;    /* data NULL: a scalar */
    const char *output; /* the file it is written to at the end; NULL: none. Points into `text` */
} argument;

/* Reads `text` (kept, not copied) and its input file. NULL, or a message to free(). */
char *argument_parse(const char *text, argument *out);
void argument_release(argument *argument);

/* What the kernel's parameter gets: the value; the array's device copy, or a descriptor of it, for which `map` is room. */
tr_status argument_bind(const argument *argument, uint64_t memory, const tr_kernel *kernel, size_t param,
                        tr_arg *out, tr_tensor_map *map, tr_error **error);

#endif
