"""A network, its card and its golden vectors become a model file, which is loaded at once."""

from collections.abc import Sequence
from pathlib import Path

import onnx

from cxr_edge.golden import GOLDEN_KEY, golden_grey, make_golden, to_text
from cxr_edge.model import Model, load_model
from cxr_edge.model_card import (
    METADATA_KEY,
    SCHEMA_VERSION,
    ModelCard,
    OperatingPoint,
    TrainingData,
)
from cxr_edge.radiograph import read_radiograph
from train.data.films import digest_of
from train.data.split import TRAIN

from .card_text import CardText
from .convert import INPUT_NAME, OUTPUT_NAME
from .quantize import open_network
from .run import Run

# Made films, so that no patient is inside a model file.
_GOLDEN_FILMS = [
    Path(__file__).parents[1] / "samples" / name for name in ("normal-1.jpg", "pneumonia-1.jpg")
]


def make_card(
    run: Run,
    text: CardText,
    temperature: float,
    points: Sequence[OperatingPoint],
) -> ModelCard:
    """The card of a run's fp32 model, without test figures."""
    trained_on = run.split[TRAIN]
    return ModelCard(
        schema_version=SCHEMA_VERSION,
        name=text.name,
        version=text.version,
        findings=run.checkpoint.findings,
        activation=run.checkpoint.activation,
        temperature=temperature,
        input=run.config.input,
        operating_points=tuple(points),
        training_data=TrainingData(
            name=text.training_data.name,
            digest=digest_of(trained_on),
            n_films=len(trained_on),
            n_patients=len({film.group for film in trained_on}),
            licence=text.training_data.licence,
            attribution=text.training_data.attribution,
        ),
        recipe=run.recipe,
        quantization={},
        precision="fp32",
        twin_sha256="",
        figures=(),
        intended_use=text.intended_use,
        age_range_years=text.age_range_years,
        views=text.views,
        licence=text.licence,
        gate=None,
        unsure=(),
        reference=None,
    )


def write_model(model: onnx.ModelProto, card: ModelCard, path: Path) -> Model:
    """Write the model with its card and its golden vectors, and load it as a user would."""
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=card.to_json())
    session = open_network(model)
    golden = make_golden(
        lambda x: session.run([OUTPUT_NAME], {INPUT_NAME: x})[0],
        card.input,
        [golden_grey(read_radiograph(film), card.input) for film in _GOLDEN_FILMS],
    )
    model.metadata_props.add(key=GOLDEN_KEY, value=to_text(golden))
    path.write_bytes(model.SerializeToString(deterministic=True))
    return load_model(path, "cpu")
