"""Kernels that are wrong, each in one way. The line that a report must name ends in `# wrong`."""
import triton
import triton.language as tl


@triton.jit
def load_unmasked(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)  # wrong
    tl.store(out_ptr + at, x, mask=at < n)


@triton.jit
def store_unmasked(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    tl.store(out_ptr + at, x)  # wrong


@triton.jit
def mask_too_wide(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at <= n
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=mask), mask=mask)  # wrong


@triton.jit
def one_before(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    left = tl.load(x_ptr + at - 1, mask=at < n)  # wrong
    tl.store(out_ptr + at, left, mask=at < n)


@triton.jit
def gather(x_ptr, index_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    index = tl.load(index_ptr + at, mask=at < n, other=0)
    x = tl.load(x_ptr + index, mask=at < n)  # wrong
    tl.store(out_ptr + at, x, mask=at < n)


@triton.jit
def scatter(x_ptr, index_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    index = tl.load(index_ptr + at, mask=at < n, other=0)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + index, x, mask=at < n)  # wrong


@triton.jit
def count(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    bin_ = tl.load(x_ptr + at, mask=at < n, other=0)
    tl.atomic_add(out_ptr + bin_, 1, mask=at < n)  # wrong


@triton.jit
def stride_too_long(x_ptr, out_ptr, rows, columns, stride, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * stride + column, mask=column < columns, other=0.0)  # wrong
    tl.store(out_ptr + row, tl.sum(x, axis=0))


@triton.jit
def product_overflows(x_ptr, out_ptr, stride, BLOCK: tl.constexpr):
    """row · stride needs 64 bits"""
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * stride + at)  # wrong
    tl.store(out_ptr + tl.program_id(0) * BLOCK + at, x)


@triton.jit
def fetch(x_ptr, at):
    return tl.load(x_ptr + at)  # wrong


@triton.jit
def through_helper(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, fetch(x_ptr, at) * 2, mask=at < n)


@triton.jit
def block_unchecked(x_ptr, out_ptr, rows, columns, BLOCK: tl.constexpr):
    block = tl.make_block_ptr(x_ptr, (rows, columns), (columns, 1), (tl.program_id(0) * BLOCK, 0), (BLOCK, 32), (1, 0))
    x = tl.load(block)  # wrong
    tl.store(out_ptr + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.sum(x, axis=1))


@triton.jit
def matmul_unmasked(a_ptr, b_ptr, c_ptr, n, k, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr):
    row, column, inner = tl.arange(0, BLOCK), tl.arange(0, BLOCK), tl.arange(0, BLOCK_K)
    sums = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        a = tl.load(a_ptr + row[:, None] * k + start + inner[None, :])  # wrong
        b = tl.load(b_ptr + (start + inner[:, None]) * n + column[None, :])
        sums = tl.dot(a, b, sums)
    tl.store(c_ptr + row[:, None] * n + column[None, :], sums)


@triton.jit
def copy(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)  # wrong
    tl.store(out_ptr + at, x, mask=mask)


@triton.jit
def copy_out(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    tl.store(out_ptr + at, x, mask=mask)  # wrong


@triton.jit
def wider_type(x_ptr, out_ptr, BLOCK: tl.constexpr):
    """Reads 64-bit words that begin at an odd 32-bit word"""
    at = tl.arange(0, BLOCK)
    wide = (x_ptr + 1).to(tl.pointer_type(tl.int64))
    x = tl.load(wide + at)  # wrong
    tl.store(out_ptr + at, x)


@triton.jit
def row_sum(x_ptr, out_ptr, BLOCK: tl.constexpr):
    """Across warps: partial sums pass through shared memory"""
    x = tl.load(x_ptr + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    total = tl.sum(x, axis=0)  # wrong
    tl.store(out_ptr + tl.program_id(0), total)


@triton.jit
def running_sum(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    total = tl.cumsum(tl.load(x_ptr + at), axis=0)  # wrong
    tl.store(out_ptr + at, total)


@triton.jit
def transpose(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at[:, None] * BLOCK + at[None, :])
    tl.store(out_ptr + at[:, None] * BLOCK + at[None, :], tl.trans(x))  # wrong


@triton.jit
def matmul(a_ptr, b_ptr, c_ptr, n, k, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr):
    """Right as it stands: its PTX is spoilt"""
    row, column, inner = tl.arange(0, BLOCK), tl.arange(0, BLOCK), tl.arange(0, BLOCK_K)
    sums = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        a = tl.load(a_ptr + row[:, None] * k + start + inner[None, :])
        b = tl.load(b_ptr + (start + inner[:, None]) * n + column[None, :])
        sums = tl.dot(a, b, sums)  # wrong
    tl.store(c_ptr + row[:, None] * n + column[None, :], sums)


@triton.jit
def matmul_tma(a_ptr, b_ptr, c_ptr, n, k, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr):
    a = tl.make_tensor_descriptor(a_ptr, shape=[BLOCK, k], strides=[k, 1], block_shape=[BLOCK, BLOCK_K])
    b = tl.make_tensor_descriptor(b_ptr, shape=[k, n], strides=[n, 1], block_shape=[BLOCK_K, BLOCK])
    sums = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        sums = tl.dot(a.load([0, start]), b.load([start, 0]), sums)  # wrong
    at = tl.arange(0, BLOCK)
    tl.store(c_ptr + at[:, None] * n + at[None, :], sums)


@triton.jit
def lock_forever(lock_ptr, x_ptr):
    """The lock is never given back"""
    while tl.atomic_cas(lock_ptr, 0, 1) != 0:  # wrong
        pass
    tl.store(x_ptr, tl.load(x_ptr) + 1)


@triton.jit
def locks_crossed(lock_ptr, arrived_ptr, x_ptr):
    """Even programs take lock 0 then 1, odd ones 1 then 0, once both hold their first"""
    first = tl.program_id(0) % 2
    tl.atomic_xchg(lock_ptr + first, 1)
    tl.atomic_add(arrived_ptr, 1)
    while tl.atomic_add(arrived_ptr, 0) < 2:
        pass
    while tl.atomic_cas(lock_ptr + 1 - first, 0, 1) != 0:  # wrong
        pass
    tl.atomic_add(x_ptr, 1)


@triton.jit
def wait_for_more(arrived_ptr, x_ptr):
    """Waits for one program more than there are"""
    tl.atomic_add(arrived_ptr, 1)
    while tl.atomic_add(arrived_ptr, 0) < tl.num_programs(0) + 1:  # wrong
        pass
    tl.store(x_ptr + tl.program_id(0), 1)


@triton.jit
def step_of_zero(x_ptr, step):
    total = 0
    at = 0
    while at < 10:  # wrong
        total += tl.load(x_ptr + at)  # wrong
        at += step  # wrong
    tl.store(x_ptr, total)


@triton.jit
def steps_over_end(x_ptr, n):
    """An odd n is never met"""
    total = 0
    at = 0
    while at != n:  # wrong
        total += tl.load(x_ptr + at % 16)  # wrong
        at += 2  # wrong
    tl.store(x_ptr, total)


@triton.jit
def never_converges(x_ptr):
    x = tl.load(x_ptr)
    while x * x != 2.0:  # wrong
        x = 0.5 * (x + 2.0 / x)  # wrong
    tl.store(x_ptr, x)


@triton.jit
def asserts(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=1)
    tl.device_assert(x >= 0, "x must not be negative")  # wrong
    tl.store(out_ptr + at, x, mask=at < n)


@triton.jit
def must_be_small(x, LIMIT: tl.constexpr):
    tl.device_assert(x < LIMIT, "too large")  # wrong
    return x


@triton.jit
def asserts_in_helper(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, must_be_small(tl.load(x_ptr + at), 100))


@triton.jit
def asserts_of_arguments(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    tl.device_assert(n <= BLOCK, "one block is all there is")  # wrong
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n), mask=at < n)


@triton.jit
def hands_over(data_ptr, out_ptr, BLOCK: tl.constexpr):
    """The first program makes what the second reads, but nobody sees to it that it is there"""
    at = tl.arange(0, BLOCK)
    if tl.program_id(0) == 0:
        tl.store(data_ptr + at, at)
    else:
        tl.store(out_ptr + at, tl.load(data_ptr + at))  # wrong


@triton.jit
def count_without_atomics(counter_ptr):
    tl.store(counter_ptr, tl.load(counter_ptr) + 1)  # wrong


@triton.jit
def overlapping_rows(x_ptr, out_ptr, BLOCK: tl.constexpr):
    """Each program writes four elements into its neighbour's row"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, 2 * BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at), mask=tl.arange(0, 2 * BLOCK) < BLOCK + 4)  # wrong


@triton.jit
def reads_neighbour(x_ptr, BLOCK: tl.constexpr):
    """In place: reads what the next program may have written already"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    right = tl.load(x_ptr + at + BLOCK)
    tl.store(x_ptr + at, right * 2)  # wrong


@triton.jit
def accumulate_into(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Adds to what nobody has set"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    before = tl.load(out_ptr + at, mask=mask)  # wrong
    tl.store(out_ptr + at, before + tl.load(x_ptr + at, mask=mask), mask=mask)
