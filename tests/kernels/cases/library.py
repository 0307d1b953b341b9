import math

import numpy as np

from harness.case import Close, Exact, add

FILE = "library.py"
each = np.vectorize


def one_argument(a):
    x = a["x_ptr"]
    functions = (np.arcsin, np.arccos, np.arctan, np.sinh, np.cosh, np.tanh, np.tan, np.expm1, np.log1p, np.cbrt,
                 each(math.erfc), each(math.lgamma), np.arctanh, np.arcsinh, np.log10, lambda v: 10.0**v)
    return {"out_ptr": np.concatenate([function(x) for function in functions])}


def two_arguments(a):
    x, y = a["x_ptr"], a["y_ptr"]
    return {"out_ptr": np.concatenate([x**y, np.arctan2(y, x), np.hypot(x, y), np.fmod(x, y), np.copysign(x, y)])}


for type_, tolerance in (("fp32", Close(2e-6, 1e-6, "libdevice promises a few units in the last place")),
                         ("fp64", Close(1e-14, 1e-15, "libdevice promises a few units in the last place"))):
    add("library_one_argument_" + type_, FILE, "one_argument", "*%s:16, *%s:16, i32, 128" % (type_, type_), (2, ),
        lambda r: {"x_ptr": r.uniform(150, low=0.05, high=0.95), "out_ptr": np.zeros(16 * 150), "n": 150}, one_argument,
        tolerance)
    add("library_two_arguments_" + type_, FILE, "two_arguments", "*%s:16, *%s:16, *%s:16, i32, 128" % ((type_, ) * 3),
        (2, ), lambda r: {"x_ptr": r.uniform(150, low=0.1, high=9.0), "y_ptr": r.uniform(150, low=0.1, high=5.0),
                          "out_ptr": np.zeros(5 * 150), "n": 150}, two_arguments, tolerance)
    add("library_slow_path_" + type_, FILE, "slow_path", "*%s:16, *%s:16, i32, 128" % (type_, type_), (2, ),
        lambda r: {"x_ptr": np.ldexp(r.uniform(150), r.integers(0, 30, 150)), "out_ptr": np.zeros(150), "n": 150},
        lambda a: {"out_ptr": np.sin(a["x_ptr"])}, Close(2e-6, 1e-6, "libdevice promises two units in the last place"))


def integer_reference(a):
    x = [int(value) & 0xFFFFFFFF for value in a["x_ptr"]]
    every = ([32 - v.bit_length() for v in x], [bin(v).count("1") for v in x], [(v & -v).bit_length() for v in x],
             [int(format(v, "032b")[::-1], 2) for v in x])
    return {"out_ptr": np.concatenate([np.array(values, np.uint32) for values in every]).astype(np.int32)}


add("library_integers", FILE, "integers", "*i32:16, *i32:16, i32, 128", (2, ),
    lambda r: {"x_ptr": r.integers(-2**31, 2**31, 150) >> r.integers(0, 31, 150), "out_ptr": np.zeros(600), "n": 150},
    integer_reference, Exact())


def rounding_modes(a):
    x = a["x_ptr"]
    return {"out_ptr": np.concatenate([np.rint(x), np.trunc(x), np.trunc(x + np.copysign(0.5, x)), np.rint(x),
                                       np.isnan(x)])}


add("library_rounding_modes", FILE, "rounding_modes", "*fp32:16, *fp32:16, i32, 128", (2, ),
    lambda r: {"x_ptr": r.integers(-40, 40, 150) * 0.25, "out_ptr": np.zeros(750), "n": 150}, rounding_modes, Exact())
add("clocks", FILE, "clocks", "*i32:16, 64", (5, ), lambda r: {"out_ptr": np.zeros(10)},
    lambda a: {"out_ptr": np.tile([1, 2016], 5)}, Exact(), warps=2)

add("printed", FILE, "printed", "*i32:16, *i32:16, i32, 32", (2, ),
    lambda r: {"x_ptr": 100 + np.arange(32), "out_ptr": np.zeros(32), "n": 32},
    lambda a: {"out_ptr": a["x_ptr"] + 1}, Exact(), warps=1,
    prints={r"pid \([01], 0, 0\) idx \( *\d+\) ?x is:? ?1[0-3]\d$": 64},
    unchecked=["race-global"])  # both programs write all of the output, the same numbers
add("printed_many", FILE, "printed_many", "*i32:16, *i32:16", (3, ),
    lambda r: {"x_ptr": np.array([7, 7, 7]), "out_ptr": np.zeros(3)}, lambda a: {"out_ptr": a["x_ptr"]}, Exact(), warps=1,
    prints={r"pid \([012], 0, 0\) idx \(\) ?pair ?:? ?\(operand 0\) 7$": 96, r"\(operand 1\) 3\.5000": 96,
            r"hex ?:? ?0x0*7$": 96})
add("asserted", FILE, "asserted", "*fp32:16, *fp32:16, i32, 128", (2, ),
    lambda r: {"x_ptr": r.uniform(150, low=0.5, high=2.0), "out_ptr": np.zeros(150), "n": 150},
    lambda a: {"out_ptr": 1 / a["x_ptr"]}, Close(3e-7, 0, "an approximate quotient"), debug=True)
