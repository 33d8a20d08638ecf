"""Command-line flags made from the fields of Settings, so that a setting is declared once."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from auricle.config import Settings
from auricle.errors import InvalidOption

ENV_PREFIX = "AURICLE_"


def takes_settings(*names: str, panel: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each setting in ``names`` and call it with ``settings``.

    The command declares a parameter ``settings: Settings``, which is not a flag itself. A flag that is not used leaves
    its setting to the environment and to the default. ``panel`` is the heading of the flags in the help.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "settings"]
        flags = [_flag(name, Settings.model_fields[name], panel) for name in names]
        taken = {flag.name for flag in flags} & {parameter.name for parameter in own}
        if taken:
            raise TypeError(f"{command.__name__} declares {sorted(taken)} itself")

        def run(**values: Any) -> None:
            given = {name: values.pop(name) for name in names}
            settings = load_settings({name: value for name, value in given.items() if value is not None})
            command(settings=settings, **values)

        run.__name__ = command.__name__
        run.__doc__ = command.__doc__
        run.__annotations__ = {p.name: p.annotation for p in [*own, *flags]}
        keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *flags]]
        run.__signature__ = inspect.Signature(keyword_only)  # pyright: ignore[reportFunctionMemberAccess]
        return run

    return decorate


def load_settings(overrides: dict[str, Any]) -> Settings:
    """Settings of the environment with ``overrides`` on top; InvalidOption says what is wrong where."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise InvalidOption("; ".join(_explain(problem, overrides) for problem in error.errors())) from error


def flag_name(setting: str) -> str:
    return "--" + setting.replace("_", "-")


def _flag(name: str, field: FieldInfo, panel: str | None) -> inspect.Parameter:
    flag = flag_name(name)
    is_bool = field.annotation is bool
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if is_bool else flag,
        help=f"{field.description} Env: {ENV_PREFIX}{name.upper()}.",
        metavar=None if is_bool else _metavar(field.annotation),
        show_default=_show_default(field),
        rich_help_panel=panel,
    )
    # Numbers and choices stay text here: Settings checks them, for flags and environment alike.
    kind = bool if is_bool else str
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(str(choice) for choice in get_args(annotation))
    return {int: "INTEGER", float: "NUMBER", Path: "DIR"}.get(annotation, "TEXT")


def _show_default(field: FieldInfo) -> str | bool:
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, Path):
        home = Path.home()
        return f"~/{default.relative_to(home)}" if default.is_relative_to(home) else str(default)
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ",".join(cast("tuple[str, ...]", default))
    return str(default) if default != {} else False


def _explain(problem: Any, overrides: dict[str, Any]) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    where = flag_name(name) if name in overrides else ENV_PREFIX + name.upper()
    what = problem["msg"].removeprefix("Value error, ")
    return f"{where}={problem['input']}: {what}"
