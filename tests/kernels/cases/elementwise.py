import math

import numpy as np

from harness import dtypes
from harness.case import Close, Exact, add

FILE = "elementwise.py"
FUSED = Close(2e-7, 1e-6, "an fp32 product and sum, fused or not")
erf = np.vectorize(math.erf)


def blocks(n, block):
    return (-(-n // block), )


def binary(type_, n, low=-100, high=100, extra=0):
    """Inputs of a kernel of two arrays: random, and the same numbers on every machine"""

    def inputs(random):
        if type_ in dtypes.FLOATS:
            x, y = random.normal(n), random.normal(n)
        else:
            x, y = random.integers(low, high, n), random.integers(low, high, n)
        return {"x_ptr": x, "y_ptr": y, "out_ptr": np.zeros(n * (extra or 1)), "n": n}

    return inputs


def wrapped(type_):
    """Integer results wrap as the type does"""
    return lambda values: np.asarray(values).astype(dtypes.STORAGE[type_])


# ---- arithmetic ----
for type_ in ("fp64", "fp32", "fp16", "bf16"):
    add("add_" + type_, FILE, "add", "*%s:16, *%s:16, *%s:16, i32, 256" % (type_, type_, type_), blocks(1003, 256),
        binary(type_, 1003), lambda a: {"out_ptr": a["x_ptr"] + a["y_ptr"]}, Exact())
for type_, low, high in (("i8", -128, 128), ("i16", -2**15, 2**15), ("i32", -2**31, 2**31), ("i64", -2**62, 2**62),
                         ("u8", 0, 256), ("u16", 0, 2**16), ("u32", 0, 2**32), ("u64", 0, 2**62)):
    add("add_" + type_, FILE, "add", "*%s:16, *%s:16, *%s:16, i32, 256" % (type_, type_, type_), blocks(777, 256),
        binary(type_, 777, low, high), lambda a: {"out_ptr": a["x_ptr"] + a["y_ptr"]}, Exact())
for warps in (1, 2, 8, 16):
    add("add_warps_%d" % warps, FILE, "add", "*fp32:16, *fp32:16, *fp32:16, i32:16, 2048", blocks(4096 + 16, 2048),
        binary("fp32", 4096 + 16), lambda a: {"out_ptr": a["x_ptr"] + a["y_ptr"]}, Exact(), warps=warps)
add("add_unaligned", FILE, "add", "*fp16, *fp16, *fp16, i32, 128", blocks(301, 128), binary("fp16", 301),
    lambda a: {"out_ptr": a["x_ptr"] + a["y_ptr"]}, Exact())
add("add_long_count", FILE, "add", "*fp32:16, *fp32:16, *fp32:16, i64, 128", blocks(301, 128), binary("fp32", 301),
    lambda a: {"out_ptr": a["x_ptr"] + a["y_ptr"]}, Exact())
add("add_one", FILE, "add", "*fp32:16, *fp32:16, *fp32:16, i32:1, 32", (1, ), binary("fp32", 1),
    lambda a: {"out_ptr": a["x_ptr"] + a["y_ptr"]}, Exact(), warps=1)
add("add_unmasked", FILE, "add_unmasked", "*fp32:16, *fp32:16, *fp32:16, 1024", (3, ),
    lambda r: {"x_ptr": r.normal(3072), "y_ptr": r.normal(3072), "out_ptr": np.zeros(3072)},
    lambda a: {"out_ptr": a["x_ptr"] + a["y_ptr"]}, Exact())
add("grid_stride_add", FILE, "grid_stride_add", "*fp32:16, *fp32:16, *fp32:16, i32, 128", (3, ), binary("fp32", 1501),
    lambda a: {"out_ptr": a["x_ptr"] + a["y_ptr"]}, Exact())
for type_, tolerance in (("fp32", FUSED), ("bf16", Close(2**-8, 1e-6, "rounded to bf16")),
                         ("fp16", Close(2**-10, 1e-6, "rounded to fp16"))):
    add("axpby_" + type_, FILE, "axpby", "*%s:16, *%s:16, *%s:16, fp32, fp32, i32, 256" % (type_, type_, type_),
        blocks(500, 256), lambda r, f=binary(type_, 500): dict(f(r), a=1.5, b=-0.375),
        lambda a: {"out_ptr": 1.5 * a["x_ptr"] - 0.375 * a["y_ptr"]}, tolerance)


def arithmetic(type_):

    def reference(a):
        x, y = a["x_ptr"].astype(object), a["y_ptr"].astype(object)
        quotient = [abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1) for p, q in zip(x, y)]
        remainder = [p - q * d for p, q, d in zip(x, y, quotient)]
        bits = 8 * np.dtype(dtypes.STORAGE[type_]).itemsize
        signed = type_[0] == "i"

        def wrap(value):
            value &= (1 << bits) - 1
            return value - (1 << bits) if signed and value >> (bits - 1) else value

        every = np.concatenate([x * y, x - y, quotient, remainder, x & y, x | y, x ^ y, ~x])
        return {"out_ptr": np.array([wrap(int(value)) for value in every], dtypes.STORAGE[type_])}

    return reference


def divisible_inputs(type_, n, low, high):

    def inputs(random):
        y = random.integers(1, min(high, 1000), n)
        if low < 0:
            y = np.where(random.bits((n, )) & np.uint64(1), y, -y)
        return {"x_ptr": random.integers(low, high, n), "y_ptr": y, "out_ptr": np.zeros(8 * n), "n": n}

    return inputs


for type_, low, high in (("i8", -127, 128), ("i16", -2**15 + 1, 2**15), ("i32", -2**31 + 1, 2**31),
                         ("i64", -2**62, 2**62), ("u8", 0, 256), ("u16", 0, 2**16), ("u32", 0, 2**32),
                         ("u64", 0, 2**63)):
    add("int_arithmetic_" + type_, FILE, "int_arithmetic", "*%s:16, *%s:16, *%s:16, i32, 128" % (type_, type_, type_),
        blocks(200, 128), divisible_inputs(type_, 200, low, high), arithmetic(type_), Exact())
for type_, bits in (("i32", 32), ("u32", 32), ("i64", 64), ("u64", 64), ("i16", 16)):
    add("shifts_" + type_, FILE, "shifts", "*%s:16, *%s:16, *%s:16, i32, 128" % (type_, type_, type_), blocks(200, 128),
        lambda r, b=bits, s=type_[0] == "i": {"x_ptr": r.integers(-2**(b - 2) if s else 0, 2**(b - 2), 200),
                                              "count_ptr": r.integers(0, b, 200), "out_ptr": np.zeros(400), "n": 200},
        lambda a: {"out_ptr": np.concatenate([a["x_ptr"] << a["count_ptr"], a["x_ptr"] >> a["count_ptr"]])}, Exact())
for type_, bits in (("u32", 32), ("u64", 64)):
    add("high_product_" + type_, FILE, "high_product", "*%s:16, *%s:16, *%s:16, i32, 128" % (type_, type_, type_),
        blocks(200, 128), binary(type_, 200, 0, 2**(bits - 1)),
        lambda a, b=bits, t=type_: {"out_ptr": np.array([int(x) * int(y) >> b for x, y in zip(a["x_ptr"], a["y_ptr"])],
                                                        dtypes.STORAGE[t])}, Exact())


# ---- selection, logic ----
def selections(a):
    x, y = a["x_ptr"], a["y_ptr"]
    return {"out_ptr": np.concatenate([np.minimum(x, y), np.maximum(x, y), np.abs(x), np.clip(x, -0.5, 0.5),
                                       np.where(x > y, x, -y)])}


for type_ in ("fp64", "fp32", "fp16", "bf16"):
    add("select_" + type_, FILE, "select", "*%s:16, *%s:16, *%s:16, i32, 128" % (type_, type_, type_), blocks(333, 128),
        binary(type_, 333, extra=5), selections, Exact(), archs=("sm_89", ) if type_ == "fp64" else None,
        why="for sm_90 Triton clamps fp64 by an instruction that LLVM does not have")


def comparisons(a):
    x, y = a["x_ptr"], a["y_ptr"]
    tests = (x < y, x <= y, x == y, x != y, x > y, x >= y)
    return {"out_ptr": sum(test.astype(np.int32) << i for i, test in enumerate(tests))}


def with_nans(n):

    def inputs(random):
        x, y = random.integers(-3, 3, n) * 0.5, random.integers(-3, 3, n) * 0.5
        x[::7], y[::5] = np.nan, np.nan
        return {"x_ptr": x, "y_ptr": y, "out_ptr": np.zeros(n), "n": n}

    return inputs


for type_ in ("fp64", "fp32", "fp16", "bf16"):
    add("compare_" + type_, FILE, "compare", "*%s:16, *%s:16, *i32:16, i32, 128" % (type_, type_), blocks(210, 128),
        with_nans(210), comparisons, Exact())
for type_, low in (("i8", -5), ("i32", -5), ("i64", -5), ("u8", 0), ("u32", 0), ("u64", 0)):
    add("compare_" + type_, FILE, "compare", "*%s:16, *%s:16, *i32:16, i32, 128" % (type_, type_), blocks(210, 128),
        binary(type_, 210, low, 6), comparisons, Exact())
add("logic_i1", FILE, "logic", "*i1:16, *i1:16, *i1:16, i32, 128", blocks(210, 128), binary("i1", 210, 0, 2),
    lambda a: {"out_ptr": a["x_ptr"] ^ a["y_ptr"]}, Exact())

# ---- conversions ----
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, 3.5, 2**-14, 2**-24, 2**-25, 2**-26 * 3, 2**-9, 2**-10 * 1.5,
                    240.0, 250.0, 448.0, 57344.0, 65504.0, 1 + 2**-8, 1 + 3 * 2**-9, 1 + 2**-11, 1 + 3 * 2**-11])


def float_values(limit, through=None):

    def inputs(random):
        values = np.concatenate([SPECIAL, np.ldexp(random.normal(300), random.integers(-20, 13, 300))])
        values = dtypes.quantize(np.clip(values, -65504, 65504), through) if through else values
        return {"x_ptr": np.clip(values, -limit, limit), "out_ptr": np.zeros(323), "n": 323}

    return inputs


# For sm_89 Triton goes from fp32 to fp8 through fp16, which rounds twice: values that fp16 holds don't show it.
for source, target, limit in (
    ("fp32", "fp16", 65504), ("fp32", "bf16", 1e30), ("fp16", "fp32", 65504), ("bf16", "fp32", 1e30),
    ("fp32", "fp64", 1e30), ("fp64", "fp32", 1e30), ("fp64", "fp16", 65504), ("bf16", "fp16", 65504),
    ("fp16", "bf16", 65504), ("fp32", "fp8e4nv", 448), ("fp32", "fp8e5", 57344), ("fp16", "fp8e4nv", 448),
    ("fp16", "fp8e5", 57344), ("bf16", "fp8e4nv", 448), ("bf16", "fp8e5", 57344), ("fp8e4nv", "fp16", 448),
    ("fp8e4nv", "fp32", 448), ("fp8e4nv", "bf16", 448), ("fp8e5", "fp16", 57344), ("fp8e5", "fp32", 57344),
    ("fp8e5", "bf16", 57344)):
    add("convert_%s_%s" % (source, target), FILE, "convert", "*%s:16, *%s:16, i32, 128" % (source, target),
        blocks(323, 128), float_values(limit, "fp16" if source == "fp32" and target[:3] == "fp8" else None),
        lambda a: {"out_ptr": a["x_ptr"]}, Exact(),
        versions=("3.4" if target == "fp8e5" else "3.3" if (source, target) == ("fp8e4nv", "bf16") else None, None),
        why="until 3.3 Triton's own conversion to fp8e5 rounds ties up and drops what is subnormal"
        if target == "fp8e5" else "3.2 converts fp16 to bf16 in a way that sm_89 lacks")
for source, target in (("fp32", "i32"), ("fp32", "i64"), ("fp32", "i8"), ("fp16", "i16"), ("fp64", "i64"),
                       ("bf16", "i32"), ("fp32", "u8"), ("fp32", "u32")):
    add("convert_%s_%s" % (source, target), FILE, "convert", "*%s:16, *%s:16, i32, 128" % (source, target),
        blocks(300, 128), lambda r, u=target[0] == "u": {"x_ptr": r.uniform(300, low=0 if u else -99, high=99),
                                                         "out_ptr": np.zeros(300), "n": 300},
        lambda a: {"out_ptr": np.trunc(a["x_ptr"])}, Exact())
for source, target, low, high in (("i32", "fp32", -2**31, 2**31), ("i64", "fp64", -2**62, 2**62),
                                  ("i64", "fp32", -2**62, 2**62), ("u32", "fp32", 0, 2**32), ("i8", "fp16", -128, 128),
                                  ("u8", "fp32", 0, 256), ("i32", "fp64", -2**31, 2**31), ("u64", "fp64", 0, 2**62),
                                  ("i16", "bf16", -2**15, 2**15), ("i8", "i32", -128, 128), ("u8", "i32", 0, 256),
                                  ("i32", "i8", -2**31, 2**31), ("i64", "i32", -2**62, 2**62), ("i32", "i64", -9, 9)):
    add("convert_%s_%s" % (source, target), FILE, "convert", "*%s:16, *%s:16, i32, 128" % (source, target),
        blocks(300, 128), lambda r, l=low, h=high: {"x_ptr": r.integers(l, h, 300), "out_ptr": np.zeros(300), "n": 300},
        lambda a: {"out_ptr": a["x_ptr"]}, Exact())


def toward_zero(target):

    def reference(a):
        nearest = dtypes.quantize(a["x_ptr"], target)
        step = {"fp16": 2.0**-10, "bf16": 2.0**-7}[target] * 2.0**np.floor(np.log2(np.abs(a["x_ptr"])))
        return {"out_ptr": np.where(np.abs(nearest) > np.abs(a["x_ptr"]), nearest - np.sign(nearest) * step, nearest)}

    return reference


for target in ("fp16", "bf16"):
    add("convert_rtz_" + target, FILE, "convert_toward_zero", "*fp32:16, *%s:16, i32, 128" % target, blocks(300, 128),
        lambda r: {"x_ptr": r.uniform(300, low=1, high=1.999) * np.where(r.bits((300, )) & np.uint64(1), 1, -1),
                   "out_ptr": np.zeros(300), "n": 300}, toward_zero(target), Exact())
for source, target in (("fp32", "i32"), ("fp16", "i16"), ("fp64", "i64")):
    add("reinterpret_" + source, FILE, "reinterpret", "*%s:16, *%s:16, i32, 128" % (source, target), blocks(300, 128),
        lambda r: {"x_ptr": r.normal(300), "out_ptr": np.zeros(300), "n": 300},
        lambda a, s=source, t=target: {"out_ptr": dtypes.encode(a["x_ptr"], s).view(dtypes.STORAGE[t]) ^ 1}, Exact())


# ---- functions ----
def all_functions(a):
    x = a["x_ptr"]
    return {"out_ptr": np.concatenate([np.exp(x), np.exp2(x), np.log(x), np.log2(x), np.sin(x), np.cos(x), np.sqrt(x),
                                       1 / np.sqrt(x), erf(x), 1 / x])}


for type_, tolerance in (("fp32", Close(3e-6, 1e-6, "approximate instructions: a few units in the last place")),
                         ("fp64", Close(1e-14, 1e-15, "libdevice: within two units in the last place"))):
    add("functions_" + type_, FILE, "functions", "*%s:16, *%s:16, i32, 128" % (type_, type_), blocks(200, 128),
        lambda r: {"x_ptr": r.uniform(200, low=0.05, high=6.0), "out_ptr": np.zeros(2000), "n": 200}, all_functions,
        tolerance, versions=(None, None))


def rounded(a):
    x, y = a["x_ptr"], a["y_ptr"]
    return {"out_ptr": np.concatenate([np.floor(x), np.ceil(x), np.sqrt(y), x / y, x * y + x])}


add("rounding_fp32", FILE, "rounding", "*fp32:16, *fp32:16, *fp32:16, i32, 128", blocks(333, 128),
    lambda r: {"x_ptr": r.normal(333) * 9, "y_ptr": r.uniform(333, low=0.1, high=5.0), "out_ptr": np.zeros(5 * 333),
               "n": 333}, rounded, Exact("each is defined to be correctly rounded, and float64 holds it exactly enough"))


def activated(a):
    x = a["x_ptr"]
    return {"out_ptr": np.concatenate([x / (1 + np.exp(-x)) * a["gate_ptr"], 0.5 * x * (1 + erf(x * 0.5**0.5)),
                                       np.log1p(np.exp(x))])}


for type_, tolerance in (("fp32", Close(5e-6, 2e-6, "approximate exp and log, cancellation near 0")),
                         ("bf16", Close(2**-8, 2e-6, "rounded to bf16")),
                         ("fp16", Close(2**-10, 2e-6, "rounded to fp16"))):
    add("activations_" + type_, FILE, "activations", "*%s:16, *%s:16, *%s:16, i32, 128" % (type_, type_, type_),
        blocks(300, 128), lambda r: {"x_ptr": r.normal(300) * 2, "gate_ptr": r.normal(300), "out_ptr": np.zeros(900),
                                     "n": 300}, activated, tolerance)

# ---- the launch itself ----
SCALARS = {"a_i8": -100, "b_i16": -30000, "c_i32": -2000000000, "d_i64": -9 * 10**18, "e_u8": 200, "f_u16": 60000,
           "g_u32": 4 * 10**9, "h_u64": 9 * 10**18, "i_i1": 1, "j_fp16": 0.333251953125, "k_bf16": -1.3359375,
           "l_fp32": 0.100000001490116, "m_fp64": 0.1}
add("scalars", FILE, "scalars",
    "*i64:16, *fp64:16, i8, i16, i32, i64, u8, u16, u32, u64, i1, fp16, bf16, fp32, fp64", (1, ),
    lambda r: dict(SCALARS, out_ptr=np.zeros(9), wide_ptr=np.zeros(4)),
    lambda a: {"out_ptr": np.array(list(SCALARS.values())[:9], np.int64),
               "wide_ptr": np.array([a["j_fp16"], a["k_bf16"], np.float32(a["l_fp32"]), a["m_fp64"]])},
    Exact(), warps=1)


def grid_reference(a):
    z, y, x = np.mgrid[0:3, 0:5, 0:7]
    return {"out_ptr": np.stack([x + 100 * y + 10000 * z, np.full_like(x, 7 + 500 + 30000)], -1).reshape(-1)}


add("grid_indices", FILE, "grid_indices", "*i32:16", (7, 5, 3), lambda r: {"out_ptr": np.zeros(7 * 5 * 3 * 2)},
    grid_reference, Exact(), warps=1)
add("broadcast", FILE, "broadcast", "*fp32, *fp32, *fp32, i32, i32, 16, 32", (2, 3),
    lambda r: {"row_ptr": r.integers(-99, 99, 70), "column_ptr": r.integers(-99, 99, 19), "rows": 19, "columns": 70,
               "out_ptr": np.zeros((19, 70))},
    lambda a: {"out_ptr": np.outer(a["column_ptr"], a["row_ptr"])}, Exact())


def collatz_steps(a):

    def steps(x):
        count = 0
        while x > 1:
            x, count = x // 2 if x % 2 == 0 else 3 * x + 1, count + 1
        return count

    return {"out_ptr": np.array([steps(int(x)) for x in a["x_ptr"]], np.int32)}


add("collatz", FILE, "collatz", "*i32:16, *i32:16, i32, 64", blocks(150, 64),
    lambda r: {"x_ptr": r.integers(1, 1000, 150), "out_ptr": np.zeros(150), "n": 150}, collatz_steps, Exact(), warps=2)
add("assembly", FILE, "assembly", "*i32:16, *i32:16, i32, 128", blocks(150, 128),
    lambda r: {"x_ptr": r.integers(-2**31, 2**31, 150), "out_ptr": np.zeros(150), "n": 150},
    lambda a: {"out_ptr": a["x_ptr"].byteswap()}, Exact())
add("unrolled", FILE, "unrolled", "*fp32:16, *fp32:16, i32, 7, 128", blocks(150, 128),
    lambda r: {"x_ptr": r.uniform(150), "out_ptr": np.zeros(150), "n": 150},
    lambda a: {"out_ptr": np.polyval([1.0] * 8, a["x_ptr"])}, Close(2e-6, 2e-6, "seven fp32 steps"))


def called(a):
    x = np.where(a["x_ptr"] > 0, a["x_ptr"] * 1.25, a["x_ptr"])
    return {"out_ptr": np.concatenate([x - 0.75, x * -0.75])}


add("called", FILE, "called", "*fp32:16, *fp32:16, fp32, fp32, i32", (20, ),
    lambda r: {"x_ptr": r.uniform(20), "scale": 1.25, "shift": -0.75, "out_ptr": np.zeros(40), "n": 20}, called, FUSED,
    warps=1)
