# SPDX-License-Identifier: MIT
"""The table and the picture of results:  python report.py results.jsonl ... --picture results.svg"""

import argparse
import json
import statistics
from html import escape
from pathlib import Path

NAMES = {"parity": "parity", "s3": "S3", "s4": "S4", "a5": "A5"}
NAMES |= {"copying": "selective copying", "recall": "noisy recall", "bytes": "bytes of this repository"}
COLOURS = "#1f77b4 #aec7e8 #393b79 #17becf #9467bd #c5b0d5 #d62728 #ff7f0e #8c564b #2ca02c #98df8a #bcbd22 #7f7f7f"
COLOURS = COLOURS.split()


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


def measure(task):
    return "bits" if task == "bytes" else "accuracy"


def table(results):
    """Markdown: the median and, in brackets, the best of the seeds, by length."""
    for (task, length, training), mixers in groups(results).items():
        what, best = measure(task), min if task == "bytes" else max
        unit = "bits a byte" if task == "bytes" else "accuracy"
        lengths = [m * length for m in (1, 2, 4, 16)]
        last = "" if task == "bytes" else " 99% at the greatest length |"
        print(f"\n{NAMES[task]}, {training}: {unit} by length, median (best) of the seeds\n")
        print("| mixer | parameters | seeds | " + " | ".join(map(str, lengths)) + " |" + last)
        print("|---" * (3 + len(lengths) + bool(last)) + "|")
        for mixer, runs in mixers.items():
            values = [[r[what][str(n)] if str(n) in r[what] else r[what][n] for r in runs] for n in lengths]
            cells = [f"{statistics.median(v):.3f} ({best(v):.3f})" for v in values]
            solved = f" {sum(x >= 0.99 for x in values[-1])} of {len(runs)} |" if last else ""
            print(f"| {mixer} | {runs[0]['parameters']:,} | {len(runs)} | " + " | ".join(cells) + " |" + solved)


def picture(results, width=400, height=210):
    """An SVG: a panel a task, the measure over the position in sequences 16 times as long as those of training. Lines
    are medians of the seeds, shades reach from the worst to the best, and the dotted line is where training ended."""
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
        w, h = width - 50, height - 60
        column = 1 if task == "bytes" else 0
        curves, shown = {}, set()
        for mixer, runs in found.items():
            points = []
            for bucket, values in enumerate(zip(*(r["by_position"] for r in runs))):
                values = [v[column] for v in values if v[column] is not None]
                if values:
                    points.append((bucket, min(values), statistics.median(values), max(values)))
            curves[mixer] = points
            shown |= {v for point in points for v in point[1:]}
        low, high = (min(shown), min(max(shown), 8.0)) if column else (0.0, 1.0)
        buckets = len(next(iter(found.values()))[0]["by_position"])
        first = min(points[0][0] for points in curves.values())
        x = lambda b: left + w * (b - first + 0.5) / (buckets - first)
        y = lambda v: top + h * (1 - (min(v, high) - low) / ((high - low) or 1))
        out.append(f'<text x="{left}" y="{top - 8}" font-weight="bold">{escape(f"{NAMES[task]}, {training}")}</text>')
        for tick in range(5):
            v = low + (high - low) * tick / 4
            out.append(f'<path d="M{left} {y(v):.1f}h{w}" stroke="#ddd"/>')
            out.append(f'<text x="{left - 5}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.2f}</text>')
        if first == 0:
            out.append(f'<path d="M{left + w / 16:.1f} {top}v{h}" stroke="#888" stroke-dasharray="2 3"/>')
        for m in (1, 4, 8, 16) if first == 0 else ():
            out.append(f'<text x="{left + w * m / 16:.1f}" y="{top + h + 14}" text-anchor="middle">{m * length}</text>')
        label = "bits a byte" if column else "accuracy"
        label += " by position" if first == 0 else " of the answers, in their order"
        out.append(f'<text x="{left + w / 2:.0f}" y="{top + h + 28}" text-anchor="middle">{label}</text>')
        for mixer, points in curves.items():
            there = lambda c: [f"{x(p[0]):.1f},{y(p[c]):.1f}" for p in points]
            if len(found[mixer]) > 1:
                edge = " ".join(there(1) + there(3)[::-1])
                out.append(f'<polygon points="{edge}" fill="{colour[mixer]}" opacity="0.12"/>')
            line = " ".join(there(2))
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
