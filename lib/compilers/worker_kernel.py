"""A kernel out of a user's Python file, and what its signature says of its parameters."""
import ast
import importlib.abc
import importlib.machinery
import linecache
import os
import re
import sys
import types

import triton
import triton.language as tl
from triton.compiler.errors import CompilationError
from triton.runtime.jit import JITFunction

from worker_failure import (TR_E_COMPILE, TR_E_INVALID_ARGUMENT, TR_E_PARSE, TR_E_SIGNATURE, TR_E_UNSUPPORTED,
                            Failure, explain_log)


class StandIn(types.ModuleType):
    """For a module that is not installed. Naming things in it is harmless (annotations, base classes, defaults);
    whatever does something with them is told which module is missing."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}")

    def __mro_entries__(self, bases):
        return ()

    def __hash__(self):
        return hash(self.__name__)

    def __eq__(self, other):
        return isinstance(other, StandIn) and self.__name__ == other.__name__

    def missing(self, *args, **keywords):
        module = self.__name__.split(".")[0]
        raise ModuleNotFoundError(f"{self.__name__} is used, but the module {module} is not installed beside Triton",
                                  name=module)

    __call__ = __bool__ = __iter__ = __len__ = __getitem__ = __setitem__ = __contains__ = __int__ = __float__ = missing
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __enter__ = missing
    __lt__ = __le__ = __gt__ = __ge__ = __index__ = __neg__ = __matmul__ = __or__ = __and__ = missing


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Last in sys.meta_path: stands in for what a file of the user's imports at its top level and isn't there. A try
    around the import, or an import inside a function, fails as it would without us."""

    def __init__(self, folder):
        self.folder, self.top_imports = folder, {}

    def find_spec(self, name, path=None, target=None):
        parent = sys.modules.get(name.rpartition(".")[0])
        if isinstance(parent, StandIn) or self.is_top_import(sys._getframe(1)):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def is_top_import(self, frame):
        while frame and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        if not frame or frame.f_code.co_name != "<module>":
            return False
        file = frame.f_code.co_filename
        if os.path.dirname(file) != self.folder:
            return False
        if file not in self.top_imports:
            self.top_imports[file] = set(top_import_lines(ast.parse("".join(linecache.getlines(file))).body))
        return frame.f_lineno in self.top_imports[file]

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module):
        pass


def top_import_lines(statements):
    for statement in statements:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from range(statement.lineno, statement.end_lineno + 1)
        elif isinstance(statement, (ast.If, ast.With)):
            yield from top_import_lines(statement.body + getattr(statement, "orelse", []))


def load(text, path, name):
    """The kernel's JITFunction. The text counts, not what the file at `path` holds by now."""
    if not name:
        raise Failure(TR_E_INVALID_ARGUMENT, "a Python file needs the name of a kernel")
    linecache.cache[path] = (len(text), None, text.splitlines(True), path)
    folder = os.path.dirname(path)
    sys.path.insert(0, folder)
    sys.meta_path.append(StandInFinder(folder))
    module = types.ModuleType(os.path.splitext(os.path.basename(path))[0])
    module.__file__ = path
    sys.modules.setdefault(module.__name__, module)
    exec(compile(text, path, "exec"), module.__dict__)
    kernel = getattr(module, name, None)
    while kernel is not None and not isinstance(kernel, JITFunction) and hasattr(kernel, "fn"):
        kernel = kernel.fn  # under autotune and heuristics
    if isinstance(kernel, JITFunction):
        return kernel
    kernels = [found for found, value in vars(module).items() if isinstance(value, JITFunction) or hasattr(value, "fn")]
    raise Failure(TR_E_INVALID_ARGUMENT, f"no kernel '{name}' in {path}; it has {', '.join(kernels) or 'none'}")


ALIASES = {"f16": "fp16", "f32": "fp32", "f64": "fp64"}
SCALAR = r"(?:i1|i8|i16|i32|i64|u1|u8|u16|u32|u64|fp16|bf16|fp32|fp64|f16|f32|f64|fp8\w+)"
TYPE = re.compile(rf"(\*k?)?({SCALAR})$|(\*)$|(tensordesc(?:_im2col)?)<({SCALAR})(\[[\d, ]+\].*)>$")


def split(text):
    """At the commas that are in no bracket and in no string."""
    items, start, depth, quote = [], 0, 0, None
    for at, letter in enumerate(text):
        if quote:
            quote = None if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([<":
            depth += 1
        elif letter in ")]>":
            depth -= 1
        elif letter == "," and not depth:
            items.append(text[start:at])
            start = at + 1
    items.append(text[start:])
    if len(items) > 1 and not items[-1].strip():
        items.pop()
    return [item.strip() for item in items]


def read_type(text):
    found = TYPE.match(text)
    if not found:
        raise Failure(TR_E_PARSE, f"signature: '{text}' is neither a type nor a literal")
    star, scalar, void, descriptor, element, rest = found.groups()
    if void:
        return "*i8"
    if descriptor:
        return f"{descriptor}<{ALIASES.get(element, element)}{rest}>"
    return (star or "") + ALIASES.get(scalar, scalar)


def read_literal(text):
    """A one-element list with the value; empty when it is no literal."""
    dtype = re.match(r"(?:tl|triton\.language)\.(\w+)$", text)
    if dtype:
        value = getattr(tl, dtype[1], None)
        if not isinstance(value, tl.dtype):
            raise Failure(TR_E_PARSE, f"signature: '{text}' is no type of triton.language")
        return [value]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [value] if value is None or isinstance(value, (bool, int, float, str)) else []


class Signature:
    """types, constants, attributes: as ASTSource of this version wants them; parameters: what the caller passes."""

    def __init__(self, kernel, text, features):
        self.features = features
        items = split(text or "")
        names = kernel.arg_names
        if len(items) != len(names) and (names or items != [""]):
            raise Failure(TR_E_SIGNATURE, f"kernel {kernel.__name__} has {len(names)} parameters "
                          f"({', '.join(names)}), the signature {len(items)}; it says something of each, constants too")
        self.types, self.constants, hints, self.parameters = {}, {}, {}, []
        for index, (name, item) in enumerate(zip(names, items)):
            type_name = self.read(item, (index,), name, hints)
            if type_name == "constexpr" and not features["constants_in_signature"]:
                continue
            if type_name != "constexpr" and kernel.params[index].is_constexpr:
                raise Failure(TR_E_SIGNATURE, f"parameter {name} is a tl.constexpr: the signature must give its value,"
                              f" not '{item}'")
            self.types[name] = type_name
        if features["attributes"] == "paths":
            self.attributes = {path: [["tt.divisibility", hint]] for path, hint in hints.items() if hint != 1}
        else:
            from triton.backends.compiler import AttrsDescriptor
            if set(hints.values()) - {1, 16}:
                raise Failure(TR_E_UNSUPPORTED, f"Triton {triton.__version__} knows the hints :1 and :16 only")
            self.constants = {names[path[0]]: value for path, value in self.constants.items()}
            self.attributes = AttrsDescriptor.from_hints({path[0]: hint for path, hint in hints.items()})

    def read(self, item, path, name, hints):
        """What the signature of ASTSource says at `path`: a type, "constexpr", or a tuple of such."""
        if item.startswith("(") and item.endswith(")"):
            if not self.features["tuples"]:
                raise Failure(TR_E_UNSUPPORTED, f"Triton {triton.__version__} has no tuple parameters ({name})")
            return tuple(self.read(inner, (*path, index), f"{name}.{index}", hints)
                         for index, inner in enumerate(split(item[1:-1])) if inner)
        literal = read_literal(item)
        if literal:
            self.constants[path] = literal[0]
            return "constexpr"
        text, _, hint = item.partition(":") if not item.startswith("tensordesc") else (item, "", "")
        type_name = read_type(text.strip())
        parameter = {"name": name, "type": type_name}
        self.parameters.append(parameter)
        if hint:
            hints[path] = self.read_hint(item, hint.strip())
        if hints.get(path) == 1:
            parameter["constant"] = 1
            self.constants[path] = True if type_name in ("i1", "u1") else 1
            return "constexpr" if self.features["constants_in_signature"] else type_name
        if path in hints:
            parameter["divisibility"] = hints[path]
        return type_name

    def read_hint(self, item, hint):
        value = int(hint) if hint.isdigit() else 0
        if not value or value & value - 1:
            raise Failure(TR_E_PARSE, f"signature: '{item}': the number behind ':' is a power of two")
        return value


def explain(error, log, request):
    """An exception, as a Failure with a place where there is one."""
    path = request.get("path") or ""
    while isinstance(error, CompilationError):
        node, cause = error.node, error.__cause__
        if isinstance(cause, CompilationError):
            error = cause  # the innermost call is where it went wrong
            continue
        text = error.error_message or (str(cause) if cause else str(error))
        return Failure(TR_E_COMPILE, f"{place(error, node, path)}{one_line(text)}")
    if isinstance(error, SyntaxError):
        return Failure(TR_E_PARSE, f"{error.filename}:{error.lineno}:{error.offset}: {error.msg}")
    known = explain_log(log) or explain_log(str(error))
    if known:
        return known
    status = TR_E_COMPILE
    traceback, at = error.__traceback__, ""
    while traceback:  # the last place in the user's own file
        if traceback.tb_frame.f_code.co_filename == path:
            at = f"{path}:{traceback.tb_lineno}: "
        traceback = traceback.tb_next
    return Failure(status, f"{at}{type(error).__name__}: {one_line(str(error))}")


def place(error, node, path):
    """Lines of a CompilationError count from the `def` of the function whose text it holds."""
    if not hasattr(node, "lineno"):
        return f"{path}: "
    first = (error.src or "").split("\n")[0]
    lines = linecache.getlines(path)
    starts = [number for number, line in enumerate(lines) if first.strip() and line.strip() == first.strip()]
    if not starts:
        return f"{path}: line {node.lineno} of the function: "
    return f"{path}:{starts[0] + node.lineno}:{node.col_offset + 1}: "


def one_line(text):
    return " ".join(text.split())[:2000]
