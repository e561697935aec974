"""Training in several processes, on one machine or more, as torchrun starts them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from ..errors import TrainError


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; alone where torchrun did not start it."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Writes and prints for all."""
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""
        if self.count == 1 or not tensors:
            return
        # One message in place of hundreds of small ones.
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, summed in zip(
            tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True
        ):
            tensor.copy_(summed.view_as(tensor))

    def agree(self, value: float) -> float:
        """The first process's value, in all."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]

    def leave(self) -> None:
        if self.count > 1:
            distributed.destroy_process_group()


def join_processes(device: torch.device, batch_parts: int) -> Processes:
    """Join the processes that torchrun started with this one, or stay alone.

    Raises TrainError where the batch has too few parts for them.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes()
    if batch_parts % count:
        raise TrainError(
            f"{count} processes cannot share a batch of {batch_parts} parts.",
            f"Give --set optimisation.batch_parts={count}, or a multiple of it.",
        )
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes(distributed.get_rank(), count)


def device_of(name: str) -> torch.device:
    """The device called auto, cpu or cuda; each process of torchrun has a GPU of its own.

    Raises TrainError where CUDA was asked for and is not there.
    """
    works = torch.cuda.is_available()
    if name == "cuda" and not works:
        raise TrainError(
            "CUDA is not there: no NVIDIA driver, no GPU, or a build of torch without it.",
            "Use --device cpu, or install a CUDA build of torch.",
        )
    if name == "cpu" or not works:
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
