import numpy as np

from harness.case import Close, Descriptor, Exact, add

FILE = "descriptors.py"
FP32 = Close(1e-5, 1e-4, "fp32 sums of exact products, in another order and with the hardware's rounding")
FP16 = Close(2**-10, 1e-3, "rounded to fp16")
SINCE = {"versions": ("3.4", None), "why": "tensor descriptors take this form since 3.4"}

for type_, block in (("fp16", (16, 64)), ("fp32", (32, 32)), ("i8", (32, 32)), ("bf16", (8, 128)), ("i32", (64, 8)),
                     ("fp16", (16, 16)), ("fp32", (16, 8))):
    add("copy_device_%s_%dx%d" % ((type_, ) + block), FILE, "copy_device", "*%s:16, *%s:16, i32, i32:16, %d, %d" %
        ((type_, type_) + block), (-(-70 // block[0]), -(-144 // block[1])),
        lambda r: {"x_ptr": r.integers(-99, 99, 70, 144), "out_ptr": np.zeros((70, 144)), "rows": 70, "columns": 144},
        lambda a: {"out_ptr": a["x_ptr"] + 1}, Exact(), **SINCE)


def edges(a):
    padded = np.pad(a["x_ptr"], ((5, 64), (8, 64)))
    return {"out_ptr": np.stack([padded[16 * i:16 * i + 32, 16 * j:16 * j + 32] for i in range(3) for j in range(3)])}


for type_ in ("fp32", "fp16"):
    add("edges_device_" + type_, FILE, "edges_device", "*%s:16, *%s:16, i32, i32:16, 32" % (type_, type_), (3, 3),
        lambda r: {"x_ptr": r.integers(-99, 99, 37, 48), "out_ptr": np.ones((9, 32, 32)), "rows": 37, "columns": 48},
        edges, Exact(), **SINCE)
add("copy_cube_device", FILE, "copy_cube_device", "*fp32:16, *fp32:16, i32, i32, i32:16, 4, 8, 16", (2, 2, 2),
    lambda r: {"x_ptr": r.normal(7, 13, 32), "out_ptr": np.zeros((7, 13, 32)), "A": 7, "B": 13, "C": 32},
    lambda a: {"out_ptr": a["x_ptr"]}, Exact(), **SINCE)


def product(m, n, k, transposed=False):
    return lambda r: {"a_ptr": r.normal(m, k), "b_ptr": r.normal(n, k) if transposed else r.normal(k, n),
                      "c_ptr": np.zeros((m, n)), "m": m, "n": n, "k": k}


for type_, out, block, warps, stages, tolerance in (
    ("fp16", "fp16", (64, 64, 64), 4, 3, FP16), ("bf16", "fp32", (64, 64, 32), 4, 2, FP32),
    ("fp16", "fp32", (128, 64, 64), 8, 3, FP32), ("fp32", "fp32", (64, 32, 32), 4, 2,
                                                 Close(2e-3, 2e-2, "products in tf32")),
    ("fp8e5", "fp32", (64, 64, 64), 4, 3, Close(2e-3, 2e-2, "hardware keeps fewer bits while it sums fp8 products"))):
    add("matmul_device_%s_%dx%dx%d" % ((type_, ) + block), FILE, "matmul_device",
        "*%s:16, *%s:16, *%s:16, i32, i32:16, i32:16, %d, %d, %d" % ((type_, type_, out) + block),
        (-(-150 // block[0]), -(-96 // block[1])), product(150, 96, 160), lambda a: {"c_ptr": a["a_ptr"] @ a["b_ptr"]},
        tolerance, warps=warps, stages=stages, **SINCE)
add("matmul_device_persistent", FILE, "matmul_device_persistent",
    "*fp16:16, *fp16:16, *fp16:16, i32, i32:16, i32:16, 64, 64, 64", (3, ), product(200, 144, 128, transposed=True),
    lambda a: {"c_ptr": a["a_ptr"] @ a["b_ptr"].T}, FP16, **SINCE)
for type_, block in (("fp16", (16, 32)), ("fp32", (32, 32)), ("i8", (16, 64))):
    text = "tensordesc<%s[%d, %d]>" % ((type_, ) + block)
    add("copy_host_%s_%dx%d" % ((type_, ) + block), FILE, "copy_host", "%s, %s, %d, %d" % ((text, text) + block),
        (-(-45 // block[0]), -(-80 // block[1])),
        lambda r: {"source": Descriptor(r.integers(-40, 40, 45, 80)), "sink": Descriptor(np.zeros((45, 80)))},
        lambda a: {"sink": a["source"] * 2}, Exact(), **SINCE)
add("matmul_host", FILE, "matmul_host",
    "tensordesc<fp16[64, 32]>, tensordesc<fp16[32, 64]>, tensordesc<fp16[64, 64]>, i32, 64, 64, 32", (3, 2),
    lambda r: {"a": Descriptor(r.normal(150, 72)), "b": Descriptor(r.normal(72, 96)), "c": Descriptor(np.zeros((150, 96))),
               "k": 72}, lambda a: {"c": a["a"] @ a["b"]}, FP16, **SINCE)
add("add_device", FILE, "add_device", "*fp32:16, *fp32:16, i32, i32:16, 16, 32", (5, ),
    lambda r: {"x_ptr": r.integers(-99, 99, 80, 32), "out_ptr": np.zeros((16, 32)), "rows": 16, "columns": 32},
    lambda a: {"out_ptr": a["x_ptr"].reshape(5, 16, 32).sum(axis=0)}, Exact("sums of small integers"),
    archs=("sm_90", ), versions=("3.4", None), why="adding through a descriptor is done by TMA: sm_90 and Triton 3.4")
