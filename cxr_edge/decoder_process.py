"""The child process of decoding.IsolatedDecoder: decodes films until nobody asks.

It has no model, and so starts in a fraction of the time of a reader_process.
"""

import json
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .reader_process import answer_all, start_apart
from .refusals import Refusals
from .starting import starting

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from .model_card import InputSpec
    from .radiograph import RadiographFile

# What is asked for, and what the answer starts with. PREPARED: the film's height and width, the
# network's input as float32, and decoding.Beside as JSON. THUMBNAIL: a JPEG. PICTURE:
# what PICTURE_HEAD says, and the pixels in as many bytes each. All little-endian.
PREPARED, THUMBNAIL, PICTURE = b"prep", b"thmb", b"pict"
PREPARED_HEAD = struct.Struct("<II")
# The film's height and width, bytes per pixel, windowed, white, low, high, slope, intercept.
PICTURE_HEAD = struct.Struct("<IIBBIdddd")


@dataclass(frozen=True)
class Task:
    """What the process is to do; see decoding.IsolatedDecoder."""

    spec: "InputSpec"
    accepted: frozenset[str]
    with_identifiers: bool
    memory_bytes: int


def serve(requests: "Connection", answers: "Connection", task: Task, parent_pid: int) -> None:
    """Answer each request, until the other end of `requests` is closed."""
    start_apart(parent_pid)
    with starting():
        import cv2

        from . import display, preprocess, radiograph

        cv2.setNumThreads(1)

    def answer(kind: bytes, n_px: int, open_film: "Callable[[], RadiographFile]") -> None:
        if kind == THUMBNAIL:
            answers.send_bytes(kind + display.thumbnail(open_film(), task.spec, n_px))
        elif kind == PICTURE:
            answers.send_bytes(kind + _sent(display.picture(open_film(), task.spec, n_px)))
        else:
            file = open_film()
            side_px = preprocess.min_side_px(task.spec)
            film = radiograph.decode_radiograph(file, side_px, task.accepted)
            del file  # as large as its pixels, and not needed beside them
            refusals = Refusals(task.accepted, film.overruled)
            inputs = preprocess.prepare(film, task.spec, refusals)
            beside = {"header": asdict(film.header), "overruled": refusals.overruled}
            head = PREPARED_HEAD.pack(*film.full_shape)
            sent = inputs.astype("<f4").tobytes()
            answers.send_bytes(kind + head + sent + json.dumps(beside).encode())

    def _sent(picture: display.Picture) -> bytes:
        pixels = picture.pixels
        head = PICTURE_HEAD.pack(
            *picture.full_shape,
            pixels.itemsize,
            picture.windowed,
            picture.white,
            picture.low,
            picture.high,
            picture.slope,
            picture.intercept,
        )
        return head + pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()

    answer_all(requests, answers, task, b"", answer)
