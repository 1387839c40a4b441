# SPDX-License-Identifier: MIT
"""What a training step costs: a model of two KLA layers with kalscan's operators, compiled by torch too, and with the
filter written in plain PyTorch, a token after the other; times and peak memory.

    python training_step.py                                     # (8, 2048, d 1024) on a GPU, small on a CPU
    python training_step.py --length 8192 --batch 2 --dtype float32
"""

import argparse
import statistics
import time

import torch
from torch import nn

from kalscan.torch import KLAConfig, KLALayer, KLAState, RotatingKLALayer


class PlainKLALayer(KLALayer):
    """The same layer; PyTorch's own operators and autograd."""

    def mix(self, z, state, offsets):
        v, precision, k, q = (x.float() for x in self.sensors(z))
        a, p = self.dynamics()
        mean = torch.zeros(z.shape[0], *a.shape, device=z.device)
        variance = torch.ones_like(mean)
        ys, variances = [], []
        for t in range(z.shape[1]):
            predicted = a.square() * variance + p
            key = k[:, t, None, :]
            gain = predicted * key * precision[:, t, :, None]
            gain = gain / (1 + gain * key)
            mean = a * mean
            mean = mean + gain * (v[:, t, :, None] - key * mean)
            variance = predicted * (1 - gain * key)
            ys.append((q[:, t, None, :] * mean).sum(-1))
            variances.append((q[:, t, None, :].square() * variance).sum(-1))
        return torch.stack(ys, 1), torch.stack(variances, 1), KLAState(1 / variance, mean / variance)


class Model(nn.Module):
    def __init__(self, layer, width, layers, vocabulary=256):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers + 1))
        self.layers = nn.ModuleList(layer(width, KLAConfig()) for _ in range(layers))
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for norm, layer in zip(self.norms, self.layers):
            x = x + layer(norm(x))
        return self.head(self.norms[-1](x))


def measure(layer, compiled, args):
    """Milliseconds of a step (median), peak memory in GiB (of a GPU), and the loss before the first step."""
    cuda = args.device == "cuda"
    torch.manual_seed(1)
    model = Model(layer, args.width, args.layers).to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    tokens = torch.randint(0, 256, (args.batch, args.length + 1), device=args.device)
    call = torch.compile(model) if compiled else model

    def step():
        with torch.autocast(args.device, torch.bfloat16, enabled=args.dtype == "bfloat16"):
            logits = call(tokens[:, :-1])
        loss = nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()  # waits for a GPU

    first = step()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    step()
    times = []
    for _ in range(args.repetitions):
        began = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - began))
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}" if cuda else "-"
    return statistics.median(times), memory, first


def main():
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8 if cuda else 2)
    parser.add_argument("--length", type=int, default=2048 if cuda else 128)
    parser.add_argument("--width", type=int, default=1024 if cuda else 64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16" if cuda else "float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if args.device == "cuda" else "the CPU"
    print(f"{args.batch} x {args.length} tokens, width {args.width}, {args.layers} layers, {args.dtype}, on {name}")
    print(f"{'':34} {'ms a step':>10} {'peak GiB':>9} {'first loss':>11}")
    losses = []
    for title, layer, compiled in (
        ("KLALayer", KLALayer, False),
        ("KLALayer, torch.compile", KLALayer, True),
        ("RotatingKLALayer", RotatingKLALayer, False),
        ("plain PyTorch, token by token", PlainKLALayer, False),
    ):
        try:
            ms, memory, loss = measure(layer, compiled, args)
        except torch.cuda.OutOfMemoryError:
            print(f"{title:34} out of memory", flush=True)
            continue
        print(f"{title:34} {ms:10.1f} {memory:>9} {loss:11.5f}", flush=True)
        if layer is not RotatingKLALayer:
            losses.append(loss)
    if not max(losses) - min(losses) < 1e-2:
        raise SystemExit("the losses before the first step differ")


if __name__ == "__main__":
    main()
