"""The cells of the conformance matrix: which kernels, architectures and starts there are, and which cannot be."""
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = os.path.join(HERE, "..", "..", "examples", "kernels")
DESCRIPTORS = os.path.join(HERE, "..", "kernels", "descriptors.py")
ARCHS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
STARTS = {1: "python", 2: "ttir", 3: "ttgir", 4: "llir", 5: "ptx"}
STAGES = {**STARTS, 6: "cubin"}

# Small blocks, smaller still on sm_75, where a dot becomes scalar code. {0} is the block of a matrix.
SIGNATURES = {
    "vector_add": "*fp32:16, *fp32:16, *fp32:16, i32, 256",
    "softmax": "*fp32:16, *fp32:16, i32, i32, i32:1, 256",
    "matmul": "*fp16:16, *fp16:16, *fp16:16, i32, i32, i32, i32:16, i32:16, i32:16, {0}, {0}, {0}, 4",
    "matmul_tma": "*fp16:16, *fp16:16, *fp16:16, i32, i32:16, i32:16, {0}, {0}, {0}",
    "matmul_host": "tensordesc<fp16[{0}, {0}]>, tensordesc<fp16[{0}, {0}]>, tensordesc<fp16[{0}, {0}]>, i32, {0}, {0}, {0}",
}

# version, kernel, arch (patterns), why it cannot be
IMPOSSIBLE = (
    (r"3\.2\.", r"matmul_(tma|host)", r".*", "Triton 3.2 has no tensor descriptors"),
    (r"3\.3\.", r"matmul_host", r".*", "Triton 3.3 takes no tensor descriptors as parameters"),
    (r"3\.2\.", r".*", r"sm_(100|120)", "the ptxas of Triton 3.2 (12.4) knows no sm_100 and later"),
    (r"3\.3\.0", r"matmul.*", r"sm_120", "Triton 3.3.0 has no matrix instructions for sm_120 and aborts"),
    (r"3\.3\.", r"matmul", r"sm_75", "Triton 3.3 cannot convert the operands of an fp16 dot on sm_75"),
    (r"3\.3\.", r"matmul_tma", r"sm_(75|80|86|89)", "Triton 3.3 has device TMA on sm_90 and later only"),
)


def impossible(version, kernel, arch):
    for patterns in IMPOSSIBLE:
        if all(re.match(pattern + "$" if pattern.endswith(")") else pattern, value)
               for pattern, value in zip(patterns, (version, kernel, arch))):
            return patterns[3]
    return None


# version, kernel, arch, start (patterns): the text of this stage lacks the location of some arguments of loops, so that
# llir and PTX tell other source lines for what comes of them; cubin and code are the same. It is a loop-carried value
# whose first value is a constant: MLIR prints no location for the argument, and none for a constant that was folded with
# another. The record of a file that the library saved has them.
LOSES_LINES = (
    (r"3\.[5-9]\.", r"matmul", r".*", r"ttgir"),
    (r"3\.4\.", r"matmul_(tma|host)", r"sm_75", r"tt(g?)ir"),
)


def loses_lines(version, kernel, arch, start):
    return any(all(map(re.match, patterns, (version, kernel, arch, start))) for patterns in LOSES_LINES)


def source_file(version, kernel):
    if kernel == "matmul_tma" and version.startswith("3.3."):
        return os.path.join(HERE, "tma_3_3.py")
    if kernel == "matmul_host":
        return os.path.normpath(DESCRIPTORS)
    return os.path.normpath(os.path.join(KERNELS, f"{kernel}.py"))


def cells(version):
    for kernel, signature in SIGNATURES.items():
        for arch in ARCHS:
            yield {"out": f"{version}/{kernel}/{arch}", "file": source_file(version, kernel), "kernel": kernel,
                   "signature": signature.format(16 if arch == "sm_75" else 64), "arch": arch, "options": {}}
