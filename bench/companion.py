"""What other libraries do, measured when a benchmark asks: requests on stdin, answers on stdout, a line each.

  versions                                         the versions of what is here
  launch WAY ARGUMENTS BURST IMAGE                 ns of CPU time per launch; WAY: triton-run, triton-grid, cupy, cuda-core
  product WAY KERNEL M N K LAUNCHES CONSTANTS OPTIONS FILE
                                                   ms of GPU time per product; WAY: triton, cublas
Answers: "ok NUMBER", "missing WHY" where a library is not installed, "failed WHY" where a result was wrong.
"""
import ctypes
import functools
import importlib
import importlib.util
import json
import os
import sys
import tempfile
import time

KINDS = ("pointer", "integer", "float")


class Wrong(Exception):
    pass


def load_source(name, text):
    path = os.path.join(tempfile.mkdtemp(), name + ".py")  # @triton.jit reads its function's file
    with open(path, "w") as file:
        file.write(text)
    return load_file(name, path)


def load_file(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


# ---- launches of a kernel that counts them; each maker returns a function that launches it once, and its counter ----

def values(count, of_kind):
    return [of_kind[KINDS[i % 3]] for i in range(count)]


def triton_kernel(count):
    parameters = ", ".join("p%d" % i for i in range(count))
    body = "    tl.atomic_add(p0, 1)" if count else "    pass"
    return load_source("counting", "import triton\nimport triton.language as tl\n\n\n@triton.jit\n"
                       "def counting(%s):\n%s\n" % (parameters, body))


def launch_triton_grid(count, image):
    import torch
    counter = torch.zeros(1, dtype=torch.int32, device="cuda")
    kernel, given = triton_kernel(count), values(count, {"pointer": counter, "integer": 7, "float": 1.5})
    return lambda: kernel[(1,)](*given), counter


def launch_triton_run(count, image):
    import torch
    counter = torch.zeros(1, dtype=torch.int32, device="cuda")
    given = values(count, {"pointer": counter, "integer": 7, "float": 1.5})
    compiled = triton_kernel(count)[(1,)](*given)
    torch.cuda.synchronize()
    counter.zero_()
    stream = torch.cuda.current_stream().cuda_stream
    run, function, metadata = compiled.run, compiled.function, compiled.packed_metadata
    return lambda: run(1, 1, 1, stream, function, metadata, None, None, None, *given), counter


def launch_cupy(count, image):
    import cupy
    import numpy
    counter = cupy.zeros(1, dtype=cupy.int32)
    kernel = cupy.RawModule(path=image).get_function("counting")
    given = tuple(values(count, {"pointer": counter, "integer": numpy.int32(7), "float": numpy.float32(1.5)}) +
                  [numpy.uint64(0)] * 2)
    return lambda: kernel((1,), (128,), given), counter


def launch_cuda_core(count, image):
    import torch
    try:
        from cuda.core import Device, LaunchConfig, ObjectCode, launch
    except ImportError:
        from cuda.core.experimental import Device, LaunchConfig, ObjectCode, launch
    counter = torch.zeros(1, dtype=torch.int32, device="cuda")
    device = Device()
    device.set_current()
    with open(image, "rb") as file:
        kernel = ObjectCode.from_cubin(file.read()).get_kernel("counting")
    stream, config = device.default_stream, LaunchConfig(grid=1, block=128)
    given = values(count, {"pointer": counter.data_ptr(), "integer": ctypes.c_int32(7),
                           "float": ctypes.c_float(1.5)}) + [ctypes.c_uint64(0)] * 2
    return lambda: launch(stream, config, kernel, *given), counter


@functools.lru_cache(None)
def launcher(way, count, image):
    makers = {"triton-run": launch_triton_run, "triton-grid": launch_triton_grid, "cupy": launch_cupy,
              "cuda-core": launch_cuda_core}
    return (*makers[way](count, image), [0])


def launch(way, count, burst, image):
    import torch
    once, counter, launched = launcher(way, int(count), image)
    torch.cuda.synchronize()
    begin = time.perf_counter_ns()
    for _ in range(int(burst)):
        once()
    taken = time.perf_counter_ns() - begin
    torch.cuda.synchronize()
    launched[0] += int(burst)
    if int(count) and int(counter[0]) != launched[0]:
        raise Wrong("of %d launches %d arrived" % (launched[0], int(counter[0])))
    return taken / int(burst)


# ---- products of matrices ----

@functools.lru_cache(1)
def matrices(m, n, k):
    """As workload.c makes them: halves of which each is 0.5 to 1, or the negative of that"""
    import torch
    generator = torch.Generator("cuda").manual_seed(1)

    def random(*shape):
        signs = torch.randint(0, 2, shape, generator=generator, device="cuda") * 2 - 1
        return ((torch.rand(shape, generator=generator, device="cuda") + 1) / 2 * signs).half()

    return random(m, k), random(k, n)


def check_product(a, b, c):
    import torch
    rows = torch.randint(0, a.shape[0], (64,), device="cuda")
    columns = torch.randint(0, b.shape[1], (64,), device="cuda")
    wanted = (a[rows].double() * b[:, columns].T.double()).sum(1)
    error = float(((c[rows, columns].double() - wanted).abs() / wanted.abs().clamp(min=1)).max())
    if not error < 2e-3:
        raise Wrong("the product is wrong by %g" % error)


@functools.lru_cache(None)
def kernel_of(name, file):
    return load_file(name, file)


def triton_product(name, file, a, b, c, constants, options):
    import torch
    import triton
    (m, k), n = a.shape, b.shape[1]
    kernel, cdiv = kernel_of(name, file), triton.cdiv
    if name == "matmul":
        grid = (cdiv(m, constants[0]) * cdiv(n, constants[1]),)
        return lambda: kernel[grid](a, b, c, m, n, k, k, n, n, *constants, **options)
    triton.set_allocator(lambda size, align, stream: torch.empty(size, dtype=torch.int8, device="cuda"))
    grid = (cdiv(m, constants[0]), cdiv(n, constants[1]))
    return lambda: kernel[grid](a, b, c, m, n, k, *constants, **options)


@functools.lru_cache(2)
def product_graph(way, name, m, n, k, launches, constants, options, file):
    import torch
    a, b = matrices(m, n, k)
    c = torch.zeros(m, n, dtype=torch.half, device="cuda")
    constants = [int(one) for one in constants.split(",")]
    once = (lambda: torch.matmul(a, b, out=c)) if way == "cublas" else triton_product(
        name, file, a, b, c, constants, json.loads(options))
    once()
    torch.cuda.synchronize()
    check_product(a, b, c)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(launches):
            once()
    return graph, (a, b, c)


def product(way, name, m, n, k, launches, constants, options, file):
    import torch
    graph, arrays = product_graph(way, name, int(m), int(n), int(k), int(launches), constants, options, file)
    arrays[2].zero_()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    graph.replay()
    end.record()
    torch.cuda.synchronize()
    check_product(*arrays)
    return begin.elapsed_time(end) / int(launches)


# ---- requests ----

def versions():
    from importlib import metadata
    found = []
    for name in ("torch", "triton", "cupy-cuda13x", "cupy-cuda12x", "cuda-core", "numpy"):
        try:
            found.append("%s %s" % (name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            pass
    return ", ".join(["Python %d.%d.%d" % sys.version_info[:3]] + found)


def answer(words):
    requests = {"versions": versions, "launch": launch, "product": product}
    try:
        return ("%s" if words[0] == "versions" else "ok %r") % requests[words[0]](*words[1:])
    except ImportError as error:
        return "missing %s" % error
    except Exception as error:  # the benchmark prints it, and ends
        return "failed %s: %s" % (type(error).__name__, error)


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints
    for line in sys.stdin:
        print(answer(line.split()).replace("\n", " "), file=answers, flush=True)


main()
