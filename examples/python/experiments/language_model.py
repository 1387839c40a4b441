# SPDX-License-Identifier: MIT
"""The next byte of this repository's own text: documents and sources, every tenth file kept for the test.

    python language_model.py --quick                            # on a CPU, under three minutes
    python language_model.py                                    # all mixers, five seeds

Tested at 2, 4 and 16 times the length that it was trained at, all bytes of a window counted, so that a model that uses
what is far gets better with length, and one that is lost there worse."""

from pathlib import Path

import torch

import training

ROOT = Path(__file__).resolve().parents[3]
KINDS = (".md", ".hpp", ".cuh", ".cpp", ".cu", ".py", ".h")


def texts():
    """Bytes for training and for the test."""
    inside = lambda p: p.relative_to(ROOT).parts
    ours = lambda p: not any(x.startswith(".") for x in inside(p)) and inside(p)[0] != "shared"
    files = sorted(p for p in ROOT.rglob("*") if p.suffix in KINDS and ours(p) and p.is_file())
    joined = lambda files: torch.frombuffer(bytearray(b"\n".join(p.read_bytes() for p in files)), dtype=torch.uint8)
    return joined([p for i, p in enumerate(files) if i % 10]), joined(files[::10])


class Bytes:
    dense, vocabulary = False, 256

    def __init__(self, name, args):
        self.train, self.test = (text.to(args.device) for text in texts())
        print(f"{len(self.train)} bytes to train on, {len(self.test)} for the test")

    def batch(self, n, length, random, test=False):
        text = self.test if test else self.train
        at = torch.randint(len(text) - length - 1, (n, 1), device=text.device, generator=random)
        window = text[at + torch.arange(length + 1, device=text.device)].long()
        return window[:, :-1], window[:, 1:]


def main():
    args = training.arguments(__doc__, ["bytes"], length=256, batch=64, steps=3000, layers=2).parse_args()
    if args.quick:
        args.mixers, args.seeds = ["kla", "rotating_kla", "mamba", "delta_product"], 1
        args.steps, args.seconds, args.length, args.batch = 300, 30.0, 64, 8
        args.width, args.states, args.hidden, args.rate, args.tests = 48, 8, 96, 5e-3, 16
    training.train_all(args, Bytes)


if __name__ == "__main__":
    main()
