"""Attention: forward and backward, causal or not, several head sizes; decoding with a paged cache"""
import triton
import triton.language as tl


@triton.jit
def attention_forward(q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, scale, length, HEAD: tl.constexpr, BLOCK_M: tl.constexpr,
                      BLOCK_N: tl.constexpr, CAUSAL: tl.constexpr):
    """One program per block of queries and head; q, k, v are [heads, length, HEAD]. Keeps log-sum-exp in base 2."""
    head = tl.program_id(1)
    base = head * length * HEAD
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, HEAD)
    q = tl.load(q_ptr + base + m[:, None] * HEAD + d[None, :], mask=m[:, None] < length, other=0.0)
    highest = tl.full([BLOCK_M], -float("inf"), dtype=tl.float32)
    total = tl.zeros([BLOCK_M], dtype=tl.float32)
    sums = tl.zeros([BLOCK_M, HEAD], dtype=tl.float32)
    scale = scale * 1.4426950408889634
    end = tl.minimum((tl.program_id(0) + 1) * BLOCK_M, length) if CAUSAL else length
    for start in range(0, end, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        k = tl.load(k_ptr + base + n[None, :] * HEAD + d[:, None], mask=n[None, :] < length, other=0.0)
        scores = tl.dot(q, k) * scale
        visible = n[None, :] < length
        if CAUSAL:
            visible = visible & (m[:, None] >= n[None, :])
        scores = tl.where(visible, scores, -1.0e30)
        now = tl.maximum(highest, tl.max(scores, axis=1))
        weights = tl.exp2(scores - now[:, None])
        shrink = tl.exp2(highest - now)
        total = total * shrink + tl.sum(weights, axis=1)
        v = tl.load(v_ptr + base + n[:, None] * HEAD + d[None, :], mask=n[:, None] < length, other=0.0)
        sums = tl.dot(weights.to(v.dtype), v, sums * shrink[:, None])
        highest = now
    out = sums / total[:, None]
    tl.store(lse_ptr + head * length + m, highest + tl.log2(total), mask=m < length)
    tl.store(out_ptr + base + m[:, None] * HEAD + d[None, :], out.to(out_ptr.dtype.element_ty), mask=m[:, None] < length)


@triton.jit
def attention_delta(out_ptr, grad_ptr, delta_ptr, rows, HEAD: tl.constexpr, BLOCK: tl.constexpr):
    """Σ out · grad of each row, which the backward pass needs"""
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    at = row[:, None] * HEAD + tl.arange(0, HEAD)[None, :]
    mask = row[:, None] < rows
    out = tl.load(out_ptr + at, mask=mask, other=0.0).to(tl.float32)
    grad = tl.load(grad_ptr + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(delta_ptr + row, tl.sum(out * grad, axis=1), mask=row < rows)


@triton.jit
def attention_backward_kv(q_ptr, k_ptr, v_ptr, grad_ptr, lse_ptr, delta_ptr, k_grad_ptr, v_grad_ptr, scale, length,
                          HEAD: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, CAUSAL: tl.constexpr):
    """Gradients of a block of keys and values: all queries that see them"""
    head = tl.program_id(1)
    base = head * length * HEAD
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    d = tl.arange(0, HEAD)
    k = tl.load(k_ptr + base + n[:, None] * HEAD + d[None, :], mask=n[:, None] < length, other=0.0)
    v = tl.load(v_ptr + base + n[:, None] * HEAD + d[None, :], mask=n[:, None] < length, other=0.0)
    k_grad = tl.zeros([BLOCK_N, HEAD], dtype=tl.float32)
    v_grad = tl.zeros([BLOCK_N, HEAD], dtype=tl.float32)
    begin = tl.program_id(0) * BLOCK_N // BLOCK_M * BLOCK_M if CAUSAL else 0
    for start in range(begin, length, BLOCK_M):
        m = start + tl.arange(0, BLOCK_M)
        inside = m < length
        q = tl.load(q_ptr + base + m[:, None] * HEAD + d[None, :], mask=inside[:, None], other=0.0)
        grad = tl.load(grad_ptr + base + m[:, None] * HEAD + d[None, :], mask=inside[:, None], other=0.0)
        lse = tl.load(lse_ptr + head * length + m, mask=inside, other=0.0)
        delta = tl.load(delta_ptr + head * length + m, mask=inside, other=0.0)
        scores = tl.dot(k, tl.trans(q)) * (scale * 1.4426950408889634)
        visible = (n[:, None] < length) & inside[None, :]
        if CAUSAL:
            visible = visible & (m[None, :] >= n[:, None])
        weights = tl.where(visible, tl.exp2(scores - lse[None, :]), 0.0)
        v_grad += tl.dot(weights.to(grad.dtype), grad)
        weight_grad = tl.dot(v, tl.trans(grad))
        score_grad = weights * (weight_grad - delta[None, :])
        k_grad += tl.dot(score_grad.to(q.dtype), q)
    at = base + n[:, None] * HEAD + d[None, :]
    tl.store(k_grad_ptr + at, (k_grad * scale).to(k_grad_ptr.dtype.element_ty), mask=n[:, None] < length)
    tl.store(v_grad_ptr + at, v_grad.to(v_grad_ptr.dtype.element_ty), mask=n[:, None] < length)


@triton.jit
def attention_backward_q(q_ptr, k_ptr, v_ptr, grad_ptr, lse_ptr, delta_ptr, q_grad_ptr, scale, length,
                         HEAD: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, CAUSAL: tl.constexpr):
    """Gradient of a block of queries: all keys that they see"""
    head = tl.program_id(1)
    base = head * length * HEAD
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, HEAD)
    inside = m < length
    q = tl.load(q_ptr + base + m[:, None] * HEAD + d[None, :], mask=inside[:, None], other=0.0)
    grad = tl.load(grad_ptr + base + m[:, None] * HEAD + d[None, :], mask=inside[:, None], other=0.0)
    lse = tl.load(lse_ptr + head * length + m, mask=inside, other=0.0)
    delta = tl.load(delta_ptr + head * length + m, mask=inside, other=0.0)
    q_grad = tl.zeros([BLOCK_M, HEAD], dtype=tl.float32)
    end = tl.minimum((tl.program_id(0) + 1) * BLOCK_M, length) if CAUSAL else length
    for start in range(0, end, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        at = base + n[None, :] * HEAD + d[:, None]
        k = tl.load(k_ptr + at, mask=n[None, :] < length, other=0.0)
        v = tl.load(v_ptr + at, mask=n[None, :] < length, other=0.0)
        scores = tl.dot(q, k) * (scale * 1.4426950408889634)
        visible = (n[None, :] < length) & inside[:, None]
        if CAUSAL:
            visible = visible & (m[:, None] >= n[None, :])
        weights = tl.where(visible, tl.exp2(scores - lse[:, None]), 0.0)
        score_grad = weights * (tl.dot(grad, v) - delta[:, None])
        q_grad += tl.dot(score_grad.to(k.dtype), tl.trans(k))
    tl.store(q_grad_ptr + base + m[:, None] * HEAD + d[None, :], (q_grad * scale).to(q_grad_ptr.dtype.element_ty),
             mask=inside[:, None])


@triton.jit
def decode_part(q_ptr, k_cache_ptr, v_cache_ptr, pages_ptr, part_ptr, lse_ptr, scale, length, PAGE: tl.constexpr,
                HEAD: tl.constexpr, PARTS: tl.constexpr):
    """One query against a cache in pages that lie anywhere; each program takes every PARTS-th page"""
    head, part = tl.program_id(0), tl.program_id(1)
    heads = tl.num_programs(0)
    d = tl.arange(0, HEAD)
    q = tl.load(q_ptr + head * HEAD + d)
    highest = -1.0e30
    total = 0.0
    sums = tl.zeros([HEAD], dtype=tl.float32)
    for start in range(part * PAGE, length, PARTS * PAGE):
        slot = tl.arange(0, PAGE)
        page = tl.load(pages_ptr + start // PAGE).to(tl.int64)
        at = ((page * PAGE + slot[:, None]) * heads + head) * HEAD + d[None, :]
        visible = start + slot < length
        k = tl.load(k_cache_ptr + at, mask=visible[:, None], other=0.0).to(tl.float32)
        scores = tl.where(visible, tl.sum(q[None, :] * k, axis=1) * scale, -1.0e30)
        now = tl.maximum(highest, tl.max(scores, axis=0))
        weights = tl.exp(scores - now)
        shrink = tl.exp(highest - now)
        v = tl.load(v_cache_ptr + at, mask=visible[:, None], other=0.0).to(tl.float32)
        sums = sums * shrink + tl.sum(weights[:, None] * v, axis=0)
        total = total * shrink + tl.sum(weights, axis=0)
        highest = now
    tl.store(part_ptr + (head * PARTS + part) * HEAD + d, sums / total)
    tl.store(lse_ptr + head * PARTS + part, highest + tl.log(total))


@triton.jit
def decode_merge(part_ptr, lse_ptr, out_ptr, PARTS: tl.constexpr, HEAD: tl.constexpr):
    head = tl.program_id(0)
    part, d = tl.arange(0, PARTS), tl.arange(0, HEAD)
    lse = tl.load(lse_ptr + head * PARTS + part)
    weights = tl.exp(lse - tl.max(lse, axis=0))
    parts = tl.load(part_ptr + (head * PARTS + part[:, None]) * HEAD + d[None, :])
    out = tl.sum(parts * weights[:, None], axis=0) / tl.sum(weights, axis=0)
    tl.store(out_ptr + head * HEAD + d, out)


@triton.jit
def rotary(x_ptr, cosine_ptr, sine_ptr, out_ptr, heads, HALF: tl.constexpr):
    """Rotates halves of a head by the angles of its position"""
    position, head = tl.program_id(0), tl.program_id(1)
    d = tl.arange(0, HALF)
    base = (position * heads + head) * 2 * HALF
    cosine = tl.load(cosine_ptr + position * HALF + d)
    sine = tl.load(sine_ptr + position * HALF + d)
    left = tl.load(x_ptr + base + d).to(tl.float32)
    right = tl.load(x_ptr + base + HALF + d).to(tl.float32)
    type_: tl.constexpr = out_ptr.dtype.element_ty
    tl.store(out_ptr + base + d, (left * cosine - right * sine).to(type_))
    tl.store(out_ptr + base + HALF + d, (right * cosine + left * sine).to(type_))
