"""Draws the curves of a run as SVG, by hand: a few lines, a legend and two axes need no library."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.load_curves import CURVE, LENGTH

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"

Series = dict[str, list[tuple[float, float]]]
"""Name of a line -> its points from left to right."""

_WIDTH, _HEIGHT = 900, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 290, 44, 52
_COLORS = ("#0b6e99", "#e07b00", "#2e8b57", "#b03060", "#6a5acd", "#777777")


def draw_run(document: dict[str, Any], folder: Path = FOLDER) -> list[str]:
    """Write the plots of a run's curves into ``folder``; returns them as Markdown, none where it has no curves."""
    model = document["model"]
    setup = f"{model['shape']} {model['quantization']}, {document['settings']['threads']} threads"
    name = f"{model['shape']}-{model['quantization']}-{document['settings']['threads']}core"
    curves, lengths = _details(document, CURVE, "levels"), _details(document, LENGTH, "points")
    charts: list[tuple[str, str, str, str, Series]] = []
    if curves:
        clients = "clients at once"
        charts += [
            ("throughput", "Throughput of clips", clients, "RTFx", _points(curves, "concurrency", "rtfx")),
            ("latency", "Latency of clips, p95", clients, "seconds", _points(curves, "concurrency", "p95_s")),
        ]
    if lengths:
        cost = {
            who: [(point["audio_s"], 60 * point["seconds"] / point["audio_s"]) for point in points]
            for who, points in lengths.items()
        }
        charts.append(("length", "Cost of a file", "length of the file in seconds", "seconds a minute of audio", cost))
    images: list[str] = []
    for kind, title, x_label, y_label, series in charts:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{kind}.svg"
        svg = draw_chart(f"{title} ({setup})", x_label, y_label, series)
        path.write_text(svg, encoding="utf-8")
        images.append(f"![{title}, {setup}]({folder.name}/{path.name})")
    return images


def draw_chart(title: str, x_label: str, y_label: str, series: Series) -> str:
    """Lines over a logarithmic x axis, with y from 0. Raises ValueError where there is no point."""
    xs = sorted({x for points in series.values() for x, _ in points})
    highest = max((y for points in series.values() for _, y in points), default=0.0)
    if not xs:
        raise ValueError("there is nothing to draw")
    steps = y_steps(highest)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(x: float) -> float:
        span = math.log(xs[-1] / xs[0])
        return _LEFT + width * (math.log(x / xs[0]) / span if span else 0.5)

    def down(y: float) -> float:
        return _TOP + height * (1 - y / steps[-1])

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12" fill="#222">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        _text(_LEFT, 22, title, size=15),
        _text(_LEFT + width / 2, _HEIGHT - 12, x_label, anchor="middle"),
        f'<g transform="rotate(-90 16 {_TOP + height / 2})">'
        + _text(16, _TOP + height / 2, y_label, anchor="middle")
        + "</g>",
    ]
    for y in steps:
        parts.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + width}" y1="{down(y):.1f}" y2="{down(y):.1f}" stroke="#ddd"/>'
            + _text(_LEFT - 8, down(y) + 4, f"{y:g}", anchor="end")
        )
    parts += [_text(across(x), _TOP + height + 18, f"{x:g}", anchor="middle") for x in xs]
    for number, (name, points) in enumerate(series.items()):
        color = _COLORS[number % len(_COLORS)]
        places = [(across(x), down(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        parts.append(
            f'<rect x="{_LEFT + width + 14}" y="{_TOP + 4 + 17 * number}" width="14" height="4" fill="{color}"/>'
            + _text(_LEFT + width + 34, _TOP + 11 + 17 * number, name)
        )
    return "\n".join([*parts, "</svg>", ""])


def y_steps(highest: float) -> list[float]:
    """Round numbers from 0 to at least ``highest``, four to eight of them."""
    if highest <= 0:
        return [0.0, 1.0]
    size = 10.0 ** math.floor(math.log10(highest))
    step = next(size * part for part in (0.2, 0.5, 1, 2) if highest / (size * part) <= 6)
    return [step * number for number in range(math.ceil(highest / step - 1e-9) + 1)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _details(document: dict[str, Any], id_: str, key: str) -> dict[str, list[dict[str, Any]]]:
    found: Iterable[dict[str, Any]] = (result for result in document["results"] if result["id"] == id_)
    return {result["subject"]: result["details"][key] for result in found}


def _points(curves: dict[str, list[dict[str, Any]]], x: str, y: str) -> Series:
    def line(levels: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
        return [(level[x], level[y]) for level in levels]

    return {name: line(levels) for name, levels in curves.items()}
