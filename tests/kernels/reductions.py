"""Reductions over one axis or all: sums, extremes with their places, products, own combinations; prefix scans"""
import triton
import triton.language as tl


@triton.jit
def sum_rows(x_ptr, out_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros([BLOCK], dtype=out_ptr.dtype.element_ty)
    for start in range(0, columns, BLOCK):
        column = start + tl.arange(0, BLOCK)
        total += tl.load(x_ptr + row * columns + column, mask=column < columns, other=0).to(total.dtype)
    tl.store(out_ptr + row, tl.sum(total, axis=0))


@triton.jit
def sum_axis(x_ptr, out_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, AXIS: tl.constexpr):
    r, c = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    x = tl.load(x_ptr + r[:, None] * COLUMNS + c[None, :])
    total = tl.sum(x, axis=AXIS)
    if AXIS == 0:
        tl.store(out_ptr + c, total)
    else:
        tl.store(out_ptr + r, total)


@triton.jit
def extremes(x_ptr, out_ptr, place_ptr, columns, BLOCK: tl.constexpr):
    """Greatest and least of each row, and the first place of each"""
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    x = tl.load(x_ptr + row * columns + column, mask=mask)
    first = tl.load(x_ptr + row * columns)
    filled = tl.where(mask, x, first)
    tl.store(out_ptr + 2 * row, tl.max(filled, axis=0))
    tl.store(out_ptr + 2 * row + 1, tl.min(filled, axis=0))
    tl.store(place_ptr + 2 * row, tl.argmax(filled, axis=0))
    tl.store(place_ptr + 2 * row + 1, tl.argmin(filled, axis=0))


@triton.jit
def argmax_axis(x_ptr, out_ptr, place_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The greatest of each column and its row, both from one reduction"""
    r, c = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    value, place = tl.max(tl.load(x_ptr + r[:, None] * COLUMNS + c[None, :]), axis=0, return_indices=True)
    tl.store(out_ptr + c, value)
    tl.store(place_ptr + c, place)


@triton.jit
def xor_all(x_ptr, out_ptr, BLOCK: tl.constexpr):
    tl.store(out_ptr + tl.program_id(0), tl.xor_sum(tl.load(x_ptr + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)),
                                                    axis=0))


@triton.jit
def multiply(a, b):
    return a * b


@triton.jit
def product(x_ptr, out_ptr, BLOCK: tl.constexpr):
    x = tl.load(x_ptr + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    tl.store(out_ptr + tl.program_id(0), tl.reduce(x, 0, multiply))


@triton.jit
def merge_moments(mean_a, spread_a, count_a, mean_b, spread_b, count_b):
    count = count_a + count_b
    delta = mean_b - mean_a
    share = tl.where(count == 0.0, 0.0, count_b / tl.maximum(count, 1.0))
    return mean_a + delta * share, spread_a + spread_b + delta * delta * count_a * share, count


@triton.jit
def moments(x_ptr, mean_ptr, variance_ptr, columns, BLOCK: tl.constexpr):
    """Mean and variance of each row in one pass: three values reduced together"""
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    x = tl.load(x_ptr + row * columns + column, mask=mask, other=0.0)
    mean, spread, count = tl.reduce((x, tl.zeros_like(x), mask.to(tl.float32)), 0, merge_moments)
    tl.store(mean_ptr + row, mean)
    tl.store(variance_ptr + row, spread / count)


@triton.jit
def reduce_cube(x_ptr, out_ptr, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    """A three-dimensional block, reduced over its middle axis"""
    a, b, c = tl.arange(0, A), tl.arange(0, B), tl.arange(0, C)
    x = tl.load(x_ptr + (a[:, None, None] * B + b[None, :, None]) * C + c[None, None, :])
    tl.store(out_ptr + a[:, None] * C + c[None, :], tl.sum(x, axis=1))


@triton.jit
def prefix_sum(x_ptr, out_ptr, n, BLOCK: tl.constexpr, REVERSE: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0)
    tl.store(out_ptr + at, tl.cumsum(x, axis=0, reverse=REVERSE), mask=at < n)


@triton.jit
def prefix_axis(x_ptr, out_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, AXIS: tl.constexpr):
    r, c = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    at = r[:, None] * COLUMNS + c[None, :]
    tl.store(out_ptr + at, tl.cumsum(tl.load(x_ptr + at), axis=AXIS))


@triton.jit
def prefix_product(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.cumprod(tl.load(x_ptr + at), axis=0))


@triton.jit
def greater(a, b):
    return tl.maximum(a, b)


@triton.jit
def running_max(x_ptr, out_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    x = tl.load(x_ptr + row * columns + column, mask=mask, other=-float("inf"))
    tl.store(out_ptr + row * columns + column, tl.associative_scan(x, 0, greater), mask=mask)


@triton.jit
def chain(decay_a, value_a, decay_b, value_b):
    return decay_a * decay_b, value_a * decay_b + value_b


@triton.jit
def recurrence(decay_ptr, x_ptr, out_ptr, T: tl.constexpr, D: tl.constexpr):
    """h[t] = decay[t] · h[t - 1] + x[t], as state-space models have it: two values scanned together along time"""
    at = tl.arange(0, T)[:, None] * D + tl.arange(0, D)[None, :]
    _, state = tl.associative_scan((tl.load(decay_ptr + at), tl.load(x_ptr + at)), 0, chain)
    tl.store(out_ptr + at, state)
