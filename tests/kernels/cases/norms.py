import numpy as np

from harness.case import Close, add

FILE = "norms.py"
FP32 = Close(3e-6, 3e-6, "fp32 sums in another order; approximate exp, reciprocal, square root")
FP16 = Close(2**-10, 1e-5, "rounded to fp16")
BF16 = Close(2**-7, 1e-4, "rounded to bf16")
EPS = 1e-5


def softmax(x):
    numerator = np.exp(x - x.max(axis=-1, keepdims=True))
    return numerator / numerator.sum(axis=-1, keepdims=True)


def table(rows, columns, scale=1.0):
    return lambda r: {"x_ptr": r.normal(rows, columns) * scale, "out_ptr": np.zeros((rows, columns)),
                      "columns": columns}


for type_, tolerance in (("fp32", FP32), ("fp16", FP16), ("bf16", BF16)):
    add("softmax_" + type_, FILE, "softmax", "*%s:16, *%s:16, i32, 512" % (type_, type_), (5, ), table(5, 333, 3.0),
        lambda a: {"out_ptr": softmax(a["x_ptr"])}, tolerance)
for block, warps in ((32, 1), (64, 4), (4096, 16)):
    add("softmax_block_%d_warps_%d" % (block, warps), FILE, "softmax", "*fp32:16, *fp32:16, i32, %d" % block, (3, ),
        table(3, block - 3), lambda a: {"out_ptr": softmax(a["x_ptr"])}, FP32, warps=warps)
add("softmax_online", FILE, "softmax_online", "*fp32:16, *fp32:16, i32, 128", (4, ), table(4, 1000, 3.0),
    lambda a: {"out_ptr": softmax(a["x_ptr"])}, FP32)


def softmax_backward(a):
    out, grad = a["out_ptr"], a["grad_ptr"]
    return {"x_grad_ptr": out * (grad - (out * grad).sum(axis=1, keepdims=True))}


add("softmax_backward", FILE, "softmax_backward", "*fp32:16, *fp32:16, *fp32:16, i32, 256", (4, ),
    lambda r: {"out_ptr": softmax(r.normal(4, 200)), "grad_ptr": r.normal(4, 200), "x_grad_ptr": np.zeros((4, 200)),
               "columns": 200}, softmax_backward, FP32)


def cross_entropy(a):
    x, label = a["logits_ptr"], a["label_ptr"]
    probability = softmax(x)
    grad = probability.copy()
    grad[np.arange(len(label)), label] -= 1
    return {"loss_ptr": -np.log(probability[np.arange(len(label)), label]), "grad_ptr": grad}


for label in ("i32", "i64"):
    add("cross_entropy_label_" + label, FILE, "cross_entropy", "*fp32:16, *%s:16, *fp32:16, *fp32:16, i32, 256" % label,
        (6, ), lambda r: {"logits_ptr": r.normal(6, 251) * 2, "label_ptr": r.integers(0, 251, 6),
                          "loss_ptr": np.zeros(6), "grad_ptr": np.zeros((6, 251)), "columns": 251}, cross_entropy, FP32)


def statistics(x):
    return x.mean(axis=1), 1 / np.sqrt(x.var(axis=1) + EPS)


def layer_norm(a):
    mean, rstd = statistics(a["x_ptr"])
    normal = (a["x_ptr"] - mean[:, None]) * rstd[:, None]
    return {"mean_ptr": mean, "rstd_ptr": rstd, "out_ptr": normal * a["weight_ptr"] + a["bias_ptr"]}


for type_, tolerance in (("fp32", FP32), ("fp16", FP16), ("bf16", BF16)):
    add("layer_norm_" + type_, FILE, "layer_norm",
        "*%s:16, *fp32:16, *fp32:16, *%s:16, *fp32:16, *fp32:16, i32, fp32, 512" % (type_, type_), (5, ),
        lambda r: {"x_ptr": r.normal(5, 400) + 1, "weight_ptr": r.uniform(400), "bias_ptr": r.uniform(400),
                   "out_ptr": np.zeros((5, 400)), "mean_ptr": np.zeros(5), "rstd_ptr": np.zeros(5), "columns": 400,
                   "eps": EPS}, layer_norm, tolerance)
GROUPS = 3


def backward_inputs(rows, columns):

    def inputs(r):
        x = r.normal(rows, columns)
        mean, rstd = statistics(x)
        return {"x_ptr": x, "grad_ptr": r.normal(rows, columns), "weight_ptr": r.uniform(columns), "mean_ptr": mean,
                "rstd_ptr": rstd, "x_grad_ptr": np.zeros((rows, columns)),
                "partial_weight_ptr": np.zeros((GROUPS, columns)), "partial_bias_ptr": np.zeros((GROUPS, columns)),
                "lock_ptr": np.zeros(GROUPS), "columns": columns}

    return inputs


def layer_norm_backward(a):
    normal = (a["x_ptr"] - a["mean_ptr"][:, None]) * a["rstd_ptr"][:, None]
    weighted = a["weight_ptr"] * a["grad_ptr"]
    projection = (normal * weighted).mean(axis=1, keepdims=True)
    x_grad = (weighted - normal * projection - weighted.mean(axis=1, keepdims=True)) * a["rstd_ptr"][:, None]
    by_group = lambda terms: np.stack([terms[group::GROUPS].sum(axis=0) for group in range(GROUPS)])
    return {"x_grad_ptr": x_grad, "partial_weight_ptr": by_group(a["grad_ptr"] * normal),
            "partial_bias_ptr": by_group(a["grad_ptr"]), "lock_ptr": np.zeros(GROUPS, np.int32)}


for type_, tolerance in (("fp32", Close(1e-5, 1e-5, "fp32 sums in another order")), ("fp16", FP16)):
    add("layer_norm_backward_" + type_, FILE, "layer_norm_backward",
        "*%s:16, *%s:16, *fp32:16, *fp32:16, *fp32:16, *%s:16, *fp32:16, *fp32:16, *i32:16, i32, %d, 256" %
        (type_, type_, type_, GROUPS), (10, ), backward_inputs(10, 250), layer_norm_backward, tolerance)
add("column_sums", FILE, "column_sums", "*fp32:16, *fp32:16, i32, i32, 16, 64", (3, ),
    lambda r: {"partial_ptr": r.normal(45, 150), "out_ptr": np.zeros(150), "rows": 45, "columns": 150},
    lambda a: {"out_ptr": a["partial_ptr"].sum(axis=0)}, Close(1e-6, 1e-5, "fp32 sums in another order"))


def rms_norm(a):
    x = a["x_ptr"] + a["residual_ptr"]
    return {"residual_ptr": x, "out_ptr": x / np.sqrt((x * x).mean(axis=1, keepdims=True) + EPS) * a["weight_ptr"]}


for type_, tolerance in (("fp16", FP16), ("bf16", BF16), ("fp32", FP32)):
    add("rms_norm_" + type_, FILE, "rms_norm", "*%s:16, *%s:16, *%s:16, *%s:16, i32, fp32, 512" % ((type_, ) * 4), (4, ),
        lambda r: {"x_ptr": r.normal(4, 400), "residual_ptr": r.normal(4, 400), "weight_ptr": r.uniform(400),
                   "out_ptr": np.zeros((4, 400)), "columns": 400, "eps": EPS}, rms_norm, tolerance)


def group_norm(a):
    x = a["x_ptr"].reshape(2, 3, 4 * 49)
    normal = (x - x.mean(axis=2, keepdims=True)) / np.sqrt(x.var(axis=2, keepdims=True) + EPS)
    return {"out_ptr": normal.reshape(2, 12, 49) * a["weight_ptr"][None, :, None]}


add("group_norm", FILE, "group_norm", "*fp32, *fp32:16, *fp32, i32, i32, i32, fp32, 4, 64", (2, 3),
    lambda r: {"x_ptr": r.normal(2, 12, 49), "weight_ptr": r.uniform(12), "out_ptr": np.zeros((2, 12, 49)),
               "channels": 12, "pixels": 49, "groups": 3, "eps": EPS}, group_norm, FP32)
