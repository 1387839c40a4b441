# SPDX-License-Identifier: MIT
"""Word problems: after each letter, which element of the group is the product so far? Groups: parity (Z2), S3, S4, A5.

    python word_problem.py --quick                              # parity and S3 on a CPU, under three minutes
    python word_problem.py --tasks a5 s4 s3 parity              # all mixers, five seeds
    python word_problem.py --mixers kla --seeds 1 --steps 100000

Training begins with words of two letters, and a letter is added whenever 95% of the answers are right (--no-grow: whole
words from the first step on)."""

import itertools

import torch

import training

GROUPS = {"parity": (2, False), "s3": (3, False), "s4": (4, False), "a5": (5, True)}


def permutations(n, even):
    parity = lambda p: sum(p[i] > p[j] for i in range(n) for j in range(i + 1, n)) % 2
    return [p for p in itertools.permutations(range(n)) if not even or parity(p) == 0]


class Words:
    """Letters are all elements of the group; the target after letter t is x_1 x_2 ... x_t."""

    dense = True

    def __init__(self, group, args):
        elements = permutations(*GROUPS[group])
        index = {p: i for i, p in enumerate(elements)}
        self.vocabulary = len(elements)
        products = [[index[tuple(p[j] for j in q)] for q in elements] for p in elements]
        self.products = torch.tensor(products, device=args.device).flatten()

    def batch(self, n, length, random, test=False):
        x = torch.randint(self.vocabulary, (n, length), device=self.products.device, generator=random)
        y = [x[:, 0]]
        for t in range(1, length):
            y.append(self.products[y[-1] * self.vocabulary + x[:, t]])
        return x, torch.stack(y, 1)


def main():
    args = training.arguments(__doc__, GROUPS, tasks=["a5"]).parse_args()
    if args.quick:
        args.tasks, args.mixers, args.seeds = ["parity", "s3"], ["kla", "rotating_kla", "delta_product"], 1
        args.steps, args.seconds, args.length, args.batch = 1200, 26.0, 8, 64
        args.width, args.states, args.hidden, args.rate, args.tests = 32, 4, 64, 5e-3, 128
    training.train_all(args, Words)


if __name__ == "__main__":
    main()
