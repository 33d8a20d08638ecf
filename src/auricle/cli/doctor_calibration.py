"""What ``auricle doctor`` says of the speed that was measured, and how it is measured."""

import asyncio
import os
from collections.abc import Sequence

from auricle.cli.console import say
from auricle.cli.doctor_check import Check
from auricle.cli.measured import chosen_engine, find_default_model, measured_table
from auricle.config import Settings
from auricle.engines.speed import Table, Trial
from auricle.errors import AuricleError, InvalidOption
from auricle.pipeline.engine_choice import keep_table, measure_engines
from auricle.runtime import default_model_name, engine_config

_QUIET = 0.25
"""Load for each core that disturbs a measurement little."""


def calibrate_model(settings: Settings) -> None:
    """Measure the engines with the default model on this machine and keep the table.

    Raises ModelNotFound where it is not on disk, EngineError where it cannot be run, InvalidOption where the table
    cannot be written.
    """
    folder = find_default_model(settings)
    if folder is None:
        name = default_model_name(settings)
        raise InvalidOption(f"model {name!r} is not on disk; `auricle models pull {name}` downloads it", param="model")
    if load := _load():
        say(f"this machine is busy (load {load:.1f}): what is measured now may be wrong")
    asked = engine_config(settings, folder)
    work = measure_engines(
        asked, beam_size=settings.beam_size, report=lambda what: say(f"measuring {folder.name}: {what} …")
    )
    table = asyncio.run(work)
    try:
        path = keep_table(asked, table, settings.data_dir)
    except OSError as error:
        raise InvalidOption(f"the table cannot be written: {error}", param="data_dir") from error
    say(f"wrote {path}")


def _load() -> float:
    """Programs that wanted to run in the last minute, where that is enough to disturb; else 0."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return load if load > _QUIET * (os.cpu_count() or 1) else 0.0


def check_calibration(settings: Settings) -> Check:
    """The table of the default model, and what is chosen by it; it is no failure that there is none."""
    try:
        folder = find_default_model(settings)
        table = measured_table(settings, folder)
        choice = chosen_engine(settings, folder)
    except AuricleError as error:
        return Check("speed", False, error.message, {"error": error.code, "message": error.message})
    if folder is None or table is None:
        return Check("speed", True, "not measured; `auricle doctor --calibrate` does it", {"measured_at": None})
    text = f"{folder.name} on {choice.engine}: {choice.reason}; measured {table.measured_at}"
    if choice.is_measured:
        batches = f" in batches of {choice.max_batch}" if choice.max_batch else ", as many rows as there is memory for"
        text += f"\n      best: {choice.compute_type}{batches}"
    values: dict[str, object] = {
        "model": folder.name,
        "measured_at": table.measured_at,
        "beam_size": table.beam_size,
        "engine": choice.engine,
        "reason": choice.reason,
        "compute_type": choice.compute_type,
        "max_batch": choice.max_batch,
        "trials": [
            {
                "engine": trial.engine,
                "compute_type": trial.compute_type,
                "rows": cost.rows,
                "beam_size": cost.beam_size,
                "row_s": cost.row_s,
                "encode_s": cost.encode_s,
                "decode_s": cost.decode_s,
            }
            for trial in table.trials
            for cost in trial.costs
        ],
        "failed": [
            {"engine": trial.engine, "compute_type": trial.compute_type, "problem": trial.problem}
            for trial in table.trials
            if trial.problem
        ],
    }
    return Check("speed", True, "\n".join([text, *_lines(table)]), values)


def _lines(table: Table) -> list[str]:
    """Milliseconds a window: a row for each engine, number format and beam size, a column for each batch."""
    sizes = sorted({cost.rows for trial in table.trials for cost in trial.costs})
    columns = "".join(f"{rows:>8}" for rows in sizes)
    head = f"      {'engine':<10}{'format':<14}{'encoder':>8}{'beam':>6}{columns}   (ms a window, by rows of a batch)"
    return [head, *(line for trial in table.trials for line in _trial_lines(trial, sizes))]


def _trial_lines(trial: Trial, sizes: Sequence[int]) -> list[str]:
    name = f"      {trial.engine:<10}{trial.compute_type:<14}"
    if trial.problem:
        return [f"{name} {trial.problem}"]
    lines: list[str] = []
    for beam_size in sorted({cost.beam_size for cost in trial.costs}):
        costs = {cost.rows: cost for cost in trial.costs if cost.beam_size == beam_size}
        columns = "".join(f"{1e3 * costs[rows].row_s:>8.0f}" if rows in costs else f"{'-':>8}" for rows in sizes)
        encode_s = next(iter(costs.values())).encode_s
        lines.append(f"{name}{1e3 * encode_s:>8.0f}{beam_size:>6}{columns}")
    return lines
