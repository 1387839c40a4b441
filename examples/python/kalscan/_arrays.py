# SPDX-License-Identifier: MIT
"""Arrays of any framework as DLPack tensors, and new arrays of the same kind."""

import ctypes
from ctypes import addressof, c_char_p, c_int64, c_void_p, py_object

import numpy

from ._library import CPU, CUDA, CUDA_HOST, CUDA_MANAGED, DataType, Device, DLTensor

_capsule_pointer = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))

# DLPack's codes of types.
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
TYPES = {"float64": (2, 64), "float32": (2, 32), "float16": (2, 16), "bfloat16": (4, 16), "int64": (0, 64)}
_NAMES = {code: name for name, code in TYPES.items()}


class Array:
    """A DLPack tensor and the object whose memory it is: kept while a call runs."""

    __slots__ = ("tensor", "owner", "_axes")

    def __init__(self, tensor, owner, axes=None):
        self.tensor, self.owner, self._axes = tensor, owner, axes

    @property
    def address(self):
        return addressof(self.tensor)

    @property
    def shape(self):
        return tuple(self.tensor.shape[: self.tensor.ndim])

    @property
    def dtype(self):
        """Its name, or None of a type that the library does not have."""
        type = self.tensor.dtype
        return _NAMES.get((type.code, type.bits)) if type.lanes == 1 else None

    @property
    def on_host(self):
        return self.tensor.device.device_type in (CPU, CUDA_HOST)


def _described(data, device, type, shape, strides, owner):
    axes = (c_int64 * (2 * len(shape)))(*shape, *strides)
    tensor = DLTensor(data, device, len(shape), type)
    tensor.shape = ctypes.cast(axes, ctypes.POINTER(c_int64))
    tensor.strides = ctypes.cast(addressof(axes) + 8 * len(shape), ctypes.POINTER(c_int64))
    return Array(tensor, owner, axes)


def _of_numpy(name, x):
    kind = x.dtype.kind
    code = 4 if x.dtype.name == "bfloat16" else _CODES.get(kind)
    if code is None or not x.dtype.isnative:
        raise TypeError(f"kalscan: {name} is an array of {x.dtype}")
    if any(stride % x.itemsize for stride in x.strides):
        raise ValueError(f"kalscan: {name} has strides of {x.strides} bytes, not of whole elements of {x.itemsize}")
    strides = [stride // x.itemsize for stride in x.strides]
    return _described(x.ctypes.data, Device(CPU, 0), DataType(code, 8 * x.itemsize, 1), x.shape, strides, x)


def of(name, x, stream=None, written=False):
    """What a call gets of an array. `stream`: the one in which it will run, for arrays on a GPU."""
    if x is None:
        return None
    if isinstance(x, numpy.ndarray):
        if written and not x.flags.writeable:
            raise ValueError(f"kalscan: {name} is to be written, but may only be read")
        return _of_numpy(name, x)
    if isinstance(x, (int, float, list, tuple, numpy.generic)):
        return _of_numpy(name, numpy.asarray(x))
    if not hasattr(x, "__dlpack__"):
        raise TypeError(f"kalscan: {name} is a {type(x).__name__}, which has no __dlpack__")
    if written and type(x).__module__.split(".")[0] in ("jax", "jaxlib"):
        raise ValueError(f"kalscan: {name} is to be written, but JAX's arrays are immutable")
    device = x.__dlpack_device__()[0]
    if device in (CUDA, CUDA_MANAGED):
        capsule = x.__dlpack__(stream=stream or 1)  # of the default stream DLPack has 1, CUDA 0
    else:
        capsule = x.__dlpack__()
    # Not renamed: the capsule stays the owner, and frees what it holds when the call is over.
    return Array(DLTensor.from_address(_capsule_pointer(capsule, b"dltensor")), (capsule, x))


def kind_of(x):
    """The framework whose arrays results are: torch's and CuPy's own, else numpy's."""
    root = type(x).__module__.split(".")[0]
    return root if root in ("torch", "cupy") else "numpy"


def current_stream(x):
    """The stream in which the framework of `x` works now, as a number: torch's or CuPy's, else the default one, 0."""
    kind = kind_of(x)
    if kind == "torch" and x.is_cuda:
        import torch

        return torch.cuda.current_stream(x.device).cuda_stream
    if kind == "cupy":
        import cupy

        with x.device:
            return cupy.cuda.get_current_stream().ptr
    return 0


def empty(like, shape, dtype):
    """A new array on the device and of the kind of `like` = (object, Array)."""
    x, array = like
    kind = kind_of(x)
    if kind == "torch":
        import torch

        return torch.empty(shape, dtype=getattr(torch, dtype), device=x.device)
    if kind == "cupy":
        import cupy

        with x.device:
            return cupy.empty(shape, dtype)
    if not array.on_host:
        raise ValueError(
            f"kalscan: results on a GPU are torch's or CuPy's arrays, not of {type(x).__name__}: give out="
        )
    if dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise TypeError("kalscan: numpy has no bfloat16 without the package ml_dtypes: give out=") from None
        return numpy.empty(shape, ml_dtypes.bfloat16)
    return numpy.empty(shape, dtype)
