"""A diagnosis as text for a terminal: a sentence per question, then the fixes and the results of their trials."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from glassgrad.diagnosis.core.evidence import Trial
from glassgrad.diagnosis.core.findings import Answer, Diagnosis, Fault, Verdict
from glassgrad.diagnosis.core.questions import QUESTIONS

WIDTH = 80
MARKS: Mapping[Verdict, str] = {"ok": "✓", "warning": "!", "fault": "✗"}
PLAIN_MARKS: Mapping[Verdict, str] = {"ok": "ok     ", "warning": "warning", "fault": "FAULT  "}
COLORS: Mapping[Verdict, str] = {"ok": "\033[32m", "warning": "\033[33m", "fault": "\033[1;31m"}
BOLD, DIM, END = "\033[1m", "\033[2m", "\033[0m"
NOT_ON_COMMAND_LINE = ("network", "drop_inputs", "class_weight", "shuffle_targets", "dropout")
MEASURES = {
    "loss": "validation loss",
    "nll": "validation loss of the probabilities",
    "accuracy": "validation accuracy",
    "balanced_accuracy": "validation accuracy, averaged over the classes",
    "rmse": "validation error (RMSE)",
}


class Painter:
    """Formats text with colors and symbols if the terminal supports them."""

    def __init__(self, *, color: bool, unicode: bool) -> None:
        self.color, self.unicode = color, unicode

    def mark(self, verdict: Verdict) -> str:
        """The symbol of a verdict."""
        sign = (MARKS if self.unicode else PLAIN_MARKS)[verdict]
        return f"{COLORS[verdict]}{sign}{END}" if self.color else sign

    def bold(self, text: str) -> str:
        """A heading."""
        return f"{BOLD}{text}{END}" if self.color else text

    def dim(self, text: str) -> str:
        """Text of lesser importance."""
        return "\n".join(f"{DIM}{line}{END}" for line in text.split("\n")) if self.color else text

    @property
    def arrow(self) -> str:
        """An arrow between the scores before and after a fix."""
        return "→" if self.unicode else "->"


def text_of(diagnosis: Diagnosis, painter: Painter, width: int = WIDTH) -> str:
    """The whole diagnosis, in lines of at most ``width`` characters."""
    parts = [_examined(diagnosis, width)]
    parts += ["\n".join(_answer(answer, painter, width)) for answer in diagnosis.answers]
    parts.append("\n".join(_end(diagnosis, painter, width)))
    return "\n\n".join(parts)


def _examined(diagnosis: Diagnosis, width: int) -> str:
    facts = diagnosis.examined
    count = "1 epoch" if facts["epochs"] == 1 else f"{facts['epochs']} epochs"
    text = f"{diagnosis.source}: {facts['rows']['train']:,} training rows, {count}"
    for name, (requested, examined) in facts["scaled_down"].items():
        text += f"; {examined:,} of {requested:,} {name}, to fit the budget"
    return _filled(text + ".", width)


def _answer(answer: Answer, painter: Painter, width: int) -> Iterator[str]:
    yield f"{painter.mark(answer.verdict)} {painter.bold(str(QUESTIONS[answer.question]))}"
    yield _wrapped(answer.sentence, width)
    for fault in (fault for fault in answer.faults if fault.verdict == "fault" or _harmless(fault)):
        yield from _case(fault, answer.sentence, painter, width)
    follows = [fault for fault in answer.faults if fault.because is not None]
    for cause in dict.fromkeys(fault.because for fault in follows):
        names = _listed([fault for fault in follows if fault.because == cause])
        yield _entry("follows", f"from {words(str(cause))}: {names}", width)
    suspected = [fault for fault in answer.faults if not fault.confirmed and fault.because is None]
    tried = [fault for fault in suspected if fault.trial is not None]
    if tried:
        result = (
            "a fix was tried and changed little" if len(tried) == 1 else "fixes were tried and changed little"
        )
        yield painter.dim(_entry("suspected", f"{_listed(tried)}; {result}", width))
    untried = [fault for fault in suspected if fault.trial is None]
    if untried:
        yield painter.dim(_entry("suspected", f"{_listed(untried)}; no fix was tried", width))
    for skipped in answer.left_out:
        yield painter.dim(_entry("no time", skipped, width))


def _case(fault: Fault, answer: str, painter: Painter, width: int) -> Iterator[str]:
    """A fault, its fix, and the result of the trial. A sentence that ``answer`` contains is not repeated."""
    if fault.sentence and fault.sentence not in answer:
        yield _entry("found", fault.sentence, width)
    if fault.prescription is not None:
        flags = command_options(fault.prescription.options)
        sentences = [text for text in (fault.prescription.sentence,) if text not in answer or not flags]
        lines = [*sentences, *([flags] if flags else [])]
        for number, line in enumerate(lines):
            yield _entry("fix" if number == 0 else "", line, width)
    if fault.trial is not None:
        yield _entry("trial", _trial(fault.trial, painter), width)


def _trial(trial: Trial, painter: Painter) -> str:
    before, after = _mean(trial.before), _mean(trial.after)
    name = MEASURES.get(trial.measure, trial.measure)
    if trial.effect == "proof":
        side_before, side_after = trial.sides
        return f"{name} {side_before} {before}, {side_after} {after}"
    constant = f"; a constant guess has {_number(trial.constant)}" if math.isfinite(trial.constant) else ""
    return f"{name} {before} {painter.arrow} {after} (mean of {len(trial.seeds)} seeds{constant})"


def _mean(scores: Sequence[float]) -> str:
    finite = [score for score in scores if math.isfinite(score)]
    if not finite:
        return "none"
    diverged = len(scores) - len(finite)
    return _number(sum(finite) / len(finite)) + (
        f" ({diverged} of {len(scores)} diverged)" if diverged else ""
    )


def _end(diagnosis: Diagnosis, painter: Painter, width: int) -> Iterator[str]:
    named = diagnosis.named
    if named is None:
        result = "No fault found" if diagnosis.verdict == "ok" else "No fault confirmed"
    else:
        others = [fault.kind for fault in diagnosis.faults if fault.verdict == "fault" and fault is not named]
        more = "".join(f", {words(kind)}" for kind in dict.fromkeys(others) if kind != named.kind)
        result = f"Fault: {words(named.kind)}{_location(named)}{more}"
    networks = diagnosis.examined.get("networks_trained")
    cost = f"{diagnosis.seconds:.1f} s of {diagnosis.budget:g} s"
    cost += f", {networks:,} networks trained" if networks else ""
    yield _filled(f"{painter.mark(diagnosis.verdict)} {result}. {cost}.", width + 20 * painter.color)
    for skipped in diagnosis.left_out:
        yield painter.dim(_entry("no time", skipped, width))


def command_options(options: Mapping[str, Any]) -> str:
    """``options`` as arguments of ``glassgrad train``; empty if one of them has no command-line form."""
    arguments = {name: _argument(name, value) for name, value in options.items()}
    if None in arguments.values():
        return ""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in arguments.items())


def _argument(name: str, value: Any) -> str | None:
    """``value`` in the form of the command line; None if the option has no such form."""
    if name in NOT_ON_COMMAND_LINE or value is None or isinstance(value, bool):
        return None
    if isinstance(value, Mapping):
        arguments = ", ".join(f"{key}={item!r}" for key, item in value.items() if key != "name")
        return f"'{value['name']}({arguments})'" if arguments else str(value["name"])
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def words(kind: str) -> str:
    """The name of a kind of fault in words: ``dead_neurons`` as "dead neurons"."""
    return kind.replace("_", " ")


def _harmless(fault: Fault) -> bool:
    return fault.confirmed and fault.because is None and fault.verdict == "warning"


def _location(fault: Fault) -> str:
    return f" ({fault.where})" if fault.where else ""


def _listed(faults: Sequence[Fault]) -> str:
    """The faults by kind, with the layers of each kind: ``dead neurons (dense_1, dense_2), plateau``."""
    layers_of_kind: dict[str, list[str]] = {}
    for fault in faults:
        layers_of_kind.setdefault(fault.kind, []).extend([fault.where] if fault.where else [])
    items = []
    for kind, layers in layers_of_kind.items():
        layer_list = ", ".join(layers[:4]) + (f" and {len(layers) - 4} more" if len(layers) > 4 else "")
        items.append(f"{words(kind)} ({layer_list})" if layers else words(kind))
    return ", ".join(items)


def _entry(name: str, text: str, width: int) -> str:
    return _filled(text, width, f"  {name:<11}", " " * 13)


def _wrapped(text: str, width: int) -> str:
    return _filled(text, width, "  ", "  ")


def _filled(text: str, width: int, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
