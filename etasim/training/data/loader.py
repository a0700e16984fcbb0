"""Batches of a run, read ahead by worker processes; what is in them does not depend on how many there are."""

import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from etasim.config.errors import InputError, Problem
from etasim.report.ending import end_with_parent
from etasim.training.data.images import TEST, TRAIN, Batch, Draw, Images

Share = tuple[int, int]

EPOCH_STRIDE = 1_000_003
"""Between the seeds of two runs' epochs."""


class BatchKey(NamedTuple):
    """A batch: of the training, ``number`` (from 0) in ``epoch`` (from 0); of the test if ``epoch`` is -1."""

    epoch: int
    number: int


def evenly(n: int, wanted: int) -> np.ndarray:
    """Indices of ``wanted`` of ``n`` images, at equal distances: files often stand class after class. 0: all."""
    wanted = min(wanted or n, n)
    return np.arange(wanted, dtype=np.int64) * n // max(wanted, 1)


class _Batches(Dataset[Any]):
    """Makes batches by their keys, in whatever process."""

    def __init__(
        self, images: Images, augment: str, seed: int, sizes: tuple[int, int], samples: tuple[np.ndarray, np.ndarray], share: Share
    ) -> None:
        self._images, self._augment, self._seed, self._share = images, augment, seed, share
        self._batch, self._test_batch = sizes
        self._train, self._test = samples
        self._order: tuple[int, np.ndarray] = (-1, self._train)

    def __getitem__(self, key: Any) -> Batch | tuple[Problem, ...]:
        """The batch, or what is wrong with its files: an exception loses its parts on the way between processes."""
        try:
            return self.make(key)
        except InputError as error:
            return error.problems

    def make(self, key: BatchKey) -> Batch:
        """The batch ``key``. Raises InputError."""
        if key.epoch < 0:
            chosen = self._test[key.number * self._test_batch : (key.number + 1) * self._test_batch]
            return self._images.batch(TEST, chosen, self._augment)
        return self._of_training(key, self._share)

    def whole(self, key: BatchKey) -> Batch:
        """The batch ``key`` of the training, with the parts of all processes."""
        return self._of_training(key, (0, 1))

    def _of_training(self, key: BatchKey, share: Share) -> Batch:
        if self._order[0] != key.epoch:
            generator = torch.Generator().manual_seed(self._seed * EPOCH_STRIDE + key.epoch)
            self._order = key.epoch, self._train[torch.randperm(len(self._train), generator=generator).numpy()]
        chosen = self._order[1][key.number * self._batch : (key.number + 1) * self._batch]
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self._seed} {key.epoch} {key.number}".encode()))
        part = len(chosen) // share[1]
        return self._images.batch(TRAIN, chosen, self._augment, Draw(generator, slice(share[0] * part, (share[0] + 1) * part)))


class BatchLoader:
    """Batches of the training, in an order of each epoch that depends on ``seed`` and the epoch alone, and of the test.

    ``augment``: one of AUGMENTATIONS; random numbers of a batch depend on the seed, the epoch and its number. ``sizes``: images of a batch
    of the training, of the test; ``samples``: how many are used of each, 0: all. ``workers``: processes that read ahead, 0: none.
    ``share`` (r, n): of each batch of the training the r-th of n equal parts, of the test each n-th batch.
    """

    def __init__(
        self, images: Images, augment: str, seed: int, sizes: tuple[int, int], workers: int = 0, samples: tuple[int, int] = (0, 0),
        share: Share = (0, 1),
    ) -> None:  # fmt: skip
        self.n_train, self.n_test = (len(evenly(images.count(split), n)) for split, n in zip((TRAIN, TEST), samples, strict=True))
        chosen = (evenly(images.count(TRAIN), samples[0]), evenly(images.count(TEST), samples[1]))
        self._batches = _Batches(images, augment, seed, sizes, chosen, share)
        self._workers, self._share, (self._batch, self._test_batch) = workers, share, sizes

    @property
    def per_epoch(self) -> int:
        """Full batches of an epoch; the images that are left over are others in each."""
        return self.n_train // self._batch

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Batches ``first`` ... of ``epoch``. Raises InputError for a file that is damaged."""
        return self._read([BatchKey(epoch, number) for number in range(first, self.per_epoch)])

    def test(self) -> Iterator[Batch]:
        """The batches of the test, the last of which may be smaller."""
        return self._read([BatchKey(-1, number) for number in range(self._share[0], -(-self.n_test // self._test_batch), self._share[1])])

    def batch(self, epoch: int, number: int) -> Batch:
        """One batch of the training, whoever has parts of it."""
        return self._batches.whole(BatchKey(epoch, number))

    def _read(self, keys: list[BatchKey]) -> Iterator[Batch]:
        if not self._workers or not keys:
            yield from map(self._batches.make, keys)
            return
        found: Any
        for found in DataLoader(
            self._batches, batch_size=None, sampler=keys, num_workers=min(self._workers, len(keys)), collate_fn=_as_it_is,
            worker_init_fn=_begin, multiprocessing_context="fork",
        ):  # fmt: skip
            if isinstance(found[0], Problem):
                raise InputError(found)
            yield found


def _as_it_is(found: Any) -> Any:
    return found


def _begin(worker: int) -> None:
    end_with_parent()
