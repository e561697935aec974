"""One command measures a model or a checkpoint, and its report keeps nothing back."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cxr_edge import load_model, predict
from cxr_edge.model_card import NO_FINDING, SIGMOID, SOFTMAX, OperatingPoint
from tests.conftest import make_film
from tests.made import encode
from tests.tiny_model import tiny_card, write_tiny_model
from train.config import Labels, TrainConfig
from train.data.films import Film
from train.data.manifest import Entry, write_manifest
from train.errors import TrainError
from train.learn.checkpoint import Checkpoint, save_checkpoint
from train.measure.answers import (
    Answers,
    Reader,
    answers_of_checkpoint,
    answers_of_model,
    measure_answers,
    measure_by_source,
    reader_of_model,
)
from train.measure.evaluate import command
from train.measure.report import (
    SOURCE_FIGURES,
    as_json,
    evaluate_answers,
    lines_of,
    reason_of,
    write_report,
)
from train.measure.selection import films_to_measure
from train.networks import build

CONFIG = TrainConfig(input=tiny_card().input)


def each(films: Sequence[Film], _title: str) -> Sequence[Film]:
    return films


def invoke(*arguments: object) -> str:
    outcome = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def film(path: Path, label: str, number: int, source: str = "") -> Film:
    return Film(path, label, f"p{number}", f"p{number}", str(number), source)


@pytest.fixture(scope="module")
def entries(tmp_path_factory) -> list[Entry]:
    """24 films of 12 patients and two sources: the brighter, the more probable is pneumonia."""
    folder = tmp_path_factory.mktemp("secret-place")
    rng = np.random.default_rng(0)
    made = []
    for i in range(24):
        present = i // 2 % 2 == 1
        blocks = rng.random((8, 8)) ** (0.7 if present else 1.2)  # no film like another
        pixels = np.kron(np.rint(255 * blocks).astype(np.uint8), np.ones((8, 8), np.uint8))
        path = folder / "films" / f"film{i}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(pixels, "PNG"))
        findings = ("pneumonia",) if present else ()
        made.append(Entry(path, findings, f"p{i // 2}", ("east", "west")[i // 4 % 2]))
    return made


@pytest.fixture(scope="module")
def films(entries) -> tuple[Film, ...]:
    return films_to_measure(entries, Labels(("pneumonia",)))


@pytest.fixture(scope="module")
def manifest(entries) -> Path:
    path = entries[0].path.parent.parent / "manifest.csv"
    write_manifest(entries, path)
    return path


def judged(labels: Sequence[str], rows: Sequence[Sequence[float]], **changes: object) -> Answers:
    """Answers by hand of a model for pneumonia and tuberculosis, positive from 0.5 on."""
    probability = np.array(rows, float)
    answers = Answers(
        tuple(film(Path(f"{i}.png"), label, i) for i, label in enumerate(labels)),
        ("pneumonia", "tuberculosis"),
        SIGMOID,
        probability,
        probability >= 0.5,
        {"pneumonia": 0.5, "tuberculosis": 0.5},
    )
    return dataclasses.replace(answers, **changes)


def test_the_leading_positive_finding_is_decided_else_no_finding() -> None:
    answers = judged([NO_FINDING] * 4, [(0.6, 0.9), (0.9, 0.6), (0.4, 0.49), (0.5, 0.1)])
    assert answers.decided == ("tuberculosis", "pneumonia", NO_FINDING, "pneumonia")


def test_a_positive_finding_leads_a_more_probable_negative_one() -> None:
    positive = np.array([[True, False]])
    answers = judged([NO_FINDING], [(0.3, 0.6)], positive=positive)
    assert answers.decided == ("pneumonia",)


def test_a_film_with_two_findings_has_both_and_is_right_with_either() -> None:
    both = "pneumonia|tuberculosis"
    answers = judged([both, both, NO_FINDING], [(0.9, 0.1), (0.1, 0.2), (0.1, 0.1)])
    assert answers.true == ("pneumonia", "pneumonia", NO_FINDING)
    measured = measure_answers(answers)
    assert measured.n_present == {"pneumonia": 2, "tuberculosis": 2}
    assert measured.findings["pneumonia"]["sensitivity"].value == 0.5
    assert measured.findings["tuberculosis"]["sensitivity"].value == 0
    assert measured.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_what_the_findings_leave_is_the_probability_of_none() -> None:
    answers = judged([NO_FINDING], [(0.3, 0.6)])
    np.testing.assert_allclose(answers.by_label, [[0.4, 0.3, 0.6]])


def reader(findings: tuple[str, ...], activation: str, thresholds: dict[str, float]) -> Reader:
    return Reader(findings, activation, 1.0, thresholds, CONFIG.input, lambda films: films.labels)


def test_without_thresholds_the_most_probable_output_decides() -> None:
    most = reader((NO_FINDING, "pneumonia", "tuberculosis"), SOFTMAX, {})
    logits = np.array([[1, 0.9, 0.8], [0, 0.2, 0.1], [0, 0.1, 0.2]], np.float32)
    answers = most.judge([film(Path("a.png"), NO_FINDING, i) for i in range(3)], logits)
    assert answers.decided == (NO_FINDING, "pneumonia", "tuberculosis")
    assert not answers.positive[:, 0].any()  # "no finding" is never positive
    assert answers.judged == ("pneumonia", "tuberculosis")
    measured = measure_answers(answers)
    assert measured.overall["accuracy"].value == pytest.approx(1 / 3)
    assert measured.confusion.tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]


def test_a_low_threshold_makes_a_finding_positive_that_is_not_the_most_probable() -> None:
    careful = reader((NO_FINDING, "pneumonia"), SOFTMAX, {"pneumonia": 0.2})
    answers = careful.judge([film(Path("a.png"), NO_FINDING, 0)], np.array([[1, 0]], np.float32))
    assert answers.probability[0, 1] < 0.5
    assert answers.decided == ("pneumonia",)


def test_a_model_answers_as_the_runtime_does(tiny_model, films) -> None:
    answers = answers_of_model(tiny_model, films, each)
    for one, probability, decided in zip(films, answers.probability, answers.decided, strict=True):
        (finding,) = predict(one.path, tiny_model)
        assert probability[0] == finding.probability
        assert decided == ("pneumonia" if finding.positive else NO_FINDING)


def test_a_model_of_exclusive_labels_is_judged_by_its_operating_points(tmp_path, films) -> None:
    card = dataclasses.replace(
        tiny_card(),
        findings=(NO_FINDING, "pneumonia"),
        activation=SOFTMAX,
        operating_points=(OperatingPoint("pneumonia", 0.4, 0.9, 0.8, "made films", "by hand"),),
    )
    path = write_tiny_model(tmp_path / "two.onnx", card.to_json(), n_outputs=2)
    model = load_model(path, "cpu", threads=1)
    answers = answers_of_model(model, films[:3], each)
    # Both logits are the same.
    np.testing.assert_allclose(answers.probability, 0.5)
    assert answers.positive.tolist() == [[False, True]] * 3
    prepared = reader_of_model(model)
    assert prepared.thresholds == answers.thresholds == {"pneumonia": 0.4}
    assert measure_answers(answers).overall


def damaged(folder: Path) -> Film:
    path = folder / "half.png"
    path.write_bytes(make_film(folder / "whole.png").read_bytes()[:90])
    return film(path, "pneumonia", 99)


def some_checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    state = build("resnet18", 1, 1).state_dict()
    return Checkpoint("resnet18", "linear", ("pneumonia",), 1, SIGMOID, state)


@pytest.mark.parametrize("kind", ["model", "checkpoint"])
def test_an_unreadable_film_is_counted_and_told(tmp_path, tiny_model, films, kind) -> None:
    bad = damaged(tmp_path)
    answers = (
        answers_of_model(tiny_model, (*films, bad), each)
        if kind == "model"
        else answers_of_checkpoint(some_checkpoint(), CONFIG, (*films, bad), each)
    )
    assert answers.films == films
    (fault,) = answers.unanswered
    assert fault.film == bad
    assert fault.reason
    evaluation = evaluate_answers(answers)
    assert "1 more could not be read or were refused" in "\n".join(lines_of(evaluation))
    (listed,) = as_json(evaluation)["unanswered"]
    assert listed["file"] == "half.png"
    assert str(tmp_path) not in reason_of(f"{bad.path} is cut off", bad)


def test_no_readable_film_at_all_is_an_error(tmp_path, tiny_model) -> None:
    with pytest.raises(TrainError, match="None of 1 films could be read"):
        answers_of_model(tiny_model, [damaged(tmp_path)], each)


def test_a_source_with_one_label_gives_what_it_determines(tiny_model, films) -> None:
    answers = answers_of_model(tiny_model, films, each)
    parted = tuple(
        dataclasses.replace(f, source="well" if f.label == NO_FINDING else "ill")
        for f in answers.films
    )
    by_source = measure_by_source(dataclasses.replace(answers, films=parted))
    assert list(by_source) == ["ill", "well"]
    ill, well = (by_source[name].findings["pneumonia"] for name in ("ill", "well"))
    assert np.isnan([ill["auroc"].value, ill["specificity"].value]).all()
    whole = measure_answers(answers).findings["pneumonia"]
    assert ill["sensitivity"].value == whole["sensitivity"].value
    assert well["specificity"].value == whole["specificity"].value


def test_films_of_one_source_are_not_told_twice(tiny_model, films) -> None:
    answers = answers_of_model(tiny_model, [f for f in films if f.source == "east"], each)
    assert measure_by_source(answers) == {}


def test_films_to_measure_need_no_film_of_each_label(entries) -> None:
    labels = Labels(("pneumonia", "tuberculosis"))
    alone = [entry for entry in entries if entry.findings]
    films = films_to_measure(alone, labels)
    assert {film.label for film in films} == {"pneumonia"}
    assert {film.group for film in films} == {f"{e.source}/{e.patient}" for e in alone}


def test_films_to_measure_are_taken_once_and_not_with_two_labels(tmp_path) -> None:
    made = [make_film(tmp_path / f"{i}.png", 100 + 20 * (i // 2)) for i in range(6)]
    findings = [(), (), ("pneumonia",), (), ("pneumonia",), ("pneumonia",)]
    entries = [Entry(p, f, p.stem, "east") for p, f in zip(made, findings, strict=True)]
    lateral = dataclasses.replace(entries[0], path=make_film(tmp_path / "l.png"), view="lateral")
    films = films_to_measure([*entries, lateral], Labels(("pneumonia",)))
    assert [film.path.name for film in films] == ["0.png", "4.png"]


@pytest.fixture(scope="module")
def report(tiny_model_path, manifest, tmp_path_factory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("out") / "report"
    return invoke(tiny_model_path, "--data", manifest, "--out", out), out


def test_the_command_prints_every_figure_with_its_interval(report, tiny_model, films) -> None:
    printed, _ = report
    answers = answers_of_model(tiny_model, films, each)
    assert "Not for diagnostic use." in printed
    assert "24 films of 12 patients" in printed
    assert "pneumonia: present in 12, absent in 12" in printed
    for interval in measure_answers(answers).findings["pneumonia"].values():
        assert str(interval) in printed
    assert "source east: 12 films" in printed
    assert "lungs blacked out" in printed


def test_the_page_holds_every_figure_and_stands_alone(report, tiny_model, films) -> None:
    _, out = report
    html = (out / "report.html").read_text(encoding="utf-8")
    answers = answers_of_model(tiny_model, films, each)
    for interval in measure_answers(answers).findings["pneumonia"].values():
        assert f"<td>{interval}</td>" in html
    for part in measure_by_source(answers).values():
        for name in SOURCE_FIGURES:
            assert f"<td>{part.findings['pneumonia'][name]}</td>" in html
    assert html.index("Not for diagnostic use.") < html.index("<h1>")
    assert "prefers-color-scheme: dark" in html
    assert "without lungs" in html
    # Pictures are inside, and nothing is loaded from elsewhere.
    pictures = list(out.glob("*.png"))
    assert len(pictures) == 6
    sources = re.findall(r'src="([^"]{0,30})', html)
    assert len(sources) == len(pictures)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in html and "href" not in html and "<script" not in html


def test_the_page_names_no_place_of_this_machine(report, manifest, tiny_model_path) -> None:
    _, out = report
    for text in (
        p.read_text(encoding="utf-8") for p in (out / "report.html", out / "figures.json")
    ):
        for path in (manifest.parent, tiny_model_path.parent, out):
            assert str(path) not in text and path.name not in text
        assert f"evaluate {tiny_model_path.name} --data manifest.csv --part all" in text


def test_figures_as_json_are_the_same(report, tiny_model, films) -> None:
    record = json.loads((report[1] / "figures.json").read_text(encoding="utf-8"))
    measured = measure_answers(answers_of_model(tiny_model, films, each))
    auroc = measured.findings["pneumonia"]["auroc"]
    assert record["figures"]["findings"]["pneumonia"]["auroc"] == dataclasses.asdict(auroc)
    assert record["figures"]["confusion"]["counts"] == measured.confusion.tolist()
    assert record["data"]["sources"] == {"east": 12, "west": 12}
    assert record["subject"]["intended use"] == "tests"


def test_markup_in_a_files_name_stays_text(tiny_model_path, entries, tmp_path) -> None:
    bad = tmp_path / "<b>bad<b>.png"
    bad.write_bytes(entries[0].path.read_bytes()[:90])
    write_manifest([*entries, Entry(bad, (), "x", "east")], tmp_path / "manifest.csv")
    invoke(tiny_model_path, "--data", tmp_path / "manifest.csv", "--out", tmp_path, "--no-blackout")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;bad&lt;b&gt;.png" in html and "<b>" not in html
    assert str(tmp_path) not in html


def test_findings_of_the_data_are_renamed_for_the_model(tiny_model_path, entries, tmp_path) -> None:
    finer = [
        dataclasses.replace(e, findings=("viral pneumonia",)) if e.findings else e for e in entries
    ]
    finer[0] = dataclasses.replace(finer[0], findings=("fracture",))
    write_manifest(finer, tmp_path / "manifest.csv")
    asked = (tiny_model_path, "--data", tmp_path / "manifest.csv", "--no-blackout")
    with pytest.raises(TrainError, match=r"does not know fracture, viral pneumonia.*--rename"):
        invoke(*asked)
    printed = invoke(*asked, "--rename", "viral pneumonia=pneumonia", "--ignore", "fracture")
    assert "pneumonia: present in 12, absent in 11" in printed
    with pytest.raises(TrainError, match="has no two names"):
        invoke(*asked, "--rename", "viral pneumonia")


def test_a_data_sets_own_test_side_can_be_taken(tiny_model_path, entries, tmp_path) -> None:
    sided = [
        dataclasses.replace(e, split="test" if i < 8 else "train") for i, e in enumerate(entries)
    ]
    write_manifest(sided, tmp_path / "manifest.csv")
    asked = (tiny_model_path, "--data", tmp_path / "manifest.csv", "--no-blackout", "--part")
    assert "8 films of 4 patients" in invoke(*asked, "test")
    with pytest.raises(TrainError, match="There are no validation films"):
        invoke(*asked, "validation")


def test_label_folders_tell_patients_by_a_pattern(tiny_model_path, entries, tmp_path) -> None:
    for i, entry in enumerate(entries):
        label = "PNEUMONIA" if entry.findings else "NORMAL"
        copy = tmp_path / "films" / label / f"child{i // 2}-{i}.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(entry.path.read_bytes())
    asked = (tiny_model_path, "--data", tmp_path / "films", "--no-blackout")
    assert "24 films of 24 patients" in invoke(*asked)
    pattern = r"child\d+"
    report = tmp_path / "report"
    assert "24 films of 12 patients" in invoke(
        *asked, "--patient-pattern", pattern, "--out", report
    )
    assert f"--patient-pattern &quot;{pattern}&quot;" in (report / "report.html").read_text()


@pytest.fixture(scope="module")
def run(films, tmp_path_factory) -> Path:
    """A run folder with a network that never learned."""
    from train.data.split import TEST, TRAIN, VALIDATION, Split, write_split

    folder = tmp_path_factory.mktemp("runs") / "first"
    folder.mkdir()
    checkpoint = some_checkpoint()
    save_checkpoint(checkpoint, folder / "checkpoint.pt")
    (folder / "config.json").write_text(CONFIG.to_json(), encoding="utf-8")
    split = Split({TRAIN: films[:8], VALIDATION: films[8:16], TEST: films[16:], "left out": ()})
    write_split(split, folder / "split.csv")
    return folder


def test_a_checkpoint_is_measured_on_the_test_films_of_its_run(run, manifest) -> None:
    printed = invoke(run / "checkpoint.pt", "--data", manifest, "--no-blackout")
    assert "checkpoint of first, test films" in printed
    assert "8 films of 4 patients" in printed


def test_films_that_a_checkpoint_learned_from_are_told(run, manifest) -> None:
    printed = invoke(run / "checkpoint.pt", "--data", manifest, "--part", "all", "--no-blackout")
    assert "24 films of 12 patients" in printed
    assert "16 of the films were trained on or chosen with: the figures flatter." in printed


def test_a_runs_report_measures_each_part_alike(
    run, films, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    from train.data.films import FilmSet
    from train.data.pixels import cache_films
    from train.data.split import TEST, VALIDATION, read_split

    split = read_split(run / "split.csv", films)
    cached = {
        name: cache_films(split[name], ("pneumonia",), CONFIG.input, each, "")
        for name in (VALIDATION, TEST)
    }
    checkpoint = some_checkpoint()
    write_report(checkpoint, CONFIG, split, cached, FilmSet(films, ("pneumonia",)), tmp_path)
    figures = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["figures"]
    assert list(figures) == [VALIDATION, TEST]
    answers = answers_of_checkpoint(checkpoint, CONFIG, split[TEST], each)
    (auroc,) = (measured["auroc"] for measured in measure_answers(answers).findings.values())
    assert figures[TEST]["findings"]["pneumonia"]["auroc"] == dataclasses.asdict(auroc)
    assert figures[VALIDATION]["blackout"]["sources"] == []  # too few patients of each
    assert not (tmp_path / "worst.png").exists()  # a run folder shows no patient
    assert "validation:\n" in capsys.readouterr().out


def test_a_report_can_be_had_without_patients_films(tmp_path, manifest, tiny_model_path) -> None:
    arguments = [str(tiny_model_path), "--data", str(manifest), "--no-blackout"]
    pictures = {}
    for option in ("--worst", "--no-worst"):
        out = tmp_path / option.strip("-")
        outcome = CliRunner().invoke(command, [*arguments, option, "--out", str(out)])
        assert outcome.exit_code == 0, outcome.output
        html = (out / "report.html").read_text(encoding="utf-8")
        pictures[option] = ((out / "worst.png").exists(), "Worst errors" in html)
    assert pictures == {"--worst": (True, True), "--no-worst": (False, False)}
