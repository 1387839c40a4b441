# SPDX-License-Identifier: MIT
"""The mixers that the experiments compare, in one frame (short convolution, skip, gate), and the model around them."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from kalscan.torch import Information, KLAConfig, KLALayer, KLAState, RotatingKLALayer, gla, kla
from kalscan.torch.layers import CausalConv1d


def hot(config):
    """A start whose gain depends on the data from the first step: larger process noise and steps."""
    return KLAConfig(d_state=config.d_state, dt_min=0.1, dt_max=1.0, process_noise_scale=math.e)


def latest(config):
    """The start of the authors' package since 2026-09: process noise in proportion to the step, noise of v 1 / S."""
    return KLAConfig.latest(d_state=config.d_state, value_rank="full", var_rank="full")


def slow(config, **options):
    """A start that forgets in 1,000 tokens or more, rather than in 10 to 1,000."""
    return KLAConfig(d_state=config.d_state, dt_min=1e-5, dt_max=1e-3, dt_init_floor=1e-6, **options)


class PerTokenKLALayer(KLALayer):
    """KLA whose tokens choose their step of time, and by it decay and process noise: a and p [B, L, M, S]."""

    def __init__(self, d_model, config):
        super().__init__(d_model, config)
        rank = math.ceil(d_model / 8)
        self.step = nn.Sequential(nn.Linear(self.d_inner, rank, bias=False), nn.Linear(rank, self.d_inner, bias=False))

    def mix(self, z, state, offsets):
        v, precision, k, q = self.sensors(z)
        delta, rate = F.softplus(self.delta + self.step(z)[..., None]), torch.exp(self.lambda_log)
        a = torch.exp(-rate * delta)
        p = self.process_noise_rate() / (2 * rate) * -torch.expm1(-2 * rate * delta)
        initial = None if state is None else Information(*state)
        y, variance, final = kla(v, precision, k, q, a, p, initial=initial, offsets=offsets, form=Information)
        return y, variance, KLAState(*final)


class Baseline(nn.Module):
    """KLA's frame around another recurrence: what `widths` says is projected from each token, and mixed."""

    def __init__(self, d_model, config, expand=2):
        super().__init__()
        self.S = config.d_state
        self.M = round(expand * d_model / self.S) * self.S
        self.in_proj, self.conv = nn.Linear(d_model, 2 * self.M, bias=False), CausalConv1d(self.M, 4)
        self.inputs = nn.Linear(self.M, sum(self.widths()), bias=False)
        self.skip, self.out_proj = nn.Parameter(torch.ones(self.M)), nn.Linear(self.M, d_model, bias=False)

    def forward(self, x):
        z, gate = self.in_proj(x).chunk(2, -1)
        z, _ = self.conv(z)
        y = self.mix(z, *self.inputs(z).split(self.widths(), -1))
        return self.out_proj((y + self.skip * z) * F.silu(gate))


class GLA(Baseline):
    """Gated linear attention: a gate a key from each token, sigmoid(.)^(1/16)."""

    def widths(self):
        return [self.M, self.S, self.S, self.S]

    def mix(self, z, v, gate, k, q):
        y, _ = gla(v, k, q, torch.exp(F.logsigmoid(gate + 2) / 16)[:, :, None, :])
        return F.rms_norm(y, y.shape[-1:])


class Mamba(Baseline):
    """Mamba's S6: a step of time a channel from each token, h = exp(-step rate) h + step k v."""

    def __init__(self, d_model, config):
        super().__init__(d_model, config)
        steps = torch.exp(torch.empty(self.M).uniform_(math.log(0.001), math.log(0.1)))
        self.step = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))
        self.rate_log = nn.Parameter(torch.log(torch.arange(1, self.S + 1.0)).expand(self.M, -1).clone())

    def widths(self):
        return [self.M, self.M, self.S, self.S]

    def decay(self, z, step):
        return torch.exp(-step[..., None] * torch.exp(self.rate_log))

    def mix(self, z, v, step, k, q):
        step = F.softplus(step + self.step)
        return gla(step * v, k, q, self.decay(z, step))[0]


class NegativeMamba(Mamba):
    """The same with decays in (-1, 1): eigenvalues may be negative, which parity needs."""

    def __init__(self, d_model, config):
        super().__init__(d_model, config)
        self.sign = nn.Linear(self.M, self.M)
        nn.init.constant_(self.sign.bias, 1.0)

    def decay(self, z, step):
        return super().decay(z, step) * torch.tanh(self.sign(z))[..., None]


class DeltaProduct(Baseline):
    """States that each token multiplies by two reflections (or parts of them), as DeltaProduct does:
    H = H (1 - b k k') + b v k', twice a token, |k| = 1, 0 < b < 2; heads of S x S. It projects so much that it has
    fewer channels."""

    reflections = 2

    def __init__(self, d_model, config):
        super().__init__(d_model, config, expand=1.5)

    def widths(self):
        return [self.M, self.reflections * self.M, self.reflections * self.M, self.reflections * self.M // self.S]

    def mix(self, z, q, k, v, b):
        heads = lambda x: x.unflatten(-1, (-1, self.M // self.S, self.S)).flatten(1, 2).transpose(1, 2)
        k, v = (heads(x.unflatten(-1, (self.reflections, -1)).flatten(-2)) for x in (k, v))
        b = 2 * torch.sigmoid(b).unflatten(-1, (self.reflections, -1)).flatten(1, 2).transpose(1, 2)
        q = F.normalize(q.unflatten(-1, (-1, self.S)), dim=-1).transpose(1, 2)
        y = delta_rule(q, F.normalize(k, dim=-1), v, b, self.reflections)
        return F.rms_norm(y, y.shape[-1:]).transpose(1, 2).flatten(-2)


def delta_rule(q, k, v, b, each=1, chunk=64):
    """q [B, H, L, S], k, v [B, H, L each, S], b [B, H, L each] to y [B, H, L, S]: for every k, v and b in turn
    state = state + b (v - state k) k'; then y = state q after every `each` of them. A chunk of time is one triangular
    system, so that only chunks follow one another."""
    state, ys = 0.0, []
    chunk -= chunk % each
    for at in range(0, k.shape[2], chunk):
        K, V, B = k[:, :, at : at + chunk], v[:, :, at : at + chunk], b[:, :, at : at + chunk, None]
        Q = q[:, :, at // each : (at + chunk) // each]
        system = torch.tril(B * (K @ K.transpose(-1, -2)), -1)  # its diagonal is taken to be one
        old = K @ state if at else 0.0
        change = torch.linalg.solve_triangular(system, B * (V - old), upper=False, unitriangular=True)
        n, m = Q.shape[2], K.shape[2]
        seen = torch.arange(m, device=k.device) < each * (torch.arange(n, device=k.device) + 1)[:, None]
        ys.append((Q @ state if at else 0.0) + (Q @ K.transpose(-1, -2) * seen) @ change)
        state = state + K.transpose(-1, -2) @ change
    return torch.cat(ys, 2)


MIXERS = {
    "kla": KLALayer,
    "kla_hot": lambda d, config: KLALayer(d, hot(config)),
    "kla_latest": lambda d, config: KLALayer(d, latest(config)),
    "kla_slow": lambda d, config: KLALayer(d, slow(config)),
    "kla_per_token": PerTokenKLALayer,
    "kla_p0": lambda d, config: KLALayer(d, KLAConfig(d_state=config.d_state, zero_process_noise=True)),
    "rotating_kla": RotatingKLALayer,
    "rotating_kla_slow": lambda d, config: RotatingKLALayer(d, slow(config)),
    "rotating_kla_slow_p0": lambda d, config: RotatingKLALayer(d, slow(config, zero_process_noise=True)),
    "gla": GLA,
    "mamba": Mamba,
    "negative_mamba": NegativeMamba,
    "delta_product": DeltaProduct,
}


class Net(nn.Module):
    """Embedding, layers of mixer and channel mixer with norms before them, and a head."""

    def __init__(self, mixer, vocabulary, width, layers, states, hidden):
        super().__init__()
        self.embedding = nn.Linear(vocabulary, width, bias=False)
        nn.init.normal_(self.embedding.weight)
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(2 * layers + 1))
        self.mixers = nn.ModuleList(MIXERS[mixer](width, KLAConfig(d_state=states)) for _ in range(layers))
        self.channels = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width)) for _ in range(layers)
        )
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        # One-hot: the gradient of a lookup is not the same on every run, and may wait for the GPU.
        letters = torch.arange(self.head.out_features, device=tokens.device)
        x = self.embedding((tokens[..., None] == letters).to(self.head.weight.dtype))
        for i, (mixer, channel) in enumerate(zip(self.mixers, self.channels)):
            x = x + mixer(self.norms[2 * i](x))
            x = x + channel(self.norms[2 * i + 1](x))
        return self.head(self.norms[-1](x))


def size(net):
    return sum(p.numel() for p in net.parameters())


def equal_net(mixer, vocabulary, width, layers, states, hidden):
    """The model whose channel mixer is as wide as makes its parameters as many as KLA's with `hidden`."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        parameters = lambda name, hidden: size(Net(name, vocabulary, width, layers, states, hidden))
        one = parameters(mixer, 2) - parameters(mixer, 1)
        missing = parameters("kla", hidden) - parameters(mixer, hidden)
    return Net(mixer, vocabulary, width, layers, states, max(1, hidden + round(missing / one)))
