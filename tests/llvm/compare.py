#!/usr/bin/env python3
"""Triton's llir → PTX by LLVM and by Triton itself, both assembled by that Triton's own ptxas, compared.

    TRITON_RUNNER_PYTHON=interpreter=site-folder:… compare.py --lower PROGRAM --libexec FOLDER --folder FOLDER
                                                              [--table docs/llvm.md]

Fails when an llir does not become PTX, when that does not assemble, or when it is not Triton 3.7's, byte for byte.
--table assembles and disassembles Triton's own PTX too, and writes the differences into the document, between its two
marks.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import pathlib
import re
import subprocess
import sys

import corpus

IDENTICAL = {(3, 7)}
INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", re.M)
BEGIN, END = "<!-- differences: made by tests/llvm/compare.py -->", "<!-- end of differences -->"

Code = collections.namedtuple("Code", "registers spills opcodes")
Compared = collections.namedtuple("Compared", "identical same_text ours theirs")


def lower(program, libexec, cells):
    """What failed, as text"""
    lines = "".join("sm_%d %s %s %s\n" % (cell.arch, cell.path("json"), cell.path("llir"), cell.path("ours.ptx"))
                    for cell in cells)
    done = subprocess.run([program, libexec], input=lines, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):
        return ["the program that lowers ended with status %d\n%s" % (done.returncode, done.stdout)]
    return done.stdout.splitlines()


def number(pattern, text):
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def assemble(ptxas, disassembler, arch, ptx):
    """Code, or ptxas' complaint as a string; kept beside the PTX for the next run. No disassembler: no opcodes"""
    key = hashlib.sha256(ptx.read_bytes() + ("%s %s" % (ptxas, disassembler)).encode()).hexdigest()
    kept, cubin = ptx.with_suffix(".code.json"), ptx.with_suffix(".cubin")
    if kept.exists():
        known = json.loads(kept.read_text())
        if known["key"] == key:
            return Code(known["registers"], known["spills"], collections.Counter(known["opcodes"]))
    command = [ptxas, "-lineinfo", "-v", "--gpu-name=sm_%d%s" % (arch, "a" if arch >= 90 else ""), ptx, "-o", cubin]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        return done.stdout
    text = "" if not disassembler else subprocess.run(
        [disassembler, "-c", cubin], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    opcodes = collections.Counter(name.split(".")[0] for name in INSTRUCTION.findall(text))
    del opcodes["NOP"]  # padding
    code = Code(number(r"Used (\d+) registers", done.stdout), number(r"(\d+) bytes spill stores", done.stdout), opcodes)
    kept.write_text(json.dumps(dict(code._asdict(), key=key)))
    return code


def newest_disassembler(cells):
    newest = max((cell.installation for cell in cells), key=lambda one: corpus.release(one.version))
    return corpus.tools(newest, 75).with_name("nvdisasm")


def instructions(ptx):
    """The text without source lines and blank lines"""
    return re.sub(r"^(\s*\.loc\s.*)?\n", "", ptx.read_text(), flags=re.M)


def compare(cell, disassembler):
    ours, theirs = cell.path("ours.ptx"), cell.path("ptx")
    ptxas = corpus.tools(cell.installation, cell.arch)
    identical = ours.read_bytes() == theirs.read_bytes()
    code = assemble(ptxas, disassembler, cell.arch, ours)
    return Compared(identical, instructions(ours) == instructions(theirs), code,
                    code if identical or not disassembler else assemble(ptxas, disassembler, cell.arch, theirs))


def total(code):
    return sum(code.opcodes.values())


def table(compared):
    """Markdown: a row per Triton, then one per kernel and architecture whose code changes most"""
    rows = ["| Triton | llirs | PTX identical | but for `.loc` | same opcodes in SASS | instructions | "
            "registers: more / fewer | spill bytes: LLVM's / Triton's |", "|---|---|---|---|---|---|---|---|"]
    by_version = collections.defaultdict(list)
    for cell, result in compared:
        by_version[cell.installation.version].append(result)
    for version, results in sorted(by_version.items()):
        before = sum(total(one.theirs) for one in results)
        change = sum(total(one.ours) for one in results) - before
        rows.append("| %s | %d | %d | %d | %d | %+d of %d (%+.1f%%) | %d / %d | %d / %d |" % (
            version, len(results), sum(one.identical for one in results), sum(one.same_text for one in results),
            sum(one.ours.opcodes == one.theirs.opcodes for one in results), change, before, 100 * change / before,
            sum(one.ours.registers > one.theirs.registers for one in results),
            sum(one.ours.registers < one.theirs.registers for one in results),
            sum(one.ours.spills for one in results), sum(one.theirs.spills for one in results)))
    rows += ["", "The twenty whose code differs most (Triton's own → LLVM's):", "",
             "| Triton, kernel, architecture | instructions | registers | spill bytes |", "|---|---|---|---|"]
    different = [(cell, one.ours, one.theirs) for cell, one in compared if one.ours != one.theirs]
    different.sort(key=lambda row: (-abs(total(row[1]) / total(row[2]) - 1), str(row[0])))
    for cell, ours, theirs in different[:20]:
        rows.append("| %s | %d → %d | %d → %d | %d → %d |" % (cell, total(theirs), total(ours), theirs.registers,
                                                              ours.registers, theirs.spills, ours.spills))
    return "\n".join(rows)


def write_table(path, text):
    before, rest = path.read_text().split(BEGIN)
    _, after = rest.split(END)
    path.write_text(before + BEGIN + "\n" + text + "\n" + END + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lower", required=True)
    parser.add_argument("--libexec", required=True)
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--table", type=pathlib.Path)
    arguments = parser.parse_args()
    cells, missing = corpus.collect(arguments.folder)
    if not cells:
        print("no Triton: name interpreters that have one in TRITON_RUNNER_PYTHON")
        return 77
    failures = ["not lowered: " + line for line in lower(arguments.lower, arguments.libexec, cells)]
    compared = []
    if not failures:
        disassembler = newest_disassembler(cells) if arguments.table else None
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            compared = list(zip(cells, pool.map(lambda cell: compare(cell, disassembler), cells)))
    for cell, one in compared:
        complaint = next((code for code in (one.ours, one.theirs) if isinstance(code, str)), None)
        if complaint is not None:
            failures.append("%s: %s" % (cell, complaint))
        elif not one.identical and corpus.release(cell.installation.version) in IDENTICAL:
            failures.append("%s: not the PTX that Triton makes" % cell)
    print("\n".join(missing + failures))
    if compared and not failures and arguments.table:
        write_table(arguments.table, table(compared))
    print("%d llirs lowered and assembled, %d PTX identical to Triton's, %d impossible, %d failures" % (
        len(cells), sum(one.identical for _, one in compared), len(missing), len(failures)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
