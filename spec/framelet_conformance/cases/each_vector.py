"""A case for each vector of a role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet_conformance.play import case
from framelet_conformance.specification import read_vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_conformance.specification import Vector


def each_vector(
    role: str, how: str, title: str, condition: Callable[[Vector], bool] = lambda _: True, *extra: str
) -> pytest.MarkDecorator:
    """Make a function a case for each vector of which the condition holds."""
    return pytest.mark.parametrize(
        "vector",
        [
            pytest.param(
                vector,
                id=vector["id"],
                marks=case(
                    f"vector.{vector['id']}.{how}",
                    f"{vector['title']} ({title})",
                    *dict.fromkeys([*vector["requirements"], *extra]),
                    stops=role == "server" and has_stopped(vector),
                ),
            )
            for vector in read_vectors(role)
            if condition(vector)
        ],
    )


def has_stopped(vector: Vector) -> bool:
    """Whether the server says that it ends."""
    return any(item["type"] == "STOPPED" for item in vector["expect"])
