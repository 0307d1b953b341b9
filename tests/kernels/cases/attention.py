import numpy as np

from harness.case import Close, add

FILE = "attention.py"
FORWARD = Close(4e-3, 2e-3, "weights are rounded to fp16 before they meet the values")
BF16 = Close(2e-2, 2e-2, "weights and result are rounded to bf16")
BACKWARD = Close(1e-2, 1.5e-2, "weights and their gradients are rounded to fp16 between the products")


def weights(q, k, scale, causal):
    scores = q @ k.transpose(0, 2, 1) * scale
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
    highest = scores.max(axis=-1, keepdims=True)
    exp = np.exp(scores - highest)
    total = exp.sum(axis=-1, keepdims=True)
    return exp / total, (highest + np.log(total))[..., 0] / np.log(2)


def forward_inputs(heads, length, size):
    return lambda r: {"q_ptr": r.normal(heads, length, size), "k_ptr": r.normal(heads, length, size),
                      "v_ptr": r.normal(heads, length, size), "out_ptr": np.zeros((heads, length, size)),
                      "lse_ptr": np.zeros((heads, length)), "scale": size**-0.5, "length": length}


def forward(causal):

    def reference(a):
        p, lse = weights(a["q_ptr"], a["k_ptr"], a["scale"], causal)
        return {"out_ptr": p @ a["v_ptr"], "lse_ptr": lse}

    return reference


for type_, head, length, block_m, block_n, causal, warps, stages, tolerance in (
    ("fp16", 64, 100, 32, 32, False, 4, 2, FORWARD), ("fp16", 64, 100, 32, 32, True, 4, 2, FORWARD),
    ("fp16", 16, 70, 32, 16, True, 2, 3, FORWARD), ("fp16", 32, 70, 64, 32, False, 4, 1, FORWARD),
    ("fp16", 128, 128, 64, 32, True, 4, 3, FORWARD), ("bf16", 64, 100, 64, 64, True, 4, 2, BF16),
    ("fp16", 64, 256, 128, 64, True, 8, 3, FORWARD)):
    add("attention_forward_%s_head_%d%s_%dx%d" % (type_, head, "_causal" if causal else "", block_m, block_n), FILE,
        "attention_forward", "*%s:16, *%s:16, *%s:16, *%s:16, *fp32:16, fp32, i32, %d, %d, %d, %s" % (
            (type_, ) * 4 + (head, block_m, block_n, causal)), (-(-length // block_m), 2),
        forward_inputs(2, length, head), forward(causal), tolerance, warps=warps, stages=stages)
add("attention_delta", FILE, "attention_delta", "*fp16:16, *fp16:16, *fp32:16, i32, 64, 32", (4, ),
    lambda r: {"out_ptr": r.normal(100, 64), "grad_ptr": r.normal(100, 64), "delta_ptr": np.zeros(100), "rows": 100},
    lambda a: {"delta_ptr": (a["out_ptr"] * a["grad_ptr"]).sum(axis=1)}, Close(1e-5, 1e-4, "fp32 sums of 64 products"))


def backward_inputs(heads, length, size, causal, outs):

    def inputs(r):
        given = {name: r.normal(heads, length, size).astype(np.float16).astype(np.float64)
                 for name in ("q_ptr", "k_ptr", "v_ptr", "grad_ptr")}
        p, lse = weights(given["q_ptr"], given["k_ptr"], size**-0.5, causal)
        delta = (p @ given["v_ptr"] * given["grad_ptr"]).sum(axis=-1)
        given.update({name: np.zeros((heads, length, size)) for name in outs})
        return dict(given, lse_ptr=lse, delta_ptr=delta, scale=size**-0.5, length=length)

    return inputs


def backward(causal, outs):

    def reference(a):
        q, k, v, grad, scale = (a[name] for name in ("q_ptr", "k_ptr", "v_ptr", "grad_ptr", "scale"))
        p, _ = weights(q, k, scale, causal)
        score_grad = p * (grad @ v.transpose(0, 2, 1) - a["delta_ptr"][..., None])
        every = {"v_grad_ptr": p.transpose(0, 2, 1) @ grad, "k_grad_ptr": score_grad.transpose(0, 2, 1) @ q * scale,
                 "q_grad_ptr": score_grad @ k * scale}
        return {name: every[name] for name in outs}

    return reference


for head, length, causal in ((64, 80, False), (64, 80, True), (32, 96, True)):
    suffix = "head_%d%s" % (head, "_causal" if causal else "")
    outs = ("k_grad_ptr", "v_grad_ptr")
    add("attention_backward_kv_" + suffix, FILE, "attention_backward_kv",
        "*fp16:16, *fp16:16, *fp16:16, *fp16:16, *fp32:16, *fp32:16, *fp16:16, *fp16:16, fp32, i32, %d, 32, 32, %s" %
        (head, causal), (-(-length // 32), 2), backward_inputs(2, length, head, causal, outs), backward(causal, outs),
        BACKWARD, stages=2)
    add("attention_backward_q_" + suffix, FILE, "attention_backward_q",
        "*fp16:16, *fp16:16, *fp16:16, *fp16:16, *fp32:16, *fp32:16, *fp16:16, fp32, i32, %d, 32, 32, %s" %
        (head, causal), (-(-length // 32), 2), backward_inputs(2, length, head, causal, ("q_grad_ptr", )),
        backward(causal, ("q_grad_ptr", )), BACKWARD, stages=2)

HEADS, SIZE, PAGE, PARTS, LENGTH = 3, 64, 16, 4, 150


def decode_inputs(r):
    pages = -(-LENGTH // PAGE)
    cache = (pages + 5, PAGE, HEADS, SIZE)
    return {"q_ptr": r.normal(HEADS, SIZE), "k_cache_ptr": r.normal(*cache), "v_cache_ptr": r.normal(*cache),
            "pages_ptr": r.permutation(pages + 5)[:pages], "part_ptr": np.zeros((HEADS, PARTS, SIZE)),
            "lse_ptr": np.zeros((HEADS, PARTS)), "scale": SIZE**-0.5, "length": LENGTH}


def decode_parts(a):
    k, v = (a[name][a["pages_ptr"]].reshape(-1, HEADS, SIZE)[:LENGTH] for name in ("k_cache_ptr", "v_cache_ptr"))
    parts, lses = np.zeros((HEADS, PARTS, SIZE)), np.zeros((HEADS, PARTS))
    for part in range(PARTS):
        mine = (np.arange(LENGTH) // PAGE) % PARTS == part
        for head in range(HEADS):
            scores = k[mine, head] @ a["q_ptr"][head] * a["scale"]
            exp = np.exp(scores - scores.max())
            parts[head, part] = exp @ v[mine, head] / exp.sum()
            lses[head, part] = scores.max() + np.log(exp.sum())
    return {"part_ptr": parts, "lse_ptr": lses}


add("decode_part", FILE, "decode_part", "*fp32:16, *fp16:16, *fp16:16, *i32:16, *fp32:16, *fp32:16, fp32, i32, 16, 64, 4",
    (HEADS, PARTS), decode_inputs, decode_parts, Close(2e-5, 1e-5, "approximate exp, fp32 sums"))


def merged(a):
    exp = np.exp(a["lse_ptr"] - a["lse_ptr"].max(axis=1, keepdims=True))
    return {"out_ptr": (a["part_ptr"] * exp[..., None]).sum(axis=1) / exp.sum(axis=1, keepdims=True)}


add("decode_merge", FILE, "decode_merge", "*fp32:16, *fp32:16, *fp32:16, 4, 64", (HEADS, ),
    lambda r: {"part_ptr": r.normal(HEADS, PARTS, SIZE), "lse_ptr": r.normal(HEADS, PARTS),
               "out_ptr": np.zeros((HEADS, SIZE))}, merged, Close(5e-6, 2e-6, "approximate exp, fp32 sums"))


def rotated(a):
    left, right = a["x_ptr"][..., :32], a["x_ptr"][..., 32:]
    cosine, sine = a["cosine_ptr"][:, None], a["sine_ptr"][:, None]
    return {"out_ptr": np.concatenate([left * cosine - right * sine, right * cosine + left * sine], -1)}


for type_, tolerance in (("fp16", Close(2**-10, 1e-6, "rounded to fp16")), ("bf16", Close(2**-7, 1e-6, "rounded to bf16"))):
    add("rotary_" + type_, FILE, "rotary", "*%s:16, *fp32:16, *fp32:16, *%s:16, i32, 32" % (type_, type_), (5, 3),
        lambda r: {"x_ptr": r.normal(5, 3, 64), "cosine_ptr": r.uniform(5, 32), "sine_ptr": r.uniform(5, 32),
                   "out_ptr": np.zeros((5, 3, 64)), "heads": 3}, rotated, tolerance)
