"""``auricle doctor``: what is here, what would be used, and whether it works."""

import json
from typing import Annotated

import typer

from auricle.cli.exit_codes import FAILED
from auricle.cli.settings_flags import takes_settings
from auricle.config import Settings
from auricle.logs import set_up_logging


@takes_settings(
    *("model", "engine", "device", "device_index", "devices", "compute_type", "torch_compile", "torch_quantize"),
    *("threads", "max_batch", "beam_size", "data_dir"),
)
def doctor(
    settings: Settings,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="First measure engines, number formats and batch sizes with the model; for a quiet machine.",
        ),
    ] = False,
    self_test: Annotated[bool, typer.Option(help="Transcribe an example with the embedded model.")] = True,
) -> None:
    """Show what is installed and what would be used, and try it.

    The self-test starts a real engine process with the embedded model. Exit code 1 where a check fails.

    \b
    auricle doctor
    auricle doctor --device cuda
    auricle doctor --calibrate --model small
    auricle doctor --json
    """
    from auricle.cli.doctor_calibration import calibrate_model, check_calibration
    from auricle.cli.doctor_check import Check
    from auricle.cli.doctor_checks import check_self, make_checks

    set_up_logging("error")
    if calibrate:
        calibrate_model(settings)
    checks: list[Check] = [*make_checks(settings), check_calibration(settings)]
    if self_test:
        checks.append(check_self(settings))
    if as_json:
        body = {
            "ok": all(check.ok for check in checks),
            "checks": [{"name": check.name, "ok": check.ok, **check.values} for check in checks],
        }
        typer.echo(json.dumps(body, indent=2))
    else:
        for check in checks:
            typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<10} {check.text}")
    if not all(check.ok for check in checks):
        raise typer.Exit(FAILED)
