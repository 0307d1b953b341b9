"""Compiles kernels with the Triton of a given interpreter: a child process per installation, results kept on disk."""
import glob
import hashlib
import json
import os
import pathlib
import select
import subprocess
import sys

CHILD = pathlib.Path(__file__).with_name("stages.py")
TIME_LIMIT = 300


class Installation:
    """An interpreter, the site-folder it gets Triton from (None: its own), and that Triton's version"""

    def __init__(self, interpreter, site, version):
        self.interpreter, self.site, self.version = interpreter, site, version

    def environment(self):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TRITON_", "MLIR_", "LLVM_", "PYTHON"))}
        if self.site:
            clean["PYTHONPATH"] = self.site
        return clean


def version_of(interpreter, site):
    """The version by the wheel's metadata, without the cost of importing Triton; None where there is no Triton"""
    if site is None:
        probe = "import importlib.metadata as m; print(m.version('triton'))"
        done = subprocess.run([interpreter, "-c", probe], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.stdout.strip() or None
    found = glob.glob(os.path.join(site, "triton-*.dist-info"))
    return os.path.basename(found[0])[len("triton-"):-len(".dist-info")] if found else None


def installations():
    """Those of TRITON_RUNNER_PYTHON (interpreters or interpreter=site-folder pairs, colon-separated), else python3's"""
    listed = os.environ.get("TRITON_RUNNER_PYTHON") or sys.executable
    for entry in filter(None, listed.split(":")):
        interpreter, _, site = entry.partition("=")
        try:
            version = version_of(interpreter, site or None)
        except OSError:
            continue
        if version:
            yield Installation(interpreter, site or None, version)


def find_installation(version):
    return next((found for found in installations() if found.version == version), None)


class Worker:
    """A child that compiles kernels whose sources lie in one folder; started when needed, again after a crash"""

    def __init__(self, installation, folder):
        self.installation, self.folder, self.child = installation, str(folder), None

    def start(self):
        self.child = subprocess.Popen([self.installation.interpreter, str(CHILD)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, env=self.installation.environment())

    def close(self):
        if self.child:
            self.child.stdin.close()
            self.child.wait()
            self.child.stdout.close()
            self.child = None

    def compile(self, **request):
        """{"metadata": …, "log": …} and the stages in `keep` as files <out>/<name>.<stage>, or {"error": …}"""
        if self.child is None:
            self.start()
        self.child.stdin.write(json.dumps(dict(request, folder=self.folder)).encode() + b"\n")
        self.child.stdin.flush()
        ready, _, _ = select.select([self.child.stdout], [], [], TIME_LIMIT)
        line = self.child.stdout.readline() if ready else b""
        if line:
            return json.loads(line)
        if not ready:
            self.child.kill()
        status = self.child.wait()
        self.child = None
        why = "no answer within %d s" % TIME_LIMIT if not ready else "the compiler ended with status %d" % status
        return {"error": why, "log": "", "late": not ready}


class Cache:
    """<folder>/<version>-<arch>/<case>-<key>.{ptx,json}: what was compiled; the key covers source, signature, options

    A worker compiles for one architecture: Triton (3.4) makes its table of float conversions once in a process, for the
    architecture it is first asked for, and sm_90's code then depends on whether sm_89's came before."""

    def __init__(self, folder, sources):
        self.folder, self.sources, self.workers = pathlib.Path(folder), pathlib.Path(sources), {}

    def get(self, installation, arch, file, kernel, signature, options, name):
        """(path of the .ptx, metadata), or (None, why it does not compile)"""
        source = (self.sources / file).read_bytes() + CHILD.read_bytes()
        asked = json.dumps([file, kernel, signature, options], sort_keys=True).encode()
        stem = "%s-%s" % (name, hashlib.sha256(asked + source).hexdigest()[:16])
        folder = self.folder / ("%s-%s" % (installation.version, arch))
        record = folder / (stem + ".json")
        if not record.exists():
            folder.mkdir(parents=True, exist_ok=True)
            worker = self.workers.setdefault((installation, arch), Worker(installation, self.sources))
            reply = worker.compile(
                file=file, kernel=kernel, signature=signature, arch=int(arch[3:]), options=options, keep=["ptx"],
                out=str(folder), name=stem)
            if reply.get("late"):  # the machine may have been busy: nothing to remember
                return None, reply["error"]
            record.with_suffix(".tmp").write_text(json.dumps(reply))
            record.with_suffix(".tmp").rename(record)
        reply = json.loads(record.read_text())
        if "error" in reply:
            return None, (reply["error"] + " " + reply["log"]).strip()
        return record.with_suffix(".ptx"), reply["metadata"]

    def close(self):
        for worker in self.workers.values():
            worker.close()
