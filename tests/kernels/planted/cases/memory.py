"""Accesses that go where nothing is, or not where they were promised"""
import numpy as np

from harness.planted import freed, null, on_host, plant, shifted, shortened

MISALIGNED = "CUDA_ERROR_MISALIGNED_ADDRESS"


def vectors(n, type_=float, **more):
    return lambda r: dict({"x_ptr": r.integers(0, 9, n), "out_ptr": np.zeros(n), "n": n}, **more)


COPY = "*fp32:16, *fp32:16, i32, 128"
# n elements, blocks of 128, four warps: thread t of program p has element 128 p + t
plant("load_unmasked", "load_unmasked", COPY, (3, ), vectors(300), "out-of-bounds", cta=(2, ), thread=(44, ),
      says="past the end of the allocation .* of 1200 bytes")
plant("store_unmasked", "store_unmasked", COPY, (3, ), vectors(300), "out-of-bounds", cta=(2, ), thread=(44, ),
      says="write")
plant("mask_too_wide", "mask_too_wide", COPY, (3, ), vectors(300), "out-of-bounds", cta=(2, ), thread=(44, ),
      says="offset 1200")
plant("one_before", "one_before", COPY, (1, ), vectors(100), "out-of-bounds", cta=(0, ), thread=(0, ),
      says="4 bytes before")
plant("one_before_of_fp64", "one_before", "*fp64:16, *fp64:16, i32, 128", (1, ), vectors(100), "out-of-bounds",
      thread=(0, ), says="8 bytes before")
for value, says in ((5000, "past the end"), (-3, "before")):

    def indices(r, value=value):
        index = r.integers(0, 100, 200)
        index[177] = value
        return {"x_ptr": r.normal(100), "index_ptr": index, "out_ptr": np.zeros(200), "n": 200}

    for kernel in ("gather", "scatter"):
        plant("%s_%d" % (kernel, value), kernel, "*fp32:16, *i32:16, *fp32:16, i32, 128", (2, ),
              lambda r, f=indices, k=kernel: dict(f(r), **({"x_ptr": r.normal(200)} if k == "scatter" else {})),
              "out-of-bounds", cta=(1, ), thread=(49, ), says=says if (kernel, value) != ("scatter", 5000) else "")
plant("bin_too_high", "count", "*i32:16, *i32:16, i32, 128", (1, ),
      lambda r: {"x_ptr": np.array([3] * 99 + [70]), "out_ptr": np.zeros(64), "n": 100}, "out-of-bounds",
      thread=(99, ))
plant("stride_too_long", "stride_too_long", "*fp32, *fp32, i32, i32, i32, 64", (10, ),
      lambda r: {"x_ptr": r.normal(500), "out_ptr": np.zeros(10), "rows": 10, "columns": 50, "stride": 51},
      "out-of-bounds", cta=(9, ), thread=(41, ), warps=2)
plant("product_overflows", "product_overflows", "*fp32:16, *fp32:16, i32, 32", (3, ),
      lambda r: {"x_ptr": r.normal(64), "out_ptr": np.zeros(96), "stride": 2**30 + 2**29}, "out-of-bounds", warps=1)
plant("through_helper", "through_helper", COPY, (2, ), vectors(200), "out-of-bounds", cta=(1, ), thread=(72, ),
      line="fetch", says="through_helper|inlined|kernels.py")
plant("block_unchecked", "block_unchecked", "*fp32:16, *fp32, i32, i32:16, 32", (2, ),
      lambda r: {"x_ptr": r.normal(50, 32), "out_ptr": np.zeros(64), "rows": 50, "columns": 32}, "out-of-bounds",
      cta=(1, ), versions=("3.2", "3.8"), why="block pointers may end")
plant("matmul_unmasked", "matmul_unmasked", "*fp16:16, *fp16:16, *fp32:16, i32:16, i32:16, 32, 32", (1, ),
      lambda r: {"a_ptr": r.normal(30 * 64), "b_ptr": r.normal(64, 32), "c_ptr": np.zeros((32, 32)), "n": 32, "k": 64},
      "out-of-bounds", stages=3)
plant("null_input", "copy", COPY, (1, ), vectors(100), "out-of-bounds", thread=(0, ), says="null", places={"x_ptr": null})
plant("null_output", "copy_out", COPY, (1, ), vectors(100), "out-of-bounds", thread=(0, ), says="null",
      places={"out_ptr": null})

# ---- right kernels, wrong calls ----
plant("count_too_high", "copy", COPY, (3, ), lambda r: dict(vectors(300)(r), n=301), "out-of-bounds", cta=(2, ),
      thread=(44, ))
plant("grid_and_count_too_high", "copy", COPY, (9, ), lambda r: dict(vectors(300)(r), n=1100), "out-of-bounds")
plant("output_too_short", "copy_out", COPY, (3, ), vectors(300), "out-of-bounds", cta=(2, ), thread=(34, ),
      places={"out_ptr": shortened(290)})
plant("count_breaks_promise", "copy", "*fp32:16, *fp32:16, i32:16, 1024", (1, ), vectors(1001), "out-of-bounds",
      cta=(0, ))
plant("shared_too_small", "row_sum", "*fp32:16, *fp32:16, 1024", (1, ),
      lambda r: {"x_ptr": r.normal(1024), "out_ptr": np.zeros(1)}, "out-of-bounds", shared=0, says="shared", line=False)
plant("used_after_free", "copy", COPY, (1, ), vectors(100), "use-after-free", thread=(0, ), places={"x_ptr": freed},
      says="freed")
plant("written_after_free", "copy_out", COPY, (1, ), vectors(100), "use-after-free", thread=(0, ),
      places={"out_ptr": freed}, says="write")
plant("counted_after_free", "count", "*i32:16, *i32:16, i32, 128", (1, ), vectors(100), "use-after-free",
      places={"out_ptr": freed})
plant("host_input", "copy", COPY, (1, ), vectors(100), "host-pointer", thread=(0, ), places={"x_ptr": on_host})
plant("host_output", "copy_out", COPY, (1, ), vectors(100), "host-pointer", thread=(0, ), places={"out_ptr": on_host})
plant("host_counters", "count", "*i32:16, *i32:16, i32, 128", (1, ), vectors(100), "host-pointer",
      places={"out_ptr": on_host})
plant("input_breaks_promise", "copy", "*fp32:16, *fp32:16, i32:16, 1024", (1, ), vectors(1024), "misaligned", MISALIGNED,
      thread=(0, ), places={"x_ptr": shifted(4)})
plant("output_breaks_promise", "copy_out", "*fp16:16, *fp16:16, i32:16, 1024", (1, ), vectors(1024), "misaligned",
      MISALIGNED, thread=(0, ), places={"out_ptr": shifted(2)})
plant("element_misaligned", "copy", "*fp32, *fp32, i32, 128", (1, ), vectors(100), "misaligned", MISALIGNED,
      thread=(0, ), places={"x_ptr": shifted(2)})
plant("wider_type", "wider_type", "*i32:16, *i64:16, 32", (1, ),
      lambda r: {"x_ptr": r.integers(0, 9, 100), "out_ptr": np.zeros(32)}, "misaligned", MISALIGNED, thread=(0, ),
      warps=1)
