#!/usr/bin/env python3
"""Makes examples/kernels/stages: every stage of the example kernels, by Triton 3.4.0, for sm_89 and sm_90.

    TRITON_RUNNER_PYTHON=interpreter=site-folder scripts/regenerate-stages.py [--check] [--out FOLDER]

Needs an interpreter that imports Triton 3.4.0; no GPU, no torch. The bytes do not depend on the machine or the folder:
sources are compiled under their bare name, and what Triton's metadata says of this machine's folders or of the build
of its wheel is replaced. --check compares with what is there and changes nothing.
"""
import argparse
import filecmp
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "kernels"))
from harness import compile as compiler  # noqa: E402

VERSION = "3.4.0"
ARCHS = ("sm_89", "sm_90")
STAGES = ("ttir", "ttgir", "llir", "ptx", "cubin")
SMALL = ("ttir", "ptx")
KERNELS = {  # kernel (and file): signature, options, the stages that are kept when not all
    "vector_add": ("*fp32:16, *fp32:16, *fp32:16, i32, 1024", {"num_warps": 4}),
    "softmax": ("*fp32:16, *fp32:16, i32, i32, i32, 1024", {"num_warps": 4}),
    "layer_norm": ("*fp16:16, *fp32:16, *fp32:16, *fp16:16, *fp32:16, *fp32:16, i32, i32, fp32, 512",
                   {"num_warps": 4}),
    "matmul": ("*fp16:16, *fp16:16, *fp16:16, i32, i32, i32, i32:16, i32:16, i32:16, 64, 64, 32, 8",
               {"num_warps": 4, "num_stages": 3}),
    "matmul_tma": ("*fp16:16, *fp16:16, *fp16:16, i32, i32:16, i32:16, 64, 64, 64", {"num_warps": 4, "num_stages": 3}),
    # What transformer_step needs beside those.
    "attention": ("*fp16:16, *fp16:16, *fp16:16, *fp16:16, fp32, i32, i32:16, 32, 64", {"num_warps": 4}, SMALL),
    "gate": ("*fp16:16, *fp16:16, *fp16:16, i32, 1024", {"num_warps": 4}, SMALL),
    "residual": ("*fp16:16, *fp16:16, *fp16:16, i32, 1024", {"num_warps": 4}, SMALL),
}


def portable(metadata, name, arch, signature, options):
    """Triton's metadata without this machine's folders, and with a hash of what was asked for"""
    metadata["extern_libs"] = [[lib, "triton/" + path.rsplit("/triton/", 1)[1]]
                               for lib, path in metadata["extern_libs"]]
    source = (ROOT / "examples" / "kernels" / (name + ".py")).read_bytes()
    asked = json.dumps([VERSION, arch, name, signature, options]).encode()
    return {"hash": hashlib.sha256(asked + source).hexdigest(), **metadata}


def regenerate(installation, out):
    worker = compiler.Worker(installation, ROOT / "examples" / "kernels")
    for arch in ARCHS:
        folder = out / arch
        folder.mkdir(parents=True, exist_ok=True)
        for name, (signature, options, *kept) in KERNELS.items():
            reply = worker.compile(file=name + ".py", kernel=name, signature=signature, arch=int(arch[3:]),
                                   options=options, until="cubin", keep=kept[0] if kept else STAGES, out=str(folder),
                                   name=name)
            if "error" in reply:
                sys.exit("%s for %s: %s\n%s" % (name, arch, reply["error"], reply["log"]))
            text = json.dumps(portable(reply["metadata"], name, arch, signature, options))
            (folder / (name + ".json")).write_text(text)
            print("%-12s %s" % (name, arch))
    worker.close()


def differences(a, b):
    compare = filecmp.dircmp(a, b)
    names = compare.left_only + compare.right_only + [
        name for name in compare.common_files if not filecmp.cmp(a / name, b / name, shallow=False)]
    return [str(b / name) for name in names] + [
        path for folder in compare.common_dirs for path in differences(a / folder, b / folder)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "examples" / "kernels" / "stages")
    parser.add_argument("--check", action="store_true", help="compare only; exit status 1 when something differs")
    arguments = parser.parse_args()
    installation = compiler.find_installation(VERSION)
    if installation is None:
        print("no Triton %s: name an interpreter that has it in TRITON_RUNNER_PYTHON" % VERSION)
        sys.exit(77)
    with tempfile.TemporaryDirectory() as made:
        made = pathlib.Path(made)
        regenerate(installation, made)
        if arguments.check:
            different = differences(made, arguments.out)
            print("\n".join(different) if different else "identical")
            sys.exit(1 if different else 0)
        shutil.rmtree(arguments.out, ignore_errors=True)
        shutil.copytree(made, arguments.out)
        size = sum(os.path.getsize(path) for path in arguments.out.rglob("*") if path.is_file())
        print("%s: %d files, %d KiB" % (arguments.out, sum(1 for _ in arguments.out.rglob("*.*")), size // 1024))


if __name__ == "__main__":
    main()
