# SPDX-License-Identifier: MIT
"""Training that the experiments share: several seeds at once, progress, results that a stopped command goes on from.

A task has `vocabulary`, `dense` (every token has a target, and words may grow as they are learnt), and
`batch(n, length, random, test)`, which returns tokens and targets [n, length], -1 where there is none. Models are
trained at --length and tested at 1, 2, 4 and 16 times that."""

import argparse
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import report
from mixers import MIXERS, equal_net, size



def losses(logits, y):
    """Of each target; 0 where there is none."""
    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-1, reduction="none").view(y.shape)


class Run:
    """A model in training. On a GPU its step is one CUDA graph in a stream of its own: seeds run side by side."""

    def __init__(self, task, mixer, seed, args):
        self.task, self.mixer, self.seed, self.args = task, mixer, seed, args
        torch.manual_seed(seed)
        self.net = equal_net(mixer, task.vocabulary, args.width, args.layers, args.states, args.hidden).to(args.device)
        self.parameters = list(self.net.parameters())
        self.cuda = args.device == "cuda"
        self.random = torch.Generator(args.device).manual_seed(seed)
        rate = torch.zeros((), device=args.device) if self.cuda else 0.0
        self.optimizer = torch.optim.AdamW(self.parameters, rate, weight_decay=0.01, fused=True, capturable=self.cuda)
        zeros = lambda *n: torch.zeros(n, device=args.device)
        self.hits, self.asked, self.loss = zeros(args.length), zeros(args.length), zeros()
        self.reach = 2 if task.dense and args.grow else args.length
        self.weight = (torch.arange(args.length, device=args.device) < self.reach).float()
        self.done, self.curve, self.stream = 0, [], torch.cuda.Stream() if self.cuda else None
        self.call = self.update
        if self.cuda and args.graph:
            self.capture()

    def update(self):
        x, y = self.task.batch(self.args.batch, self.args.length, self.random)
        logits = self.net(x)
        asked = (y >= 0).float()
        weight = asked * self.weight
        loss = (losses(logits, y) * weight).sum() / weight.sum()
        for p, gradient in zip(self.parameters, torch.autograd.grad(loss, self.parameters)):
            p.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.loss.copy_(loss)
            self.hits += ((logits.argmax(-1) == y) * asked).sum(0)
            self.asked += asked.sum(0)

    def capture(self):
        """Captures the step; the rate is zero meanwhile, and the optimizer forgets it."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self.update()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.random)
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.update()
            self.graph, self.call = graph, graph.replay
        except RuntimeError as error:
            print(f"{self.mixer}: no CUDA graph ({str(error).splitlines()[0]}); slower", flush=True)
            torch.cuda.synchronize()
            self.random = torch.Generator("cuda").manual_seed(self.seed)
        for state in self.optimizer.state.values():
            for x in state.values():
                x.zero_()
        self.hits.zero_(), self.asked.zero_()
        torch.cuda.synchronize()

    def step(self):
        """One step of training; the rate rises over a tenth of all and falls as a cosine."""
        args, at = self.args, self.done / self.args.steps
        rate = args.rate * (at / 0.1 if at < 0.1 else 0.5 + 0.5 * math.cos(math.pi * (at - 0.1) / 0.9))
        with torch.cuda.stream(self.stream):
            group = self.optimizer.param_groups[0]
            if self.cuda:
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
            self.call()
        self.done += 1

    def look(self):
        """Mean accuracy since the last look; longer words once these are known."""
        with torch.cuda.stream(self.stream):
            hits, asked, loss = self.hits.tolist(), self.asked.tolist(), self.loss.item()
            self.hits.zero_(), self.asked.zero_()
            accuracy = sum(hits[: self.reach]) / max(1, sum(asked[: self.reach]))
            if accuracy > 0.95 and self.reach < self.args.length:
                self.reach += 1
                self.weight[: self.reach] = 1.0
        return accuracy, loss

    @torch.no_grad()
    def tests(self):
        """The mean accuracy, and bits a target, by length."""
        accuracy, bits = {}, {}
        random = torch.Generator(self.args.device).manual_seed(1)  # all models are asked the same
        for length in (m * self.args.length for m in report.MULTIPLES):
            rows = max(1, min(self.args.batch, self.args.test_tokens // length))
            right = wrong = asked = 0.0
            for _ in range(max(1, round(self.args.tests / rows))):
                x, y = self.task.batch(rows, length, random, test=True)
                logits = self.net(x)
                there = (y >= 0).double()
                right += ((logits.argmax(-1) == y) * there).sum().item()
                wrong += losses(logits, y).double().sum().item() / math.log(2)
                asked += there.sum().item()
            accuracy[length], bits[length] = round(right / asked, 5), round(wrong / asked, 5)
        return dict(accuracy=accuracy, bits=bits)


def arguments(description, names, **defaults):
    """The options that all experiments have, with the defaults of one of them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small models, within three minutes on a CPU")
    parser.add_argument("--tasks", nargs="+", default=list(names), choices=names)
    parser.add_argument("--mixers", nargs="+", default=list(MIXERS), choices=MIXERS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="for commands side by side with one --out")
    parser.add_argument("--at-once", type=int, default=5, help="seeds that are trained side by side on a GPU")
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="of training, for all seeds of a mixer")
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--states", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--tests", type=int, default=512, help="sequences of each length that a model is tested on")
    parser.add_argument("--test-tokens", type=int, default=2**16, help="at once")
    yes_or_no = dict(action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--grow", **yes_or_no, help="words grow as they are learnt")
    parser.add_argument("--graph", **yes_or_no, help="CUDA graphs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("results.jsonl"), help="a line a model; kept and added to")
    parser.set_defaults(**defaults)
    return parser


UNSAVED = ("tasks", "mixers", "seeds", "first_seed", "at_once", "out", "quick", "graph", "seconds", "test_tokens")


def train_all(args, make_task):
    """Trains what is not in --out yet, --at-once seeds of a task and mixer together, and prints a table."""
    torch.set_float32_matmul_precision("high")
    settings = {k: v for k, v in vars(args).items() if k not in UNSAVED}
    key = lambda r: (r["task"], r["mixer"], r["seed"])
    done = {key(r) for r in report.read(args.out) if r["settings"] == settings}
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    groups = []
    for task in args.tasks:
        for mixer in args.mixers:
            left = [s for s in seeds if (task, mixer, s) not in done]
            groups += [(task, mixer, left[i : i + args.at_once]) for i in range(0, len(left), args.at_once)]
    clock = time.perf_counter
    began, tasks = clock(), {}
    for i, (name, mixer, seeds) in enumerate(groups):
        task = tasks.setdefault(name, make_task(name, args))
        start = clock()
        runs = [Run(task, mixer, seed, args) for seed in seeds]
        looks = max(1, min(20, args.steps // 50))
        for step in range(1, args.steps + 1):
            for run in runs:
                run.step()
            late = clock() - start > args.seconds
            if step % looks == 0 or step == args.steps or late:
                seen = [run.look() for run in runs]
            if step % max(looks, args.steps // 20 // looks * looks) == 0 or step == args.steps or late:
                for run, (accuracy, loss) in zip(runs, seen):
                    run.curve.append((step, run.reach, round(accuracy, 4), round(loss, 4)))
                spent, share = clock() - began, (i + step / args.steps) / len(groups)
                print(
                    f"[{spent:.0f} s, {spent / share - spent:.0f} s left] {name} {mixer}, seeds {seeds}: "
                    f"step {step} of {args.steps}, accuracy {' '.join(f'{a:.3f}' for a, _ in seen)}, "
                    f"words of {[r.reach for r in runs]}",
                    flush=True,
                )
            if late:
                break
        trained = clock() - start
        for run in runs:
            row = dict(task=name, mixer=mixer, seed=run.seed, parameters=size(run.net), steps=run.done)
            row |= dict(seconds=round(trained, 1), at_once=len(runs), length=args.length, reach=run.reach)
            row |= dict(run.tests(), curve=run.curve, settings=settings)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            with args.out.open("a") as out:
                out.write(json.dumps(row) + "\n")
        del runs, run
        if args.device == "cuda":
            torch.cuda.empty_cache()
    report.table([r for r in report.read(args.out) if r["settings"] == settings])
