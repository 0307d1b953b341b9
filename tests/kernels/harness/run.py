#!/usr/bin/env python3
"""Runs the test kernels through a CUDA driver library (the CPU device, or libcuda.so.1) and compares the results.

    run.py --driver build/release/lib/cpu/libtriton_runner_cpu.so --triton 3.4.0 --arch sm_89
    run.py --make-bundle kernels.tar --triton 3.4.0 --arch sm_89          compile only
    run.py --driver libcuda.so.1 --bundle kernels.tar --goldens goldens write   on a machine with a GPU

Tritons are found through TRITON_RUNNER_PYTHON, as by the library. Exit status 0 when nothing failed and something
passed, 77 when there is no Triton to compile with, else 1.
"""
import argparse
import concurrent.futures
import fnmatch
import json
import pathlib
import sys
import threading

FOLDER = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(FOLDER))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--driver", help="the library, a path or a name that the loader finds")
    parser.add_argument("--triton", default="all", help="versions, comma-separated; all: each that is found")
    parser.add_argument("--arch", default="sm_89", help="sm_89, sm_90, or both, comma-separated")
    parser.add_argument("-k", dest="pattern", default="*", help="only cases whose name matches (shell pattern)")
    parser.add_argument("--cases", default="cases", help="which folder of cases")
    parser.add_argument("--json", type=pathlib.Path, help="write what happened to each case")
    parser.add_argument("--build", type=lambda path: pathlib.Path(path).resolve(), default=FOLDER.parents[1] / "build" / "kernels",
                        help="where compiled kernels are kept")
    parser.add_argument("--goldens", nargs=2, metavar=("FOLDER", "write|compare"))
    parser.add_argument("--sample", type=int, default=16, help="how many elements of a result a golden keeps")
    parser.add_argument("--isas", help="of the CPU device, comma-separated: each case runs on all, which agree bit for bit")
    parser.add_argument("--differences", action="store_true", help="with goldens: a table of how far results are from them")
    parser.add_argument("--bundle", type=pathlib.Path, help="run what this file holds instead of compiling")
    parser.add_argument("--make-bundle", type=pathlib.Path, help="compile into this file and run nothing")
    parser.add_argument("--compile-only", action="store_true", help="run nothing; a case passes when it compiles")
    parser.add_argument("-j", type=int, default=2, help="compilers side by side")
    parser.add_argument("-v", action="store_true", help="a line per case")
    return parser.parse_args()


def compiled(options, cases, targets):
    """{(version, arch, name): (ptx, metadata) or (None, why)} for all that can be expressed"""
    from harness import compile as compiler
    local = threading.local()
    caches = []

    def one(job):
        installation, arch, case = job
        if not hasattr(local, "cache"):
            local.cache = compiler.Cache(options.build, FOLDER)
            caches.append(local.cache)
        path, metadata = local.cache.get(installation, arch, case.file, case.kernel, case.signature, case.options,
                                         case.name)
        return path.read_bytes() if path else None, metadata

    jobs = [(installation, arch, case) for installation, arch in targets for case in cases
            if not case.unsupported(installation.version, arch)]
    with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
        done = dict(zip([(i.version, arch, case.name) for i, arch, case in jobs], pool.map(one, jobs)))
    for cache in caches:
        cache.close()
    return done


def run_on_all(devices, index, ptx, metadata):
    """The first device's outcome; failed where another's results have other bits"""
    outcome, *others = [device.run(index, ptx, metadata) for device in devices]
    for device, other in zip(devices[1:], others):
        if outcome["status"] != "passed":
            break
        if other["status"] != "passed":
            return other
        for name, stored in outcome["results"].items():
            if stored.tobytes() != other["results"][name].tobytes():
                outcome.update(status="failed", why="%s: not the bits of %s with %s" % (name, devices[0].isa, device.isa))
    return outcome


class Report:
    """Counts, prints a line per failure, keeps all for --json"""

    def __init__(self, verbose):
        self.verbose, self.records, self.counts = verbose, [], {"passed": 0, "failed": 0, "skipped": 0}
        self.table = {}

    def add(self, version, arch, case, outcome):
        status = outcome["status"]
        self.counts[status] += 1
        row = self.table.setdefault((version, arch), {"passed": 0, "failed": 0, "skipped": 0, "kernels": set(),
                                                      "identical": 0, "differs": 0, "unknown": 0, "seconds": 0.0})
        row[status] += 1
        row["seconds"] += outcome.get("seconds", 0.0)
        if status == "passed":
            row["kernels"].add((case.file, case.kernel))
        golden = outcome.get("golden") or {}
        if status == "passed":
            row["unknown" if not golden else "identical" if golden["identical"] else "differs"] += 1
        self.records.append(dict({"version": version, "arch": arch, "case": case.name}, **outcome))
        if status == "failed" or self.verbose:
            why = " ".join(outcome.get("why", "").split())
            print("%-7s %s %s %s%s" % (status, version, arch, case.name, ": " + why[:1500] if why else ""), flush=True)

    def differences(self):
        """How far results are from hardware's, by what the PTX leaves open and by the type of the result"""
        rows = {}
        for record in self.records:
            golden = record.get("golden") or {}
            for type_, ulps in golden.get("ulps", {}).items():
                row = rows.setdefault((", ".join(golden["because"]), type_), [0, 0.0, 0.0])
                row[:] = row[0] + 1, max(row[1], ulps), max(row[2], golden["relative"][type_])
        print("\n| what PTX leaves open | result | cases that differ | most, in ulps | most, of the largest element |"
              "\n|---|---|---|---|---|")
        for (because, type_), (cases, ulps, relative) in sorted(rows.items()):
            print("| %s | %s | %d | %.3g | %.2g |" % (because, type_, cases, ulps, relative))

    def summary(self, goldens):
        print("\n%-8s %-6s %7s %7s %7s %8s %8s" % ("triton", "arch", "passed", "failed", "skipped", "kernels", "seconds")
              + ("  %9s %7s %9s" % ("identical", "differs", "no golden") if goldens else ""))
        for (version, arch), row in self.table.items():
            print("%-8s %-6s %7d %7d %7d %8d %8.1f" % (version, arch, row["passed"], row["failed"], row["skipped"],
                                                      len(row["kernels"]), row["seconds"])
                  + ("  %9d %7d %9d" % (row["identical"], row["differs"], row["unknown"]) if goldens else ""))
        print("%d passed, %d failed, %d skipped" % tuple(self.counts[k] for k in ("passed", "failed", "skipped")))


def main():
    options = arguments()
    try:
        import numpy  # noqa: F401
    except ImportError:
        print("skipped: this Python (%s) has no numpy" % sys.executable)
        return 77
    from harness import bundle, case as registry, compare, isolate
    from harness import compile as compiler
    cases = [case for case in registry.load_all(options.cases) if fnmatch.fnmatch(case.name, options.pattern)]
    archs = options.arch.split(",")
    wanted = options.triton.split(",")
    goldens = options.goldens and compare.Goldens(options.goldens[0], options.goldens[1] == "write", options.sample)

    if options.bundle:
        programs = bundle.read(options.bundle)
        targets = sorted({(version, arch) for version, arch, _ in programs})
        targets = [(v, a) for v, a in targets if a in archs and ("all" in wanted or v in wanted)]
    else:
        found = [i for i in compiler.installations() if "all" in wanted or i.version in wanted]
        if not found:
            print("skipped: no Triton %s found; name interpreters that have it in TRITON_RUNNER_PYTHON" % options.triton)
            return 77
        programs = compiled(options, cases, [(i, arch) for i in found for arch in archs])
        targets = [(i.version, arch) for i in found for arch in archs]

    if options.make_bundle:
        entries = [key + value for key, value in programs.items() if value[0]]
        bundle.write(options.make_bundle, entries)
        print("%s: %d programs, %d KiB" % (options.make_bundle, len(entries),
                                           options.make_bundle.stat().st_size // 1024))
        return 0
    report = Report(options.v)
    for version, arch in targets:
        devices = [isolate.Isolated(options.driver, arch, cases, isa)
                   for isa in (options.isas.split(",") if options.isas else [None])]
        for index, case in enumerate(cases):
            why = case.unsupported(version, arch)
            ptx, metadata = programs.get((version, arch, case.name), (None, "not in the bundle"))
            if why:
                outcome = {"status": "skipped", "why": why}
            elif ptx is None:
                outcome = {"status": "failed", "why": "does not compile: " + metadata}
            elif options.compile_only:
                outcome = {"status": "passed"}
            else:
                outcome = run_on_all(devices, index, ptx, metadata)
                results = outcome.pop("results", None)
                if goldens and outcome["status"] == "passed":
                    if goldens.writing:
                        goldens.write(case, version, arch, ptx, results)
                    else:
                        problems, outcome["golden"] = goldens.compare(case, version, arch, ptx, results)
                        if problems:
                            outcome.update(status="failed", why="; ".join(problems))
            report.add(version, arch, case, outcome)
            if outcome.get("unusable"):
                print("the driver cannot be used")
                return 1
        for device in devices:
            device.stop()
    if goldens:
        goldens.save()
    if options.json:
        options.json.write_text(json.dumps(report.records, indent=1))
    if options.differences:
        report.differences()
    report.summary(options.goldens)
    return 0 if report.counts["passed"] and not report.counts["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
