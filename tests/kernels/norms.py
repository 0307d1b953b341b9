"""Softmax and normalisations, forward and backward"""
import triton
import triton.language as tl


@triton.jit
def softmax(x_ptr, out_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    x = tl.load(x_ptr + row * columns + column, mask=mask, other=-float("inf")).to(tl.float32)
    numerator = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + row * columns + column, (numerator / tl.sum(numerator, axis=0)).to(out_ptr.dtype.element_ty),
             mask=mask)


@triton.jit
def softmax_online(x_ptr, out_ptr, columns, BLOCK: tl.constexpr):
    """Rows longer than a block: the greatest and the sum are corrected as blocks arrive"""
    row = tl.program_id(0)
    highest = -float("inf")
    total = 0.0
    for start in range(0, columns, BLOCK):
        column = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * columns + column, mask=column < columns, other=-float("inf"))
        before = highest
        highest = tl.maximum(highest, tl.max(x, axis=0))
        total = total * tl.exp(before - highest) + tl.sum(tl.exp(x - highest), axis=0)
    for start in range(0, columns, BLOCK):
        column = start + tl.arange(0, BLOCK)
        mask = column < columns
        x = tl.load(x_ptr + row * columns + column, mask=mask)
        tl.store(out_ptr + row * columns + column, tl.exp(x - highest) / total, mask=mask)


@triton.jit
def softmax_backward(out_ptr, grad_ptr, x_grad_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    out = tl.load(out_ptr + row * columns + column, mask=mask, other=0.0)
    grad = tl.load(grad_ptr + row * columns + column, mask=mask, other=0.0)
    tl.store(x_grad_ptr + row * columns + column, out * (grad - tl.sum(out * grad, axis=0)), mask=mask)


@triton.jit
def cross_entropy(logits_ptr, label_ptr, loss_ptr, grad_ptr, columns, BLOCK: tl.constexpr):
    """-log softmax(logits)[label], and its gradient"""
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    label = tl.load(label_ptr + row)
    x = tl.load(logits_ptr + row * columns + column, mask=mask, other=-float("inf")).to(tl.float32)
    highest = tl.max(x, axis=0)
    total = tl.sum(tl.exp(x - highest), axis=0)
    chosen = tl.sum(tl.where(column == label, x, 0.0), axis=0)
    tl.store(loss_ptr + row, highest + tl.log(total) - chosen)
    grad = tl.exp(x - highest) / total - tl.where(column == label, 1.0, 0.0)
    tl.store(grad_ptr + row * columns + column, grad, mask=mask)


@triton.jit
def layer_norm(x_ptr, weight_ptr, bias_ptr, out_ptr, mean_ptr, rstd_ptr, columns, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    x = tl.load(x_ptr + row * columns + column, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x, axis=0) / columns
    centred = tl.where(mask, x - mean, 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / columns + eps)
    weight = tl.load(weight_ptr + column, mask=mask)
    bias = tl.load(bias_ptr + column, mask=mask)
    tl.store(mean_ptr + row, mean)
    tl.store(rstd_ptr + row, rstd)
    tl.store(out_ptr + row * columns + column, (centred * rstd * weight + bias).to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def layer_norm_backward(x_ptr, grad_ptr, weight_ptr, mean_ptr, rstd_ptr, x_grad_ptr, partial_weight_ptr,
                        partial_bias_ptr, lock_ptr, columns, GROUPS: tl.constexpr, BLOCK: tl.constexpr):
    """Gradient of x; those of weight and bias are summed into one row per group, under a lock that rows share"""
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    x = tl.load(x_ptr + row * columns + column, mask=mask, other=0.0).to(tl.float32)
    grad = tl.load(grad_ptr + row * columns + column, mask=mask, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=mask, other=0.0)
    rstd = tl.load(rstd_ptr + row)
    normal = tl.where(mask, (x - tl.load(mean_ptr + row)) * rstd, 0.0)
    weighted = weight * grad
    projection = tl.sum(normal * weighted, axis=0) / columns
    mean_grad = tl.sum(weighted, axis=0) / columns
    x_grad = (weighted - (normal * projection + mean_grad)) * rstd
    tl.store(x_grad_ptr + row * columns + column, x_grad.to(x_grad_ptr.dtype.element_ty), mask=mask)

    group = row % GROUPS
    partial_weight_ptr += group * columns + column
    partial_bias_ptr += group * columns + column
    while tl.atomic_cas(lock_ptr + group, 0, 1) == 1:
        pass
    tl.debug_barrier()
    tl.store(partial_weight_ptr, tl.load(partial_weight_ptr, mask=mask) + grad * normal, mask=mask)
    tl.store(partial_bias_ptr, tl.load(partial_bias_ptr, mask=mask) + grad, mask=mask)
    tl.debug_barrier()
    tl.atomic_xchg(lock_ptr + group, 0)


@triton.jit
def column_sums(partial_ptr, out_ptr, rows, columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """What finishes the gradients of weight and bias: a sum down the columns"""
    column = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_R, BLOCK_C), dtype=tl.float32)
    for start in range(0, rows, BLOCK_R):
        row = start + tl.arange(0, BLOCK_R)
        mask = (row[:, None] < rows) & (column[None, :] < columns)
        total += tl.load(partial_ptr + row[:, None] * columns + column[None, :], mask=mask, other=0.0)
    tl.store(out_ptr + column, tl.sum(total, axis=0), mask=column < columns)


@triton.jit
def rms_norm(x_ptr, residual_ptr, weight_ptr, out_ptr, columns, eps, BLOCK: tl.constexpr):
    """x + residual, kept in residual, then divided by its root mean square"""
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < columns
    x = tl.load(x_ptr + row * columns + column, mask=mask, other=0.0).to(tl.float32)
    x += tl.load(residual_ptr + row * columns + column, mask=mask, other=0.0).to(tl.float32)
    tl.store(residual_ptr + row * columns + column, x.to(residual_ptr.dtype.element_ty), mask=mask)
    scale = tl.rsqrt(tl.sum(x * x, axis=0) / columns + eps)
    weight = tl.load(weight_ptr + column, mask=mask).to(tl.float32)
    tl.store(out_ptr + row * columns + column, (x * scale * weight).to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def group_norm(x_ptr, weight_ptr, out_ptr, channels, pixels, groups, eps, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr):
    """Over the channels of a group and all pixels; one program per image and group"""
    image, group = tl.program_id(0), tl.program_id(1)
    size = channels // groups
    c, p = tl.arange(0, BLOCK_C), tl.arange(0, BLOCK_P)
    mask = (c[:, None] < size) & (p[None, :] < pixels)
    at = ((image * channels + group * size + c[:, None]) * pixels + p[None, :])
    x = tl.load(x_ptr + at, mask=mask, other=0.0)
    mean = tl.sum(x) / (size * pixels)
    centred = tl.where(mask, x - mean, 0.0)
    rstd = tl.rsqrt(tl.sum(centred * centred) / (size * pixels) + eps)
    weight = tl.load(weight_ptr + group * size + c, mask=c < size, other=0.0)
    tl.store(out_ptr + at, centred * rstd * weight[:, None], mask=mask)
