"""Kernels that never end, end too soon, or assert"""
import numpy as np

from harness.planted import plant, replaced

HANGS = "CUDA_ERROR_LAUNCH_FAILED"
ENDLESS = "CUDA_ERROR_LAUNCH_TIMEOUT"
ASSERT = "CUDA_ERROR_ASSERT"
SUM = ("row_sum", "*fp32:16, *fp32:16, 1024", (1, ), lambda r: {"x_ptr": r.normal(1024), "out_ptr": np.zeros(1)})

# ---- barriers ----
plant("barrier_of_too_many", *SUM, "deadlock", HANGS, line=False, change=replaced(r"bar\.sync\s+0;", "bar.sync 0, 256;"),
      says="warp 0.*warp 3")
plant("warp_at_another_barrier", *SUM, "deadlock", HANGS, line=False,
      change=replaced(r"(\t?)bar\.sync\s+0;", "{ .reg .pred %skip; .reg .b32 %me; mov.u32 %me, %tid.x;\n"
                      "setp.lt.u32 %skip, %me, 96;\n@%skip bar.sync 0;\n@!%skip bar.sync 1;\n}"))
plant("barrier_of_half_a_warp", *SUM, "barrier-divergence", HANGS, line=False,
      change=replaced(r"(\t?)bar\.sync\s+0;", "{ .reg .pred %skip; .reg .b32 %me; mov.u32 %me, %tid.x;\n"
                      "setp.lt.u32 %skip, %me, 16;\n@%skip bar.sync 0;\n@!%skip bar.sync 1;\n}"))

plant("barrier_of_one_lane", *SUM, "barrier-divergence", HANGS, line=False,
      change=replaced(r"(\t?)bar\.sync\s+0;", "{ .reg .pred %skip; .reg .b32 %me; mov.u32 %me, %tid.x;\n"
                      "setp.eq.u32 %skip, %me, 0;\n@%skip bar.sync 0;\n}"))
plant("barrier_of_two_sizes", *SUM, "barrier-divergence", HANGS, line=False,
      change=replaced(r"(\t?)bar\.sync\s+0;", "{ .reg .pred %skip; .reg .b32 %me; mov.u32 %me, %tid.x;\n"
                      "setp.lt.u32 %skip, %me, 64;\n@%skip bar.sync 1, 96;\n@!%skip bar.sync 1, 64;\n}"),
      says="for 96")

# ---- waiting for what never comes ----
plant("lock_forever", "lock_forever", "*i32:16, *i32:16", (2, ), lambda r: {"lock_ptr": np.zeros(1),
                                                                          "x_ptr": np.zeros(1)},
      "deadlock", ENDLESS, warps=1)
plant("locks_crossed", "locks_crossed", "*i32:16, *i32:16, *i32:16", (2, ),
      lambda r: {"lock_ptr": np.zeros(2), "arrived_ptr": np.zeros(1), "x_ptr": np.zeros(1)}, "deadlock",
      ENDLESS, warps=1)
plant("wait_for_more", "wait_for_more", "*i32:16, *i32:16", (3, ), lambda r: {"arrived_ptr": np.zeros(1),
                                                                             "x_ptr": np.zeros(3)},
      "deadlock", ENDLESS, warps=1)
plant("step_of_zero", "step_of_zero", "*i32:16, i32", (1, ), lambda r: {"x_ptr": np.ones(10), "step": 0}, "infinite-loop",
      ENDLESS, warps=1, thread=(0, ))
plant("steps_over_end", "steps_over_end", "*i32:16, i32", (1, ), lambda r: {"x_ptr": np.ones(16), "n": 9}, "infinite-loop",
      ENDLESS, warps=1, thread=(0, ))
plant("never_converges", "never_converges", "*fp32:16", (1, ), lambda r: {"x_ptr": np.ones(1)}, "infinite-loop", ENDLESS,
      warps=1, thread=(0, ))

# ---- assertions ----
plant("asserts", "asserts", "*i32:16, *i32:16, i32, 128", (2, ),
      lambda r: {"x_ptr": np.where(np.arange(200) == 150, -1, 1), "out_ptr": np.zeros(200), "n": 200}, "assert", ASSERT,
      cta=(1, ), thread=(22, ), says="x must not be negative", debug=True)
plant("asserts_in_helper", "asserts_in_helper", "*i32:16, *i32:16, 128", (1, ),
      lambda r: {"x_ptr": np.arange(128), "out_ptr": np.zeros(128)}, "assert", ASSERT, line="must_be_small",
      thread=(100, ), says="too large", debug=True)
plant("asserts_of_arguments", "asserts_of_arguments", "*i32:16, *i32:16, i32, 128", (1, ),
      lambda r: {"x_ptr": np.arange(200), "out_ptr": np.zeros(200), "n": 200}, "assert", ASSERT, thread=(0, ),
      says="one block is all there is", debug=True)

# ---- constants ----
TABLE = ".const .align 4 .b32 planted_table[4] = {1, 2, 3, 4};\n"
WRITE = ("{ .reg .b64 %place; mov.u64 %place, planted_table; cvta.const.u64 %place, %place;\nst.b32 [%place+4], 7;\n}\n"
         "\tret;")
plant("constant_written", *SUM, "read-only", line=False, change=lambda ptx: replaced(r"\tret;", WRITE)(
    replaced(r"(?m)^\.extern|^\t*// \.globl", lambda m: TABLE + m[0])(ptx)), says="constant")
plant("constant_counted", *SUM, "read-only", line=False, change=lambda ptx: replaced(
    r"\tret;", WRITE.replace("st.b32 [%place+4], 7;", "red.add.u32 [%place+8], 1;"))(
        replaced(r"(?m)^\.extern|^\t*// \.globl", lambda m: TABLE + m[0])(ptx)), says="constant")
plant("constant_exchanged", *SUM, "read-only", line=False, change=lambda ptx: replaced(
    r"\tret;", WRITE.replace("st.b32 [%place+4], 7;", "{ .reg .b32 %old; atom.exch.b32 %old, [%place+12], 7; }"))(
        replaced(r"(?m)^\.extern|^\t*// \.globl", lambda m: TABLE + m[0])(ptx)), says="constant")

# ---- refused before anything runs ----
plant("block_of_wrong_size", *SUM, None, "CUDA_ERROR_INVALID_VALUE", block=64, says="")
plant("unknown_instruction", *SUM, None, "CUDA_ERROR_INVALID_PTX",
      change=replaced(r"\tret;", "\tfrobnicate.b32 %r1, %r1;\n\tret;"), says=r"line \d+.*frobnicate")
plant("syntax_error", *SUM, None, "CUDA_ERROR_INVALID_PTX", change=replaced(r"\tret;", "\tadd.s32 %r1 %r1, ];\n\tret;"),
      says=r"line \d+")
plant("register_not_declared", *SUM, None, "CUDA_ERROR_INVALID_PTX",
      change=replaced(r"\tret;", "\tadd.s32 %nowhere, 1, 2;\n\tret;"), says=r"line \d+.*nowhere")
plant("label_not_there", *SUM, None, "CUDA_ERROR_INVALID_PTX", change=replaced(r"\tret;", "\tbra $nowhere;\n\tret;"),
      says=r"line \d+.*nowhere")
plant("tensor_memory", *SUM, None, "CUDA_ERROR_INVALID_PTX",
      change=replaced(r"\tret;", "\ttcgen05.wait::ld.sync.aligned;\n\tret;"), says="tcgen05")
plant("later_arch", *SUM, None, "CUDA_ERROR_NO_BINARY_FOR_GPU", change=replaced(r"\.target sm_\d+a?", ".target sm_100a"),
      says="sm_100")
plant("cubin", *SUM, None, "CUDA_ERROR_NO_BINARY_FOR_GPU", change=lambda ptx: "\x7fELF" + "\0" * 64, says="PTX")
plant("no_kernel_of_that_name", *SUM, None, "CUDA_ERROR_NOT_FOUND",
      change=lambda ptx: ptx.replace("row_sum", "other_sum"), says="")
