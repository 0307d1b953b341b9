/* What a launch did, counted instruction by instruction. Counting is its own loop, so that a launch that is
   not counted pays nothing. */
#ifndef TRCPU_COUNTERS_H
#define TRCPU_COUNTERS_H

#include "machine/warp.h"

trcpu_counts *trcpu_counts_create(const trcpu_function *function); /* NULL out of memory */
void trcpu_counts_destroy(trcpu_counts *counters);
/* The warp is about to execute the instruction for the lanes in `mask`, which may be none. From any thread.
 */
void trcpu_counts_note(trcpu_counts *counters, const trcpu_warp *warp, const trcpu_insn *insn, uint32_t mask);
/* One JSON object, to be freed; NULL out of memory:
     kernel, grid, block
     warp_instructions, thread_instructions
     divergent       warp instructions of a warp whose lanes are apart
     predicated_off  for no lane
     families        warp instructions by opcode without types: "ld.global", "mma.sync", "add"
     bytes           read and written, by space: ld, st, atom, red, cp.async, ldmatrix, stmatrix; not bulk copies
     mma             instructions, operations (multiplications and additions)
     global          requests, and the 32-byte sectors they touch
     shared          requests, passes, conflicts: passes that would not be there if no bank was asked for two words
     lines           the same by line of the source */
char *trcpu_counts_json(const trcpu_counts *counters, const trcpu_launch *launch);

#endif
