"""The table and the figure of a comparison, drawn from its results."""

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
    """The processor, the number of cores, the operating system, and the load at the start."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform(), "load": load}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def ratio(result: dict[str, Any], peer: str) -> tuple[float, float, float]:
    """Quartiles over the rounds of ``peer``'s time divided by Glassgrad's."""
    glassgrad_times, peer_times = (result["peers"][name]["seconds_per_step"] for name in (OURS, peer))
    return quartiles([b / a for a, b in zip(glassgrad_times, peer_times, strict=True)])


def best(result: dict[str, Any]) -> str | None:
    """The peer with the smallest median time, other than Glassgrad."""
    medians = {
        name: statistics.median(entry["seconds_per_step"])
        for name, entry in result["peers"].items()
        if name != OURS
    }
    return min(medians, key=medians.__getitem__) if medians else None


def number(value: float) -> str:
    """``value`` with about three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def head(results: dict[str, Any]) -> str:
    """The machine, the versions of the libraries, and the peak rates."""
    system, versions = results["machine"], results["versions"]
    lines = [
        f"{system['processor']}, {system['cores']} cores, {results['threads']} threads for every peer; "
        f"{results['rounds']} rounds; load at the start {system['load']}",
        ", ".join(f"{name} {value}" for name, value in versions.items()),
    ]
    for name, rates in results["product_gflops"].items():
        low, median, high = quartiles(rates)
        lines.append(
            f"2048 x 2048 x 2048 product, {name.split()[0]}: {median:.0f} GFLOP/s ({low:.0f} to {high:.0f})"
        )
    lines.append(
        "us per step: median ± half the interquartile range; ratios: median over the rounds; "
        "GF: GFLOP/s of Glassgrad's matrix products"
    )
    lines.append("FMA 1/all: peak GFLOP/s of multiply-adds on one thread and on all, in the same rounds")
    return "\n".join(lines) + "\n"


def header(names: list[str]) -> str:
    """The first line of the table."""
    columns = [OURS, *(name for name in names if name != OURS)]
    cells = "".join(f"{name:>{WIDTH}}" for name in columns)
    text = f"{'network':<23}{'batch':>6} {'optimizer':<9}{cells}{'GF':>6}{'FMA 1/all':>11}"
    text += f"{'best ÷ Glassgrad':>22}" + (f"{'PyTorch ÷ Gl.':>14}" if EAGER in names else "")
    return f"{text}\n{'-' * len(text)}"


def row(result: dict[str, Any], names: list[str]) -> str:
    """One line of the table."""
    peers = result["peers"]
    cells = ""
    for name in [OURS, *(name for name in names if name != OURS)]:
        text = "-"
        if name in peers:
            low, median, high = quartiles(peers[name]["seconds_per_step"])
            text = f"{number(median * 1e6)} ±{50 * (high - low) / median:.0f}%"
        cells += f"{text:>{WIDTH}}"
    text = f"{result['network']:<23}{result['batch']:>6} {result['optimizer']:<9}{cells}"
    if OURS not in peers:
        return text
    rate = result["flops_per_step"] / statistics.median(peers[OURS]["seconds_per_step"]) / 1e9
    peaks = [f"{statistics.median(rates):.0f}" for rates in result["multiply_adds_gflops"].values() if rates]
    text += f"{rate:>6.0f}{'/'.join(peaks) or '-':>11}"
    winner = best(result)
    if winner:
        text += f"{f'{ratio(result, winner)[1]:.2f} {winner}':>22}"
    if EAGER in names:
        text += f"{ratio(result, EAGER)[1] if EAGER in peers else float('nan'):>14.2f}"
    return text


def details(results: dict[str, Any]) -> str:
    """Compile times, agreement of the losses, chosen variants, and the quartiles of the ratios."""
    lines = [
        "",
        "seconds of compiling and warm-up: the first epoch minus a normal one",
    ]
    names = list(dict.fromkeys(name for result in results["tasks"] for name in result["peers"]))
    cells = "".join(f"{name:>{WIDTH}}" for name in names)
    title = f"{'network':<23}{'optimizer':<9}{cells}"
    lines.append(f"{title}{'Glassgrad: compiled':>22}{'from cache':>16}{'data':>10}")
    for result in results["tasks"]:
        peers = result["peers"]
        text = f"{result['network']:<23}{result['optimizer']:<9}"
        for name in names:
            text += f"{peers[name]['start_seconds']:>{WIDTH}.2f}" if name in peers else f"{'-':>{WIDTH}}"
        for key, width in (("compile_seconds", 22), ("cached_seconds", 16)):
            value = peers.get(OURS, {}).get(key)
            text += f"{'-' if value is None else format(value, '.4f'):>{width}}"
        lines.append(text + f"{result['data']:>10}")
    lines += [
        "",
        "each peer's time ÷ Glassgrad's: median (quartiles)   |   its fastest variant, the one timed",
    ]
    for result in results["tasks"]:
        for name, entry in result["peers"].items():
            if name != OURS and OURS in result["peers"]:
                low, median, high = ratio(result, name)
                where = f"{result['network']:<23}{result['optimizer']:<9}{name:<14}"
                lines.append(
                    f"{where}{median:>9.2f} ({low:.2f} to {high:.2f})".ljust(76) + f"|  {entry['variant']}"
                )
    worst = max((result["largest_difference_of_losses"] for result in results["tasks"]), default=0.0)
    lines += ["", f"largest relative difference of the peers' losses over the first steps: {worst:.1e}"]
    return "\n".join(lines)


def draw(results: dict[str, Any], target: Path) -> int:
    """Draw bars of the time per step with the first optimizer measured for each network, as ``target``.svg.

    Text and lines are grey, readable on light and dark pages; the background is transparent.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        print("no figure: matplotlib is not installed", file=sys.stderr)
        return 1
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    grey, ours, theirs = "#7f8790", "#e8710a", "#7f9fc4"
    first_of_network: dict[str, dict[str, Any]] = {}
    for result in results["tasks"]:
        first_of_network.setdefault(result["network"], result)
    panels = [result for result in first_of_network.values() if result["peers"]]
    if not panels:
        return 1
    style = {
        "text.color": grey, "axes.labelcolor": grey, "xtick.color": grey, "ytick.color": grey,
        "axes.edgecolor": grey, "svg.hashsalt": "peers", "font.size": 9,
    }  # fmt: skip
    with plt.rc_context(style):
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        tallest = max(len(result["peers"]) for result in panels)
        figure, axes = plt.subplots(
            rows, columns, figsize=(5.2 * columns, (0.29 * tallest + 0.75) * rows), squeeze=False
        )
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        # All panels have the same number of decades, so that equal ratios look equal.
        medians = [
            [quartiles(e["seconds_per_step"])[1] for e in result["peers"].values()] for result in panels
        ]
        largest_ratio = max(max(values) / min(values) for values in medians)
        for axis, result in zip(axes.flat, panels, strict=False):
            spread = {
                n: [1e6 * t for t in quartiles(e["seconds_per_step"])] for n, e in result["peers"].items()
            }
            names = sorted(spread, key=lambda name: spread[name][1], reverse=True)
            times = [spread[name][1] for name in names]
            colors = [ours if name == OURS else theirs for name in names]
            errors = [
                [spread[n][1] - spread[n][0] for n in names],
                [spread[n][2] - spread[n][1] for n in names],
            ]
            axis.barh(names, times, color=colors, xerr=errors, error_kw={"ecolor": grey, "elinewidth": 1})
            axis.set_xscale("log")
            axis.set_xlim(min(times) / 2.5, min(times) * largest_ratio * 5)
            for position, (name, median) in enumerate(zip(names, times, strict=True)):
                weight = "bold" if name == OURS else "normal"
                edge = max(spread[name][2], median)
                axis.text(edge * 1.12, position, f"{number(median)} µs", va="center", weight=weight)
            for label in axis.get_yticklabels():
                if label.get_text() == OURS:
                    label.set(color=ours, weight="bold")
            title = f"{result['network']}, batch {result['batch']}, {result['optimizer']}"
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
