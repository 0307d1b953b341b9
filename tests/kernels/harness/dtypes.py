"""Triton's element types as numpy sees them: storage, and exact conversion from and to float64"""
import numpy as np

STORAGE = {
    "i1": np.uint8, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "u1": np.uint8, "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
    "fp16": np.float16, "bf16": np.uint16, "fp32": np.float32, "fp64": np.float64,
    "fp8e4nv": np.uint8, "fp8e5": np.uint8,
}
FLOATS = ("fp16", "bf16", "fp32", "fp64", "fp8e4nv", "fp8e5")
MANTISSA_BITS = {"fp16": 10, "bf16": 7, "fp32": 23, "fp64": 52, "fp8e4nv": 3, "fp8e5": 2}


def fp8_values(name):
    """The value of each of the 256 codes"""
    code = np.arange(256)
    mantissa_bits, bias = (3, 7) if name == "fp8e4nv" else (2, 15)
    exponent, mantissa = (code & 0x7F) >> mantissa_bits, code & ((1 << mantissa_bits) - 1)
    fraction = mantissa / 2.0**mantissa_bits
    value = np.where(exponent == 0, fraction * 2.0**(1 - bias), (1 + fraction) * 2.0**(exponent - float(bias)))
    if name == "fp8e4nv":
        value[(code & 0x7F) == 0x7F] = np.nan
    else:
        value[(exponent == 31) & (mantissa == 0)] = np.inf
        value[(exponent == 31) & (mantissa != 0)] = np.nan
    return np.where(code & 0x80, -value, value)


def fp8_encode(values, name):
    """Round to nearest, ties to the even code; what is too large becomes the largest finite value"""
    finite = fp8_values(name)[:128]
    finite = finite[np.isfinite(finite)]
    magnitude = np.minimum(np.abs(values), finite[-1])
    above = np.searchsorted(finite, magnitude).clip(1, len(finite) - 1)
    middle = (finite[above - 1] + finite[above]) / 2
    up = (magnitude > middle) | ((magnitude == middle) & (above % 2 == 0))
    code = np.where(up, above, above - 1).astype(np.uint8)
    code[np.isnan(values)] = 0x7F
    return code | np.where(np.signbit(values), 0x80, 0).astype(np.uint8)


def bf16_encode(values):
    with np.errstate(over="ignore"):
        bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def encode(values, name):
    """Numbers → an array of the type's storage, contiguous"""
    values = np.asarray(values)
    if name == "bf16":
        return np.ascontiguousarray(bf16_encode(values))
    if name.startswith("fp8"):
        return np.ascontiguousarray(fp8_encode(np.asarray(values, np.float64), name))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(values.astype(STORAGE[name]))


def decode(stored, name):
    """Storage → float64 for float types; integers stay as they are"""
    if name == "bf16":
        return (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if name.startswith("fp8"):
        return fp8_values(name)[stored]
    return stored.astype(np.float64) if name in FLOATS else stored


def quantize(values, name):
    """What is left of the numbers once they are stored in that type"""
    return decode(encode(values, name), name)
