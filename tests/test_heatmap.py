"""Where on a film a finding comes from: colour where the map is hot, and nowhere else."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from cxr_edge import heatmap, load_model
from cxr_edge.cli import cli
from cxr_edge.errors import ModelError
from cxr_edge.heatmap import (
    FULL_AT,
    LONG_SIDE_PX,
    OPACITY,
    evidence,
    layer,
    legend_colours,
    overlay,
)
from cxr_edge.interpret import interpret
from cxr_edge.model_card import ModelCard
from cxr_edge.model_file import without_heatmaps
from cxr_edge.reading import predict_result
from cxr_edge.result import Finding
from cxr_edge.terms import Terms
from tests.conftest import SAMPLES, make_film
from tests.tiny_model import tiny_card, write_tiny_model

FILM = np.full((300, 600), 120, np.uint8)
HALF = Finding("pneumonia", 0.9, 0.5)  # its operating point lies at log odds of 0


@pytest.fixture(scope="module")
def drawing_model(tiny_model_path):
    """The tiny model as `--heatmap` loads it."""
    return load_model(tiny_model_path, "cpu", threads=1, heatmaps=True)


def spread(picture: np.ndarray) -> np.ndarray:
    """How far from grey each pixel is, (H, W)."""
    return picture.max(axis=2).astype(int) - picture.min(axis=2)


def local(hot: tuple[int, int], value: float) -> np.ndarray:
    cells = np.full((7, 7), -5.0)
    cells[hot] = value
    return cells


def exclusive_card() -> ModelCard:
    findings = ("no finding", "effusion", "nodule")
    card = json.loads(tiny_card(findings[1:]).to_json())
    return ModelCard.from_json(json.dumps(card | {"findings": findings, "activation": "softmax"}))


def draw(film: Path, folder: Path, model: Path, *more: str):
    arguments = ["predict", str(film), "--heatmap", str(folder), "--model", str(model)]
    return CliRunner().invoke(cli, [*arguments, "--device", "cpu", *more])


@pytest.mark.parametrize("hot", [(0, 0), (1, 5), (6, 3)])
def test_the_colour_lies_where_the_map_is_hot(hot):
    colour = spread(overlay(FILM, local(hot, FULL_AT), HALF))
    rows, columns = np.nonzero(colour > 10)
    assert (int(rows.mean()) * 7 // 300, int(columns.mean()) * 7 // 600) == hot
    # It fades out by the middle of the next cells.
    assert np.abs(rows / 300 * 7 - (hot[0] + 0.5)).max() <= 1
    assert np.abs(columns / 600 * 7 - (hot[1] + 0.5)).max() <= 1


def test_what_speaks_for_a_finding_no_more_than_its_operating_point_stays_grey():
    cells = np.full((7, 7), -0.01)
    picture = overlay(FILM, cells, HALF)
    np.testing.assert_array_equal(picture, np.repeat(FILM[:, :, np.newaxis], 3, axis=2))
    assert spread(overlay(FILM, cells, replace(HALF, threshold=0.2))).max() > 0


def test_the_scale_is_not_the_films_own():
    weak, middle, full, more = (
        spread(overlay(FILM, local((3, 3), part * FULL_AT), HALF)).max()
        for part in (0.1, 0.5, 1.0, 3.0)
    )
    assert weak < middle < full == more
    assert weak < full / 4


def test_the_film_stays_visible_below_the_hottest_colour():
    film = np.tile(np.array([0, 255], np.uint8), (300, 300))
    picture = overlay(film, np.full((7, 7), 100.0), HALF).astype(int)
    assert (picture[:, 1::2] - picture[:, ::2]).min() > 80


def test_a_threshold_of_one_leaves_every_film_grey():
    assert spread(overlay(FILM, local((3, 3), 15.0), replace(HALF, threshold=1.0))).max() == 0


def layer_of(cells: np.ndarray, finding: Finding, shape: tuple[int, int]) -> np.ndarray:
    png = layer(cells, finding, shape)
    assert png.startswith(b"\x89PNG")
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("shape", [(640, 512), (300, 640), (640, 640)])
def test_a_layer_laid_over_its_film_is_the_overlay(shape):
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, shape).astype(np.uint8)
    cells = rng.normal(0, FULL_AT, (7, 7))
    for finding in (HALF, replace(HALF, threshold=0.2)):
        bgra = layer_of(cells, finding, shape).astype(np.float64)
        assert bgra.shape == (*shape, 4)
        grey = film[:, :, np.newaxis].astype(np.float64)
        opacity = OPACITY * bgra[:, :, 3:] / 255
        composed = grey + opacity * (bgra[:, :, :3] - grey)
        # Half a step of the picture's 255 levels, and half a step of the opacity's.
        np.testing.assert_allclose(composed, overlay(film, cells, finding), rtol=0, atol=0.5 + 0.31)


def test_a_layer_has_its_films_aspect_and_a_handy_size():
    cells = local((0, 6), FULL_AT)
    for shape in [(3000, 2500), (2500, 3000), (200, 160), (30, 1), (1, 5000)]:
        height, width = shape
        scale = LONG_SIDE_PX / max(shape)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        assert layer_of(cells, HALF, shape).shape == (*size, 4)


def test_a_layer_is_opaque_where_the_colour_is_full_and_clear_where_nothing_speaks_for_it():
    full = layer_of(np.full((7, 7), 2 * FULL_AT), HALF, (64, 64))
    assert (full[:, :, 3] == 255).all()
    weak, middle = (
        int(layer_of(np.full((7, 7), part * FULL_AT), HALF, (64, 64))[0, 0, 3])
        for part in (0.1, 0.5)
    )
    assert 0 < weak < middle < 255
    assert layer_of(np.full((7, 7), -0.01), HALF, (64, 64))[:, :, 3].max() == 0
    assert layer_of(local((3, 3), 15.0), replace(HALF, threshold=1.0), (64, 64))[..., 3].max() == 0


def test_the_legend_goes_from_the_weakest_colour_to_the_fullest():
    colours = legend_colours(5)
    assert len(colours) == 5
    assert len(legend_colours()) == 8
    blue, green, red, _ = layer_of(np.full((7, 7), FULL_AT), HALF, (64, 64))[0, 0]
    assert colours[-1] == f"#{red:02x}{green:02x}{blue:02x}"
    blue, green, red, _ = layer_of(np.full((7, 7), 1e-6), HALF, (64, 64))[0, 0]
    assert colours[0] == f"#{red:02x}{green:02x}{blue:02x}"
    lightness = [
        cv2.cvtColor(np.array([[tuple(bytes.fromhex(one[1:]))]], np.uint8), cv2.COLOR_RGB2LAB)[
            0, 0, 0
        ]
        for one in colours
    ]
    assert lightness == sorted(lightness)


def test_the_evidence_averages_to_the_films_log_odds():
    card = replace(tiny_card(), temperature=2.0)
    heatmaps = np.random.default_rng(0).normal(0, 3, (1, 7, 7)).astype(np.float32)
    logits = heatmaps.mean(axis=(1, 2)) - 0.7  # -0.7 is the bias
    (finding,) = interpret(logits, card)
    odds = finding.probability / (1 - finding.probability)
    assert evidence(logits, heatmaps, card).mean() == pytest.approx(np.log(odds), abs=1e-5)


def test_findings_that_exclude_each_other_are_weighed_against_each_other():
    card = exclusive_card()
    heatmaps = np.random.default_rng(0).normal(0, 3, (3, 7, 7)).astype(np.float32)
    logits = heatmaps.mean(axis=(1, 2))
    local_odds = evidence(logits, heatmaps, card)
    # A film that looks everywhere as it does in one cell.
    for finding in interpret(heatmaps[:, 2, 4], card):
        odds = np.log(finding.probability / (1 - finding.probability))
        assert local_odds[card.findings.index(finding.name), 2, 4] == pytest.approx(odds, abs=1e-4)
    # What speaks for all of them alike speaks for none.
    np.testing.assert_allclose(evidence(logits + 9, heatmaps + 9, card), local_odds, atol=1e-4)


def test_a_model_gives_heatmaps_whose_mean_and_bias_are_the_logit(drawing_model, tiny_model):
    films = np.random.default_rng(0).random((3, 1, 32, 32)).astype(np.float32)
    outputs = drawing_model.answer(films, heatmaps=True)
    logits, heatmaps = outputs.logits, outputs.heatmaps
    assert heatmaps.shape == (3, 1, 4, 4)
    np.testing.assert_allclose(heatmaps.mean((2, 3)) - 5, logits, atol=1e-3)
    np.testing.assert_array_equal(logits, drawing_model.infer(films))
    np.testing.assert_array_equal(logits, tiny_model.infer(films))
    assert drawing_model.sha256 == tiny_model.sha256


def test_heatmaps_that_are_not_asked_for_are_not_worked_out(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx")
    model = onnx.load(path)
    # Heatmaps that cannot be had: the 1000th film of a batch.
    index = onnx.numpy_helper.from_array(np.array([1000]), "index")
    model.graph.initializer.append(index)
    del model.graph.node[-1]
    model.graph.node.append(onnx.helper.make_node("Gather", ["radiographs", "index"], ["heatmaps"]))
    for dimension, size in zip(
        model.graph.output[1].type.tensor_type.shape.dim, (1, 1, 32, 32), strict=True
    ):
        dimension.dim_value = size
    onnx.save(model, path)
    film = np.full((1, 1, 32, 32), 0.7, np.float32)
    assert load_model(path, "cpu").infer(film) == pytest.approx(2.0, abs=1e-3)
    with pytest.raises(ModelError, match="indices element out of data bounds"):
        load_model(path, "cpu", heatmaps=True)


def test_each_way_of_loading_keeps_its_own_optimized_graph(tmp_path, tiny_model_path):
    for heatmaps in (False, True, False, True):
        model = load_model(tiny_model_path, "cpu", cache=tmp_path, heatmaps=heatmaps)
        assert model.gives_heatmaps == heatmaps
    assert len(list(tmp_path.glob("*.onnx"))) == 2


def test_a_model_that_has_none_says_so(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx")
    model = onnx.load(path)
    del model.graph.node[-1], model.graph.output[1]
    onnx.save(model, path)
    assert load_model(path, "cpu").infer(np.zeros((1, 1, 32, 32), np.float32)) == pytest.approx(-5)
    with pytest.raises(ModelError, match=r"m\.onnx gives no heatmaps"):
        load_model(path, "cpu", heatmaps=True)
    answer = draw(make_film(tmp_path / "film.png"), tmp_path / "pictures", path)
    assert answer.exit_code == 4
    assert "gives no heatmaps" in answer.stderr


def test_a_graph_without_heatmaps_is_the_rest_of_the_file_as_it_was(tiny_model_path):
    whole = onnx.load(tiny_model_path)
    rest = onnx.load_from_string(without_heatmaps(tiny_model_path.read_bytes()))
    onnx.checker.check_model(rest, full_check=True)
    del whole.graph.node[-1], whole.graph.output[1]
    assert rest == whole
    # Not again, and not of what is no model.
    assert without_heatmaps(rest.SerializeToString()) == rest.SerializeToString()
    for data in (b"", b"no model", b"\x3a\xff", b"\x3a\x02\x0a\x7f", b"\x3a\x02\x62\x00"):
        assert without_heatmaps(data) == data


@pytest.mark.parametrize(("height", "width"), [(300, 200), (200, 300), (64, 190), (4000, 3000)])
def test_a_picture_has_its_films_shape_and_a_strip_below(tmp_path, drawing_model, height, width):
    film = np.tile(np.linspace(0, 255, width, dtype=np.uint8), (height, 1))
    path = tmp_path / "film.png"
    path.write_bytes(cv2.imencode(".png", film)[1].tobytes())
    (drawn,) = predict_result(path, drawing_model, draw=True).overlays
    picture = cv2.imdecode(np.frombuffer(drawn.png, np.uint8), cv2.IMREAD_COLOR)
    scale = LONG_SIDE_PX / max(height, width)
    assert picture.shape[1] == round(width * scale)
    shown = round(height * scale)
    assert 60 < picture.shape[0] - shown < 120
    # The ramp gets brighter to the right up to its edge, and the strip has letters.
    grey = picture[:shown].mean(axis=(0, 2))
    assert grey[-1] > grey[0] + 60
    assert picture[shown:].max() > 200


def test_the_bright_side_of_a_film_is_what_the_tiny_model_goes_by(tmp_path, drawing_model):
    path = make_film(tmp_path / "film.png", brightness=100)  # bright at the left
    (drawn,) = predict_result(path, drawing_model, draw=True).overlays
    picture = cv2.imdecode(np.frombuffer(drawn.png, np.uint8), cv2.IMREAD_COLOR)
    colour = spread(picture[:LONG_SIDE_PX])
    assert colour[:, : LONG_SIDE_PX // 8].mean() > 20
    assert colour[:, LONG_SIDE_PX * 3 // 4 :].max() == 0


def test_every_positive_finding_is_drawn_or_else_the_most_probable_one(tmp_path):
    path = make_film(tmp_path / "film.png", brightness=200)
    model = load_model(
        write_tiny_model(tmp_path / "m.onnx", n_outputs=2, findings=("effusion", "nodule")),
        "cpu",
        heatmaps=True,
    )
    drawn = predict_result(path, model, draw=True).overlays
    assert {one.finding for one in drawn} == {"effusion", "nodule"}
    one_only = Terms({"effusion": 0.999, "nodule": 0.1})
    (drawn,) = predict_result(path, model, one_only, draw=True).overlays
    assert drawn.finding == "nodule"
    none = Terms(dict.fromkeys(model.card.findings, 0.9999))
    assert len(predict_result(path, model, none, draw=True).overlays) == 1
    assert predict_result(path, model).overlays == ()


def test_the_caption_says_where_a_person_has_to_decide(monkeypatch):
    said, line = [], heatmap._line

    def spy(text: str, width: int) -> np.ndarray:
        said.append(text)
        return line(text, width)

    monkeypatch.setattr(heatmap, "_line", spy)
    unsure = Finding("pneumonia", 0.6, 0.5, 0.4, 0.7)
    heatmap._captioned(np.zeros((640, 640, 3), np.uint8), unsure, "tiny 1")
    assert "pneumonia: unsure, score 60" in said


def test_no_finding_is_never_drawn(tmp_path):
    path = make_film(tmp_path / "film.png")
    card = exclusive_card()
    model_path = write_tiny_model(tmp_path / "m.onnx", card.to_json(), n_outputs=3)
    model = load_model(model_path, "cpu", heatmaps=True)
    terms = Terms(dict.fromkeys(card.findings, 0.9))
    result = predict_result(path, model, terms, draw=True)
    assert not result.findings[0].positive
    (drawn,) = result.overlays
    assert drawn.finding in card.findings[1:]


def test_predict_draws_a_picture_per_film_it_read(tmp_path, tiny_model_path):
    films, pictures = tmp_path / "Röntgen 1", tmp_path / "neu" / "Bilder ä"
    for name in ("normal-1.jpg", "pneumonia-3.dcm", "pneumonia-5.png"):
        (films / "b").mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLES / name, films / f"Film ö {name}")
    make_film(films / "b" / "Film ö normal-1.jpg")  # another film of the same name
    flat = np.full((300, 300), 90, np.uint8)
    (films / "blank.png").write_bytes(cv2.imencode(".png", flat)[1].tobytes())
    (films / "torn.jpg").write_bytes((SAMPLES / "normal-1.jpg").read_bytes()[:4000])
    table = tmp_path / "out.csv"
    answer = draw(films, pictures, tiny_model_path, "--csv", str(table))
    assert answer.exit_code == 3, answer.output
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    assert len(rows) == 6
    expected = {
        f"{Path(row['file']).stem}-{row['sha256'][:8]}-pneumonia.png"
        for row in rows
        if row["status"] == "ok"
    }
    assert len(expected) == 4
    assert {path.name for path in pictures.iterdir()} == expected
    for path in pictures.iterdir():
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        assert max(picture.shape) >= LONG_SIDE_PX
    # Again: the same pictures, not more.
    assert draw(films, pictures, tiny_model_path).exit_code == 3
    assert {path.name for path in pictures.iterdir()} == expected


@pytest.mark.parametrize(
    ("read", "inside"),
    [(".", "."), (".", "a/b"), ("*.png", "."), ("*", "."), ("**/*.png", "a"), ("a/../*", ".")],
)
def test_a_folder_that_is_read_takes_no_pictures(tmp_path, tiny_model_path, read, inside):
    films = tmp_path / "films [1]" if "*" not in read else tmp_path / "films"
    make_film(films / "film.png")
    (films / "a").mkdir()
    answer = draw(films / read, films / inside, tiny_model_path)
    assert answer.exit_code == 6, answer.output
    assert "which is being read" in answer.stderr
    assert [path.name for path in films.rglob("*") if path.is_file()] == ["film.png"]


@pytest.mark.parametrize(
    ("read", "outside"),
    [("film.png", "."), ("*.png", "a"), ("*.dcm", "."), ("a", "."), ("a", "ab")],
)
def test_a_folder_beside_what_is_read_takes_them(tmp_path, tiny_model_path, read, outside):
    make_film(tmp_path / "film.png")
    shutil.copy(SAMPLES / "normal-3.dcm", tmp_path / "film.dcm")
    make_film(tmp_path / "a" / "film.png")
    answer = draw(tmp_path / read, tmp_path / outside, tiny_model_path)
    assert answer.exit_code in (0, 3), answer.output
    assert len(list((tmp_path / outside).glob("film-*-pneumonia.png"))) == 1


def test_pictures_that_cannot_be_written_are_an_error_of_the_results(tmp_path, tiny_model_path):
    film = make_film(tmp_path / "film.png")
    answer = draw(film, film / "pictures", tiny_model_path)
    assert answer.exit_code == 6
    assert "Heatmaps cannot be written to" in answer.stderr
    pictures = tmp_path / "pictures"
    assert draw(film, pictures, tiny_model_path).exit_code == 0
    (picture,) = pictures.iterdir()
    picture.unlink()
    picture.mkdir()  # something else has the picture's name
    table = tmp_path / "out.csv"
    answer = draw(film, pictures, tiny_model_path, "--csv", str(table))
    assert answer.exit_code == 6
    assert len(table.read_text().splitlines()) == 2  # the film's row is there all the same
    assert [path.name for path in pictures.iterdir()] == [picture.name]
