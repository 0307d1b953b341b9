"""A client of the plain CUDA Driver API, for any library that implements it"""
import ctypes
import os
import re

import numpy as np

from . import dtypes

u32, u64, pointer = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p
MAX_DYNAMIC_SHARED, DEVICE_MAX_OPTIN = 8, 97
JIT_ERROR_LOG, JIT_ERROR_LOG_SIZE = 5, 6
ATTRIBUTE_COOPERATIVE, ATTRIBUTE_CLUSTER, ATTRIBUTE_CLUSTER_POLICY = 2, 4, 5
POLICY_SPREAD = 1
# Triton's element types as CUtensorMapDataType
TENSOR_MAP_TYPE = {"u8": 0, "i8": 0, "fp8e4nv": 0, "fp8e5": 0, "u16": 1, "i16": 1, "u32": 2, "i32": 3, "u64": 4,
                   "i64": 5, "fp16": 6, "fp32": 7, "fp64": 8, "bf16": 9}


class LaunchAttribute(ctypes.Structure):
    _fields_ = [("id", u32), ("pad", u32), ("value", u32 * 16)]


class LaunchConfig(ctypes.Structure):
    _fields_ = [("grid", u32 * 3), ("block", u32 * 3), ("shared", u32), ("stream", pointer),
                ("attributes", ctypes.POINTER(LaunchAttribute)), ("attribute_count", u32)]


class DriverError(Exception):

    def __init__(self, call, code, name, detail=""):
        super().__init__("%s: %s%s" % (call, name, ": " + detail if detail else ""))
        self.code, self.name, self.detail = code, name, detail


class Driver:
    """One device of one driver library, its primary context current in this thread"""

    def __init__(self, path):
        self.library = ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_LOCAL)
        self.call("cuInit", u32(0))
        device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        context = pointer()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        limit = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(limit), ctypes.c_int(DEVICE_MAX_OPTIN), device)
        self.max_shared = limit.value

    def call(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self.library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(text))
            raise DriverError(name, code, (text.value or b"error %d" % code).decode(), self.last_fault())

    def last_fault(self):
        """What the CPU device says beyond a CUresult; "" from other drivers"""
        if not hasattr(self.library, "trcpu_last_fault"):
            return ""
        text = ctypes.create_string_buffer(4096)
        self.library.trcpu_last_fault(None, text, ctypes.c_size_t(len(text)))
        return text.value.decode(errors="replace")

    def load(self, ptx, kernel):
        """A function of a PTX text (or a cubin's bytes)

        A driver older than the PTX names the version it knows: the text is given to it as that, and it refuses what it
        does not know."""
        try:
            return self.load_as_is(ptx, kernel)
        except DriverError as error:
            known = re.search(r"current version is '([\d.]+)'", error.detail)
            if error.name != "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" or not known:
                raise
            return self.load_as_is(re.sub(rb"(?m)^\.version [\d.]+", b".version " + known.group(1).encode(), ptx), kernel)

    def load_as_is(self, ptx, kernel):
        log = ctypes.create_string_buffer(8192)
        options = (ctypes.c_int * 2)(JIT_ERROR_LOG, JIT_ERROR_LOG_SIZE)
        values = (pointer * 2)(ctypes.cast(log, pointer), pointer(len(log)))
        module, function = pointer(), pointer()
        try:
            self.call("cuModuleLoadDataEx", ctypes.byref(module), ctypes.c_char_p(ptx + b"\0"), u32(2), options, values)
        except DriverError as error:
            raise DriverError("cuModuleLoadDataEx", error.code, error.name, log.value.decode(errors="replace").strip())
        self.call("cuModuleGetFunction", ctypes.byref(function), module, ctypes.c_char_p(kernel.encode()))
        return module, function

    def unload(self, module):
        self.call("cuModuleUnload", module)

    def allocate(self, size):
        address = u64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        return address.value

    def free(self, address):
        self.call("cuMemFree_v2", u64(address))

    def upload(self, array):
        address = self.allocate(array.nbytes)
        if array.nbytes:
            self.call("cuMemcpyHtoD_v2", u64(address), array.ctypes.data_as(pointer), ctypes.c_size_t(array.nbytes))
        return address

    def download(self, address, array):
        out = np.empty_like(array)
        if out.nbytes:
            self.call("cuMemcpyDtoH_v2", out.ctypes.data_as(pointer), u64(address), ctypes.c_size_t(out.nbytes))
        return out

    def fill(self, address, size, byte=0):
        self.call("cuMemsetD8_v2", u64(address), ctypes.c_ubyte(byte), ctypes.c_size_t(size))

    def launch(self, function, grid, block, shared, parameters, cluster=1, cooperative=False):
        """parameters: one ctypes object per kernel parameter; returns when the kernel is done"""
        if shared > 48 * 1024:
            self.call("cuFuncSetAttribute", function, ctypes.c_int(MAX_DYNAMIC_SHARED), ctypes.c_int(shared))
        attributes = (LaunchAttribute * 3)()
        count = 0
        for id_, values in ([(ATTRIBUTE_CLUSTER, (cluster, 1, 1)), (ATTRIBUTE_CLUSTER_POLICY, (POLICY_SPREAD, ))]
                            if cluster > 1 else []) + ([(ATTRIBUTE_COOPERATIVE, (1, ))] if cooperative else []):
            attributes[count].id = id_
            for i, value in enumerate(values):
                attributes[count].value[i] = value
            count += 1
        config = LaunchConfig((u32 * 3)(*grid), (u32 * 3)(block, 1, 1), shared, None, attributes, count)
        pointers = (pointer * len(parameters))(*[ctypes.addressof(parameter) for parameter in parameters])
        self.call("cuLaunchKernelEx", ctypes.byref(config), function, pointers, None)
        self.call("cuCtxSynchronize")

    def encode_tensor_map(self, address, meta, descriptor, type_):
        """CUtensorMap of a row-major tensor, by the kernel's own metadata (its block shape and swizzle)"""
        tensor_map = (ctypes.c_ubyte * 192)()
        aligned = (ctypes.addressof(tensor_map) + 63) // 64 * 64
        shape, element = descriptor.array.shape, descriptor.array.itemsize
        rank = len(shape)
        strides = [stride * element for stride in element_strides(shape)]
        self.call("cuTensorMapEncodeTiled", pointer(aligned), ctypes.c_int(TENSOR_MAP_TYPE[type_]), u32(rank),
                  u64(address), (u64 * rank)(*shape[::-1]), (u64 * (rank - 1))(*strides[:-1][::-1]),
                  (u32 * rank)(*list(meta["block_size"])[::-1]), (u32 * rank)(*[1] * rank), ctypes.c_int(0),
                  ctypes.c_int(meta["swizzle"]), ctypes.c_int(2), ctypes.c_int(1 if descriptor.nan_fill else 0))
        out = (ctypes.c_ubyte * 128)()
        ctypes.memmove(out, aligned, 128)
        return out


def element_strides(shape):
    strides = [1]
    for extent in shape[:0:-1]:
        strides.insert(0, strides[0] * extent)
    return strides


SCALARS = {"i1": ctypes.c_uint8, "u1": ctypes.c_uint8, "i8": ctypes.c_int8, "u8": ctypes.c_uint8,
           "i16": ctypes.c_int16, "u16": ctypes.c_uint16, "i32": ctypes.c_int32, "u32": ctypes.c_uint32,
           "i64": ctypes.c_int64, "u64": ctypes.c_uint64, "fp32": ctypes.c_float, "fp64": ctypes.c_double}


def scalar(type_, value):
    if type_ in ("fp16", "bf16"):
        return ctypes.c_uint16(int(dtypes.encode(np.array([value]), type_).view(np.uint16)[0]))
    return SCALARS[type_](value)


class Parsed:
    """What a launch needs and only the PTX text tells: number of parameters, threads"""

    def __init__(self, ptx, kernel):
        entry = re.search(r"\.entry\s+%s\s*\((.*?)\)(.*?)\{" % re.escape(kernel), ptx, re.S)
        self.parameter_count = len(re.findall(r"\.param\b", entry.group(1)))
        threads = re.search(r"\.reqntid\s+(\d+)", entry.group(2)) or re.search(r"\.maxntid\s+(\d+)", entry.group(2))
        self.threads = int(threads.group(1)) if threads else None


def expand_descriptor(driver, descriptor, type_, address, meta, version):
    """The parameters a host-made descriptor becomes: a tensor map, or a pointer with its shape and strides"""
    shape, strides = descriptor.array.shape, element_strides(descriptor.array.shape)
    tail = [ctypes.c_int32(extent) for extent in shape] + [ctypes.c_int64(stride) for stride in strides]
    if meta:
        return [driver.encode_tensor_map(address, meta, descriptor, type_)] + tail
    flags = [] if version < (3, 5) else [ctypes.c_uint8(descriptor.nan_fill)]
    flags += [] if version < (3, 7) else [ctypes.c_uint8(0)]
    return [u64(address)] + [ctypes.c_int64(n) for n in list(shape) + strides] + flags + tail


def run_case(driver, case, ptx, metadata):
    """Loads, launches, reads back: ({parameter: storage after}, arguments)"""
    arguments = case.arguments()
    parsed = Parsed(ptx.decode(), metadata["name"])
    version = tuple(int(part) for part in metadata.get("triton_version", "3.2.0").split(".")[:2])
    ctas = metadata.get("num_ctas", 1)
    grid = (case.grid[0] * ctas, ) + case.grid[1:]
    module, function = driver.load(case.prepare_ptx(ptx), metadata["name"])
    held, parameters, buffers = [], [], {}
    metas = iter(metadata.get("tensordesc_meta") or [])

    for parameter in case.parameters:
        if parameter.constant or parameter.folded:
            continue
        value = arguments[parameter.name]
        if not parameter.pointer and not parameter.descriptor:
            parameters.append(scalar(parameter.type, value))
            continue
        array = value.array if parameter.descriptor else value
        held.append(case.place(driver, parameter.name, array))
        buffers[parameter.name] = (held[-1], array)
        if parameter.descriptor:
            parameters += expand_descriptor(driver, value, parameter.type, held[-1], next(metas, None), version)
        else:
            parameters.append(u64(held[-1]))

    hidden = parsed.parameter_count - len(parameters)
    ctas_in_grid = int(np.prod(grid))
    for size in ([metadata.get("global_scratch_size", 0), metadata.get("profile_scratch_size", 0)] + [0] * 8)[:hidden]:
        held.append(driver.allocate(size * ctas_in_grid) if size else 0)
        parameters.append(u64(held[-1]))
    block, shared = case.launch_shape(parsed.threads or 32 * metadata["num_warps"], metadata["shared"])
    driver.launch(function, grid, block, shared, parameters, ctas,
                  bool(metadata.get("launch_cooperative_grid")))
    results = {name: driver.download(address, array) for name, (address, array) in buffers.items()}
    for address in filter(None, held):
        driver.free(address)
    driver.unload(module)
    return results, arguments
