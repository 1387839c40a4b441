# SPDX-License-Identifier: MIT
"""The shared library and the structs of its C interface (include/kalscan.h), for ctypes.

Pure Python, so that one wheel serves every version of Python and its headers are not needed to build it."""

import ctypes
import os
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint16,
    c_uint64,
    c_void_p,
)
from pathlib import Path


class Error(RuntimeError):
    """What the library reports besides bad arguments (ValueError) and lack of memory (MemoryError)."""


class FilterError(Error):
    """A step of a matrix filter that cannot be computed."""


class DeviceError(Error):
    """What CUDA reported."""


class NotBuilt(Error):
    """The library has no code for this device, type or mixer."""


class Device(Structure):
    _fields_ = [("device_type", c_int32), ("device_id", c_int32)]


class DataType(Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class DLTensor(Structure):
    _fields_ = [
        ("data", c_void_p),
        ("device", Device),
        ("ndim", c_int32),
        ("dtype", DataType),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


def _pointers(*names):
    return [(name, c_void_p) for name in names]


class Run(Structure):
    _fields_ = [
        ("threads", c_int32),
        ("check_nan", c_int32),
        ("chunk", c_int64),
        ("stream", c_void_p),
        ("workspace", c_void_p),
        ("workspace_bytes", c_size_t),
    ]


class Inputs(Structure):
    _fields_ = _pointers("v", "Lambda", "r", "k", "q", "a", "p", "g")


class Outputs(Structure):
    _fields_ = _pointers("y", "yvar")


class State(Structure):
    _fields_ = [*_pointers("mean", "variance"), ("information", c_int32)]


class States(Structure):
    _fields_ = [
        *_pointers("offsets"),
        ("initial", State),
        ("final", State),
        ("checkpoints", State),
        ("every", c_int64),
        ("final_bar", State),
        ("initial_bar", State),
    ]


class Model(Structure):
    _fields_ = [
        *_pointers("F", "Q", "H", "R", "B", "D", "u", "prior_mean", "prior_covariance", "diffuse"),
        ("before_first_step", c_int32),
        ("square_root", c_int32),
    ]


class Beliefs(Structure):
    _fields_ = _pointers("mean", "covariance", "diffuse")


class Filtered(Structure):
    _fields_ = [
        ("filtered", Beliefs),
        ("predicted", Beliefs),
        *_pointers("innovation", "innovation_covariance", "log_likelihood_terms", "log_likelihood"),
    ]


KLA, KLA_PREDICTED, ROTATING_KLA, GLA, ROTATING_KLA_PREDICTED = range(5)
TURNING = (ROTATING_KLA, ROTATING_KLA_PREDICTED)  # values and means are vectors in space
CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13

_ERRORS = {1: ValueError, 2: FilterError, 3: MemoryError, 4: DeviceError, 5: NotBuilt}
_ARGUMENTS = {
    "forward": (c_int, POINTER(Inputs), POINTER(Outputs), POINTER(States), POINTER(Run)),
    "step": (c_int, POINTER(Inputs), POINTER(Outputs), POINTER(State), POINTER(Run)),
    "backward": (c_int, POINTER(Inputs), POINTER(Outputs), POINTER(Inputs), POINTER(States), POINTER(Run)),
    "forward_workspace": (c_int, POINTER(Inputs), POINTER(States), POINTER(Run), POINTER(c_size_t)),
    "backward_workspace": (c_int, POINTER(Inputs), POINTER(States), POINTER(Run), POINTER(c_size_t)),
    "backward_checkpoints": (c_int, POINTER(Inputs), POINTER(States), POINTER(c_int64)),
    "filter": (POINTER(Model), c_void_p, c_void_p, POINTER(Filtered), POINTER(Run)),
    "log_likelihood": (POINTER(Model), c_void_p, c_void_p, c_void_p, POINTER(Run)),
    "smooth": (POINTER(Model), c_void_p, c_void_p, POINTER(Beliefs), POINTER(Filtered), POINTER(Run)),
}


def _load():
    """The library of the wheel, or the one that KALSCAN_LIBRARY names."""
    here = Path(__file__).parent
    paths = [os.environ["KALSCAN_LIBRARY"]] if "KALSCAN_LIBRARY" in os.environ else sorted(here.glob("*kalscan_c.*"))
    if not paths:
        raise ImportError(f"kalscan: no libkalscan_c in {here}: pip install builds it; or let KALSCAN_LIBRARY name one")
    library = ctypes.CDLL(str(paths[0]))
    if library.kalscan_interface_version() != 1:
        raise ImportError(
            f"kalscan: {paths[0]} has version {library.kalscan_interface_version()} of the interface, not 1"
        )
    library.kalscan_last_error.restype = c_char_p
    for name, types in _ARGUMENTS.items():
        getattr(library, "kalscan_" + name).argtypes = types
    return library


library = _load()


def check(status):
    """Raises what a call reports."""
    if status:
        raise _ERRORS.get(status, Error)(library.kalscan_last_error().decode())


def has_device(device_type):
    return bool(library.kalscan_has_device(device_type))


def workspace_bytes(verb, *arguments):
    size = c_size_t()
    check(getattr(library, f"kalscan_{verb}_workspace")(*arguments, byref(size)))
    return size.value
