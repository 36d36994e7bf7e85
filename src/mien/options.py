"""An option is declared once, as a field of a dataclass, and every front end makes its own of that.

    @dataclass(frozen=True)
    class MyOptions(Checked):
        steps: int = declared(4, "Denoising steps.", "Model", least=1, most=1000)

The command line (`mien.cli.grouped`), the web UI's sliders, the inputs of the ComfyUI nodes, the columns of job tables,
the tables of the manual and `mien train` read the declarations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from fractions import Fraction
from typing import Any, get_type_hints

from mien.errors import InputError

REQUIRED: Any = MISSING  # the default of an option that must be given
_LONGEST_RATE = 40  # characters
_NO_LIMITS = (-math.inf, math.inf, -math.inf, math.inf)


def declared(
    default: Any,
    help: str,
    group: str = "",
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    step: float | None = None,
    word: str = "",
    choices: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    parse: Callable[[str], Any] | None = None,
    typed: str = "",
    argument: bool = False,
) -> Any:
    """A field that front ends show as an option: the one place where it is described.

    Args:
        default: None: the model's own; REQUIRED: there is none.
        help: a sentence for people; at its end, for those who type it, a default that the value does not tell, as
            "Denoising steps.  [default: the model's]".
        group: the heading that it stands under.
        unit: of the number, where the help does not say it.
        least: the smallest value that makes sense; None, here and below: no limit.
        most: the largest one.
        above: a number that it must be above.
        below: a number that it must be below.
        step: from one value to the next, where it is set by a slider or arrows.
        word: what it may be beside a whole number.
        choices: the words that it may be; empty: any.
        flags: how it is typed, if not by its name.
        parse: turns what is typed into the value, or into one item of a tuple.
        typed: what else only those who type it need to know.
        argument: on the command line it stands without a flag.
    """
    help, mark, own = help.partition("  [default:")
    about: dict[str, Any] = dict(help=help, typed=f"{typed}{mark}{own}", group=group, flags=flags, argument=argument)
    about.update(least=least, most=most, above=above, below=below, step=step, unit=unit)
    about.update(word=word, choices=choices, parse=parse)
    return field(default=default, metadata=about)


def again(options: type, name: str, **other: Any) -> Any:
    """A field that is declared as the one of another class, but for what `other` says, see `declared`."""
    one = declarations(options)[name]
    return field(default=other.pop("default", one.default), metadata={**one.metadata, **other})


def declarations(options: type) -> dict[str, Field[Any]]:
    """The fields of a dataclass that declare an option, by name."""
    return {one.name: one for one in fields(options) if "help" in one.metadata}


def sliders(options: type) -> dict[str, Field[Any]]:
    """The declared options that are set by a slider."""
    return {name: one for name, one in declarations(options).items() if one.metadata["step"] is not None}


def typed_name(name: str) -> str:
    """A field's name as it is typed, such as --eyes-gain."""
    return f"--{name.replace('_', '-')}"


def flag(one: Field[Any]) -> str:
    """An option as it is typed, such as --eyes-gain."""
    flags = one.metadata["flags"]
    return flags[-1].partition("/")[0] if flags else typed_name(one.name)


def help_of(one: Field[Any]) -> str:
    """What the command line says of an option."""
    help, typed = one.metadata["help"], one.metadata["typed"]
    return f"{help}{typed if typed.startswith('  [') else f' {typed}'}".strip()


def parser(one: Field[Any]) -> Callable[[str], Any] | None:
    """What turns that which is typed into an option's value, or an item of it; None: the type alone."""
    word: str = one.metadata["word"]
    return number_or(word, flag(one)) if word else one.metadata["parse"]


@dataclass(frozen=True)
class Checked:
    """Options whose declared values are checked as they are made.

    Raises:
        InputError: for a value outside of the limits that its field declares.
    """

    def __post_init__(self) -> None:
        check_declared(self)


def check_declared(options: Any) -> None:
    """Raise InputError for a value of a dataclass outside of the limits that its field declares."""
    for one in declarations(type(options)).values():
        check_limits(one, getattr(options, one.name))


def check_limits(one: Field[Any], value: Any) -> None:
    """Raise InputError for a value outside of the limits that a field declares."""
    about, name = one.metadata, flag(one)
    if value is None or (about["word"] and value == about["word"]):
        return
    if about["choices"]:
        check_choice(name, value, about["choices"])
    if "int" in str(one.type) and about["least"] is not None:
        check_whole_number(name, value, about["least"], about["most"], about["word"] and f' or "{about["word"]}"')
    elif limits_of(one):
        bounds = (about[name] for name in ("least", "most", "above", "below"))
        low, high, above, below = (no if bound is None else bound for bound, no in zip(bounds, _NO_LIMITS, strict=True))
        check_number(name, value, low, high, above=above, below=below)


def limits_of(one: Field[Any]) -> list[str]:
    """The limits that a field declares, such as ["from 0", "below 1"]; the unit first, if it has one."""
    named = (("from", "least"), ("to", "most"), ("above", "above"), ("below", "below"))
    limits = [f"{word} {one.metadata[name]:g}" for word, name in named if one.metadata[name] is not None]
    return [one.metadata["unit"], *limits] if one.metadata["unit"] else limits


def check_number(
    name: str, value: float | None, least: float, most: float, *, above: float = -math.inf, below: float = math.inf
) -> None:
    """Raise InputError unless `value` is None or a finite number from `least` to `most`, and above and below others."""
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if number and least <= value <= most and above < value < below:
        return
    limits = [f"from {least:g} to {most:g}"] if math.isfinite(least) and math.isfinite(most) else []
    if not limits:
        limits = [f"from {least:g} up"] * math.isfinite(least) + [f"up to {most:g}"] * math.isfinite(most)
    limits += [f"above {above:g}"] * math.isfinite(above) + [f"below {below:g}"] * math.isfinite(below)
    raise InputError(f"{name} is {value}, but it must be a number {' and '.join(limits)}")


def check_whole_number(name: str, value: object, least: int, most: int | None, also: str = "") -> None:
    """Raise InputError unless `value` is None or a whole number from `least` to `most`; also: what else it may be."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        allowed = f"from {least} up" if most is None or most > 10**6 else f"from {least} to {most}"
        raise InputError(f"{name} is {value}, but it must be a whole number {allowed}{also}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise InputError unless a word is one of those that are known."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}, but it must be one of {', '.join(choices)}")


def number_or(word: str, name: str) -> Callable[[str], int | str]:
    """A parser of options that are a whole number or one word. name: as it is typed, for the message."""

    def parse(text: str) -> int | str:
        if text == word:
            return text
        try:
            return int(text)
        except ValueError as error:
            raise InputError(f'{name} is {text!r}, but it must be a number from 0 up or "{word}"') from error

    return parse


def parse_rate(text: str) -> Fraction:
    """Frames a second as "25", "29.97" or, exactly, "30000/1001"."""
    try:
        if len(text) > _LONGEST_RATE or "e" in text.lower():  # Python would write 1e999999999 out
            raise ValueError(text)
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        shown = text[:_LONGEST_RATE]
        raise InputError(f"--fps is {shown!r}, but it must be a rate such as 25, 29.97 or 30000/1001") from error


def checked_rate(rate: Fraction) -> Fraction:
    """The same rate, or InputError unless a video can have it."""
    if not 0 < rate <= 1000:
        raise InputError(f"--fps is {rate}, but it must be above 0 and at most 1000")
    if max(rate.numerator, rate.denominator) >= 2**31:
        raise InputError(f"--fps is {rate}, too fine for a video file: give it as a simple fraction or decimal")
    return rate


def field_types(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields by name.

    Python 3.10 takes the mark `_: KW_ONLY` for a type and refuses it; here it is none.
    """
    hints = get_type_hints(kind, localns={"KW_ONLY": type(None)})
    return {name: hint for name, hint in hints.items() if name != "_"}
