"""c = a @ b in fp16 with fp32 sums; any m, n, k; row-major operands whose rows are `stride` elements apart"""
import triton
import triton.language as tl


@triton.jit
def matmul(a_ptr, b_ptr, c_ptr, m, n, k, a_stride, b_stride, c_stride, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
           BLOCK_K: tl.constexpr, GROUP_M: tl.constexpr):
    # Programs walk down GROUP_M rows of tiles before the next column, so that tiles of b stay in the L2 cache.
    program = tl.program_id(0)
    tiles_m = tl.cdiv(m, BLOCK_M)
    tiles_n = tl.cdiv(n, BLOCK_N)
    group = program // (GROUP_M * tiles_n)
    rows_here = min(tiles_m - group * GROUP_M, GROUP_M)
    tile_m = group * GROUP_M + (program % (GROUP_M * tiles_n)) % rows_here
    tile_n = (program % (GROUP_M * tiles_n)) // rows_here

    row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    a_tile = a_ptr + row[:, None] * a_stride + inner[None, :]
    b_tile = b_ptr + inner[:, None] * b_stride + column[None, :]

    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        a = tl.load(a_tile, mask=(row[:, None] < m) & (start + inner[None, :] < k), other=0.0)
        b = tl.load(b_tile, mask=(start + inner[:, None] < k) & (column[None, :] < n), other=0.0)
        sums = tl.dot(a, b, sums)
        a_tile += BLOCK_K
        b_tile += BLOCK_K * b_stride

    c_tile = c_ptr + row[:, None] * c_stride + column[None, :]
    tl.store(c_tile, sums.to(tl.float16), mask=(row[:, None] < m) & (column[None, :] < n))
