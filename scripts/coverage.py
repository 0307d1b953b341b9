#!/usr/bin/env python3
"""coverage.py BUILD: line coverage of lib/, by folder, from what tests left in a build with --coverage; then the files
below 70 % and the functions that no test ran."""
import collections
import json
import pathlib
import subprocess
import sys

build = pathlib.Path(sys.argv[1]).resolve()
root = pathlib.Path(__file__).resolve().parent.parent
lines = collections.defaultdict(lambda: collections.defaultdict(int))  # file → line → times
functions = collections.defaultdict(lambda: collections.defaultdict(int))  # file → (line, name) → times


def add(report):
    for file in report["files"]:
        path = pathlib.Path(report["current_working_directory"], file["file"]).resolve()
        if not path.is_relative_to(root / "lib"):
            continue
        name = str(path.relative_to(root))
        for line in file["lines"]:
            lines[name][line["line_number"]] += line["count"]
        for function in file["functions"]:
            functions[name][function["start_line"], function["name"]] += function["execution_count"]


notes = sorted(str(path) for path in build.rglob("*.gcno"))
for start in range(0, len(notes), 100):
    said = subprocess.run(["gcov", "--json-format", "--stdout", *notes[start:start + 100]], cwd=build, check=True,
                          capture_output=True, text=True).stdout
    for report in said.splitlines():
        add(json.loads(report))


def share(files):
    counts = [count for file in files for count in lines[file].values()]
    return sum(map(bool, counts)), len(counts)


def row(name, files):
    ran, there = share(files)
    print("  %-28s %6d of %6d  %5.1f %%" % (name, ran, there, 100 * ran / there if there else 0))


folders = collections.defaultdict(list)
for file in sorted(lines):
    folders[str(pathlib.Path(file).parent)].append(file)
print("lines that ran, by folder")
for folder, files in folders.items():
    row(folder, files)
row("lib", list(lines))
print("files below 70 %")
for file in sorted(lines):
    ran, there = share([file])
    if there and ran < 0.7 * there:
        row(file, [file])
print("functions that never ran")
for file in sorted(functions):
    idle = [name for (line, name), times in sorted(functions[file].items()) if not times]
    if idle:
        print("  %s: %s" % (file, ", ".join(idle)))
sys.exit(0 if lines else 1)
