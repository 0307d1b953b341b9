"""What the worker adds to Triton's own compile times, and what a second thread gains.

usage: bench/compile.py COMPILE_JOBS [--rounds N]
For each Triton of TRITON_RUNNER_PYTHON: ttir → cubin for sm_90 by the warm worker beside Triton's own stages in one
process, taken in turns; then two kernels by one thread and by two. Medians. The bounds: at most 15% or 10 ms more,
whichever is more; two threads at most 1.2 times the time that one thread needs for one kernel.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
from conformance import installations
from matrix import SIGNATURES, source_file


class Jobs:
    """compile_jobs, kept running; each round asks for as many compiles as there are threads."""

    def __init__(self, command, threads):
        self.process = subprocess.Popen([*command, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.threads = threads

    def run(self, job):
        begun = time.perf_counter()
        self.process.stdin.write((json.dumps(job) + "\n") * self.threads)
        self.process.stdin.flush()
        answers = [json.loads(self.process.stdout.readline()) for _ in range(self.threads)]
        if any(answer["status"] != "TR_OK" for answer in answers):
            raise SystemExit(answers[0]["message"])
        return time.perf_counter() - begun

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def measure(command, installation, kernel, folder, rounds):
    version, interpreter, environment = installation
    job = {"id": 1, "triton": version, "from": 1, "to": 6, "source": source_file(version, kernel), "kernel": kernel,
           "signature": SIGNATURES[kernel].format(64), "arch": "sm_90", "options": {}, "environment": [],
           "out": folder}
    one, two = Jobs(command, 1), Jobs(command, 2)
    one.run(job)
    ttir = os.path.join(folder, "kernel.ttir")
    os.rename(os.path.join(folder, "stage.2"), ttir)
    job = {**job, "from": 2, "source": ttir, "out": None}
    script = os.path.join(ROOT, "tests", "conformance", "stage_times.py")
    own = subprocess.Popen([interpreter, "-B", script, ttir, "sm_90"], env=environment, stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, text=True)
    times = {"own": [], "one": [], "two": []}
    for round_ in range(rounds + 1):
        own.stdin.write("\n")
        own.stdin.flush()
        taken = {"own": float(own.stdout.readline()), "one": one.run(job), "two": two.run(job)}
        for name, seconds in taken.items() if round_ else ():
            times[name].append(seconds * 1e3)
    own.stdin.close()
    own.wait()
    one.end()
    two.end()
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("compile_jobs")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    missed = 0
    print("ttir → cubin, ms    Triton's own    worker   ratio    two threads   ratio to one")
    for installation in installations():
        for kernel in ("vector_add", "matmul"):
            with tempfile.TemporaryDirectory() as folder:
                ms = measure([arguments.compile_jobs], installation, kernel, folder,
                             arguments.rounds)
            missed += ms["one"] > max(1.15 * ms["own"], ms["own"] + 10) or ms["two"] > 1.2 * ms["one"]
            print(f"{installation[0]:6} {kernel:12} {ms['own']:12.1f} {ms['one']:9.1f} {ms['one'] / ms['own']:7.2f}"
                  f" {ms['two']:14.1f} {ms['two'] / ms['one']:14.2f}", flush=True)
    print(f"{missed} outside the bounds")


main()
