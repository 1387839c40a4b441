# SPDX-License-Identifier: MIT
"""Layers: KLA with the projections of its paper (Shaj et al. 2026, arXiv 2602.10743), and its rotating sister.

KLALayer has the parameters, their names and starts, the options and the state of the authors' package, so that its
checkpoints load and its models run."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..mixers import Information, Moments
from .ops import KLAState, init_state, kla, rotating_kla

_ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu}


@dataclass
class KLAConfig:
    """The options of a layer; names are the authors', and defaults those of the paper and their version 0.1. `latest`
    has the defaults that theirs has since 2026-09. The last four choose among their implementations, and are accepted
    and ignored."""

    d_state: int = 16  # S
    expand: float = 2.0  # M = expand * d_model
    dt_min: float = 0.001  # steps of the discretization start between these two
    dt_max: float = 0.1
    dt_init_floor: float = 1e-4
    discretization: str = "ou"  # of an Ornstein-Uhlenbeck process; "zoh": noise proportional to the step
    process_noise_scale: float = 0.01
    learnable_process_noise: bool = True
    zero_process_noise: bool = False
    process_noise_param: str = "raw"  # learnt as it is; "log": as its logarithm p_log
    process_noise_init: Union[float, str, None] = None  # process_noise_scale; "heuristic": 3 rate step of each lane
    process_noise_mode: Optional[str] = None  # "learned", "fixed" or "zero"; None: what the two flags above say
    obs_noise_init: Union[float, str, None] = None  # the variance all readings start with; "auto": 1 / d_state
    obs_var_min: float = 1e-4
    obs_var_max: Optional[float] = None
    value_rank: Union[int, str] = "full"  # how v comes from z: "full", a rank, "dt" or "auto": dt_rank, "conv": v = z
    var_rank: Union[int, str] = "full"  # how its noise does: "full", a rank, "dt" or "auto"
    dt_rank: Optional[int] = None  # ceil(d_model / 8) where not given
    qk_norm: bool = True
    bias: bool = False
    use_conv: bool = True
    conv_kernel_size: int = 4
    conv_activation: str = "silu"
    use_gating: bool = True
    gating_activation: str = "silu"
    use_lambda_skip: bool = True
    lambda_skip_mode: str = "scalar"  # or "vector"
    lambda_skip_init: float = -1.0
    return_variance: bool = False
    decode_from_prior: bool = False
    clip_value: Optional[float] = None
    backend: str = "auto"
    scan_impl: str = "auto"
    mobius_impl: str = "linear"
    checkpoint_ssm: bool = False

    @classmethod
    def latest(cls, **options):
        """The authors' defaults since 2026-09: noises that start in proportion, v = z, a bottleneck for v's noise."""
        start = dict(process_noise_param="log", process_noise_init="heuristic", obs_noise_init="auto")
        return cls(**(start | dict(value_rank="conv", var_rank="auto") | options))

    def d_inner(self, d_model: int) -> int:
        return int(self.expand * d_model)

    def noise_mode(self) -> str:
        """Whether the process noise is learned, fixed or zero."""
        if self.process_noise_mode is not None:
            return self.process_noise_mode
        return "zero" if self.zero_process_noise else "learned" if self.learnable_process_noise else "fixed"

    def obs_noise(self) -> Optional[float]:
        """The variance of v at the start, or None: what the projections give."""
        return 1 / self.d_state if self.obs_noise_init == "auto" else self.obs_noise_init

    def check(self):
        """Raises ValueError for options that do not fit."""
        for name, value, allowed in (
            ("process_noise_param", self.process_noise_param, ("raw", "log")),
            ("process_noise_mode", self.noise_mode(), ("learned", "fixed", "zero")),
        ):
            if value not in allowed:
                raise ValueError(f"kalscan: {name} is {value!r}, none of {', '.join(allowed)}")
        positive = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool) and 0 < x < math.inf
        init = self.process_noise_init
        if init not in (None, "heuristic") and not positive(init):
            raise ValueError(f"kalscan: process_noise_init is {init!r}, not a positive number or 'heuristic'")
        noise, high = self.obs_noise(), math.inf if self.obs_var_max is None else self.obs_var_max
        if noise is not None and not (positive(noise) and self.obs_var_min < noise <= high):
            raise ValueError(f"kalscan: obs_noise_init is {noise!r}, not above {self.obs_var_min} and at most {high}")


class KLALayerState(NamedTuple):
    """The last inputs of the convolution [B, M, K - 1], or None, and the filter's state."""

    conv: Optional[Tensor]
    ssm: Any


def _inverse_softplus(x):
    return x + torch.log(-torch.expm1(-x))


class CausalConv1d(nn.Module):
    """A convolution over the last K tokens, a channel at a time, with an activation."""

    def __init__(self, dim, kernel_size, activation="silu", bias=True):
        super().__init__()
        self.dim, self.kernel_size, self.act = dim, kernel_size, _ACTIVATIONS[activation]
        self.weight = nn.Parameter(torch.empty(dim, 1, kernel_size))
        self.bias = nn.Parameter(torch.empty(dim)) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self):
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            self.bias.zero_()

    def init_state(self, batch, device=None, dtype=None):
        return torch.zeros(batch, self.dim, self.kernel_size - 1, device=device, dtype=dtype)

    def forward(self, x, state=None, position=None):
        """x [B, L, M], and the inputs before it; `position` [L] counts tokens within packed sequences, across whose
        boundaries nothing is seen. Returns y and the new state."""
        B, L, _ = x.shape
        columns = x.transpose(1, 2)
        if state is None:
            state = self.init_state(B, x.device, x.dtype)
        seen = torch.cat((state.to(x.dtype), columns), -1)
        last = seen[..., seen.shape[-1] - (self.kernel_size - 1) :]
        if position is None:
            return self.act(F.conv1d(seen, self.weight, self.bias, groups=self.dim)).transpose(1, 2), last
        y = 0 if self.bias is None else self.bias
        for back in range(self.kernel_size):
            earlier = seen[..., self.kernel_size - 1 - back :][..., :L].transpose(1, 2)
            y = y + torch.where((position >= back)[None, :, None], earlier, 0) * self.weight[:, 0, -1 - back]
        return self.act(y), last


class _Layer(nn.Module):
    """What both layers have: projections, convolution, discretized dynamics, skip, gate. C channels have a noise each
    and L lanes a decay and a process noise for each state: for KLA both are M."""

    def __init__(self, d_model, config, inner, noises):
        super().__init__()
        self.config = config = config if config is not None else KLAConfig()
        config.check()
        self.d_model, self.d_inner, self.d_state = d_model, inner, config.d_state
        self.noises = noises
        M, S = inner, config.d_state
        self.in_proj = nn.Linear(d_model, 2 * M if config.use_gating else M, bias=config.bias)
        self.conv = CausalConv1d(M, config.conv_kernel_size, config.conv_activation) if config.use_conv else None
        rank = config.dt_rank or math.ceil(d_model / 8)
        width = lambda given, full: (
            full if given == "full" else 0 if given == "conv" else rank if given in ("dt", "auto") else int(given)
        )
        self._v_width, self._noise_width = width(config.value_rank, M), width(config.var_rank, noises)
        self.sensor_proj = nn.Linear(M, self._v_width + self._noise_width + 2 * S, bias=config.bias)
        expands = lambda given, width, full: (
            None if given in ("full", "conv") else nn.Linear(width, full, bias=config.bias)
        )
        self.value_expand = expands(config.value_rank, self._v_width, M)
        self.var_expand = expands(config.var_rank, self._noise_width, noises)
        self.delta = nn.Parameter(torch.empty(noises, S))
        self.lambda_log = nn.Parameter(torch.empty(noises, S))
        self.delta._no_weight_decay = self.lambda_log._no_weight_decay = True
        self._noise_name = "p_log" if config.process_noise_param == "log" else "process_noise"
        if config.noise_mode() == "learned":
            self.register_parameter(self._noise_name, nn.Parameter(torch.empty(noises, S)))
            getattr(self, self._noise_name)._no_weight_decay = self._noise_name == "p_log"
        else:
            self.register_buffer(self._noise_name, torch.empty(noises, S))
        self.obs_noise_bias = None
        if config.obs_noise() is not None:
            self.obs_noise_bias = nn.Parameter(torch.empty(noises))
            self.obs_noise_bias._no_weight_decay = True
        skips = (M,) if config.lambda_skip_mode == "vector" else ()
        self.lambda_skip = nn.Parameter(torch.empty(skips)) if config.use_lambda_skip else None
        self.gate_act = _ACTIVATIONS[config.gating_activation] if config.use_gating else None
        self.out_proj = nn.Linear(M, d_model, bias=config.bias)

    @torch.no_grad()
    def reset_parameters(self):
        config = self.config
        for module in self.modules():
            if isinstance(module, (nn.Linear, CausalConv1d)):
                module.reset_parameters()
        low, high = math.log(config.dt_min), math.log(config.dt_max)
        steps = torch.exp(torch.rand(self.delta.shape) * (high - low) + low).clamp_min(config.dt_init_floor)
        self.delta.copy_(_inverse_softplus(steps))
        self.lambda_log.zero_()
        self._reset_noises()
        if self.lambda_skip is not None:
            self.lambda_skip.fill_(config.lambda_skip_init)

    def _reset_noises(self):
        config, noise = self.config, getattr(self, self._noise_name)
        log = self._noise_name == "p_log"
        if config.noise_mode() == "zero":
            noise.zero_()
        elif config.process_noise_init == "heuristic":
            start = 3 * torch.exp(self.lambda_log) * self._steps()
            noise.copy_(start.log() if log else start)
        else:
            start = config.process_noise_scale if config.process_noise_init is None else config.process_noise_init
            noise.fill_(math.log(start) if log else start)
        if self.obs_noise_bias is None:
            return
        # The same for every token at first, whatever the projections: their part of it starts as zero.
        self.obs_noise_bias.copy_(_inverse_softplus(torch.tensor(config.obs_noise() - config.obs_var_min)))
        head = self.sensor_proj if self.var_expand is None else self.var_expand
        rows = slice(self._v_width, self._v_width + self._noise_width) if self.var_expand is None else slice(None)
        for x in (head.weight, head.bias):
            if x is not None:
                x[rows] = 0

    def _steps(self):
        return F.softplus(self.delta.float()) + 1e-7

    def process_noise_rate(self):
        """Process noise per unit of time [., S]: 0 in mode "zero"."""
        noise = getattr(self, self._noise_name).float()
        if self.config.noise_mode() == "zero":
            return torch.zeros_like(noise)
        noise = noise.exp() if self._noise_name == "p_log" else noise.clamp_min(1e-7)
        return noise if self.config.clip_value is None else noise.clamp_max(self.config.clip_value)

    def dynamics(self):
        """Decay and process noise of each step [., S]: x' = -rate x + noise, sampled every `delta`."""
        config = self.config
        rate, delta, noise = torch.exp(self.lambda_log.float()), self._steps(), self.process_noise_rate()
        a = torch.exp(-rate * delta)
        if config.discretization == "ou":
            rate = rate.clamp_min(1e-8)
            return a, noise / (2 * rate) * -torch.expm1(-2 * rate * delta)
        return a, noise * delta

    def sensors(self, z):
        """v [B, L, M], its precision [B, L, noises], k and q [B, L, S]."""
        config, S = self.config, self.d_state
        v, noise, k, q = self.sensor_proj(z).split([self._v_width, self._noise_width, S, S], -1)
        if config.value_rank == "conv":
            v = z
        elif self.value_expand is not None:
            v = self.value_expand(v)
        if self.var_expand is not None:
            noise = self.var_expand(noise)
        if self.obs_noise_bias is not None:
            noise = noise + self.obs_noise_bias
        if config.qk_norm:
            k, q = F.normalize(k, dim=-1), F.normalize(q, dim=-1)
        if config.clip_value is not None:
            k, q = (x.clamp(-config.clip_value, config.clip_value) for x in (k, q))
        variance = F.softplus(noise.float()) + config.obs_var_min
        if config.obs_var_max is not None:
            variance = variance.clamp_max(config.obs_var_max)
        return v, 1 / variance, k, q

    def init_state(self, batch, device=None, dtype=None):
        conv = None if self.conv is None else self.conv.init_state(batch, device=device, dtype=dtype)
        return KLALayerState(conv, self.initial(batch, device))

    def forward(self, x, state=None, return_state=False, offsets=None):
        """x [B, L, d_model] to the same, or (that, the new state) where a state is given or asked for; with
        config.return_variance (mean, variance) in place of it. `offsets` (a list or tensor of N + 1 integers on the
        CPU) packs N sequences, each from the beginning, into B = 1; the filter's state then is of N."""
        config = self.config
        if offsets is not None and state is not None:
            raise ValueError("kalscan: packed sequences start from the beginning: give offsets or a state")
        z, gate = self.in_proj(x).chunk(2, -1) if config.use_gating else (self.in_proj(x), None)
        conv = None if state is None else state.conv
        if self.conv is not None:
            z, conv = self.conv(z, conv, None if offsets is None else _positions(offsets, x.device))
        y, variance, ssm = self.mix(z, None if state is None else state.ssm, offsets)
        y, variance = y.to(x.dtype), variance.to(x.dtype)
        if self.lambda_skip is not None:
            y = y + self.lambda_skip * z
        if gate is not None:
            gate = self.gate_act(gate)
            y, variance = y * gate, variance * gate.square()
        out = self.out_proj(y)
        if config.return_variance:
            out = out, F.linear(variance, self.out_proj.weight.square())
        if return_state or state is not None:
            return out, KLALayerState(conv, ssm)
        return out


def _positions(offsets, device):
    """The place of each token in its sequence [L]."""
    offsets = torch.as_tensor(offsets, dtype=torch.int64, device="cpu")
    lengths = offsets.diff()
    return (torch.arange(int(offsets[-1])) - offsets[:-1].repeat_interleave(lengths)).to(device)


class KLALayer(_Layer):
    """Kalman Linear Attention between projections; see _Layer.forward for the call. A state is (conv, (lam, eta)):
    precision and information vector, [B, M, S]."""

    def __init__(self, d_model: int, config: Optional[KLAConfig] = None):
        inner = (config or KLAConfig()).d_inner(d_model)
        super().__init__(d_model, config, inner, inner)
        self.reset_parameters()

    def initial(self, batch, device=None):
        return init_state(batch, self.d_inner, self.d_state, device=device)

    def mix(self, z, state, offsets):
        v, precision, k, q = self.sensors(z)
        a, p = self.dynamics()
        y, variance, final = kla(
            v,
            precision,
            k,
            q,
            a,
            p,
            initial=None if state is None else Information(*state),
            offsets=offsets,
            predicted=self.config.decode_from_prior,
            form=Information,
        )
        return y, variance, KLAState(*final)


class RotatingKLALayer(_Layer):
    """The same with heads of three channels that every token turns (kalscan.rotating_kla): it tracks states that do not
    commute. M is rounded up to whole heads; `heads_per_rotation` of them share a quaternion. A head has one noise and
    one variance, and its belief starts from a learnt mean. A state is (conv, Moments): [B, H, S, 3] and [B, H, S]."""

    def __init__(self, d_model: int, config: Optional[KLAConfig] = None, heads_per_rotation: int = 2):
        width = 3 * heads_per_rotation
        inner = math.ceil((config or KLAConfig()).d_inner(d_model) / width) * width
        super().__init__(d_model, config, inner, inner // 3)
        self.heads, self.heads_per_rotation = inner // 3, heads_per_rotation
        self.turn = nn.Linear(inner, 4 * self.heads // heads_per_rotation, bias=False)
        self.start = nn.Parameter(torch.empty(self.heads, self.d_state, 3))
        self.register_buffer("identity", torch.tensor([1.0, 0, 0, 0]), persistent=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self):
        super().reset_parameters()
        # Turns that differ from token to token from the first step on, and means for them to turn.
        nn.init.normal_(self.turn.weight, std=self.d_inner**-0.5)
        nn.init.normal_(self.start, std=0.2)

    def initial(self, batch, device=None):
        mean = self.start.float().expand(batch, -1, -1, -1)
        return Moments(mean, torch.ones(mean.shape[:3], device=mean.device))

    def rotations(self, z):
        """Quaternions [B, L, H, 4], of any length: turns about the identity."""
        r = self.turn(z).unflatten(-1, (-1, 4))
        r = r + self.identity.to(r.dtype)
        return r.repeat_interleave(self.heads_per_rotation, -2)

    def mix(self, z, state, offsets):
        v, precision, k, q = self.sensors(z)
        a, p = self.dynamics()
        if state is None:
            state = self.initial(z.shape[0] if offsets is None else len(offsets) - 1)
        y, variance, final = rotating_kla(
            v.unflatten(-1, (-1, 3)),
            precision,
            self.rotations(z),
            k,
            q,
            a,
            p,
            initial=state,
            offsets=offsets,
            predicted=self.config.decode_from_prior,
        )
        return y.flatten(-2), variance.repeat_interleave(3, -1), final
