#!/usr/bin/env python3
"""cli.py COMMAND KERNELS: the command triton-runner as a person uses it, its results compared with float64.

Exit status 0 when all is right, 77 without numpy. What needs Triton is skipped one by one, and says so."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("skipped: this Python has no numpy")
    sys.exit(77)

COMMAND, KERNELS = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
STAGES = KERNELS / "stages" / "sm_89"
failures = []
count = 0


def run(*arguments, env=None):
    return subprocess.run([COMMAND, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, timeout=300,
                          env={**os.environ, "NO_COLOR": "", **(env or {})})


def check(name, right, what=""):
    global count
    count += 1
    if not right:
        failures.append(name)
        print("FAILED: %s %s" % (name, what))


def refused(status, words, *arguments, env=None):
    """It fails with this status, says these words on stderr and nothing on stdout"""
    ran = run(*arguments, env=env)
    said = ran.stderr.decode()
    check(" ".join(map(str, arguments)), ran.returncode == status and not ran.stdout and all(w in said for w in words),
          "gave %d, wanted %d: %s" % (ran.returncode, status, said))


def help_and_usage():
    for arguments in (["--help"], ["help"], ["--version"], ["run", "--help"], ["compile", "--help"],
                      ["inspect", "--help"], ["doctor", "--help"], ["cache", "--help"]):
        ran = run(*arguments)
        check("%s" % arguments, ran.returncode == 0 and len(ran.stdout) > 10 and not ran.stderr)
    refused(2, ["no command 'fly'"], "fly")
    refused(2, ["Usage"])
    refused(2, ["which file"], "inspect")
    refused(2, ["--grid is missing"], "run", STAGES / "vector_add.ptx")
    refused(2, ["no stage 'sass'"], "compile", "--to", "sass", "x.ttir")
    refused(2, ["--to STAGE is missing"], "compile", "x.ttir")
    refused(2, ["--grid '1,x'"], "run", "--grid", "1,x", "x.ptx")
    refused(2, ["no action 'wash'"], "cache", "wash")
    refused(1, ["nowhere.ptx", "No such file"], "inspect", "/nowhere.ptx")
    source = KERNELS / "vector_add.py"
    refused(1, ["--signature"], "compile", source, "--to", "ptx", "--arch", "sm_89")
    refused(1, ["no kernel 'add'", "it has 'vector_add'"], "compile", source, "--to", "ptx", "--kernel", "add")
    for signature, words in (("fp32*, 1024", ["signature:1:5: ", "*fp32"]), ("*float32", ["not '*float32'"]),
                             ("*fp32, BLOCK=1024", ["signature:1:8: ", "not 'BLOCK=1024'", "by its value"])):
        refused(1, words, "compile", source, "--to", "ptx", "--arch", "sm_89", "--signature", signature)
    refused(1, ["Triton latest is not here", "3.4.0"], "compile", STAGES / "vector_add.ttir", "--to", "ptx", "--triton", "latest")
    refused(1, ["Triton 1.0 is not here", "pip install triton==1.0"], "compile", STAGES / "vector_add.ttir", "--to", "ptx",
            "--triton", "1.0")


def inspect():
    ran = run("inspect", STAGES / "vector_add.ptx")
    text = ran.stdout.decode()
    check("inspect", ran.returncode == 0 and all(
        words in text for words in ("vector_add", "ptx", "sm_89", "*fp32", "divisible by 16", "3.4.0", "global_scratch")), text)
    record = json.loads(run("inspect", "--json", STAGES / "matmul.cubin").stdout)
    types = [parameter["type"] for parameter in record["triton_runner"]["parameters"]]
    check("inspect --json", record["name"] == "matmul" and types[:4] == ["*fp16", "*fp16", "*fp16", "i32"] and
          record["num_warps"] == 4 and "\033" not in text, record)
    with tempfile.TemporaryDirectory() as folder:
        both = pathlib.Path(folder) / "both.py"
        source = (KERNELS / "vector_add.py").read_text()
        both.write_text(source + source.replace("vector_add", "other"))
        names = [line.split()[1] for line in run("inspect", both).stdout.decode().splitlines() if line.startswith("kernel")]
        records = json.loads(run("inspect", "--json", both).stdout)
        check("inspect several", names == ["vector_add", "other"] == [record["name"] for record in records], names)


def launch(folder):
    random = np.random.default_rng(1)
    x, y = random.standard_normal((2, 5000)).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    z = folder / "z.npy"
    ran = run("run", STAGES / "vector_add.ptx", "--device", "cpu", "--grid", 5, "--arg", "in:%s" % (folder / "x.npy"),
              "--arg", "in:f32:%s" % (folder / "y.npy"), "--arg", "out:f32[5,1000]=%s" % z, "--arg", "i32:5000",
              "--repeat", 3)
    got = np.load(z) if z.exists() else np.zeros((5, 1000))
    wanted = (x.astype(np.float64) + y).reshape(5, 1000)
    check("run", ran.returncode == 0 and got.dtype == np.float32 and got.shape == (5, 1000) and
          np.abs(got - wanted).max() <= 2**-23 * np.abs(wanted).max(), ran.stderr.decode())
    check("run --repeat", b"median" in ran.stdout, ran.stdout)
    base = ["run", STAGES / "vector_add.ptx", "--device", "cpu", "--grid", 5, "--arg", "in:%s" % (folder / "x.npy"),
            "--arg", "in:f32:%s" % (folder / "y.npy"), "--arg", "out:f32[5000]=%s" % z, "--arg", "i32:5000"]
    ran = run(*base, "--profile=json")
    counted = json.loads(ran.stdout)["device"]["launches"][0] if ran.returncode == 0 else {}
    check("run --profile=json", counted.get("kernel") == "vector_add" and counted["bytes"]["global_read"] == 2 * 5000 * 4
          and counted["bytes"]["global_written"] == 5000 * 4, ran.stdout)
    ran = run(*base, "--profile")
    check("run --profile", b"vector_add.py:" in ran.stdout and b" 40000 " in ran.stdout and b"conflicts" in ran.stdout, ran.stdout)
    refused(2, ["--profile=xml"], *base, "--profile=xml")

    half = random.standard_normal((37, 781)).astype(np.float32)
    np.save(folder / "rows.npy", half)
    ran = run("run", STAGES / "softmax.ptx", "--device", "cpu", "--grid", "37,1,1", "--arg", "in:%s" % (folder / "rows.npy"),
              "--arg", "inout:%s=%s" % (folder / "rows.npy", z), "--arg", "i32:781", "--arg", "i32:781", "--arg", "i32:0x30d")
    exact = np.exp(half.astype(np.float64))
    exact /= exact.sum(axis=1, keepdims=True)
    check("run softmax", ran.returncode == 0 and np.abs(np.load(z) - exact).max() < 1e-6, ran.stderr.decode())
    ran = run("run", STAGES / "vector_add.llir", "--device", "cpu", "--llvm", "llvm", "--grid", 5,
              "--arg", "in:%s" % (folder / "x.npy"), "--arg", "in:%s" % (folder / "y.npy"),
              "--arg", "out:f32[5000]=%s" % z, "--arg", "i32:5000")
    if b"TR_BUILD_LLVM" in ran.stderr or b"LLVM" in ran.stderr and b"install" in ran.stderr:
        print("skipped: run from llir: this build has no LLVM")
    else:
        check("run from llir", ran.returncode == 0 and np.abs(np.load(z).reshape(5, 1000) - wanted).max() < 1e-6,
              ran.stderr.decode())


def wrong_arguments(folder):
    base = ["run", STAGES / "vector_add.ptx", "--device", "cpu", "--grid", 1, "--arg"]
    np.save(folder / "fortran.npy", np.asfortranarray(np.ones((3, 4), np.float32)))
    np.save(folder / "complex.npy", np.ones(3, np.complex64))
    (folder / "short.npy").write_bytes((folder / "x.npy").read_bytes()[:1000])
    (folder / "noise.npy").write_bytes(bytes(range(256)) * 3)
    for text, words in (("i32", "TYPE:VALUE"), ("i33:1", "'i33'"), ("i32:abc", "not a number"), ("u8:-1", "out of range"),
                        ("i32:9999999999999999999", "out of range"), ("out:f32[3", "=FILE"), ("out:f32[3=z", "out:TYPE"), ("out:q7[3]=z", "'q7'"),
                        ("out:f32[-3]=z", "shape"), ("out:f32[3]", "=FILE"), ("out:f32[4294967296,4294967296,8]=z", "memory"),
                        ("in:/nowhere.npy", "No such file"), ("in:%s" % (folder / "fortran.npy"), "Fortran"),
                        ("in:%s" % (folder / "complex.npy"), "in:TYPE"), ("in:%s" % (folder / "short.npy"), "promises"),
                        ("in:%s" % (folder / "noise.npy"), "not a .npy"), ("in:f16:%s" % (folder / "x.npy"), "4 bytes"),
                        ("inout:%s" % (folder / "x.npy"), "=FILE")):
        refused(2, [words, text], *base, text)
    refused(1, ["4 arguments", "1 "], *base, "i32:1")
    np.save(folder / "double.npy", np.ones(5000))
    refused(1, ["double.npy", "f64", "argument 0", "f32"], *base, "in:%s" % (folder / "double.npy"))
    refused(1, ["f16[5000]", "argument 1", "f32"], *base, "in:%s" % (folder / "x.npy"), "--arg", "out:f16[5000]=z.npy")
    x = "in:%s" % (folder / "x.npy")
    refused(1, ["argument 0", "16", "0x8"], *base, "ptr:8", "--arg", x, "--arg", x, "--arg", "i32:1")
    refused(1, ["z.npy"], *base, x, "--arg", x, "--arg", "out:f32[9]=/nowhere/z.npy", "--arg", "i32:1")


def write_plan(folder, plan):
    path = folder / "plan.json"
    path.write_text(plan if isinstance(plan, str) else json.dumps(plan))
    return path


def plans(folder):
    """x + y twice side by side, added up and normalized; a copy, a fill, a repeated entry"""
    random = np.random.default_rng(2)
    x, y = random.standard_normal((2, 40, 100)).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    plan = {
        "arrays": {"x": "in:%s" % (folder / "x.npy"), "y": "in:%s" % (folder / "y.npy"), "a": "tmp:f32[40,100]",
                   "b": "tmp:f32[40,100]", "sum": "tmp:f32[4000]", "out": "out:f32[40,100]=%s" % (folder / "out.npy"),
                   "kept": "out:f32[40,100]=%s" % (folder / "kept.npy"), "half": "out:u8[8]=%s" % (folder / "half.npy")},
        "kernels": {"add": str(STAGES / "vector_add.ptx"), "softmax": {"file": str(STAGES / "softmax.ptx"), "kernel": "softmax"}},
        "entries": [
            {"kernel": "add", "grid": 4, "args": ["x", "y", "a", "i32:4000"]},
            {"kernel": "add", "grid": [4, 1], "args": ["y", "y", "b", "i32:4000"], "after": []},
            {"copy": {"to": "kept", "from": "b"}, "after": [1]},
            {"kernel": "add", "grid": [4, 1, 1], "args": ["b", "x", "b", "i32:4000"], "after": [1, 2], "repeat": 3},
            {"kernel": "add", "grid": 4, "args": ["a", "b", "sum", "i32:4000"], "after": [0, 3]},
            {"kernel": "softmax", "grid": 40, "args": ["sum", "out", "i32:100", "i32:100", "i32:100"]},
            {"fill": {"to": "half", "value": 171, "bytes": 4}, "after": []}]}
    ran = run("run", "--plan", write_plan(folder, plan), "--device", "cpu", "--repeat", 3)
    exact = np.exp((x.astype(np.float64) + y) + (2.0 * y + 3.0 * x))
    exact /= exact.sum(axis=1, keepdims=True)
    check("run --plan", ran.returncode == 0 and np.abs(np.load(folder / "out.npy") - exact).max() < 1e-6, ran.stderr.decode())
    check("run --plan copies", np.array_equal(np.load(folder / "kept.npy"), y + y))
    check("run --plan fills", list(np.load(folder / "half.npy")) == [171] * 4 + [0] * 4)
    check("run --plan --repeat", b"9 entries: median" in ran.stdout and b"of 3 launches" in ran.stdout, ran.stdout)
    plan["repeat"] = 2
    check("repeat in the plan", b"of 2 launches" in run("run", "--plan", write_plan(folder, plan), "--device", "cpu").stdout)


def wrong_plans(folder):
    arrays = {"x": "in:%s" % (folder / "x.npy"), "z": "tmp:f32[4000]"}
    entry = {"kernel": "add", "grid": 4, "args": ["x", "x", "z", "i32:4000"]}

    def refuse(status, words, **changes):
        plan = {"arrays": arrays, "kernels": {"add": str(STAGES / "vector_add.ptx")}, "entries": [entry], **changes}
        refused(status, ["plan.json", *words], "run", "--device", "cpu", "--plan", write_plan(folder, plan))

    refused(1, ["nowhere.json", "unable to open"], "run", "--plan", "/nowhere.json")
    refused(2, ["plan.json:2:", "JSON"], "run", "--plan", write_plan(folder, '{"entries":\n[1,}'))
    refused(2, ["plan.json", "at the top", "object"], "run", "--plan", write_plan(folder, "[]"))
    refused(2, ["leave FILE, --grid and --arg out"], "run", "--grid", 1, "--plan", folder / "plan.json")
    refused(2, ["leave FILE, --grid and --arg out"], "run", STAGES / "vector_add.ptx", "--plan", folder / "plan.json")
    refuse(2, ["'entry'", "'entries'"], entry=[])
    refuse(2, ["entries", "list"], entries={})
    refuse(2, ["arrays.x", "string"], arrays={"x": 1})
    refuse(2, ["arrays.x", "is a value", "tmp:TYPE[SHAPE]"], arrays={"x": "i32:1"})
    refuse(2, ["arrays.x", "No such file"], arrays={"x": "in:/nowhere.npy"})
    refuse(2, ["kernels.add", "'file' is missing"], kernels={"add": {"kernel": "vector_add"}})
    refuse(2, ["kernels.add", "no 'path'", "'file'"], kernels={"add": {"path": "x.ptx"}})
    refused(1, ["nowhere.ptx", "No such file"], "run", "--device", "cpu", "--plan",
            write_plan(folder, {"kernels": {"add": "/nowhere.ptx"}, "entries": []}))
    for changed, words in (({"kernel": "sub"}, ["entries[0].kernel", "no kernel 'sub'"]),
                           ({"grid": "4"}, ["entries[0].grid", "whole number"]), ({"grid": [1, 2, 3, 4]}, ["entries[0].grid", "[X, Y, Z]"]),
                           ({"grid": -1}, ["entries[0].grid", "whole number"]), ({"args": "x"}, ["entries[0].args", "list"]),
                           ({"args": ["x", "x", "w", "i32:1"]}, ["entries[0].args[2]", "arrays"]),
                           ({"args": ["x", "x", "z", "i33:1"]}, ["entries[0].args[3]", "i33"]),
                           ({"args": ["x", "x", "out:f32[3]=q", "i32:1"]}, ["entries[0].args[2]", "name under"]),
                           ({"after": [0]}, ["entries[0].after", "earlier entry"]), ({"after": 0}, ["entries[0].after", "list"]),
                           ({"repeat": -1}, ["entries[0].repeat", "whole number"]), ({"grids": 1}, ["entries[0]", "no 'grids'"]),
                           ({"copy": {}}, ["entries[0]", "one of"])):
        refuse(2, words, entries=[{**entry, **changed}])
    refuse(2, ["entries[0]", "object"], entries=[1])
    refuse(2, ["entries[0].copy", "'from'", "arrays"], entries=[{"copy": {"to": "x", "from": "w"}}])
    refuse(2, ["entries[0].copy", "from 0 to 16000"], entries=[{"copy": {"to": "x", "from": "z", "bytes": 16001}}])
    refuse(2, ["entries[0].fill", "from 0 to 255"], entries=[{"fill": {"to": "x", "value": 256}}])
    refuse(1, ["entries[0]", "4 arguments"], entries=[{**entry, "args": ["x"]}])
    refuse(1, ["entries[0]", "4294967295"], entries=[{**entry, "grid": [1, 4294967295]}])


def compiles(folder):
    signature = "*fp32:16, *fp32:16, *fp32:16, i32, 1024"
    ran = run("compile", KERNELS / "vector_add.py", "--kernel", "vector_add", "--signature", signature, "--arch", "sm_89",
              "--to", "ptx", "-o", folder / "made.ptx", "--save-all", folder / "all", "--no-cache")
    if ran.returncode and b"Triton is not here" in ran.stderr:
        print("skipped: compile from Python: no Triton here")
        return
    made = {path.name for path in (folder / "all").iterdir()} if (folder / "all").exists() else set()
    check("compile --save-all", ran.returncode == 0 and not ran.stdout and made == {
        "vector_add.ttir", "vector_add.ttgir", "vector_add.llir", "vector_add.ptx", "vector_add.json"}, ran.stderr.decode())
    ran = run("compile", folder / "all" / "vector_add.ttir", "--to", "ptx", "--arch", "sm_89", "-o", "-")
    plain = (folder / "made.ptx").read_bytes()
    check("compile -o -", ran.returncode == 0 and len(ran.stdout) > 1000 and plain.startswith(ran.stdout.rstrip()),
          ran.stderr.decode())
    ran = run("compile", folder / "all" / "vector_add.ttir", "--to", "ttgir", "--arch", "sm_89", "--option", "num_warps=8",
              "-o", "-")
    names = (b"ttg", b"triton_gpu")  # the dialect's name until Triton 3.2
    check("compile --option", any(b'"%s.num-warps" = 8' % name in ran.stdout for name in names), ran.stderr.decode())
    refused(1, ["num_warps"], "compile", folder / "all" / "vector_add.llir", "--to", "ptx", "--option", "num_warps=8",
            "-o", "/dev/null")
    refused(1, ["Triton 3.2.99 is not here", "pip install triton==3.2.99", "compile with one that is here", "--triton"],
            "compile", folder / "all" / "vector_add.ttir", "--to", "ptx", "--triton", "3.2.99")
    broken = folder / "broken.ttir"
    broken.write_text((folder / "all" / "vector_add.ttir").read_text().replace("tt.store", "tt.stroe", 1))
    refused(1, ["broken.ttir:", "stroe"], "compile", broken, "--to", "ptx", "--arch", "sm_89", "-o", "/dev/null")


def looks_around(folder):
    env = {"TRITON_RUNNER_CACHE_DIR": str(folder / "cache")}
    doctor = run("doctor", env=env)
    report = json.loads(run("doctor", "--json", env=env).stdout)
    check("doctor", doctor.returncode == 0 and b"cpu device" in doctor.stdout and report["cpu"]["found"], doctor.stdout)
    info = json.loads(run("cache", "info", "--json", env=env).stdout)
    check("cache info", info["folder"] == str(folder / "cache") and info["entries"] == 0, info)
    for action in ("list", "verify", "prune", "clear"):
        check("cache " + action, run("cache", action, env=env).returncode == 0)


help_and_usage()
inspect()
with tempfile.TemporaryDirectory() as made:
    made = pathlib.Path(made)
    launch(made)
    wrong_arguments(made)
    plans(made)
    wrong_plans(made)
    compiles(made)
    looks_around(made)
print("%d checks, %d failed" % (count, len(failures)))
sys.exit(bool(failures))
