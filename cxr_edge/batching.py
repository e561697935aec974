"""Batches under load: films that wait for the network at the same time are run together.

For a GPU, which takes hardly longer for sixteen films than for one. A CPU gains nothing by it.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .model import Model, choose_batch_size
from .reading import n_cores
from .session import CUDA, Session

# The probe for the best size takes about a second.
_MIN_FILMS = 64


@dataclass(frozen=True, eq=False)
class _Waiting:
    """What one thread asked for: inputs (N, C, H, W), the outputs' names, and its answer."""

    inputs: NDArray[np.float32]
    outputs: tuple[str, ...]
    answer: "Future[list[NDArray[np.float32]]]" = field(default_factory=Future)


@dataclass(frozen=True, eq=False)
class BatchingSession(Session):
    """A session for many threads: while it runs, films gather, and run together after that.

    A film that finds it idle is run at once and alone. max_size: films that are run together.
    """

    max_size: int = 1
    _waiting: deque[_Waiting] = field(default_factory=deque, init=False, repr=False)
    _running: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _changed: threading.Condition = field(
        default_factory=threading.Condition, init=False, repr=False
    )

    def run(self, inputs: NDArray[np.float32], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """Like Session.run, which whoever waits longest does for all; it fails for all alike."""
        mine = _Waiting(inputs, tuple(outputs))
        with self._changed:
            self._waiting.append(mine)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: mine.answer.done() or not self._running.locked())
                if mine.answer.done():
                    return mine.answer.result()
                self._running.acquire()
                batch = self._next_batch()
            try:
                self._answer(batch)
            finally:
                with self._changed:
                    self._running.release()
                    self._changed.notify_all()

    def _next_batch(self) -> list[_Waiting]:
        """Those that have waited longest, of the same outputs, as far as max_size goes."""
        batch = [self._waiting.popleft()]
        n_films = len(batch[0].inputs)
        while self._waiting and self._waiting[0].outputs == batch[0].outputs:
            n_films += len(self._waiting[0].inputs)
            if n_films > self.max_size:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            inputs = [one.inputs for one in batch]
            together = inputs[0] if len(batch) == 1 else np.concatenate(inputs)
            arrays = super().run(together, batch[0].outputs)
            ends = np.cumsum([len(one.inputs) for one in batch])
            for end, one in zip(ends, batch, strict=True):
                one.answer.set_result([array[end - len(one.inputs) : end] for array in arrays])
        # Nobody may go on waiting, Ctrl-C included; each thread raises it for itself.
        except BaseException as exc:
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(exc)


def batching(model: Model, n_films: int) -> Model:
    """The same model for many threads, in batches of the size that suits its device.

    As it was, where that gains nothing: on the CPU, and for few films. DirectML is not measured,
    and likes inputs of one size best.
    """
    if model.provider != CUDA or n_films < _MIN_FILMS:
        return model
    session = model.session
    together = BatchingSession(
        session.onnx, session.provider, session.cached_at, choose_batch_size(model)
    )
    return replace(model, session=together)


def n_workers_for(model: Model) -> int:
    """As many as there are cores; for batches up to twice as many, since half of them wait."""
    size = model.session.max_size if isinstance(model.session, BatchingSession) else 0
    return n_cores() + min(size, n_cores())
