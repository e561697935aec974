"""The evidence of a model: the same figures as measured, and pictures that say what they say."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cxr_edge.errors import ModelError
from cxr_edge.evidence import Evidence, FindingEvidence, RocPoint, load_evidence
from cxr_edge.model_card import N_SCORE_BINS, NO_FINDING, SIGMOID
from cxr_edge.model_file import read_model_file
from tests.conftest import make_film
from tests.tiny_model import golden_text, write_drifting_model, write_tiny_model
from train.data.films import Film
from train.data.manifest import Entry, write_manifest
from train.errors import TrainError
from train.measure.answers import Answers, Unanswered, measure_answers
from train.measure.curves import evidence_of, roc_points, thinned
from train.measure.evaluate import command
from train.measure.metrics import N_BINS, auroc, roc_curve

SHA256 = "a" * 64


def answers(
    labels: Sequence[str],
    rows: Sequence[Sequence[float]],
    findings: tuple[str, ...] = ("pneumonia",),
    films_per_patient: int = 1,
) -> Answers:
    """Answers by hand, positive from 0.3 on."""
    probability = np.array(rows, float)
    films = [
        Film(Path(f"secret{i}.png"), label, "", f"p{i // films_per_patient}", f"{i:064}", "east")
        for i, label in enumerate(labels)
    ]
    return Answers(
        tuple(films),
        findings,
        SIGMOID,
        probability,
        probability >= 0.3,
        dict.fromkeys(findings, 0.3),
    )


def drawn(n_films: int, spread: float = 1.0) -> Answers:
    """Two thirds without pneumonia, two films of each patient."""
    rng = np.random.default_rng(n_films)
    present = rng.random(n_films) < 1 / 3
    logits = rng.normal(size=n_films) * spread + 2 * present - 1
    labels = ["pneumonia" if one else NO_FINDING for one in present]
    return answers(labels, 1 / (1 + np.exp(-logits[:, np.newaxis])), films_per_patient=2)


def made(of: Answers) -> Evidence:
    return evidence_of(of, measure_answers(of), SHA256, "made films")


def of_pneumonia(of: Answers) -> FindingEvidence:
    one = made(of).of("pneumonia")
    assert one is not None
    return one


def area(x: np.ndarray, y: np.ndarray) -> float:
    """Under a line; np.trapezoid is not in numpy 1."""
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


FILMS = drawn(600)


def test_the_figures_are_those_that_were_measured() -> None:
    evidence, one = made(FILMS), of_pneumonia(FILMS)
    figures = measure_answers(FILMS).findings["pneumonia"]
    point = one.operating_point
    for name, shown in (
        ("auroc", one.auroc),
        ("sensitivity", point.sensitivity),
        ("specificity", point.specificity),
        ("brier", one.brier),
        ("ece", one.ece),
    ):
        assert dataclasses.asdict(shown) == dataclasses.asdict(figures[name])
    present, _ = FILMS.of("pneumonia")
    assert (one.n_present, one.n_absent) == (present.sum(), 600 - present.sum())
    assert (evidence.n_films, evidence.n_patients, evidence.n_unanswered) == (600, 300, 0)
    assert point.threshold == 0.3


def test_the_operating_point_lies_on_the_curve() -> None:
    one = of_pneumonia(FILMS)
    at = one.operating_point.on_curve
    assert any(
        p.false_alarms == pytest.approx(at.false_alarms, abs=1e-5)
        and p.sensitivity == pytest.approx(at.sensitivity, abs=1e-5)
        for p in one.roc
    )


@pytest.mark.parametrize("n_films", [60, 600, 20_000])
def test_a_curve_of_few_points_looks_like_the_whole(n_films) -> None:
    present, probability = drawn(n_films).of("pneumonia")
    curve = roc_points(present, probability, RocPoint(0.2, 0.8))
    assert len(curve) <= 100
    x, y = np.array([(p.false_alarms, p.sensitivity) for p in curve]).T
    assert area(x, y) == pytest.approx(auroc(present, probability), abs=0.0005)
    whole = np.stack(roc_curve(present, probability), 1)
    for point in whole[:: max(1, len(whole) // 200)]:
        # The nearest of many points along the few.
        along = np.linspace(0, 1, 101)[:, np.newaxis, np.newaxis]
        line = np.stack([x, y], 1)
        between = (line[:-1] + along * np.diff(line, axis=0)).reshape(-1, 2)
        assert np.hypot(*(between - point).T).min() < 0.005  # 2 pixels of 400


def test_what_lies_on_a_straight_line_is_left_out() -> None:
    line = np.array([(0, 0), (0, 0.2), (0, 0.5), (0, 0.9), (0.3, 0.9), (1, 0.9)])
    assert thinned(line, 100).tolist() == [0, 3, 5]
    assert thinned(line, 100, kept=(1,)).tolist() == [0, 1, 3, 5]
    assert thinned(line, 2).tolist() == [0, 5]


def band_of(of: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    band = of_pneumonia(of).roc_band
    assert len(band) <= 100
    x, low, high = np.array([(p.false_alarms, p.low, p.high) for p in band]).T
    return x, low, high


def width_of(of: Answers) -> float:
    x, low, high = band_of(of)
    return area(x, high - low)


def test_the_band_holds_the_curve_and_is_wider_where_there_are_fewer_films() -> None:
    x, low, high = band_of(FILMS)
    curve = np.interp(x, *roc_curve(*FILMS.of("pneumonia")))
    assert ((low <= curve) & (curve <= high)).all()
    assert width_of(drawn(100)) > 1.5 * width_of(FILMS)


def test_copies_of_a_patients_films_do_not_narrow_the_band() -> None:
    once = drawn(100)
    copied = np.repeat(np.arange(100), 4)
    copies = dataclasses.replace(
        once,
        films=tuple(once.films[i] for i in copied),
        probability=once.probability[copied],
        positive=once.positive[copied],
    )
    assert width_of(copies) == pytest.approx(width_of(once), rel=0.02)


def test_reliability_bins_hold_each_film_once_and_lead_to_the_ece() -> None:
    one = of_pneumonia(FILMS)
    assert sum(each.n_films for each in one.reliability) == 600
    assert len(one.reliability) <= N_BINS
    off = sum(each.n_films * abs(each.probability - each.observed) for each in one.reliability)
    assert off / 600 == pytest.approx(one.ece.value, abs=1e-4)


def test_scores_are_counted_by_label_with_each_edge_in_the_upper_bin() -> None:
    labels = ["pneumonia"] * 4 + [NO_FINDING] * 4
    one = of_pneumonia(answers(labels, [[0.04], [0.5], [0.97], [1], [0], [0.0499], [0.05], [0.5]]))
    present, absent = [0] * N_SCORE_BINS, [0] * N_SCORE_BINS
    present[0], present[10], present[19] = 1, 1, 2
    absent[0], absent[1], absent[10] = 2, 1, 1
    assert (one.scores_present, one.scores_absent) == (tuple(present), tuple(absent))


def test_perfect_answers_have_evidence_too() -> None:
    one = of_pneumonia(answers(["pneumonia"] * 5 + [NO_FINDING] * 5, [[1.0]] * 5 + [[0.0]] * 5))
    assert one.roc == (RocPoint(0, 0), RocPoint(0, 1), RocPoint(1, 1))
    assert one.operating_point.on_curve == RocPoint(0, 1)


def test_answers_that_say_nothing_have_a_straight_line() -> None:
    one = of_pneumonia(answers(["pneumonia", NO_FINDING] * 5, [[0.5]] * 10))
    assert one.roc == (RocPoint(0, 0), RocPoint(1, 1))


def test_a_finding_that_no_film_has_is_left_out() -> None:
    evidence = made(
        answers(
            ["pneumonia", NO_FINDING] * 10,
            [[0.9, 0.1], [0.1, 0.2]] * 10,
            ("pneumonia", "tuberculosis"),
        )
    )
    assert [one.finding for one in evidence.findings] == ["pneumonia"]


def test_no_film_is_named_and_those_without_an_answer_are_counted() -> None:
    bad = Unanswered(FILMS.films[0], "secret0.png is cut off")
    evidence = made(dataclasses.replace(FILMS, unanswered=(bad,)))
    assert evidence.n_unanswered == 1
    assert "secret" not in evidence.to_json() and "p1" not in evidence.to_json()
    assert evidence.films_digest != made(drawn(60)).films_digest


def test_evidence_stays_small_however_many_films() -> None:
    assert len(made(drawn(5000, spread=2)).to_json()) < 15_000


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """20 films: the brighter, the more probable is pneumonia."""
    folder = tmp_path_factory.mktemp("films")
    entries = [
        Entry(
            make_film(folder / f"{i}.png", 60 + 9 * i),
            ("pneumonia",) if i in (8, *range(10, 20)) else (),
            f"p{i}",
            "east",
        )
        for i in range(20)
    ]
    path = folder / "manifest.csv"
    write_manifest(entries, path)
    return path


def evaluate(model: Path, manifest: Path, *arguments: object) -> str:
    asked = (model, "--data", manifest, "--no-blackout", *arguments)
    outcome = CliRunner().invoke(command, [str(argument) for argument in asked])
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def test_the_command_writes_evidence_that_the_model_is_shown_with(tmp_path, manifest) -> None:
    model = write_tiny_model(tmp_path / "m.onnx")
    file = tmp_path / "m.evidence.json"
    printed = evaluate(model, manifest, "--evidence", file)
    assert f"{file}: " in printed and "bound to m.onnx" in printed
    (one,) = _loaded(model).findings
    assert f"{one.auroc.value:.3f} ({one.auroc.low:.3f} to {one.auroc.high:.3f})" in printed
    assert _loaded(model).measured_on == "all films of east"
    evaluate(model, manifest, "--evidence", file, "--measured-on", "twenty ramps")
    assert _loaded(model).measured_on == "twenty ramps"


def _loaded(model: Path) -> Evidence:
    evidence = load_evidence(model, read_model_file(model).sha256)
    assert evidence is not None
    return evidence


def test_the_command_says_which_findings_the_films_leave_open(tmp_path, manifest) -> None:
    findings = ("pneumonia", "tuberculosis")
    model = write_tiny_model(tmp_path / "m.onnx", n_outputs=2, findings=findings)
    printed = evaluate(model, manifest, "--evidence", tmp_path / "m.evidence.json")
    assert "tuberculosis is not in it" in printed
    assert [one.finding for one in _loaded(model).findings] == ["pneumonia"]


def test_evidence_is_not_made_where_it_would_be_of_no_use(tmp_path, manifest) -> None:
    model = write_tiny_model(tmp_path / "m.onnx")
    for file in ("m.json", "none/m.evidence.json"):
        with pytest.raises(TrainError, match=r"cannot be written.*m\.evidence\.json"):
            evaluate(model, manifest, "--evidence", tmp_path / file)
    file = tmp_path / "d.evidence.json"
    with pytest.raises(TrainError, match="its fp32 twin answers in its place"):
        drifting = write_drifting_model(tmp_path / "d.onnx", twin_off_by=0.0)
        evaluate(drifting, manifest, "--evidence", file)
    with pytest.raises(ModelError):
        changed = write_tiny_model(tmp_path / "c.onnx", golden=golden_text(off_by=1.0))
        evaluate(changed, manifest, "--evidence", file)
    assert not file.exists()
