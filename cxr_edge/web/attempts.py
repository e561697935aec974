"""How often somebody may try to come in: failures are counted by address, and in all."""

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..language import Message
from .problems import Problem

_WINDOW_S = 60.0
_LONGEST_S = 3600.0
_MAX_ADDRESSES = 10_000


@dataclass
class _Tally:
    """Failures since began_s; nothing more is tried before until_s. n_running: tries that have not
    ended."""

    began_s: float = -math.inf
    n_failed: int = 0
    until_s: float = -math.inf
    n_running: int = 0


class Attempts:
    """For many threads at a time.

    After n_failures within a minute an address has to wait for a minute, after each further one
    twice as long as before, up to an hour; an hour after that all is forgotten. A success forgives
    nothing: whoever has a password could try others' in between. Failures of all addresses, above
    n_failures_in_all in a minute, make all of them wait, but never longer than a minute.
    """

    def __init__(
        self,
        clock_s: Callable[[], float],
        n_failures: int = 5,
        n_failures_in_all: int = 60,
        n_at_a_time: int = 8,
    ) -> None:
        self._clock_s = clock_s
        self._n_failures, self._n_failures_in_all = n_failures, n_failures_in_all
        self._n_at_a_time = n_at_a_time
        self._changing = threading.Lock()
        self._everybody = _Tally()
        self._addresses: OrderedDict[str, _Tally] = OrderedDict()

    @contextmanager
    def trying(self, address: str) -> Iterator[Callable[[], None]]:
        """Within it somebody tries; to be told, by what it gives, that it failed.

        Raises Problem (429, with Retry-After): not now.
        """
        place = _network(address)
        with self._changing:
            tally = self._addresses.setdefault(place, _Tally())
            self._addresses.move_to_end(place)
            self._forget_some()
            self._refuse_or_begin(tally)
        try:
            yield lambda: self._failed(tally)
        finally:
            with self._changing:
                tally.n_running -= 1
                self._everybody.n_running -= 1

    def _refuse_or_begin(self, tally: _Tally) -> None:
        now_s = self._clock_s()
        for one in (tally, self._everybody):
            if one.until_s > now_s:
                raise _too_many(one.until_s - now_s)
        # Those that run may fail, all of them.
        free = max(1, self._n_failures - self._n_counting(tally, now_s))
        if tally.n_running >= free or self._everybody.n_running >= self._n_at_a_time:
            raise _too_many(1.0)
        tally.n_running += 1
        self._everybody.n_running += 1

    def _n_counting(self, tally: _Tally, now_s: float) -> int:
        if tally.n_failed >= self._n_failures:
            past = now_s > tally.until_s + _LONGEST_S
        else:
            past = now_s > tally.began_s + _WINDOW_S
        return 0 if past else tally.n_failed

    def _failed(self, tally: _Tally) -> None:
        with self._changing:
            now_s = self._clock_s()
            n = self._n_counting(tally, now_s)
            if n == 0:
                tally.began_s = now_s
            tally.n_failed = n + 1
            if tally.n_failed >= self._n_failures:
                doubled = 2.0 ** min(tally.n_failed - self._n_failures, 10)
                tally.until_s = now_s + min(_WINDOW_S * doubled, _LONGEST_S)
            everybody = self._everybody
            if now_s > everybody.began_s + _WINDOW_S:
                everybody.began_s, everybody.n_failed = now_s, 0
            everybody.n_failed += 1
            if everybody.n_failed >= self._n_failures_in_all:
                everybody.until_s = everybody.began_s + _WINDOW_S

    def _forget_some(self) -> None:
        while len(self._addresses) > _MAX_ADDRESSES:
            self._addresses.popitem(last=False)


def _too_many(wait_s: float) -> Problem:
    seconds = math.ceil(wait_s)
    return Problem(
        429,
        "too_many_attempts",
        Message("Too many attempts"),
        "",
        Message("Try again in {n} s.", n=seconds),
        {"Retry-After": str(seconds)},
    )


def _network(address: str) -> str:
    """Of IPv6 the first half: whoever has one such address has all of its network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), 64), strict=False))
