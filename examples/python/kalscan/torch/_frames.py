# SPDX-License-Identifier: MIT
"""The structs of a call, filled from torch's tensors without DLPack's capsules: microseconds count here."""

from ctypes import addressof, byref, c_int64
from struct import Struct

import torch

from .. import _library

# Code, bits and lanes of a type as DLPack has them.
_TYPES = {
    torch.float64: (2, 64, 1),
    torch.float32: (2, 32, 1),
    torch.float16: (2, 16, 1),
    torch.bfloat16: (4, 16, 1),
    torch.int64: (0, 64, 1),
}
_CPU = (1, 0)
_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)
# A DLTensor, its shape and its strides one after another, for each number of axes.
_PACK = [Struct(f"=Qiii BBH QQQ {n}q {8 * (5 - n)}x {n}q").pack_into for n in range(6)]


class _Slot:
    """The memory of one tensor's struct, used again and again."""

    __slots__ = ("memory", "address", "shape", "strides")

    def __init__(self):
        self.memory = (c_int64 * 16)()
        self.address = addressof(self.memory)
        self.shape, self.strides = self.address + 48, self.address + 88

    def fill(self, x):
        n = x.dim()
        device = (2, x.device.index) if x.is_cuda else _CPU
        _PACK[n](
            self.memory,
            0,
            x.data_ptr(),
            *device,
            n,
            *(_TYPES.get(x.dtype) or _refuse(x)),
            self.shape,
            self.strides,
            0,
            *x.shape,
            *x.stride(),
        )
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
        """The stream, and a workspace of torch's own allocator, for a call on a GPU; its memory is to be kept until it
        is enqueued, after which the stream's order keeps it."""
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
