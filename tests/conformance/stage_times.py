"""Triton's own stage times in one process, warm: for each line of standard input the seconds from the text of ttir to a
cubin, and the seconds of processor time, ptxas's with it.

usage: stage_times.py TTIR ARCH
"""
import inspect
import resource
import sys
import time

import triton
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import make_backend


class Driver:
    def get_current_target(self):
        return GPUTarget("cuda", int(sys.argv[2][3:]), 32)


def processor_time():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def compile_once():
    backend = make_backend(Driver().get_current_target())
    begun, used = time.perf_counter(), processor_time()
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    module = ir.parse_mlir_module(sys.argv[1], context)
    module.context = context
    options = backend.parse_options({"enable_fp_fusion": True})
    stages = {}
    if "language" in inspect.signature(backend.add_stages).parameters:
        from triton.backends.compiler import Language
        backend.add_stages(stages, options, Language.TRITON)
    else:
        backend.add_stages(stages, options)
    metadata = {"target": backend.target, **options.__dict__}
    for name in ("ttgir", "llir", "ptx", "cubin"):
        module = stages[name](module, metadata)
    return time.perf_counter() - begun, processor_time() - used


triton.runtime.driver.set_active(Driver())
compile_once()
for _ in sys.stdin:
    print(*compile_once(), flush=True)
