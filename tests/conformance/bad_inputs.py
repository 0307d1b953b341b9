"""Malformed inputs at every stage, for every Triton: each gets its status and a message that says where, nothing is
printed, and the compile after it is right.

usage: bad_inputs.py COMPILE_JOBS [--only PATTERN]
The installations are those of TRITON_RUNNER_PYTHON. Exit status 77: none is named.
"""
import argparse
import os
import random
import re
import sys
import tempfile

from conformance import installations, run_jobs
from matrix import KERNELS, SIGNATURES, STAGES

PARSE, COMPILE, CRASHED = "TR_E_PARSE", "TR_E_COMPILE", "TR_E_COMPILER_CRASHED"
INVALID, SIGNATURE, TIMEOUT = "TR_E_INVALID_ARGUMENT", "TR_E_SIGNATURE", "TR_E_TIMEOUT"
REFUSED = {PARSE, COMPILE, CRASHED}
PLACE = r"\d+:\d+: |line \d+: "
NOISE = bytes(random.Random(7).randrange(256) for _ in range(4096))
TEXT_NOISE = bytes(random.Random(8).randrange(32, 127) for _ in range(4096))

KERNEL = """import triton
import triton.language as tl
{before}
@triton.jit
def k(x, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    {body}
"""


def kernel(body="tl.store(x + at, at)", before=""):
    return KERNEL.format(before=before, body=body).encode()


# name, source, what the job says otherwise, statuses, what the message must match
PYTHON = (
    ("empty", b"", {}, {PARSE}, "empty"),
    ("syntax", kernel(before="def f(x:\n"), {}, {PARSE}, r"\.py:\d+:\d+: "),
    ("indentation", kernel(before="    x = 1"), {}, {PARSE}, r"\.py:3:\d+: "),
    ("noise", NOISE, {}, {PARSE}, ""),
    ("text noise", TEXT_NOISE, {}, {PARSE}, r"\.py:1:\d+: "),
    ("no UTF-8", kernel(before="x = 'caf") + b"\xe9'\n", {}, {PARSE}, ""),
    ("null byte", kernel(before="\0"), {}, {PARSE}, r"\.py:3: .*0x00"),
    ("nested", kernel(before="x = " + "(" * 100000 + ")" * 100000), {}, REFUSED, ""),
    ("no such kernel", kernel(), {"kernel": "other"}, {INVALID}, "no kernel 'other'"),
    ("not a kernel", b"k = 7", {}, {PARSE}, "no kernel"),
    ("two kernels", kernel() + kernel().replace(b"def k", b"def l"), {"kernel": None}, {INVALID}, "kernel"),
    ("raises", kernel(before="1 / 0"), {}, {COMPILE}, r"\.py:3: ZeroDivisionError"),
    ("exits", kernel(before="import sys; sys.exit(3)"), {}, {COMPILE}, r"\.py:3: SystemExit"),
    ("dies", kernel(before="import os; os._exit(3)"), {}, {CRASHED}, "exit status 3"),
    ("leaves", kernel(before="import os; os._exit(0)"), {}, {CRASHED}, "without an answer"),
    ("aborts", kernel(before="import os; os.abort()"), {}, {CRASHED}, "signal 6"),
    ("kills itself", kernel(before="import os; os.kill(os.getpid(), 9)"), {}, {CRASHED}, "signal 9"),
    ("stops itself", kernel(before="import os; os.kill(os.getpid(), 19)"), {}, {CRASHED}, "signal 9"),
    ("never ends", kernel(before="while True: pass"), {"timeout_ms": 2000}, {TIMEOUT}, ""),
    ("sleeps", kernel(before="import time; time.sleep(100)"), {"timeout_ms": 2000}, {TIMEOUT}, ""),
    ("eats memory", kernel(before="x = bytearray(1 << 50)"), {}, {"TR_E_OUT_OF_MEMORY"}, "memory"),
    ("missing module, used", kernel(before="import nowhere\nnowhere.f()"), {}, {COMPILE}, r"\.py:4: .*nowhere\.f is used"),
    ("missing module, tried", kernel(before="def f():\n    import nowhere\nf()"), {}, {COMPILE}, "nowhere"),
    ("unknown name", kernel("tl.store(x + at, nothing)"), {}, {COMPILE}, r"\.py:7:\d+: .*nothing"),
    ("unknown function", kernel("tl.nothing(x)"), {}, {COMPILE}, r"\.py:7:\d+: .*nothing"),
    ("wrong types", kernel("tl.store(at, x)"), {}, {COMPILE}, r"\.py:7:\d+: "),
    ("shapes", kernel("tl.store(x + at, tl.arange(0, 2 * BLOCK))"), {}, {COMPILE}, r"\.py:7:\d+: "),
    ("block is no power of 2", kernel(), {"signature": "*i32, 100"}, {COMPILE}, r"\.py:6:\d+: "),
    ("assertion", kernel("tl.static_assert(BLOCK == 7)"), {}, {COMPILE}, r"\.py:7:\d+: "),
    ("signature too short", kernel(), {"signature": "*i32"}, {SIGNATURE}, "has 2 parameters"),
    ("signature too long", kernel(), {"signature": "*i32, 64, 64"}, {SIGNATURE}, "the signature 3"),
    ("signature of a constant", kernel(), {"signature": "*i32, i32"}, {SIGNATURE}, "BLOCK is a tl.constexpr"),
    ("signature's type", kernel(), {"signature": "*i33, 64"}, {PARSE}, "signature:1:1: "),
    ("signature's hint", kernel(), {"signature": "*i32:7, 64"}, {PARSE}, "power of two"),
    ("signature's bracket", kernel(), {"signature": "*i32, (64"}, {PARSE}, ""),
    ("signature's noise", kernel(), {"signature": TEXT_NOISE[:200].decode()}, {PARSE, SIGNATURE}, ""),
    ("unknown option", kernel(), {"options": {"num_wraps": 4}}, {INVALID}, "num_wraps"),
    ("wrong option", kernel(), {"options": {"num_warps": 3}}, {COMPILE, INVALID}, "power of"),
    ("option's type", kernel(), {"options": {"num_warps": "many"}}, {COMPILE, INVALID}, ""),
    ("no such arch", kernel(), {"arch": "sm_999"}, REFUSED | {INVALID}, ""),
    ("no arch at all", kernel(), {"arch": "gfx942"}, {INVALID}, "gfx942"),
)


def swap(pattern, by, count=1):
    def change(text):
        changed = re.sub(pattern, by, text.decode(), count=count)
        assert changed != text.decode(), f"{pattern} is not in the text"
        return changed.encode()
    return change


def cut(text):
    return text[:len(text) // 2]


EMPTY = lambda text: b""
NESTED = b"module { " + b"module { " * 100000 + b"}" * 100000 + b" }"
MLIR = (
    ("empty", EMPTY, REFUSED, ""),
    ("blank", lambda text: b"  \n", REFUSED, ""),
    ("cut", cut, {PARSE}, PLACE),
    ("noise", lambda text: NOISE, {PARSE}, ""),
    ("text noise", lambda text: TEXT_NOISE, {PARSE}, PLACE),
    ("no function", lambda text: b"module {\n}\n", REFUSED, ""),
    ("nested", lambda text: NESTED, REFUSED, ""),
    ("private", swap(r"tt\.func public", "tt.func private"), REFUSED, ""),
    ("unknown operation", swap(r"arith\.cmpi", "arith.cmpj"), {PARSE}, PLACE),
    ("unknown type", swap(r"xf32", "xf33"), {PARSE}, PLACE),
    ("undefined value", swap(r"arith\.cmpi slt, %\w+", "arith.cmpi slt, %nowhere"), {PARSE}, PLACE),
    ("type mismatch", swap(r"arith\.addf (.*)f32", r"arith.addf \1f16"), {PARSE}, PLACE),
    ("no end", swap(r"\}\s*(loc\(#loc\d*\))?\s*\}", ""), {PARSE}, PLACE),
    ("python", lambda text: kernel(), {PARSE}, PLACE),
)
TTGIR = MLIR + (
    ("bad layout", swap(r"sizePerThread = \[\d+\]", "sizePerThread = [0]"), REFUSED, ""),
    ("layout's rank", swap(r"sizePerThread = \[\d+\]", "sizePerThread = [1, 1]"), REFUSED, ""),
    ("unknown field", swap(r"sizePerThread", "sizePerHead"), REFUSED, ""),
)
LLIR = (
    ("empty", EMPTY, REFUSED, ""),
    ("cut", cut, {PARSE}, PLACE),
    ("noise", lambda text: NOISE, {PARSE}, ""),
    ("text noise", lambda text: TEXT_NOISE, {PARSE}, PLACE),
    ("no function", lambda text: b"target triple = \"nvptx64-nvidia-cuda\"\n", REFUSED, ""),
    ("syntax", swap(r"icmp slt", "icmp less"), {PARSE}, PLACE),
    ("type", swap(r"icmp slt i32", "icmp slt i33"), {PARSE}, PLACE),
    ("undefined value", swap(r"icmp slt i32 %\d+", "icmp slt i32 %nowhere"), {PARSE}, PLACE),
    ("python", lambda text: kernel(), {PARSE}, PLACE),
    ("asm constraint", swap(r'"=r,', '"=r,=r,=r,=r,'), REFUSED, ""),
    ("unknown intrinsic", swap(r"fadd float (%\S+), (%\S+)", r"call float @llvm.nvvm.nothing(float \1, float \2)"),
     REFUSED, ""),
)
PTX = (
    ("empty", EMPTY, {PARSE}, "empty"),
    ("cut", cut, {PARSE}, PLACE),
    ("noise", lambda text: NOISE, {PARSE}, ""),
    ("text noise", lambda text: TEXT_NOISE, {PARSE}, PLACE),
    ("unknown instruction", swap(r"\tadd\.f32", "\tadd.f33"), {COMPILE}, r":\d+: "),
    ("undefined register", swap(r"%r1,", "%nowhere,"), {COMPILE}, r":\d+: "),
    ("no version", swap(r"\.version \S+", ".version nine"), {PARSE, COMPILE}, "version"),
    ("another arch", swap(r"\.target \S+", ".target sm_120a"), {INVALID}, "sm_120"),
    ("ttir", lambda text: b"module {\n}\n", {PARSE}, PLACE),
)
# one stage's bytes given as another's
MISTAKEN = ((2, 3), (2, 4), (2, 6), (3, 2), (3, 5), (3, 6), (4, 2), (4, 5), (4, 6), (5, 3), (5, 4), (5, 6))
# Triton's JSON with wrong types
METADATA = ({"num_warps": "four"}, {"shared": -1}, {"shared": []}, {"target": 90}, {"cluster_dims": [1]}, {"name": 7},
            {"global_scratch_align": 3}, {"tensordesc_meta": {}})
IR = ((2, MLIR), (3, TTGIR), (4, LLIR), (5, PTX))


class Folder:

    def __init__(self, path):
        self.path, self.count = path, 0

    def job(self, version, start, source, **more):
        self.count += 1
        path = os.path.join(self.path, f"{self.count}.{'py' if start == 1 else 'txt'}")
        with open(path, "wb") as file:
            file.write(source)
        out = os.path.join(self.path, f"{self.count}.out")
        os.mkdir(out)
        return {"id": self.count, "triton": version, "from": start, "to": 6, "source": path, "arch": "sm_90",
                "out": out, "timeout_ms": 20000, "options": {}, "environment": [], **more}


def stages_of(job):
    stages = {}
    for stage in range(job["from"] + 1, 7):
        with open(os.path.join(job["out"], f"stage.{stage}"), "rb") as file:
            stages[stage] = file.read()
    return stages


def check_version(command, folder, version, only):
    """How many inputs were tried, and what is wrong."""
    with open(os.path.join(KERNELS, "vector_add.py"), "rb") as file:
        source = file.read()
    good = dict(kernel="vector_add", signature=SIGNATURES["vector_add"])
    first = folder.job(version, 1, source, **good)
    answer = run_jobs(command, [first])[0]
    if answer["status"] != "TR_OK":
        return 0, [f"{version}: vector_add: {answer['message']}"]
    stages = stages_of(first)
    cases = [(1, name, text, {"kernel": "k", "signature": "*i32, 64", **more}, statuses, pattern)
             for name, text, more, statuses, pattern in PYTHON]
    cases += [(stage, name, change(stages[stage]), {}, statuses, pattern)
              for stage, changes in IR for name, change, statuses, pattern in changes]
    cases += [(stage, STAGES[given], stages[given], {}, REFUSED, "") for stage, given in MISTAKEN]
    cases += [(5, f"metadata {metadata}", stages[5], {"metadata": metadata}, {PARSE}, next(iter(metadata)))
              for metadata in METADATA]
    cases = [case for case in cases if re.search(only, case[1])]
    jobs = []
    for stage, name, text, more, _, _ in cases:
        jobs.append(folder.job(version, stage, text, **more))
        jobs.append(folder.job(version, 2, stages[2]))
    answers, faults = run_jobs(command, jobs), []
    for number, (stage, name, _, _, statuses, pattern) in enumerate(cases):
        answer, after, where = answers[2 * number], answers[2 * number + 1], f"{version} stage {stage}: {name}"
        if answer["status"] not in statuses or not re.search(pattern, answer["message"], re.S):
            faults.append(f"{where}: {answer['status']} {answer['message'][:300]!r}")
        if answer["seconds"] > 20:
            faults.append(f"{where}: took {answer['seconds']:.1f} s")
        if after["status"] != "TR_OK" or stages_of(jobs[2 * number + 1])[6] != stages[6]:
            faults.append(f"{where}: the next compile went wrong: {after['message']}")
    return len(cases), faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("compile_jobs")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    total, faults = 0, []
    for version, _, _ in installations():
        with tempfile.TemporaryDirectory(prefix="bad-inputs-") as path:
            command = [arguments.compile_jobs]
            count, found = check_version(command, Folder(path), version, arguments.only)
        print(f"{version}: {count} inputs, {len(found)} faults", flush=True)
        total += count
        faults += found
    if not total:
        print("SKIP: TRITON_RUNNER_PYTHON names no Triton")
        sys.exit(77)
    print(f"{total} malformed inputs")
    for fault in faults:
        print(f"FAULT {fault}")
    sys.exit(1 if faults else 0)


main()
