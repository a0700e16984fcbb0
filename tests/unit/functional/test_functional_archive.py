"""Reading .npz files that are damaged, or made to do harm: refused at once, without taking memory or quoting what lies in them."""

import io
import os
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from small_networks import TINY

from etasim.functional import archive
from etasim.functional.archive import read_arrays
from etasim.functional.samples import Expected
from etasim.numerics.errors import NumericsError

WANTED = Expected(TINY).fits
WEIGHT = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)
INPUTS = np.random.default_rng(2).standard_normal((5, 3, 6, 6))
MEBIBYTE = 2**20


@pytest.fixture
def whole(tmp_path):
    """A sound file."""
    path = tmp_path / "whole.npz"
    np.savez_compressed(path, **{"conv1.weight": WEIGHT, "inputs": INPUTS, "labels": np.arange(5) % 4})
    return path


def refused(path, wanted=WANTED) -> str:
    with pytest.raises(NumericsError) as caught:
        read_arrays(path, wanted)
    return str(caught.value)


def header(text: str) -> bytes:
    """A member that begins as version 1.0 of numpy's format."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def packed(path, members: dict[str, bytes], compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_a_sound_file_is_read_as_numpy_reads_it(whole, tmp_path):
    np.savez(tmp_path / "plain.npz", **{"conv1.weight": np.asfortranarray(WEIGHT.astype(">f8")), "inputs": INPUTS[:1].astype(np.float16)})
    for path in (whole, tmp_path / "plain.npz"):
        arrays = read_arrays(path, WANTED)
        with np.load(path) as expected:
            assert sorted(arrays) == sorted(expected.files)
            assert all(np.array_equal(arrays[name], expected[name]) for name in arrays)


def test_what_the_network_does_not_have_takes_no_memory(tmp_path):
    """64 MiB of zeros, 64 KiB in the file: in a shape that the tensor does not have, under another name, and as images."""
    zeros = np.zeros((4, 3, 3, 466034), np.float32)
    np.savez_compressed(tmp_path / "bomb.npz", **{"conv1.weight": zeros, "conv9.weight": zeros, "inputs": zeros.astype(np.float16)})
    tracemalloc.start()
    try:
        arrays = read_arrays(tmp_path / "bomb.npz", WANTED)
        assert tracemalloc.get_traced_memory()[1] < 2 * MEBIBYTE
    finally:
        tracemalloc.stop()
    assert [(array.shape, array.dtype) for array in arrays.values()] == [(zeros.shape, np.float32)] * 2 + [(zeros.shape, np.float16)]
    assert not any(WANTED(name, array.shape, array.dtype) for name, array in arrays.items())


def test_samples_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_ARRAY_BYTES", 1000)
    np.savez(tmp_path / "many.npz", inputs=INPUTS, labels=np.zeros(5, int))
    assert refused(tmp_path / "many.npz") == "inputs: takes 4,448 bytes, at most 1,000 are read"


LONG = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3, 3, 3), }"
CRAFTED = {
    "longer than its shape": ({"conv1.weight.npy": header(LONG) + bytes(433)}, "conv1.weight: is damaged: not as long as its shape says"),
    "shorter than its shape": ({"conv1.weight.npy": header(LONG) + bytes(431)}, "conv1.weight: is damaged: not as long as its shape says"),
    "a header of 4 GiB": ({"inputs.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100)}, "inputs: is not an array, or damaged"),
    "a negative size": ({"inputs.npy": header(LONG.replace("(4", "(-4"))}, "inputs: is not an array, or damaged"),
    "a size beyond all": ({"inputs.npy": header(LONG.replace("(4", "(1" + "0" * 40))}, "inputs: is not an array, or damaged"),
    "brackets": ({"inputs.npy": header("(" * 9000)}, "inputs: is not an array, or damaged"),
    "text": ({"inputs.npy": b"root:secret:19000:0:99999:7:::\n"}, "inputs: is not an array, or damaged"),
    "a word as header": ({"inputs.npy": header("root:secret")}, "inputs: is not an array, or damaged"),
    "strings": ({"inputs.npy": header(LONG.replace("<f4", "<U4"))}, "inputs: holds text or records, numbers are expected"),
    "objects": ({"inputs.npy": header(LONG.replace("<f4", "|O"))}, "inputs: holds Python objects, numbers are expected"),
    "no array": ({"inputs.npy": b""}, "inputs: is not an array, or damaged"),
    "twice": ({"inputs.npy": header(LONG), "inputs": header(LONG)}, "inputs: is there twice"),
    "many": ({f"x{i}.npy": header(LONG) for i in range(500)}, ": holds 500 arrays that are damaged or do not fit the network"),
    "a long name": ({"x" * 5000 + ".npy": b""}, "x" * 100 + ": is not an array, or damaged"),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_members_that_are_not_what_they_say(tmp_path, case):
    members, message = CRAFTED[case]
    assert refused(packed(tmp_path / "a.npz", members)) == message


def test_encrypted_and_foreign_compression(whole, tmp_path):
    content = bytearray(whole.read_bytes())
    for signature, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        content[content.index(signature) + offset] |= 1
    (tmp_path / "locked.npz").write_bytes(content)
    assert refused(tmp_path / "locked.npz") == "conv1.weight: is encrypted; numpy.savez writes what can be read"
    path = packed(tmp_path / "lzma.npz", {"inputs.npy": header(LONG) + bytes(432)}, zipfile.ZIP_LZMA)
    assert refused(path).startswith("inputs: is compressed as numpy does not")


def test_a_list_of_members_without_end_is_not_read(whole, monkeypatch, tmp_path):
    monkeypatch.setattr(archive, "MOST_DIRECTORY_BYTES", 100)
    assert refused(whole) == ": has too many members"
    (tmp_path / "none.npz").write_bytes(b"")
    assert refused(tmp_path / "none.npz") == ": not an .npz archive, or a truncated one"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_regular_files_are_opened(tmp_path, kind):
    path = tmp_path / kind
    {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    started = time.monotonic()
    with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
        read_arrays(path, WANTED)
    assert time.monotonic() - started < 1


def test_any_damage_is_refused_or_has_no_effect(whole, tmp_path):
    """Every 7th byte flipped, every 31st length: no other exception than NumericsError, and no other values."""
    content, path = whole.read_bytes(), tmp_path / "damaged.npz"
    damaged = [content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :] for at in range(0, len(content), 7)]
    damaged += [content[:length] for length in range(0, len(content), 31)]
    sound = read_arrays(whole, WANTED)
    outcomes = {"read": 0, "refused": 0}
    for bad in damaged:
        path.write_bytes(bad)
        try:
            arrays = read_arrays(path, WANTED)
        except NumericsError:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        for name, array in arrays.items():
            assert not WANTED(name, array.shape, array.dtype) or np.array_equal(array, sound[name])
    assert outcomes["refused"] > 0.8 * len(damaged)


def test_what_lies_in_another_file_is_not_quoted(tmp_path):
    secret = "root:$6$secret$:19000:0:99999:7:::"
    (tmp_path / "text.npz").write_text(f"{secret}\n" * 30)
    assert "secret" not in refused(tmp_path / "text.npz")
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3, np.dtype([("root_secret", "f4")])))
    assert "secret" not in refused(packed(tmp_path / "record.npz", {"inputs.npy": buffer.getvalue()}))
