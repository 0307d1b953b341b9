"""One Triton's stages, each from the text of the one before: what triton.compile does, without a GPU, a driver, torch
or a cache, and from llir and ptx as well."""
import hashlib
import inspect
import json
import os
import re
import signal
import subprocess
import tempfile
import time

import triton
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import ASTSource, make_backend

from worker_failure import TR_E_INVALID_ARGUMENT, TR_E_OUT_OF_MEMORY, TR_E_PARSE, Failure, explain_log
import worker_depends
import worker_kernel
import worker_locations

# What changed in which version of Triton, from then on.
CHANGES = (
    ((3, 2), {
        "constants": "constants",  # ASTSource's keyword for them
        "constants_in_signature": False,  # as "constexpr"
        "attributes": "descriptor",  # an AttrsDescriptor, or a dictionary of paths
        "tuples": False,
        "make_ir": ("options", "codegen", "modules", "context"),
        "codegen_takes_options": False,
        "language": False,  # add_stages is told which
        "tells_version": False,  # in the metadata
        "names_values": False,  # in their locations
    }),
    ((3, 3), {
        "constants": "constexprs",
        "constants_in_signature": True,
        "attributes": "paths",
        "tuples": True,
        "codegen_takes_options": True,
        "tells_version": True,
    }),
    ((3, 4), {"language": True}),
    ((3, 5), {"make_ir": ("target", "options", "codegen", "modules", "context"), "names_values": True}),
)
VERSION = tuple(int(part) for part in triton.__version__.split("+")[0].split(".")[:2])
FEATURES = {name: value for since, changed in CHANGES if since <= VERSION for name, value in changed.items()}

PYTHON, TTIR, TTGIR, LLIR, PTX, CUBIN = range(1, 7)  # tr_stage
NAMES = {TTIR: "ttir", TTGIR: "ttgir", LLIR: "llir", PTX: "ptx", CUBIN: "cubin"}

# Options that say what the machine or the installation is: never taken from another run's metadata.
OWN_OPTIONS = {"arch", "backend_name", "extern_libs", "ir_override", "supported_fp8_dtypes", "deprecated_fp8_dtypes",
               "deprecated_fp8_dot_operand_dtypes", "max_num_imprecise_acc_default", "allowed_dot_input_precisions"}
# Options that are facts of the code once it is llir: what was not told is not known.
BAKED_OPTIONS = {"num_warps", "num_ctas", "num_stages", "cluster_dims", "maxnreg"}

WARM_UP = """
import triton
import triton.language as tl
@triton.jit
def warm_up(x, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x + at, tl.sum(tl.load(x + at, mask=at < n)) + tl.exp(tl.load(x + at)))
"""


class ParseError(Exception):
    """MLIR has said why on standard error."""


class StubDriver:
    """Triton asks the active driver which GPU there is."""

    def __init__(self):
        self.target = GPUTarget("cuda", 80, 32)

    def get_current_target(self):
        return self.target

    def get_current_device(self):
        return 0

    def get_benchmarker(self):
        return None

    def __getattr__(self, name):
        raise RuntimeError(f"there is no GPU driver here: the file is only compiled (driver.{name})")


class Assembly:
    """Runs ptxas as Triton asks, and keeps what it says of registers and memory, which Triton throws away. Its files
    get names as long as in /tmp: for sm_100 the bytes depend on where its memory lies, and that on the length."""

    def __init__(self):
        self.said = ""
        self.run, subprocess.run = subprocess.run, self

    def __call__(self, command, **keywords):
        folder = tempfile.gettempdir() + "/"
        command = [".////" + part[len(folder):] if part.startswith(folder) else part for part in command]
        try:
            return self.run(command, cwd=folder, **keywords)
        finally:
            file = getattr(keywords.get("stderr"), "name", None)
            if isinstance(file, str) and os.path.exists(file):
                with open(file, errors="replace") as log:
                    self.said += log.read()


class Compiler:

    def __init__(self):
        if VERSION < CHANGES[0][0]:
            raise SystemExit(f"Triton {triton.__version__} is too old: 3.2 is the oldest that is supported")
        triton.runtime.driver.set_active(StubDriver())
        self.maker = f"triton {triton.__version__}"
        self.watch = None
        # The first compile of a process lays out shared pointers differently in some versions, and loads much.
        request = {"from": PYTHON, "to": CUBIN, "path": "/warm_up.py", "kernel": "warm_up", "arch": "sm_80",
                   "signature": "*fp32:16, i32, 128"}
        self.compile(request, WARM_UP.encode(), lambda *stage: None)
        self.loaded = worker_depends.foreign_modules()

    def answer(self, request, source, send_stage, read_log):
        """The last frame: the end, or why it failed."""
        self.reached = request["from"]
        if request["from"] == PYTHON:
            self.watch = worker_depends.Watch(self.loaded, request["path"])
            self.watch.start()
        try:
            return self.compile(request, source, send_stage)
        except Failure as failure:
            return failure.header(self.reached + 1)
        except MemoryError:
            return Failure(TR_E_OUT_OF_MEMORY, "out of memory").header(self.reached + 1)
        except ParseError:
            known = explain_log(read_log())
            message = known.message if known else "this is no IR that this Triton reads"
            return Failure(TR_E_PARSE, message).header(request["from"])
        except BaseException as error:
            return worker_kernel.explain(error, read_log(), request).header(self.reached + 1)

    def explain_death(self, status, log):
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            how = f"by signal {number} ({signal.strsignal(number)})"
        else:
            how = f"with exit status {os.WEXITSTATUS(status)}"
        known = explain_log(log)
        if known and known.certain:
            return known.header(0)
        return {"crashed": f"{how}: {known.message}" if known else how}

    def backend(self, request, text):
        arch = re.match(r"sm_(\d+)[af]?$", request["arch"] or "")
        if not arch:
            raise Failure(TR_E_INVALID_ARGUMENT, f"'{request['arch']}' is no architecture like sm_90")
        target = GPUTarget("cuda", int(arch[1]), 32)
        triton.runtime.driver.active.target = target
        backend = make_backend(target)
        defaults = backend.parse_options({})
        known = set(defaults.__dict__)
        told = {name: value for name, value in (request.get("metadata") or {}).items()
                if name in known - OWN_OPTIONS and value is not None}
        asked = request.get("options") or {}
        unknown = sorted(set(asked) - known)
        if unknown:
            raise Failure(TR_E_INVALID_ARGUMENT, f"Triton {triton.__version__} has no option {', '.join(unknown)}; "
                          f"it has {', '.join(sorted(known - OWN_OPTIONS))}")
        options = {"enable_fp_fusion": True, **told, **asked}
        if request["from"] == TTGIR:
            for option in ("num-warps", "num-ctas"):
                found = re.search(rf'"?(?:ttg|triton_gpu)\.{option}"?\s*=\s*(\d+)', text)
                if found:
                    options[option.replace("-", "_")] = int(found[1])
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        return target, backend, backend.parse_options(options)

    def compile(self, request, source, send_stage):
        first, last = request["from"], request["to"]
        text = decode(source)
        target, backend, options = self.backend(request, text)
        metadata = {**(request.get("metadata") or {}), "hash": hash_of(request, source), "target": target,
                    **options.__dict__}
        if FEATURES["tells_version"]:
            metadata["triton_version"] = triton.__version__
        begun = time.perf_counter()
        extra = {}
        if first == PYTHON:
            kernel = worker_kernel.load(text, request["path"], request["kernel"])
            signature = worker_kernel.Signature(kernel, request["signature"], FEATURES)
            extra["parameters"] = signature.parameters
            module = self.make_ir(kernel, signature, target, backend, options)
            if self.watch:
                extra["depends"] = self.watch.stop()
        elif first in (TTIR, TTGIR):
            module = self.parse(text, NAMES[first], backend, request.get("locations"))
        else:
            module = text
        if first == TTGIR and hasattr(module, "get_tensordesc_metadata"):
            metadata["tensordesc_meta"] = module.get_tensordesc_metadata()
        stages = self.stages(backend, options)
        assembly = Assembly()
        for stage in range(max(first + 1, TTIR), last + 1):
            module = stages[NAMES[stage]](module, metadata)
            now = time.perf_counter()
            data = module if isinstance(module, bytes) else str(module).encode()
            send_stage(stage, now - begun, data)
            if stage in (TTIR, TTGIR):
                self.keep_locations(NAMES[stage], module, data.decode(), extra)
            begun, self.reached = time.perf_counter(), stage
        subprocess.run = assembly.run
        extra["ptxas"] = assembly.said
        if first in (LLIR, PTX):
            for name in BAKED_OPTIONS - set(request.get("metadata") or {}) - set(request.get("options") or {}):
                metadata.pop(name, None)
        return {"done": True, "metadata": json.loads(json.dumps(metadata, default=vars)), "extra": extra,
                "maker": self.maker}

    def stages(self, backend, options):
        stages = {}
        if FEATURES["language"]:
            from triton.backends.compiler import Language
            backend.add_stages(stages, options, Language.TRITON)
        else:
            backend.add_stages(stages, options)
        return stages

    def context(self, backend):
        context = ir.context()
        ir.load_dialects(context)
        backend.load_dialects(context)
        return context

    def make_ir(self, kernel, signature, target, backend, options):
        source = ASTSource(fn=kernel, signature=signature.types, attrs=signature.attributes,
                           **{FEATURES["constants"]: signature.constants})
        codegen = backend.get_codegen_implementation(*((options,) if FEATURES["codegen_takes_options"] else ()))
        given = {"target": target, "options": options, "codegen": codegen, "modules": backend.get_module_map(),
                 "context": self.context(backend)}
        return source.make_ir(*(given[name] for name in FEATURES["make_ir"]))

    def keep_locations(self, stage, module, text, extra):
        """A text is complete without them, so a Triton that has other bindings only leaves them out."""
        try:
            told = worker_locations.missing(module, text, ir.builder(module.context), FEATURES["names_values"])
        except (AttributeError, TypeError):
            told = None
        if told:
            extra.setdefault("locations", {})[stage] = told

    def parse(self, text, suffix, backend, told):
        """With the locations that the text leaves out; what is wrong with it is said of the text as it is."""
        context = self.context(backend)
        restored, said = worker_locations.restore(text, FEATURES["names_values"], told), os.lseek(2, 0, os.SEEK_CUR)
        try:
            module = self.parse_named(restored, suffix, context)
        except ParseError:
            os.ftruncate(2, said)
            os.lseek(2, said, os.SEEK_SET)
            module = self.parse_named(text, suffix, context)
        module.context = context
        return module

    def parse_named(self, text, suffix, context):
        """The name ends up in the debug locations of what has none, so it tells of the content and of no folder."""
        name = f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.{suffix}"
        with open(name, "w") as file:
            file.write(text)
        try:
            return ir.parse_mlir_module(name, context)
        except RuntimeError as error:
            raise ParseError from error


def decode(source):
    try:
        return source.decode()
    except UnicodeDecodeError as error:
        raise Failure(TR_E_PARSE, f"not a text: byte {error.start} is no UTF-8") from None


def hash_of(request, source):
    told = json.dumps({name: request.get(name) for name in ("from", "kernel", "signature", "arch", "options")},
                      sort_keys=True)
    return hashlib.sha256(f"{triton.__version__} {told} ".encode() + source).hexdigest()
