# SPDX-License-Identifier: MIT
"""Word problems: after each letter, which element of the group is the product so far? Groups: parity (Z2), S3, S4, A5.

    python word_problem.py --quick                      # parity and S3 on a CPU, under three minutes
    python word_problem.py --groups a5 --mixers kla rotating_kla --steps 20000 --seeds 5 --device cuda

Models of one mixer, one layer (--layers) and a channel mixer are trained at --length and tested at 2, 4 and 16 times that.
Each run's result is a line of results.jsonl in --out; runs that are there are not made again, so that a stopped command
goes on.
"""

import argparse
import itertools
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from kalscan.torch import KLAConfig, KLALayer, RotatingKLALayer, gla


def permutations(n, even):
    parity = lambda p: sum(p[i] > p[j] for i in range(n) for j in range(i + 1, n)) % 2
    return [p for p in itertools.permutations(range(n)) if not even or parity(p) == 0]


GROUPS = {"parity": (2, False), "s3": (3, False), "s4": (4, False), "a5": (5, True)}


class Words:
    """Letters are all elements of the group; the target after letter t is x_1 x_2 ... x_t."""

    def __init__(self, group, device):
        elements = permutations(*GROUPS[group])
        index = {p: i for i, p in enumerate(elements)}
        self.size, self.device = len(elements), device
        self.table = torch.tensor([[index[tuple(p[j] for j in q)] for q in elements] for p in elements], device=device)

    def batch(self, n, length):
        x = torch.randint(0, self.size, (n, length), device=self.device)
        y = [x[:, 0]]
        for t in range(1, length):
            y.append(self.table[y[-1], x[:, t]])
        return x, torch.stack(y, 1)


class GLALayer(nn.Module):
    """Gated linear attention: a gate a key from each token, sigmoid(.)^(1/16)."""

    def __init__(self, d_model, config):
        super().__init__()
        M, S = config.d_inner(d_model), config.d_state
        self.split = [M, M, S, S, S]
        self.in_proj, self.out_proj = nn.Linear(d_model, sum(self.split)), nn.Linear(M, d_model, bias=False)

    def forward(self, x):
        z, v, gate, k, q = self.in_proj(x).split(self.split, -1)
        g = torch.exp(F.logsigmoid(gate + 2).float() / 16)[:, :, None, :]
        y, _ = gla(v, k, q, g)
        return self.out_proj(F.rms_norm(y.to(x.dtype), y.shape[-1:]) * F.silu(z))


MIXERS = {
    "kla": lambda d, config: KLALayer(d, config),
    "kla_hot": lambda d, config: KLALayer(d, hot(config)),
    "rotating_kla": lambda d, config: RotatingKLALayer(d, config),
    "rotating_kla_slow": lambda d, config: RotatingKLALayer(d, slow(config)),
    "rotating_kla_slow_p0": lambda d, config: RotatingKLALayer(d, slow(config, zero_process_noise=True)),
    "gla": GLALayer,
}


def hot(config):
    """A start whose gain depends on the data from the first step: larger process noise and steps."""
    return KLAConfig(d_state=config.d_state, dt_min=0.1, dt_max=1.0, process_noise_scale=math.e)


def slow(config, **options):
    """A start that forgets in 1,000 tokens or more, rather than in 10 to 1,000."""
    return KLAConfig(d_state=config.d_state, dt_min=1e-5, dt_max=1e-3, **options)


class Net(nn.Module):
    """Embedding, layers of mixer and channel mixer with norms before them, and a head."""

    def __init__(self, mixer, vocabulary, width, layers, states, hidden):
        super().__init__()
        config = KLAConfig(d_state=states)
        self.embedding = nn.Embedding(vocabulary, width)
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(2 * layers + 1))
        self.mixers = nn.ModuleList(MIXERS[mixer](width, config) for _ in range(layers))
        self.channels = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width)) for _ in range(layers)
        )
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for i, (mixer, channel) in enumerate(zip(self.mixers, self.channels)):
            x = x + mixer(self.norms[2 * i](x))
            x = x + channel(self.norms[2 * i + 1](x))
        return self.head(self.norms[-1](x))


def equal_hidden(mixer, args, vocabulary):
    """The width of the channel mixer that gives a model the parameters of KLA's with --hidden."""
    size = lambda name, hidden: sum(
        p.numel() for p in Net(name, vocabulary, args.width, args.layers, args.states, hidden).parameters()
    )
    one = size(mixer, 2) - size(mixer, 1)
    return max(1, args.hidden + (size("kla", args.hidden) - size(mixer, args.hidden)) // one)


@torch.no_grad()
def accuracy(net, words, length, n=128):
    """Of all positions, and of the last one, of words of a length."""
    x, y = words.batch(n, length)
    right = (net(x).argmax(-1) == y).float()
    return right.mean().item(), right[:, -1].mean().item()


def train(group, mixer, seed, args, said):
    torch.manual_seed(seed)
    words = Words(group, args.device)
    net = Net(mixer, words.size, args.width, args.layers, args.states, equal_hidden(mixer, args, words.size)).to(
        args.device
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, args.steps, pct_start=0.1)
    length, began, curve, recent = 2, time.perf_counter(), [], 0.0
    step = 0
    for step in range(1, args.steps + 1):
        x, y = words.batch(args.batch, length)
        logits = net(x)
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step(), schedule.step()
        recent = 0.7 * recent + 0.3 * (logits.argmax(-1) == y).float().mean().item() if step % 5 == 0 else recent
        if recent > 0.95 and length < args.length:  # a word a letter longer, once these are known
            length, recent = length + 1, 0.0
        if step % max(1, args.steps // 20) == 0:
            curve.append((step, length, loss.item()))
            said(f"{group} {mixer} seed {seed}: step {step} of {args.steps}, loss {loss.item():.3f}, words of {length}")
        if time.perf_counter() - began > args.seconds:
            break
    tests = {n: accuracy(net, words, n) for n in (args.length, 2 * args.length, 4 * args.length, 16 * args.length)}
    return dict(
        group=group,
        mixer=mixer,
        seed=seed,
        layers=args.layers,
        width=args.width,
        steps=step,
        length=args.length,
        parameters=sum(p.numel() for p in net.parameters()),
        seconds=round(time.perf_counter() - began, 1),
        accuracy={n: round(a, 4) for n, (a, _) in tests.items()},
        last={n: round(b, 4) for n, (_, b) in tests.items()},
        curve=curve,
    )


def table(results):
    lengths = sorted({int(n) for r in results for n in r["accuracy"]})
    print(
        f"\nmean accuracy by length; best of the seeds, and how many reach 99% at the longest\n{'':24}",
        *(f"{n:>7}" for n in lengths),
    )
    for key in sorted({(r["group"], r["mixer"]) for r in results}):
        runs = [{int(n): a for n, a in r["accuracy"].items()} for r in results if (r["group"], r["mixer"]) == key]
        best = max(runs, key=lambda a: a[max(a)])
        solved = sum(a[max(a)] >= 0.99 for a in runs)
        print(
            f"{key[0]:8}{key[1]:16}", *(f"{best.get(n, math.nan):7.3f}" for n in lengths), f"  {solved} of {len(runs)}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="parity and S3, small, within three minutes on a CPU")
    parser.add_argument("--groups", nargs="+", default=["a5"], choices=GROUPS)
    parser.add_argument("--mixers", nargs="+", default=["kla", "kla_hot", "rotating_kla", "gla"], choices=MIXERS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="for several commands side by side with one --out")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="of training, a run")
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--states", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("word_problem"))
    args = parser.parse_args()
    if args.quick:
        args.groups, args.mixers, args.seeds, args.device = ["parity", "s3"], ["kla", "rotating_kla", "gla"], 1, "cpu"
        args.steps, args.seconds, args.length, args.batch = 1500, 26.0, 8, 64
        args.width, args.states, args.hidden, args.rate = 32, 4, 64, 5e-3
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "results.jsonl"
    settings = {k: v for k, v in vars(args).items() if k not in ("groups", "mixers", "seeds", "first_seed", "out", "quick")}
    results = [
        r for r in map(json.loads, file.read_text().splitlines() if file.exists() else []) if r["settings"] == settings
    ]
    jobs = [(g, m, s) for s in range(args.first_seed, args.first_seed + args.seeds) for g in args.groups for m in args.mixers]
    done = {(r["group"], r["mixer"], r["seed"]) for r in results}
    left, began = [job for job in jobs if job not in done], time.perf_counter()
    for i, job in enumerate(left):

        def said(text):
            spent = time.perf_counter() - began
            rest = f", {spent / i * (len(left) - i):.0f} s left" if i else ""
            print(f"[{i + 1} of {len(left)}, {spent:.0f} s{rest}] {text}", flush=True)

        results.append(train(*job, args, said) | {"settings": settings})
        with file.open("a") as out:
            out.write(json.dumps(results[-1]) + "\n")
    table([r for r in results if (r["group"], r["mixer"], r["seed"]) in jobs])


if __name__ == "__main__":
    main()
