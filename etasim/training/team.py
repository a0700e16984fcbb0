"""Processes that train together: PyTorch's DistributedDataParallel, started by torchrun."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import distributed

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
"""How torchrun tells a process who it is."""


class Team(NamedTuple):
    """This process's number, how many there are, and its number on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """Sums of ``values`` over all processes."""
        if self.size == 1:
            return list(values)
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        sums = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(sums)
        return list(sums.tolist())


def team_of_environment() -> Team:
    """The team that torchrun has made; one process without it."""
    found = [os.environ.get(name, "") for name in _VARIABLES]
    return Team(*map(int, found)) if all(text.isdecimal() for text in found) else Team()


@contextmanager
def joined(team: Team, device: str) -> Iterator[None]:
    """The processes of ``team`` know each other: by NCCL on GPUs, else by gloo."""
    if team.size == 1:
        yield
        return
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
        distributed.barrier()  # nobody leaves while threads of the group still speak to it
    finally:
        distributed.destroy_process_group()
