"""Random numbers by Philox: raw words, uniform, normal; dropout and its backward pass from the same seed"""
import triton
import triton.language as tl


@triton.jit
def philox_words(out_ptr, seed, n, BLOCK: tl.constexpr):
    """All four words of each counter"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    a, b, c, d = tl.randint4x(seed, at)
    tl.store(out_ptr + 4 * at, a, mask=mask)
    tl.store(out_ptr + 4 * at + 1, b, mask=mask)
    tl.store(out_ptr + 4 * at + 2, c, mask=mask)
    tl.store(out_ptr + 4 * at + 3, d, mask=mask)


@triton.jit
def uniform_normal(uniform_ptr, normal_ptr, seed, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(uniform_ptr + at, tl.rand(seed, at), mask=mask)
    tl.store(normal_ptr + at, tl.randn(seed, at), mask=mask)


@triton.jit
def dropout(x_ptr, out_ptr, probability, seed, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    keep = tl.rand(seed, at) > probability
    tl.store(out_ptr + at, tl.where(keep, x / (1 - probability), 0.0), mask=mask)
