"""Golden vectors: what they hold, what they measure, and that nothing else is taken for them."""

import base64
import json
import struct

import numpy as np
import pytest

from cxr_edge.errors import ModelError
from cxr_edge.golden import (
    MAX_DRIFT,
    GoldenVector,
    drift,
    from_text,
    golden_grey,
    holds,
    make_golden,
    to_text,
)
from cxr_edge.preprocess import prepare
from tests.made import SPEC, decode, encode, film
from tests.tiny_model import golden_text, tiny_card

RAMP = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))


def infer(inputs):
    """A network with one logit: ten times the mean."""
    return 10 * inputs.mean(axis=(1, 2, 3))[:, None]


def test_text_round_trip_keeps_every_pixel_and_logit() -> None:
    (vector,) = from_text(to_text([GoldenVector(RAMP, (1.25, -3.5))]))
    np.testing.assert_array_equal(vector.grey, RAMP)
    assert vector.logits == (1.25, -3.5)


def test_only_so_many_as_are_asked_for_are_decoded() -> None:
    right, damaged = json.loads(golden_text())[0], {"png": "AAAA", "logits": [1.0]}
    text = json.dumps([right, damaged])
    (vector,) = from_text(text, 1)
    assert vector.logits == tuple(right["logits"])
    with pytest.raises(ModelError, match="golden vectors cannot be used"):
        from_text(text)


def test_a_network_that_says_the_same_does_not_drift() -> None:
    vectors = from_text(to_text(make_golden(infer, tiny_card().input, [RAMP, RAMP[::-1]])))
    assert drift(infer, tiny_card(), vectors) == pytest.approx(0, abs=1e-5)


def test_drift_is_the_largest_difference_of_any_logit_over_the_temperature() -> None:
    from dataclasses import replace

    right = float(infer(RAMP[None, None].astype(np.float32) / 255)[0, 0])
    vectors = [GoldenVector(RAMP, (right + 0.1,)), GoldenVector(RAMP, (right - 0.6,))]
    assert drift(infer, tiny_card(), vectors) == pytest.approx(0.6, abs=1e-4)
    assert drift(infer, replace(tiny_card(), temperature=2.0), vectors) == pytest.approx(0.3, 1e-3)


@pytest.mark.parametrize(
    ("drifted", "may_be_used"),
    [(0.0, True), (MAX_DRIFT, True), (MAX_DRIFT + 1e-3, False), (float("nan"), False)],
)
def test_a_model_that_drifts_too_far_or_gives_no_number_is_not_used(drifted, may_be_used) -> None:
    assert holds(drifted) is may_be_used


def test_a_golden_film_is_what_prepare_makes_of_a_film_in_256_grey_levels() -> None:
    radiograph = decode(encode(film(), "PNG"))
    grey = golden_grey(radiograph, SPEC)
    assert (grey.shape, grey.dtype) == ((32, 32), np.uint8)
    fed = []
    make_golden(lambda x: fed.append(x) or np.zeros((1, 1)), SPEC, [grey])
    # Half a grey level, on the network's scale.
    np.testing.assert_allclose(
        fed[0], prepare(radiograph, SPEC), atol=0.5 / 255 / min(SPEC.std) + 1e-6
    )


def png_header(width: int, height: int) -> str:
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[1]",
        "[" * 200_000,
        '[{"png": "AAAA", "logits": [1]}]',
        '[{"png": "?", "logits": [1]}]',
        json.dumps([{"png": png_header(32, 32), "logits": [1]}]),
        json.dumps([{"png": png_header(100_000, 100_000), "logits": [1]}]),
        golden_text().replace('"logits": [', '"logits": [NaN, '),
        golden_text().replace('"logits"', '"answers"'),
    ],
    ids=[
        "empty",
        "none",
        "object",
        "number",
        "deep",
        "cut",
        "no base64",
        "header only",
        "huge",
        "nan",
        "key",
    ],
)
def test_what_is_no_golden_vector_is_an_error_with_a_next_step(text) -> None:
    with pytest.raises(ModelError, match="golden vectors cannot be used") as info:
        from_text(text)
    assert info.value.next_step
    assert len(info.value.message) < 300


@pytest.mark.parametrize(
    "vector", [GoldenVector(RAMP[:16], (0.0,)), GoldenVector(RAMP, (0.0, 0.0))]
)
def test_vectors_of_another_size_or_for_other_findings_do_not_fit(vector) -> None:
    with pytest.raises(ModelError, match="do not fit"):
        drift(infer, tiny_card(), [vector])
