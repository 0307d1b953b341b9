"""Every Triton × kernel × architecture × start: the cubin and each stage on the way are, byte for byte, those of that
Triton's own full run.

usage: conformance.py COMPILE_JOBS [--only PATTERN] [--keep FOLDER]
The installations are those of TRITON_RUNNER_PYTHON, as interpreter=site-folder pairs or interpreters. Exit status 77:
none is named.
"""
import argparse
import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from matrix import STAGES, STARTS, cells, impossible, loses_lines

HERE = os.path.dirname(os.path.abspath(__file__))
CLEAN_FAILURES = {"TR_E_PARSE", "TR_E_COMPILE", "TR_E_COMPILER_CRASHED", "TR_E_UNSUPPORTED"}
THREADS = 2


def installations():
    """version, interpreter, site folder ("": the interpreter's own)"""
    for entry in filter(None, os.environ.get("TRITON_RUNNER_PYTHON", "").split(":")):
        interpreter, _, site = entry.partition("=")
        environment = {**os.environ, "PYTHONPATH": site}
        program = "import triton; print(triton.__version__)"
        told = subprocess.run([interpreter, "-B", "-c", program], env=environment, capture_output=True, text=True)
        if told.returncode:
            raise SystemExit(f"{entry}: {told.stderr.strip()}")
        yield told.stdout.strip(), interpreter, environment


def fix_addresses():
    """ptxas for sm_100 gives other bytes when its memory lies elsewhere."""
    ADDR_NO_RANDOMIZE = 0x0040000
    ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)


def make_reference(folder, installation):
    """What Triton says of each cell that failed. A Triton that aborts is started again behind that cell."""
    version, interpreter, environment = installation
    kept = os.path.join(folder, f"{version}.json")
    if os.path.exists(kept):
        with open(kept) as file:
            return json.load(file)
    failed, todo = {}, list(cells(version))
    if version.startswith("3.2."):
        failed = {cell["out"]: "not tried" for cell in todo if cell["kernel"] in ("matmul_tma", "matmul_host")}
        todo = [cell for cell in todo if cell["out"] not in failed]
    while todo:
        lines = "".join(json.dumps(cell) + "\n" for cell in todo)
        told = subprocess.run([interpreter, "-B", os.path.join(HERE, "reference.py"), folder], env=environment,
                              input=lines, capture_output=True, text=True, preexec_fn=fix_addresses)
        answers = [line.partition(" ") for line in told.stdout.splitlines() if line.startswith(version)]
        failed.update({out: error for out, _, error in answers if error})
        if told.returncode == 0:
            break
        if not answers:
            raise SystemExit(f"reference of {version}: {told.stderr[-2000:]}")
        failed[answers[-1][0]] = f"aborts: {told.stderr.strip().splitlines()[-1][:120]}"
        todo = todo[len(answers):]
    with open(kept, "w") as file:
        json.dump(failed, file)
    return failed


def run_jobs(command, jobs):
    lines = "".join(json.dumps(job) + "\n" for job in jobs)
    told = subprocess.run(command + [str(THREADS)], input=lines, capture_output=True, text=True)
    if told.returncode or told.stderr:
        raise SystemExit(f"compile_jobs: exit status {told.returncode}, said {told.stderr[-2000:]}")
    answers = {answer["id"]: answer for answer in map(json.loads, told.stdout.splitlines())}
    return [answers[job["id"]] for job in jobs]


def without_locations(text):
    """llir and PTX without what tells of source lines."""
    text = text.split(b"\t.section\t.debug")[0]
    return re.sub(rb",? !dbg !\d+|^!\d+ = .*$|^\t\.loc\t.*$|^\$L__tmp\d+:$", b"", text, flags=re.M).split()


class Matrix:

    def __init__(self, command, folder, only):
        self.command, self.folder, self.only = command, folder, only
        self.same = self.stages = self.cannot = 0
        self.but_locations, self.reasons, self.faults = 0, {}, []

    def job(self, version, cell, start, source, metadata=None):
        out = os.path.join(self.folder, "ours", cell["out"], STARTS[start])
        os.makedirs(out, exist_ok=True)
        return {"id": f"{cell['out']} from {STARTS[start]}", "triton": version, "from": start, "to": 6,
                "source": source, "arch": cell["arch"], "out": out, "timeout_ms": 120000, "options": cell["options"],
                "kernel": cell["kernel"], "signature": cell["signature"] if start == 1 else None,
                "metadata": metadata, "environment": []}

    def run_version(self, version, failed):
        chosen = [cell for cell in cells(version) if re.search(self.only, cell["out"])]
        possible = [cell for cell in chosen if cell["out"] not in failed]
        doomed = [cell for cell in chosen if cell["out"] in failed]
        for cell in chosen:
            reason = impossible(version, cell["kernel"], cell["arch"])
            if bool(reason) != (cell["out"] in failed):
                self.faults.append(f"{cell['out']}: listed as {reason or 'possible'}, but Triton itself says "
                                   f"{failed.get(cell['out'], 'it compiles')}")
        jobs, checked = [], []
        for cell in possible:
            reference = os.path.join(self.folder, "reference", cell["out"])
            with open(os.path.join(reference, "metadata.json")) as file:
                metadata = json.load(file)
            for start in STARTS:
                source = cell["file"] if start == 1 else os.path.join(reference, f"stage.{start}")
                jobs.append(self.job(version, cell, start, source, None if start == 1 else metadata))
                checked.append((reference, metadata))
        for job, answer, (reference, metadata) in zip(jobs, run_jobs(self.command, jobs), checked):
            self.compare(job, answer, reference, metadata)
        self.fail_cleanly(version, doomed)

    def compare(self, job, answer, reference, metadata):
        if answer["status"] != "TR_OK":
            self.faults.append(f"{job['id']}: {answer['status']} {answer['message']}")
            return
        fault, lost, version = None, False, job["triton"]
        for stage in range(job["from"] + 1, 7):
            pair = []
            for folder in (reference, job["out"]):
                with open(os.path.join(folder, f"stage.{stage}"), "rb") as file:
                    pair.append(file.read())
            if pair[0] == pair[1]:
                self.stages += 1
            elif stage in (4, 5) and without_locations(pair[0]) == without_locations(pair[1]):
                lost = True
            else:
                fault = fault or f"{job['id']}: {STAGES[stage]} differs"
        if job["from"] == 1:
            told = {key: value for key, value in answer["metadata"].items() if key not in ("hash", "triton_runner")}
            metadata = {key: value for key, value in metadata.items() if key != "hash"}
            metadata.setdefault("triton_version", version)  # 3.2 doesn't tell
            if told != metadata:
                keys = sorted(key for key in {*told, *metadata} if told.get(key) != metadata.get(key))
                fault = fault or f"{job['id']}: metadata differs in {', '.join(keys)}"
        if fault:
            self.faults.append(fault)
        elif lost and not loses_lines(version, job["kernel"], job["arch"], STARTS[job["from"]]):
            self.faults.append(f"{job['id']}: debug locations differ, which is not listed")
        elif lost:
            self.but_locations += 1
        else:
            self.same += 1

    def fail_cleanly(self, version, doomed):
        """From python, then from each stage that was reached on the way."""
        jobs, steps = [], []
        for cell in doomed:
            reason = impossible(version, cell["kernel"], cell["arch"]) or "not listed"
            self.reasons[reason] = self.reasons.get(reason, 0) + len(STARTS)
            self.cannot += len(STARTS)
            jobs.append(self.job(version, cell, 1, cell["file"]))
            steps += [(cell, {**jobs[-1], "id": f"{cell['out']} to {stage}", "to": stage}) for stage in range(2, 6)]
        for (cell, step), answer in zip(steps, run_jobs(self.command, [step for _, step in steps])):
            if answer["status"] == "TR_OK":
                source = os.path.join(step["out"], f"stage.{step['to']}")
                jobs.append(self.job(version, cell, step["to"], source, answer["metadata"]))
        for job, answer in zip(jobs, run_jobs(self.command, jobs)):
            if answer["status"] not in CLEAN_FAILURES or len(answer["message"]) < 20:
                self.faults.append(f"{job['id']}: does not fail cleanly: {answer['status']} {answer['message']}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("compile_jobs")
    parser.add_argument("--only", default="", help="cells whose VERSION/KERNEL/ARCH matches this pattern")
    parser.add_argument("--keep", help="a folder for everything that was compiled; references in it are used again")
    arguments = parser.parse_args()
    found = list(installations())
    if not found:
        print("SKIP: TRITON_RUNNER_PYTHON names no Triton")
        sys.exit(77)
    temporary = tempfile.TemporaryDirectory(prefix="conformance-")
    folder = arguments.keep or temporary.name
    matrix = Matrix([arguments.compile_jobs], folder, arguments.only)
    begun = time.time()
    with ThreadPoolExecutor(THREADS) as pool:
        reference = os.path.join(folder, "reference")
        failures = list(pool.map(lambda installation: make_reference(reference, installation), found))
    print(f"references of {len(found)} versions: {time.time() - begun:.0f} s")
    for (version, _, _), failed in zip(found, failures):
        begun = time.time()
        matrix.run_version(version, failed)
        print(f"{version}: {time.time() - begun:.0f} s", flush=True)
    print(f"{matrix.same} cells identical ({matrix.stages} stages)")
    print(f"{matrix.but_locations} identical but for source lines in llir and PTX that MLIR's text does not hold")
    print(f"{matrix.cannot} cannot be:")
    for reason, count in matrix.reasons.items():
        print(f"  {count:4} {reason}")
    for fault in matrix.faults:
        print(f"FAULT {fault}")
    sys.exit(1 if matrix.faults else 0)


if __name__ == "__main__":
    main()
