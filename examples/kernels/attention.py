"""out = softmax(q @ k^T * scale) @ v per head, each position seeing itself and what is before it.

q, k, v and out are [batch, length, heads * HEAD]; the grid is blocks of queries, heads, batch. The softmax is kept up to
date while blocks of keys go by, so the scores are never in memory."""
import triton
import triton.language as tl


@triton.jit
def attention(q_ptr, k_ptr, v_ptr, out_ptr, scale, length, stride, HEAD: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0) * BLOCK
    base = tl.program_id(2) * length * stride + tl.program_id(1) * HEAD
    query = first + tl.arange(0, BLOCK)
    inner = tl.arange(0, HEAD)
    here = base + query[:, None] * stride + inner[None, :]
    q = tl.load(q_ptr + here, mask=query[:, None] < length, other=0.0)

    largest = tl.full([BLOCK], -1e30, dtype=tl.float32)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    sums = tl.zeros([BLOCK, HEAD], dtype=tl.float32)
    for start in range(0, min(first + BLOCK, length), BLOCK):
        key = start + tl.arange(0, BLOCK)
        k = tl.load(k_ptr + base + key[None, :] * stride + inner[:, None], mask=key[None, :] < length, other=0.0)
        v = tl.load(v_ptr + base + key[:, None] * stride + inner[None, :], mask=key[:, None] < length, other=0.0)
        scores = tl.where(key[None, :] <= query[:, None], tl.dot(q, k) * scale, -1e30)
        now = tl.maximum(largest, tl.max(scores, axis=1))
        weights = tl.exp(scores - now[:, None])
        before = tl.exp(largest - now)
        total = total * before + tl.sum(weights, axis=1)
        sums = tl.dot(weights.to(tl.float16), v, sums * before[:, None])
        largest = now
    tl.store(out_ptr + here, (sums / total[:, None]).to(tl.float16), mask=query[:, None] < length)
