"""The bugs that are planted in the server of threads."""

from __future__ import annotations

from .loop_bugs import LOOP_BUGS
from .planting import Bug

THREAD_BUGS = [
    Bug(
        "of two STOPs at once one is read on for nothing, and its worker spins",
        "connection.event_turn",
        "            self._drain_left = None  # what follows is read and discarded (REQ-STOP-10)\n",
        "",
        (
            (
                "elif self._drain_left == 0 and not self.connection.draining:",
                "elif self._drain_left == 0 and not (self.stopper or self.connection.draining):",
            ),
            ("if count == 0 or self.transport.ended:", "if (wanted and count == 0) or self.transport.ended:"),
        ),
    ),
    Bug(
        "a drain keeps what follows a STOP from being read",
        "connection.lifetime",
        "if self._drain_left is None and self.stopper is None:",
        "if self._drain_left is None:",
    ),
    Bug(
        "input is polled for that a drain will not read",
        "connection.event_turn",
        "return not self.connection.draining, writing",
        "return True, writing",
    ),
    Bug(
        "the allowed STOP stays in the way of a drain under way",
        "pool.drain",
        "self._advance()  # it may have been the last one that a drain under way was waiting for",
        "pass",
    ),
    Bug(
        "a channel is armed before it is let go",
        "connection.channel",
        """                self.owned = False
                self.session.settle()
                self._set_timer()
                if self.notes or self.session.unfinished:
                    self._call_worker()
                else:
                    read, write = self.session.wants()
                    self._arm(read=read, write=write)
                return
            notes""",
        """                self.session.settle()
                self._set_timer()
                if self.notes or self.session.unfinished:
                    self._call_worker()
                else:
                    read, write = self.session.wants()
                    self._arm(read=read, write=write)
                self.lock.release()
                self.lock.acquire()
                self.owned = False
                return
            notes""",
    ),
    Bug(
        "a channel is let go, and armed after others could take it",
        "connection.channel",
        "                self.owned = False\n                self.session.settle()\n",
        "                self.owned = False\n                self.lock.release()\n"
        "                self.lock.acquire()\n                self.session.settle()\n",
    ),
    Bug(
        "a note left between the look and the re-arm is lost",
        "connection.channel",
        "if not (self.notes or self.timer is None or self.closed):",
        "if not (self.timer is None or self.closed):",
    ),
    Bug(
        "notes are not looked at when a channel is armed again",
        "connection.channel",
        "if self.notes or self.session.unfinished:",
        "if self.session.unfinished:",
    ),
    Bug(
        "two workers own a channel at once",
        "pool.workers",
        """                        if channel.owned:
                            channel.disarm()
                            continue
""",
        "",
    ),
    Bug(
        "an owned channel stays armed",
        "pool.workers",
        """                            channel.disarm()
                            continue
""",
        "                            continue\n",
    ),
    Bug(
        "a timer fires on a closed channel",
        "connection.channel",
        "            self.timer = None\n            if self.closed:\n                return\n",
        "            self.timer = None\n",
    ),
    Bug(
        "the drain counts outside its lock who is waited for",
        "pool.drain",
        "            self._counted = self._counted or count\n            over",
        "            self._lock.release()\n            self._lock.acquire()\n"
        "            self._counted = self._counted or count\n            over",
    ),
    Bug(
        "the drain resets those who wait to be accepted",
        "pool.acceptor",
        "            if last:\n                self._accept_waiting()\n",
        "",
    ),
    Bug(
        "a listener is closed while another thread accepts",
        "pool.acceptor",
        "if self._closed or self._resting:",
        "if self._resting:",
    ),
    Bug(
        "accepting is not armed again",
        "pool.acceptor",
        "                if not (self._kept and self._context.keep_armed):\n                    self._watch()",
        "                pass",
    ),
    Bug(
        "the order of two locks is turned round",
        "pool.connections",
        "            self._totals.add(channel.stats())",
        "            channel.lock.acquire()\n            channel.lock.release()\n"
        "            self._totals.add(channel.stats())",
    ),
    Bug(
        "a lock is held while channels are told to drain",
        "pool.drain",
        "        for channel in channels:\n            channel.drain()\n        self._advance()",
        "        with self._lock:\n            for channel in channels:\n                channel.drain()\n"
        "        self._advance()",
    ),
    Bug(
        "nobody is woken for what a worker that is held up leaves",
        "pool.workers",
        "        elif left:\n            self.wake_one()",
        "",
    ),
    Bug(
        "what a worker that is held up had taken on is forgotten",
        "pool.workers",
        "                self._left.append(worker.ready.popleft())",
        "                worker.ready.popleft()",
    ),
    Bug(
        "a worker is to be active, and gets no permit",
        "pool.workers",
        "        self._permits.put(None)\n        return True",
        "        return True",
    ),
    Bug(
        "the workers that stand by are not told of the end",
        "pool.workers",
        "self._permits.put(None)  # so that the others see it too",
        "pass",
    ),
    Bug(
        "answers sent early are sent again by their worker",
        "service.calls",
        "return answers[sent:] if sent else answers",
        "return answers",
    ),
    Bug(
        "answers in the making are sent early a second time",
        "service.calls",
        "            self.sent += len(ready)\n",
        "",
    ),
    Bug(
        "an answer that ends while its channel is served wakes nobody",
        "connection.replies",
        "            on_done()",
        "            pass",
    ),
    Bug(
        "the timers' thread is not told of an earlier timer",
        "net.timers",
        "                self._condition.notify()\n        return timer",
        "                pass\n        return timer",
    ),
    Bug(
        "the memory of a client that is gone stays accounted",
        "connection.channel",
        "        session.release()\n        self._account()",
        "        session.release()",
    ),
    Bug(
        "clients who were not read for their memory are not woken",
        "pool.memory",
        "        for waiting in starved:\n            waiting.wake()",
        "",
    ),
    Bug(
        "the memory is counted outside its lock",
        "pool.memory",
        "self._total += octets - self._held.pop(holder, 0)",
        "before = self._total + octets - self._held.pop(holder, 0)\n            self._lock.release()\n"
        "            self._lock.acquire()\n            self._total = before",
    ),
    Bug(
        "a stall detector that goes to sleep misses a turn that begins",
        "pool.stall_detector",
        "        if self._others_are_busy(None):\n            self.wake()",
        "        if False:\n            self.wake()",
    ),
    Bug(
        "a client that is lost stays among those whom the drain waits for",
        "pool.drain",
        "            self._stoppers.discard(channel)\n            self._count(channel)",
        "            self._stoppers.discard(channel)",
    ),
    Bug(
        "a request to send what is left forgets it",
        "pool.workers",
        "                self._left.append(item)\n                put_back = True",
        "                put_back = True",
    ),
    Bug(
        "a client is ended by force while a worker has it",
        "connection.channel",
        "            mine, self.owned = not self.owned, True\n            if not mine:",
        "            mine, self.owned = True, True\n            if not mine:",
    ),
    Bug(
        "a deadline is enforced while a worker has the client",
        "connection.channel",
        "if aged or self.owned or self.session.input_waits():",
        "if aged or self.session.input_waits():",
    ),
    Bug(
        "the drain is told of its clients while others are let in",
        "pool.drain",
        """        self.stop_accepting()
        with self._lock:
            if self._begun:
                return
            self._begun = True
            self.ends_at = time.monotonic() + self._limits.drain_timeout
            channels = [channel for channel in self._table.all() if channel not in self._stoppers]
            self._active = {channel for channel in channels if not self._is_done(channel)}
""",
        """        with self._lock:
            if self._begun:
                return
            self._begun = True
            self.ends_at = time.monotonic() + self._limits.drain_timeout
            channels = [channel for channel in self._table.all() if channel not in self._stoppers]
            self._active = {channel for channel in channels if not self._is_done(channel)}
        self.stop_accepting()
""",
    ),
    Bug(
        "a client that was shed since its STOP was allowed gets STOPPED all the same",
        "connection.event_turn",
        "if not connection.finished:  # it was shed, or failed, since its STOP was allowed",
        "if True:",
    ),
    Bug(
        "a worker looks once whether the server has ended",
        "pool.workers",
        "        while not poller.closed:\n            if once",
        "        closed = poller.closed\n        while not closed:\n            if once",
    ),
    Bug(
        "the timers' thread looks once whether it is to end",
        "net.timers",
        "            while not self._closed:\n                self._sort_in()",
        "            closed = self._closed\n            while not closed:\n                self._sort_in()",
    ),
    Bug(
        "a worker that stands down leaves its permit counted",
        "pool.workers",
        "            self._surplus -= 1\n            self.granted -= 1",
        "            self._surplus -= 1",
    ),
    Bug(
        "there is a permit more each time that all workers are held up",
        "pool.workers",
        "            if self.granted == len(self.all):\n                return False\n",
        "",
    ),
    Bug(
        "one worker serves all no more once one was held up",
        "pool.stall_detector",
        "self._team.shrink_to(1 + len(held_up))",
        "pass",
    ),
    Bug(
        "a timer that is set between the look and the wait is slept over",
        "net.timers",
        "                    self._condition.wait(min(remaining, _LOOK))",
        "                    self._condition.release()\n                    self._condition.acquire()\n"
        "                    self._condition.wait(min(remaining, _LOOK))",
    ),
    Bug(
        "a listener is closed twice, where two ask for a drain",
        "pool.acceptor",
        "            if self._closed:\n                return\n            self._closed = True",
        "            self._closed = True",
    ),
    Bug(
        "a client is shed while a worker has it, and closed twice",
        "connection.channel",
        "            if self.owned:  # as it is also once it is closed\n                return\n",
        "",
    ),
    Bug(
        "clients are counted outside the lock",
        "pool.admission",
        """        with self._lock:
            reason, text = self._crowded(peer.host)
            if not text:
                self._open += 1
""",
        """        with self._lock:
            reason, text = self._crowded(peer.host)
            if not text:
                before = self._open
                self._lock.release()
                self._lock.acquire()
                self._open = before + 1
""",
    ),
    Bug(
        "a client that goes is in neither sum for a moment",
        "pool.connections",
        "            self._totals.add(channel.stats())",
        "            self._lock.release()\n            self._lock.acquire()\n"
        "            self._totals.add(channel.stats())",
    ),
    Bug(
        "a worker reckons with what others have taken over from it",
        "pool.workers",
        """                    try:
                        number, mask = ready.popleft()
                    except IndexError:  # left to others between the two
                        break
""",
        "                    number, mask = ready.popleft()\n",
    ),
]

BUGS = [*THREAD_BUGS, *LOOP_BUGS]
"""All, in the order of RESULTS.md."""
