"""What ``auricle doctor`` says of the speed that was measured, and how it is measured."""

import asyncio

from auricle.batching.calibration import calibrate
from auricle.cli.console import say
from auricle.cli.doctor_checks import Check
from auricle.cli.measured import find_default_model, measured_table
from auricle.config import Settings
from auricle.engines.calibrate import Table, save_table, tuned
from auricle.errors import AuricleError, InvalidOption
from auricle.runtime import default_model_name, engine_config


def calibrate_model(settings: Settings) -> None:
    """Measure the default model on this machine and keep the table.

    Raises ModelNotFound where it is not on disk, EngineError where it cannot be run, InvalidOption where the table
    cannot be written.
    """
    folder = find_default_model(settings)
    if folder is None:
        name = default_model_name(settings)
        raise InvalidOption(f"model {name!r} is not on disk; `auricle models pull {name}` downloads it", param="model")
    config = engine_config(settings, folder)
    work = calibrate(
        config, beam_size=settings.beam_size, report=lambda kind: say(f"measuring {folder.name} in {kind} …")
    )
    table = asyncio.run(work)
    try:
        path = save_table(config, settings.data_dir, table)
    except OSError as error:
        raise InvalidOption(f"the table cannot be written: {error}", param="data_dir") from error
    say(f"wrote {path}")


def check_calibration(settings: Settings) -> Check:
    """The table of the default model, and what is chosen by it; it is no failure that there is none."""
    try:
        folder = find_default_model(settings)
        table = measured_table(settings, folder)
    except AuricleError as error:
        return Check("speed", False, error.message, {"error": error.code, "message": error.message})
    if folder is None or table is None:
        return Check("speed", True, "not measured; `auricle doctor --calibrate` does it", {"measured_at": None})
    config = tuned(engine_config(settings, folder), table)
    text = f"{folder.name}: {config.compute_type} in batches of {config.max_batch}, measured {table.measured_at}"
    return Check(
        "speed",
        True,
        "\n".join([text, *_lines(table)]),
        {
            "model": folder.name,
            "measured_at": table.measured_at,
            "compute_type": config.compute_type,
            "max_batch": config.max_batch,
            "trials": [
                {
                    "compute_type": trial.compute_type,
                    "rows": cost.rows,
                    "row_s": cost.row_s,
                    "encode_s": cost.encode_s,
                    "start_s": cost.start_s,
                    "token_s": cost.token_s,
                }
                for trial in table.trials
                for cost in trial.costs
            ],
        },
    )


def _lines(table: Table) -> list[str]:
    """A row of figures for each batch that was tried, in ms a row."""
    head = f"      {'format':<14}{'batch':>6}{'encoder':>10}{'start':>8}{'token':>8}{'window':>9}   (ms a row)"
    return [
        head,
        *(
            f"      {trial.compute_type:<14}{cost.rows:>6}{1e3 * cost.encode_s:>10.0f}{1e3 * cost.start_s:>8.0f}"
            f"{1e3 * cost.token_s:>8.2f}{1e3 * cost.row_s:>9.0f}"
            for trial in table.trials
            for cost in trial.costs
        ),
    ]
