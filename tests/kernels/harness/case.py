"""What the harness knows of a test: a kernel of a file, what to compile it for, inputs, a reference, a tolerance"""
import ast
import functools
import importlib
import os
import pathlib
import re
import zlib

import numpy as np

from . import dtypes
from .stages import literal, split_top

FOLDER = pathlib.Path(__file__).resolve().parent.parent
REGISTRY = []
ANYTHING = object()  # a reference's answer for a buffer whose content depends on which program came first


class Random:
    """Numbers that are the same on every machine and with every numpy: a counter, mixed (splitmix64)"""

    def __init__(self, name):
        self.next = np.uint64(zlib.crc32(name.encode())) << np.uint64(32)

    def bits(self, shape):
        count = int(np.prod(shape))
        with np.errstate(over="ignore"):
            z = self.next + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            self.next = z[-1] if count else self.next
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))).reshape(shape)

    def uniform(self, *shape, low=-1.0, high=1.0):
        return low + (high - low) * ((self.bits(shape) >> np.uint64(40)) / 2.0**24)

    def normal(self, *shape):
        """Twelve uniforms summed: the moments of a normal distribution, bit-identical everywhere"""
        return self.uniform(*shape, 12, low=0.0, high=1.0).sum(axis=-1) - 6.0

    def integers(self, low, high, *shape):
        return low + (self.bits(shape) % np.uint64(high - low)).astype(np.int64)

    def permutation(self, count):
        return np.argsort(self.bits((count, )), kind="stable")


class Descriptor:
    """A host-made tensor descriptor over a row-major array"""

    def __init__(self, array, nan_fill=False):
        self.array, self.nan_fill = array, nan_fill


class Exact:
    """The result is right bit for bit: integers, copies, correctly rounded single operations"""
    rtol = atol = 0.0

    def __init__(self, why="each result is an integer, a copy or one correctly rounded operation"):
        self.why = why


class Close:
    """|result - reference| ≤ atol + rtol · |reference|"""

    def __init__(self, rtol, atol, why):
        self.rtol, self.atol, self.why = rtol, atol, why


class Parameter:
    """One entry of a signature beside its name"""

    def __init__(self, name, text):
        self.name, self.text = name, text
        self.descriptor = text.startswith("tensordesc")
        base = text if self.descriptor else text.split(":")[0]
        self.pointer = base.startswith("*")
        self.constant = literal(text, _AnyType())[0]
        self.folded = text.endswith(":1")
        self.type = base[1:] if self.pointer else base
        if self.descriptor:
            self.type = base[len("tensordesc<"):].partition("[")[0]


class _AnyType:
    """Stands for triton.language where only `is it a constant?` is asked"""

    def __getattr__(self, name):
        return name


@functools.lru_cache(None)
def parameter_names(file):
    """{kernel: its parameters' names}, read off the source without importing Triton"""
    tree = ast.parse((FOLDER / file).read_text())
    return {node.name: [argument.arg for argument in node.args.args]
            for node in tree.body if isinstance(node, ast.FunctionDef)}


class Case:
    """One kernel, compiled one way, run once.

    signature    in the syntax of Triton's ahead-of-time tool, as `triton-runner compile --signature` takes it
    inputs       Random → {parameter: array, number or Descriptor}, outputs' first content among them
    reference    {parameter: what the kernel is given, decoded to float64} → {parameter: what it shall hold after}
    versions     (first, last) Triton that can express it; archs that can; why others cannot
    invariant    what must hold of the buffers afterwards, where the reference leaves some open
    unchecked    checks of the CPU device that would rightly complain
    prints       {pattern: how many of the lines that the kernel prints match it}; other lines are wrong
    """

    def __init__(self, name, file, kernel, signature, grid, inputs, reference, tolerance, warps=4, stages=3,
                 versions=(None, None), archs=None, why="", invariant=None, prints=None, unchecked=(), **options):
        self.name, self.file, self.kernel, self.signature = name, file, kernel, signature
        self.grid = tuple(grid) + (1, ) * (3 - len(grid))
        self.inputs, self.reference, self.tolerance = inputs, reference, tolerance
        self.versions, self.archs, self.why = versions, archs, why
        self.invariant, self.prints, self.unchecked = invariant, prints, unchecked
        self.options = dict(options, num_warps=warps, num_stages=stages)

    @functools.cached_property
    def parameters(self):
        names, parts = parameter_names(self.file)[self.kernel], split_top(self.signature)
        if len(names) != len(parts):
            raise ValueError("%s: %d signature entries for %d parameters" % (self.name, len(parts), len(names)))
        return [Parameter(name, part) for name, part in zip(names, parts)]

    def unsupported(self, version, arch):
        """Why this Triton cannot express it for this arch, or None"""
        first, last = self.versions
        this = tuple(int(part) for part in version.split(".")[:2])
        number = lambda text: tuple(int(part) for part in text.split("."))
        if (first and this < number(first)) or (last and this > number(last)) or (
                self.archs and arch not in self.archs):
            return self.why
        return None

    def wrong_prints(self, printed):
        """What is wrong with the lines that were printed, []: nothing"""
        lines = printed.splitlines()
        problems = []
        for pattern, count in (self.prints or {}).items():
            matching = [line for line in lines if re.search(pattern, line)]
            lines = [line for line in lines if line not in matching]
            if len(matching) != count:
                problems.append("%d lines printed like %r, not %d" % (len(matching), pattern, count))
        return problems + ["printed: %r" % line for line in lines[:3]]

    @property
    def checks(self):
        """What the CPU device shall look at; None: what it does anyway"""
        if not self.unchecked:
            return None
        return ",".join([os.environ.get("TRITON_RUNNER_CPU_CHECKS") or "default"] + ["-" + name for name in self.unchecked])

    def place(self, driver, name, array):
        """The address at which the kernel finds a buffer"""
        return driver.upload(array)

    def launch_shape(self, block, shared):
        return block, shared

    def prepare_ptx(self, ptx):
        return ptx

    def arguments(self):
        """{parameter: storage array, number or Descriptor}: as the kernel is given them"""
        given = self.inputs(Random(self.name))
        return {parameter.name: prepare(parameter, given[parameter.name])
                for parameter in self.parameters if not parameter.constant}

    def expected(self, arguments):
        """The reference's results for these arguments, {parameter: array}"""
        return self.reference({parameter.name: reveal(parameter, arguments[parameter.name])
                               for parameter in self.parameters if not parameter.constant})


def prepare(parameter, value):
    if parameter.pointer:
        return dtypes.encode(value, parameter.type)
    if parameter.descriptor:
        return Descriptor(dtypes.encode(value.array, parameter.type), value.nan_fill)
    return value


def reveal(parameter, value):
    if parameter.pointer:
        return dtypes.decode(value, parameter.type)
    if parameter.descriptor:
        return dtypes.decode(value.array, parameter.type)
    return value


def add(*arguments, **named):
    """Registers a case"""
    case = Case(*arguments, **named)
    if any(other.name == case.name for other in REGISTRY):
        raise ValueError("two cases are named " + case.name)
    REGISTRY.append(case)


def load_all(package="cases"):
    """Every case of tests/kernels/<package>/*.py"""
    for path in sorted((FOLDER / package).glob("*.py")):
        if path.stem != "__init__":
            importlib.import_module("%s.%s" % (package.replace("/", "."), path.stem))
    return REGISTRY
