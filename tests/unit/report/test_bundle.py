"""A bundle repeats its run to the byte, wherever it is, and is no way for a stranger's archive to do harm."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from command_line import invoke

from etasim.config import InputError
from etasim.report import bundle
from etasim.report.bundle import REPEATED, digest, read_bundle, run_document, write_bundle

TRACE = """\
name: net
input: {channels: 3, height: 6, width: 6}
classes: 4
layers:
  - {name: conv1, op: conv, out_channels: 4, kernel: 3, padding: 1}
  - {name: relu1, op: relu}
  - {name: fc, op: linear, out_channels: 4}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A functional run with tensors of its own and samples of a chosen length, and its bundle; what it was made of is gone."""
    work = tmp_path_factory.mktemp("bundle")
    (work / "net.yaml").write_text(TRACE)
    np.savez(work / "data.npz", inputs=np.random.default_rng(3).standard_normal((2, 3, 6, 6)), labels=np.array([0, 3]))
    tensors = ["--tensors", work / "data.npz", "--series-every", 700]
    assert invoke("run", "eta_small", work / "net.yaml", "--batch", 2, "--functional", *tensors, "--out", work / "out").exit_code == 0
    write_bundle(work / "out", work / "run.zip")
    (work / "net.yaml").unlink()
    (work / "data.npz").unlink()
    return work


def test_a_bundle_repeats_its_run_to_the_byte(made, tmp_path):
    again = invoke("run", made / "run.zip", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines()[-1].endswith(f"to the byte: {', '.join(REPEATED)}")
    for name in REPEATED:
        assert (tmp_path / "again" / name).read_bytes() == (made / "out" / name).read_bytes()


def test_a_result_that_is_not_the_bundles_is_told(made, tmp_path, monkeypatch):
    true = digest
    monkeypatch.setattr(bundle, "digest", lambda path: "another" if path.name == "layers.csv" else true(path))
    again = invoke("run", made / "run.zip", "--out", tmp_path / "again")
    assert again.exit_code == 1
    assert again.stdout.splitlines()[-1].endswith("layers.csv")
    assert "differs from" in again.stdout.splitlines()[-1]


def test_other_options_are_another_run(made, tmp_path):
    again = invoke("run", made / "run.zip", "--batch", 1, "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert "run.zip" not in again.stdout.splitlines()[-1]


def test_equal_folders_give_equal_archives(made, tmp_path):
    np.savez(made / "data.npz", inputs=np.zeros((2, 3, 6, 6)), labels=np.array([0, 3]))
    for name in ("a.zip", "b.zip"):
        write_bundle(made / "out", tmp_path / name)
    (made / "data.npz").unlink()
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_tensors_that_are_gone_are_named(made, tmp_path):
    refused = invoke("bundle", made / "out", "-o", tmp_path / "c.zip")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert f"functional.tensors: {made / 'data.npz'} is not there" in refused.stderr
    assert not (tmp_path / "c.zip").exists()


def test_an_archive_is_not_written_over(made, tmp_path):
    (tmp_path / "c.zip").write_text("mine")
    refused = invoke("bundle", made / "out", "-o", tmp_path / "c.zip")
    assert (refused.exit_code, (tmp_path / "c.zip").read_text()) == (2, "mine")
    assert "--force" in refused.stderr


def rewritten(path, into, changes):
    """A bundle with other members: text, or None for one that is left out."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as out:
        for member in archive.infolist():
            content = changes.get(member.filename, archive.read(member))
            if content is not None:
                out.writestr(member.filename, content, zipfile.ZIP_STORED if member.filename.endswith(".npz") else None)
    return into


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bundle.json": None}, "no bundle of etasim, or damaged"),
        ({"bundle.json": "{"}, "bundle.json: damaged"),
        ({"bundle.json": '{"schema_version": 2}'}, "bundle.json: is of another version; etasim"),
        ({"bundle.json": '{"schema_version": 1, "versions": {}, "series_every": -1, "digests": {}}'}, "bundle.json: damaged"),
        ({"run.yaml": b"x: " + b"1" * (1 << 21)}, "run.yaml: larger than 1,048,576 bytes"),
        ({"run.yaml": "architecture: 3\n"}, "other.zip:1: not the run.yaml of an earlier run"),
        ({"tensors/0.npz": None}, "no bundle of etasim, or damaged"),
        ({"tensors/0.npz": b"PK"}, "not an .npz archive"),
    ],
)  # fmt: skip
def test_what_is_no_bundle_is_refused(made, tmp_path, changes, message):
    path = rewritten(made / "run.zip", tmp_path / "other.zip", changes)
    refused = invoke("run", path, "--out", tmp_path / "again")
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert isinstance(refused.exception, SystemExit)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["bundle.json", "run.yaml"])
def test_compressed_bytes_that_are_damaged_are_told(made, tmp_path, name):
    content = bytearray((made / "run.zip").read_bytes())
    with zipfile.ZipFile(made / "run.zip") as archive:
        member = archive.getinfo(name)
    n_extra = int.from_bytes(content[member.header_offset + 28 : member.header_offset + 30], "little")
    first = member.header_offset + 30 + len(name) + n_extra
    messages = []
    for damaged in range(first, first + member.compress_size - 2, 7):  # behind the end of what is compressed there may be bits to spare
        (tmp_path / "damaged.zip").write_bytes(content[:damaged] + bytes([content[damaged] ^ 0xFF]) + content[damaged + 1 :])
        with pytest.raises(InputError) as caught:
            run_document(tmp_path / "damaged.zip")
        messages.append(str(caught.value))
    assert all("damaged" in message for message in messages)


def test_any_archive_is_refused(tmp_path):
    path = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path))
    with pytest.raises(InputError, match="no bundle of etasim"):
        read_bundle(path)
