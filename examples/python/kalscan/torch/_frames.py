# SPDX-License-Identifier: MIT
"""The structs of a call, filled from torch's tensors without DLPack's capsules: microseconds count here."""

import functools
import math
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
_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)
# A DLTensor, its shape and its strides one after another, for each number of axes.
_PACK = [Struct(f"=Qiii BBH QQQ {n}q {8 * (5 - n)}x {n}q").pack_into for n in range(6)]


class _Slot:
    """The memory of one tensor's struct, used again and again, and what it says now: mostly what it said before."""

    __slots__ = ("name", "memory", "address", "given", "says")

    def __init__(self, name):
        self.name, self.memory = name, (c_int64 * 16)()
        self.address, self.given, self.says = addressof(self.memory), False, None

    def fill(self, x):
        says = (x.shape, x.stride(), x.dtype, x.device)
        if says != self.says:
            self.describe(*says)
        self.memory[0] = x.data_ptr()

    def describe(self, shape, strides, dtype, device):
        self.says = None
        if dtype not in _TYPES:
            raise TypeError(f"kalscan: a tensor of {dtype}")
        at, axes = (2, device.index) if device.type == "cuda" else (1, 0), len(shape)
        here = (self.address + 48, self.address + 88)
        _PACK[axes](self.memory, 0, 0, *at, axes, *_TYPES[dtype], *here, 0, *shape, *strides)
        self.says = (shape, strides, dtype, device)


@functools.cache
def checkpoint_distance(mixer, dtype, device, states):
    """Tokens from a kept state to the next with which backward needs no forward pass of its own, as the library says
    for this type, device and number of states."""
    frame, number = Frame(), torch.float64 if dtype == torch.float64 else torch.float32
    vector = mixer in _library.TURNING
    shapes = dict(v=(1, 1, 1, 3) if vector else (1, 1, 1), k=(1, 1, states), q=(1, 1, states))
    shapes |= dict(g=(1, states)) if mixer == _library.GLA else dict(Lambda=(1, 1, 1), a=(1, states), p=(1, states))
    shapes |= dict(r=(1, 1, 1, 4)) if vector else {}
    for name, shape in shapes.items():
        slot = frame.slots[name] = _Slot(name)
        strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
        slot.describe(shape, strides, number if name in "apg" else dtype, device)  # no data: they are not looked at
        setattr(frame.inputs, name, slot.address)
    every = c_int64()
    _library.check(
        _library.library.kalscan_backward_checkpoints(mixer, frame.pointers[0], frame.pointers[3], byref(every))
    )
    return every.value


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
            slots = self.slots[group] = [_Slot(name) for name in names]
        for slot, x in zip(slots, tensors):
            if x is not None:
                slot.fill(x)
            if slot.given is (x is None):
                slot.given = x is not None
                setattr(struct, slot.name, slot.address if slot.given else None)

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
