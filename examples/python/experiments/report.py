# SPDX-License-Identifier: MIT
"""The table and the picture of results:  python report.py results.jsonl ... --picture results.svg"""

import argparse
import json
import math
import statistics
from html import escape
from pathlib import Path

NAMES = {"parity": "parity", "s3": "S3", "s4": "S4", "a5": "A5"}
NAMES |= {"copying": "selective copying", "recall": "noisy recall", "bytes": "bytes of this repository"}
COLOURS = "#1f77b4 #aec7e8 #393b79 #17becf #9467bd #c5b0d5 #d62728 #ff7f0e #8c564b #2ca02c #98df8a #bcbd22 #7f7f7f"
COLOURS = COLOURS.split()
MULTIPLES = (1, 2, 4, 16)  # of the length of training: those that models are tested at


def read(file):
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def groups(results):
    """{(task, length, what else a title says): {mixer: its runs}}, in the order in which they came."""
    found = {}
    for r in results:
        s, whole = r["settings"], "" if r["settings"]["grow"] else ", whole words"
        layers = f"{s['layers']} layer{'s' if s['layers'] > 1 else ''}"
        key = (r["task"], r["length"], f"{layers}, trained at length {r['length']}{whole}, {s['steps']:,} steps")
        found.setdefault(key, {}).setdefault(r["mixer"], []).append(r)
    return found


def measured(task, length, runs):
    """What the task is judged by: a list of all runs for each length."""
    what = "bits" if task == "bytes" else "accuracy"
    return [[r[what][str(m * length)] for r in runs] for m in MULTIPLES]


def table(results):
    """Markdown: the median and, in brackets, the best of the seeds, by length."""
    for (task, length, training), mixers in groups(results).items():
        best = min if task == "bytes" else max
        unit = "bits a byte" if task == "bytes" else "accuracy"
        lengths = [m * length for m in MULTIPLES]
        last = "" if task == "bytes" else " 99% at the greatest length |"
        print(f"\n{NAMES[task]}, {training}: {unit} by length, median (best) of the seeds\n")
        print("| mixer | parameters | seeds | " + " | ".join(map(str, lengths)) + " |" + last)
        print("|---" * (3 + len(lengths) + bool(last)) + "|")
        for mixer, runs in mixers.items():
            values = measured(task, length, runs)
            cells = [f"{statistics.median(v):.3f} ({best(v):.3f})" for v in values]
            solved = f" {sum(x >= 0.99 for x in values[-1])} of {len(runs)} |" if last else ""
            print(f"| {mixer} | {runs[0]['parameters']:,} | {len(runs)} | " + " | ".join(cells) + " |" + solved)


def picture(results, width=400, height=210):
    """An SVG: a panel a task, the measure by length. Lines are medians of the seeds, shades reach from the worst to the
    best."""
    panels = list(groups(results).items())
    mixers = list(dict.fromkeys(m for _, runs in panels for m in runs))
    colour = {m: COLOURS[i % len(COLOURS)] for i, m in enumerate(mixers)}
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    legend = 18 * -(-len(mixers) // 4) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * columns}" height="{height * rows + legend}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for i, ((task, length, training), found) in enumerate(panels):
        left, top = width * (i % columns) + 36, height * (i // columns) + 24
        w, h = width - 60, height - 60
        curves = {m: [sorted(v) for v in measured(task, length, runs)] for m, runs in found.items()}
        shown = [x for points in curves.values() for v in points for x in v]
        low, high = (min(shown), min(max(shown), 8.0)) if task == "bytes" else (0.0, 1.0)
        x = [left + w * math.log2(m) / math.log2(MULTIPLES[-1]) for m in MULTIPLES]
        y = lambda v: top + h * (1 - (min(v, high) - low) / ((high - low) or 1))
        points = lambda values: [f"{a:.1f},{y(v):.1f}" for a, v in zip(x, values)]
        out.append(f'<text x="{left}" y="{top - 8}" font-weight="bold">{escape(f"{NAMES[task]}, {training}")}</text>')
        for tick in range(5):
            v = low + (high - low) * tick / 4
            out.append(f'<path d="M{left} {y(v):.1f}h{w}" stroke="#ddd"/>')
            out.append(f'<text x="{left - 5}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.2f}</text>')
        for a, m in zip(x, MULTIPLES):
            out.append(f'<text x="{a:.1f}" y="{top + h + 14}" text-anchor="middle">{m * length}</text>')
        label = "bits a byte, by length" if task == "bytes" else "accuracy, by length"
        out.append(f'<text x="{left + w / 2:.0f}" y="{top + h + 28}" text-anchor="middle">{label}</text>')
        for mixer, values in curves.items():
            edge = " ".join(points([v[0] for v in values]) + points([v[-1] for v in values])[::-1])
            out.append(f'<polygon points="{edge}" fill="{colour[mixer]}" opacity="0.12"/>')
            line = " ".join(points([statistics.median(v) for v in values]))
            out.append(f'<polyline points="{line}" fill="none" stroke="{colour[mixer]}" stroke-width="1.8"/>')
    for i, mixer in enumerate(mixers):
        left, top = 36 + (i % 4) * (width * columns - 40) / 4, height * rows + 12 + 18 * (i // 4)
        out.append(f'<path d="M{left:.0f} {top - 4}h18" stroke="{colour[mixer]}" stroke-width="3"/>')
        out.append(f'<text x="{left + 24:.0f}" y="{top}">{escape(mixer)}</text>')
    return "\n".join(out) + "\n</svg>\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    results = [r for file in args.files for r in read(file)]
    table(results)
    if args.picture:
        args.picture.write_text(picture(results))


if __name__ == "__main__":
    main()
