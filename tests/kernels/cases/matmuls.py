import math

import numpy as np

from harness.case import Close, Exact, add

FILE = "matmuls.py"
FP32 = Close(1e-5, 1e-4, "fp32 sums of exact products, in another order and with the hardware's rounding")
FP16 = Close(2**-10, 1e-3, "rounded to fp16")
BF16 = Close(2**-7, 1e-2, "rounded to bf16")
TF32 = Close(2e-3, 2e-2, "operands lose thirteen bits on the way to tf32")
IEEE = Close(1e-5, 1e-5, "fp32 products and sums")
FP8 = Close(2e-3, 2e-2, "hardware keeps fewer bits while it sums fp8 products")


def cdiv(a, b):
    return -(-a // b)


def product(m, n, k, integers=False, transposed=False):

    def inputs(r):
        a, b = (r.integers(-9, 9, m, k), r.integers(-9, 9, k, n)) if integers else (r.normal(m, k), r.normal(k, n))
        return {"a_ptr": a.T if transposed else a, "b_ptr": b.T if transposed else b, "c_ptr": np.zeros((m, n)), "m": m,
                "n": n, "k": k, "am": 1 if transposed else k, "ak": m if transposed else 1,
                "bk": 1 if transposed else n, "bn": k if transposed else 1}

    return inputs


def times(a):
    """In float64, which is exact for the small integers of int8 too"""
    return {"c_ptr": a["a_ptr"].astype(np.float64) @ a["b_ptr"]}


def times_transposed(a):
    return {"c_ptr": a["a_ptr"].T.astype(np.float64) @ a["b_ptr"].T}


def matmul(name, type_, out, size, block, tolerance, sum_="tl.float32", precision="'tf32'", integers=False,
           transposed=False, **more):
    m, n, k = size
    strides = "i32:1, i32, i32:1, i32" if transposed else "i32, i32:1, i32, i32:1"
    add("matmul_" + name, FILE, "matmul",
        "*%s:16, *%s:16, *%s:16, i32, i32, i32, %s, %d, %d, %d, %s, %s" % (
            (type_, type_, out, strides) + block + (sum_, precision)),
        (cdiv(m, block[0]), cdiv(n, block[1])), product(m, n, k, integers, transposed),
        times_transposed if transposed else times, tolerance, **more)


ODD, SMALL = (70, 50, 45), (64, 64, 64)
matmul("fp16", "fp16", "fp32", ODD, (32, 32, 32), FP32)
matmul("bf16", "bf16", "fp32", ODD, (32, 32, 32), FP32)
matmul("fp16_to_fp16", "fp16", "fp16", ODD, (32, 64, 16), FP16)
matmul("bf16_to_bf16", "bf16", "bf16", ODD, (64, 32, 32), BF16)
matmul("fp16_sums", "fp16", "fp16", ODD, (32, 32, 32), Close(1e-2, 5e-2, "sums kept in fp16"), sum_="tl.float16")
matmul("tf32", "fp32", "fp32", ODD, (32, 32, 32), TF32)
matmul("fp32", "fp32", "fp32", ODD, (32, 32, 16), IEEE, precision="'ieee'")
matmul("tf32x3", "fp32", "fp32", SMALL, (32, 32, 32), IEEE, precision="'tf32x3'")
matmul("int8", "i8", "i32", ODD, (32, 32, 32), Exact(), sum_="tl.int32", integers=True)
matmul("fp64", "fp64", "fp64", (40, 33, 45), (16, 16, 16), Close(1e-13, 1e-12, "fp64 sums in another order"),
       sum_="tl.float64", precision="'ieee'", versions=("3.5", None), why="fp64 dot begins with 3.5")
for type_ in ("fp8e4nv", "fp8e5"):
    matmul(type_, type_, "fp32", (70, 50, 64), (32, 32, 32), FP8)
matmul("fp16_transposed", "fp16", "fp32", ODD, (32, 32, 32), FP32, transposed=True)
matmul("int8_transposed", "i8", "i32", ODD, (32, 32, 32), Exact(), sum_="tl.int32", integers=True, transposed=True)
for warps, stages in ((1, 1), (2, 2), (4, 4), (8, 3), (8, 5), (16, 2)):
    matmul("fp16_warps_%d_stages_%d" % (warps, stages), "fp16", "fp32", (130, 100, 200), (64, 64, 32), FP32,
           warps=warps, stages=stages)
for warps, stages in ((1, 2), (4, 5)):
    matmul("tf32_warps_%d_stages_%d" % (warps, stages), "fp32", "fp32", SMALL, (32, 32, 32), TF32, warps=warps,
           stages=stages)

for type_, (m, n, k), block, warps, stages, tolerance in (
    ("fp16", (128, 128, 128), (64, 64, 32), 4, 3, FP32), ("bf16", (128, 128, 128), (64, 128, 64), 4, 2, FP32),
    ("fp16", (128, 128, 256), (128, 128, 64), 8, 3, FP32), ("fp16", (128, 256, 128), (128, 256, 64), 8, 2, FP32),
    ("fp32", (128, 64, 128), (64, 64, 32), 4, 3, TF32), ("fp8e4nv", (128, 64, 128), (64, 64, 64), 4, 3, FP8),
    ("fp8e5", (128, 64, 128), (64, 64, 64), 4, 3, FP8), ("fp16", (64, 64, 128), (64, 64, 32), 4, 1, FP32),
    ("fp16", (32, 32, 128), (16, 16, 16), 1, 5, FP32)):
    add("matmul_aligned_%s_%dx%dx%d_warps_%d_stages_%d" % ((type_, ) + block + (warps, stages)), FILE, "matmul_aligned",
        "*%s:16, *%s:16, *fp32:16, i32:16, i32:16, %d, %d, %d" % ((type_, type_) + block), (m // block[0], n // block[1]),
        lambda r, f=product(m, n, k): f(r), times, tolerance, warps=warps, stages=stages)
add("matmul_cluster", FILE, "matmul_aligned", "*fp16:16, *fp16:16, *fp32:16, i32:16, i32:16, 128, 128, 64", (1, 1),
    product(128, 128, 128), times, FP32, num_ctas=2, archs=("sm_90", ), why="clusters begin with sm_90",
    versions=("3.3", None))

SPLIT = Close(1e-5, 2e-4, "partial sums are added in the order that programs arrive")
add("matmul_split_atomic", FILE, "matmul_split_atomic", "*fp16:16, *fp16:16, *fp32:16, i32, i32, i32, 32, 32, 32, 4",
    (2, 2, 4), product(50, 60, 300), times, SPLIT)
add("matmul_split_ordered", FILE, "matmul_split_ordered", "*fp16:16, *fp16:16, *fp32:16, *i32:16, i32:16, i32:16, 32, 32, 4",
    (2, 2, 4), lambda r: dict(product(64, 64, 256)(r), turn_ptr=np.zeros(4)),
    lambda a: dict(times(a), turn_ptr=np.full(4, 4, np.int32)), FP32)

PROBLEMS = ((40, 30, 50), (64, 64, 32), (7, 90, 33))


def group_inputs(r):
    a = [r.normal(m * k) for m, n, k in PROBLEMS]
    b = [r.normal(k * n) for m, n, k in PROBLEMS]
    starts, at = [], [0, 0, 0]
    for m, n, k in PROBLEMS:
        starts += at
        at = [at[0] + m * k, at[1] + k * n, at[2] + m * n]
    return {"a_ptr": np.concatenate(a), "b_ptr": np.concatenate(b), "c_ptr": np.zeros(at[2]),
            "sizes_ptr": np.array([size for problem in PROBLEMS for size in problem] + starts),
            "problems": len(PROBLEMS)}


def group_reference(a):
    out, at_a, at_b = [], 0, 0
    for m, n, k in PROBLEMS:
        left = a["a_ptr"][at_a:at_a + m * k].reshape(m, k)
        out.append((left @ a["b_ptr"][at_b:at_b + k * n].reshape(k, n)).reshape(-1))
        at_a, at_b = at_a + m * k, at_b + k * n
    return {"c_ptr": np.concatenate(out)}


add("matmul_grouped", FILE, "matmul_grouped", "*fp16, *fp16, *fp16, *i32:16, i32, 3, 32", (3, ), group_inputs,
    group_reference, FP16)
add("matmul_persistent", FILE, "matmul_persistent", "*fp16:16, *fp16:16, *fp16:16, i32, i32, i32, 32, 32, 32, 2", (5, ),
    product(150, 100, 70), times, FP16)


def batch_inputs(count, m, n, k):
    return lambda r: {"a_ptr": r.normal(count, m, k), "b_ptr": r.normal(count, k, n),
                      "c_ptr": np.zeros((count, m, n)), "m": m, "n": n, "k": k}


add("matmul_batched", FILE, "matmul_batched", "*bf16:16, *bf16:16, *fp32:16, i32, i32, i32, 32, 32", (2, 2, 3),
    batch_inputs(3, 40, 50, 70), times, FP32)
for type_, tolerance in (("fp16", FP32), ("fp32", TF32)):
    add("dot_3d_" + type_, FILE, "dot_3d", "*%s:16, *%s:16, *fp32:16, 4, 16, 32, 32" % (type_, type_), (1, ),
        batch_inputs(4, 16, 32, 32), times, tolerance)
add("dot_chain", FILE, "dot_chain", "*fp16:16, *fp16:16, *fp16:16, *fp32:16, 64, 64, 32", (1, ),
    lambda r: {"a_ptr": r.normal(64, 32), "b_ptr": r.normal(32, 64), "c_ptr": r.normal(64, 32),
               "out_ptr": np.zeros((64, 32))},
    lambda a: {"out_ptr": (a["a_ptr"] @ a["b_ptr"]).astype(np.float16).astype(np.float64) @ a["c_ptr"]},
    Close(1e-3, 2e-1, "an fp16 in between may round the other way: half a unit of 16 per term"))
for type_, tolerance in (("fp16", FP32), ("bf16", FP32), ("fp32", TF32)):
    add("dot_transposed_" + type_, FILE, "dot_transposed", "*%s:16, *%s:16, *fp32:16, 64, 32, 32" % (type_, type_), (1, ),
        lambda r: {"a_ptr": r.normal(32, 64), "b_ptr": r.normal(32, 32), "c_ptr": np.zeros((64, 32))},
        times_transposed, tolerance)
erf = np.vectorize(math.erf)


def gelu(a):
    x = a["x_ptr"] @ a["weight_ptr"].T + a["bias_ptr"]
    return {"out_ptr": 0.5 * x * (1 + erf(x * 0.5**0.5))}


add("linear_gelu", FILE, "linear_gelu", "*fp16:16, *fp16:16, *fp16:16, *fp16:16, i32, i32, i32, 32, 32, 32", (2, 3),
    lambda r: {"x_ptr": r.normal(50, 70), "weight_ptr": r.normal(90, 70) * 0.2, "bias_ptr": r.normal(90),
               "out_ptr": np.zeros((50, 90)), "m": 50, "n": 90, "k": 70}, gelu, FP16)


def dequantized(a):
    packed = a["packed_ptr"]
    weight = np.stack([packed & 15, packed >> 4], 1).reshape(-1, packed.shape[1]).astype(np.int64) - 8
    return {"out_ptr": a["x_ptr"] @ weight * a["scale_ptr"]}


add("matmul_dequantized", FILE, "matmul_dequantized", "*fp16:16, *u8:16, *fp32:16, *fp32:16, i32:16, i32:16, 16, 32, 32",
    (2, ), lambda r: {"x_ptr": r.normal(16, 128), "packed_ptr": r.integers(0, 256, 64, 64),
                      "scale_ptr": r.uniform(64, low=0.01, high=0.1), "out_ptr": np.zeros((16, 64)), "n": 64, "k": 128},
    dequantized, FP32)
add("matrix_vector", FILE, "matrix_vector", "*fp16:16, *fp32:16, *fp32:16, i32, i32, 16, 64", (4, ),
    lambda r: {"a_ptr": r.normal(50, 200), "x_ptr": r.normal(200), "out_ptr": np.zeros(50), "rows": 50, "columns": 200},
    lambda a: {"out_ptr": a["a_ptr"] @ a["x_ptr"]}, FP32)


def scaled(a):
    spread = lambda scale: np.repeat(2.0**(scale.astype(np.float64) - 127), 32, axis=1)
    return {"c_ptr": (a["a_ptr"] * spread(a["a_scale_ptr"])) @ (a["b_ptr"] * spread(a["b_scale_ptr"]).T)}


add("dot_scaled", FILE, "dot_scaled", "*fp8e4nv:16, *u8:16, *fp8e5:16, *u8:16, *fp32:16, 32, 32, 64", (1, ),
    lambda r: {"a_ptr": r.normal(32, 64), "a_scale_ptr": r.integers(124, 131, 32, 2), "b_ptr": r.normal(64, 32),
               "b_scale_ptr": r.integers(124, 131, 32, 2), "c_ptr": np.zeros((32, 32))}, scaled,
    Close(1e-3, 1e-1, "scaled in bf16 before the product"), versions=("3.3", None),
    why="dot_scaled takes two scales since 3.3")
