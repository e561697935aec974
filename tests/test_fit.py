"""Training learns, stops, and goes on after an interruption as if there had been none."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import train.learn.fit
from cxr_edge.model_card import NO_FINDING
from cxr_edge.preprocess import normalise
from train.config import Balance, Optimisation, Teaching, TrainConfig, Tuning, default_input_spec
from train.data.films import Film
from train.data.pixels import Films, cache_films, infer, to_input
from train.errors import TrainError
from train.learn.augment import NO_AUGMENTATION, Augmentation
from train.learn.checkpoint import write_atomically
from train.learn.fit import EpochReport, Helpers, fit, mean_auroc, running_mean
from train.networks import build, stages

SPEC = replace(default_input_spec(), width_px=32, height_px=32)
CONFIG = TrainConfig(
    network="resnet18",
    input=SPEC,
    augmentation=replace(NO_AUGMENTATION, flip=0.5, brightness=0.05, noise=0.02),
    balance=Balance(weighted_loss=True),
    optimisation=Optimisation(epochs=3, batch_size=8, learning_rate=1e-3, ema_decay=0.5),
)


def tuned(config: TrainConfig, **settings: float | str) -> TrainConfig:
    """The config with other settings of its optimisation."""
    return replace(config, optimisation=replace(config.optimisation, **settings))


# Learns too slowly for a test, and is quickly trained and saved where that does not matter.
SMALL = tuned(replace(CONFIG, network="mobilenet_v2"), batch_size=16)


def each(films: Sequence[Film], _title: str) -> Iterator[Film]:
    return iter(films)


def ignore(_report: EpochReport) -> None:
    pass


def fresh(config: TrainConfig, n_findings: int = 1) -> nn.Module:
    torch.manual_seed(config.optimisation.seed)
    return build(config.network, n_findings, config.input.channels)


def made_films(folder: Path) -> list[Film]:
    """24 films, dark on the whole with little bright (no finding), or the other way round."""
    rng = np.random.default_rng(0)
    films = []
    for i in range(24):
        label = ("NORMAL", "PNEUMONIA")[i % 2]
        part = 0.75 if i % 2 else 0.25
        pixels = rng.integers(0, 60, (40, 40))
        pixels[:, : round(40 * part)] += 180
        path = folder / label / f"person{i}_1.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", pixels.astype(np.uint8))[1].tobytes())
        finding = "pneumonia" if i % 2 else NO_FINDING
        films.append(Film(path, finding, f"person{i}", f"person{i}", f"{i}", "made", "", "", None))
    return films


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> tuple[Films, Films]:
    """16 films to train on and 8 to choose by, half of each with pneumonia."""
    films = made_films(tmp_path_factory.mktemp("films"))
    train_films = [film for i, film in enumerate(films) if i % 3]
    validation = films[::3]
    return (
        cache_films(train_films, ["pneumonia"], CONFIG.input, each, ""),
        cache_films(validation, ["pneumonia"], CONFIG.input, each, ""),
    )


def run(
    cached: tuple[Films, Films],
    config: TrainConfig,
    snapshot: Path,
    resume: bool = False,
    report: Callable[[EpochReport], None] = ignore,
    network: nn.Module | None = None,
    helpers: Helpers | None = None,
) -> dict[str, Tensor]:
    network = network or fresh(config, cached[0].labels.shape[1])
    return fit(network, *cached, config, snapshot, resume, report, helpers or Helpers())


@pytest.fixture
def snapshot(tmp_path: Path) -> Iterator[Path]:
    """Where a run writes its snapshot; taken away afterwards, as pytest keeps the folders."""
    path = tmp_path / "snapshot.pt"
    yield path
    path.unlink(missing_ok=True)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_films_are_cached_as_the_runtime_prepares_them(tmp_path: Path) -> None:
    films = made_films(tmp_path)
    titles = []

    def progress(films: Sequence[Film], title: str) -> Iterator[Film]:
        titles.append(title)
        return iter(films)

    cache = cache_films(films, ["pneumonia", "tuberculosis"], CONFIG.input, progress, "train")
    assert titles == ["train"]
    assert len(cache) == 24
    assert (cache.pixels.shape, cache.pixels.dtype) == ((24, 1, 32, 32), torch.uint8)
    # black_percentile and white_percentile became 0 and 255.
    assert cache.pixels.amin((1, 2, 3)).unique().tolist() == [0]
    assert cache.pixels.amax((1, 2, 3)).unique().tolist() == [255]
    assert cache.labels.dtype == torch.float32
    assert cache.labels.tolist() == [[float(f.label == "pneumonia"), 0.0] for f in films]
    assert cache.patients == tuple(film.group for film in films)


def test_films_that_cannot_be_used_are_all_named(tmp_path: Path) -> None:
    films = made_films(tmp_path)
    films[3].path.write_bytes(films[3].path.read_bytes()[:200])
    films[20].path.write_bytes(cv2.imencode(".png", np.full((40, 40), 7, np.uint8))[1].tobytes())
    with pytest.raises(TrainError) as raised:
        cache_films(films, ["pneumonia"], CONFIG.input, each, "")
    message = str(raised.value)
    assert "2 films cannot be used" in message
    assert f"{films[3].path}: corrupt" in message
    assert f"{films[20].path}: blank" in message


def test_a_few_epochs_learn_what_is_plain_to_see(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    reports: list[EpochReport] = []
    state = run(cached, CONFIG, snapshot, report=reports.append)
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert reports[-1].loss < reports[0].loss
    assert max(report.validation_auroc for report in reports) > 0.9
    network = fresh(CONFIG)
    network.load_state_dict(state)
    logits = infer(network, cached[1], CONFIG.input)
    assert logits.shape == (8, 1)
    assert mean_auroc(cached[1].labels.numpy() > 0.5, logits) > 0.9


def test_several_findings_are_learned_side_by_side(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    """The second is there wherever the first is not."""
    both = tuple(
        replace(films, labels=torch.cat([films.labels, 1 - films.labels], 1)) for films in cached
    )
    reports: list[EpochReport] = []
    run(both, CONFIG, snapshot, report=reports.append)
    assert max(report.validation_auroc for report in reports) > 0.9


def first(films: Films, n: int) -> Films:
    return Films(films.pixels[:n], films.labels[:n], films.patients[:n], films.sources[:n])


class Interrupted(Exception):
    pass


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    """To the bit, augmentation, dropout and the learning rate included."""
    config = replace(
        tuned(SMALL, batch_size=6), augmentation=Augmentation(), tuning=Tuning(frozen_stages=1)
    )
    reports: list[EpochReport] = []
    uninterrupted = run(cached, config, snapshot, report=reports.append)
    end = torch.load(snapshot, weights_only=True)["network"]
    snapshot.unlink()

    again: list[EpochReport] = []

    def interrupt(report: EpochReport) -> None:
        again.append(report)
        if report.epoch == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(cached, config, snapshot, report=interrupt)
    torch.manual_seed(12345)  # another process: nothing is left in memory
    resumed = run(cached, config, snapshot, resume=True, report=again.append)

    assert same(resumed, uninterrupted)
    assert [replace(r, duration_s=0) for r in again] == [replace(r, duration_s=0) for r in reports]
    # Whichever epoch was the best, the networks themselves end alike.
    assert same(torch.load(snapshot, weights_only=True)["network"], end)


def test_a_finished_run_resumed_gives_its_result_again(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    config = tuned(SMALL, epochs=1)
    state = run(cached, config, snapshot)
    reports: list[EpochReport] = []
    resumed = run(cached, config, snapshot, resume=True, report=reports.append)
    assert same(resumed, state)
    assert reports == []


def test_there_must_be_a_snapshot_to_resume(cached: tuple[Films, Films], snapshot: Path) -> None:
    with pytest.raises(TrainError, match=r"There is no snapshot .*snapshot\.pt"):
        run(cached, SMALL, snapshot, resume=True)


def test_a_run_is_not_resumed_with_other_options(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    config = tuned(SMALL, epochs=1)
    run(cached, config, snapshot)
    for other in (tuned(config, learning_rate=2e-3), replace(config, input=default_input_spec())):
        with pytest.raises(TrainError, match="belongs to another configuration"):
            run(cached, other, snapshot, resume=True)


def test_a_snapshot_older_than_a_setting_is_resumed(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    config = tuned(SMALL, epochs=1)
    state = run(cached, config, snapshot)
    saved = torch.load(snapshot, weights_only=True)
    settings = json.loads(saved["config"])
    del settings["augmentation"]["surround"]
    write_atomically({**saved, "config": json.dumps(settings)}, snapshot)
    assert same(run(cached, config, snapshot, resume=True), state)


@pytest.mark.parametrize("content", [[1], {"network": "resnet18", "state": {}}])
def test_another_file_is_not_taken_for_a_snapshot(
    cached: tuple[Films, Films], snapshot: Path, content: object
) -> None:
    write_atomically(content, snapshot)
    with pytest.raises(TrainError, match="belongs to another configuration"):
        run(cached, SMALL, snapshot, resume=True)


def fix_validation(monkeypatch: pytest.MonkeyPatch, figures: Sequence[float]) -> None:
    """Let the epochs have these validation figures, of the films as they are and augmented."""
    doubled = iter([figure for figure in figures for _ in range(2)])
    monkeypatch.setattr(train.learn.fit, "mean_auroc", lambda *_: next(doubled))


def test_training_stops_after_so_many_epochs_without_improvement(
    cached: tuple[Films, Films], snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_validation(monkeypatch, [0.7, 0.9, 0.8, 0.89, 0.95])
    averages: list[dict[str, Tensor]] = []
    reports: list[EpochReport] = []

    def report(epoch: EpochReport) -> None:
        reports.append(epoch)
        saved = torch.load(snapshot, weights_only=True)["average"]
        averages.append(
            {k.removeprefix("module."): v for k, v in saved.items() if k != "n_averaged"}
        )

    config = tuned(SMALL, epochs=6, patience=2)
    state = run(cached, config, snapshot, report=report)
    assert [report.best for report in reports] == [True, True, False, False]
    assert same(state, averages[1])  # the best epoch's weights, not the last one's
    assert not same(state, averages[3])
    # Resumed, it stays stopped.
    assert same(run(cached, config, snapshot, resume=True), state)


def test_an_improvement_in_time_goes_on(
    cached: tuple[Films, Films], snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_validation(monkeypatch, [0.7, 0.6, 0.8, 0.6])
    reports: list[EpochReport] = []
    config = tuned(SMALL, epochs=4, patience=2)
    run(cached, config, snapshot, report=reports.append)
    assert [report.best for report in reports] == [True, False, True, False]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_frozen_stages_keep_their_weights_and_statistics(
    cached: tuple[Films, Films], snapshot: Path, name: str
) -> None:
    config = tuned(replace(CONFIG, network=name, tuning=Tuning(frozen_stages=2)), epochs=1)
    network = fresh(config)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    frozen = ("conv1.", "bn1.", "layer1.")
    if name == "mobilenet_v2":
        frozen = ("features.0.", "features.1.")
    after = run(cached, config, snapshot, network=network)
    for key, tensor in after.items():
        assert torch.equal(tensor, before[key]) == key.startswith(frozen), key


def test_freezing_every_stage_leaves_the_head_to_train(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    network = fresh(SMALL)
    config = replace(
        tuned(SMALL, epochs=1, batch_size=6), tuning=Tuning(frozen_stages=len(stages(network)))
    )
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    after = run(cached, config, snapshot, network=network)
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed == {"classifier.1.weight", "classifier.1.bias"}


def test_the_result_is_the_running_mean_of_the_weights(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    """With decay 0 the mean is the network itself; with a slow one it lags behind."""
    ends = {}
    for decay in (0.0, 0.9):
        config = tuned(SMALL, epochs=1, batch_size=6, ema_decay=decay)
        mean = run(cached, config, snapshot)["classifier.1.weight"]
        ends[decay] = (mean, torch.load(snapshot)["network"]["classifier.1.weight"])
    assert torch.equal(*ends[0.0])
    assert torch.equal(ends[0.9][1], ends[0.0][1])
    assert not torch.equal(*ends[0.9])


def test_the_running_mean_of_a_short_run_has_left_its_start() -> None:
    """Of 100 steps of 1, after a start of 0: with a decay of 0.999 alone it would still be 0.1."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average = AveragedModel(layer, multi_avg_fn=running_mean(0.999))
    average.update_parameters(layer)
    nn.init.ones_(layer.weight)
    for _ in range(100):
        average.update_parameters(layer)
    assert average.module.weight.item() > 0.999

    # Once there were many steps, it is the decay asked for.
    average.n_averaged.fill_(100_000)
    nn.init.zeros_(layer.weight)
    before = average.module.weight.item()
    average.update_parameters(layer)
    assert average.module.weight.item() == pytest.approx(0.999 * before, rel=1e-6)


def test_a_last_batch_of_one_film_is_passed_over(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    """Batch norm has no variance of one value."""
    train_films, validation = cached
    nine = first(train_films, 9)
    config = tuned(CONFIG, epochs=1, learning_rate=1e-4)
    reports: list[EpochReport] = []
    run((nine, validation), config, snapshot, report=reports.append)
    assert np.isfinite(reports[0].loss)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_snapshot(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    nowhere = replace(cached[0], labels=cached[0].labels * float("nan"))
    write_atomically({"epoch": 1}, snapshot)
    with pytest.raises(TrainError, match="The loss of epoch 1 is no longer a number"):
        run((nowhere, cached[1]), replace(SMALL, balance=Balance()), snapshot)
    assert torch.load(snapshot) == {"epoch": 1}


def test_a_run_is_not_resumed_with_other_films(cached: tuple[Films, Films], snapshot: Path) -> None:
    config = tuned(SMALL, epochs=1)
    run(cached, config, snapshot)
    with pytest.raises(TrainError, match="was made with other films"):
        run((first(cached[0], 14), cached[1]), config, snapshot, resume=True)


def test_the_networks_input_is_what_the_runtime_feeds_it() -> None:
    grey = torch.rand(3, 1, 8, 8)
    spec = replace(SPEC, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1))
    assert np.array_equal(to_input(grey, spec).numpy(), normalise(grey[:, 0].numpy(), spec))


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle", "constant"])
def test_the_rate_follows_its_schedule(schedule: str) -> None:
    factor = train.learn.fit._schedule(
        Optimisation(epochs=10, schedule=schedule, warmup_epochs=1), 10
    )
    factors = [factor(step) for step in range(100)]
    peak = max(factors)
    assert peak == pytest.approx(1)
    top = factors.index(peak)
    assert top == {"cosine": 9, "one-cycle": 30, "constant": 9}[schedule]
    assert factors[:top] == sorted(factors[:top])
    assert factors[0] < 0.15
    if schedule == "constant":
        assert set(factors[top:]) == {1.0}
    else:
        assert factors[top:] == sorted(factors[top:], reverse=True)
        assert factors[-1] < 0.02


def test_a_batch_in_parts_is_one_step_over_all_its_films(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    """Without batch norm's statistics and chance the parts give what the whole gives."""
    config = replace(
        tuned(SMALL, epochs=2, batch_size=8, optimizer="sgd"),
        augmentation=NO_AUGMENTATION,
        network="small_cnn",
        tuning=Tuning(last_layers=0),
    )
    ends = []
    for parts in (1, 4):
        network = fresh(config)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        own = tuned(config, batch_parts=parts)
        ends.append(run(cached, own, snapshot, network=network))
    for name, tensor in ends[0].items():
        assert torch.allclose(tensor, ends[1][name], atol=1e-5), name


def test_small_epochs_are_not_kept(cached: tuple[Films, Films], snapshot: Path) -> None:
    reports: list[EpochReport] = []
    config = tuned(SMALL, epochs=3, small_epochs=2, small_px=32)
    config = replace(config, input=replace(SPEC, width_px=64, height_px=64))
    big = tuple(replace(f, pixels=f.pixels.repeat(1, 1, 2, 2)) for f in cached)
    run(big, config, snapshot, report=reports.append)
    assert [report.best for report in reports] == [False, False, True]


def test_a_teacher_is_learned_from(cached: tuple[Films, Films], snapshot: Path) -> None:
    """Taught by a network that says the opposite of the labels, the pupil says it too."""

    class Contrary(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -40 * x.mean((1, 2, 3), keepdim=False)[:, None]

    config = replace(CONFIG, teaching=Teaching(1.0, "contrary"), balance=Balance())
    config = tuned(config, label_smoothing=0.0)
    state = run(cached, config, snapshot, helpers=Helpers(teacher=Contrary()))
    network = fresh(config)
    network.load_state_dict(state)
    assert mean_auroc(cached[1].labels.numpy() > 0.5, infer(network, cached[1], SPEC)) < 0.2


def test_stages_join_from_the_top_as_the_epochs_go(
    cached: tuple[Films, Films], snapshot: Path
) -> None:
    network = fresh(SMALL)
    config = replace(tuned(SMALL, epochs=2), tuning=Tuning(unfreeze_epochs=1))
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    run(cached, config, snapshot, network=network)
    after = torch.load(snapshot, weights_only=True)["network"]
    changed = {key.split(".")[1] for key in after if not torch.equal(after[key], before[key])}
    assert changed == {"1", "18"}  # classifier.1 in the first epoch, features.18 in the second


@pytest.mark.parametrize("moment", ["first batch", "last batch", "while saving"])
def test_an_interruption_at_any_moment_loses_an_epoch_at_most(
    cached: tuple[Films, Films], snapshot: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    config = tuned(SMALL, batch_size=6, epochs=2)
    whole = run(cached, config, snapshot)
    snapshot.unlink()

    def batches(own: list[Tensor], epoch: int) -> Iterator[Tensor]:
        for i, batch in enumerate(own):
            if epoch == 2 and i == (0 if moment == "first batch" else len(own) - 1):
                raise KeyboardInterrupt
            yield batch

    saves = []

    def save(data: object, path: Path) -> None:
        saves.append(path)
        if len(saves) == 2:
            path.with_name(path.name + ".partial").write_bytes(b"half a snap")
            raise KeyboardInterrupt
        write_atomically(data, path)

    with monkeypatch.context() as patch:
        if moment == "while saving":
            patch.setattr(train.learn.fit, "write_atomically", save)
        helpers = Helpers() if moment == "while saving" else Helpers(batches=batches)
        with pytest.raises(KeyboardInterrupt):
            run(cached, config, snapshot, helpers=helpers)
    assert same(run(cached, config, snapshot, resume=True), whole)
