"""``auricle doctor``: what is here, what would be used, and whether it works."""

import json
from typing import Annotated

import typer

from auricle.cli.console import set_up_logging
from auricle.cli.exit_codes import FAILED
from auricle.cli.settings_flags import takes_settings
from auricle.config import Settings


@takes_settings("model", "engine", "device", "device_index", "compute_type", "threads", "data_dir")
def doctor(
    settings: Settings,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    self_test: Annotated[bool, typer.Option(help="Transcribe an example with the embedded model.")] = True,
) -> None:
    """Show what is installed and what would be used, and try it.

    The self-test starts a real engine process with the embedded model. Exit code 1 where a check fails.

    \b
    auricle doctor
    auricle doctor --device cuda
    auricle doctor --json
    """
    from auricle.cli.doctor_checks import Check, check_self, make_checks

    set_up_logging("error")
    checks: list[Check] = make_checks(settings)
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
