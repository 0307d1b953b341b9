"""cold_start.py KERNEL: the first result by Python with Triton and torch, as cold_start has it from the library"""
import importlib.util
import os
import sys

import torch

spec = importlib.util.spec_from_file_location("vector_add", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
x = torch.arange(98304, dtype=torch.float32)
y = 3 * x + 1
out = torch.empty(98304, device="cuda")
module.vector_add[(96,)](x.cuda(), y.cuda(), out, 98304, BLOCK=1024)
if not torch.equal(out.cpu(), x + y):
    sys.exit("wrong")
os.write(1, b"r")
