"""Files that users name: regular ones of bounded size; nothing is waited for, nothing endless is read."""

import os

import pytest

from etasim.config import InputError, load_architecture
from etasim.config.files import open_regular, read_regular


def test_a_regular_file_and_a_link_to_it(tmp_path):
    (tmp_path / "file").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        assert read_regular(tmp_path / name, 4) == b"1234"
        with open_regular(tmp_path / name, 4) as file:
            assert file.read(2) == b"12"


@pytest.mark.parametrize("most_bytes", [0, 3])
def test_a_larger_file_is_refused(tmp_path, most_bytes):
    (tmp_path / "file").write_bytes(b"1234")
    with pytest.raises(OSError, match=f"larger than {most_bytes} bytes"):
        open_regular(tmp_path / "file", most_bytes)


def test_a_file_that_holds_more_than_it_says():
    with pytest.raises(OSError, match="larger than 1 bytes"):
        read_regular("/proc/self/maps", 1)


def _pipe(folder):
    os.mkfifo(folder / "pipe")
    return "pipe"


@pytest.mark.parametrize("make", [lambda folder: "/dev/zero", lambda folder: "/dev/null", _pipe])
@pytest.mark.parametrize("key", ["extends: {}", "extends: eta_small\ndram: {{part: {}}}", "extends: eta_small\nenergy: {{extends: {}}}"])
def test_keys_that_name_files_do_not_read_devices_and_pipes(tmp_path, make, key):
    path = tmp_path / "a.yaml"
    path.write_text(f"name: a\n{key.format(make(tmp_path))}\n")
    with pytest.raises(InputError, match="cannot be read: not a regular file"):
        load_architecture(path)


def test_a_long_chain_of_files_is_refused_at_its_key(tmp_path):
    for i in range(40):
        (tmp_path / f"{i}.yaml").write_text(f"name: n\nextends: {i + 1}.yaml\n")
    with pytest.raises(InputError) as caught:
        load_architecture(tmp_path / "0.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.key, problem.message) == (2, "extends", "more than 16 files extend each other")


def test_a_table_does_not_extend_another(tmp_path):
    (tmp_path / "table.yaml").write_text("dsp_block: {}\nextends: fpga_28nm\n")
    (tmp_path / "a.yaml").write_text("extends: eta_small\nenergy: {extends: table.yaml}\n")
    with pytest.raises(InputError) as caught:
        load_architecture(tmp_path / "a.yaml")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(tmp_path / "table.yaml"), 2)
