import numpy as np

from harness.case import ANYTHING, Close, Exact, add

FILE = "memory.py"


# ---- gathers and scatters ----
def looked_up(a):
    index = a["index_ptr"].astype(np.int64)
    return {"out_ptr": np.where(index[:, None] >= 0, a["table_ptr"][index], 0)}


for type_, index in (("fp32", "i64"), ("fp16", "i32"), ("bf16", "i64")):
    add("gather_rows_%s_%s" % (type_, index), FILE, "gather_rows", "*%s:16, *%s:16, *%s:16, i32, 128" %
        (type_, index, type_), (9, ),
        lambda r: {"table_ptr": r.normal(50, 100), "index_ptr": r.integers(-5, 50, 9).clip(-1), "columns": 100,
                   "out_ptr": np.ones((9, 100))}, looked_up, Exact())
add("gather_elements", FILE, "gather_elements", "*fp32:16, *i32:16, *fp32:16, i32, 128", (3, ),
    lambda r: {"x_ptr": r.normal(1000), "index_ptr": r.integers(0, 1000, 301), "out_ptr": np.zeros(301), "n": 301},
    lambda a: {"out_ptr": a["x_ptr"][a["index_ptr"]]}, Exact())


def scattered(a):
    out = np.full(400, -1.0)
    out[a["index_ptr"]] = a["x_ptr"]
    return {"out_ptr": out}


for type_ in ("fp32", "i8", "fp64", "fp16"):
    add("scatter_elements_" + type_, FILE, "scatter_elements", "*%s:16, *i64:16, *%s:16, i32, 128" % (type_, type_), (3, ),
        lambda r: {"x_ptr": r.integers(-99, 99, 301), "index_ptr": r.permutation(400)[:301],
                   "out_ptr": np.full(400, -1), "n": 301}, scattered, Exact())


def table_gradient(a):
    out = np.zeros((6, 70))
    np.add.at(out, a["index_ptr"], a["grad_ptr"])
    return {"table_grad_ptr": out}


for type_, tolerance in (("fp32", Close(1e-6, 1e-5, "added in the order that programs arrive")),
                         ("fp16", Close(2**-8, 2e-2, "a few roundings to fp16, in any order"))):
    add("embedding_backward_" + type_, FILE, "embedding_backward", "*%s:16, *i64:16, *%s:16, i32, 128" % (type_, type_),
        (20, ), lambda r: {"grad_ptr": r.normal(20, 70), "index_ptr": r.integers(0, 6, 20),
                           "table_grad_ptr": np.zeros((6, 70)), "columns": 70}, table_gradient, tolerance)
for type_, rows, columns, block in (("fp32", 37, 53, (16, 32)), ("fp16", 65, 33, (32, 32)), ("i8", 31, 101, (32, 64)),
                                    ("fp64", 17, 19, (16, 16)), ("bf16", 128, 64, (64, 64))):
    add("transpose_%s_%dx%d" % (type_, rows, columns), FILE, "transpose", "*%s, *%s, i32, i32, %d, %d" %
        ((type_, type_) + block), (-(-rows // block[0]), -(-columns // block[1])),
        lambda r, s=(rows, columns): {"x_ptr": r.integers(-100, 100, *s), "out_ptr": np.zeros(s[::-1]), "rows": s[0],
                                      "columns": s[1]}, lambda a: {"out_ptr": a["x_ptr"].T}, Exact())
for type_, warps in (("fp32", 4), ("i16", 1)):
    add("permute_cube_" + type_, FILE, "permute_cube", "*%s:16, *%s:16, 4, 8, 16" % (type_, type_), (1, ),
        lambda r: {"x_ptr": r.integers(-999, 999, 4, 8, 16), "out_ptr": np.zeros((16, 4, 8))},
        lambda a: {"out_ptr": a["x_ptr"].transpose(2, 0, 1)}, Exact(), warps=warps)


def spread(a):
    out = np.zeros(3 * 200)
    r, c = np.mgrid[0:20, 0:15]
    out[r * 2 + c * 40] = a["x_ptr"][r * 31 + c * 2]
    return {"out_ptr": out}


add("strided_copy", FILE, "strided_copy", "*fp32, *fp32, i32, i32, i32, i32, i32, i32, 128", (3, ),
    lambda r: {"x_ptr": r.normal(20 * 31), "out_ptr": np.zeros(600), "rows": 20, "columns": 15, "x_row": 31,
               "x_column": 2, "out_row": 2, "out_column": 40}, spread, Exact())
for type_ in ("fp32", "i8"):
    add("hinted_copy_" + type_, FILE, "hinted_copy", "*%s:16, *%s:16, i32:16, 256" % (type_, type_), (3, ),
        lambda r: {"x_ptr": r.integers(-99, 99, 640), "out_ptr": np.zeros(4 * 640), "n": 640},
        lambda a: {"out_ptr": np.tile(a["x_ptr"], 4)}, Exact())
add("block_pointer_copy", FILE, "block_pointer_copy", "*fp32:16, *fp32:16, i32, i32, 16, 32", (3, ),
    lambda r: {"x_ptr": r.normal(40, 75), "out_ptr": np.zeros((40, 75)), "rows": 40, "columns": 75},
    lambda a: {"out_ptr": a["x_ptr"] * 2}, Exact(), versions=(None, "3.8"), why="block pointers ended with Triton 3.8")


def neighbours(a):
    padded = np.pad(a["x_ptr"], 1)
    return {"out_ptr": padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]}


add("stencil", FILE, "stencil", "*fp32, *fp32, i32, i32, 8, 32", (3, 2),
    lambda r: {"x_ptr": r.integers(-99, 99, 20, 45), "out_ptr": np.zeros((20, 45)), "rows": 20, "columns": 45},
    neighbours, Exact("sums of small integers"))
for axis, type_ in ((0, "fp32"), (1, "i32")):
    add("gather_in_block_axis_%d" % axis, FILE, "gather_in_block", "*%s:16, *i32:16, *%s:16, 32, 64, %d" %
        (type_, type_, axis), (1, ),
        lambda r, n=(32, 64)[axis]: {"x_ptr": r.integers(-999, 999, 32, 64), "index_ptr": r.integers(0, n, 32, 64),
                                     "out_ptr": np.zeros((32, 64))},
        lambda a, x=axis: {"out_ptr": np.take_along_axis(a["x_ptr"], a["index_ptr"].astype(np.int64), x)}, Exact(),
        versions=("3.3", None), why="tl.gather begins with 3.3")

# ---- shapes ----
for type_, warps in (("fp32", 4), ("fp16", 2), ("i32", 1), ("i64", 8)):
    add("interleave_split_" + type_, FILE, "interleave_split", "*%s:16, *%s:16, *%s:16, *%s:16, 256" % ((type_, ) * 4),
        (1, ), lambda r: {"x_ptr": r.integers(-99, 99, 256), "y_ptr": r.integers(-99, 99, 256),
                          "out_ptr": np.zeros(512), "back_ptr": np.zeros(256)},
        lambda a: {"out_ptr": np.stack([a["x_ptr"], a["y_ptr"]], 1).reshape(-1), "back_ptr": a["x_ptr"] + a["y_ptr"]},
        Exact(), warps=warps)


def bit_reversed(stages):
    return [int(format(i, "0%db" % stages)[::-1], 2) for i in range(1 << stages)]


def transformed(a):
    stages = len(a["real_ptr"]).bit_length() - 1
    out = np.fft.fft(a["real_ptr"] + 1j * a["imaginary_ptr"])[bit_reversed(stages)]
    return {"real_ptr": out.real, "imaginary_ptr": out.imag}


for stages, warps in ((6, 1), (8, 4)):
    add("fft_%d" % (1 << stages), FILE, "fft", "*fp32:16, *fp32:16, *fp32:16, *fp32:16, %d" % stages, (1, ),
        lambda r, n=1 << stages: {"real_ptr": r.normal(n), "imaginary_ptr": r.normal(n),
                                  "cosine_ptr": np.cos(2 * np.pi * np.arange(n // 2) / n),
                                  "sine_ptr": np.sin(2 * np.pi * np.arange(n // 2) / n)}, transformed,
        Close(1e-5, 2e-5, "a rounding per stage, twiddles in fp32"), warps=warps, versions=("3.3", None),
        why="3.2 cannot lay out the joins of this shape")


def hadamard(a):
    x = a["x_ptr"]
    matrix = np.array([[1]])
    while len(matrix) < x.shape[1]:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return {"out_ptr": x @ matrix}


add("hadamard", FILE, "hadamard", "*fp32:16, *fp32:16, 7", (3, ),
    lambda r: {"x_ptr": r.integers(-9, 9, 3, 128), "out_ptr": np.zeros((3, 128))}, hadamard,
    Exact("sums of small integers"))
add("reshape_flip", FILE, "reshape_flip", "*i32:16, *i32:16, 16, 64", (1, ),
    lambda r: {"x_ptr": r.integers(-999, 999, 1024), "out_ptr": np.zeros(1024)},
    lambda a: {"out_ptr": a["x_ptr"].reshape(16, 64).T.reshape(-1)[::-1]}, Exact())

# ---- order ----
for type_ in ("i32", "fp32", "i64", "fp16"):
    for descending in (False, True):
        add("sort_rows_%s%s" % (type_, "_descending" if descending else ""), FILE, "sort_rows",
            "*%s:16, *%s:16, i32, 128, %s" % (type_, type_, descending), (3, ),
            lambda r: {"x_ptr": r.integers(-999, 999, 3, 101), "out_ptr": np.zeros((3, 101)), "columns": 101},
            lambda a, s=-1 if descending else 1: {"out_ptr": np.sort(a["x_ptr"], axis=1)[:, ::s]}, Exact())
for block, warps in ((32, 1), (512, 4)):
    add("sort_with_places_%d" % block, FILE, "sort_with_places", "*i32:16, *i32:16, *i32:16, %d" % block, (1, ),
        lambda r, n=block: {"x_ptr": r.integers(-99, 99, n), "out_ptr": np.zeros(n), "place_ptr": np.zeros(n)},
        lambda a: {"out_ptr": np.sort(a["x_ptr"]), "place_ptr": np.argsort(a["x_ptr"], kind="stable")}, Exact(),
        warps=warps)
for type_, block, k in (("fp32", 128, 8), ("i32", 256, 16), ("fp16", 64, 4)):
    add("top_k_" + type_, FILE, "top_k", "*%s:16, *%s:16, %d, %d" % (type_, type_, block, k), (3, ),
        lambda r, n=block, k=k: {"x_ptr": r.integers(-999, 999, 3, n), "out_ptr": np.zeros((3, k))},
        lambda a, k=k: {"out_ptr": np.sort(a["x_ptr"], axis=1)[:, ::-1][:, :k]}, Exact(), versions=("3.4", None),
        why="tl.topk begins with 3.4")


def routed(a):
    scores = a["scores_ptr"]
    best = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    weight = np.exp(np.take_along_axis(scores, best, 1))
    return {"expert_ptr": best, "weight_ptr": weight / weight.sum(axis=1, keepdims=True)}


add("route", FILE, "route", "*fp32:16, *i32:16, *fp32:16, 64, 2", (7, ),
    lambda r: {"scores_ptr": r.normal(7, 64), "expert_ptr": np.zeros((7, 2)), "weight_ptr": np.zeros((7, 2))}, routed,
    Close(2e-6, 0, "approximate exp and quotient"), warps=1)
for bins, warps in ((16, 1), (64, 4), (256, 8)):
    add("histogram_%d" % bins, FILE, "histogram", "*i32:16, *i32:16, i32, %d, 512" % bins, (2, ),
        lambda r, b=bins: {"x_ptr": r.integers(0, b, 1024), "out_ptr": np.zeros(b), "n": 1024},
        lambda a, b=bins: {"out_ptr": np.bincount(a["x_ptr"], minlength=b)}, Exact(), warps=warps)


# ---- atomics ----
def combined(op):

    def reference(a):
        n = a["n"]
        counters = a["counter_ptr"].copy()
        function = {"add": np.add, "max": np.maximum, "min": np.minimum, "and": np.bitwise_and, "or": np.bitwise_or,
                    "xor": np.bitwise_xor}[op]
        for counter in range(8):
            for x in a["x_ptr"][counter:n:8]:
                counters[counter] = function(counters[counter], x)
        return {"counter_ptr": counters, "before_ptr": ANYTHING}

    return reference


BF16_ATOMICS = {"versions": ("3.4", None), "why": "atomics on bf16 begin with 3.4"}
INTEGERS = Exact("integers add up to the same in any order")
for type_, ops, low in (("i32", ("add", "max", "min", "and", "or", "xor"), -999),
                        ("u32", ("add", "max", "min"), 0), ("i64", ("add", "max", "min", "and", "or", "xor"), -999),
                        ("u64", ("max", "min"), 0), ("fp32", ("add", "max", "min"), -999), ("fp64", ("add", ), -999),
                        ("fp16", ("add", ), -9), ("bf16", ("add", ), -4)):
    for op in ops:
        count = 100 if type_ not in ("fp16", "bf16") else 60
        add("atomic_%s_%s" % (op, type_), FILE, "atomics", "*%s:16, *%s:16, *%s:16, i32, '%s', 64" %
            (type_, type_, type_, op), (2, ),
            lambda r, l=low, n=count: {"x_ptr": r.integers(l, -l or 999, n), "counter_ptr": r.integers(l, -l or 999, 8),
                                       "before_ptr": np.zeros(n), "n": n}, combined(op), INTEGERS,
            **(BF16_ATOMICS if type_ == "bf16" else {}))


def accumulated(a):
    out = a["sum_ptr"].copy()
    np.add.at(out, np.arange(len(a["x_ptr"])) % 16, a["x_ptr"])
    return {"sum_ptr": out}


for type_ in ("i32", "fp32", "fp16", "bf16", "fp64"):
    add("atomic_accumulate_" + type_, FILE, "atomic_accumulate", "*%s:16, *%s:16, i32, 128" % (type_, type_), (2, ),
        lambda r: {"x_ptr": r.integers(-4, 4, 200), "sum_ptr": np.zeros(16), "n": 200}, accumulated, INTEGERS,
        **(BF16_ATOMICS if type_ == "bf16" else {}))


add("exchange_chain", FILE, "exchange_chain", "*i32:16, *i32:16", (20, ),
    lambda r: {"slot_ptr": np.zeros(1), "out_ptr": np.zeros(20)},
    lambda a: {"slot_ptr": ANYTHING, "out_ptr": ANYTHING}, Exact(), warps=1,
    invariant=lambda after: sorted(list(after["out_ptr"]) + list(after["slot_ptr"])) == list(range(21)))
add("compare_and_swap", FILE, "compare_and_swap", "*i32:16, *i32:16", (30, ),
    lambda r: {"slot_ptr": np.zeros(4), "won_ptr": np.zeros(4)},
    lambda a: {"slot_ptr": ANYTHING, "won_ptr": np.ones(4)}, Exact(), warps=1,
    invariant=lambda after: all(0 < owner <= 30 and (owner - 1) % 4 == i for i, owner in enumerate(after["slot_ptr"])))


def last_block(a):
    parts = a["x_ptr"].copy()
    parts.resize(4 * 128)
    parts = parts.reshape(4, 128).sum(axis=1)
    return {"part_ptr": parts, "arrived_ptr": np.array([4]), "out_ptr": np.array([parts.sum()])}


add("last_block_sum", FILE, "last_block_sum", "*fp32:16, *fp32:16, *i32:16, *fp32:16, i32, 4, 128", (4, ),
    lambda r: {"x_ptr": r.integers(-99, 99, 450), "part_ptr": np.zeros(4), "arrived_ptr": np.zeros(1),
               "out_ptr": np.zeros(1), "n": 450}, last_block, Exact("sums of small integers"))


def passed_on(a):
    doubled = a["x_ptr"].reshape(8, 64) * 2
    return {"out_ptr": np.concatenate([doubled, np.roll(doubled, -1, axis=0)]).reshape(-1), "arrived_ptr": np.array([8])}


add("grid_barrier", FILE, "grid_barrier", "*fp32:16, *fp32:16, *i32:16, 64", (8, ),
    lambda r: {"x_ptr": r.normal(512), "out_ptr": np.zeros(1024), "arrived_ptr": np.zeros(1)}, passed_on, Exact(),
    launch_cooperative_grid=True, versions=("3.3", None), why="cooperative grids begin with 3.3")
