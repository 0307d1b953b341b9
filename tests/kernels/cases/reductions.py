import numpy as np

from harness import dtypes
from harness.case import Close, Exact, add

FILE = "reductions.py"
SUMMED = Close(1e-6, 2e-5, "fp32 sums of a few hundred terms, in another order")

for type_, out, warps in (("fp32", "fp32", 4), ("fp16", "fp32", 4), ("bf16", "fp32", 8), ("fp32", "fp32", 16),
                          ("fp64", "fp64", 2)):
    add("sum_rows_%s_warps_%d" % (type_, warps), FILE, "sum_rows", "*%s:16, *%s:16, i32, 256" % (type_, out), (5, ),
        lambda r: {"x_ptr": r.normal(5, 700), "out_ptr": np.zeros(5), "columns": 700},
        lambda a: {"out_ptr": a["x_ptr"].sum(axis=1)}, SUMMED, warps=warps)
for type_, out in (("i32", "i32"), ("i64", "i64"), ("i16", "i32"), ("u8", "i32")):
    add("sum_rows_" + type_, FILE, "sum_rows", "*%s:16, *%s:16, i32, 512" % (type_, out), (3, ),
        lambda r: {"x_ptr": r.integers(0, 250, 3, 333), "out_ptr": np.zeros(3), "columns": 333},
        lambda a: {"out_ptr": a["x_ptr"].astype(np.int64).sum(axis=1)}, Exact())
for rows, columns in ((32, 64), (4, 256), (128, 8)):
    for axis in (0, 1):
        add("sum_axis_%d_%dx%d" % (axis, rows, columns), FILE, "sum_axis",
            "*fp32:16, *fp32:16, %d, %d, %d" % (rows, columns, axis), (1, ),
            lambda r, s=(rows, columns), x=axis: {"x_ptr": r.normal(*s), "out_ptr": np.zeros(s[1 - x])},
            lambda a, x=axis: {"out_ptr": a["x_ptr"].sum(axis=x)}, SUMMED)


def extremes(a):
    x = a["x_ptr"]
    return {"out_ptr": np.stack([x.max(axis=1), x.min(axis=1)], 1).reshape(-1),
            "place_ptr": np.stack([x.argmax(axis=1), x.argmin(axis=1)], 1).reshape(-1)}


for type_ in ("fp32", "fp16", "i32", "i64", "fp64", "u32"):
    # Few different values: ties must go to the first place.
    add("extremes_" + type_, FILE, "extremes", "*%s:16, *%s:16, *i32:16, i32, 512" % (type_, type_), (4, ),
        lambda r: {"x_ptr": r.integers(0, 60, 4, 301), "out_ptr": np.zeros(8), "place_ptr": np.zeros(8),
                   "columns": 301}, extremes, Exact())
for rows, columns, warps in ((64, 16, 4), (16, 64, 1)):
    add("argmax_axis_%dx%d" % (rows, columns), FILE, "argmax_axis",
        "*fp32:16, *fp32:16, *i32:16, %d, %d" % (rows, columns), (1, ),
        lambda r, s=(rows, columns): {"x_ptr": r.integers(-9, 9, *s), "out_ptr": np.zeros(s[1]),
                                      "place_ptr": np.zeros(s[1])},
        lambda a: {"out_ptr": a["x_ptr"].max(axis=0), "place_ptr": a["x_ptr"].argmax(axis=0)}, Exact(), warps=warps)
add("xor_all", FILE, "xor_all", "*i32:16, *i32:16, 1024", (2, ),
    lambda r: {"x_ptr": r.integers(-2**31, 2**31, 2, 1024), "out_ptr": np.zeros(2)},
    lambda a: {"out_ptr": np.bitwise_xor.reduce(a["x_ptr"], axis=1)}, Exact())
add("product", FILE, "product", "*fp32:16, *fp32:16, 128", (3, ),
    lambda r: {"x_ptr": r.uniform(3, 128, low=0.9, high=1.1), "out_ptr": np.zeros(3)},
    lambda a: {"out_ptr": a["x_ptr"].prod(axis=1)}, Close(2e-5, 0, "128 rounded products"))
add("moments", FILE, "moments", "*fp32:16, *fp32:16, *fp32:16, i32, 512", (3, ),
    lambda r: {"x_ptr": r.normal(3, 300) + 3, "mean_ptr": np.zeros(3), "variance_ptr": np.zeros(3), "columns": 300},
    lambda a: {"mean_ptr": a["x_ptr"].mean(axis=1), "variance_ptr": a["x_ptr"].var(axis=1)},
    Close(2e-5, 0, "nine merges in fp32 with approximate quotients"))
add("reduce_cube", FILE, "reduce_cube", "*fp32:16, *fp32:16, 4, 16, 8", (1, ),
    lambda r: {"x_ptr": r.normal(4, 16, 8), "out_ptr": np.zeros((4, 8))}, lambda a: {"out_ptr": a["x_ptr"].sum(axis=1)},
    SUMMED)

# ---- scans ----
for type_ in ("i32", "i64", "fp32", "fp64"):
    for reverse in (False, True):
        add("prefix_sum_%s%s" % (type_, "_reverse" if reverse else ""), FILE, "prefix_sum",
            "*%s:16, *%s:16, i32, 1024, %s" % (type_, type_, reverse), (1, ),
            lambda r: {"x_ptr": r.integers(-99, 99, 901), "out_ptr": np.zeros(901), "n": 901},
            lambda a, s=-1 if reverse else 1: {"out_ptr": np.cumsum(a["x_ptr"][::s])[::s]},
            Exact("sums of small integers are exact in fp32 too"))
for warps in (1, 8):
    add("prefix_sum_warps_%d" % warps, FILE, "prefix_sum", "*fp32:16, *fp32:16, i32, 512, False", (1, ),
        lambda r: {"x_ptr": r.normal(512), "out_ptr": np.zeros(512), "n": 512},
        lambda a: {"out_ptr": np.cumsum(a["x_ptr"])}, SUMMED, warps=warps)
for axis in (0, 1):
    add("prefix_axis_%d" % axis, FILE, "prefix_axis", "*i32:16, *i32:16, 32, 64, %d" % axis, (1, ),
        lambda r: {"x_ptr": r.integers(-99, 99, 32, 64), "out_ptr": np.zeros((32, 64))},
        lambda a, x=axis: {"out_ptr": np.cumsum(a["x_ptr"], axis=x)}, Exact())
add("prefix_product", FILE, "prefix_product", "*fp32:16, *fp32:16, 128", (1, ),
    lambda r: {"x_ptr": r.uniform(128, low=0.9, high=1.1), "out_ptr": np.zeros(128)},
    lambda a: {"out_ptr": np.cumprod(a["x_ptr"])}, Close(2e-5, 0, "128 rounded products"))
for type_ in ("fp32", "fp16"):
    add("running_max_" + type_, FILE, "running_max", "*%s:16, *%s:16, i32, 256" % (type_, type_), (3, ),
        lambda r: {"x_ptr": r.normal(3, 222), "out_ptr": np.zeros((3, 222)), "columns": 222},
        lambda a: {"out_ptr": np.maximum.accumulate(a["x_ptr"], axis=1)}, Exact())


def states(a):
    state, out = 0.0, np.empty_like(a["x_ptr"])
    for t in range(len(out)):
        state = a["decay_ptr"][t] * state + a["x_ptr"][t]
        out[t] = state
    return {"out_ptr": out}


for steps, width, warps in ((64, 16, 4), (128, 32, 8), (32, 4, 1)):
    add("recurrence_%dx%d" % (steps, width), FILE, "recurrence",
        "*fp32:16, *fp32:16, *fp32:16, %d, %d" % (steps, width), (1, ),
        lambda r, s=(steps, width): {"decay_ptr": r.uniform(*s, low=0.2, high=1.0), "x_ptr": r.normal(*s),
                                     "out_ptr": np.zeros(s)}, states, SUMMED, warps=warps)
