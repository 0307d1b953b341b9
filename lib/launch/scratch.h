/* Scratch memory: what a kernel needs beside its arguments, per context and stream, reused by the stream's
   next launch, which runs when this one is done. A capture gets memory of its own, which its graph keeps. */
#ifndef TR_LAUNCH_SCRATCH_H
#define TR_LAUNCH_SCRATCH_H

#include "driver/driver.h"

typedef struct tr__scratches tr__scratches;

tr_status tr__scratches_create(tr__driver *driver, tr__scratches **out, tr_error **error);
void tr__scratches_close(tr__scratches *scratches); /* NULL is accepted; what a captured graph holds stays */

typedef struct tr__lent {
    CUdeviceptr ptr; /* as allocated */
    CUdeviceptr address;
    bool temporary; /* for this launch alone: to be given back behind it */
} tr__lent;

/* At least `bytes`, aligned, until the launch that follows on `stream` is done. `context` is current.
   overlapping: the launch may begin before the one ahead of it on the stream has ended, so they can't share.
   Once warm, neither lock nor allocation. */
tr_status tr__scratches_lend(tr__scratches *scratches, tr__context context, CUstream stream, bool capturing,
                             bool overlapping, uint64_t bytes, uint32_t alignment, tr__lent *out,
                             tr_error **error);
void tr__scratches_return(tr__scratches *scratches, CUstream stream, const tr__lent *lent);

/* Memory that is nobody's lane. Allocation takes the current context, and is allowed while another thread captures;
   freeing waits for the device. */
tr_status tr__scratch_allocate(tr__driver *driver, uint64_t bytes, CUdeviceptr *out, tr_error **error);
void tr__scratch_free(tr__driver *driver, tr__context context, CUdeviceptr ptr);

#endif
