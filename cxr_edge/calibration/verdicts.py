"""The verdicts that people gave on the page, as labels."""

from enum import Enum, auto

from ..ledger import Ledger
from ..rereading import find_film
from .labels import Judge, Label, Labels, present_by


class _No(Enum):
    """Why a verdict is no label."""

    OPEN = auto()
    GONE = auto()


def labels_of_verdicts(ledger: Ledger, judge: Judge) -> Labels:
    """What was said last of each film and finding that this model, or its twin, has judged.

    Raises LedgerError.
    """
    said: dict[tuple[str, str], Label | _No] = {}
    for digest in sorted(judge.digests):
        for prediction in ledger.predictions(model=digest, status="ok"):
            result = prediction.result
            answers = {one.name: one.answer for one in result.findings}
            for verdict in ledger.verdicts(prediction.id):
                if verdict.finding not in judge.findings:  # the film as a whole, or "no finding"
                    continue
                key = (result.sha256, verdict.finding)
                present = present_by(answers[verdict.finding], verdict.verdict)
                if present is None:
                    said[key] = _No.OPEN
                elif (film := find_film(ledger, prediction)[0]) is None:
                    said[key] = _No.GONE
                else:
                    patient = prediction.identifiers.patient
                    said[key] = Label(film, verdict.finding, present, patient, result.sha256)
    why_not = list(said.values())
    return Labels(
        "verdicts",
        tuple(label for label in why_not if isinstance(label, Label)),
        why_not.count(_No.OPEN),
        why_not.count(_No.GONE),
    )
