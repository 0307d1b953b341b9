/* Arrays in numpy's .npy files (format versions 1.0 – 3.0): C order, little endian. */
#ifndef CLI_NPY_H
#define CLI_NPY_H

#include <triton_runner.h>

enum { NPY_RANK = 8 };

typedef struct npy_array {
    tr_type element;
    size_t rank, shape[NPY_RANK];
    size_t bytes;
    void *data; /* free() */
} npy_array;

size_t npy_element_size(tr_type element); /* bytes; 0: no such element */

/* Type names as in "f32", "bf16", "f8e4m3"; 0: no such name. */
tr_type npy_type(const char *name, size_t length);
const char *npy_type_name(tr_type type);

/* Fills `array`, or returns a message (free() it). `as`: what the elements are where numpy has no such type;
   they must have its size. 0: as the file says. */
char *npy_read(const char *path, tr_type as, npy_array *array);
char *npy_write(const char *path, const npy_array *array);

#endif
