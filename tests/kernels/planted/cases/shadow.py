"""What only shadow state can see: data raced for, read before it was set, or used before its copy has landed"""
import numpy as np

from harness.planted import plant, replaced, unset, without

FAILED = "CUDA_ERROR_LAUNCH_FAILED"
ROW = ("row_sum", "*fp32:16, *fp32:16, 1024", (1, ), lambda r: {"x_ptr": r.normal(1024), "out_ptr": np.zeros(1)})
SCAN = ("running_sum", "*fp32:16, *fp32:16, 512", (1, ), lambda r: {"x_ptr": r.normal(512), "out_ptr": np.zeros(512)})
SQUARE = ("transpose", "*fp32:16, *fp32:16, 32", (1, ), lambda r: {"x_ptr": r.normal(32, 32),
                                                                  "out_ptr": np.zeros((32, 32))})
MATMUL = ("matmul", "*fp16:16, *fp16:16, *fp32:16, i32:16, i32:16, 64, 32", (1, ),
          lambda r: {"a_ptr": r.normal(64, 128), "b_ptr": r.normal(128, 64), "c_ptr": np.zeros((64, 64)), "n": 64,
                     "k": 128})
TMA = ("matmul_tma", ) + MATMUL[1:]

# ---- shared memory: barriers taken out, stores taken out ----
for name, kernel in (("row_sum", ROW), ("running_sum", SCAN), ("transpose", SQUARE)):
    plant("race_in_" + name, *kernel, "race-shared", FAILED, checks="race-shared", change=without(r"bar\.sync"))
    plant("unset_shared_in_" + name, *kernel, "uninitialised-shared", FAILED, checks="uninitialised-shared",
          change=without(r"st\.shared"))
plant("race_at_first_barrier", *ROW, "race-shared", FAILED, checks="race-shared", change=without(r"bar\.sync", 1))

# ---- copies that nobody waited for ----
plant("copy_not_awaited", *MATMUL, "async-wait", FAILED, line=False, checks="async-wait", stages=3, archs=("sm_89", ),
      why="sm_90 has it by wgmma", change=without(r"cp\.async\.wait_group"))
plant("copy_awaited_too_late", *MATMUL, "async-wait", FAILED, line=False, checks="async-wait", stages=3,
      archs=("sm_89", ), why="sm_90 has it by wgmma",
      change=replaced(r"cp\.async\.wait_group\s+\d+", "cp.async.wait_group 7", count=0))
plant("wgmma_not_awaited", *MATMUL, "async-wait", FAILED, line=False, checks="async-wait", stages=3, archs=("sm_90", ),
      why="wgmma begins with sm_90", change=without(r"wgmma\.wait_group"))
plant("tile_not_awaited", *TMA, "async-wait", FAILED, line=False, checks="async-wait", stages=2, archs=("sm_90", ),
      versions=("3.4", None), why="TMA begins with sm_90 and Triton 3.4",
      change=replaced(r"mbarrier\.try_wait[^;]*;", "setp.eq.u32 complete, 0, 0;", count=0))

# ---- global memory ----
plant("count_without_atomics", "count_without_atomics", "*i32:16", (8, ), lambda r: {"counter_ptr": np.zeros(1)},
      "race-global", FAILED, checks="race-global", warps=1)
plant("overlapping_rows", "overlapping_rows", "*fp32:16, *fp32:16, 128", (4, ),
      lambda r: {"x_ptr": r.normal(640), "out_ptr": np.zeros(640)}, "race-global", FAILED, checks="race-global")
plant("reads_neighbour", "reads_neighbour", "*fp32:16, 128", (4, ), lambda r: {"x_ptr": r.normal(640)}, "race-global",
      FAILED, line=False, checks="race-global")
plant("accumulate_into_unset", "accumulate_into", "*fp32:16, *fp32:16, i32, 128", (2, ),
      lambda r: {"x_ptr": r.normal(200), "out_ptr": np.zeros(200), "n": 200}, "uninitialised-global", FAILED,
      checks="uninitialised-global", places={"out_ptr": unset}, thread=(0, ))
plant("copy_of_unset", "copy", "*fp32:16, *fp32:16, i32, 128", (2, ),
      lambda r: {"x_ptr": r.normal(200), "out_ptr": np.zeros(200), "n": 200}, "uninitialised-global", FAILED,
      checks="uninitialised-global", places={"x_ptr": unset}, thread=(0, ))
