"""The model card: what is missing, unknown or of the wrong type stops the program and is named."""

import copy
import json
import re
from typing import Any

import pytest
from made import SPEC

from cxr_edge.errors import ModelError
from cxr_edge.model_card import (
    SCHEMA_VERSION,
    Figure,
    FindingScores,
    Gate,
    ModelCard,
    OperatingPoint,
    Reference,
    TrainingData,
    UnsureBand,
)

CARD = ModelCard(
    schema_version=SCHEMA_VERSION,
    name="two-findings",
    version="1.0",
    findings=("pneumonia", "tuberculosis"),
    activation="sigmoid",
    temperature=1.25,
    input=SPEC,
    operating_points=(
        OperatingPoint("pneumonia", 0.4, 0.95, 0.9, "validation", "sensitivity >= 0.95"),
        OperatingPoint("tuberculosis", 0.6, 0.9, 0.7, "validation", "Youden"),
    ),
    training_data=TrainingData("made films", "0" * 64, 100, 90, "CC BY 4.0", "Müller et al."),
    recipe={"optimiser": "AdamW"},
    quantization={"format": "QDQ", "weights": "int8"},
    precision="int8",
    twin_sha256="a" * 64,
    figures=(Figure("AUROC", 0.97, 0.95, 0.99, 624, "test"),),
    intended_use="Tests.",
    age_range_years=(1.0, 5.5),
    views=("PA", "AP"),
    gate=Gate(("readable", "lateral"), 0.5, ((0.0, 1.0),), 3.0, "validation", ()),
    unsure=(UnsureBand("pneumonia", 0.3, 0.5, 0.95, 40, 60, "validation"),),
    reference=Reference(
        "validation",
        100,
        3,
        (FindingScores("pneumonia", (0,) * 19 + (40,), (60,) + (0,) * 19),),
        tuple(k / 10 for k in range(1, 10)),
        (10,) * 10,
    ),
    licence="MIT",
)
DATA: dict[str, Any] = json.loads(CARD.to_json())
GONE = object()
MAY_BE_NULL = ("gate", "reference")


def changed(path: str, value: Any) -> str:
    """The card's JSON with the fact at `path` (keys and indices joined by dots) replaced."""
    data = copy.deepcopy(DATA)
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place: Any = data
    for key in parents:
        place = place[key]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return json.dumps(data)


def test_json_round_trip() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD
    assert "Müller" in CARD.to_json()


def test_label_is_name_and_version() -> None:
    assert CARD.label == "two-findings 1.0"


def test_whole_number_will_do_for_a_float() -> None:
    card = ModelCard.from_json(changed("temperature", 2))
    assert card.temperature == 2.0
    assert isinstance(card.temperature, float)


def test_nothing_need_have_been_quantized_or_measured() -> None:
    assert ModelCard.from_json(changed("quantization", {})).quantization == {}
    assert ModelCard.from_json(changed("figures", [])).figures == ()


def paths_of(data: Any, prefix: str = "") -> list[str]:
    """Every key of the card, down to the facts."""
    if isinstance(data, dict):
        items: Any = data.items()
    elif isinstance(data, list):
        items = enumerate(data)
    else:
        return []
    return [
        path
        for key, value in items
        for path in (f"{prefix}{key}", *paths_of(value, f"{prefix}{key}."))
    ]


REQUIRED = [
    path
    for path in paths_of(DATA)
    if not path.split(".")[-1].isdigit() and not path.startswith(("recipe.", "quantization."))
]


@pytest.mark.parametrize("path", REQUIRED)
def test_missing_fact_is_named(path: str) -> None:
    with pytest.raises(ModelError, match=re.escape(path.split(".")[-1]).replace("_", "[_ ]")):
        ModelCard.from_json(changed(path, GONE))


@pytest.mark.parametrize("fact", MAY_BE_NULL)
def test_a_model_may_be_without_a_gate_and_a_reference(fact: str) -> None:
    assert getattr(ModelCard.from_json(changed(fact, None)), fact) is None


@pytest.mark.parametrize("path", [one for one in REQUIRED if one not in MAY_BE_NULL])
def test_null_is_no_fact(path: str) -> None:
    with pytest.raises(ModelError, match=re.escape(path.split(".")[-1]).replace("_", "[_ ]")):
        ModelCard.from_json(changed(path, None))


@pytest.mark.parametrize("place", ["", "input.", "operating_points.1.", "training_data."])
def test_unknown_fact_is_named(place: str) -> None:
    with pytest.raises(ModelError, match="unknown colour_space"):
        ModelCard.from_json(changed(f"{place}colour_space", "grey"))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("temperature", "1.5", "temperature should be float"),
        ("temperature", True, "temperature should be float"),
        ("temperature", float("nan"), "temperature should be float"),
        ("temperature", float("inf"), "temperature should be float"),
        ("temperature", 0, "temperature must be positive"),
        ("temperature", -1.0, "temperature must be positive"),
        ("input.width_px", True, "input.width_px should be int"),
        ("input.width_px", 32.0, "input.width_px should be int"),
        ("input.width_px", "32", "input.width_px should be int"),
        ("input.width_px", 0, "width_px"),
        ("input.channels", 1, "one number per channel"),
        ("input.mean", 0.5, "input.mean should be"),
        ("input.mean.1", "0.5", r"input.mean\[1\] should be float"),
        ("input.mean.1", float("nan"), r"input.mean\[1\] should be float"),
        ("input.std", [0.2, 0.2], "one number per channel"),
        ("input.std.0", 0, "std must be positive"),
        ("input.resize", "crop", "resize is 'crop'"),
        ("input.black_percentile", 99.9, "percentiles"),
        ("input.white_percentile", 101, "percentiles"),
        ("input", [], "input must be an object"),
        ("name", 7, "name should be str"),
        ("findings", "pneumonia", "findings should be"),
        ("findings", [], "findings"),
        ("findings", ["pneumonia", "pneumonia"], "findings"),
        ("findings.0", 1, r"findings\[0\] should be str"),
        ("findings", ["tuberculosis", "pneumonia"], "operating point"),
        ("operating_points", DATA["operating_points"][:1], "operating point"),
        ("operating_points", DATA["operating_points"][::-1], "operating point"),
        ("operating_points.1.threshold", 0, "threshold of tuberculosis"),
        ("operating_points.1.threshold", 1, "threshold of tuberculosis"),
        ("operating_points.1.threshold", 40, "threshold of tuberculosis"),
        ("operating_points.1.threshold", "0.5", r"operating_points\[1\].threshold"),
        ("operating_points.0", "pneumonia", r"operating_points\[0\] must be an object"),
        ("activation", "swish", "activation is .swish."),
        ("recipe", "AdamW", "recipe should be"),
        ("recipe.optimiser", 1, "recipe.optimiser should be str"),
        ("age_range_years", [1.0], "age_range_years should be"),
        ("age_range_years", [1.0, 2.0, 3.0], "age_range_years should be"),
        ("training_data.n_films", 10.5, "training_data.n_films should be int"),
        ("precision", "int4", "precision is .int4."),
        ("precision", "fp32", "twin_sha256 must be empty"),
        ("twin_sha256", "A" * 64, "twin_sha256 must be 64"),
        ("unsure.0.finding", "fracture", "unsure about nothing that the model judges"),
        ("unsure.0.low", 0.45, "unsure band of pneumonia must hold its threshold"),
        ("unsure.0.high", 0.35, "unsure band of pneumonia must hold its threshold"),
        ("unsure.0.high", 0.2, "unsure band of pneumonia must rise"),
        ("unsure.0.high", 1.1, "unsure band of pneumonia must rise"),
        ("unsure.0.coverage", 1.0, "coverage of pneumonia"),
        ("gate.conditions.0", "lateral", "gate's conditions must be 'readable'"),
        ("gate.min_readable", -0.1, "min_readable must lie"),
        ("gate.max_distance", 0, "max_distance must be positive"),
        ("gate.centres", [], "gate's centres"),
        ("gate.centres.0.1", "1", r"gate.centres\[0\]\[1\] should be float"),
        ("gate", [], "gate must be an object"),
        ("reference.n_refused", 101, "more films refused than there are"),
        ("reference.distances", [1] * 9, "distances must be 10 counts"),
        ("reference.scores.0.present", [1] * 19, "scores of pneumonia must be 20 counts"),
        ("reference.scores.0.absent.3", -1, "scores of pneumonia must be 20 counts"),
        ("twin_sha256", "a" * 63, "twin_sha256 must be 64"),
        pytest.param("figures.0.value", 10**400, r"figures\[0\].value", id="beyond floats"),
    ],
)
def test_bad_fact_is_named(path: str, value: Any, named: str) -> None:
    with pytest.raises(ModelError, match=named) as info:
        ModelCard.from_json(changed(path, value))
    assert info.value.next_step
    assert len(info.value.message) < 300


@pytest.mark.parametrize("version", [0, 1, 2, 4, "3", None, GONE, True, 3.0])
def test_only_the_schema_version_that_is_known_is_read(version: Any) -> None:
    with pytest.raises(ModelError, match=r"schema[_ ]version"):
        ModelCard.from_json(changed("schema_version", version))


@pytest.mark.parametrize(
    ("version", "next_step"), [(2, "Export the model again"), (4, "made for a newer cxr-edge")]
)
def test_the_next_step_tells_an_older_schema_from_a_newer(version: int, next_step: str) -> None:
    with pytest.raises(ModelError, match=next_step):
        ModelCard.from_json(changed("schema_version", version))


@pytest.mark.parametrize(
    "text",
    ["", "not JSON", "{", "[" * 200_000, CARD.to_json()[:-2], CARD.to_json() + "}"],
    ids=["empty", "text", "open", "deep", "cut short", "with more behind it"],
)
def test_what_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises(ModelError, match="not valid JSON"):
        ModelCard.from_json(text)


@pytest.mark.parametrize("text", ["[]", "null", "1", '"card"', f"[{CARD.to_json()}]"])
def test_what_is_no_object_is_an_error(text: str) -> None:
    with pytest.raises(ModelError):
        ModelCard.from_json(text)
