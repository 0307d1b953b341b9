"""Kernels that hand back what they were passed: each parameter as the kernel sees it"""
import triton
import triton.language as tl


@triton.jit
def scalars(out, floats, flag, i8, i16, i32, i64, u8, u16, u32, u64, half, brain, single, double, one, multiple, where,
            LITERAL: tl.constexpr):
    """Integers to out, floats to floats"""
    tl.store(out + 0, flag.to(tl.int64))
    tl.store(out + 1, i8.to(tl.int64))
    tl.store(out + 2, i16.to(tl.int64))
    tl.store(out + 3, i32.to(tl.int64))
    tl.store(out + 4, i64)
    tl.store(out + 5, u8.to(tl.int64))
    tl.store(out + 6, u16.to(tl.int64))
    tl.store(out + 7, u32.to(tl.int64))
    tl.store(out + 8, u64.to(tl.int64))
    tl.store(out + 9, one)
    tl.store(out + 10, multiple.to(tl.int64))
    tl.store(out + 11, where.to(tl.int64))
    tl.store(out + 12, LITERAL)
    tl.store(floats + 0, half.to(tl.float32).to(tl.float64))
    tl.store(floats + 1, brain.to(tl.float32).to(tl.float64))
    tl.store(floats + 2, single.to(tl.float64))
    tl.store(floats + 3, double)


@triton.jit
def tuples(out, floats, pair, nested, last):
    """((i32, fp32), ((u8, *i16), i64, 7), fp16)"""
    tl.store(out + 0, pair[0].to(tl.int64))
    tl.store(floats + 0, pair[1].to(tl.float64))
    tl.store(out + 1, nested[0][0].to(tl.int64))
    tl.store(out + 2, tl.load(nested[0][1] + 3).to(tl.int64))
    tl.store(out + 3, nested[1])
    tl.store(out + 4, nested[2])
    tl.store(floats + 1, last.to(tl.float32).to(tl.float64))


@triton.jit
def block_2d(desc, out, values, row, column, R: tl.constexpr, C: tl.constexpr):
    """A block as fp32, and shape and strides behind each other"""
    rows, columns = tl.arange(0, R), tl.arange(0, C)
    block = desc.load([row, column])
    tl.store(values + rows[:, None] * C + columns[None, :], block.to(tl.float32))
    tl.store(out + 0, desc.shape[0].to(tl.int64))
    tl.store(out + 1, desc.shape[1].to(tl.int64))
    tl.store(out + 2, desc.strides[0].to(tl.int64))
    tl.store(out + 3, desc.strides[1].to(tl.int64))


@triton.jit
def two_descriptors(out, values, a, between, b, row, column):
    """Two element types and swizzles, a scalar of odd size between them"""
    block_2d(a, out, values, row, column, 16, 64)
    block_2d(b, out + 4, values + 16 * 64, row, column, 8, 8)
    tl.store(out + 8, between.to(tl.int64))


@triton.jit
def one_descriptor(out, values, desc, row, column, R: tl.constexpr, C: tl.constexpr):
    block_2d(desc, out, values, row, column, R, C)


@triton.jit
def line_descriptor(out, values, line, column):
    at = tl.arange(0, 32)
    tl.store(values + at, line.load([column]).to(tl.float32))
    tl.store(out + 0, line.shape[0].to(tl.int64))
    tl.store(out + 1, line.strides[0].to(tl.int64))


@triton.jit
def more_descriptors(out, values, wide, brain, byte, line, row, column):
    """Rows of 256 bytes, which a tensor map holds in two boxes; 64 bytes; 16 bytes; one dimension"""
    block_2d(wide, out, values, row, column, 16, 128)
    block_2d(brain, out + 4, values + 16 * 128, row, column, 32, 32)
    block_2d(byte, out + 8, values + 16 * 128 + 32 * 32, row, column, 16, 16)
    at = tl.arange(0, 32)
    tl.store(values + 16 * 128 + 32 * 32 + 16 * 16 + at, line.load([column]))
    tl.store(out + 12, line.shape[0].to(tl.int64))
    tl.store(out + 13, line.strides[0].to(tl.int64))


@triton.jit
def descriptor_in_tuple(out, values, pair, last):
    """(i16, (tensordesc, fp32)), u8"""
    block_2d(pair[1][0], out, values, 3, 16, 16, 64)
    tl.store(out + 4, pair[0].to(tl.int64))
    tl.store(out + 5, last.to(tl.int64))
    tl.store(values + 16 * 64, pair[1][1])


@triton.jit
def scratch(x, out, rows, columns):
    """Descriptors made on the device lie in scratch memory on sm_90, one place for each CTA"""
    source = tl.make_tensor_descriptor(x, shape=[rows, columns], strides=[columns, 1], block_shape=[16, 32])
    sink = tl.make_tensor_descriptor(out, shape=[rows, columns], strides=[columns, 1], block_shape=[16, 32])
    at = [tl.program_id(0) * 16, tl.program_id(1) * 32]
    sink.store(at, source.load(at) + 1)


@triton.jit
def scratch_3_3(x, out, rows, columns):
    """The same by its older name"""
    source = tl._experimental_make_tensor_descriptor(x, shape=[rows, columns], strides=[columns, 1],
                                                     block_shape=[16, 32])
    sink = tl._experimental_make_tensor_descriptor(out, shape=[rows, columns], strides=[columns, 1],
                                                   block_shape=[16, 32])
    at = [tl.program_id(0) * 16, tl.program_id(1) * 32]
    sink.store(at, source.load(at) + 1)


@triton.jit
def cluster(x, out, total):
    """One block over all CTAs of a cluster"""
    rows, columns = tl.program_id(0) * 32 + tl.arange(0, 32), tl.arange(0, 64)
    at = rows[:, None] * 64 + columns[None, :]
    value = tl.load(x + at)
    tl.store(out + at, value * 2)
    tl.store(total + rows, tl.sum(value, 1))
