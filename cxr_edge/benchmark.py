"""How fast this PC reads films, stage by stage, and which model suits it."""

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from .cpu import cpu_name
from .errors import CxrEdgeError, RadiographError
from .golden import holds
from .model import Device, Model, load_model, open_model
from .model_card import INT8
from .model_file import read_model_file, twin_path
from .preprocess import min_side_px, prepare
from .radiograph import decode_radiograph, open_radiograph
from .reading import answer_by, n_cores, read_results
from .refusals import ACCEPTABLE, Refusals
from .terms import STANDARD_TERMS

MADE_SHAPE = (2000, 2500)
_Thing = TypeVar("_Thing")


@dataclass(frozen=True)
class Stages:
    """Milliseconds of one film in each stage, on one core; medians.

    heatmap_ms: what the heatmaps add to the network; None where they were not asked for.
    """

    read_and_sha256_ms: float
    decode_ms: float
    prepare_ms: float
    network_ms: float
    interpret_ms: float
    heatmap_ms: float | None

    @property
    def all_ms(self) -> float:
        return float(sum(value for value in asdict(self).values() if value is not None))


@dataclass(frozen=True)
class ModelSpeed:
    """One model on this PC. twin_of: the name of the model whose fp32 twin it is, or "".

    network_ms: of one film on one core. fault: why it cannot be used here, or "".
    """

    name: str
    label: str
    precision: str
    findings: tuple[str, ...]
    twin_of: str
    provider: str
    network_ms: float
    fault: str


@dataclass(frozen=True)
class Benchmark:
    """What `cxr-edge benchmark` says. recommended: a model's name, "" where none can be used."""

    cpu: str
    n_workers: int
    model: str
    model_sha256: str
    provider: str
    films: str
    stages: Stages
    one_worker_films_per_s: float
    all_workers_films_per_s: float
    models: tuple[ModelSpeed, ...]
    recommended: str
    reasons: tuple[str, ...]


def benchmark(
    films: Sequence[Path],
    model_path: Path,
    others: Sequence[Path],
    device: Device = "auto",
    with_heatmap: bool = False,
    seconds: float = 1.0,
    say: Callable[[str], None] = lambda _: None,
) -> Benchmark:
    """Measure the films' way with one model, and the networks of it and of `others`.

    seconds: how long each measurement goes on, and half of it for each model's network. say: is
    told what is being measured.
    Raises RadiographError, with the film's name, where one cannot be read or judged; ModelError,
    DeviceError where the model cannot be used.
    """
    n_workers = n_cores()
    model = load_model(model_path, device, threads=1)
    say(f"Timing the stages of {model.card.label} ...")
    # Without its heatmaps a model does not work them out: what they add needs one with them.
    drawing = load_model(model_path, device, threads=1, heatmaps=True) if with_heatmap else None
    stages = time_stages(films, model, drawing, seconds)
    say("Counting films per second with one worker ...")
    one = films_per_second(films, model, 1, seconds)
    say(f"Counting films per second with {n_workers} ...")
    every = films_per_second(films, model, n_workers, seconds)
    say("Comparing the models ...")
    models = compare([model_path, *others], device, seconds / 2)
    recommended, reasons = recommend(models, model.card.findings)
    return Benchmark(
        cpu=cpu_name(),
        n_workers=n_workers,
        model=model.card.label,
        model_sha256=model.sha256,
        provider=model.provider,
        films=describe(films),
        stages=stages,
        one_worker_films_per_s=one,
        all_workers_films_per_s=every,
        models=models,
        recommended=recommended,
        reasons=reasons,
    )


def made_film(folder: Path) -> Path:
    """A 5-megapixel JPEG with the shapes and the grain of a chest film, of half a megabyte.

    Its 0.8 bits per pixel, which its time goes with, are those of films as hospitals export them
    (benchmarks/films.py).
    """
    y, x = np.mgrid[-1:1:400j, -1:1:500j]
    lungs = np.exp(-8 * ((x - 0.45) ** 2 + 0.4 * y**2))
    lungs += 0.8 * np.exp(-10 * ((x + 0.5) ** 2 + 0.5 * (y - 0.1) ** 2))
    chest = 0.4 + 0.3 * np.exp(-3 * x**2) + 0.1 * y - 0.5 * lungs
    chest = 20 + 200 * (chest - chest.min()) / np.ptp(chest)
    rng = np.random.default_rng(0)
    chest += rng.normal(0, 2, chest.shape)
    film = cv2.resize(chest.astype(np.float32), MADE_SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    film += rng.normal(0, 1.7, MADE_SHAPE).astype(np.float32)
    pixels = np.clip(film, 0, 255).astype(np.uint8)
    path = folder / "film.jpg"
    path.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return path


def time_stages(
    films: Sequence[Path], model: Model, drawing: Model | None = None, seconds: float = 1.0
) -> Stages:
    """The medians over the films, read one after the other for so long, each at least once."""
    for film in films:
        _one_film(film, model, drawing)  # warms up, and finds the films that cannot be read
    times = [_one_film(film, model, drawing) for film in _for_seconds(films, seconds)]
    read, decode, prepared, network, interpreted, heatmap = (
        1000 * statistics.median(stage) for stage in zip(*times, strict=True)
    )
    return Stages(
        read, decode, prepared, network, interpreted, max(0.0, heatmap) if drawing else None
    )


def films_per_second(
    films: Sequence[Path], model: Model, n_workers: int, seconds: float = 1.0
) -> float:
    """How many films a second `read_results` gives with so many workers."""
    for _ in read_results(films, model, STANDARD_TERMS, n_workers):
        pass
    started = time.perf_counter()
    n_films = sum(
        1 for _ in read_results(_for_seconds(films, seconds), model, STANDARD_TERMS, n_workers)
    )
    return n_films / (time.perf_counter() - started)


def compare(paths: Sequence[Path], device: Device, seconds: float = 1.0) -> tuple[ModelSpeed, ...]:
    """The speed of each model's network, and of the fp32 twin beside it; they take turns.

    One that cannot be loaded here, or any of whose golden vectors does not hold, has a fault.
    """
    twin_of: dict[Path, str] = {}
    for path in paths:
        twin_of.setdefault(path, "")
        if twin_path(path).exists():
            twin_of[twin_path(path)] = path.stem
    speeds = {path: _unmeasured(path, name, device) for path, name in twin_of.items()}
    times: dict[Path, list[float]] = {path: [] for path, (model, _) in speeds.items() if model}
    for path in _for_seconds(list(times), seconds * len(times)):
        model = speeds[path][0]
        assert model is not None
        spec = model.card.input
        film = np.zeros((1, spec.channels, spec.height_px, spec.width_px), np.float32)
        started = time.perf_counter()
        model.infer(film)
        times[path].append(time.perf_counter() - started)
    return tuple(
        replace(speed, network_ms=1000 * statistics.median(times[path])) if model else speed
        for path, (model, speed) in speeds.items()
    )


def recommend(models: Sequence[ModelSpeed], findings: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The name of the fastest usable model that tells these findings apart, and why it is that.

    "" where there is none. Among the reasons: int8 that is not faster than its fp32 twin here.
    """
    usable = [m for m in models if not m.fault and set(m.findings) == set(findings)]
    reasons = []
    names = {m.name: m for m in models if not m.fault}
    for twin in usable:
        quantized = names.get(twin.twin_of)
        if quantized and quantized.precision == INT8 and quantized.network_ms >= twin.network_ms:
            reasons.append(
                f"{quantized.name} in int8 is not faster here than in fp32 "
                f"({quantized.network_ms:.1f} ms against {twin.network_ms:.1f} ms)."
            )
    if not usable:
        return "", (f"No model for {', '.join(findings)} can be used here.",)
    best = min(usable, key=lambda m: m.network_ms)
    among = f"of {len(usable)} models" if len(usable) > 1 else "and the only model"
    reasons.insert(
        0,
        f"The fastest {among} for {', '.join(findings)} whose golden vectors hold here: "
        f"{best.network_ms:.1f} ms per film in the network.",
    )
    return best.name, tuple(reasons)


def describe(films: Sequence[Path]) -> str:
    """Such as "3 films of 0.4 MB" (the median)."""
    size = statistics.median(film.stat().st_size for film in films) / 1e6
    return f"{len(films)} film{'s' if len(films) > 1 else ''} of {size:.1f} MB"


def to_json(result: Benchmark) -> str:
    return json.dumps(asdict(result), indent=1, ensure_ascii=False)


def _one_film(film: Path, model: Model, drawing: Model | None) -> tuple[float, ...]:
    """Seconds of each stage; as reading.predict, with a clock between the lines."""
    clock = [time.perf_counter()]

    def tick() -> None:
        clock.append(time.perf_counter())

    try:
        file = open_radiograph(film)
        tick()
        radiograph = decode_radiograph(file, min_side_px(model.card.input))
        tick()
        inputs = prepare(radiograph, model.card.input)
        tick()
    except RadiographError as exc:
        raise type(exc)(exc.code, f"{film}: {exc.message}", exc.next_step) from exc
    outputs = model.answer(inputs)
    tick()
    # What the model makes of the film does not matter here.
    answer_by(outputs, model.card, STANDARD_TERMS, Refusals(ACCEPTABLE))
    tick()
    stages = [end - start for start, end in itertools.pairwise(clock)]
    heatmap_s = 0.0
    if drawing:
        started = time.perf_counter()
        drawing.answer(inputs, heatmaps=True)
        heatmap_s = time.perf_counter() - started - stages[3]
    return (*stages, heatmap_s)


def _for_seconds(things: Sequence[_Thing], seconds: float) -> Iterator[_Thing]:
    """All things in turn, again and again until the time is over, each as often as the others."""
    end = time.perf_counter() + seconds
    while True:
        yield from things
        if time.perf_counter() > end:
            return


def _unmeasured(path: Path, twin_of: str, device: Device) -> tuple[Model | None, ModelSpeed]:
    """The model, or None where it must not be used here, and what is known before it is timed."""
    speed = ModelSpeed(path.stem, "", "", (), twin_of, "", 0.0, "")
    try:
        file = read_model_file(path)
        card = file.card
        speed = replace(speed, label=card.label, precision=card.precision, findings=card.findings)
        model = open_model(file, device, threads=1)
        speed = replace(speed, provider=model.provider)
        drift = model.drift()
    except CxrEdgeError as exc:
        return None, replace(speed, fault=str(exc))
    if not holds(drift):
        return None, replace(speed, fault=f"it drifts by {drift:.2f} on this machine")
    return model, speed
