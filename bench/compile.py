"""What the worker adds to Triton's own compile times, what a second thread gains, and how long a start without
compilers takes.

usage: bench/compile.py COMPILE_JOBS [--rounds N]
N: the rounds in which nothing has become faster, and which end a comparison.
For each Triton of TRITON_RUNNER_PYTHON: ttir → cubin for sm_90 by the warm worker beside Triton's own stages in one
process, taken in turns; then two kernels by one thread and by two. The least of each, since whatever else the machine
does only adds, of the times in which a virtual machine's host took no processor away, where there are such; and
processor time per compile, ptxas's with it, which a busy machine changes little. The bounds: at most
15% or 10 ms more, whichever is more; two threads at most 1.2 times the time that one thread needs for one kernel, beside
what two processes of Triton's own lose side by side on this machine. Last, from main() to a loaded kernel: 2 ms.
"""
import argparse
import glob
import json
import os
import shutil
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
    """compile_jobs, kept running; each round asks for as many compiles as there are threads. Its worker is known by the
    name of its folder."""

    def __init__(self, program, threads, libdir):
        shutil.copytree(os.path.join(build_folder(program), "libexec"), libdir, copy_function=link_or_copy)
        environment = {**os.environ, "TRITON_RUNNER_LIBDIR": libdir}
        self.process = subprocess.Popen([program, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)
        self.threads, self.libdir = threads, libdir.encode()

    def run(self, job):
        begun = time.perf_counter()
        self.process.stdin.write((json.dumps(job) + "\n") * self.threads)
        self.process.stdin.flush()
        answers = [json.loads(self.process.stdout.readline()) for _ in range(self.threads)]
        if any(answer["status"] != "TR_OK" for answer in answers):
            raise SystemExit(answers[0]["message"])
        return time.perf_counter() - begun

    def processor_time(self):
        """Of the worker and its children, and of what has ended of them."""
        ticks = 0
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as file:
                    if self.libdir not in file.read():
                        continue
                with open(path.replace("cmdline", "stat")) as file:
                    ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
            except OSError:
                pass
        return ticks / os.sysconf("SC_CLK_TCK")


class Own:
    """Triton's own stages in a process of their own, warm."""

    def __init__(self, installation, ttir):
        _, interpreter, environment = installation
        script = os.path.join(ROOT, "tests", "conformance", "stage_times.py")
        self.process = subprocess.Popen([interpreter, "-B", script, ttir, "sm_90"], env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        """Seconds, and seconds of processor time"""
        return tuple(map(float, self.process.stdout.readline().split()))


def link_or_copy(source, target):
    """Python takes a linked script's folder for that of the script itself."""
    (shutil.copy if source.endswith(".py") else os.symlink)(source, target)


def build_folder(program):
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(program))))


def stolen():
    """Clock ticks that the host of this virtual machine gave to others"""
    with open("/proc/stat") as file:
        return int(file.readline().split()[8])


def repeat(ways, rounds):
    """The ways in turns, until none has fallen by more than a hundredth in so many rounds: what a machine that does other
    things adds is not a fixed number of rounds away. The least of each, and how many rounds there were."""
    wall, made, fell = {name: (True, float("inf")) for name in ways}, 0, 0
    while made - fell < rounds and made < 20 * rounds:
        made += 1
        for name, run in ways.items():
            ticks = stolen()
            seconds = run()
            one = (stolen() > ticks, seconds)
            if one < (wall[name][0], 0.99 * wall[name][1]):
                fell = made
            wall[name] = min(wall[name], one)
    return {name: seconds for name, (_, seconds) in wall.items()}, made


def measure(program, installation, kernel, folder, rounds):
    """The least wall time of each way, and the processor time per compile, in ms"""
    version = installation[0]
    job = {"id": 1, "triton": version, "from": 1, "to": 6, "source": source_file(version, kernel), "kernel": kernel,
           "signature": SIGNATURES[kernel].format(64), "arch": "sm_90", "options": {}, "environment": [],
           "out": folder}
    one, two = (Jobs(program, threads, os.path.join(folder, f"libexec-{threads}")) for threads in (1, 2))
    one.run(job)
    ttir = os.path.join(folder, "kernel.ttir")
    os.rename(os.path.join(folder, "stage.2"), ttir)
    job = {**job, "from": 2, "source": ttir, "out": None}
    own, beside = (Own(installation, ttir) for _ in range(2))
    used = {"own": 0}
    for jobs in (one, one, two, two):  # every child that will take part is warm
        jobs.run(job)
    before = {"one": one.processor_time(), "two": two.processor_time()}

    def run_own():
        own.begin()
        seconds, processor = own.end()
        used["own"] += processor
        return seconds

    def run_both():
        own.begin()
        beside.begin()
        return max(own.end()[0], beside.end()[0])

    ways = {"own": run_own, "own two": run_both, "one": lambda: one.run(job), "two": lambda: two.run(job)}
    wall, made = repeat(ways, rounds)
    used.update(one=one.processor_time() - before["one"], two=(two.processor_time() - before["two"]) / 2)
    for process in (own.process, beside.process, one.process, two.process):
        process.stdin.close()
        process.wait()
    return ({name: seconds * 1e3 for name, seconds in wall.items()},
            {name: seconds / made * 1e3 for name, seconds in used.items()})


def compare_compiles(program, rounds):
    missed = 0
    print("ttir → cubin, ms            least time                               processor time\n"
          "Triton kernel          own  worker       two threads  two own         own  worker         two\n"
          "                               ÷ own          ÷ one    ÷ own               ÷ own       ÷ own")
    for installation in installations():
        for kernel in ("vector_add", "matmul"):
            with tempfile.TemporaryDirectory() as folder:
                wall, used = measure(program, installation, kernel, folder, rounds)
            two, loss = wall["two"] / wall["one"], wall["own two"] / wall["own"]
            missed += wall["one"] > max(1.15 * wall["own"], wall["own"] + 10) or two > 1.2
            print(f"{installation[0]:6} {kernel:10} {wall['own']:8.1f} {wall['one']:7.1f} {wall['one'] / wall['own']:5.2f}"
                  f" {wall['two']:8.1f} {two:5.2f} {loss:8.2f}    {used['own']:8.1f} {used['one']:7.1f}"
                  f" {used['one'] / used['own']:5.2f} {used['two'] / used['own']:10.2f}", flush=True)
    return missed


def start_without_compilers(program, rounds):
    build, stages = build_folder(program), os.path.join(ROOT, "examples", "kernels", "stages", "sm_89")
    missed = 0
    print("\nmain() to a loaded kernel, ms                        least  median")
    for device, ending in (("cuda", "cubin"), ("cpu", "ptx")):
        environment = {**os.environ, "TRITON_RUNNER_LIBDIR": os.path.join(build, "libexec"),
                       "TRITON_RUNNER_LIBCUDA": os.path.join(build, "stub", "libcuda.so.1")}
        for kernel in ("vector_add", "matmul"):
            command = [os.path.join(build, "bench", "loaded"), device, os.path.join(stages, f"{kernel}.{ending}")]
            times = [float(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
                     for _ in range(5 * rounds)]  # a few ms each
            where = "a driver that does nothing" if device == "cuda" else "the CPU device"
            print(f"{kernel:10} {ending:5} on {where:28} {min(times):8.3f} {statistics.median(times):7.3f}")
            missed += min(times) > 2
    return missed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("compile_jobs")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    missed = compare_compiles(arguments.compile_jobs, arguments.rounds)
    missed += start_without_compilers(arguments.compile_jobs, arguments.rounds)
    print(f"{missed} outside the bounds")


main()
