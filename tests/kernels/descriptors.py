"""Tensor descriptors, made on the device and on the host: TMA from sm_90 on, pointers before"""
import triton
import triton.language as tl


@triton.jit
def copy_device(x_ptr, out_ptr, rows, columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """Blocks over the edge read zeros and write nothing there"""
    source = tl.make_tensor_descriptor(x_ptr, shape=[rows, columns], strides=[columns, 1],
                                       block_shape=[BLOCK_R, BLOCK_C])
    sink = tl.make_tensor_descriptor(out_ptr, shape=[rows, columns], strides=[columns, 1],
                                     block_shape=[BLOCK_R, BLOCK_C])
    r, c = tl.program_id(0) * BLOCK_R, tl.program_id(1) * BLOCK_C
    sink.store([r, c], source.load([r, c]) + 1)


@triton.jit
def edges_device(x_ptr, out_ptr, rows, columns, BLOCK: tl.constexpr):
    """What a block that begins before and ends behind the tensor holds, stored through pointers. TMA wants the columns to
    begin at multiples of 16 bytes; rows begin anywhere."""
    source = tl.make_tensor_descriptor(x_ptr, shape=[rows, columns], strides=[columns, 1], block_shape=[BLOCK, BLOCK])
    at = tl.arange(0, BLOCK)
    block = source.load([tl.program_id(0) * BLOCK // 2 - 5, tl.program_id(1) * BLOCK // 2 - 8])
    base = (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)) * BLOCK * BLOCK
    tl.store(out_ptr + base + at[:, None] * BLOCK + at[None, :], block)


@triton.jit
def copy_cube_device(x_ptr, out_ptr, A, B, C, BLOCK_A: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_C: tl.constexpr):
    source = tl.make_tensor_descriptor(x_ptr, shape=[A, B, C], strides=[B * C, C, 1],
                                       block_shape=[BLOCK_A, BLOCK_B, BLOCK_C])
    sink = tl.make_tensor_descriptor(out_ptr, shape=[A, B, C], strides=[B * C, C, 1],
                                     block_shape=[BLOCK_A, BLOCK_B, BLOCK_C])
    a, b, c = tl.program_id(0) * BLOCK_A, tl.program_id(1) * BLOCK_B, tl.program_id(2) * BLOCK_C
    sink.store([a, b, c], source.load([a, b, c]))


@triton.jit
def matmul_device(a_ptr, b_ptr, c_ptr, m, n, k, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    a = tl.make_tensor_descriptor(a_ptr, shape=[m, k], strides=[k, 1], block_shape=[BLOCK_M, BLOCK_K])
    b = tl.make_tensor_descriptor(b_ptr, shape=[k, n], strides=[n, 1], block_shape=[BLOCK_K, BLOCK_N])
    c = tl.make_tensor_descriptor(c_ptr, shape=[m, n], strides=[n, 1], block_shape=[BLOCK_M, BLOCK_N])
    row, column = tl.program_id(0) * BLOCK_M, tl.program_id(1) * BLOCK_N
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        sums = tl.dot(a.load([row, start]), b.load([start, column]), sums)
    c.store([row, column], sums.to(c_ptr.dtype.element_ty))


@triton.jit
def matmul_device_persistent(a_ptr, b_ptr, c_ptr, m, n, k, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
                             BLOCK_K: tl.constexpr):
    """Tile after tile, b transposed: the loads of the next tile may begin before this one is stored"""
    a = tl.make_tensor_descriptor(a_ptr, shape=[m, k], strides=[k, 1], block_shape=[BLOCK_M, BLOCK_K])
    b = tl.make_tensor_descriptor(b_ptr, shape=[n, k], strides=[k, 1], block_shape=[BLOCK_N, BLOCK_K])
    c = tl.make_tensor_descriptor(c_ptr, shape=[m, n], strides=[n, 1], block_shape=[BLOCK_M, BLOCK_N])
    tiles_n = tl.cdiv(n, BLOCK_N)
    for tile in tl.range(tl.program_id(0), tl.cdiv(m, BLOCK_M) * tiles_n, tl.num_programs(0), flatten=True):
        row, column = tile // tiles_n * BLOCK_M, tile % tiles_n * BLOCK_N
        sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for start in range(0, k, BLOCK_K):
            sums = tl.dot(a.load([row, start]), b.load([column, start]).T, sums)
        c.store([row, column], sums.to(c_ptr.dtype.element_ty))


@triton.jit
def copy_host(source, sink, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    r, c = tl.program_id(0) * BLOCK_R, tl.program_id(1) * BLOCK_C
    sink.store([r, c], source.load([r, c]) * 2)


@triton.jit
def matmul_host(a, b, c, k, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    row, column = tl.program_id(0) * BLOCK_M, tl.program_id(1) * BLOCK_N
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        sums = tl.dot(a.load([row, start]), b.load([start, column]), sums)
    c.store([row, column], sums.to(tl.float16))


@triton.jit
def add_device(x_ptr, out_ptr, rows, columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """Every program adds its block to the same place"""
    sink = tl.make_tensor_descriptor(out_ptr, shape=[rows, columns], strides=[columns, 1],
                                     block_shape=[BLOCK_R, BLOCK_C])
    r, c = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_C)
    x = tl.load(x_ptr + (tl.program_id(0) * BLOCK_R + r[:, None]) * BLOCK_C + c[None, :])
    sink.atomic_add([0, 0], x)
