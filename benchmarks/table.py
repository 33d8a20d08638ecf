"""Writes the table of docs/benchmarks.md from the JSON results: ``python -m benchmarks.table [FILE ...]``.

Without files it takes the newest run of every setup in benchmarks/results.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.__main__ import RESULTS, SCHEMA
from benchmarks.machine import processor_kind
from benchmarks.plots import draw_run

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN = "<!-- benchmarks: begin (made by python -m benchmarks.table) -->"
END = "<!-- benchmarks: end -->"

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}-(.+)")
_HEAD = "| id | measure | who | against | ours | theirs | figure | goal | met |"
_RULE = "|---|---|---|---|---:|---:|---:|---|---|"


def render(documents: Iterable[dict[str, Any]]) -> str:
    """Markdown of some runs, one table each, without an end of line."""
    return "\n\n".join(_render_run(document) for document in documents)


def replace_between(text: str, table: str) -> str:
    """``text`` with ``table`` between its two markers. Raises ValueError where it lacks them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the markers {BEGIN} and {END}")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def newest(paths: Iterable[Path]) -> list[Path]:
    """The last file of each setup; names are a date and the setup."""
    found: dict[str, Path] = {}
    for path in sorted(paths):
        if match := _DATED.fullmatch(path.stem):
            found[match[1]] = path
    return [found[setup] for setup in sorted(found)]


def load(path: Path) -> dict[str, Any]:
    """A run. Raises ValueError for another version of the format."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("schema") != SCHEMA:
        raise ValueError(f"{path} has format {document.get('schema')!r}; this program reads {SCHEMA}")
    return document


def _render_run(document: dict[str, Any]) -> str:
    machine, model, settings = document["machine"], document["model"], document["settings"]
    ids = dict.fromkeys(result["id"] for result in document["results"])
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    lines = [
        f"### {', '.join(ids)}: {model['shape']} {model['quantization']}, {settings['threads']} threads, "
        f"{processor_kind(machine['cpu'])}, {document['started'][:10]}",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['ram_gib']:g} GiB; {machine['os']}, "
        f"Python {machine['python']}; {libraries}. Model: {model['made']} ({model['mib']:g} MiB). "
        f"Concurrency {settings['concurrency']}, language {settings['language']}.",
        "",
        _HEAD,
        _RULE,
        *(_render_row(result) for result in document["results"]),
        "",
        "Medians, with the least and the most in brackets. " + _noise(document["runs"]),
        *(f"\nNot measured: {reason}." for reason in document.get("not_installed", {}).values()),
    ]
    return "\n".join(lines)


def _render_row(result: dict[str, Any]) -> str:
    cells = [
        result["id"],
        result["measure"],
        result["subject"],
        result["peer"] or "",
        _value(result["ours"], result["unit"]),
        _value(result["theirs"], result["unit"]) if result["theirs"] else "",
        f"**{_spread(result['figure'])}**",
        _goal(result["goal"]),
        {True: "yes", False: "no", None: ""}[result["met"]],
    ]
    return f"| {' | '.join(cells)} |"


def _value(spread: dict[str, Any], unit: str) -> str:
    return f"{number(spread['median'])} {unit}"


def _spread(spread: dict[str, Any]) -> str:
    least, most = number(spread["min"]), number(spread["max"])
    median = number(spread["median"])
    return median if least == most else f"{median} ({least}–{most})"


def _goal(goal: dict[str, float] | None) -> str:
    if goal is None:
        return ""
    return f"≤ {goal['at_most']:g}" if "at_most" in goal else f"≥ {goal['at_least']:g}"


def number(value: float) -> str:
    """Three digits that mean something, and no more."""
    if value == 0 or abs(value) >= 100:
        return f"{value + 0.0:.0f}"  # no minus before a zero
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}f}"


def _noise(runs: Sequence[dict[str, Any]]) -> str:
    shares = sorted(run["foreign_cpu_share"] for run in runs)
    if not shares:
        return ""
    return (
        f"{len(runs)} runs; other programs took {shares[len(shares) // 2]:.0%} of the processor during the median one, "
        f"{shares[-1]:.0%} during the most disturbed."
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE")
    parser.add_argument("--print", action="store_true", help="to standard output instead of docs/benchmarks.md")
    args = parser.parse_args()
    files = args.files or newest(RESULTS.glob("*.json"))
    if not files:
        sys.exit(f"no results in {RESULTS}; run python -m benchmarks first")
    documents = [load(path) for path in files]
    table = render(documents)
    if args.print:
        print(table)
    else:
        images = [image for document in documents for image in draw_run(document)]
        page = replace_between(DOCS.read_text(encoding="utf-8"), "\n\n".join([table, *images]))
        DOCS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
