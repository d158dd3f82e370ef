"""The table and the picture of a comparison, from its results."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

OURS = "Glassgrad"
EAGER = "PyTorch"
WIDTH = 15


def machine() -> dict[str, Any]:
    """Processor, cores, system, and how busy it was at the start."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform(), "load": load}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratio(found: dict[str, Any], peer: str) -> tuple[float, float, float]:
    """Quartiles of ``peer``'s time divided by Glassgrad's, round by round."""
    ours, theirs = (found["peers"][name]["seconds_per_step"] for name in (OURS, peer))
    return quartiles([b / a for a, b in zip(ours, theirs, strict=True)])


def best(found: dict[str, Any]) -> str | None:
    """The peer with the smallest median."""
    others = {
        name: statistics.median(entry["seconds_per_step"])
        for name, entry in found["peers"].items()
        if name != OURS
    }
    return min(others, key=others.__getitem__) if others else None


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def head(results: dict[str, Any]) -> str:
    """What ran where, and the limits of the machine."""
    place, versions = results["machine"], results["versions"]
    lines = [
        f"{place['processor']}, {place['cores']} cores, {results['threads']} threads for every peer; "
        f"{results['rounds']} rounds; load at the start {place['load']}",
        ", ".join(f"{name} {value}" for name, value in versions.items()),
    ]
    for name, rates in results["product_gflops"].items():
        low, middle, high = quartiles(rates)
        lines.append(
            f"2048 x 2048 x 2048 product, {name.split()[0]}: {middle:.0f} GFLOP/s ({low:.0f} to {high:.0f})"
        )
    lines.append(
        "us per step: median ± half the distance of the quartiles; ratios: median of the rounds; "
        "GF: Glassgrad's products in GFLOP/s"
    )
    lines.append("FMA 1/all: GFLOP/s of bare multiply-adds on one thread and on all, in the same rounds")
    return "\n".join(lines) + "\n"


def header(names: list[str]) -> str:
    """The first line of the table."""
    columns = [OURS, *(name for name in names if name != OURS)]
    cells = "".join(f"{name:>{WIDTH}}" for name in columns)
    text = f"{'network':<23}{'batch':>6} {'optimizer':<9}{cells}{'GF':>6}{'FMA 1/all':>11}"
    text += f"{'best ÷ Glassgrad':>22}" + (f"{'PyTorch ÷ Gl.':>14}" if EAGER in names else "")
    return f"{text}\n{'-' * len(text)}"


def row(found: dict[str, Any], names: list[str]) -> str:
    """One line of the table."""
    peers = found["peers"]
    cells = ""
    for name in [OURS, *(name for name in names if name != OURS)]:
        text = "-"
        if name in peers:
            low, middle, high = quartiles(peers[name]["seconds_per_step"])
            text = f"{number(middle * 1e6)} ±{50 * (high - low) / middle:.0f}%"
        cells += f"{text:>{WIDTH}}"
    text = f"{found['network']:<23}{found['batch']:>6} {found['optimizer']:<9}{cells}"
    if OURS not in peers:
        return text
    rate = found["flops_per_step"] / statistics.median(peers[OURS]["seconds_per_step"]) / 1e9
    peaks = [f"{statistics.median(rates):.0f}" for rates in found["multiply_adds_gflops"].values() if rates]
    text += f"{rate:>6.0f}{'/'.join(peaks) or '-':>11}"
    winner = best(found)
    if winner:
        text += f"{f'{ratio(found, winner)[1]:.2f} {winner}':>22}"
    if EAGER in names:
        text += f"{ratio(found, EAGER)[1] if EAGER in peers else float('nan'):>14.2f}"
    return text


def details(results: dict[str, Any]) -> str:
    """Compile times, agreement of the losses, chosen variants, and the quartiles of the ratios."""
    lines = [
        "",
        "before the first timed epoch, seconds (first epoch minus a usual one; libraries compile there)",
    ]
    names = list(dict.fromkeys(name for found in results["tasks"] for name in found["peers"]))
    cells = "".join(f"{name:>{WIDTH}}" for name in names)
    title = f"{'network':<23}{'optimizer':<9}{cells}"
    lines.append(f"{title}{'Glassgrad: compiled':>22}{'found in cache':>16}{'data':>10}")
    for found in results["tasks"]:
        peers = found["peers"]
        text = f"{found['network']:<23}{found['optimizer']:<9}"
        for name in names:
            text += f"{peers[name]['start_seconds']:>{WIDTH}.2f}" if name in peers else f"{'-':>{WIDTH}}"
        for key, width in (("compile_seconds", 22), ("cached_seconds", 16)):
            value = peers.get(OURS, {}).get(key)
            text += f"{'-' if value is None else format(value, '.4f'):>{width}}"
        lines.append(text + f"{found['data']:>10}")
    lines += [
        "",
        "each peer's time ÷ Glassgrad's: median (quartiles)   |   its fastest variant, the one timed",
    ]
    for found in results["tasks"]:
        for name, entry in found["peers"].items():
            if name != OURS and OURS in found["peers"]:
                low, middle, high = ratio(found, name)
                where = f"{found['network']:<23}{found['optimizer']:<9}{name:<14}"
                lines.append(
                    f"{where}{middle:>9.2f} ({low:.2f} to {high:.2f})".ljust(76) + f"|  {entry['variant']}"
                )
    worst = max((found["largest_difference_of_losses"] for found in results["tasks"]), default=0.0)
    lines += ["", f"largest relative difference of the peers' losses over the first steps: {worst:.1e}"]
    return "\n".join(lines)


def draw(results: dict[str, Any], target: Path) -> int:
    """Bars of the time per step with plain gradient descent (or what there is), as ``target``.svg.

    Text and lines are a grey that can be read on a light and on a dark page; there is no background.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        print("no picture: matplotlib is not installed", file=sys.stderr)
        return 1
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    grey, ours, theirs = "#7f8790", "#e8710a", "#7f9fc4"
    chosen: dict[str, dict[str, Any]] = {}
    for found in results["tasks"]:
        chosen.setdefault(found["network"], found)
    panels = [found for found in chosen.values() if found["peers"]]
    if not panels:
        return 1
    style = {
        "text.color": grey, "axes.labelcolor": grey, "xtick.color": grey, "ytick.color": grey,
        "axes.edgecolor": grey, "svg.hashsalt": "peers", "font.size": 9,
    }  # fmt: skip
    with plt.rc_context(style):
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        tallest = max(len(found["peers"]) for found in panels)
        figure, axes = plt.subplots(
            rows, columns, figsize=(5.2 * columns, (0.29 * tallest + 0.75) * rows), squeeze=False
        )
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        # The same number of decades in every panel, so that equal ratios look equal everywhere.
        medians = [[quartiles(e["seconds_per_step"])[1] for e in found["peers"].values()] for found in panels]
        reach = max(max(values) / min(values) for values in medians)
        for axis, found in zip(axes.flat, panels, strict=False):
            spread = {
                n: [1e6 * t for t in quartiles(e["seconds_per_step"])] for n, e in found["peers"].items()
            }
            names = sorted(spread, key=lambda name: spread[name][1], reverse=True)
            middles = [spread[name][1] for name in names]
            colors = [ours if name == OURS else theirs for name in names]
            errors = [
                [spread[n][1] - spread[n][0] for n in names],
                [spread[n][2] - spread[n][1] for n in names],
            ]
            axis.barh(names, middles, color=colors, xerr=errors, error_kw={"ecolor": grey, "elinewidth": 1})
            axis.set_xscale("log")
            axis.set_xlim(min(middles) / 2.5, min(middles) * reach * 5)
            for place, (name, middle) in enumerate(zip(names, middles, strict=True)):
                weight = "bold" if name == OURS else "normal"
                edge = max(spread[name][2], middle)
                axis.text(edge * 1.12, place, f"{number(middle)} µs", va="center", weight=weight)
            for label in axis.get_yticklabels():
                if label.get_text() == OURS:
                    label.set(color=ours, weight="bold")
            title = f"{found['network']}, batch {found['batch']}, {found['optimizer']}"
            axis.set_title(title, fontsize=9.5, loc="left")
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(which="minor", length=0, labelbottom=False)
            axis.set_facecolor("none")
        for axis in axes[-1]:
            axis.set_xlabel("µs per step")
        figure.suptitle(
            f"Time per training step (log scale, shorter is better), {results['threads']} threads, "
            f"{results['machine']['processor']}",
            fontsize=10,
        )
        figure.tight_layout()
        metadata = {"Date": None}
        figure.savefig(target.with_suffix(".svg"), transparent=True, metadata=metadata)
        plt.close(figure)
    print(f"wrote {target.with_suffix('.svg')}", file=sys.stderr)
    return 0
