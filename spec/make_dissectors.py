#!/usr/bin/env python3
"""Write framelet.ksy (Kaitai Struct) and framelet.lua (Wireshark), or check that they are fresh.

    spec/make_dissectors.py            write each file that is out of date
    spec/make_dissectors.py --check    exit with 1 if there is one, and name it

The files are the templates in ``spec/templates`` with the numbers, names and bounds of the package put in
where ``@NAME`` stands.
"""

from __future__ import annotations

import itertools
import string
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from framelet import grammar, limits
from framelet.address import DEFAULT_PORT
from framelet.registry import ANSWERS, APPLICATION_CODES, VERSION, ErrorCode, TypeRange, type_kinds
from tables import kinds, name_of, senders, types_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from framelet.states import Kind

FOLDER = Path(__file__).resolve().parent

_FORMS = {
    id(grammar.Text): "text",
    id(grammar.PingBody): "ping_body",
    id(grammar.ErrorBody): "error_body",
    id(grammar.HelloBody): "hello_body",
    id(grammar.StoppedBody): "stopped_body",
}
"""What the templates call the forms of bodies."""


class _Template(string.Template):
    delimiter = "@"  # Lua and YAML have other uses for the dollar


def form_of(kind: Kind) -> str | None:
    """The name of the form that the grammar gives to the body of a frame; None where any octets will do."""
    form = grammar.BODIES.get(kind)
    return None if form is None or kind is TypeRange.IGNORABLE else _FORMS[id(form)]


def identifier(kind: Kind) -> str:
    """The name of a kind as both languages allow it."""
    return name_of(kind).lower().replace(" ", "_")


def header() -> Iterable[tuple[str, int, int]]:
    """The fields of the header as the grammar has them: name, offset and size in octets."""
    sizes = [field.sizeof() for field in grammar.FrameHeader.subcons]
    offsets = itertools.accumulate(sizes, initial=0)
    return zip((field.name for field in grammar.FrameHeader.subcons), offsets, sizes, strict=False)


def runs() -> Iterable[tuple[int, int, Kind]]:
    """The types in unbroken runs of one kind: first octet, last octet, kind."""
    for kind, group in itertools.groupby(range(256), lambda octet: type_kinds[octet]):
        octets = list(group)
        yield octets[0], octets[-1], kind


def indented(spaces: int, lines: Iterable[str]) -> str:
    """Lines that stand so far to the right."""
    return "\n".join(" " * spaces + line for line in lines)


# Kaitai Struct.


def kind_of_type() -> Iterable[str]:
    """An expression that maps ``type`` to the lowest octet of its kind, by the runs from above."""
    *others, (_, _, lowest) = sorted(runs(), reverse=True)
    for first, last, kind in others:
        condition = f"type == 0x{first:02x}" if first == last else f"type >= 0x{first:02x}"
        yield f"{condition} ? 0x{min(types_of(kind)):02x} :"
    yield f"0x{min(types_of(lowest)):02x}"


def ksy_values() -> dict[str, object]:
    """What the template of the Kaitai file asks for."""
    return {
        "header": indented(6, (f"- id: {name}\n        type: u{size}" for name, _, size in header())),
        "bodies": indented(
            12, (f"kind::{identifier(kind)}: {form_of(kind)}" for kind in kinds() if form_of(kind))
        ),
        "kind_of_type": indented(10, kind_of_type()),
        "kinds": indented(4, (f"0x{min(types_of(kind)):02x}: {identifier(kind)}" for kind in kinds())),
        "error_codes": indented(4, (f"{code:d}: {code.name.lower()}" for code in sorted(ErrorCode))),
    }


# Wireshark.


def lua(value: object) -> str:
    """A Lua literal."""
    match value:
        case None:
            return "nil"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case _:
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def lua_kinds() -> Iterable[str]:
    """A row for each run of types."""
    for first, last, kind in runs():
        columns = (name_of(kind), form_of(kind), senders(kind), first in ANSWERS)
        yield f"{{0x{first:02X}, 0x{last:02X}, " + ", ".join(map(lua, columns)) + "},"


def lua_numbers() -> Iterable[str]:
    """A row for each key whose value has bounds."""
    forms = {
        "hello_body": grammar.HELLO_NUMBERS,
        "stopped_body": grammar.STOPPED_NUMBERS,
    }
    for form, keys in forms.items():
        rows = ", ".join(f'["{key}"] = {{{span.start}, {span.stop - 1}}}' for key, span in keys.items())
        yield f"{form} = {{{rows}}},"


def lua_values() -> dict[str, object]:
    """What the template of the dissector asks for."""
    places = {
        f"{name.upper()}_{what}": number
        for name, offset, size in header()
        for what, number in (("OFFSET", offset), ("SIZE", size))
    }
    return {
        **places,
        "HEADER_SIZE": grammar.FrameHeader.sizeof(),
        "kinds": indented(4, lua_kinds()),
        "codes": indented(
            4, (f"[{code:d}] = {{{lua(code.title)}, {lua(code.condition)}}}," for code in sorted(ErrorCode))
        ),
        "numbers": indented(4, lua_numbers()),
    }


def common_values() -> dict[str, object]:
    """What both templates may ask for."""
    bounds = {name: value for name, value in vars(limits).items() if name.isupper()}
    codes = {code.name: int(code) for code in ErrorCode}
    own = {"FIRST_APPLICATION_CODE": APPLICATION_CODES[0], "LAST_APPLICATION_CODE": APPLICATION_CODES[-1]}
    return {"VERSION": VERSION, "DEFAULT_PORT": DEFAULT_PORT, **bounds, **codes, **own}


def render() -> Mapping[str, str]:
    """The text of each file, by its name; raises KeyError where a template asks for an unknown value."""
    values = {"framelet.ksy": ksy_values(), "framelet.lua": lua_values()}
    return {
        name: _Template((FOLDER / "templates" / name).read_text(encoding="utf-8")).substitute(
            common_values() | own
        )
        for name, own in values.items()
    }


def main(arguments: list[str]) -> int:
    """Write or check both files; the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: spec/make_dissectors.py [--check]\n")
        return 2
    files = {FOLDER / name: text for name, text in render().items()}
    stale = [
        path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if arguments:
            print(f"spec/{path.name} is stale; run: spec/make_dissectors.py")
        else:
            path.write_text(files[path], encoding="utf-8")
            print(f"spec/{path.name} is written")
    return 1 if arguments and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
