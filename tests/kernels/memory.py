"""Memory: gathers, scatters, embeddings, transposes of odd shapes, strides, hints, block pointers, atomics"""
import triton
import triton.language as tl


@triton.jit
def gather_rows(table_ptr, index_ptr, out_ptr, columns, BLOCK: tl.constexpr):
    """An embedding; a negative index gives zeros"""
    row = tl.program_id(0)
    index = tl.load(index_ptr + row)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    value = tl.load(table_ptr + index * columns + column, mask=mask & (index >= 0), other=0.0)
    tl.store(out_ptr + row * columns + column, value, mask=mask)


@triton.jit
def gather_elements(x_ptr, index_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out_ptr + at, tl.load(x_ptr + tl.load(index_ptr + at, mask=mask, other=0), mask=mask), mask=mask)


@triton.jit
def scatter_elements(x_ptr, index_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out_ptr + tl.load(index_ptr + at, mask=mask, other=0), tl.load(x_ptr + at, mask=mask), mask=mask)


@triton.jit
def embedding_backward(grad_ptr, index_ptr, table_grad_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    index = tl.load(index_ptr + row)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    tl.atomic_add(table_grad_ptr + index * columns + column, tl.load(grad_ptr + row * columns + column, mask=mask),
                  mask=mask)


@triton.jit
def transpose(x_ptr, out_ptr, rows, columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = (r[:, None] < rows) & (c[None, :] < columns)
    x = tl.load(x_ptr + r[:, None] * columns + c[None, :], mask=mask)
    tl.store(out_ptr + c[:, None] * rows + r[None, :], tl.trans(x), mask=tl.trans(mask))


@triton.jit
def permute_cube(x_ptr, out_ptr, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    a, b, c = tl.arange(0, A), tl.arange(0, B), tl.arange(0, C)
    x = tl.load(x_ptr + (a[:, None, None] * B + b[None, :, None]) * C + c[None, None, :])
    at = (c[:, None, None] * A + a[None, :, None]) * B + b[None, None, :]
    tl.store(out_ptr + at, tl.permute(x, (2, 0, 1)))


@triton.jit
def strided_copy(x_ptr, out_ptr, rows, columns, x_row, x_column, out_row, out_column, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    r, c = at // columns, at % columns
    mask = at < rows * columns
    tl.store(out_ptr + r * out_row + c * out_column, tl.load(x_ptr + r * x_row + c * x_column, mask=mask), mask=mask)


@triton.jit
def hinted_copy(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Cache and eviction hints on loads and stores: PTX allows one or the other"""
    at = tl.program_id(0) * BLOCK + tl.max_contiguous(tl.multiple_of(tl.arange(0, BLOCK), BLOCK), BLOCK)
    mask = at < n
    first = tl.load(x_ptr + at, mask=mask, cache_modifier=".cg")
    second = tl.load(x_ptr + at, mask=mask, cache_modifier=".ca")
    third = tl.load(x_ptr + at, mask=mask, eviction_policy="evict_first")
    third = tl.maximum(third, tl.load(x_ptr + at, mask=mask, eviction_policy="evict_last"))
    fourth = tl.load(x_ptr + at, mask=mask, volatile=True)
    tl.store(out_ptr + at, first, mask=mask, cache_modifier=".cs")
    tl.store(out_ptr + n + at, second, mask=mask, cache_modifier=".wb")
    tl.store(out_ptr + 2 * n + at, third, mask=mask, eviction_policy="evict_last")
    tl.store(out_ptr + 3 * n + at, fourth, mask=mask, cache_modifier=".wt")


@triton.jit
def block_pointer_copy(x_ptr, out_ptr, rows, columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """Block pointers that reach past the edges, read with padding"""
    source = tl.make_block_ptr(x_ptr, (rows, columns), (columns, 1), (tl.program_id(0) * BLOCK_R, 0),
                               (BLOCK_R, BLOCK_C), (1, 0))
    sink = tl.make_block_ptr(out_ptr, (rows, columns), (columns, 1), (tl.program_id(0) * BLOCK_R, 0),
                             (BLOCK_R, BLOCK_C), (1, 0))
    for _ in range(0, columns, BLOCK_C):
        tl.store(sink, tl.load(source, boundary_check=(0, 1), padding_option="zero") * 2, boundary_check=(0, 1))
        source = tl.advance(source, (0, BLOCK_C))
        sink = tl.advance(sink, (0, BLOCK_C))


@triton.jit
def stencil(x_ptr, out_ptr, rows, columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """The four neighbours of each cell, zero outside"""
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)[:, None]
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    at = x_ptr + r * columns + c
    inside = (r < rows) & (c < columns)
    total = tl.load(at - columns, mask=inside & (r > 0), other=0.0)
    total += tl.load(at + columns, mask=inside & (r < rows - 1), other=0.0)
    total += tl.load(at - 1, mask=inside & (c > 0), other=0.0)
    total += tl.load(at + 1, mask=inside & (c < columns - 1), other=0.0)
    tl.store(out_ptr + r * columns + c, total, mask=inside)


@triton.jit
def gather_in_block(x_ptr, index_ptr, out_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, AXIS: tl.constexpr):
    """Elements of a block picked by another block, inside registers and shared memory"""
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(out_ptr + at, tl.gather(tl.load(x_ptr + at), tl.load(index_ptr + at), AXIS))


# ---- shapes ----


@triton.jit
def interleave_split(x_ptr, y_ptr, out_ptr, back_ptr, BLOCK: tl.constexpr):
    """x and y interleaved; and the result taken apart again, their sum kept"""
    at = tl.arange(0, BLOCK)
    mixed = tl.interleave(tl.load(x_ptr + at), tl.load(y_ptr + at))
    tl.store(out_ptr + tl.arange(0, 2 * BLOCK), mixed)
    left, right = tl.split(tl.reshape(mixed, (BLOCK, 2)))
    tl.store(back_ptr + at, left + right)


@triton.jit
def halves(x, GROUPS: tl.constexpr, HALF: tl.constexpr):
    """Each group's first and second half, as two blocks"""
    return tl.split(tl.permute(tl.reshape(x, (GROUPS, 2, HALF)), (0, 2, 1)))


@triton.jit
def whole(first, second, GROUPS: tl.constexpr, HALF: tl.constexpr):
    return tl.reshape(tl.permute(tl.join(first, second), (0, 2, 1)), (2 * GROUPS * HALF, ))


@triton.jit
def fft(real_ptr, imaginary_ptr, cosine_ptr, sine_ptr, STAGES: tl.constexpr):
    """2^STAGES complex points in place, decimation in frequency: results come in bit-reversed order"""
    at = tl.arange(0, 1 << STAGES)
    real = tl.load(real_ptr + at)
    imaginary = tl.load(imaginary_ptr + at)
    for stage in tl.static_range(STAGES):
        turn = tl.arange(0, 1 << (STAGES - 1 - stage)) << stage
        cosine = tl.load(cosine_ptr + turn)[None, :]
        sine = tl.load(sine_ptr + turn)[None, :]
        ar, br = halves(real, 1 << stage, 1 << (STAGES - 1 - stage))
        ai, bi = halves(imaginary, 1 << stage, 1 << (STAGES - 1 - stage))
        dr, di = ar - br, ai - bi
        real = whole(ar + br, dr * cosine + di * sine, 1 << stage, 1 << (STAGES - 1 - stage))
        imaginary = whole(ai + bi, di * cosine - dr * sine, 1 << stage, 1 << (STAGES - 1 - stage))
    tl.store(real_ptr + at, real)
    tl.store(imaginary_ptr + at, imaginary)


@triton.jit
def hadamard(x_ptr, out_ptr, STAGES: tl.constexpr):
    at = tl.program_id(0) * (1 << STAGES) + tl.arange(0, 1 << STAGES)
    x = tl.load(x_ptr + at)
    for stage in tl.static_range(STAGES):
        a, b = halves(x, 1 << stage, 1 << (STAGES - 1 - stage))
        x = whole(a + b, a - b, 1 << stage, 1 << (STAGES - 1 - stage))
    tl.store(out_ptr + at, x)


@triton.jit
def reshape_flip(x_ptr, out_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Rows become columns of another shape, then the order turns round"""
    x = tl.load(x_ptr + tl.arange(0, ROWS * COLUMNS))
    turned = tl.flip(tl.reshape(tl.trans(tl.reshape(x, (ROWS, COLUMNS))), (ROWS * COLUMNS, )), 0)
    tl.store(out_ptr + tl.arange(0, ROWS * COLUMNS), turned)


# ---- order ----


@triton.jit
def sort_rows(x_ptr, out_ptr, columns, BLOCK: tl.constexpr, DESCENDING: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * columns + column, mask=column < columns, other=-30000 if DESCENDING else 30000)
    tl.store(out_ptr + row * columns + column, tl.sort(x, descending=DESCENDING), mask=column < columns)


@triton.jit
def sort_with_places(x_ptr, out_ptr, place_ptr, BLOCK: tl.constexpr):
    """Value and place in one 64-bit key"""
    at = tl.arange(0, BLOCK)
    key = (tl.load(x_ptr + at).to(tl.int64) << 32) | at.to(tl.int64)
    key = tl.sort(key)
    tl.store(out_ptr + at, (key >> 32).to(tl.int32))
    tl.store(place_ptr + at, key.to(tl.int32))


@triton.jit
def top_k(x_ptr, out_ptr, BLOCK: tl.constexpr, K: tl.constexpr):
    row = tl.program_id(0)
    x = tl.load(x_ptr + row * BLOCK + tl.arange(0, BLOCK))
    tl.store(out_ptr + row * K + tl.arange(0, K), tl.topk(x, K))


@triton.jit
def route(scores_ptr, expert_ptr, weight_ptr, EXPERTS: tl.constexpr, K: tl.constexpr):
    """The K best experts of a token one after the other, weights normalised: top-k where tl.topk is missing"""
    row = tl.program_id(0)
    expert = tl.arange(0, EXPERTS)
    scores = tl.load(scores_ptr + row * EXPERTS + expert)
    total = 0.0
    for k in tl.static_range(K):
        best = tl.argmax(scores, axis=0)
        weight = tl.exp(tl.max(scores, axis=0))
        tl.store(expert_ptr + row * K + k, best)
        tl.store(weight_ptr + row * K + k, weight)
        total += weight
        scores = tl.where(expert == best, -float("inf"), scores)
    tl.debug_barrier()
    for k in tl.static_range(K):
        tl.store(weight_ptr + row * K + k, tl.load(weight_ptr + row * K + k) / total)


@triton.jit
def histogram(x_ptr, out_ptr, n, BINS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)
    tl.atomic_add(out_ptr + tl.arange(0, BINS), tl.histogram(x, BINS))


# ---- atomics ----


@triton.jit
def atomics(x_ptr, counter_ptr, before_ptr, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    """Each element goes to one of eight counters; what was there before is kept"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    x = tl.load(x_ptr + at, mask=mask)
    where = counter_ptr + at % 8
    if OP == "add":
        before = tl.atomic_add(where, x, mask=mask)
    elif OP == "max":
        before = tl.atomic_max(where, x, mask=mask)
    elif OP == "min":
        before = tl.atomic_min(where, x, mask=mask)
    elif OP == "and":
        before = tl.atomic_and(where, x, mask=mask)
    elif OP == "or":
        before = tl.atomic_or(where, x, mask=mask)
    else:
        before = tl.atomic_xor(where, x, mask=mask)
    tl.store(before_ptr + at, before, mask=mask)


@triton.jit
def atomic_accumulate(x_ptr, sum_ptr, n, BLOCK: tl.constexpr):
    """Nobody looks at what was there: may become a reduction without result"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.atomic_add(sum_ptr + at % 16, tl.load(x_ptr + at, mask=mask), mask=mask, sem="relaxed")


@triton.jit
def exchange_chain(slot_ptr, out_ptr):
    """Each program leaves its number and takes its forerunner's: together they see each number once"""
    tl.store(out_ptr + tl.program_id(0), tl.atomic_xchg(slot_ptr, tl.program_id(0) + 1, sem="acq_rel", scope="gpu"))


@triton.jit
def compare_and_swap(slot_ptr, won_ptr):
    """Of all programs that try, one wins each slot"""
    program = tl.program_id(0)
    seen = tl.atomic_cas(slot_ptr + program % 4, 0, program + 1)
    tl.atomic_add(won_ptr + program % 4, (seen == 0).to(tl.int32))


@triton.jit
def last_block_sum(x_ptr, part_ptr, arrived_ptr, out_ptr, n, PROGRAMS: tl.constexpr, BLOCK: tl.constexpr):
    """Programs store their parts; the one that arrives last adds them up"""
    program = tl.program_id(0)
    at = program * BLOCK + tl.arange(0, BLOCK)
    tl.store(part_ptr + program, tl.sum(tl.load(x_ptr + at, mask=at < n, other=0.0), axis=0))
    tl.debug_barrier()
    if tl.atomic_add(arrived_ptr, 1) == PROGRAMS - 1:
        tl.debug_barrier()
        tl.store(out_ptr, tl.sum(tl.load(part_ptr + tl.arange(0, PROGRAMS), volatile=True), axis=0))


@triton.jit
def grid_barrier(x_ptr, out_ptr, arrived_ptr, BLOCK: tl.constexpr):
    """Every program waits for all others, then reads what its neighbour wrote: needs a cooperative launch"""
    program, programs = tl.program_id(0), tl.num_programs(0)
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + program * BLOCK + at, tl.load(x_ptr + program * BLOCK + at) * 2)
    tl.debug_barrier()
    tl.atomic_add(arrived_ptr, 1, sem="release")
    while tl.atomic_add(arrived_ptr, 0, sem="acquire") < programs:
        pass
    tl.debug_barrier()
    neighbour = tl.load(out_ptr + (program + 1) % programs * BLOCK + at, volatile=True)
    tl.store(out_ptr + (programs + program) * BLOCK + at, neighbour)
