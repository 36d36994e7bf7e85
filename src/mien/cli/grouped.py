"""Options of a command in groups: each group is a dataclass, whose fields become options of the command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from mien.animation.config import declarations
from mien.typing import field_types

Result = TypeVar("Result")


def grouped(command: Callable[..., Result]) -> Callable[..., Result]:
    """The command with every parameter whose type is a dataclass replaced by that dataclass's fields.

    typer reads options off a function's signature, and long commands have too many of them for one. The fields' types
    are Annotated[..., typer.Option(...)]; their names must differ across groups.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if name != "return" and is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _options(groups[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

    def run(**given: Any) -> Result:
        built = {name: group(**{f.name: given.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        return command(**given, **built)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


def flags_of(options: type, *names: str) -> Any:
    """A group for `grouped` from fields that declare an option (see `mien.animation.config.declared`).

    names: which; none: all that do.
    """
    hints, made = field_types(options), []
    for name, one in declarations(options).items():
        if not names or name in names:
            made.append((name, _flag(hints[name], one.metadata), one))
    return make_dataclass(f"{options.__name__}Flags", made, frozen=True)


def _flag(kind: Any, about: Any) -> Any:
    parse = about["parse"]
    more = {} if parse is None else {"parser": parse, "metavar": "TEXT"}
    option = typer.Option(*about["flags"], help=about["help"], rich_help_panel=about["group"], **more)
    return Annotated[kind if parse is None else str, option]
