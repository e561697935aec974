"""What a site is compared with: every film counted once, in the bin that the site's would be in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from cxr_edge.bins import deciles, score_counts
from cxr_edge.model import Model
from cxr_edge.model_card import N_DISTANCE_BINS, N_SCORE_BINS, NO_FINDING, READABLE, Gate
from cxr_edge.reading import predict_result
from export.errors import ExportError
from export.gate.attach import with_gate
from export.gate.reference import reference_of
from export.model_writer import write_model
from tests.small_gate import MAPS, card_of, fp32_of, some_head, some_whitening, write_film
from train.data.films import Film

N_FILMS = 12
OPEN = Gate((READABLE, "inverted", "lateral", "rotated_90"), 0.0, ((0.0,) * 24,), 1e9, "", ())


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Film, ...]:
    """The finding is on every third."""
    folder = tmp_path_factory.mktemp("films")
    paths = [write_film(folder / f"{i}.png", i % 3 == 0, i) for i in range(N_FILMS)]
    return tuple(
        Film(path, NO_FINDING if i % 3 else "pneumonia", str(i), f"a/{i}", "")
        for i, path in enumerate(paths)
    )


def model_with(gate: Gate | None, folder: Path) -> Model:
    network = fp32_of("resnet18")
    if gate is not None:
        head = some_head(sum(n for n, _ in MAPS["resnet18"]), len(gate.conditions))
        network = with_gate(network, head, some_whitening(), 3)
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    # What has learned nothing is unsure of everything, but for a low temperature.
    return write_model(copy, replace(card_of(temperature=0.1), gate=gate), folder / "model.onnx")


def test_every_film_is_counted_once_where_its_own_answer_lies(
    films: tuple[Film, ...], tmp_path: Path
) -> None:
    model = model_with(OPEN, tmp_path)
    reference = reference_of(model, films, "made films")
    assert (reference.measured_on, reference.n_films, reference.n_refused) == (
        *("made films", N_FILMS, 0),
    )
    (scores,) = reference.scores
    assert scores.finding == "pneumonia"
    assert (sum(scores.present), sum(scores.absent)) == (4, 8)
    expected = np.zeros((2, N_SCORE_BINS), int)
    far = []
    for film in films:
        result = predict_result(film.path, model)
        (finding,) = result.findings
        place = min(int(finding.probability * N_SCORE_BINS), N_SCORE_BINS - 1)
        expected[int(film.label == NO_FINDING), place] += 1
        far.append(result.distance)
    assert (scores.present, scores.absent) == tuple(map(tuple, expected.tolist()))
    assert sum(n > 0 for n in np.add(scores.present, scores.absent)) > 2
    assert sum(reference.distances) == N_FILMS
    assert sum(d < reference.distance_edges[4] for d in far) == sum(reference.distances[:5])


def test_refused_films_are_counted_as_such_and_unreadable_ones_not_at_all(
    films: tuple[Film, ...], tmp_path: Path
) -> None:
    lenient = model_with(OPEN, tmp_path)
    far = [predict_result(film.path, lenient).distance for film in films]
    strict = replace(OPEN, max_distance=sorted(far)[-3])  # the two farthest are refused
    broken = tmp_path / "broken.png"
    broken.write_bytes(films[0].path.read_bytes()[:200])
    all_films = (*films, replace(films[0], path=broken))
    reference = reference_of(model_with(strict, tmp_path), all_films, "made films")
    assert (reference.n_films, reference.n_refused) == (N_FILMS, 2)
    assert sum(reference.scores[0].present + reference.scores[0].absent) == N_FILMS - 2
    assert sum(reference.distances) == N_FILMS - 2


def test_without_a_gate_there_are_scores_and_no_distances(
    films: tuple[Film, ...], tmp_path: Path
) -> None:
    reference = reference_of(model_with(None, tmp_path), films, "made films")
    assert sum(reference.scores[0].present + reference.scores[0].absent) == N_FILMS
    assert (reference.distance_edges, reference.distances) == ((), ())


def test_a_model_that_refuses_all_films_is_named(films: tuple[Film, ...], tmp_path: Path) -> None:
    strict = replace(OPEN, max_distance=0.01)
    with pytest.raises(ExportError, match=r"answers none of 12 test films \(12 are refused\)"):
        reference_of(model_with(strict, tmp_path), films, "made films")


def test_a_probability_at_an_edge_belongs_to_the_bin_that_begins_there() -> None:
    edges = np.arange(N_SCORE_BINS + 1) / N_SCORE_BINS
    assert score_counts(edges) == (*[1] * (N_SCORE_BINS - 1), 2)  # 1 is in the last
    assert score_counts(np.array([0.0, 0.05, 0.0499, 0.95, 0.9499, 1.0])) == (
        *(2, 1, *[0] * (N_SCORE_BINS - 4), 1, 2),
    )
    assert score_counts(np.empty(0)) == (0,) * N_SCORE_BINS


@pytest.mark.parametrize("n_films", [1, 7, 10, 95, 1000])
def test_deciles_part_the_films_into_ten_as_equal_as_can_be(n_films: int) -> None:
    distance = np.random.default_rng(n_films).gamma(4, 0.3, n_films)
    edges, counts = deciles(distance)
    assert (len(edges), len(counts), sum(counts)) == (
        *(N_DISTANCE_BINS - 1, N_DISTANCE_BINS, n_films),
    )
    assert list(edges) == sorted(edges)
    if n_films >= N_DISTANCE_BINS:
        assert max(counts) - min(counts) <= 1
    # As the ledger counts a site's films by the edges of the card: each belongs to the next bin.
    assert counts == tuple(
        int(np.sum((low <= distance) & (distance < high)))
        for low, high in zip((-np.inf, *edges), (*edges, np.inf), strict=True)
    )


def test_films_at_a_decile_are_in_the_bin_that_the_card_says_they_are_in() -> None:
    """Edges have five decimals in a card."""
    distance = 1 + np.arange(11) / 3e5  # each edge is a film's own distance, rounded
    edges, counts = deciles(distance)
    assert counts == tuple(np.bincount(np.digitize(distance, edges), minlength=10).tolist())
