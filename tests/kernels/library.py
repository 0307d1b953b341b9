"""libdevice's functions, and what a kernel can ask of the hardware"""
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def one_argument(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Sixteen functions of x in (0.05, 0.95), behind each other"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask, other=0.5)
    out_ptr += at
    tl.store(out_ptr, libdevice.asin(x), mask=mask)
    tl.store(out_ptr + n, libdevice.acos(x), mask=mask)
    tl.store(out_ptr + 2 * n, libdevice.atan(x), mask=mask)
    tl.store(out_ptr + 3 * n, libdevice.sinh(x), mask=mask)
    tl.store(out_ptr + 4 * n, libdevice.cosh(x), mask=mask)
    tl.store(out_ptr + 5 * n, libdevice.tanh(x), mask=mask)
    tl.store(out_ptr + 6 * n, libdevice.tan(x), mask=mask)
    tl.store(out_ptr + 7 * n, libdevice.expm1(x), mask=mask)
    tl.store(out_ptr + 8 * n, libdevice.log1p(x), mask=mask)
    tl.store(out_ptr + 9 * n, libdevice.cbrt(x), mask=mask)
    tl.store(out_ptr + 10 * n, libdevice.erfc(x), mask=mask)
    tl.store(out_ptr + 11 * n, libdevice.lgamma(x), mask=mask)
    tl.store(out_ptr + 12 * n, libdevice.atanh(x), mask=mask)
    tl.store(out_ptr + 13 * n, libdevice.asinh(x), mask=mask)
    tl.store(out_ptr + 14 * n, libdevice.log10(x), mask=mask)
    tl.store(out_ptr + 15 * n, libdevice.exp10(x), mask=mask)


@triton.jit
def two_arguments(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask, other=1.0)
    y = tl.load(y_ptr + at, mask=mask, other=1.0)
    out_ptr += at
    tl.store(out_ptr, libdevice.pow(x, y), mask=mask)
    tl.store(out_ptr + n, libdevice.atan2(y, x), mask=mask)
    tl.store(out_ptr + 2 * n, libdevice.hypot(x, y), mask=mask)
    tl.store(out_ptr + 3 * n, libdevice.fmod(x, y), mask=mask)
    tl.store(out_ptr + 4 * n, libdevice.copysign(x, y), mask=mask)


@triton.jit
def slow_path(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Sines of small and huge numbers side by side: lanes part ways in the reduction of the argument"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out_ptr + at, libdevice.sin(tl.load(x_ptr + at, mask=mask)), mask=mask)


@triton.jit
def integers(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Leading zeros, bits set, first bit set, bits reversed"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    tl.store(out_ptr + at, libdevice.clz(x), mask=mask)
    tl.store(out_ptr + n + at, libdevice.popc(x), mask=mask)
    tl.store(out_ptr + 2 * n + at, libdevice.ffs(x), mask=mask)
    tl.store(out_ptr + 3 * n + at, libdevice.brev(x), mask=mask)


@triton.jit
def rounding_modes(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """To nearest even, toward zero, half away from zero; the nearest integer as one; not a number?"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    tl.store(out_ptr + at, libdevice.rint(x), mask=mask)
    tl.store(out_ptr + n + at, libdevice.trunc(x), mask=mask)
    tl.store(out_ptr + 2 * n + at, libdevice.round(x), mask=mask)
    tl.store(out_ptr + 3 * n + at, libdevice.float2int_rn(x).to(tl.float32), mask=mask)
    tl.store(out_ptr + 4 * n + at, libdevice.isnan(x).to(tl.int32).to(tl.float32), mask=mask)


@triton.jit
def clocks(out_ptr, BLOCK: tl.constexpr):
    """Time passes: 1 where the timer did not run backwards"""
    before = tl.extra.cuda.globaltimer()
    total = tl.sum(tl.arange(0, BLOCK), axis=0)
    after = tl.extra.cuda.globaltimer()
    tl.store(out_ptr + 2 * tl.program_id(0), (after >= before).to(tl.int32))
    tl.store(out_ptr + 2 * tl.program_id(0) + 1, total + (tl.extra.cuda.smid() < 0).to(tl.int32))


@triton.jit
def printed(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask, other=0)
    tl.static_print("block of", BLOCK)
    tl.static_assert(BLOCK >= 32)
    tl.device_print("x is", x)
    tl.store(out_ptr + at, x + 1, mask=mask)


@triton.jit
def printed_many(x_ptr, out_ptr):
    """Several types in one line, and a number in hexadecimal"""
    x = tl.load(x_ptr + tl.program_id(0))
    tl.device_print("pair ", x, x.to(tl.float32) * 0.5)
    tl.device_print("hex ", x, hex=True)
    tl.store(out_ptr + tl.program_id(0), x)


@triton.jit
def asserted(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Assertions that hold"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask, other=1.0)
    tl.device_assert(x > 0, "x is positive")
    tl.device_assert(n > 0)
    tl.store(out_ptr + at, 1.0 / x, mask=mask)
