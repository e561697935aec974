"""What a person looks at, made of the film's own file when it is asked for: thumbnails, pixels for
the viewer, and what the model's evidence looks like over them.

Nothing of it is written to any disk; what was asked for last stays in memory, up to a limit.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..decoding import IsolatedDecoder, Picture
from ..errors import RadiographError
from ..heatmap import evidence, layer
from ..interpret import on_models_scale
from ..language import Message
from ..ledger import Ledger, Prediction
from ..model import Model
from ..profile import SiteProfile
from ..words import REASONS
from .problems import Problem
from .reading_queue import Decoders

_T = TypeVar("_T")
_Key = tuple[str, str, str]
_MAX_BYTES = 96_000_000


class Pictures:
    """For many threads at a time; raises Problem (404, 409, 503) with words for a person."""

    def __init__(
        self,
        ledger_path: Path,
        model: Model,
        decoders: Decoders,
        profile: SiteProfile | None = None,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        """decoders: of its own: whoever looks need not wait for films that were uploaded. profile:
        that films are judged by now."""
        self._ledger_path = ledger_path
        self._model = model
        self._decoders = decoders
        self._profile = profile
        self._max_bytes = max_bytes
        self._changing = threading.Lock()  # for the two below
        self._kept: OrderedDict[_Key, tuple[object, int]] = OrderedDict()
        self._n_bytes = 0

    def thumbnail(self, prediction: Prediction) -> bytes:
        """A small JPEG of the film."""
        return self._asked(
            ("thumbnail", prediction.result.sha256, ""),
            prediction,
            lambda decoder, path: decoder.thumbnail(path),
            len,
        )

    def picture(self, prediction: Prediction) -> Picture:
        """The film's pixels, for the viewer."""
        return self._asked(
            ("picture", prediction.result.sha256, ""),
            prediction,
            lambda decoder, path: decoder.picture(path),
            lambda picture: picture.pixels.nbytes,
        )

    def heatmap(self, prediction: Prediction, finding: str) -> bytes:
        """A finding's evidence, as a layer to be laid over the film: see heatmap.layer."""
        result, card = prediction.result, self._model.card
        judged = {one.name: one for one in result.findings if one.threshold is not None}
        if finding not in judged:
            raise Problem(
                404,
                "no_heatmap",
                Message("There is no such heatmap"),
                Message("This film was not judged for that finding."),
                "",
            )
        if result.model_sha256 != self._model.sha256:
            raise Problem(
                409,
                "other_model",
                Message("Another model read this film"),
                Message(
                    "It was read by {model}; {other} is the one that runs here now.",
                    model=result.model,
                    other=card.label,
                ),
                Message("Have it read again: cxr-edge reprocess."),
            )

        def drawn(decoder: IsolatedDecoder, path: Path) -> bytes:
            prepared = decoder.prepare(path)
            outputs = self._model.answer(prepared.inputs, heatmaps=True)
            assert outputs.heatmaps is not None  # they were asked for
            local = evidence(outputs.logits[0], outputs.heatmaps[0], card)
            of_finding = local[card.findings.index(finding)]
            asked = judged[finding]
            # What an earlier profile asked of the model nobody knows here.
            if self._profile is not None and result.profile == self._profile.label:
                asked = on_models_scale(asked, self._profile)
            return layer(of_finding, asked, prepared.full_shape)

        return self._asked(("heatmap", result.sha256, finding), prediction, drawn, len)

    def close(self) -> None:
        self._decoders.close()

    def _asked(
        self,
        key: _Key,
        prediction: Prediction,
        make: Callable[[IsolatedDecoder, Path], _T],
        size_of: Callable[[_T], int],
    ) -> _T:
        with self._changing:
            if key in self._kept:
                self._kept.move_to_end(key)
                kept: _T = self._kept[key][0]  # type: ignore[assignment]
                return kept
        made = self._made(prediction, make)
        with self._changing:
            if key not in self._kept:
                self._kept[key] = made, size_of(made)
                self._n_bytes += size_of(made)
            while self._n_bytes > self._max_bytes:
                self._n_bytes -= self._kept.popitem(last=False)[1][1]
        return made

    def _made(self, prediction: Prediction, make: Callable[[IsolatedDecoder, Path], _T]) -> _T:
        with Ledger(self._ledger_path, read_only=True) as ledger:
            places = ledger.places(prediction)
        trouble = _not_there()
        for path in places:
            with self._decoders.one() as decoder:
                try:
                    made = make(decoder, path)
                except RadiographError as exc:
                    trouble = _cannot_be_shown(exc)
                    continue
                # Another film may lie there by now, and be another patient's.
                if decoder.sha256 == prediction.result.sha256:
                    return made
            trouble = _not_there()
        raise trouble


def _not_there() -> Problem:
    return Problem(
        404,
        "film_not_there",
        Message("The film is not there any more"),
        Message(
            "It was moved, deleted or replaced since it was read, or its name is kept as a "
            "pseudonym."
        ),
        "",
    )


def _cannot_be_shown(exc: RadiographError) -> Problem:
    if exc.code in ("missing", "not_a_file"):
        return _not_there()
    return Problem(
        404,
        exc.code,
        Message("The film cannot be shown"),
        REASONS.get(exc.code, exc.message),
    )
