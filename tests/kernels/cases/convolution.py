import numpy as np

from harness.case import Close, Exact, add

FILE = "convolution.py"


def along_line(a):
    x = np.pad(a["x_ptr"], ((0, 0), (3, 0)))
    n = a["n"]
    return {"out_ptr": sum(x[:, tap:tap + n] * a["weight_ptr"][:, tap:tap + 1] for tap in range(4))}


add("convolve_line", FILE, "convolve_line", "*fp32, *fp32:16, *fp32, i32, 4, 64", (3, 5),
    lambda r: {"x_ptr": r.normal(5, 150), "weight_ptr": r.normal(5, 4), "out_ptr": np.zeros((5, 150)), "n": 150},
    along_line, Close(1e-6, 1e-6, "four fp32 products"))


def image_shape(size, stride, pad):
    return (9 + 2 * pad - size) // stride + 1, (11 + 2 * pad - size) // stride + 1


def over_image(size, stride, pad):

    def reference(a):
        x = np.pad(a["x_ptr"], ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        high, wide = image_shape(size, stride, pad)
        out = 0
        for i in range(size):
            for j in range(size):
                window = x[:, :, i:i + stride * high:stride, j:j + stride * wide:stride]
                out = out + np.einsum("ncyx,fc->nfyx", window, a["weight_ptr"][:, i, j])
        return {"out_ptr": out}

    return reference


for type_, size, stride, pad, tolerance in (("fp16", 3, 1, 1, Close(2**-10, 1e-4, "rounded to fp16")),
                                            ("fp16", 3, 2, 0, Close(2**-10, 1e-4, "rounded to fp16")),
                                            ("fp32", 1, 1, 0, Close(2e-3, 2e-2, "products in tf32"))):
    high, wide = image_shape(size, stride, pad)
    add("convolve_image_%s_%dx%d_stride_%d" % (type_, size, size, stride), FILE, "convolve_image",
        "*%s, *%s, *%s, i32, i32, i32, i32, %d, %d, %d, 32, 32, 16" % ((type_, ) * 3 + (size, stride, pad)),
        (-(-high * wide // 32), 1, 2),
        lambda r, s=size, o=(high, wide): {"x_ptr": r.normal(2, 20, 9, 11), "weight_ptr": r.normal(24, s, s, 20) * 0.2,
                                           "out_ptr": np.zeros((2, 24) + o), "channels": 20, "height": 9, "width": 11,
                                           "filters": 24}, over_image(size, stride, pad), tolerance)


def pooled(a):
    windows = a["x_ptr"][:18, :27].reshape(6, 3, 9, 3).transpose(0, 2, 1, 3).reshape(54, 9)
    best = windows.argmax(axis=1)
    y, x = np.divmod(np.arange(54), 9)
    return {"out_ptr": windows.max(axis=1), "place_ptr": (y * 3 + best // 3) * 29 + x * 3 + best % 3}


add("pool_max", FILE, "pool_max", "*fp32, *fp32:16, *i32:16, i32, i32, 3, 64", (1, ),
    lambda r: {"x_ptr": r.normal(20, 29), "out_ptr": np.zeros(54), "place_ptr": np.zeros(54), "height": 20, "width": 29},
    pooled, Exact())


def upsampled(a):
    y, x = np.arange(23) * 8 / 22, np.arange(31) * 12 / 30
    top, left = np.minimum(y.astype(int), 7), np.minimum(x.astype(int), 11)
    down, right = (y - top)[:, None], x - left
    from_ = lambda i, j: a["x_ptr"][top + i][:, left + j]
    upper = from_(0, 0) * (1 - right) + from_(0, 1) * right
    return {"out_ptr": upper * (1 - down) + (from_(1, 0) * (1 - right) + from_(1, 1) * right) * down}


add("upsample", FILE, "upsample", "*fp32, *fp32, i32, i32, i32, i32, 128", (6, ),
    lambda r: {"x_ptr": r.uniform(9, 13), "out_ptr": np.zeros((23, 31)), "height": 9, "width": 13, "out_height": 23,
               "out_width": 31}, upsampled, Close(1e-5, 5e-6, "the place between pixels is rounded in fp32"))
