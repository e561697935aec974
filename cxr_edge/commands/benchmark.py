"""`cxr-edge benchmark`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import NOT_FOR_DIAGNOSIS, device_option, json_option, model_option

if TYPE_CHECKING:
    from ..benchmark import Benchmark

_STAGES = {
    "read_and_sha256_ms": "read the file, sha256",
    "decode_ms": "decode",
    "prepare_ms": "prepare",
    "network_ms": "network",
    "interpret_ms": "interpret",
    "heatmap_ms": "heatmaps, on top",
}


@click.command(
    epilog="""\b
Examples:
  cxr-edge benchmark
  cxr-edge benchmark scans/ --model pneumonia-children-resnet18 --json

\b
Exit codes:
  0  measured
  2  wrong usage
  3  a FILM was refused or could not be read
  4  the model file cannot be used
  5  the requested device cannot be had
"""
)
@click.argument("films", nargs=-1, type=click.Path(path_type=Path))
@click.option("--heatmap", is_flag=True, help="Also time the heatmaps.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="How long each measurement goes on.",
)
@json_option
@device_option
@model_option
def command(
    films: tuple[Path, ...],
    heatmap: bool,
    seconds: float,
    as_json: bool,
    device: Any,
    model: str | None,
) -> None:
    """Measure how fast this PC reads films, and which model suits it.

    FILM: files, folders or patterns; without one a 5-megapixel JPEG is made. It takes some seconds.
    """
    import tempfile

    from ..benchmark import benchmark, made_film, to_json
    from ..reading import expand
    from ..store import Store, user_models_folder

    store = Store(user_models_folder())
    chosen = store.find(model)
    others = [entry.path for entry in store.entries() if entry.path != chosen.path]
    with tempfile.TemporaryDirectory() as folder:
        result = benchmark(
            expand(films) or [made_film(Path(folder))],
            chosen.path,
            others,
            device,
            heatmap,
            seconds,
            say=lambda text: click.echo(text, err=True),
        )
    click.echo(to_json(result) if as_json else "\n".join(_table(result)))
    click.echo(NOT_FOR_DIAGNOSIS, err=True)


def _table(result: "Benchmark") -> Iterator[str]:
    yield f"{result.cpu}, {result.n_workers} cores, {result.provider}"
    yield f"{result.model}; {result.films}"
    yield ""
    yield f"{'stage':24} ms per film, one core"
    for name, shown in _STAGES.items():
        value = getattr(result.stages, name)
        if value is not None:
            yield f"{shown:24} {value:6.2f}"
    yield f"{'all':24} {result.stages.all_ms:6.2f}"
    yield ""
    yield (
        f"films per second: {result.one_worker_films_per_s:.0f} with one worker, "
        f"{result.all_workers_films_per_s:.0f} with {result.n_workers}"
    )
    yield ""
    width = max(len("model"), *(len(speed.name) for speed in result.models))
    yield f"{'model':{width}}  precision  network ms  golden vectors"
    for speed in result.models:
        time = "-" if speed.fault else f"{speed.network_ms:.2f}"
        yield (f"{speed.name:{width}}  {speed.precision:9}  {time:>10}  {speed.fault or 'hold'}")
    yield ""
    yield f"Recommended here: {result.recommended or 'none'}"
    yield from result.reasons
