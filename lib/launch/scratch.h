/* Scratch memory: what a kernel needs beside its arguments, per stream, reused by the stream's next launch.
 */
#ifndef TR_LAUNCH_SCRATCH_H
#define TR_LAUNCH_SCRATCH_H

#include "driver/driver.h"

typedef struct tr__scratches tr__scratches;

tr_status tr__scratches_create(tr__driver *driver, tr__scratches **out, tr_error **error);
void tr__scratches_close(tr__scratches *scratches); /* NULL is accepted; what a captured graph holds stays */

#endif
