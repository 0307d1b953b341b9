"""What Triton's interpreter mode takes for the example kernels: interpreted.py FOLDER ADDED ROWS COLUMNS SIZE

Prints "name milliseconds", the least of three, for each; nothing without torch and Triton. A kernel that the interpreter
can't run (3.6's can't loop up to an argument with NumPy 2.4) is left out, and told on stderr why."""
import importlib
import sys
import time

folder, added, rows, columns, size = sys.argv[1], *map(int, sys.argv[2:])
try:
    import torch
    import triton  # noqa: F401
except ImportError:
    sys.exit(0)
torch.set_num_threads(1)
sys.path.insert(0, folder)


def kernel(name):
    return getattr(importlib.import_module(name), name)


def least(name, launch, right):
    taken = []
    for _ in range(3):
        begin = time.perf_counter()
        try:
            launch()
        except Exception as error:
            reason = error.__cause__ or error
            print(f"SKIPPED: {name} in Triton's interpreter mode: {type(reason).__name__}: {reason}", file=sys.stderr)
            return
        taken.append(time.perf_counter() - begin)
    assert right(), name
    print(name, min(taken) * 1e3, flush=True)


x, y, out = torch.rand(added), torch.rand(added), torch.empty(added)
least("vector_add", lambda: kernel("vector_add")[(triton.cdiv(added, 1024), )](x, y, out, added, BLOCK=1024),
      lambda: torch.equal(out, x + y))

x, out = torch.rand(rows, columns), torch.empty(rows, columns)
least("softmax", lambda: kernel("softmax")[(rows, )](x, out, columns, columns, columns, BLOCK=1024),
      lambda: torch.allclose(out, torch.softmax(x, 1), rtol=1e-4, atol=1e-6))

x, weight, bias = torch.rand(rows, columns).half(), torch.rand(columns), torch.rand(columns)
out, mean, rstd = torch.empty_like(x), torch.empty(rows), torch.empty(rows)
least("layer_norm", lambda: kernel("layer_norm")[(rows, )](x, weight, bias, out, mean, rstd, columns, columns, 1e-5,
                                                          BLOCK=512),
      lambda: torch.allclose(out.float(), torch.nn.functional.layer_norm(x.float(), (columns, ), weight, bias, 1e-5),
                             rtol=1e-2, atol=1e-2))

a, b, c = torch.rand(size, size).half(), torch.rand(size, size).half(), torch.empty(size, size).half()
least("matmul", lambda: kernel("matmul")[((size // 64)**2, )](a, b, c, size, size, size, size, size, size, BLOCK_M=64,
                                                             BLOCK_N=64, BLOCK_K=32, GROUP_M=8),
      lambda: torch.allclose(c.float(), a.float() @ b.float(), rtol=1e-2, atol=1e-1))
