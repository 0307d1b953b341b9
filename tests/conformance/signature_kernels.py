"""One kernel for each thing that a signature can say; each stores into `out` what it was told. test_signatures.c launches
them. torch is not installed beside Triton: naming it is harmless until something is done with it."""
import torch
import torch.nn.functional as F
from torch import Tensor
import triton
import triton.language as tl


def call(x: torch.Tensor, y: Tensor = torch.float32):
    return F.relu(x)


@triton.jit
def absent(out, addend, N: tl.constexpr):
    if addend is None:
        tl.store(out, 7)
    else:
        tl.store(out, tl.load(addend) + N)


@triton.jit
def truth(out, flag, TOLD: tl.constexpr):
    if TOLD:
        if flag:
            tl.store(out, 11)
        else:
            tl.store(out, 10)
    else:
        tl.store(out, 3)


@triton.jit
def text(out, MODE: tl.constexpr):
    if MODE == "sum, (of 'two')":
        tl.store(out, 1)
    else:
        tl.store(out, 2)


@triton.jit
def rounded(out, x, TYPE: tl.constexpr):
    tl.store(out, ((x.to(TYPE).to(tl.float32) - 1) * 4096).to(tl.int32))


@triton.jit
def strided(out, stride, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(out + at * stride, at + 1)


@triton.jit
def widths(out, a, b, c, d):
    tl.store(out, a.to(tl.int32))
    tl.store(out + 1, b.to(tl.int32))
    tl.store(out + 2, (c >> 40).to(tl.int32))
    tl.store(out + 3, (d >> 60).to(tl.int32))


@triton.jit
def floats(out, a, b, c, d):
    tl.store(out, (a.to(tl.float32) * 2048).to(tl.int32))
    tl.store(out + 1, (b.to(tl.float32) * 2048).to(tl.int32))
    tl.store(out + 2, (c * 2048).to(tl.int32))
    tl.store(out + 3, (d * 2048).to(tl.int32))


@triton.jit
def literals(out, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, D: tl.constexpr):
    tl.store(out, A)
    tl.store(out + 1, B)
    tl.store(out + 2, tl.full((), C * 2, tl.float32).to(tl.int32))
    if D is True:
        tl.store(out + 3, 1)


@triton.jit
def pair(out, both):
    tl.store(out, both[0] * 100 + tl.load(both[1]))


@triton.jit
def nested(out, deep):
    tl.store(out, deep[0] * 100 + deep[1][0] * 10 + deep[1][1])


@triton.jit
def mixed(out, some):
    if some[1] is None:
        tl.store(out, some[0] * 100 + some[2])
    else:
        tl.store(out, 0)


@triton.jit
def single(out, one):
    tl.store(out, one[0])


@triton.jit
def described(out, source, R: tl.constexpr, C: tl.constexpr):
    r, c = tl.arange(0, R), tl.arange(0, C)
    tl.store(out + r[:, None] * C + c[None, :], source.load([1, 4]))
