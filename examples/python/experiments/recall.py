# SPDX-License-Identifier: MIT
"""Two tasks of MAD (Poli et al. 2024, arXiv 2403.17844), on fresh data in every step.

    python recall.py --quick                                    # both on a CPU, under three minutes
    python recall.py --tasks copying recall                     # all mixers, five seeds

copying  16 letters stand among blanks; after a sign they are asked for, in their order
recall   pairs of a key and a value, a fifth of them noise instead; each key that was seen before asks for its value"""

import torch

import training


class Copying:
    """A longer sequence has more blanks, not more letters."""

    letters, dense = 16, False
    vocabulary = 16  # 14 letters, the blank and the sign

    def __init__(self, name, args):
        self.device = args.device
        self.letters = min(self.letters, args.length // 8)

    def batch(self, n, length, random, test=False):
        L, body = self.letters, length - self.letters - 1
        letters = torch.randint(14, (n, L), device=self.device, generator=random)
        order = torch.rand(n, body, device=self.device, generator=random).argsort(1)
        places = order[:, :L].sort(1).values
        x = torch.full((n, length), 14, device=self.device)
        x.scatter_(1, places, letters)
        x[:, body] = 15
        y = torch.full((n, length), -1, device=self.device)
        y[:, body + 1 :] = letters
        return x, y


class Recall:
    """8 keys, 8 values, 16 letters of noise. A key has one value in a sequence."""

    dense, vocabulary = False, 32

    def __init__(self, name, args):
        self.device = args.device

    def batch(self, n, length, random, test=False):
        draw = lambda low, high, *shape: torch.randint(low, high, shape, device=self.device, generator=random)
        pairs = length // 2
        keys, values = draw(0, 8, n, pairs), draw(8, 16, n, 8)
        noise = torch.rand(n, pairs, device=self.device, generator=random) < 0.2
        value = values.gather(1, keys)
        x = torch.where(noise[..., None], draw(16, 32, n, pairs, 2), torch.stack([keys, value], -1)).flatten(1)
        told = (keys[..., None] == torch.arange(8, device=self.device)) & ~noise[..., None]
        before = (told.cumsum(1) - told.long()).gather(2, keys[..., None])[..., 0] > 0
        y = torch.where(before & ~noise, value, -1)
        return x, torch.stack([y, torch.full_like(y, -1)], -1).flatten(1)


TASKS = {"copying": Copying, "recall": Recall}


def main():
    args = training.arguments(__doc__, TASKS, length=128, batch=128, steps=4000).parse_args()
    if args.quick:
        args.mixers, args.seeds = ["kla", "gla", "delta_product"], 1
        args.steps, args.seconds, args.length, args.batch = 600, 25.0, 32, 32
        args.width, args.states, args.hidden, args.rate, args.tests = 32, 8, 64, 5e-3, 128
    training.train_all(args, lambda name, args: TASKS[name](name, args))


if __name__ == "__main__":
    main()
