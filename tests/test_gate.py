"""What a model cannot read is refused: by the film's header, and by its own network."""

import csv
import io
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from made import decode, dicom, encode, film, rgb

from cxr_edge import load_model, predict
from cxr_edge.batching import BatchingSession
from cxr_edge.cli import cli
from cxr_edge.decoding import IsolatedDecoder
from cxr_edge.errors import ModelError, RadiographError, RefusedError
from cxr_edge.gate import TOLD, UNLIKE_TRAINING, check_header, check_outputs, distance
from cxr_edge.isolation import IsolatedReader
from cxr_edge.model import GATE_OUTPUTS, Model
from cxr_edge.model_card import READABLE, ModelCard
from cxr_edge.model_file import read_model_file
from cxr_edge.preprocess import prepare
from cxr_edge.radiograph import Header, read_radiograph
from cxr_edge.reading import predict_result
from cxr_edge.refusals import ACCEPTABLE, Refusals
from cxr_edge.terms import Terms
from tests.tiny_model import (
    GATED,
    gated_card,
    gated_film,
    tiny_card,
    write_gated_model,
    write_tiny_model,
)

GATE = gated_card().gate
assert GATE is not None
CHILDREN = replace(tiny_card(), age_range_years=(1.0, 5.0))


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gated_model(tmp_path_factory.mktemp("gated") / "gated.onnx")


@pytest.fixture(scope="module")
def model(model_path) -> Model:
    return load_model(model_path, "cpu", threads=1)


@pytest.fixture
def shown(tmp_path):
    """Writes a film of a condition, and returns its path."""

    def write(condition: str, name: str = "film.png") -> Path:
        path = tmp_path / name
        path.write_bytes(encode(gated_film(condition), "PNG"))
        return path

    return write


def accepting(*codes: str) -> Terms:
    return Terms(accepted=frozenset(codes))


def refusal(path: Path, model: Model, *accepted: str) -> RefusedError:
    with pytest.raises(RefusedError) as info:
        predict(path, model, accepting(*accepted))
    return info.value


# By the network


def test_a_readable_film_has_its_answer_and_its_distance(model, shown):
    result = predict_result(shown(READABLE), model)
    assert (result.status, result.reason) == ("ok", "")
    assert result.findings[0].name == "pneumonia"
    assert result.distance == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("condition", [one for one in GATED if one != READABLE])
def test_each_condition_is_refused_in_its_own_words(model, shown, condition):
    error = refusal(shown(condition), model)
    assert error.code == condition
    assert (error.message, error.next_step) == TOLD[condition]
    result = predict_result(shown(condition), model)
    assert (result.status, result.findings, result.distance) == ("refused", (), None)
    assert result.reason == f"{condition}: {error.message} {error.next_step}"


def test_a_film_unlike_all_others_is_refused_though_it_seems_readable(model, shown):
    error = refusal(shown(UNLIKE_TRAINING), model)
    assert error.code == UNLIKE_TRAINING
    far = re.search(r"distance ([\d.]+), at most ([\d.]+)", error.message)
    assert far is not None
    assert float(far[1]) > float(far[2]) == GATE.max_distance


def test_a_film_without_a_gate_has_no_distance(tiny_model, shown):
    for condition in (READABLE, "lateral", UNLIKE_TRAINING):
        result = predict_result(shown(condition), tiny_model)
        assert (result.status, result.distance) == ("ok", None)


def test_the_distance_is_to_the_nearest_centre_whatever_the_number_of_features():
    gate = replace(GATE, centres=((0.0, 0.0), (10.0, 10.0)))
    films = np.array([[3, 4], [10, 13], [0, 0]], np.float32)
    assert distance(films, gate) == pytest.approx([(25 / 2) ** 0.5, (9 / 2) ** 0.5, 0])
    doubled = replace(gate, centres=tuple(centre * 2 for centre in gate.centres))
    assert distance(np.tile(films, 2), doubled) == pytest.approx(distance(films, gate))


@pytest.mark.parametrize(
    ("readable", "code"),
    [(0.51, ""), (0.49, "lateral")],
)
def test_the_probability_of_readable_decides_and_the_next_one_says_why(readable, code):
    probability = np.array([readable, 0.1, 0.9 - readable], np.float32)
    gate = replace(GATE, conditions=(READABLE, "inverted", "lateral"), min_readable=0.5)
    refusals = Refusals(ACCEPTABLE)
    check_outputs(np.log(probability), np.zeros(2, np.float32), gate, refusals)
    assert refusals.overruled == ((code,) if code else ())


def test_conditions_and_features_are_the_same_with_heatmaps_and_without(model, model_path):
    drawing = load_model(model_path, "cpu", threads=1, heatmaps=True)
    films = np.random.default_rng(0).random((3, 1, 32, 32)).astype(np.float32)
    plain, drawn = model.answer(films), drawing.answer(films, heatmaps=True)
    assert plain.heatmaps is None
    assert drawn.heatmaps is not None
    assert drawn.heatmaps.shape == (3, 1, 4, 4)
    for name in ("logits", *GATE_OUTPUTS):
        np.testing.assert_allclose(getattr(plain, name), getattr(drawn, name), atol=1e-5)
    assert plain.conditions.shape == (3, len(GATED))
    assert plain.features.shape == (3, 2)
    np.testing.assert_array_equal(model.infer(films), plain.logits)


def test_what_is_pruned_with_the_heatmaps_is_not_what_the_gate_needs(model_path):
    from onnx import load_from_string

    graph = load_from_string(read_model_file(model_path).graph).graph
    assert [one.name for one in graph.output] == ["logits", *GATE_OUTPUTS]
    assert not any("heatmaps" in node.output for node in graph.node)


def test_films_of_one_batch_are_each_judged_by_their_own_outputs(model):
    session = model.session
    together = BatchingSession(session.onnx, session.provider, session.cached_at, 8)
    batching = replace(model, session=together)
    films = np.random.default_rng(1).random((4, 1, 32, 32)).astype(np.float32)
    whole = batching.answer(films)
    for place in range(4):
        alone = batching.answer(films[place : place + 1])
        for name in ("logits", *GATE_OUTPUTS):
            np.testing.assert_allclose(
                getattr(alone, name)[0], getattr(whole, name)[place], atol=1e-5
            )


def test_a_film_that_is_refused_is_not_drawn(model_path, shown):
    drawing = load_model(model_path, "cpu", threads=1, heatmaps=True)
    assert predict_result(shown("lateral"), drawing, draw=True).overlays == ()
    accepted = predict_result(shown("lateral"), drawing, accepting("lateral"), draw=True)
    assert len(accepted.overlays) == 1


# A model whose gate does not fit


def _without_outputs(folder: Path) -> Path:
    return write_tiny_model(folder / "m.onnx", gated_card().to_json())


def _without_a_gate(folder: Path) -> Path:
    return write_gated_model(folder / "m.onnx", tiny_card())


def _with(folder: Path, **changes: Any) -> Path:
    card = replace(gated_card(), gate=replace(GATE, **changes))
    return write_gated_model(folder / "m.onnx", card)


@pytest.mark.parametrize(
    "write",
    [
        _without_outputs,
        _without_a_gate,
        lambda folder: _with(folder, conditions=GATE.conditions[:-1]),
        lambda folder: _with(folder, centres=((0.0, 0.0, 0.0),)),
    ],
    ids=["no outputs", "no gate", "fewer conditions", "more features"],
)
def test_a_network_that_does_not_give_what_its_card_says_is_refused(tmp_path, write):
    with pytest.raises(ModelError, match="not what its card says of its gate"):
        load_model(write(tmp_path), "cpu")


def test_a_gate_that_tells_of_what_nobody_here_has_words_for_is_refused(tmp_path):
    conditions = (*GATE.conditions[:-1], "upside_inside")
    with pytest.raises(ModelError, match="its gate tells of upside_inside"):
        load_model(_with(tmp_path, conditions=conditions), "cpu")


# Overruled


def test_an_accepted_refusal_gives_an_answer_that_names_it(model, shown):
    result = predict_result(shown("lateral"), model, accepting("lateral", "inverted"))
    assert (result.status, result.reason) == ("ok", "accepted: lateral")
    assert result.accepted == ("lateral",)
    assert len(result.findings) == 1
    assert result.distance == pytest.approx(0, abs=0.3)


def test_another_refusal_refuses_all_the_same(model, shown):
    path = shown("rotated_90")  # and its mean is far from that of readable films
    assert refusal(path, model, "rotated_90").code == UNLIKE_TRAINING
    assert refusal(path, model, UNLIKE_TRAINING).code == "rotated_90"
    result = predict_result(path, model, accepting("rotated_90", UNLIKE_TRAINING))
    assert result.reason == f"accepted: rotated_90, {UNLIKE_TRAINING}"


def test_a_lateral_by_its_header_is_accepted(tmp_path, tiny_model):
    path = tmp_path / "side.dcm"
    path.write_bytes(dicom(film().astype(np.uint16) * 16, 12, ViewPosition="LL"))
    assert refusal(path, tiny_model).code == "lateral"
    assert refusal(path, tiny_model, "age", "colour").code == "lateral"
    result = predict_result(path, tiny_model, accepting("lateral"))
    assert (result.status, result.reason) == ("ok", "accepted: lateral")
    assert predict(path, tiny_model, accepting("lateral")) == result.findings


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "DICOM"])
def test_a_film_in_colour_is_accepted_in_grey(tmp_path, tiny_model, kind):
    grey = film()
    coloured = rgb(grey)
    coloured[:40, :40] = (200, 30, 30)
    path = tmp_path / "film"
    if kind == "DICOM":
        interleaved = {"photometric": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}
        path.write_bytes(dicom(coloured, **interleaved))
    else:
        path.write_bytes(encode(coloured, kind, **({"quality": 95} if kind == "JPEG" else {})))
    assert refusal(path, tiny_model).code == "colour"
    result = predict_result(path, tiny_model, accepting("colour"))
    assert (result.status, result.reason) == ("ok", "accepted: colour")
    pixels = read_radiograph(path, accepted={"colour"}).pixels
    assert pixels.shape == grey.shape
    np.testing.assert_allclose(pixels[50:, 50:], grey[50:, 50:], atol=12)


def test_several_are_named_each_once_in_the_order_in_which_they_were_met(tmp_path, tiny_model):
    path = tmp_path / "all.dcm"
    pixels = film(96, 20).astype(np.uint16) * 16
    path.write_bytes(
        dicom(pixels, 12, ViewPosition="LL", BodyPartExamined="HAND", PatientOrientation=["R", "F"])
    )
    codes = ("not_a_chest_film", "lateral", "mirrored", "odd_shape")
    result = predict_result(path, tiny_model, accepting(*codes))
    assert result.accepted == codes


@pytest.mark.parametrize("accepted", [(), ("lateral",), ("rotated_90",)])
def test_another_process_says_the_same(model, shown, accepted):
    reader = IsolatedReader(model, accepting(*accepted))
    try:
        for condition in ("lateral", READABLE, "rotated_90", UNLIKE_TRAINING):
            path = shown(condition)
            here = predict_result(path, model, accepting(*accepted))
            if here.status == "ok":
                there = reader.read(path)
                assert (there.findings, there.accepted) == (here.findings, here.accepted)
                assert there.distance == here.distance
            else:
                with pytest.raises(RadiographError) as info:
                    reader.read(path)
                assert str(info.value) == here.reason
    finally:
        reader.close()


def test_a_decoder_apart_tells_the_header_and_what_is_overruled(tmp_path, model):
    path = tmp_path / "side.dcm"
    pixels = film().astype(np.uint16) * 16
    path.write_bytes(dicom(pixels, 12, ViewPosition="LL", PatientAge="004Y"))
    decoder = IsolatedDecoder(model.card.input, accepted=frozenset({"lateral"}))
    try:
        film_there = decoder.prepare(path)
    finally:
        decoder.close()
    assert film_there.overruled == ("lateral",)
    assert film_there.header == Header(4.0, "LL")
    here = prepare(read_radiograph(path, accepted={"lateral"}), model.card.input)
    np.testing.assert_allclose(film_there.inputs, here, atol=1e-6)


@pytest.mark.parametrize(
    "code", ["blank", "several_frames", "invalid_pixels", "corrupt", "nonsense"]
)
def test_what_cannot_be_accepted_is_a_usage_error_that_lists_what_can(tmp_path, code):
    for command in (
        ["predict", str(tmp_path)],
        ["watch", str(tmp_path), "--csv", str(tmp_path / "r.csv")],
        ["serve"],
        ["reprocess"],
    ):
        outcome = CliRunner().invoke(cli, [*command, "--accept", code])
        assert outcome.exit_code == 2, outcome.output
        said = " ".join(outcome.stderr.split())
        assert f"'{code}' is not one of" in said
        assert all(f"'{one}'" in said for one in ACCEPTABLE)


def test_predict_takes_what_is_to_be_accepted_and_says_so(model_path, shown, tmp_path):
    path = shown("lateral")
    table = tmp_path / "r.csv"
    options = ["--model", str(model_path), "--device", "cpu"]
    refused = CliRunner().invoke(cli, ["predict", str(path), *options])
    assert refused.exit_code == 3
    assert "refused  lateral: " in refused.stdout
    both = ["--accept", "lateral", "--accept", "age"]
    accepted = CliRunner().invoke(cli, ["predict", str(path), *options, *both])
    assert accepted.exit_code == 0, accepted.output
    assert "read although it would be refused: lateral" in accepted.stdout
    written = CliRunner().invoke(cli, ["predict", str(path), *options, *both, "--csv", str(table)])
    assert written.exit_code == 0, written.output
    (row,) = csv.DictReader(io.StringIO(table.read_text()))
    assert (row["status"], row["reason"]) == ("ok", "accepted: lateral")
    assert row["answer"] in ("positive", "negative")


# By the header


def header_of(**attributes: Any) -> Header:
    pixels = film().astype(np.uint16) * 16
    with warnings.catch_warnings():
        # What real files hold need not be what the standard lets them.
        warnings.simplefilter("ignore")
        data = dicom(pixels, 12, **attributes)
    return decode(data).header


@pytest.mark.parametrize(
    ("attributes", "years"),
    [
        ({"PatientAge": "004Y"}, 4),
        ({"PatientAge": "071M"}, 71 / 12),
        ({"PatientAge": "006W"}, 42 / 365.25),
        ({"PatientAge": "010D"}, 10 / 365.25),
        ({"PatientAge": "000M"}, 0),
        ({"PatientAge": " 4y "}, 4),
        ({"PatientAge": "81"}, 81),
        ({}, None),
        ({"PatientAge": "000Y"}, None),
        ({"PatientAge": "garbage"}, None),
        ({"PatientAge": "-04Y"}, None),
        ({"PatientAge": "40 years"}, None),
        ({"PatientBirthDate": "20200310", "StudyDate": "20240309"}, 1460 / 365.25),
        ({"PatientBirthDate": "20200310", "StudyDate": "20240309", "PatientAge": "000Y"}, 3.997),
        ({"PatientBirthDate": "20200310", "StudyDate": "20240309", "PatientAge": "030Y"}, 30),
        ({"PatientBirthDate": "20240310", "StudyDate": "20240309"}, None),
        ({"PatientBirthDate": "00000000", "StudyDate": "20240309"}, None),
        ({"PatientBirthDate": "20200310"}, None),
    ],
)
def test_the_patients_age_is_read_as_files_have_it(attributes, years):
    age = header_of(**attributes).age_years
    assert age == (None if years is None else pytest.approx(years, abs=1e-3))


def code_by(header: Header, card: ModelCard = CHILDREN) -> str:
    refusals = Refusals(ACCEPTABLE)
    check_header(header, card, refusals)
    assert len(refusals.overruled) <= 1
    return next(iter(refusals.overruled), "")


@pytest.mark.parametrize(
    ("years", "code"),
    [
        *((1.0, ""), (5.0, ""), (71 / 12, ""), (5.999, ""), (None, "")),
        *((0.999, "age"), (6.0, "age"), (72 / 12, "age"), (81.0, "age"), (0.0, "age")),
    ],
)
def test_a_patient_whom_the_model_is_not_for_is_refused(years, code):
    """A child of five years and eleven months is five years old."""
    assert code_by(Header(age_years=years)) == code


def test_a_refusal_by_age_names_both():
    with pytest.raises(RefusedError, match="81 years old; this model is for 1 to 5 years"):
        check_header(Header(age_years=81.0), CHILDREN, Refusals())


@pytest.mark.parametrize(
    ("view", "code"),
    [
        *(("PA", ""), ("AP", ""), ("", ""), ("pa ", ""), ("PORTABLE", "")),
        *(("LLO", "view"), ("RAO", "view"), ("rlo", "view")),
    ],
)
def test_a_view_that_the_model_is_not_for_is_refused(view, code):
    assert code_by(header_of(ViewPosition=view)) == code


def test_a_model_for_one_frontal_view_refuses_the_other():
    card = replace(CHILDREN, views=("PA",))
    assert code_by(header_of(ViewPosition="AP"), card) == "view"
    assert code_by(header_of(ViewPosition="PA"), card) == ""


@pytest.mark.parametrize(
    ("orientation", "code"),
    [
        *(("L\\F", ""), ("", ""), ("L", ""), ("X\\Y", ""), ("L\\F\\H", "")),
        ("R\\F", "mirrored"),
        ("H\\L", "rotated_90"),
        ("R\\H", "rotated_180"),
        ("F\\R", "rotated_270"),
        *(("A\\F", "lateral"), ("P\\F", "lateral")),
        *(("L\\H", "mirrored"), ("F\\L", "mirrored"), ("H\\R", "mirrored")),
    ],
)
def test_how_a_film_lies_is_known_from_its_header(orientation, code):
    header = header_of(PatientOrientation=orientation.split("\\"))
    assert code_by(header) == code


def test_the_header_of_a_film_that_was_turned_says_by_how_much():
    """A frontal film's rows run to the patient's left, its columns to the feet: what is right of
    the middle, and what is below it, after so many quarter turns clockwise."""
    around = ["H", "L", "F", "R"]  # clockwise from above, as it should hang
    for n_turns, code in enumerate(("", "rotated_90", "rotated_180", "rotated_270")):
        above, right, below, left = around[-n_turns:] + around[:-n_turns] if n_turns else around
        assert {above + below, right + left} <= {"HF", "FH", "LR", "RL"}
        assert code_by(Header(orientation=right + below)) == code


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("HAND", "not_a_chest_film"),
        ("skull ", "not_a_chest_film"),
        ("CHEST", ""),
        ("PORT CHEST", ""),
    ],
)
def test_a_radiograph_of_something_else_is_refused(part, code):
    try:
        header_of(BodyPartExamined=part)
    except RefusedError as error:
        assert error.code == code
        assert part.strip().upper() in error.message
    else:
        assert code == ""


def test_a_film_that_is_no_dicom_has_no_header():
    assert decode(encode(film(), "PNG")).header == Header()
    assert code_by(Header()) == ""


def test_a_header_with_two_faults_is_refused_for_the_first_until_both_are_accepted(
    tmp_path, tiny_model
):
    path = tmp_path / "film.dcm"
    attributes = {"PatientAge": "130Y", "PatientOrientation": ["R", "F"]}
    path.write_bytes(dicom(film().astype(np.uint16) * 16, 12, **attributes))
    assert refusal(path, tiny_model).code == "age"
    assert refusal(path, tiny_model, "age").code == "mirrored"
    result = predict_result(path, tiny_model, accepting("age", "mirrored"))
    assert result.accepted == ("age", "mirrored")
