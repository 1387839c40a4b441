# SPDX-License-Identifier: MIT
"""The structs of a call, filled from torch's tensors without DLPack's capsules: microseconds count here."""

from ctypes import POINTER, addressof, byref, c_int64, cast

import torch

from .. import _library
from .._library import DataType, Device, DLTensor

_TYPES = {torch.float64: DataType(2, 64, 1), torch.float32: DataType(2, 32, 1), torch.float16: DataType(2, 16, 1),
          torch.bfloat16: DataType(4, 16, 1), torch.int64: DataType(0, 64, 1)}
_CPU = Device(1, 0)
_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)


class _Slot:
    """One tensor's struct, used again and again."""

    __slots__ = ("tensor", "axes", "address")

    def __init__(self):
        self.tensor, self.axes = DLTensor(), (c_int64 * 10)()
        self.tensor.shape = cast(self.axes, POINTER(c_int64))
        self.tensor.strides = cast(addressof(self.axes) + 40, POINTER(c_int64))
        self.address = addressof(self.tensor)

    def fill(self, x):
        tensor, n = self.tensor, x.dim()
        tensor.data, tensor.ndim = x.data_ptr(), n
        self.axes[0:n], self.axes[5:5 + n] = x.shape, x.stride()
        tensor.dtype = _TYPES.get(x.dtype) or _refuse(x)
        tensor.device = Device(2, x.device.index) if x.is_cuda else _CPU
        return self.address


def _refuse(x):
    raise TypeError(f"kalscan: a tensor of {x.dtype}")


class Frame:
    """All structs of one call. Frames are taken from a list and put back, so that threads do not share one."""

    free = []

    def __init__(self):
        self.inputs, self.outputs, self.gradients = _library.Inputs(), _library.Outputs(), _library.Inputs()
        self.states, self.run = _library.States(), _library.Run()
        self.slots = {}
        self.pointers = [byref(x) for x in (self.inputs, self.outputs, self.gradients, self.states, self.run)]

    @classmethod
    def take(cls):
        try:
            return cls.free.pop()
        except IndexError:
            return cls()

    def put_back(self):
        Frame.free.append(self)

    def set(self, group, struct, names, tensors):
        slots = self.slots.get(group)
        if slots is None:
            slots = self.slots[group] = [_Slot() for _ in names]
        for name, slot, x in zip(names, slots, tensors):
            setattr(struct, name, None if x is None else slot.fill(x))

    def set_state(self, name, mean, variance, information=0):
        state = getattr(self.states, name)
        self.set(name, state, ("mean", "variance"), (mean, variance))
        state.information = information

    def on_device(self, x, workspace_bytes):
        """The stream, and a workspace of torch's own allocator, for a call on a GPU; its memory is to be kept until it is
        enqueued, after which the stream's order keeps it."""
        run = self.run
        run.workspace, run.workspace_bytes = None, 0
        if not x.is_cuda:
            run.stream = None
            return None
        index = x.device.index
        run.stream = _raw_stream(index) if _raw_stream else torch.cuda.current_stream(index).cuda_stream
        size = workspace_bytes()
        if size == 0:
            return None
        memory = torch.empty(size, dtype=torch.uint8, device=x.device)
        run.workspace, run.workspace_bytes = memory.data_ptr(), size
        return memory
