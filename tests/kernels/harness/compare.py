"""Is a result right? Against the reference, and against results kept from real hardware."""
import hashlib
import json
import pathlib
import re

import numpy as np

from . import dtypes
from .case import ANYTHING

# What the PTX ISA leaves to the hardware: results may differ from one device to another in the last bits.
APPROXIMATE = (
    ("approximate functions", re.compile(r"^\s[^/\n]*\b\w+\.(?:approx|full)\b", re.M)),
    ("mma accumulation", re.compile(r"\b(?:wg)?mma\S*\.(?:f16|bf16|tf32|e4m3|e5m2|f64)\b")),
    ("order of floating-point atomics", re.compile(r"\b(?:atom|red)\S*\.add\S*\.(?:f16|f16x2|bf16|bf16x2|f32|f64)\b")),
)


def approximations(ptx):
    return [what for what, pattern in APPROXIMATE if pattern.search(ptx)]


def distance(actual, expected, type_):
    """(largest difference in units in the last place of the expected value, and as a share of the largest of them)"""
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    same = (actual == expected) | (np.isnan(difference) & (np.isnan(actual) == np.isnan(expected)))
    difference[same] = 0.0
    size = np.abs(np.where(np.isfinite(expected), expected, 0.0)).astype(np.float64)
    bits = dtypes.MANTISSA_BITS.get(type_, 0)
    unit = np.where(size > 0, 2.0**(np.floor(np.log2(np.maximum(size, 1e-300))) - bits), np.inf)
    return float(np.max(difference / unit, initial=0.0)), float(np.max(difference, initial=0.0) / (np.max(size, initial=0.0) or 1.0))


def mismatch(actual, expected, rtol, atol):
    """(text or None, largest error as a share of what is allowed)"""
    if actual.shape != expected.shape:
        return "the reference has shape %s, the result %s" % (expected.shape, actual.shape), np.inf
    if actual.size == 0:
        return None, 0.0
    if actual.dtype.kind in "iu" or rtol == atol == 0:
        wrong = ~((actual == expected) | ((actual != actual) & (expected != expected)))
        worst = 0.0
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(actual - expected)
            allowed = atol + rtol * np.abs(expected)
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        wrong = ~same & ~(error <= allowed)
        share = np.where(same, 0.0, np.divide(error, allowed, out=np.full_like(error, np.inf), where=allowed > 0))
        worst = float(np.max(share))
    count = int(np.count_nonzero(wrong))
    if not count:
        return None, worst
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return "%d of %d wrong, first at %s: %r, not %r" % (count, wrong.size, list(at), actual[at].item(),
                                                        expected[at].item()), worst


def against_reference(case, results, arguments):
    """([problems], largest error as a share of the tolerance, what the reference names and repeats from run to run).

    A buffer that the reference does not name must be unchanged."""
    expected = case.expected(arguments)
    problems, worst = [], 0.0
    if case.invariant and not case.invariant(results):
        problems.append("the invariant does not hold")
    for parameter in case.parameters:
        if parameter.name not in results:
            continue
        stored = results[parameter.name]
        if expected.get(parameter.name) is ANYTHING:
            continue
        if parameter.name in expected:
            wanted = np.asarray(expected[parameter.name])
            if case.tolerance.rtol == case.tolerance.atol == 0:
                wanted = dtypes.quantize(wanted, parameter.type)
            text, share = mismatch(dtypes.decode(stored, parameter.type), wanted, case.tolerance.rtol, case.tolerance.atol)
            worst = max(worst, share)
        else:
            before = arguments[parameter.name]
            before = getattr(before, "array", before)
            text = None if before.tobytes() == stored.tobytes() else "changed, though the kernel only reads it"
        if text:
            problems.append("%s: %s" % (parameter.name, text))
    unknown = set(expected) - set(results)
    repeating = {name: results[name] for name in expected if name in results and expected[name] is not ANYTHING}
    return problems + ["the reference names %s, which is no buffer" % name for name in unknown], worst, repeating


class Goldens:
    """<folder>/<arch>.json: of each case a line with what real hardware made of it, for each Triton

    {"of": {version: [hash of its PTX, which of the results]}, "results": [{parameter: a hash, and some elements}]}

    The hash decides for kernels whose PTX leaves nothing to the hardware. The elements bound the difference of the
    others. A golden belongs to one PTX text; what several Tritons' PTX make is often the same."""

    def __init__(self, folder, writing, sample):
        self.folder, self.writing, self.sample, self.files = pathlib.Path(folder), writing, sample, {}

    def of(self, arch):
        if arch not in self.files:
            path = self.folder / (arch + ".json")
            self.files[arch] = json.loads(path.read_text()) if path.exists() else {}
        return self.files[arch]

    @staticmethod
    def digest(data):
        return hashlib.sha256(data).hexdigest()[:16]

    @classmethod
    def program(cls, ptx):
        """Of the instructions alone: a line added to the source above the kernel changes nothing"""
        text = ptx.decode().split("\t.section\t.debug")[0]
        return cls.digest(re.sub(r"//[^\n]*|(?m:^\s*\.(?:loc|file)\b[^\n]*)|\s", "", text).encode())

    def write(self, case, version, arch, ptx, results):
        record = {}
        for name, stored in results.items():
            step = max(1, stored.size // self.sample)
            record[name] = {"hash": self.digest(stored.tobytes()), "step": step}
            if approximations(ptx.decode()):
                record[name]["sample"] = stored.reshape(-1)[::step].tobytes().hex()
        golden = self.of(arch).setdefault(case.name, {"of": {}, "results": []})
        if record not in golden["results"]:
            golden["results"].append(record)
        golden["of"][version] = [self.program(ptx), golden["results"].index(record)]

    def compare(self, case, version, arch, ptx, results):
        """([problems], {"identical": bool, "difference": largest relative to the tolerance, "because": […],
        "ulps": {type: largest}, "relative": {type: largest, to the largest element}})"""
        golden = self.of(arch).get(case.name, {"of": {}})
        if version not in golden["of"]:
            return [], {}
        program, which = golden["of"][version]
        record = golden["results"][which]
        if program != self.program(ptx):
            return ["the golden belongs to another PTX: write it again"], {}
        reasons, problems, worst, identical = approximations(ptx.decode()), [], 0.0, True
        ulps, relative = {}, {}
        for parameter in case.parameters:
            if parameter.name not in results:
                continue
            stored, kept = results[parameter.name], record[parameter.name]
            if self.digest(stored.tobytes()) == kept["hash"]:
                continue
            identical = False
            if not reasons or "sample" not in kept:
                problems.append("%s: not bit-identical to hardware" % parameter.name)
                continue
            sample = np.frombuffer(bytes.fromhex(kept["sample"]), stored.dtype)
            ours, theirs = (dtypes.decode(each, parameter.type) for each in (stored.reshape(-1)[::kept["step"]], sample))
            text, share = mismatch(ours, theirs, 2 * case.tolerance.rtol, 2 * case.tolerance.atol)
            worst = max(worst, share)
            for told, most in zip((ulps, relative), distance(ours, theirs, parameter.type)):
                told[parameter.type] = max(told.get(parameter.type, 0.0), most)
            if text:
                problems.append("%s: against hardware: %s" % (parameter.name, text))
        return problems, {"identical": identical, "difference": worst, "because": reasons, "ulps": ulps,
                          "relative": relative}

    def save(self):
        if not self.writing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for arch, cases in self.files.items():
            lines = ",\n".join('"%s": %s' % (name, json.dumps(self.tidied(cases[name]))) for name in sorted(cases))
            (self.folder / (arch + ".json")).write_text("{\n%s\n}\n" % lines)

    @staticmethod
    def tidied(golden):
        """Versions in order, without the results that no version has any more"""
        of = sorted(golden["of"].items())
        used = list(dict.fromkeys(which for _, (_, which) in of))
        return {"of": {version: [program, used.index(which)] for version, (program, which) in of},
                "results": [golden["results"][which] for which in used]}
