"""Convolutions: along a line, over images as a matrix product, depthwise; pooling and upsampling"""
import triton
import triton.language as tl


@triton.jit
def convolve_line(x_ptr, weight_ptr, out_ptr, n, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Causal, one channel per program row"""
    channel = tl.program_id(1)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for tap in tl.static_range(WIDTH):
        place = at + tap - (WIDTH - 1)
        x = tl.load(x_ptr + channel * n + place, mask=(place >= 0) & (place < n), other=0.0)
        total += x * tl.load(weight_ptr + channel * WIDTH + tap)
    tl.store(out_ptr + channel * n + at, total, mask=at < n)


@triton.jit
def convolve_image(x_ptr, weight_ptr, out_ptr, channels, height, width, filters, SIZE: tl.constexpr, STRIDE: tl.constexpr,
                   PAD: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_F: tl.constexpr, BLOCK_C: tl.constexpr):
    """[channels, height, width] with [filters, SIZE, SIZE, channels] weights: a product over taps and channels"""
    out_height = (height + 2 * PAD - SIZE) // STRIDE + 1
    out_width = (width + 2 * PAD - SIZE) // STRIDE + 1
    image = tl.program_id(2)
    pixel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    filter_ = tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    top = pixel // out_width * STRIDE - PAD
    left = pixel % out_width * STRIDE - PAD
    sums = tl.zeros((BLOCK_P, BLOCK_F), dtype=tl.float32)
    for tap in range(SIZE * SIZE):
        y = top + tap // SIZE
        x = left + tap % SIZE
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width) & (pixel < out_height * out_width)
        for start in range(0, channels, BLOCK_C):
            c = start + tl.arange(0, BLOCK_C)
            taken = tl.load(x_ptr + ((image * channels + c[None, :]) * height + y[:, None]) * width + x[:, None],
                            mask=inside[:, None] & (c[None, :] < channels), other=0.0)
            weight = tl.load(weight_ptr + (filter_[None, :] * SIZE * SIZE + tap) * channels + c[:, None],
                             mask=(filter_[None, :] < filters) & (c[:, None] < channels), other=0.0)
            sums = tl.dot(taken, weight, sums)
    at = (image * filters + filter_[None, :]) * out_height * out_width + pixel[:, None]
    tl.store(out_ptr + at, sums.to(out_ptr.dtype.element_ty),
             mask=(pixel[:, None] < out_height * out_width) & (filter_[None, :] < filters))


@triton.jit
def pool_max(x_ptr, out_ptr, place_ptr, height, width, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """The greatest of each SIZE × SIZE window, and where it was"""
    out_width = width // SIZE
    out_height = height // SIZE
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < out_width * out_height
    best = tl.full([BLOCK], -float("inf"), dtype=tl.float32)
    place = tl.zeros([BLOCK], dtype=tl.int32)
    for tap in tl.static_range(SIZE * SIZE):
        from_ = (at // out_width * SIZE + tap // SIZE) * width + at % out_width * SIZE + tap % SIZE
        x = tl.load(x_ptr + from_, mask=mask, other=0.0)
        place = tl.where(x > best, from_, place)
        best = tl.maximum(best, x)
    tl.store(out_ptr + at, best, mask=mask)
    tl.store(place_ptr + at, place, mask=mask)


@triton.jit
def upsample(x_ptr, out_ptr, height, width, out_height, out_width, BLOCK: tl.constexpr):
    """Between the four nearest, corners on corners"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < out_height * out_width
    y = (at // out_width).to(tl.float32) * (height - 1) / (out_height - 1)
    x = (at % out_width).to(tl.float32) * (width - 1) / (out_width - 1)
    top = tl.minimum(tl.floor(y).to(tl.int32), height - 2)
    left = tl.minimum(tl.floor(x).to(tl.int32), width - 2)
    down, right = y - top.to(tl.float32), x - left.to(tl.float32)
    corner = x_ptr + top * width + left
    upper = tl.load(corner, mask=mask) * (1 - right) + tl.load(corner + 1, mask=mask) * right
    lower = tl.load(corner + width, mask=mask) * (1 - right) + tl.load(corner + width + 1, mask=mask) * right
    tl.store(out_ptr + at, upper * (1 - down) + lower * down, mask=mask)
