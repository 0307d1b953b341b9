#!/usr/bin/env python3
"""Counts the instructions of a launch, and of a change of a plan, and compares them with the limits and with what they were."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

LIMITS = {0: 120, 19: 350, 58: 900}  # of tr_launch, beyond a direct cuLaunchKernelEx
SET_LIMIT = 150  # of tr_plan_set, beyond tr_kernel_pack
GROWTH = 1.02
LAUNCHES = 1000


def instructions(valgrind, program, how, count, launches):
    with tempfile.NamedTemporaryFile() as out:
        done = subprocess.run(
            [valgrind, "--tool=callgrind", f"--callgrind-out-file={out.name}", program, how, str(count), str(launches)],
            capture_output=True, text=True, env={**os.environ, "LD_BIND_NOW": "1"})
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"{program} {how} {count} failed under valgrind:\n{done.stdout}{done.stderr}")
    return int(found.group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--valgrind", default="valgrind")
    parser.add_argument("--build", default="RelWithDebInfo")
    parser.add_argument("--compiler", default="")
    parser.add_argument("--write", action="store_true", help="take what is measured as what is expected")
    parser.add_argument("program")
    parser.add_argument("expected")
    given = parser.parse_args()
    if not given.valgrind or "NOTFOUND" in given.valgrind:
        print("SKIPPED: valgrind is not installed (apt install valgrind)")
        return 77
    if given.build not in ("RelWithDebInfo", "Release"):
        print(f"SKIPPED: instructions are counted in a release build, not in {given.build}")
        return 77
    with open(given.expected) as file:
        expected = json.load(file)
    before = expected.get(given.compiler)
    measured, failed = {}, False
    print(f"{'arguments':>9} {'raw':>6} {'tr_launch':>10} {'own':>6} {'limit':>6} {'packed':>7} {'own':>6} {'pack':>6} "
          f"{'set':>6} {'own':>6} {'limit':>6}")
    for count, limit in LIMITS.items():
        cost = {}
        for how in ("raw", "launch", "packed", "pack", "set"):
            few, many = (instructions(given.valgrind, given.program, how, count, n) for n in (10, 10 + LAUNCHES))
            cost[how] = round((many - few) / LAUNCHES)
        own = {how: cost[how] - cost["raw"] for how in ("launch", "packed")}
        instructions(given.valgrind, given.program, "step", count, 20)  # which fails if it allocates
        own["set"] = cost["set"] - cost["pack"]
        measured[str(count)] = own
        print(f"{count:9} {cost['raw']:6} {cost['launch']:10} {own['launch']:6} {limit:6} "
              f"{cost['packed']:7} {own['packed']:6} {cost['pack']:6} {cost['set']:6} {own['set']:6} {SET_LIMIT:6}")
        failed |= own["launch"] > limit or own["set"] > SET_LIMIT
        for how, was in (before or {}).get(str(count), {}).items():
            if own[how] > was * GROWTH:
                print(f"FAILED: {how} with {count} arguments took {was} instructions, and now {own[how]}")
                failed = True
    if given.write:
        expected[given.compiler] = measured
        with open(given.expected, "w") as file:
            json.dump(expected, file, indent=2, sort_keys=True)
            file.write("\n")
    elif not before:
        print(f"nothing to compare with for {given.compiler}: only the limits were checked")
    return 1 if failed else 0


sys.exit(main())
