"""All peers that are right pass the whole conformance suite: this project's own, and the reference peers."""

import pytest
from tests.conformance.run_steady import PEERS, run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("peer", PEERS)
def test_peer_passes_every_case(peer: str) -> None:
    outcome = run(peer)
    assert outcome.good, outcome
