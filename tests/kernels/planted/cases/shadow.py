"""What only shadow state can see: data raced for, read before it was set, or used before its copy has landed"""
import numpy as np

from harness.planted import half_unset, plant, replaced, unset, without

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
    plant("race_in_" + name, *kernel, "race-shared", FAILED, change=without(r"bar\.sync"))
    plant("unset_shared_in_" + name, *kernel, "uninitialised-shared", FAILED,
          change=without(r"st\.shared"))
plant("race_at_first_barrier", *ROW, "race-shared", FAILED, change=without(r"bar\.sync", 1))

# ---- copies that nobody waited for ----
plant("copy_not_awaited", *MATMUL, "missing-wait", FAILED, line=False, stages=3, archs=("sm_89", ),
      why="sm_90 has it by wgmma", change=without(r"cp\.async\.wait_group"))
plant("copy_awaited_too_late", *MATMUL, "missing-wait", FAILED, line=False, stages=3,
      archs=("sm_89", ), why="sm_90 has it by wgmma",
      change=replaced(r"cp\.async\.wait_group\s+(0x)?[0-9a-f]+", "cp.async.wait_group 7", count=0))
plant("copies_not_committed", *MATMUL, "missing-wait", FAILED, line=False, stages=3,
      archs=("sm_89", ), why="sm_90 has it by wgmma", change=without(r"cp\.async\.commit_group"), says="cp.async")
HOPPER = dict(line=False, archs=("sm_90", ))
for name, change in (("not_awaited", without(r"wgmma\.wait_group")),
                     ("awaited_too_late", replaced(r"wgmma\.wait_group\.sync\.aligned\s+\d+",
                                                   "wgmma.wait_group.sync.aligned 7", count=0)),
                     ("not_committed", without(r"wgmma\.commit_group"))):
    plant("wgmma_" + name, *MATMUL, "missing-wait", FAILED, stages=3, why="wgmma begins with sm_90", change=change,
          says="wgmma", **HOPPER)
for name, kind, change in (
    ("not_awaited", "missing-wait", replaced(r"mbarrier\.try_wait\S*\s+(\S+),[^;]*;", r"setp.eq.u32 \1, %tid.y, 0;", count=0)),
    ("awaited_in_wrong_phase", "deadlock", replaced(r"(mbarrier\.try_wait\S*\s+\S+, \[[^\]]*\]), (\S+?);",
                                        r"{ .reg .b32 %other; xor.b32 %other, \2, 1;\n\1, %other; }", count=0)),
    ("awaited_by_one_warp", "race-shared", replaced(r"(mbarrier\.try_wait\S*\s+)(\S+)(, \[[^\]]*\], \S+?;)",
                                     r"{ .reg .pred %mine; .reg .b32 %me; mov.u32 %me, %tid.x;\n"
                                     r"setp.lt.u32 %mine, %me, 32; setp.ge.u32 \2, %me, 32;\n@%mine \1\2\3 }",
                                     count=0))):
    plant("tile_" + name, *TMA, kind, FAILED, stages=2, change=change,
          versions=("3.4", "3.6" if name == "awaited_by_one_warp" else None),  # later ones have a barrier behind the wait
          why="TMA begins with sm_90 and Triton 3.4", **HOPPER)

# ---- global memory ----
plant("count_without_atomics", "count_without_atomics", "*i32:16", (8, ), lambda r: {"counter_ptr": np.zeros(1)},
      "race-global", FAILED, checks="default,race-global", warps=1)
plant("overlapping_rows", "overlapping_rows", "*fp32:16, *fp32:16, 128", (4, ),
      lambda r: {"x_ptr": r.normal(640), "out_ptr": np.zeros(640)}, "race-global", FAILED, checks="default,race-global")
plant("reads_neighbour", "reads_neighbour", "*fp32:16, 128", (4, ), lambda r: {"x_ptr": r.normal(640)}, "race-global",
      FAILED, line=False, checks="default,race-global")
plant("hands_over", "hands_over", "*i32:16, *i32:16, 128", (2, ),
      lambda r: {"data_ptr": np.zeros(128), "out_ptr": np.zeros(128)}, "race-global", FAILED, line=False,
      checks="default,race-global")
plant("accumulate_into_unset", "accumulate_into", "*fp32:16, *fp32:16, i32, 128", (2, ),
      lambda r: {"x_ptr": r.normal(200), "out_ptr": np.zeros(200), "n": 200}, "uninitialised-global", FAILED,
      checks="default,uninitialised-global", places={"out_ptr": unset}, thread=(0, ))
plant("copy_of_unset", "copy", "*fp32:16, *fp32:16, i32, 128", (2, ),
      lambda r: {"x_ptr": r.normal(200), "out_ptr": np.zeros(200), "n": 200}, "uninitialised-global", FAILED,
      checks="default,uninitialised-global", places={"x_ptr": unset}, thread=(0, ))
plant("second_half_unset", "copy", "*fp32:16, *fp32:16, i32, 128", (2, ),
      lambda r: {"x_ptr": r.normal(200), "out_ptr": np.zeros(200), "n": 200}, "uninitialised-global", FAILED,
      checks="default,uninitialised-global", places={"x_ptr": half_unset}, thread=(100, ))
