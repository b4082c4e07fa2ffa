"""Timers of the server, without a thread."""

from __future__ import annotations

from framelet_server.net.timers import Timer


class Racing(Timer):
    """Is cancelled by another thread while it fires: after a number of looks at what it holds."""

    looks = -1

    def __getattribute__(self, name: str) -> object:
        value: object = super().__getattribute__(name)
        if name in ("_callback", "_subject"):
            type(self).looks -= 1
            if type(self).looks == 0:
                self.cancel()
        return value


def test_a_timer_that_is_cancelled_while_it_fires_calls_with_its_subject_or_not_at_all() -> None:
    for looks in range(1, 4):
        called: list[str] = []
        timer = Racing(0.0, called.append, "subject")
        Racing.looks = looks
        timer.fire()
        assert called in ([], ["subject"])
        assert timer.cancelled
