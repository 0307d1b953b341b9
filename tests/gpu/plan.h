/* What the tests of plans share. */
#ifndef TEST_GPU_PLAN_H
#define TEST_GPU_PLAN_H

#include "gpu.h"

#include "launch/plan.h"

/* out[i] = in[i] * a + b + i for i < n: two of them in the wrong order, or one left out, are seen. */
tr_kernel *load_affine(gpu *gpu);
void affine_args(tr_arg args[5], uint64_t out, uint64_t in, uint32_t a, uint32_t b, uint32_t n);

enum { ENOUGH = 8 }; /* kernels: the changes of fewer are always told by the host */

unsigned long builds(gpu *gpu); /* of graphs, so far */
/* How often since then, and how often changes were told on the device, where CUDA's device runtime is. */
void print_updates(gpu *gpu, const char *what, unsigned long builds_before);

uint32_t next_random(uint32_t *state, uint32_t below);
CUstream make_stream(gpu *gpu);

#endif
