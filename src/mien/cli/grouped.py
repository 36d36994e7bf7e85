"""Options of a command in groups: each group is a dataclass, whose fields become options of the command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from mien.options import declarations, field_types, help_of, parser, typed_name

Result = TypeVar("Result")


def grouped(command: Callable[..., Result]) -> Callable[..., Result]:
    """The command with every parameter whose type is a dataclass replaced by that dataclass's fields.

    typer reads options off a function's signature, and long commands have too many of them for one. Options are the
    fields that declare one (see `mien.options.declared`), or whose type is Annotated[..., typer.Option(...)]; others
    keep their defaults. Names must differ across groups.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if name != "return" and is_dataclass(hint)}
    shown = {name: _options(group) for name, group in groups.items()}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += shown[name]
        else:
            # Python 3.10 lays Optional[...] around the type of a parameter whose default is None
            inner = [one for one in get_args(hints[name]) if get_origin(one) is Annotated]
            hint = inner[0] if inner and get_origin(hints[name]) is not Annotated else hints[name]
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))

    def run(**given: Any) -> Result:
        for name, group in groups.items():
            defaults = {one.name: one.default for one in fields(group)}
            given[name] = group(**{one.name: _value(defaults[one.name], given.pop(one.name)) for one in shown[name]})
        return command(**given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _options(group: Any) -> list[inspect.Parameter]:
    hints, found = get_type_hints(group, include_extras=True), []
    for one in fields(group):
        hint = typed(one, hints[one.name], help_of(one)) if "help" in one.metadata else hints[one.name]
        if get_origin(hint) is Annotated:
            default = {MISSING: inspect.Parameter.empty, (): None}.get(one.default, one.default)
            found.append(inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint))
    return found


def flags_of(options: type, *names: str) -> Any:
    """A group for `grouped` of some options of a class; names: which; none: all that it declares."""
    hints = field_types(options)
    chosen = {name: one for name, one in declarations(options).items() if not names or name in names}
    made = [(name, hints[name], field(default=one.default, metadata=one.metadata)) for name, one in chosen.items()]
    return make_dataclass(f"{options.__name__}Flags", made, frozen=True)


def _value(default: Any, value: Any) -> Any:
    """A field's value from what was typed; typer gives lists, and None for an empty one."""
    return tuple(value or ()) if default == () or isinstance(value, list) else value


def typed(one: Field[Any], kind: Any, help: str, *, both: bool = False) -> Any:
    """An option's type with what typer needs to know of it; tuples are typed item by item.

    Args:
        one: the field that declares it.
        kind: the field's type.
        help: what the command line says of it.
        both: a switch has a --no- as well, whatever its default.
    """
    about, parse = one.metadata, parser(one)
    more: dict[str, Any] = {} if parse is None else {"parser": parse, "metavar": "TEXT"}
    if get_origin(kind) is tuple:
        kind = list[str if parse else get_args(kind)[0]] | None  # type: ignore[misc]
    elif parse is not None:
        kind = str
    if about["argument"]:
        return Annotated[kind, typer.Argument(help=help, **more)]
    flags = about["flags"] or ([typed_name(one.name)] if one.default is False and not both else [])
    return Annotated[kind, typer.Option(*flags, help=help, rich_help_panel=about["group"] or None, **more)]
