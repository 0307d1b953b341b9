"""What Triton itself makes of the cells: triton.compile, in one process, after one compile to warm up.

usage: reference.py FOLDER < CELLS, one JSON object a line: {"out", "file", "kernel", "signature", "arch", "options"}.
Writes each stage as FOLDER/out/stage.N and Triton's metadata as FOLDER/out/metadata.json, and prints "out" when a cell
is done, followed by the error if there was one. Knows nothing of the library.
"""
import importlib.util
import json
import os
import re
import sys
import tempfile

os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp(prefix="reference-")
os.environ["TRITON_ALWAYS_COMPILE"] = "1"
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

VERSION = tuple(map(int, triton.__version__.split(".")[:2]))
STAGES = {"ttir": 2, "ttgir": 3, "llir": 4, "ptx": 5, "cubin": 6}


def load(path, name):
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def source_of(kernel, items):
    """The AOT syntax: types with :16 or :1, descriptors, and integers."""
    constants = {name: int(item) for name, item in zip(kernel.arg_names, items) if re.match(r"\d+$", item)}
    hints = {at: int(item.split(":")[1]) for at, item in enumerate(items) if ":" in item}
    if VERSION < (3, 3):
        from triton.backends.compiler import AttrsDescriptor
        attributes = AttrsDescriptor.from_hints(hints)
        types = {name: item.split(":")[0] for name, item in zip(kernel.arg_names, items) if name not in constants}
        for at in [at for at, hint in hints.items() if hint == 1]:
            constants[kernel.arg_names[at]] = 1
        return ASTSource(fn=kernel, constants=constants, signature=types, attrs=attributes)
    for at in [at for at, hint in hints.items() if hint == 1]:
        constants[kernel.arg_names[at]] = 1
    types = {name: "constexpr" if name in constants else item.split(":")[0]
             for name, item in zip(kernel.arg_names, items)}
    attributes = {(at,): [["tt.divisibility", 16]] for at, hint in hints.items() if hint == 16}
    return ASTSource(fn=kernel, constexprs=constants, signature=types, attrs=attributes)


class Driver:
    def get_current_target(self):
        return GPUTarget("cuda", 80, 32)


def compile_cell(folder, cell):
    kernel = load(cell["file"], cell["kernel"])
    source = source_of(kernel, re.split(r",\s*(?![^<]*>)", cell["signature"]))
    target = GPUTarget("cuda", int(cell["arch"][3:]), 32)
    options = {"enable_fp_fusion": True, **cell["options"]}
    compiled = triton.compile(source, target=target, options=options)
    out = os.path.join(folder, cell["out"])
    os.makedirs(out, exist_ok=True)
    for name, stage in STAGES.items():
        data = compiled.asm[name]
        with open(os.path.join(out, f"stage.{stage}"), "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
    with open(os.path.join(out, "metadata.json"), "w") as file:
        json.dump(compiled.metadata._asdict(), file, default=vars)


def main():
    triton.runtime.driver.set_active(Driver())
    cells = [json.loads(line) for line in sys.stdin]
    warm = dict(cells[0], out="warm-up", arch="sm_80")
    compile_cell(sys.argv[1], warm)
    for cell in cells:
        print(cell["out"], end=" ", flush=True)
        try:
            compile_cell(sys.argv[1], cell)
            print(flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", flush=True)


main()
