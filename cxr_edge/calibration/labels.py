"""What people know of films: a CSV of labels, or of verdicts as `export-csv --verdicts` writes it.

    file, finding, label        label: present or absent; the finding may be left out where the
                                model has one
    patient                     where it is known which films are of the same patient

Columns are told by their names, in any order; others are not looked at. Three columns in that order
need no names, and the last may have any.
"""

import codecs
import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError
from ..language import Message, why

PRESENT, ABSENT = "present", "absent"
_LABELS = {PRESENT: True, ABSENT: False}
_IN_ORDER = ("file", "finding", "label")
_VERDICTS = ("agree", "disagree", "unsure")
# A film that was named by mistake is not read as text.
_MAX_BYTES = 1 << 26
_N_SHOWN = 5
_FORMAT = Message(
    "The first line names the columns file, finding, label; a label is present or absent."
)


@dataclass(frozen=True)
class Label:
    """What a person knows of a film. patient: "" where it is not known. sha256: of the content that
    was looked at, where that is known."""

    film: Path
    finding: str
    present: bool
    patient: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Labels:
    """source: the file's name, or "verdicts". n_open: verdicts that do not tell whether the finding
    is there. n_gone: verdicts on films that are not there any more."""

    source: str
    labels: tuple[Label, ...]
    n_open: int = 0
    n_gone: int = 0


@dataclass(frozen=True)
class Judge:
    """The model that labels are for. findings: that it judges. digests: of its file and its
    twin."""

    label: str
    findings: tuple[str, ...]
    digests: frozenset[str]


@dataclass(frozen=True)
class _Row:
    """A line of the file, from 1 on, by the names of its columns."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


class _Fault(Exception):
    """What is wrong with one line."""

    def __init__(self, said: Message) -> None:
        super().__init__(said)
        self.said = said


def present_by(answer: str, verdict: str) -> bool | None:
    """Whether the finding is there, by a verdict on the model's answer; None where that does not
    tell. Who agrees with "positive" or disagrees with "negative" has seen it."""
    if verdict not in ("agree", "disagree") or answer not in ("positive", "negative"):
        return None
    return (answer == "positive") == (verdict == "agree")


def read_labels(path: Path, judge: Judge) -> Labels:
    """The labels of a file. Paths in it that are not absolute start from its folder.

    Raises SettingsError that tells what is wrong with which lines: films that are not there,
    findings that the model lacks, the same film and finding twice, other words than present and
    absent, verdicts on another model.
    """
    columns, rows = _table(path)
    if "label" in columns:
        needed, read = {"file", "label"}, _labelled
        if len(judge.findings) > 1:
            needed.add("finding")
    elif "verdict" in columns:
        needed, read = {"file", "verdict", "finding", "model_sha256"}, _judged
        if not {"answer", "positive"} & columns:
            needed.add("answer")
    else:
        needed, read = {"file", "finding", "label"}, _labelled
    if missing := sorted(needed - columns):
        raise SettingsError(
            Message("{path} lacks the columns {names}.", path=path, names=", ".join(missing)),
            _FORMAT,
        )
    _refuse_other_model(path, rows, judge)
    labels, n_open = _checked(path, rows, judge, read)
    if not labels:
        raise SettingsError(Message("{path} holds no labels.", path=path), _FORMAT)
    return Labels(path.name, tuple(labels), n_open)


def _checked(
    path: Path,
    rows: Sequence[_Row],
    judge: Judge,
    read: Callable[[_Row, Judge], Iterator[tuple[str, bool | None]]],
) -> tuple[list[Label], int]:
    """The labels, and how many verdicts are no label. Raises SettingsError."""
    folder = path.absolute().parent
    labels: list[Label] = []
    seen: dict[tuple[str, str], int] = {}
    faults: list[tuple[int, Message]] = []
    n_open = 0
    for row in rows:
        try:
            for finding, present in read(row, judge):
                if present is None:
                    n_open += 1
                    continue
                film = _film(folder, row["file"])
                same = (os.path.normcase(os.path.normpath(film)), finding)
                first = seen.setdefault(same, row.line)
                if first != row.line:
                    raise _Fault(
                        Message("it repeats line {line}: the same film and finding", line=first)
                    )
                label = Label(film, finding, present, row["patient"], row["sha256"].lower())
                labels.append(label)
        except _Fault as fault:
            faults.append((row.line, fault.said))
    if faults:
        raise _faulty(path, faults)
    return labels, n_open


def _labelled(row: _Row, judge: Judge) -> Iterator[tuple[str, bool | None]]:
    """The finding of a row of labels, and whether it is there. Raises _Fault."""
    named = row["finding"]
    known = {name.casefold(): name for name in judge.findings}
    if not named and len(known) == 1:
        (named,) = known
    if named.casefold() not in known:
        raise _Fault(
            Message(
                "{model} knows no finding {finding}, only {findings}",
                model=judge.label,
                finding=repr(named),
                findings=", ".join(judge.findings),
            )
        )
    word = row["label"].casefold()
    if word not in _LABELS:
        raise _Fault(
            Message("the label is {label}, not present or absent", label=repr(row["label"]))
        )
    yield known[named.casefold()], _LABELS[word]


def _judged(row: _Row, judge: Judge) -> Iterator[tuple[str, bool | None]]:
    """The findings of a row of verdicts, and whether they are there, None where that is left open:
    of any but the leading one a row does not tell what the model made of it. Raises _Fault."""
    by_positive = {"true": "positive", "false": "negative"}
    leading = row["answer"] or by_positive.get(row["positive"].casefold(), "")
    for finding, verdict in _verdicts(row):
        if verdict not in _VERDICTS:
            raise _Fault(Message("the verdict is {verdict}", verdict=repr(verdict)))
        is_told = finding == row["finding"] and finding in judge.findings
        yield finding, present_by(leading, verdict) if is_told else None


def _verdicts(row: _Row) -> Iterator[tuple[str, str]]:
    """As csv_export writes them: one alone on the leading finding, or each with its finding."""
    said = row["verdict"]
    if "=" not in said:
        if said and row["finding"]:
            yield row["finding"], said
        return
    for part in said.split("; "):
        finding, _, verdict = part.rpartition("=")
        yield finding, verdict


def _refuse_other_model(path: Path, rows: Sequence[_Row], judge: Judge) -> None:
    """Verdicts are on what one model said. Raises SettingsError."""
    others = [
        row
        for row in rows
        if row["verdict"]
        and "label" not in row.cells
        and row["model_sha256"].lower() not in judge.digests
    ]
    if others:
        raise SettingsError(
            Message(
                "{path} holds labels for another model: {n} verdicts, the first in line {line}, "
                "are on {other}, not on {model}.",
                path=path,
                n=len(others),
                line=others[0].line,
                other=others[0]["model"] or others[0]["model_sha256"][:12] or "?",
                model=judge.label,
            ),
            Message(
                "Give those on this model alone: `cxr-edge calibrate --from-page`, or `cxr-edge "
                "export-csv --verdicts --model {digest}`.",
                digest=min(judge.digests)[:12],
            ),
        )


def _film(folder: Path, name: str) -> Path:
    """Raises _Fault: there is no such file."""
    if not name:
        raise _Fault(Message("it names no file"))
    film = folder / name
    try:
        if film.is_file():
            return film
    except (OSError, ValueError):
        pass
    raise _Fault(Message("there is no file {path}", path=film))


def _faulty(path: Path, faults: Sequence[tuple[int, Message]]) -> SettingsError:
    shown = [
        Message("Line {line}: {what}.", line=line, what=what) for line, what in faults[:_N_SHOWN]
    ]
    if (n_more := len(faults) - len(shown)) > 0:
        shown.append(Message("And {n} more such lines.", n=n_more))
    return SettingsError(
        Message.joined((Message("{path} has {n} faulty lines.", path=path, n=len(faults)), *shown)),
        Message("Mend them all: a label that is left out is missing from the figures."),
    )


def _table(path: Path) -> tuple[set[str], list[_Row]]:
    """The names of the columns, and the lines that are not empty. Raises SettingsError."""
    text = _text(path)
    first = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as exc:
        raise SettingsError(
            Message("{path} is no CSV ({why}).", path=path, why=exc), _FORMAT
        ) from exc
    names = [name.casefold() for name in lines[0][1]] if lines else []
    if len(names) == len(_IN_ORDER) and names[-1] in _LABELS:
        names = list(_IN_ORDER)
    else:
        del lines[:1]
        if len(names) == len(_IN_ORDER) and tuple(names[:2]) == _IN_ORDER[:2]:
            names = list(_IN_ORDER)
    rows = [
        _Row(number, dict(zip(names, cells, strict=False))) for number, cells in lines if any(cells)
    ]
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    if doubled:
        raise SettingsError(
            Message("{path} has the column {name} twice.", path=path, name=doubled[0]), _FORMAT
        )
    return set(names), rows


def _text(path: Path) -> str:
    """However an editor or a spreadsheet saved it. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise SettingsError(
            Message("{path} cannot be read ({why}).", path=path, why=why(exc)),
            Message("Check the path and its permissions."),
        ) from exc
    if len(data) > _MAX_BYTES:
        raise SettingsError(
            Message("{path} is too large for a list of labels.", path=path), _FORMAT
        )
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError:
        # As Excel saves "CSV" in Western Europe and the Americas; it leaves five bytes undefined.
        return data.decode("cp1252", "replace")
