# SPDX-License-Identifier: MIT
"""Sequence mixers over arrays of any framework: kla, rotating_kla and gla, forward, step and backward.

B sequences, L tokens, M channels, S states. Arrays are whatever has __dlpack__ (or numbers, for parameters); results
are new arrays of the kind of v: torch's and CuPy's own, else numpy's. No gradients are recorded: for those of torch see
kalscan.torch."""

from ctypes import byref, c_int64, pointer
from typing import Any, NamedTuple

from . import _arrays, _library
from ._library import library


class Moments(NamedTuple):
    """The states of KLA: means [N, M, S] (rotating: [N, M, S, 3]) and variances [N, M, S], of N sequences."""

    mean: Any
    variance: Any


class Information(NamedTuple):
    """The same as precisions, 0 allowed, and vectors = precision * mean."""

    precision: Any
    vector: Any


class Hidden(NamedTuple):
    """The states of GLA [N, M, S]."""

    h: Any


class Outputs(NamedTuple):
    """y and yvar (GLA: None), the state after the last token, and the checkpoints if they were asked for."""

    y: Any
    yvar: Any
    final: Any
    checkpoints: Any


class Gradients(NamedTuple):
    """The adjoints of the inputs, those that the mixer has, and of the initial state, in its own form."""

    v: Any
    Lambda: Any
    r: Any
    k: Any
    q: Any
    a: Any
    p: Any
    g: Any
    initial: Any


def _fields(state):
    """A state's arrays as the C interface names them, and whether it is in information form."""
    if state is None:
        return (None, None), False
    if isinstance(state, Information):
        return (state.vector, state.precision), True
    if isinstance(state, Hidden):
        return (state.h, None), False
    if isinstance(state, Moments):
        return tuple(state), False
    raise TypeError(f"kalscan: a state is Moments, Information or Hidden, not a {type(state).__name__}")


class _Call:
    """The structs of one call, and what keeps their arrays alive."""

    def __init__(self, mixer, first, stream, threads, chunk, check_nan):
        self.mixer, self.first, self.kept = mixer, first, []
        self.stream = stream
        self.inputs, self.outputs, self.gradients = _library.Inputs(), _library.Outputs(), _library.Inputs()
        self.states = _library.States()
        self.run = _library.Run(threads, int(check_nan), chunk, stream, 0, 0)

    def array(self, name, x, written=False):
        """The address of an array's tensor, or None."""
        if x is None:
            return None
        array = x if isinstance(x, _arrays.Array) else _arrays.of(name, x, self.stream, written)
        self.kept.append(array)
        return array.address

    def set_inputs(self, struct, arrays, written=False):
        for name, x in arrays.items():
            setattr(struct, name, self.array(name, x, written))

    def set_state(self, struct, name, state, written=False):
        (mean, variance), information = _fields(state)
        struct.mean = self.array(f"{name} mean", mean, written)
        struct.variance = self.array(f"{name} variance", variance, written)
        struct.information = int(information)

    def set_offsets(self, offsets):
        if offsets is None:
            return
        import numpy

        self.states.offsets = self.array("offsets", numpy.ascontiguousarray(offsets, dtype=numpy.int64))

    def use_workspace(self, verb):
        """Memory on the device for what is computed there; nothing on the CPU."""
        if self.first[1].on_host:
            return
        size = _library.workspace_bytes(verb, self.mixer, byref(self.inputs), byref(self.states), byref(self.run))
        if size == 0:
            return
        memory = _arrays.empty(self.first, (size,), "uint8")
        array = _arrays.of("workspace", memory, self.stream, True)
        self.kept.append(array)
        self.run.workspace, self.run.workspace_bytes = array.tensor.data, size


class Mixer:
    """A mixer's calls. Calling it is `forward`.

    kla           v, Lambda (precision of v, >= 0) [B, L, M], k, q [B, L, S], a (decay), p (process noise, >= 0) [M, S]
                  or one a token [B, L, M, S], an axis of extent 1 being the same for all
    rotating_kla  the same, v [B, L, M, 3], and after Lambda the quaternions r = (w, x, y, z) [B, L, M, 4] that turn
    gla           v, k, q and the gate g [M, S] or one a token

    v, Lambda, r, k and q have one type, float64, float32, bfloat16 or float16, which results have too. a, p, g and
    states are float64 with float64, else float32.

    offsets    N + 1 integers on the CPU: N sequences one after another on the time axis; B is 1
    initial    the state before the first token: Moments, Information (not of GLA) or Hidden (GLA)
    threads, chunk, check_nan   as kalscan_run in include/kalscan.h has them
    stream     a CUDA stream as a number; by default the current one of torch or CuPy where v is theirs, else the
               default stream"""

    def __init__(self, name, mixer, predicted, inputs):
        self.name, self.inputs = name, inputs
        self._mixer, self._predicted = mixer, predicted

    def __repr__(self):
        return f"kalscan.{self.name}({', '.join(self.inputs)})"

    def __call__(self, *inputs, **options):
        return self.forward(*inputs, **options)

    def _start(self, inputs, predicted, stream, threads=0, chunk=0, check_nan=False):
        if len(inputs) != len(self.inputs):
            raise TypeError(f"kalscan: {self.name} takes {', '.join(self.inputs)}, not {len(inputs)} arrays")
        if predicted and self._predicted is None:
            raise ValueError(f"kalscan: {self.name} has no read-out of predictions")
        if stream is None:
            stream = _arrays.current_stream(inputs[0])
        arrays = {}
        for name, x in zip(self.inputs, inputs):
            if x is None:
                raise ValueError(f"kalscan: {name} is not given")
            arrays[name] = _arrays.of(name, x, stream)
        call = _Call(
            self._predicted if predicted else self._mixer, (inputs[0], arrays["v"]), stream, threads, chunk, check_nan
        )
        call.set_inputs(call.inputs, arrays)
        vector = self._mixer in _library.TURNING
        v, k = arrays["v"], arrays["k"]
        if len(v.shape) != (4 if vector else 3):
            raise ValueError(f"kalscan: v has the shape {list(v.shape)}, not [B, L, M{', 3' if vector else ''}]")
        if len(k.shape) != 3:
            raise ValueError(f"kalscan: k has the shape {list(k.shape)}, not [B, L, S]")
        return call, arrays, v.shape[:3], k.shape[2]

    def _number(self, arrays):
        return "float64" if arrays["v"].dtype == "float64" else "float32"

    def _new_state(self, call, arrays, form, axes):
        """Arrays for a state: `form` is the state whose form it gets, or a class of states."""
        number, last = self._number(arrays), (3,) if self._mixer in _library.TURNING else ()
        mean = _arrays.empty(call.first, (*axes, *last), number)
        if self._mixer == _library.GLA:
            return Hidden(mean)
        variance = _arrays.empty(call.first, axes, number)
        return Information(variance, mean) if form is Information else Moments(mean, variance)

    def _set_outputs(self, call, arrays, out, shape):
        """The arrays that the call writes y and yvar into: `out`, or new ones."""
        if out is None:
            storage = arrays["v"].dtype
            y = _arrays.empty(call.first, arrays["v"].shape, storage)
            yvar = None if self._mixer == _library.GLA else _arrays.empty(call.first, shape, storage)
        else:
            y, yvar = out if isinstance(out, (tuple, list)) else (out, None)
        call.outputs.y, call.outputs.yvar = call.array("y", y, True), call.array("yvar", yvar, True)
        return y, yvar

    def forward(
        self,
        *inputs,
        initial=None,
        offsets=None,
        predicted=False,
        final=None,
        every=0,
        out=None,
        stream=None,
        threads=0,
        chunk=0,
        check_nan=False,
    ) -> Outputs:
        """All tokens.

        predicted  read out one step ahead (not of gla)
        final      the form of the state after the last token: Moments (of KLA the default), Information or Hidden; or
                   arrays for it, which may be those of `initial`
        every      keep the state before every token that is a multiple of it, for `backward` (16 is best on the CPU)
        out        (y, yvar): arrays to write into; None is not computed"""
        call, arrays, (B, L, M), S = self._start(inputs, predicted, stream, threads, chunk, check_nan)
        call.set_offsets(offsets)
        N = B if offsets is None else len(offsets) - 1
        y, yvar = self._set_outputs(call, arrays, out, (B, L, M))
        if final is None or isinstance(final, type):
            final = self._new_state(call, arrays, final, (N, M, S))
        call.set_state(call.states.initial, "initial", initial)
        call.set_state(call.states.final, "final", final, True)
        kept = None
        if every > 0:
            kept = self._new_state(call, arrays, Moments, (B, L // every + (1 if offsets is None else N), M, S))
            call.set_state(call.states.checkpoints, "checkpoints", kept, True)
        call.states.every = every
        call.use_workspace("forward")
        _library.check(
            library.kalscan_forward(
                call.mixer, byref(call.inputs), byref(call.outputs), byref(call.states), byref(call.run)
            )
        )
        return Outputs(y, yvar, final, kept)

    def step(self, *inputs, state, predicted=False, out=None, stream=None, threads=0):
        """One token: inputs as for forward with L = 1. Returns (y, yvar), and writes the state in place."""
        call, arrays, (B, L, M), S = self._start(inputs, predicted, stream, threads)
        y, yvar = self._set_outputs(call, arrays, out, (B, L, M))
        call.set_state(call.states.final, "state", state, True)
        call.use_workspace("forward")
        _library.check(
            library.kalscan_step(
                call.mixer, byref(call.inputs), byref(call.outputs), pointer(call.states.final), byref(call.run)
            )
        )
        return y, yvar

    def backward(
        self,
        *inputs,
        y_bar=None,
        yvar_bar=None,
        final_bar=None,
        initial=None,
        offsets=None,
        predicted=False,
        checkpoints=None,
        every=0,
        out=None,
        stream=None,
        threads=0,
        chunk=0,
        check_nan=False,
    ) -> Gradients:
        """The exact adjoints of all inputs and of the initial state, from those of the outputs and of the final state.

        checkpoints, every   as the forward call with this `every` returned them; without, they are made once more
        final_bar            an adjoint in the form of the final state: Moments, Information or Hidden
        out                  arrays by name to write into: those alone are computed, and the initial state's
        """
        call, arrays, (B, L, M), S = self._start(inputs, predicted, stream, threads, chunk, check_nan)
        call.set_offsets(offsets)
        N = B if offsets is None else len(offsets) - 1
        call.outputs.y, call.outputs.yvar = call.array("y_bar", y_bar), call.array("yvar_bar", yvar_bar)
        gradients = (
            {name: _arrays.empty(call.first, x.shape, x.dtype) for name, x in arrays.items()} if out is None else out
        )
        call.set_inputs(call.gradients, gradients, True)
        call.set_state(call.states.initial, "initial", initial)
        call.set_state(call.states.checkpoints, "checkpoints", checkpoints)
        call.states.every = every
        call.set_state(call.states.final_bar, "final_bar", final_bar)
        form = type(initial) if initial is not None else None
        initial_bar = self._new_state(call, arrays, form, (N, M, S))
        call.set_state(call.states.initial_bar, "initial_bar", initial_bar, True)
        call.use_workspace("backward")
        _library.check(
            library.kalscan_backward(
                call.mixer,
                byref(call.inputs),
                byref(call.outputs),
                byref(call.gradients),
                byref(call.states),
                byref(call.run),
            )
        )
        return Gradients(*(gradients.get(name) for name in Gradients._fields[:-1]), initial_bar)

    def checkpoint_distance(self, *inputs) -> int:
        """The `every` that saves `backward` a forward pass of its own."""
        call, *_ = self._start(inputs, False, None)
        every = c_int64()
        _library.check(
            library.kalscan_backward_checkpoints(call.mixer, byref(call.inputs), byref(call.states), byref(every))
        )
        return every.value


kla = Mixer("kla", _library.KLA, _library.KLA_PREDICTED, ("v", "Lambda", "k", "q", "a", "p"))
rotating_kla = Mixer(
    "rotating_kla", _library.ROTATING_KLA, _library.ROTATING_KLA_PREDICTED, ("v", "Lambda", "r", "k", "q", "a", "p")
)
gla = Mixer("gla", _library.GLA, None, ("v", "k", "q", "g"))
