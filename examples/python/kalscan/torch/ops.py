# SPDX-License-Identifier: MIT
"""torch's operators kalscan::kla, ::predicted_kla, ::rotating_kla, ::predicted_rotating_kla and ::gla, and functions
around them.

The operators have fake kernels, gradients, and run under torch.compile without a graph break. Gradients are exact; they
cannot be differentiated again: double backward raises an error that says so."""

import functools
from typing import NamedTuple, Optional

import torch
from torch import Tensor

from .. import _library
from .._library import library
from ..mixers import Hidden, Information, Moments
from ._frames import Frame, checkpoint_distance

_library_of_torch = torch.library.Library("kalscan", "DEF")
_INPUTS = ("v", "Lambda", "r", "k", "q", "a", "p", "g")
_OPERATORS = {
    "kla": _library.KLA,
    "predicted_kla": _library.KLA_PREDICTED,
    "rotating_kla": _library.ROTATING_KLA,
    "predicted_rotating_kla": _library.ROTATING_KLA_PREDICTED,
    "gla": _library.GLA,
}
_CALL = (
    "Tensor v, Tensor? Lambda, Tensor? r, Tensor k, Tensor q, Tensor? a, Tensor? p, Tensor? g, Tensor? mean, "
    "Tensor? variance, Tensor? offsets, bool information, bool keep"
)
_FORWARD = f"({_CALL}) -> (Tensor y, Tensor yvar, Tensor mean, Tensor variance, Tensor kept_mean, Tensor kept_variance)"
_BACKWARD = (
    f"({_CALL}, Tensor? kept_mean, Tensor? kept_variance, Tensor? y_bar, Tensor? yvar_bar, Tensor? mean_bar, "
    "Tensor? variance_bar) -> (" + ", ".join(["Tensor"] * 10) + ")"
)


def _every(mixer, v, k, keep):
    """The distance of the states that a call keeps for its backward pass, or 0: none."""
    return checkpoint_distance(mixer, v.dtype, v.device, int(k.shape[2])) if keep else 0


def _new_outputs(mixer, v, k, offsets, every):
    """y, yvar, the final state and the checkpoints of a call; what it does not have is empty."""
    shape, S, dtype = v.shape, k.shape[2], v.dtype
    B, L, M = shape[:3]
    N = B if offsets is None else offsets.shape[0] - 1
    vector = (3,) if mixer in _library.TURNING else ()
    variances = mixer != _library.GLA
    new, none, like = v.new_empty, (0,), torch.contiguous_format
    number = new if dtype in (torch.float32, torch.float64) else functools.partial(new, dtype=torch.float32)
    C = (L // every + (1 if offsets is None else N)) if every else 0
    return (
        torch.empty_like(v, memory_format=like),
        new(shape[:3] if variances else none),
        number((N, M, S, *vector)),
        number((N, M, S) if variances else none),
        number((B, C, M, S, *vector) if every else none),
        number((B, C, M, S) if every and variances else none),
    )


def _new_gradients(mixer, inputs, mean, variance):
    """Dense, whatever the strides of the inputs; what is not there is empty."""
    v = inputs[0]
    return tuple(
        torch.empty(x.shape if x is not None else (0,), dtype=(v if x is None else x).dtype, device=v.device)
        for x in (*inputs, mean, variance)
    )


def _or_none(x, wanted):
    return x if wanted else None


_workspaces = {}


def _workspace(verb, mixer, frame, inputs, offsets, every):
    """How many bytes the call needs: asked once for each shape, except of packed sequences, whose lengths matter."""
    shapes = tuple(None if x is None else x.shape for x in inputs)
    key = (verb, mixer, shapes, inputs[0].dtype, every)
    size = _workspaces.get(key) if offsets is None else None
    if size is None:
        at = frame.pointers
        size = _library.workspace_bytes(verb, mixer, at[0], at[3], at[4])
        if len(_workspaces) < 10000 and offsets is None:
            _workspaces[key] = size
    return size


def _set_call(frame, inputs, offsets, every):
    frame.set("inputs", frame.inputs, _INPUTS, inputs)
    frame.set("offsets", frame.states, ("offsets",), (offsets,))
    frame.states.every = every


def _forward(mixer):
    variances = mixer != _library.GLA

    def run(v, Lambda, r, k, q, a, p, g, mean, variance, offsets, information, keep):
        if v.dim() != (4 if mixer in _library.TURNING else 3) or k.dim() != 3:
            raise ValueError(
                f"kalscan: v has the shape {list(v.shape)} and k {list(k.shape)}, not [B, L, M] (rotating: "
                "[B, L, M, 3]) and [B, L, S]"
            )
        every = _every(mixer, v, k, keep)
        results = _new_outputs(mixer, v, k, offsets, every)
        y, yvar, final_mean, final_variance, kept_mean, kept_variance = results
        frame, inputs = Frame.take(), (v, Lambda, r, k, q, a, p, g)
        try:  # what the verb does not read may still be there from a frame's last call
            _set_call(frame, inputs, offsets, every)
            frame.set("outputs", frame.outputs, ("y", "yvar"), (y, _or_none(yvar, variances)))
            frame.set_state("initial", mean, variance, information)
            frame.set_state("final", final_mean, _or_none(final_variance, variances), information)
            frame.set_state(
                "checkpoints", _or_none(kept_mean, every > 0), _or_none(kept_variance, every > 0 and variances)
            )
            memory = frame.on_device(v, lambda: _workspace("forward", mixer, frame, inputs, offsets, every))
            at = frame.pointers
            _library.check(library.kalscan_forward(mixer, at[0], at[1], at[3], at[4]))
            del memory
        finally:
            frame.put_back()
        return results

    return run


def _backward(mixer):

    def run(
        v,
        Lambda,
        r,
        k,
        q,
        a,
        p,
        g,
        mean,
        variance,
        offsets,
        information,
        keep,
        kept_mean,
        kept_variance,
        y_bar,
        yvar_bar,
        mean_bar,
        variance_bar,
    ):
        frame, inputs = Frame.take(), (v, Lambda, r, k, q, a, p, g)
        gradients, every = _new_gradients(mixer, inputs, mean, variance), _every(mixer, v, k, keep)
        try:
            _set_call(frame, inputs, offsets, every)
            frame.set("outputs", frame.outputs, ("y", "yvar"), (y_bar, yvar_bar))
            frame.set(
                "gradients", frame.gradients, _INPUTS, [None if x is None else bar for x, bar in zip(inputs, gradients)]
            )
            frame.set_state("initial", mean, variance, information)
            frame.set_state("checkpoints", kept_mean, kept_variance)
            frame.set_state("final_bar", mean_bar, variance_bar, information)
            frame.set_state(
                "initial_bar",
                _or_none(gradients[8], mean is not None),
                _or_none(gradients[9], variance is not None),
                information,
            )
            memory = frame.on_device(v, lambda: _workspace("backward", mixer, frame, inputs, offsets, every))
            at = frame.pointers
            _library.check(library.kalscan_backward(mixer, at[0], at[1], at[2], at[3], at[4]))
            del memory
        finally:
            frame.put_back()
        return gradients

    return run


def _define(name, mixer):
    """An operator, its fake kernel and its gradient."""
    lib, backward_name = _library_of_torch, name + "_backward"
    variances = mixer != _library.GLA
    lib.define(name + _FORWARD, tags=(torch.Tag.pt2_compliant_tag,))
    lib.define(backward_name + _BACKWARD, tags=(torch.Tag.pt2_compliant_tag,))
    for device in ("CPU", "CUDA"):
        lib.impl(name, _forward(mixer), device)
        lib.impl(backward_name, _backward(mixer), device)

    def fake(v, Lambda, r, k, q, a, p, g, mean, variance, offsets, information, keep):
        return _new_outputs(mixer, v, k, offsets, _every(mixer, v, k, keep))

    def fake_backward(v, Lambda, r, k, q, a, p, g, mean, variance, offsets, information, keep, *rest):
        return _new_gradients(mixer, (v, Lambda, r, k, q, a, p, g), mean, variance)

    torch.library.register_fake("kalscan::" + name, fake, lib=lib)
    torch.library.register_fake("kalscan::" + backward_name, fake_backward, lib=lib)
    backward_operator = getattr(torch.ops.kalscan, backward_name).default

    operator = getattr(torch.ops.kalscan, name).default

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            output = without_gradients(*inputs)
            *tensors, information, keep = inputs
            kept = output[4:] if keep else (None, None)
            ctx.save_for_backward(*tensors, kept[0], kept[1] if variances else None)
            ctx.information, ctx.keep = information, keep
            ctx.set_materialize_grads(False)
            ctx.mark_non_differentiable(*output[4:], *(() if variances else (output[1], output[3])))
            return output

        @staticmethod
        def backward(ctx, *bars):
            *tensors, kept_mean, kept_variance = ctx.saved_tensors
            given = backward_operator(*tensors, ctx.information, ctx.keep, kept_mean, kept_variance, *bars[:4])
            results = [bar if x is not None else None for x, bar in zip(tensors, given)]
            return (*results, None, None, None)  # offsets, information, keep

    def without_gradients(*inputs):
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*inputs)

    def with_gradients(*inputs):
        if torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
            return Function.apply(*inputs)
        return without_gradients(*inputs)

    # In place of torch.library.register_autograd, which takes 0.1 ms a call for operators of so many arguments.
    lib.impl(name, with_gradients, "Autograd")
    _calls[name] = without_gradients, Function.apply

    def no_double_backward(ctx, *bars):
        raise RuntimeError(f"kalscan: {name} has no second derivative: its gradient cannot be differentiated")

    torch.library.register_autograd("kalscan::" + backward_name, no_double_backward, lib=lib)


# What the operators do without and with gradients: called as it is, it saves one of the dispatcher's calls of Python.
_calls = {}
for _name, _mixer in _OPERATORS.items():
    _define(_name, _mixer)


def _call(name, inputs, initial, offsets, form):
    """Types, autocast, checkpoints where gradients are wanted; then the operator. inputs are (v, Lambda, r, k, q, a, p,
    g), those that the mixer does not have None. Returns y, yvar and the numbers of the final state."""
    v, device = inputs[0], inputs[0].device.type
    storage = v.dtype
    if torch.is_autocast_enabled(device) and storage != torch.float64:
        storage = torch.get_autocast_dtype(device)
    else:
        for x in inputs[1:5]:
            if x is not None and x.dtype != storage:
                storage = torch.promote_types(storage, x.dtype)
    number = torch.float64 if storage == torch.float64 else torch.float32
    types = (storage,) * 5 + (number,) * 3
    inputs = [x if x is None or x.dtype == type else x.to(type) for x, type in zip(inputs, types)]
    mean = variance = None
    information = form is Information
    if isinstance(initial, Information):
        variance, mean = initial
        if form is not Information:
            raise ValueError("kalscan: a state goes in and comes out in one form: give form=Information")
    elif isinstance(initial, (Moments, Hidden)):
        mean, variance = (*initial, None)[:2]
        if information:
            raise ValueError("kalscan: a state goes in and comes out in one form: give form=Moments")
    elif initial is not None:
        raise TypeError(f"kalscan: a state is Moments, Information or Hidden, not a {type(initial).__name__}")
    if initial is not None:
        mean, variance = (x if x is None or x.dtype == number else x.to(number) for x in (mean, variance))
    wanted = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (*inputs, mean, variance))
    if offsets is not None and not isinstance(offsets, Tensor):
        offsets = torch.tensor(offsets, dtype=torch.int64)
    call = getattr(torch.ops.kalscan, name).default if torch.compiler.is_compiling() else _calls[name][wanted]
    return call(*inputs, mean, variance, offsets, information, wanted)[:4]


def kla(v, Lambda, k, q, a, p, *, initial=None, offsets=None, predicted=False, form=Moments):
    """Kalman Linear Attention: y [B, L, M], its variance, and the state after the last token.

    v, Lambda [B, L, M], k, q [B, L, S], a, p [M, S] or [B, L, M, S] as kalscan.kla has them. Under autocast v, Lambda,
    k and q are stored in its type; a, p, states and all arithmetic stay float32 (float64 where v is).

    initial    the state before the first token; Moments or Information, the latter with form=Information
    offsets    N + 1 integers on the CPU, a tensor or a list: N sequences one after another; B is 1
    predicted  read out one step ahead
    form       of states in and out, and of their gradients: Moments or Information"""
    y, yvar, mean, variance = _call(
        "predicted_kla" if predicted else "kla", (v, Lambda, None, k, q, a, p, None), initial, offsets, form
    )
    return y, yvar, Information(variance, mean) if form is Information else Moments(mean, variance)


def rotating_kla(v, Lambda, r, k, q, a, p, *, initial=None, offsets=None, predicted=False, form=Moments):
    """The same for heads of three channels that every token turns: v and y [B, L, M, 3], quaternions r [B, L, M, 4] of
    any length. M counts heads."""
    name = "predicted_rotating_kla" if predicted else "rotating_kla"
    y, yvar, mean, variance = _call(name, (v, Lambda, r, k, q, a, p, None), initial, offsets, form)
    return y, yvar, Information(variance, mean) if form is Information else Moments(mean, variance)


def gla(v, k, q, g, *, initial=None, offsets=None):
    """Gated linear attention, h = g h + k v and y = sum of q h: y [B, L, M] and the state after the last token."""
    y, _, h, _ = _call("gla", (v, None, None, k, q, None, None, g), initial, offsets, Hidden)
    return y, Hidden(h)


# ---- the conventions of the authors' package: information form in and out, prior of precision 1


class KLAState(NamedTuple):
    """Posterior precision and information vector, each [B, M, S]."""

    lam: Tensor
    eta: Tensor


def init_state(batch, d_model, d_state, device=None, dtype=torch.float32):
    """The prior N(0, 1)."""
    shape = (batch, d_model, d_state)
    return KLAState(torch.ones(shape, device=device, dtype=dtype), torch.zeros(shape, device=device, dtype=dtype))


_BACKENDS = ("auto", "kalscan", "torch", "triton", "cuda", "mps")


def kla_scan(
    v,
    lambda_v,
    k,
    q,
    a,
    p,
    *,
    initial_state: Optional[KLAState] = None,
    decode_from_prior=False,
    backend="auto",
    **ignored,
):
    """kla with the authors' arguments: (y, y_var, KLAState). `backend` and the rest name implementations of theirs, and
    choose nothing here."""
    if backend not in _BACKENDS:
        raise ValueError(f"kalscan: backend is {backend!r}, none of {', '.join(_BACKENDS)}")
    if unknown := sorted(set(ignored) - {"scan_impl", "mobius_impl", "merged"}):
        raise TypeError(f"kalscan: kla_scan has no argument {unknown[0]!r}")
    initial = None if initial_state is None else Information(*initial_state)
    y, yvar, state = kla(v, lambda_v, k, q, a, p, initial=initial, predicted=decode_from_prior, form=Information)
    return y, yvar, KLAState(*state)


def kla_step(v, lambda_v, k, q, a, p, state: KLAState, decode_from_prior=False):
    """One token: v, lambda_v [B, M], k, q [B, S]. Returns (y, y_var, new state)."""
    token = [x.unsqueeze(1) for x in (v, lambda_v, k, q)]
    y, yvar, state = kla_scan(*token, a, p, initial_state=state, decode_from_prior=decode_from_prior)
    return y.squeeze(1), yvar.squeeze(1), state
