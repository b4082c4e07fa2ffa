"""Options that must have a value where they are given: an empty one comes from a variable that is not set."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.core import ParameterSource


class ValuedOption(click.Option):
    """Not the same without a value as without the option: what it was to protect would go unprotected."""

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        """Raise click.BadParameter where the value, or one of several, is empty."""
        value, source = super().consume_value(ctx, opts)
        if value == "" or (isinstance(value, (list, tuple)) and "" in value):
            raise click.BadParameter("it is empty: give a value, or leave the option out", ctx, self)
        return value, source


option = functools.partial(click.option, cls=ValuedOption)
