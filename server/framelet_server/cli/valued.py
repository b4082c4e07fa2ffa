"""Options in groups, which refuse an empty value: it comes from a variable that is not set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from framelet.limits import without_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from click.core import ParameterSource

    from framelet.limits import LimitInfo

    _Decorated = TypeVar("_Decorated", bound=Callable[..., Any] | click.Command)
    _Number = click.ParamType[int | float]
else:
    _Number = click.ParamType  # generic from click 8.4 on


class ValuedOption(click.Option):
    """An option that refuses an empty value: taken for no option, it would leave something unprotected."""

    def __init__(self, *names: Any, group: str = "Options", **settings: Any) -> None:  # noqa: ANN401 - as click has it
        """Be shown in the help under the title of a group."""
        super().__init__(*names, **settings)
        self.group = group

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        """Raise click.BadParameter where the value, or one of several, is empty."""
        value, source = super().consume_value(ctx, opts)
        if value == "" or (isinstance(value, (list, tuple)) and "" in value):
            raise click.BadParameter("it is empty: give a value, or leave the option out", ctx, self)
        return value, source


class GroupedCommand(click.Command):
    """A command whose help shows the options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each group."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", "Options"), []).append(record)
        for title, records in groups.items():
            if not records:
                continue
            with formatter.section(title):
                formatter.write_dl(records)


class Quantity(_Number):
    """The value of a limit, with or without a suffix of its unit, as 16M or 5m."""

    name = "number"

    def __init__(self, info: LimitInfo) -> None:
        """Take the values that the limit allows."""
        self._info = info

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:  # noqa: ANN401 - as click has it
        """Raise click.BadParameter for a value that is not a number, or not within the limit."""
        info = self._info
        try:
            number = info.kind(without_unit(value, info.unit) if isinstance(value, str) else value)
        except ValueError:
            suffixes = {"octets": ", as 16M", "seconds": ", as 5m"}.get(info.unit, "")
            self.fail(f"'{value}' is not a number of {info.unit}{suffixes}", param, ctx)
        if fault := info.fault(number):
            self.fail(f"it {fault}", param, ctx)
        return number


def option(*names: str, **settings: Any) -> Callable[[_Decorated], _Decorated]:  # noqa: ANN401 - click's
    """A ``click.option`` of this kind."""
    return click.option(*names, cls=ValuedOption, **settings)
