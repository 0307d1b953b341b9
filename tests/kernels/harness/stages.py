"""Runs inside an interpreter that has Triton: takes a kernel through every stage, without a GPU and without torch.

A program of its own, driven by compile.py: one JSON request per line on stdin, one JSON reply per line on stdout.
It drives the backend's stage table itself, because triton.compile() asks for a driver and writes its own cache.
No folder of this machine reaches the bytes: sources are loaded under their bare name, Triton's own under "triton/…".
"""
import inspect
import io
import json
import os
import sys


def split_top(text):
    """'i32, (i32, *fp16), tensordesc<fp16[8, 8]>' → its parts, commas inside brackets and quotes left alone"""
    parts, depth, start, quote = [], 0, 0, None
    for i, c in enumerate(text):
        if quote:
            quote = None if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c in "([<{":
            depth += 1
        elif c in ")]>}":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def literal(text, tl):
    """(True, value) when the text is a constant, else (False, None)"""
    if text in ("None", "True", "False"):
        return True, {"None": None, "True": True, "False": False}[text]
    if text[0] in "\"'":
        return True, text[1:-1]
    if text.startswith("tl."):
        return True, getattr(tl, text[3:])
    for kind in (int, float):
        try:
            return True, kind(text)
        except ValueError:
            pass
    return False, None


class StubDriver:
    """What parts of Triton ask a driver while compiling: which target."""

    def __init__(self, target):
        self.target = target

    def get_current_target(self):
        return self.target

    def get_current_device(self):
        return 0


def make_source(triton, kernel, text):
    """The ASTSource of a kernel for a signature in the syntax of Triton's ahead-of-time tool"""
    tl = triton.language
    signature, constants, divisible, ones = {}, {}, [], []

    def one(path, part):
        if part[0] == "(":
            return tuple(one(path + (i, ), item) for i, item in enumerate(split_top(part[1:-1])))
        is_literal, value = literal(part, tl)
        if is_literal:
            constants[path] = value
            return "constexpr"
        bracket = part.rfind(">")
        type_, _, hint = part.partition(":") if bracket < 0 else (part, "", "")
        if hint == "16":
            divisible.append(path)
        elif hint == "1":
            constants[path] = 1
            ones.append(path)
            return "constexpr"
        elif hint:
            raise ValueError("a hint is :1 or :16, not :" + hint)
        return type_

    parts = split_top(text)
    if len(parts) != len(kernel.arg_names):
        raise ValueError("%d signature entries for %d parameters" % (len(parts), len(kernel.arg_names)))
    for i, part in enumerate(parts):
        signature[kernel.arg_names[i]] = one((i, ), part)

    source = triton.compiler.ASTSource
    if "constexprs" in inspect.signature(source.__init__).parameters:
        return source(fn=kernel, signature=signature, constexprs=constants,
                      attrs={path: [["tt.divisibility", 16]] for path in divisible})
    from triton.backends.compiler import AttrsDescriptor
    hints = {path[0]: 16 for path in divisible}
    hints.update({path[0]: 1 for path in ones})
    return source(fn=kernel, signature={k: v for k, v in signature.items() if v != "constexpr"},
                  constants={kernel.arg_names[path[0]]: value for path, value in constants.items()},
                  attrs=AttrsDescriptor.from_hints(hints))


def call_with(function, **available):
    """Calls a function of Triton with those of the arguments that this version's takes"""
    wanted = inspect.signature(function).parameters
    return function(**{name: value for name, value in available.items() if name in wanted})


def name_library_portably(triton):
    """Gives Triton's own kernels (tl.sum, …) a file name that begins at the package, not at this machine's root"""
    root = os.path.dirname(os.path.dirname(triton.__file__)) + os.sep
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("triton.language"):
            for item in list(vars(module).values()):
                function = getattr(item, "fn", None)
                if isinstance(item, triton.runtime.JITFunction) and inspect.isfunction(function):
                    code = function.__code__
                    name = code.co_filename[len(root):] if code.co_filename.startswith(root) else code.co_filename
                    function.__code__ = code.replace(co_filename=name)
                    if hasattr(item, "file_name"):
                        item.file_name = name


def load_kernels(path):
    scope = {"__name__": os.path.splitext(path)[0], "__file__": path}
    with open(path) as file:
        exec(compile(file.read(), path, "exec"), scope)
    return scope


def compile_stages(request, until="ptx"):
    """All stages of one kernel as {stage: text or bytes}, and Triton's metadata"""
    import triton
    from triton._C.libtriton import ir
    from triton.backends.compiler import GPUTarget
    from triton.compiler.compiler import make_backend
    target = GPUTarget("cuda", request["arch"], 32)
    triton.runtime.driver.set_active(StubDriver(target))
    os.chdir(request["folder"])
    source = make_source(triton, load_kernels(request["file"])[request["kernel"]], request["signature"])
    backend = make_backend(target)
    given = dict({"enable_fp_fusion": True}, **request.get("options", {}))
    options = backend.parse_options(dict(given, **source.parse_options()))
    stages = {}
    call_with(backend.add_stages, stages=stages, options=options, language=getattr(source, "language", None))
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    codegen = call_with(backend.get_codegen_implementation, options=options)
    module = call_with(source.make_ir, target=target, options=options, codegen_fns=codegen,
                       module_map=backend.get_module_map(), context=context)
    metadata = {"target": target, **options.__dict__, "triton_version": triton.__version__}
    texts = {}
    os.chdir("/")  # ptxas writes its working directory, and the time of a source it finds there, into the cubin.
    for name, lower in stages.items():
        module = lower(module, metadata)
        texts[name] = module if isinstance(module, (str, bytes)) else str(module)
        if name == until:
            break
    return texts, json.loads(json.dumps(metadata, default=vars))


def serve():
    """Answers until stdin ends. What Triton prints while it works goes to the reply, not to the replies' stream."""
    replies = os.fdopen(os.dup(1), "w")
    log = os.memfd_create("log")
    os.dup2(log, 1)
    os.dup2(log, 2)
    warm = False
    for line in sys.stdin:
        request = json.loads(line)
        os.ftruncate(log, 0)
        os.lseek(log, 0, os.SEEK_SET)
        try:
            if not warm:  # The first compile of a process may lay out shared memory another way (3.2, 3.3).
                warm = True
                import triton
                name_library_portably(triton)
                compile_stages(request)
            texts, metadata = compile_stages(request, request.get("until", "ptx"))
            for stage in request["keep"]:
                data = texts[stage]
                path = os.path.join(request["out"], request["name"] + "." + stage)
                with open(path, "wb") as file:
                    file.write(data if isinstance(data, bytes) else data.encode())
            reply = {"metadata": metadata}
        except (Exception, SystemExit) as error:
            reply = {"error": "%s: %s" % (type(error).__name__, error)}
        sys.stdout.flush()
        sys.stderr.flush()
        with io.open(log, "rb", closefd=False) as file:
            file.seek(0)
            reply["log"] = file.read(20000).decode(errors="replace")
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    serve()
