"""The reference peers without a bug pass every vector of their role."""

from collections.abc import Callable
from typing import Any

import pytest

from .vectors import Vector, ends_server, load, octets, play_to_client, play_to_server, server, server_options


def name(vector: Vector) -> str:
    return str(vector["id"])


@pytest.mark.parametrize("cut", [0, 1, 7], ids=["whole", "octets", "sevens"])
@pytest.mark.parametrize("vector", load("server"), ids=name)
def test_server(vector: Vector, cut: int, shared_server: Callable[[dict[str, Any]], int]) -> None:
    if cut and len(octets(vector["send"])) > 4096:
        cut = 4093
    needs = vector.get("needs", {})
    if ends_server(vector):
        with server(*server_options(needs)) as (port, process):
            play_to_server(vector, port, cut=cut)
            assert process.wait(5) == 0
    else:
        play_to_server(vector, shared_server(needs), cut=cut)


@pytest.mark.parametrize("vector", load("client"), ids=name)
def test_client(vector: Vector) -> None:
    play_to_client(vector)
