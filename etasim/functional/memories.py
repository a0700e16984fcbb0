"""The bytes that the machine holds: DRAM, global buffers, packets under way, scratchpads, psum memories."""

from typing import NamedTuple

import numpy as np

from etasim.program.commands import FEED_DIMENSIONS, Program, engines_of

PACKETS_UNDER_WAY = 4096
"""Packets of one sender that can be between injection and arrival: more than the network and its interfaces hold."""


class Memories(NamedTuple):
    """``image``: DRAM; ``host``: what the host brings, at the addresses where it goes; ``activation``, ``weight``, ``error``: the global
    buffers (both halves), ``second``: the second level, all bytes.

    ``scratchpads`` [cluster, stream, half, byte]; ``psums`` [cluster, half, segment, lane]; ``sent`` [feeder, packet mod
    PACKETS_UNDER_WAY, byte] with ``sent_to`` [.., (row, first byte in the scratchpad, bytes)]; ``drained`` [cluster, packet mod ..,
    byte] with ``drained_first`` [drain row]: number of a drain's first packet, ``drained_by``: its cluster, ``n_drained`` [cluster];
    ``cursor`` [feeder, (row + 1, word of run, run, index of each dimension)]: the word that a feeder sends next; ``decoded`` and
    ``block``: room for operands.
    """

    image: np.ndarray
    host: np.ndarray
    activation: np.ndarray
    weight: np.ndarray
    error: np.ndarray
    second: np.ndarray
    scratchpads: np.ndarray
    psums: np.ndarray
    sent: np.ndarray
    sent_to: np.ndarray
    drained: np.ndarray
    drained_first: np.ndarray
    drained_by: np.ndarray
    n_drained: np.ndarray
    cursor: np.ndarray
    decoded: np.ndarray
    block: np.ndarray


def memories(
    program: Program, image_bytes: int, buffer_bytes: tuple[int, ...], word_bytes: int, lanes: int, integers: np.dtype
) -> Memories:
    """Memories as large as ``program`` needs, all zero; ``buffer_bytes`` of the global buffers, and of a second level; ``integers``: what
    codes are decoded to."""
    n_clusters = len(engines_of(program).drains)
    feeds, geometries = program.feeds, program.geometries
    feed_bytes = int((feeds["counts"].prod(axis=1) * feeds["run_bytes"]).max())
    in_plane = geometries["n_samples"] * geometries["n_rows"] * geometries["in_width"]
    results = geometries["n_samples"] * geometries["n_pixels"] * geometries["n_result_blocks"]
    weights = geometries["n_stream_blocks"] * geometries["n_result_blocks"] * geometries["n_taps"] * lanes
    decoded = max(int((in_plane * geometries["n_stream_blocks"]).max()), int(results.max()), int(weights.max()), 1)
    return Memories(
        image=np.zeros(image_bytes, np.uint8),
        host=np.zeros(image_bytes if engines_of(program).arrivals else 0, np.uint8),
        activation=np.zeros(buffer_bytes[0], np.uint8),
        weight=np.zeros(buffer_bytes[1], np.uint8),
        error=np.zeros(buffer_bytes[2], np.uint8),
        second=np.zeros(sum(buffer_bytes[3:]), np.uint8),
        scratchpads=np.zeros((n_clusters, 2, 2, max(feed_bytes, 1)), np.uint8),
        psums=np.zeros((n_clusters, 2, max(int(program.drains["n_segments"].max()), 1), lanes), np.int64),
        sent=np.zeros((2, PACKETS_UNDER_WAY, word_bytes), np.uint8),
        sent_to=np.zeros((2, PACKETS_UNDER_WAY, 3), np.int64),
        drained=np.zeros((n_clusters, PACKETS_UNDER_WAY, word_bytes), np.uint8),
        drained_first=np.zeros(len(program.drains), np.int64),
        drained_by=np.zeros(len(program.drains), np.int64),
        n_drained=np.zeros(n_clusters, np.int64),
        cursor=np.zeros((2, 3 + FEED_DIMENSIONS), np.int64),
        decoded=np.zeros((2, decoded * lanes), integers),
        block=np.zeros((lanes, lanes), integers),
    )


