"""Matrix products: every type, split, grouped, persistent, batched, with an epilogue, with odd sizes"""
import triton
import triton.language as tl


@triton.jit
def matmul(a_ptr, b_ptr, c_ptr, m, n, k, am, ak, bk, bn, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
           BLOCK_K: tl.constexpr, SUM: tl.constexpr, PRECISION: tl.constexpr):
    """Any sizes and any strides of a and b; c is row-major"""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    a_tile = a_ptr + row[:, None] * am + inner[None, :] * ak
    b_tile = b_ptr + inner[:, None] * bk + column[None, :] * bn
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=SUM)
    for start in range(0, k, BLOCK_K):
        a = tl.load(a_tile, mask=(row[:, None] < m) & (start + inner[None, :] < k), other=0.0)
        b = tl.load(b_tile, mask=(start + inner[:, None] < k) & (column[None, :] < n), other=0.0)
        sums = tl.dot(a, b, sums, input_precision=PRECISION, out_dtype=SUM)
        a_tile += BLOCK_K * ak
        b_tile += BLOCK_K * bk
    mask = (row[:, None] < m) & (column[None, :] < n)
    tl.store(c_ptr + row[:, None] * n + column[None, :], sums.to(c_ptr.dtype.element_ty), mask=mask)


@triton.jit
def matmul_aligned(a_ptr, b_ptr, c_ptr, n, k, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    """Whole blocks only, nothing masked: what pipelining and wgmma like best"""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    a_tile = a_ptr + row[:, None] * k + inner[None, :]
    b_tile = b_ptr + inner[:, None] * n + column[None, :]
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for _ in range(0, k, BLOCK_K):
        sums = tl.dot(tl.load(a_tile), tl.load(b_tile), sums)
        a_tile += BLOCK_K
        b_tile += BLOCK_K * n
    tl.store(c_ptr + row[:, None] * n + column[None, :], sums.to(c_ptr.dtype.element_ty))


@triton.jit
def matmul_split_atomic(a_ptr, b_ptr, c_ptr, m, n, k, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
                        BLOCK_K: tl.constexpr, SPLIT: tl.constexpr):
    """Programs share the sum over k and add their parts up with atomics"""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(tl.program_id(2) * BLOCK_K, k, BLOCK_K * SPLIT):
        inner = start + tl.arange(0, BLOCK_K)
        a = tl.load(a_ptr + row[:, None] * k + inner[None, :], mask=(row[:, None] < m) & (inner[None, :] < k), other=0.0)
        b = tl.load(b_ptr + inner[:, None] * n + column[None, :], mask=(inner[:, None] < k) & (column[None, :] < n),
                    other=0.0)
        sums = tl.dot(a, b, sums)
    mask = (row[:, None] < m) & (column[None, :] < n)
    tl.atomic_add(c_ptr + row[:, None] * n + column[None, :], sums, mask=mask)


@triton.jit
def matmul_split_ordered(a_ptr, b_ptr, c_ptr, turn_ptr, n, k, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr,
                         SPLIT: tl.constexpr):
    """Parts are added in order: each program waits for its turn at a tile, and the result repeats bit for bit"""
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    part = tl.program_id(2)
    sums = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(part * BLOCK_K, k, BLOCK_K * SPLIT):
        inner = start + tl.arange(0, BLOCK_K)
        sums = tl.dot(tl.load(a_ptr + row[:, None] * k + inner[None, :]),
                      tl.load(b_ptr + inner[:, None] * n + column[None, :]), sums)
    turn = turn_ptr + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    at = c_ptr + row[:, None] * n + column[None, :]
    while tl.atomic_add(turn, 0) != part:
        pass
    tl.debug_barrier()
    if part > 0:
        sums += tl.load(at)
    tl.store(at, sums)
    tl.debug_barrier()
    tl.atomic_add(turn, 1)


@triton.jit
def matmul_grouped(a_ptr, b_ptr, c_ptr, sizes_ptr, problems, PROGRAMS: tl.constexpr, BLOCK: tl.constexpr):
    """Several products of different sizes in one launch; where each operand begins stands behind the sizes"""
    tile = tl.program_id(0)
    first = 0
    for problem in range(problems):
        m = tl.load(sizes_ptr + problem * 3)
        n = tl.load(sizes_ptr + problem * 3 + 1)
        k = tl.load(sizes_ptr + problem * 3 + 2)
        tiles_n = tl.cdiv(n, BLOCK)
        tiles = tl.cdiv(m, BLOCK) * tiles_n
        a_here = a_ptr + tl.load(sizes_ptr + problems * 3 + problem * 3)
        b_here = b_ptr + tl.load(sizes_ptr + problems * 3 + problem * 3 + 1)
        c_here = c_ptr + tl.load(sizes_ptr + problems * 3 + problem * 3 + 2)
        while tile >= first and tile < first + tiles:
            row = (tile - first) // tiles_n * BLOCK + tl.arange(0, BLOCK)
            column = (tile - first) % tiles_n * BLOCK + tl.arange(0, BLOCK)
            sums = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
            for start in range(0, k, BLOCK):
                inner = start + tl.arange(0, BLOCK)
                a = tl.load(a_here + row[:, None] * k + inner[None, :], mask=(row[:, None] < m) & (inner[None, :] < k),
                            other=0.0)
                b = tl.load(b_here + inner[:, None] * n + column[None, :],
                            mask=(inner[:, None] < k) & (column[None, :] < n), other=0.0)
                sums = tl.dot(a, b, sums)
            mask = (row[:, None] < m) & (column[None, :] < n)
            tl.store(c_here + row[:, None] * n + column[None, :], sums.to(tl.float16), mask=mask)
            tile += PROGRAMS
        first += tiles


@triton.jit
def matmul_persistent(a_ptr, b_ptr, c_ptr, m, n, k, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
                      GROUP: tl.constexpr):
    """Fewer programs than tiles: each takes one tile after the other, in an order that keeps b in the cache"""
    tiles_m, tiles_n = tl.cdiv(m, BLOCK_M), tl.cdiv(n, BLOCK_N)
    for tile in range(tl.program_id(0), tiles_m * tiles_n, tl.num_programs(0)):
        group = tile // (GROUP * tiles_n)
        rows_here = min(tiles_m - group * GROUP, GROUP)
        row = (group * GROUP + tile % (GROUP * tiles_n) % rows_here) * BLOCK_M + tl.arange(0, BLOCK_M)
        column = tile % (GROUP * tiles_n) // rows_here * BLOCK_N + tl.arange(0, BLOCK_N)
        sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for start in range(0, k, BLOCK_K):
            inner = start + tl.arange(0, BLOCK_K)
            a = tl.load(a_ptr + (row % m)[:, None] * k + inner[None, :], mask=inner[None, :] < k, other=0.0)
            b = tl.load(b_ptr + inner[:, None] * n + (column % n)[None, :], mask=inner[:, None] < k, other=0.0)
            sums = tl.dot(a, b, sums)
        mask = (row[:, None] < m) & (column[None, :] < n)
        tl.store(c_ptr + row[:, None] * n + column[None, :], sums.to(c_ptr.dtype.element_ty), mask=mask)


@triton.jit
def matmul_batched(a_ptr, b_ptr, c_ptr, m, n, k, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr):
    batch = tl.program_id(2).to(tl.int64)
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    a_ptr += batch * m * k
    b_ptr += batch * k * n
    c_ptr += batch * m * n
    sums = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        inner = start + tl.arange(0, BLOCK_K)
        a = tl.load(a_ptr + row[:, None] * k + inner[None, :], mask=(row[:, None] < m) & (inner[None, :] < k), other=0.0)
        b = tl.load(b_ptr + inner[:, None] * n + column[None, :], mask=(inner[:, None] < k) & (column[None, :] < n),
                    other=0.0)
        sums = tl.dot(a, b, sums)
    mask = (row[:, None] < m) & (column[None, :] < n)
    tl.store(c_ptr + row[:, None] * n + column[None, :], sums.to(c_ptr.dtype.element_ty), mask=mask)


@triton.jit
def dot_3d(a_ptr, b_ptr, c_ptr, B: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """A batch inside one block: a three-dimensional dot"""
    batch, row, column, inner = tl.arange(0, B), tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(a_ptr + (batch[:, None, None] * M + row[None, :, None]) * K + inner[None, None, :])
    b = tl.load(b_ptr + (batch[:, None, None] * K + inner[None, :, None]) * N + column[None, None, :])
    c = tl.dot(a, b)
    tl.store(c_ptr + (batch[:, None, None] * M + row[None, :, None]) * N + column[None, None, :], c)


@triton.jit
def dot_chain(a_ptr, b_ptr, c_ptr, out_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """(a · b) · c: the first product becomes an operand of the second without leaving registers"""
    row, column, inner = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(a_ptr + row[:, None] * K + inner[None, :])
    b = tl.load(b_ptr + inner[:, None] * N + column[None, :])
    c = tl.load(c_ptr + column[:, None] * K + inner[None, :])
    product = tl.dot(tl.dot(a, b).to(tl.float16), c)
    tl.store(out_ptr + row[:, None] * K + inner[None, :], product)


@triton.jit
def dot_transposed(a_ptr, b_ptr, c_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """aᵀ · bᵀ of operands that lie the other way round"""
    row, column, inner = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(a_ptr + inner[:, None] * M + row[None, :])
    b = tl.load(b_ptr + column[:, None] * K + inner[None, :])
    tl.store(c_ptr + row[:, None] * N + column[None, :], tl.dot(tl.trans(a), tl.trans(b)))


@triton.jit
def linear_gelu(x_ptr, weight_ptr, bias_ptr, out_ptr, m, n, k, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
                BLOCK_K: tl.constexpr):
    """GELU(x · weightᵀ + bias): an epilogue on the sums"""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        inner = start + tl.arange(0, BLOCK_K)
        x = tl.load(x_ptr + row[:, None] * k + inner[None, :], mask=(row[:, None] < m) & (inner[None, :] < k), other=0.0)
        weight = tl.load(weight_ptr + column[None, :] * k + inner[:, None],
                         mask=(column[None, :] < n) & (inner[:, None] < k), other=0.0)
        sums = tl.dot(x, weight, sums)
    sums += tl.load(bias_ptr + column, mask=column < n, other=0.0).to(tl.float32)[None, :]
    out = 0.5 * sums * (1.0 + tl.erf(sums * 0.7071067811865476))
    mask = (row[:, None] < m) & (column[None, :] < n)
    tl.store(out_ptr + row[:, None] * n + column[None, :], out.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def matmul_dequantized(x_ptr, packed_ptr, scale_ptr, out_ptr, n, k, M: tl.constexpr, BLOCK_N: tl.constexpr,
                       BLOCK_K: tl.constexpr):
    """Weights of four bits, two in a byte, each column with its scale; x in fp16"""
    row = tl.arange(0, M)
    column = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    sums = tl.zeros((M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        inner = start + tl.arange(0, BLOCK_K)
        x = tl.load(x_ptr + row[:, None] * k + inner[None, :])
        packed = tl.load(packed_ptr + (inner[:, None] // 2) * n + column[None, :])
        weight = ((packed >> ((inner[:, None] % 2) * 4).to(tl.uint8)) & 15).to(tl.int32) - 8
        sums = tl.dot(x, weight.to(tl.float16), sums)
    scale = tl.load(scale_ptr + column)
    tl.store(out_ptr + row[:, None] * n + column[None, :], sums * scale[None, :])


@triton.jit
def matrix_vector(a_ptr, x_ptr, out_ptr, rows, columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    sums = tl.zeros((BLOCK_R, BLOCK_C), dtype=tl.float32)
    for start in range(0, columns, BLOCK_C):
        column = start + tl.arange(0, BLOCK_C)
        a = tl.load(a_ptr + row[:, None] * columns + column[None, :],
                    mask=(row[:, None] < rows) & (column[None, :] < columns), other=0.0)
        sums += a.to(tl.float32) * tl.load(x_ptr + column, mask=column < columns, other=0.0)[None, :]
    tl.store(out_ptr + row, tl.sum(sums, axis=1), mask=row < rows)


@triton.jit
def dot_scaled(a_ptr, a_scale_ptr, b_ptr, b_scale_ptr, c_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """Microscaled operands: fp8 elements, one power of two per 32 of them"""
    row, column, inner, group = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K), tl.arange(0, K // 32)
    a = tl.load(a_ptr + row[:, None] * K + inner[None, :])
    b = tl.load(b_ptr + inner[:, None] * N + column[None, :])
    a_scale = tl.load(a_scale_ptr + row[:, None] * (K // 32) + group[None, :])
    b_scale = tl.load(b_scale_ptr + column[:, None] * (K // 32) + group[None, :])
    c = tl.dot_scaled(a, a_scale, "e4m3", b, b_scale, "e5m2")
    tl.store(c_ptr + row[:, None] * N + column[None, :], c)
