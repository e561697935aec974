"""One command tells all of a model, the bad too, and fills of the checklist what it knows alone."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from cxr_edge import load_model
from cxr_edge.model_card import NO_FINDING, SIGMOID, Figure, Gate, OperatingPoint, UnsureBand
from tests.made import encode
from tests.tiny_model import tiny_card, write_tiny_model
from train.config import Labels, TrainConfig
from train.data.films import Film
from train.data.manifest import Entry, write_manifest
from train.data.pixels import Films, cache_films
from train.data.split import LEFT_OUT, TEST, TRAIN, VALIDATION, Split, write_split
from train.errors import TrainError
from train.learn.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.measure.answers import (
    Answers,
    answers_of_model,
    measure_answers,
    measure_by_source,
    read_films,
    reader_of_checkpoint,
    reader_of_model,
)
from train.measure.dossier.claim import OPEN, checklist, fill
from train.measure.dossier.command import command
from train.measure.dossier.decision_curve import decision_curve
from train.measure.dossier.dossier import BORDER, WHOLE, WITHOUT_LUNGS, measure_model
from train.measure.dossier.plain_words import plain_words
from train.measure.dossier.provenance import provenance_of
from train.measure.dossier.refusal import measure_refused, measure_unsure
from train.measure.dossier.robustness import (
    DISTURBANCES,
    Disturbance,
    blurred,
    coarsened,
    contrasted,
    measure_robustness,
    saved_as_jpeg,
    some_films,
    worst,
)
from train.measure.dossier.sisters import Sister, films_left_out, measure_sister, whole_sources
from train.measure.dossier.strata import NOT_KNOWN, measure_strata
from train.measure.report import SOURCE_FIGURES
from train.measure.selection import Selection, films_to_measure
from train.networks import build

SECTIONS = (
    "What it is for, and where it fails",
    "The model card",
    "The data",
    "Figures",
    "A source or a batch left out",
    "What it reads besides the lungs",
    "Robustness",
    "Age, sex and view",
    "Calibration of the probability",
    "Refused and unsure",
    "Decision curve",
    "Worst errors",
    "The CLAIM checklist",
    "How to make this page again",
)
CONFIG = TrainConfig(input=tiny_card().input, labels=Labels(("pneumonia",)))
BAND = UnsureBand("pneumonia", 0.3, 0.6, 0.9, 40, 30, "made films")
WHERE = "films made for a test"


def each(films: Sequence[Film], _title: str) -> Sequence[Film]:
    return films


def invoke(*arguments: object) -> str:
    outcome = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def selection(*data: Path, split: Path | None = None, part: str | None = None) -> Selection:
    return Selection(tuple(str(path) for path in data), split, part, (), (), "")


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """24 films of 12 patients and two sources, and two in colour, which are refused; the brighter,
    the more probable is pneumonia. The ages and sexes of some are known, the view of none.
    """
    folder = tmp_path_factory.mktemp("secret-place") / "films"
    folder.mkdir()
    rng = np.random.default_rng(0)
    made = []
    for i in range(26):
        present = i // 2 % 2 == 1
        blocks = rng.random((8, 8)) ** (0.7 if present else 1.2)  # no film like another
        pixels = np.kron(np.rint(255 * blocks).astype(np.uint8), np.ones((8, 8), np.uint8))
        if i >= 24:
            pixels = np.stack([pixels, pixels // 2, pixels // 3], 2)
        path = folder / f"film{i}.png"
        path.write_bytes(encode(pixels, "PNG"))
        made.append(
            Entry(
                path,
                ("pneumonia",) if present else (),
                f"p{i // 2}",
                ("east", "west")[i // 4 % 2],
                age_years=(None, 3.0, 70.0)[i // 2 % 3],
                sex=("", "F", "M")[i // 2 % 3],
            )
        )
    return made


@pytest.fixture(scope="module")
def films(entries: list[Entry]) -> tuple[Film, ...]:
    return films_to_measure(entries, Labels(("pneumonia",)))


@pytest.fixture(scope="module")
def manifest(entries: list[Entry]) -> Path:
    path = entries[0].path.parent.parent / "manifest.csv"
    write_manifest(entries, path)
    return path


@pytest.fixture(scope="module")
def grey_manifest(manifest: Path, entries: list[Entry]) -> Path:
    """Without the films in colour, which no run can have learned from."""
    path = manifest.with_name("grey.csv")
    write_manifest(entries[:24], path)
    return path


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, with all that a card may say."""
    card = dataclasses.replace(
        tiny_card(),
        recipe={"network": "tiny net", "init": "some weights", "optimisation.epochs": "17"},
        quantization={"format": "none at all"},
        figures=(Figure("pneumonia auroc", 0.91, 0.81, 0.99, 77, WHERE),),
        unsure=(BAND,),
    )
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx", card.to_json())


@pytest.fixture(scope="module")
def gated_model(tmp_path_factory: pytest.TempPathFactory):
    """The tiny model with a gate: a film whose mean grey is below 0.35 is underexposed to it."""
    gate = Gate(("readable", "underexposed"), 0.5, ((0.0,),), 100.0, "made films", ())
    card = dataclasses.replace(tiny_card(), gate=gate)
    path = write_tiny_model(tmp_path_factory.mktemp("gated") / "gated.onnx", card.to_json())
    network = onnx.load(path)
    network.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([[0, -200]], np.float32), "gate"),
            numpy_helper.from_array(np.array([0, 70], np.float32), "gate bias"),
        ]
    )
    network.graph.node.extend(
        [
            helper.make_node("Gemm", ["mean", "gate", "gate bias"], ["conditions"]),
            helper.make_node("Identity", ["mean"], ["features"]),
        ]
    )
    network.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("conditions", 2), ("features", 1))
    )
    onnx.save(network, path)
    return load_model(path, "cpu", threads=1)


@pytest.fixture(scope="module")
def model(model_path: Path):
    return load_model(model_path, "cpu", threads=1)


@pytest.fixture(scope="module")
def answers(model, films) -> Answers:
    return answers_of_model(model, films, each)


@pytest.fixture(scope="module")
def cached(model, answers) -> Films:
    return cache_films(answers.films, model.card.findings, model.card.input, each, "")


@pytest.fixture(scope="module")
def written(model_path, manifest, tmp_path_factory) -> tuple[str, str]:
    """What the command prints, and the page."""
    out = tmp_path_factory.mktemp("out") / "page.html"
    return invoke(model_path, manifest, "--out", out), out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def dossier(model, manifest):
    return measure_model(model, selection(manifest), (), 6)


# The page


def test_the_page_has_every_section_in_order_below_the_warning(written) -> None:
    _, html = written
    titles = re.findall(r"<h2 id=\"section-\d+\">\d+\. ([^<]+)</h2>", html)
    assert tuple(titles) == SECTIONS
    assert html.index("Not for diagnostic use.") < html.index("<h1>") < html.index("<h2")
    assert [int(i) for i in re.findall(r'href="#section-(\d+)"', html)] == list(range(1, 15))


def test_the_page_stands_alone_and_names_no_place_of_this_machine(
    written, manifest, model_path
) -> None:
    _, html = written
    assert "http" not in html and "<script" not in html and "<link" not in html
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)', html))
    sources = re.findall(r'src="([^"]{0,30})', html)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert "prefers-color-scheme: dark" in html and "@media print" in html
    for path in (manifest.parent, model_path.parent):
        assert str(path) not in html and path.name not in html
    assert "train evidence tiny.onnx manifest.csv --part all --robustness-films 400" in html


def test_the_pages_figures_are_those_that_are_measured(written, answers) -> None:
    _, html = written
    for interval in measure_answers(answers).findings["pneumonia"].values():
        assert f"<td>{interval}</td>" in html
    for part in measure_by_source(answers).values():
        for name in SOURCE_FIGURES:
            assert f"<td>{part.findings['pneumonia'][name]}</td>" in html


def test_the_page_has_the_whole_card(written, model) -> None:
    _, html = written
    card = model.card
    shown = [card.name, card.version, card.intended_use, card.licence, card.activation]
    shown += [*card.recipe, *card.recipe.values(), *card.quantization.values(), *card.views]
    shown += [card.training_data.digest, card.training_data.attribution, model.sha256, WHERE]
    shown += ["0.910 (0.810 to 0.990)", "0 to 120 years"]
    shown += [card.operating_points[0].chosen_by, BAND.measured_on, "40, 30"]
    for text in shown:
        assert text in html


def test_the_command_says_in_plain_words_where_the_model_fails(written, dossier) -> None:
    printed, html = written
    assert "Not for diagnostic use." in printed
    for line in plain_words(dossier)[:3]:
        assert line in printed
    measured = dossier.evaluation.measured
    missed = measured.confusion[1, 0]
    assert f"of 12 films with it, it misses {missed}" in printed
    assert "It gives no answer to 2 of 26 films (2 colour)." in printed
    assert "It has no gate" in printed and "It has no gate" in html
    assert "No run that left a source or a batch out was given" in printed


def test_patients_films_can_be_left_out_of_the_page(
    written, model_path, manifest, tmp_path
) -> None:
    _, html = written
    assert "image/jpeg" in html and "keep this page where they may be" in html
    invoke(
        model_path,
        manifest,
        "--no-worst",
        "--robustness-films",
        6,
        "--out",
        tmp_path / "page.html",
    )
    without = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "image/jpeg" not in without and "left out of this page" in without
    assert "film0.png" not in without


# What cannot be measured


def test_films_that_have_gone_are_counted_and_the_first_is_named(
    model_path, entries, tmp_path
) -> None:
    for entry in entries:
        (tmp_path / entry.path.name).write_bytes(entry.path.read_bytes())
    moved = [dataclasses.replace(e, path=tmp_path / e.path.name) for e in entries]
    write_manifest(moved, tmp_path / "manifest.csv")
    for entry in moved[2:7]:
        entry.path.unlink()
    with pytest.raises(TrainError, match=r"(?s)5 films of .* not there.*film2\.png") as raised:
        invoke(model_path, tmp_path / "manifest.csv")
    assert raised.value.next_step


def test_films_that_a_split_has_and_the_data_lack_are_counted(
    model_path, entries, films, tmp_path
) -> None:
    split = Split({TRAIN: films[:8], VALIDATION: films[8:16], TEST: films[16:24], LEFT_OUT: ()})
    write_split(split, tmp_path / "split.csv")
    write_manifest(entries[3:24], tmp_path / "manifest.csv")
    with pytest.raises(TrainError, match=r"lack 3 films of the split .*; the first is film0\.png"):
        invoke(model_path, tmp_path / "manifest.csv", "--split", tmp_path / "split.csv")


def test_findings_that_the_model_does_not_know_are_named(model_path, entries, tmp_path) -> None:
    other = [dataclasses.replace(e, findings=("fracture",)) for e in entries[:4]]
    write_manifest([*other, *entries[4:]], tmp_path / "manifest.csv")
    with pytest.raises(TrainError, match=r"does not know fracture.*--rename"):
        invoke(model_path, tmp_path / "manifest.csv")


def test_a_page_that_cannot_be_written_is_told_before_anything_is_measured(
    model_path, tmp_path
) -> None:
    with pytest.raises(TrainError, match="cannot be written"):
        invoke(model_path, tmp_path / "no-manifest.csv", "--out", tmp_path / "none" / "page.html")


def test_of_a_finding_that_no_film_has_nothing_is_claimed(films, manifest, tmp_path) -> None:
    card = dataclasses.replace(tiny_card(("pneumonia", "mass")))
    path = write_tiny_model(tmp_path / "two.onnx", card.to_json(), n_outputs=2)
    out = tmp_path / "page.html"
    printed = invoke(path, manifest, "--robustness-films", 6, "--out", out)
    assert "Mass: no film here has it, so that nothing is known of what it misses" in printed
    html = out.read_text(encoding="utf-8")
    assert "not determined" in html and "nan" not in re.sub(r"base64,[^\"]*", "", html)


# Robustness


@pytest.fixture(scope="module")
def grey() -> torch.Tensor:
    """Three films with soft and hard edges, from 0 to 1."""
    films = torch.zeros(3, 1, 32, 32)
    films[:, :, 8:24, 8:24] = torch.tensor([0.4, 0.6, 0.9]).view(3, 1, 1, 1)
    return blurred(films, 1.0)


@pytest.mark.parametrize("disturbance", DISTURBANCES, ids=lambda one: one.name)
def test_a_disturbance_grows_with_its_level_and_is_none_where_it_says_so(
    grey: torch.Tensor, disturbance: Disturbance
) -> None:
    off = [
        float((disturbance.disturb(grey, level).clamp(0, 1) - grey).abs().mean())
        for level in disturbance.levels
    ]
    at = disturbance.levels.index(disturbance.untouched)
    assert off[at] == pytest.approx(0, abs=1e-5)
    assert list(disturbance.levels) == sorted(disturbance.levels)
    assert sorted(off[: at + 1], reverse=True) == off[: at + 1]
    assert sorted(off[at:]) == off[at:]
    assert max(off) > 0.01


def test_blur_keeps_the_mean_and_contrast_keeps_the_middle_grey(grey: torch.Tensor) -> None:
    assert float(blurred(grey, 2.0).mean()) == pytest.approx(float(grey.mean()), abs=0.01)
    flat = torch.full((1, 1, 32, 32), 0.5)
    torch.testing.assert_close(contrasted(flat, 0.3), flat)
    assert float(contrasted(grey, 0.5).std()) == pytest.approx(float(grey.std()) / 2, rel=1e-4)


def test_a_film_of_few_pixels_has_no_fine_pattern(grey: torch.Tensor) -> None:
    stripes = (torch.arange(32) % 2).float().expand(1, 1, 32, 32).contiguous()
    assert float(coarsened(stripes, 50).std()) < 0.1 < float(stripes.std())
    assert coarsened(grey, 15).shape == grey.shape


def test_a_jpeg_loses_more_the_lower_its_quality_is(grey: torch.Tensor) -> None:
    torch.testing.assert_close(saved_as_jpeg(grey, 100), grey)
    good, bad = (float((saved_as_jpeg(grey, q) - grey).abs().mean()) for q in (95, 5))
    assert 0 < good < bad


def test_the_untouched_level_is_the_model_on_films_as_they_are(model, answers, cached) -> None:
    reader = reader_of_model(model)
    whole = measure_answers(reader.judge(answers.films, reader.logits(cached)))
    curves = measure_robustness(model, reader, answers.films, cached)
    assert [curve.disturbance for curve in curves] == list(DISTURBANCES)
    for curve in curves:
        assert [one.level for one in curve.levels] == list(curve.disturbance.levels)
        assert curve.untouched.measured.findings == whole.findings
        assert all(one.refused is None for one in curve.levels)  # there is no gate
    # The tiny model's logit is the film's brightness: a darker film has less of everything.
    (brightness,) = (c for c in curves if c.disturbance.name == "brightness")
    sensitivity = [
        one.measured.findings["pneumonia"]["sensitivity"].value for one in brightness.levels
    ]
    assert sensitivity[0] == 1 and sensitivity[-1] == 0
    told, lowest = worst(curves, "pneumonia", "sensitivity")
    assert lowest.value == 0 and told


def test_it_is_told_how_many_of_the_worse_films_the_gate_would_refuse(
    gated_model, answers, cached
) -> None:
    reader = reader_of_model(gated_model)
    curves = measure_robustness(gated_model, reader, answers.films, cached)
    (brightness,) = (c for c in curves if c.disturbance.name == "brightness")
    pixels = cached.pixels.float() / 255
    for one in brightness.levels:
        darker = (pixels**one.level).mul(255).round().div(255).mean((1, 2, 3))
        assert one.refused is not None
        assert one.refused.value == pytest.approx(float((darker < 0.35).float().mean()))
    assert brightness.levels[-1].refused.value > brightness.untouched.refused.value
    # All are measured all the same.
    assert {one.measured.n_films for one in brightness.levels} == {len(answers.films)}


def test_some_films_are_whole_patients_and_always_the_same(answers, cached) -> None:
    films, pixels = some_films(answers.films, cached, 12)
    assert 8 <= len(films) <= 14
    patients = {film.group for film in films}
    assert {film for film in answers.films if film.group in patients} == set(films)
    assert {film.label for film in films} == {NO_FINDING, "pneumonia"}
    for film, one in zip(films, pixels.pixels, strict=True):
        assert torch.equal(one, cached.pixels[answers.films.index(film)])
    again, _ = some_films(answers.films, cached, 12)
    assert again == films
    assert some_films(answers.films, cached, 24)[0] == answers.films


# Parts of the films


def test_films_are_parted_by_age_and_sex_where_they_are_known_and_not_by_view(answers) -> None:
    strata = measure_strata(answers)
    assert list(strata) == ["age", "sex"]
    assert {band: part.n_films for band, part in strata["age"].items()} == {
        "1 to 5 years": 8,
        "65 years and above": 8,
        NOT_KNOWN: 8,
    }
    assert list(strata["age"])[-1] == NOT_KNOWN
    assert list(strata["sex"]) == ["female", "male", NOT_KNOWN]
    women = np.array([film.sex == "F" for film in answers.films])
    assert strata["sex"]["female"].findings == measure_answers(answers.only(women)).findings


def test_without_ages_and_sexes_there_are_no_strata(answers) -> None:
    bare = tuple(dataclasses.replace(f, age_years=None, sex="") for f in answers.films)
    assert measure_strata(dataclasses.replace(answers, films=bare)) == {}


@pytest.mark.parametrize(
    ("age", "band"),
    [(0.9, "below 1 year"), (1, "1 to 5 years"), (5.9, "1 to 5 years"), (18, "18 to 39 years")],
)
def test_a_child_is_as_old_as_its_full_years(answers, age: float, band: str) -> None:
    aged = tuple(dataclasses.replace(film, age_years=age) for film in answers.films)
    assert list(measure_strata(dataclasses.replace(answers, films=aged))["age"]) == [band]


def test_less_is_told_the_less_of_the_film_is_left(dossier) -> None:
    hidden = dossier.hidden
    assert list(hidden) == [WHOLE, WITHOUT_LUNGS, BORDER]
    whole = hidden[WHOLE].measured.findings["pneumonia"]["auroc"].value
    assert whole == pytest.approx(
        dossier.evaluation.measured.findings["pneumonia"]["auroc"].value, abs=0.02
    )
    assert hidden[BORDER].sources == ("east", "west")
    assert hidden[BORDER].from_films is not None


# Refused and unsure


def test_refused_films_are_counted_by_code_and_answered_by_force(model, films, answers) -> None:
    refused = measure_refused(model, answers)
    assert refused.reasons == {("colour", NO_FINDING): 2}
    assert refused.codes == {"colour": 2}
    assert refused.forced is not None
    assert refused.forced.n_films == len(films) == len(answers.films) + 2
    assert refused.forced.n_present == measure_answers(answers).n_present


def test_what_no_force_can_answer_is_only_counted(model, answers, tmp_path) -> None:
    bad = tmp_path / "half.png"
    bad.write_bytes(answers.films[0].path.read_bytes()[:90])
    film = Film(bad, "pneumonia", "x", "x", "")
    refused = measure_refused(model, answers_of_model(model, (*answers.films, film), each))
    assert sum(refused.reasons.values()) == 1
    assert refused.forced is None


def judged(labels: Sequence[str], probability: Sequence[float]) -> Answers:
    films = tuple(
        Film(Path(f"{i}.png"), label, f"p{i}", f"p{i}", str(i)) for i, label in enumerate(labels)
    )
    rows = np.array(probability)[:, np.newaxis]
    return Answers(films, ("pneumonia",), SIGMOID, rows, rows >= 0.5, {"pneumonia": 0.5})


def test_unsure_keeps_its_promise_where_it_is_right_or_says_so() -> None:
    ill, well = ["pneumonia"] * 4, [NO_FINDING] * 4
    given = judged([*ill, *well], [0.9, 0.7, 0.4, 0.1, 0.05, 0.3, 0.45, 0.8])
    (unsure,) = measure_unsure(given, (BAND,))  # from 0.3 on and below 0.6
    assert unsure.n_films == 3
    assert unsure.part.value == 3 / 8
    assert unsure.of_present.value == 3 / 4  # 0.1 is wrong
    assert unsure.of_absent.value == 3 / 4  # 0.8 is wrong
    assert unsure.decided["sensitivity"].value == 2 / 3
    assert unsure.decided["specificity"].value == 1 / 2
    assert unsure.decided["accuracy"].value == 3 / 5


def test_a_model_that_is_unsure_of_all_films_decides_none() -> None:
    (unsure,) = measure_unsure(judged(["pneumonia", NO_FINDING], [0.4, 0.5]), (BAND,))
    assert unsure.part.value == 1 and unsure.of_present.value == 1
    assert unsure.decided == {}


# The decision curve


def test_net_benefit_is_what_is_found_less_what_is_done_for_nothing() -> None:
    present = np.array([True, True, False, False])
    probability = np.array([0.9, 0.4, 0.6, 0.1])
    at = np.array([0.25, 0.5, 0.8])
    curve = decision_curve(present, probability, list("abcd"), at)
    # From 0.25 on: two found, one for nothing at odds of 1 to 3. From 0.5 on: one and one. From 0.8
    # on: one and none.
    np.testing.assert_allclose(curve.model, [2 / 4 - 1 / 4 / 3, 0, 1 / 4])
    np.testing.assert_allclose(curve.everyone, [2 / 4 - 2 / 4 / 3, 0, 2 / 4 - 2 / 4 * 4])
    assert (curve.low <= curve.model).all() and (curve.model <= curve.high).all()
    assert curve.at(0.45) == 1


def test_a_model_that_says_one_thing_of_all_films_does_as_acting_on_all() -> None:
    present = np.arange(10) < 3
    curve = decision_curve(present, np.full(10, 0.3), [str(i) for i in range(10)])
    low, high = curve.at(0.2), curve.at(0.4)
    assert curve.model[low] == pytest.approx(curve.everyone[low])
    assert curve.model[high] == 0


# Sisters


@pytest.fixture(scope="module")
def sister(films, tmp_path_factory) -> Path:
    """A run that never learned, with normal films of `west` left out."""
    folder = tmp_path_factory.mktemp("runs") / "sister"
    folder.mkdir()
    torch.manual_seed(0)
    state = build("resnet18", 1, 1).state_dict()
    checkpoint = Checkpoint("resnet18", "linear", ("pneumonia",), 1, SIGMOID, state)
    save_checkpoint(checkpoint, folder / "checkpoint.pt")
    (folder / "config.json").write_text(CONFIG.to_json(), encoding="utf-8")
    write_split(split_of(films), folder / "split.csv")
    return folder / "checkpoint.pt"


def split_of(films: Sequence[Film]) -> Split:
    films = films[:24]
    left = tuple(film for film in films if film.patient in ("p2", "p6"))
    others = [film for film in films if film not in left]
    return Split({TRAIN: others[:8], VALIDATION: others[8:14], TEST: others[14:], LEFT_OUT: left})


def test_a_sister_is_measured_on_films_that_it_left_out(
    sister, grey_manifest, model, films
) -> None:
    measured = measure_sister(sister, [str(grey_manifest)], model.card)
    left, beside = films_left_out(split_of(films), "sister")
    assert {film.label for film in left} == {NO_FINDING}
    assert {film.label for film in beside} == {"pneumonia"}
    assert measured.films == {("west", NO_FINDING): len(left)}
    assert measured.joined == {"pneumonia": len(beside)}
    assert not measured.whole_sources  # its films with pneumonia were learned from
    reader = reader_of_checkpoint(load_checkpoint(sister), CONFIG)
    chosen, cached, _ = read_films((*left, *beside), reader, each, "")
    expected = measure_answers(reader.judge(chosen, reader.logits(cached)))
    assert measured.measured.findings["pneumonia"]["auroc"].value == pytest.approx(
        expected.findings["pneumonia"]["auroc"].value
    )
    target, figures = measured.at_sensitivity["pneumonia"]
    assert target == model.card.operating_points[0].sensitivity
    assert figures["sensitivity"].value >= target - 1 / len(beside)


def test_a_source_is_left_out_whole_where_the_run_learned_from_none_of_its_films(films) -> None:
    west = tuple(film for film in films if film.source == "west")
    east = tuple(film for film in films if film.source == "east")
    split = Split({TRAIN: east[:8], VALIDATION: east[8:], TEST: west[:2], LEFT_OUT: west[2:]})
    assert whole_sources(split)
    assert not whole_sources(split_of(films))


def test_a_sister_stands_on_the_page_or_the_page_says_that_there_is_none(
    written, sister, model_path, grey_manifest, tmp_path
) -> None:
    _, html = written
    assert "No sister run was given" in html and "--leave-source-out SOURCE" in html
    out = tmp_path / "page.html"
    few = ("--robustness-films", 6)
    printed = invoke(model_path, grey_manifest, "--sister", sister, *few, "--out", out)
    assert "on a batch that a sister run never saw (west)" in printed
    html = out.read_text(encoding="utf-8")
    assert "One batch left out" in html and "No sister run" not in html
    assert "--sister sister/checkpoint.pt" in html and str(sister.parent) not in html


def test_a_run_that_left_nothing_out_is_no_sister(films) -> None:
    split = Split({TRAIN: films[:8], VALIDATION: films[8:16], TEST: films[16:], LEFT_OUT: ()})
    with pytest.raises(TrainError, match="first left nothing out"):
        films_left_out(split, "first")


def test_a_sister_tells_the_same_findings_apart(sister, grey_manifest, model) -> None:
    other = dataclasses.replace(
        model.card,
        findings=("mass",),
        operating_points=(OperatingPoint("mass", 0.5, 0.9, 0.8, "made films", "by hand"),),
        unsure=(),
    )
    with pytest.raises(TrainError, match="tells pneumonia apart, the model mass"):
        measure_sister(sister, [str(grey_manifest)], other)


# CLAIM


def test_the_checklist_has_its_44_items_in_order() -> None:
    items = checklist()
    assert [item.number for item in items] == list(range(1, 45))
    assert all(item.section and item.text for item in items)
    assert {item.by for item in items} == {"run", "part", "authors", "nobody"}
    assert all(bool(item.reason) == (item.by == "nobody") for item in items)


def test_what_the_run_cannot_know_is_left_to_the_authors(dossier) -> None:
    filled = {one.item.number: one for one in fill(dossier, provenance_of("a command"))}
    # Title, abstract, aims, design, goal, de-identification, how labels were given and by whom,
    # intended sample size, funding.
    for number in (1, 2, 4, 5, 6, 11, 15, 16, 17, 18, 21, 44):
        assert filled[number].item.by == "authors"
        assert filled[number].status == OPEN
    # There is no split, no sister run and no view.
    for number in (13, 19, 20, 32, 33):
        assert filled[number].status == OPEN
    assert filled[9].status == filled[28].status == "filled"
    assert filled[36].status == filled[3].status == "in part"
    assert filled[34].status == "not applicable" and filled[34].said
    assert "tiny net" in filled[22].said and "some weights" in filled[24].said


def test_every_item_that_a_run_may_fill_can_be_filled(
    model, films, grey_manifest, tmp_path
) -> None:
    parts = split_of(films)
    write_split(parts, tmp_path / "split.csv")
    with_views = tuple(dataclasses.replace(film, view="PA") for film in films)
    dossier = measure_model(model, selection(grey_manifest, split=tmp_path / "split.csv"), (), 6)
    assert dossier.part == TEST and len(dossier.films) == len(parts[TEST])
    assert dossier.partitions[TRAIN] == (8, 4)
    sister = Sister("s", True, {("west", NO_FINDING): 1}, {}, dossier.evaluation.measured, {})
    whole = dataclasses.replace(dossier, films=with_views, sisters=(sister,))
    for one in fill(whole, provenance_of("a command")):
        assert (one.status == OPEN) == (one.item.by == "authors"), one.item


def test_a_model_card_without_a_recipe_leaves_training_to_the_authors(dossier) -> None:
    bare = dataclasses.replace(dossier, card=dataclasses.replace(dossier.card, recipe={}))
    filled = {one.item.number: one for one in fill(bare, provenance_of("a command"))}
    assert all(filled[number].status == OPEN for number in (22, 24, 25, 27))


def test_films_that_the_model_learned_from_are_told(model, films, grey_manifest, tmp_path) -> None:
    parts = split_of(films)
    write_split(parts, tmp_path / "split.csv")
    chosen = selection(grey_manifest, split=tmp_path / "split.csv", part=TRAIN)
    dossier = measure_model(model, chosen, (), 6)
    assert dossier.n_learned_from == len(parts[TRAIN]) == 8
    assert any("the figures flatter" in line for line in plain_words(dossier))
