import numpy as np

from harness.case import Close, Exact, add

FILE = "random_numbers.py"


def philox(seed, counter):
    """Philox 4×32 with ten rounds, as Salmon and others define it: four words for each counter"""
    mask = np.uint64(0xFFFFFFFF)
    words = [np.asarray(counter, np.uint64) & mask] + [np.zeros(len(counter), np.uint64) for _ in range(3)]
    key = [np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32 & 0xFFFFFFFF)]
    for _ in range(10):
        first, second = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [(second >> np.uint64(32)) ^ words[1] ^ key[0], second & mask,
                 (first >> np.uint64(32)) ^ words[3] ^ key[1], first & mask]
        key = [(key[0] + np.uint64(0x9E3779B9)) & mask, (key[1] + np.uint64(0xBB67AE85)) & mask]
    return [word.astype(np.uint32) for word in words]


def uniform(words):
    """[0, 1) from a word read as signed: the magnitude, scaled so that 1 is never reached"""
    signed = words.astype(np.int32).astype(np.int64)
    return np.where(signed < 0, -signed - 1, signed).astype(np.float32).astype(np.float64) * np.float64(
        np.float32(4.6566127342e-10))


def normals(a):
    first, second, _, _ = philox(a["seed"], np.arange(a["n"]))
    radius = np.sqrt(-2.0 * np.log(np.maximum(1.0e-7, uniform(first))))
    return {"uniform_ptr": uniform(first), "normal_ptr": radius * np.cos(6.283185307179586 * uniform(second))}


def dropped(a):
    keep = uniform(philox(a["seed"], np.arange(a["n"]))[0]) > np.float32(a["probability"])
    return {"out_ptr": np.where(keep, a["x_ptr"] / (1 - a["probability"]), 0.0)}


for seed in (42, 2**40 + 12345):
    type_ = "i32" if seed < 2**31 else "i64"
    add("philox_words_seed_" + type_, FILE, "philox_words", "*i32:16, %s, i32, 128" % type_, (3, ),
        lambda r, s=seed: {"out_ptr": np.zeros(4 * 300), "seed": s, "n": 300},
        lambda a: {"out_ptr": np.stack(philox(a["seed"], np.arange(300)), 1).reshape(-1).astype(np.int32)}, Exact())
add("uniform_normal", FILE, "uniform_normal", "*fp32:16, *fp32:16, i32, i32, 128", (3, ),
    lambda r: {"uniform_ptr": np.zeros(300), "normal_ptr": np.zeros(300), "seed": 1234, "n": 300}, normals,
    Close(2e-6, 4e-6, "approximate log, sine and square root"))
for type_, tolerance in (("fp32", Close(3e-7, 0, "one approximate quotient")), ("fp16", Close(2**-10, 0, "fp16"))):
    add("dropout_" + type_, FILE, "dropout", "*%s:16, *%s:16, fp32, i32, i32, 128" % (type_, type_), (3, ),
        lambda r: {"x_ptr": r.normal(300), "out_ptr": np.ones(300), "probability": 0.4, "seed": 99, "n": 300}, dropped,
        tolerance)
