"""Elementwise kernels: arithmetic, comparisons, conversions and functions, in every type, with odd sizes and masks"""
import triton
import triton.language as tl


@triton.jit
def add(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=mask) + tl.load(y_ptr + at, mask=mask), mask=mask)


@triton.jit
def add_unmasked(x_ptr, y_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at) + tl.load(y_ptr + at))


@triton.jit
def axpby(x_ptr, y_ptr, out_ptr, a, b, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask).to(tl.float32)
    y = tl.load(y_ptr + at, mask=mask).to(tl.float32)
    tl.store(out_ptr + at, (a * x + b * y).to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def grid_stride_add(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    for start in range(tl.program_id(0) * BLOCK, n, tl.num_programs(0) * BLOCK):
        at = start + tl.arange(0, BLOCK)
        mask = at < n
        tl.store(out_ptr + at, tl.load(x_ptr + at, mask=mask) + tl.load(y_ptr + at, mask=mask), mask=mask)


@triton.jit
def int_arithmetic(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Eight results behind each other: x * y, x - y, x / y, x % y, x & y, x | y, x ^ y, ~x"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    y = tl.load(y_ptr + at, mask=mask, other=1)
    out_ptr += at
    tl.store(out_ptr, x * y, mask=mask)
    tl.store(out_ptr + n, x - y, mask=mask)
    tl.store(out_ptr + 2 * n, x // y, mask=mask)
    tl.store(out_ptr + 3 * n, x % y, mask=mask)
    tl.store(out_ptr + 4 * n, x & y, mask=mask)
    tl.store(out_ptr + 5 * n, x | y, mask=mask)
    tl.store(out_ptr + 6 * n, x ^ y, mask=mask)
    tl.store(out_ptr + 7 * n, ~x, mask=mask)


@triton.jit
def shifts(x_ptr, count_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    count = tl.load(count_ptr + at, mask=mask)
    tl.store(out_ptr + at, x << count, mask=mask)
    tl.store(out_ptr + n + at, x >> count, mask=mask)


@triton.jit
def high_product(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    y = tl.load(y_ptr + at, mask=mask)
    tl.store(out_ptr + at, tl.umulhi(x, y), mask=mask)


@triton.jit
def select(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Five results behind each other: the lesser, the greater, |x|, x clamped to [-0.5, 0.5], x where x > y else -y"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    y = tl.load(y_ptr + at, mask=mask)
    tl.store(out_ptr + at, tl.minimum(x, y), mask=mask)
    tl.store(out_ptr + n + at, tl.maximum(x, y), mask=mask)
    tl.store(out_ptr + 2 * n + at, tl.abs(x), mask=mask)
    tl.store(out_ptr + 3 * n + at, tl.clamp(x, -0.5, 0.5), mask=mask)
    tl.store(out_ptr + 4 * n + at, tl.where(x > y, x, -y), mask=mask)


@triton.jit
def compare(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Bits of each result: x < y, x <= y, x == y, x != y, x > y, x >= y"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    y = tl.load(y_ptr + at, mask=mask)
    bits = (x < y).to(tl.int32) | ((x <= y).to(tl.int32) << 1) | ((x == y).to(tl.int32) << 2)
    bits |= ((x != y).to(tl.int32) << 3) | ((x > y).to(tl.int32) << 4) | ((x >= y).to(tl.int32) << 5)
    tl.store(out_ptr + at, bits, mask=mask)


@triton.jit
def logic(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    y = tl.load(y_ptr + at, mask=mask)
    tl.store(out_ptr + at, (x & ~y) | (~x & y), mask=mask)


@triton.jit
def convert(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=mask).to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def convert_toward_zero(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    tl.store(out_ptr + at, x.to(out_ptr.dtype.element_ty, fp_downcast_rounding="rtz"), mask=mask)


@triton.jit
def reinterpret(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    tl.store(out_ptr + at, x.to(out_ptr.dtype.element_ty, bitcast=True) ^ 1, mask=mask)


@triton.jit
def functions(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Ten functions of x > 0, behind each other"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask, other=1.0)
    out_ptr += at
    tl.store(out_ptr, tl.exp(x), mask=mask)
    tl.store(out_ptr + n, tl.exp2(x), mask=mask)
    tl.store(out_ptr + 2 * n, tl.log(x), mask=mask)
    tl.store(out_ptr + 3 * n, tl.log2(x), mask=mask)
    tl.store(out_ptr + 4 * n, tl.sin(x), mask=mask)
    tl.store(out_ptr + 5 * n, tl.cos(x), mask=mask)
    tl.store(out_ptr + 6 * n, tl.sqrt(x), mask=mask)
    tl.store(out_ptr + 7 * n, tl.rsqrt(x), mask=mask)
    tl.store(out_ptr + 8 * n, tl.erf(x), mask=mask)
    tl.store(out_ptr + 9 * n, 1.0 / x, mask=mask)


@triton.jit
def rounding(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Correctly rounded or exact: floor, ceil, square root, quotient, fused multiply and add"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    y = tl.load(y_ptr + at, mask=mask, other=1.0)
    out_ptr += at
    tl.store(out_ptr, tl.floor(x), mask=mask)
    tl.store(out_ptr + n, tl.ceil(x), mask=mask)
    tl.store(out_ptr + 2 * n, tl.sqrt_rn(y), mask=mask)
    tl.store(out_ptr + 3 * n, tl.div_rn(x, y), mask=mask)
    tl.store(out_ptr + 4 * n, tl.fma(x, y, x), mask=mask)


@triton.jit
def activations(x_ptr, gate_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """SiLU(x) · gate, GELU(x), softplus(x), behind each other"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask).to(tl.float32)
    gate = tl.load(gate_ptr + at, mask=mask).to(tl.float32)
    type_: tl.constexpr = out_ptr.dtype.element_ty
    tl.store(out_ptr + at, (x * tl.sigmoid(x) * gate).to(type_), mask=mask)
    tl.store(out_ptr + n + at, (0.5 * x * (1 + tl.erf(x * 0.7071067811865476))).to(type_), mask=mask)
    tl.store(out_ptr + 2 * n + at, (tl.maximum(x, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(x)))).to(type_), mask=mask)


@triton.jit
def scalars(out_ptr, wide_ptr, a_i8, b_i16, c_i32, d_i64, e_u8, f_u16, g_u32, h_u64, i_i1, j_fp16, k_bf16, l_fp32,
            m_fp64):
    """Every scalar type as an argument, stored as it came: what is written shows how parameters were packed"""
    tl.store(out_ptr + 0, a_i8.to(tl.int64))
    tl.store(out_ptr + 1, b_i16.to(tl.int64))
    tl.store(out_ptr + 2, c_i32.to(tl.int64))
    tl.store(out_ptr + 3, d_i64)
    tl.store(out_ptr + 4, e_u8.to(tl.int64))
    tl.store(out_ptr + 5, f_u16.to(tl.int64))
    tl.store(out_ptr + 6, g_u32.to(tl.int64))
    tl.store(out_ptr + 7, h_u64.to(tl.int64))
    tl.store(out_ptr + 8, i_i1.to(tl.int64))
    tl.store(wide_ptr + 0, j_fp16.to(tl.float64))
    tl.store(wide_ptr + 1, k_bf16.to(tl.float64))
    tl.store(wide_ptr + 2, l_fp32.to(tl.float64))
    tl.store(wide_ptr + 3, m_fp64)


@triton.jit
def grid_indices(out_ptr):
    """Which program of a three-dimensional grid this is, and the grid's extents"""
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    width, height, depth = tl.num_programs(0), tl.num_programs(1), tl.num_programs(2)
    out_ptr += ((z * height + y) * width + x) * 2
    tl.store(out_ptr, x + 100 * y + 10000 * z)
    tl.store(out_ptr + 1, width + 100 * height + 10000 * depth)


@triton.jit
def broadcast(row_ptr, column_ptr, out_ptr, rows, columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    left = tl.load(column_ptr + r, mask=r < rows)
    top = tl.load(row_ptr + c, mask=c < columns)
    mask = (r[:, None] < rows) & (c[None, :] < columns)
    tl.store(out_ptr + r[:, None] * columns + c[None, :], left[:, None] * top[None, :], mask=mask)


@triton.jit
def collatz(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """How many steps each number takes to reach 1: a loop as long as the slowest lane needs"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask, other=1)
    steps = tl.zeros([BLOCK], dtype=tl.int32)
    while tl.max(x, axis=0) > 1:
        going = x > 1
        x = tl.where(going, tl.where(x % 2 == 0, x // 2, 3 * x + 1), x)
        steps += going.to(tl.int32)
    tl.store(out_ptr + at, steps, mask=mask)


@triton.jit
def assembly(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Four bytes reversed, by PTX that the kernel brings along"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    reversed_ = tl.inline_asm_elementwise("prmt.b32 $0, $1, 0, 0x0123;", "=r,r", [x], dtype=tl.int32, is_pure=True,
                                          pack=1)
    tl.store(out_ptr + at, reversed_, mask=mask)


@triton.jit
def polynomial(x, DEGREE: tl.constexpr):
    result = x * 0.0 + 1.0
    for _ in tl.static_range(DEGREE):
        result = result * x + 1.0
    return result


@triton.jit
def unrolled(x_ptr, out_ptr, n, DEGREE: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out_ptr + at, polynomial(tl.load(x_ptr + at, mask=mask), DEGREE), mask=mask)


@triton.jit(noinline=True)
def scale_and_shift(x, scale, shift):
    if x > 0:
        x = x * scale
    return x + shift, x * shift


@triton.jit
def called(x_ptr, out_ptr, scale, shift, n):
    """Through a function that is really called, with scalars"""
    at = tl.program_id(0)
    first, second = scale_and_shift(tl.load(x_ptr + at), scale, shift)
    tl.store(out_ptr + at, first)
    tl.store(out_ptr + n + at, second)
