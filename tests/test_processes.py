"""Two processes that share each batch end where one does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from train.errors import TrainError
from train.learn.processes import device_of, join_processes

ROOT = Path(__file__).parents[1]
# A whole small run: mobilenet_v2 has batch norm, dropout and frozen layers, and everything random.
SCRIPT = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from train.learn.augment import Augmentation
from train.config import Balance, Optimisation, TrainConfig, Tuning, default_input_spec
from train.learn.fit import Helpers, fit
from train.networks import build
from train.data.pixels import Films
from train.learn.processes import join_processes
torch.set_num_threads(1)
config = TrainConfig(
    network="mobilenet_v2",
    input=replace(default_input_spec(), width_px=32, height_px=32),
    augmentation=Augmentation(),
    tuning=Tuning(frozen_stages=1),
    balance=Balance(sampling="weighted"),
    optimisation=Optimisation(epochs=2, batch_size=8, batch_parts=2, ema_decay=0.5),
)
processes = join_processes(torch.device("cpu"), 2)
generator = torch.Generator().manual_seed(0)
pixels = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8, generator=generator)
labels = (torch.arange(20) % 3 == 0).float()[:, None]
films = Films(pixels, labels, tuple(map(str, range(20))), ("made",) * 20)
torch.manual_seed(1)
network = build("mobilenet_v2", 1, 1)
out = Path(sys.argv[1])
reports = []
snapshot = out / "snapshot.pt"
helpers = Helpers(processes=processes)
state = fit(network, films, films, config, snapshot, False, reports.append, helpers)
torch.save({"state": state, "loss": [r.loss for r in reports]}, out / f"{processes.rank}.pt")
processes.leave()
"""


def run(out: Path, count: int) -> list[dict]:
    out.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(count):
        # What torchrun sets.
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        if count > 1:
            env |= {"WORLD_SIZE": str(count), "RANK": str(rank), "LOCAL_RANK": str(rank)}
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, "-c", SCRIPT, str(out)]
        running.append(subprocess.Popen(command, env=env, cwd=ROOT))
    assert [process.wait(timeout=300) for process in running] == [0] * count
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(count)]


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    (alone,) = run(tmp_path / "one", 1)
    first, second = run(tmp_path / "two", 2)
    assert first["loss"] == pytest.approx(alone["loss"], abs=1e-6)
    for name, tensor in alone["state"].items():
        if name.endswith("num_batches_tracked"):  # a counter of parts, which plays no part
            continue
        assert torch.equal(first["state"][name], second["state"][name]), name
        assert torch.allclose(first["state"][name].float(), tensor.float(), atol=1e-5), name
    assert not (tmp_path / "two" / "snapshot.pt.partial").exists()


def test_processes_need_a_part_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(TrainError, match="3 processes cannot share a batch of 2 parts"):
        join_processes(torch.device("cpu"), 2)


def test_cuda_that_is_not_there_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("CUDA works on this machine")
    with pytest.raises(TrainError, match="CUDA is not there"):
        device_of("cuda")
    assert device_of("auto").type == "cpu"
