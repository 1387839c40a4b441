# SPDX-License-Identifier: MIT
"""How long a call through torch occupies the host: sizes so small that computing takes no time (on a GPU the call
returns before it is done).

    python host_time.py"""

import time

import torch

from kalscan.torch import kla, rotating_kla


def microseconds(call, wait, calls=100, batches=200):
    """Of a call, the least of many batches: what disturbs only adds."""
    least = float("inf")
    for _ in range(batches):
        wait()
        began = time.perf_counter()
        for _ in range(calls):
            call()
        least = min(least, (time.perf_counter() - began) / calls)
        wait()
    return 1e6 * least


def main():
    torch.set_num_threads(1)
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        draw = lambda *shape: torch.rand(shape, device=device)
        inputs = [draw(1, 1, 2), draw(1, 1, 2), draw(1, 1, 2), draw(1, 1, 2), draw(2, 2), draw(2, 2)]
        turning = [draw(1, 1, 2, 3), inputs[1], draw(1, 1, 2, 4), *inputs[2:]]
        wanted = [x.clone().requires_grad_() for x in inputs]
        with torch.no_grad():
            print(f"{device}: torch.sin {microseconds(lambda: torch.sin(inputs[0]), wait):.1f} us", end="")
            print(f", kla {microseconds(lambda: kla(*inputs), wait):.1f}", end="")
            print(f", rotating_kla {microseconds(lambda: rotating_kla(*turning), wait):.1f}", end="")
        print(f", kla where gradients are wanted {microseconds(lambda: kla(*wanted), wait):.1f}", flush=True)


if __name__ == "__main__":
    main()
