"""A wrong kernel or a wrong call: a case that passes when the device reports it as it should"""
import pathlib
import re

import numpy as np

from . import drive
from .case import FOLDER, Case, Exact, REGISTRY

FAULT = re.compile(r"(?P<kind>[\w-]+): (?P<what>.*?)\n\s*in kernel (?P<kernel>\S+) at (?P<file>\S+):(?P<line>\d+)(?P<from>.*?)"
                   r"\n\s*PTX line (?P<ptx>\d+): (?P<text>[^\n]*)\n\s*CTA \((?P<cta>[\d, ]+)\), thread \((?P<thread>[\d, ]+)\)",
                   re.S)
CALLED_FROM = re.compile(r", called from ([^\s,:]+):(\d+)")


# ---- where a buffer lies: each returns the address that the kernel is given ----
def freed(driver, array):
    address = driver.upload(array)
    driver.free(address)
    return address


def on_host(driver, array):
    return array.ctypes.data


def null(driver, array):
    return 0


def shifted(by):
    """A buffer that is long enough but begins `by` bytes off"""

    def place(driver, array):
        address = driver.allocate(array.nbytes + by)
        driver.fill(address, array.nbytes + by)
        return address + by

    return place


def shortened(count):
    """Room for `count` elements only"""
    return lambda driver, array: driver.upload(np.ascontiguousarray(array.reshape(-1)[:count]))


def half_unset(driver, array):
    """The first half is written, the rest never"""
    address = driver.allocate(array.nbytes)
    driver.fill(address, array.nbytes // 2)
    return address


def unset(driver, array):
    """Allocated, never written"""
    return driver.allocate(array.nbytes)


# ---- what is done to the PTX ----
def without(pattern, count=0):
    """Lines that match are taken out: the first `count`, or all"""

    def change(ptx):
        changed, number = re.subn(r"(?m)^[ \t]*(?:@!?%\w+ )?" + pattern + r"[^;\n]*;[^\n]*\n", "", ptx, count=count)
        if not number:
            raise ValueError("the PTX has no line like " + pattern)
        return changed

    return change


def replaced(pattern, text, count=1):

    def change(ptx):
        changed, number = re.subn(pattern, text, ptx, count=count)
        if not number:
            raise ValueError("the PTX has nothing like " + pattern)
        return changed

    return change


class Planted(Case):
    """kind: what the report begins with. line: the marked line of the kernel is named (False: not looked at).

    cta, thread: where, when only one place can be first. places: {parameter: one of the functions above}.
    code: the CUresult's name. says: what else the message must hold. checks: what the device must look at.
    """

    def __init__(self, name, kernel, signature, grid, inputs, kind, code="CUDA_ERROR_ILLEGAL_ADDRESS", line=True,
                 cta=None, thread=None, says="", places=None, change=None, block=None, shared=None, checks="default",
                 file="planted/kernels.py", **more):
        super().__init__(name, file, kernel, signature, grid, inputs, None, Exact(), **more)
        self.kind, self.code, self.line, self.cta, self.thread, self.says = kind, code, line, cta, thread, says
        self.places, self.change, self.block, self.shared = places or {}, change, block, shared
        self.asked = checks
        self.tells_callers = True

    @property
    def checks(self):
        return self.asked

    def place(self, driver, name, array):
        return self.places.get(name, drive.Driver.upload)(driver, array)

    def launch_shape(self, block, shared):
        return (self.block or block), (shared if self.shared is None else self.shared)

    def prepare_ptx(self, ptx):
        self.tells_callers = b"@[" in ptx  # Triton 3.3 and older do not say where what they inlined was called from
        return self.change(ptx.decode()).encode() if self.change else ptx

    def marked_lines(self):
        """The lines of this kernel, or of what it calls, that end in the mark: a loop has several"""
        lines = (FOLDER / self.file).read_text().splitlines()
        begin = next(i for i, line in enumerate(lines) if line.startswith("def %s(" % (self.line if isinstance(
            self.line, str) else self.kernel)))
        end = next((i for i in range(begin, len(lines)) if not lines[i]), len(lines))
        return {i + 1 for i in range(begin, end) if lines[i].endswith("# wrong")}

    def judge(self, error):
        """What is wrong with how the device took it; error: the DriverError, None when nothing was noticed"""
        if error is None:
            return ["nothing was noticed"]
        problems = [] if error.name == self.code else ["%s, not %s" % (error.name, self.code)]
        if self.kind is None:
            return problems + ([] if re.search(self.says, str(error)) else ["the message lacks %r: %s" % (self.says,
                                                                                                    error)])
        fault = FAULT.search(error.detail)
        if not fault:
            return problems + ["no report: %s" % error]
        expected = {"kind": self.kind, "kernel": self.kernel}
        for what, place in (("cta", self.cta), ("thread", self.thread)):
            if place is not None:
                expected[what] = ", ".join(map(str, tuple(place) + (0, ) * (3 - len(place))))
        problems += ["%s is %s, not %s" % (what, fault[what], value) for what, value in expected.items()
                     if not re.fullmatch(value if what == "kind" else re.escape(value), fault[what])]
        if self.line:
            named = {int(line) for file, line in [(fault["file"], fault["line"])] + CALLED_FROM.findall(fault["from"])
                     if pathlib.PurePath(file).name == pathlib.PurePath(self.file).name}
            elsewhere = pathlib.PurePath(fault["file"]).name != pathlib.PurePath(self.file).name
            if not named & self.marked_lines() and not (elsewhere and not self.tells_callers):
                problems.append("it names the lines %s, not %s" % (sorted(named), sorted(self.marked_lines())))
        if not re.search(self.says, error.detail, re.S):
            problems.append("the report lacks %r" % self.says)
        return problems + (["report: " + " | ".join(error.detail.split("\n"))] if problems else [])


def plant(*arguments, **named):
    REGISTRY.append(Planted(*arguments, **named))
