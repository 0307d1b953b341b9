"""The llirs that the comparison is made of: every Triton at hand × the example kernels × architectures, compiled by
Triton itself as far as its own PTX, and kept in a folder from one run to the next."""
import functools
import hashlib
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "kernels"))
from harness import compile as compiler  # noqa: E402

ARCHS = (75, 80, 86, 89, 90, 100, 120)
KERNELS = {  # kernel (and file): signature, the same for sm_75 (where a dot is scalar arithmetic), options
    "vector_add": ("*fp32:16, *fp32:16, *fp32:16, i32, 1024", None, {"num_warps": 4}),
    "softmax": ("*fp32:16, *fp32:16, i32, i32, i32, 1024", None, {"num_warps": 4}),
    "layer_norm": ("*fp16:16, *fp32:16, *fp32:16, *fp16:16, *fp32:16, *fp32:16, i32, i32, fp32, 512", None,
                   {"num_warps": 4}),
    "matmul": ("*fp16:16, *fp16:16, *fp16:16, i32, i32, i32, i32:16, i32:16, i32:16, 128, 64, 32, 8",
               "*fp16:16, *fp16:16, *fp16:16, i32, i32, i32, i32:16, i32:16, i32:16, 32, 32, 16, 8",
               {"num_warps": 4, "num_stages": 3}),
    "matmul_tma": ("*fp16:16, *fp16:16, *fp16:16, i32, i32:16, i32:16, 128, 64, 64",
                   "*fp16:16, *fp16:16, *fp16:16, i32, i32:16, i32:16, 32, 32, 16", {"num_warps": 4, "num_stages": 3}),
}


def release(version):
    return tuple(int(part) for part in version.split(".")[:2])


def impossible(version, kernel, arch):
    """Why Triton itself can't, else None"""
    if kernel == "matmul_tma" and release(version) < (3, 4):
        return "no device tensor descriptors before 3.4"
    if arch >= 100 and release(version) < (3, 3):
        return "its ptxas does not know sm_%d" % arch
    return None


class Cell:
    def __init__(self, installation, kernel, arch, stem):
        self.installation, self.kernel, self.arch, self.stem = installation, kernel, arch, stem

    def path(self, suffix):
        return self.stem.with_suffix("." + suffix)

    def __str__(self):
        return "%s %s sm_%d" % (self.installation.version, self.kernel, self.arch)


def collect(folder):
    """(cells, why others are none)"""
    cells, missing, source = [], [], ROOT / "examples" / "kernels"
    for installation in compiler.installations():
        worker = compiler.Worker(installation, source)
        for kernel, (signature, small, options) in KERNELS.items():
            for arch in ARCHS:
                reason = impossible(installation.version, kernel, arch)
                if reason:
                    missing.append("%s %s sm_%d: %s" % (installation.version, kernel, arch, reason))
                    continue
                text = small if arch == 75 and small else signature
                key = json.dumps([text, options]).encode() + (source / (kernel + ".py")).read_bytes()
                name = "%s-%s" % (kernel, hashlib.sha256(key).hexdigest()[:12])
                out = folder / installation.version / ("sm_%d" % arch)
                cell = Cell(installation, kernel, arch, out / name)
                if not cell.path("json").exists():
                    out.mkdir(parents=True, exist_ok=True)
                    reply = worker.compile(file=kernel + ".py", kernel=kernel, signature=text, arch=arch, name=name,
                                           options=options, until="ptx", keep=("llir", "ptx"), out=str(out))
                    if "error" in reply:
                        missing.append("%s: Triton fails: %s" % (cell, reply["error"].splitlines()[0]))
                        continue
                    cell.path("json").write_text(json.dumps(reply["metadata"]))
                cells.append(cell)
        worker.close()
    return cells, missing


@functools.lru_cache(None)
def tools(installation, arch):
    """The installation's own ptxas for an architecture"""
    probe = "import importlib.util as u; print(u.find_spec('triton').submodule_search_locations[0])"
    found = subprocess.run([installation.interpreter, "-c", probe], stdout=subprocess.PIPE, text=True, check=True,
                           env=installation.environment()).stdout.strip()
    folder = pathlib.Path(found) / "backends" / "nvidia" / "bin"
    newer = folder / "ptxas-blackwell"
    wants_newer = arch >= (90 if release(installation.version) >= (3, 9) else 100)
    return newer if wants_newer and newer.exists() else folder / "ptxas"
