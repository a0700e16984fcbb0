"""Files that appear together or not at all, whatever ends the process that writes them."""

import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from etasim.config import InputError
from etasim.report import staging
from etasim.report.staging import finish_publication, staged_file, staged_folder

NAMES = ("a", "b", "c")
OLD, NEW = dict.fromkeys(NAMES, "old"), dict.fromkeys(NAMES, "new")
NOBODY = 65534


class Killed(BaseException):
    """Ends what it meets, as SIGKILL does: nobody expects it."""


def texts(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def stage(folder, content, names=NAMES, obsolete=()):
    with staged_folder(folder, obsolete) as temporary:
        for name in names:
            (temporary / name).write_text(content)


@pytest.fixture
def folder(tmp_path):
    """A folder with a set of files, and one that is the user's."""
    stage(tmp_path / "set", "old")
    return tmp_path / "set"


@contextmanager
def ordinary_user():
    """Permissions bind in this block, if the tests run as root too."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def mount():
    """A writable folder in one that is not, as a container mounts it."""
    with tempfile.TemporaryDirectory() as parent:
        inner = Path(parent, "out")
        inner.mkdir()
        if os.geteuid() == 0:
            os.chmod(parent, 0o755)
            os.chown(inner, NOBODY, NOBODY)
        else:
            os.chmod(parent, 0o555)
        yield inner
        os.chmod(parent, 0o755)


def test_a_writable_folder_in_one_that_is_not_is_enough(mount):
    with ordinary_user():
        with pytest.raises(PermissionError):
            mount.with_name("other").mkdir()
        stage(mount, "old")
        stage(mount, "new")
        with staged_file(mount / "text") as temporary:
            temporary.write_text("text")
    assert texts(mount) == NEW | {"text": "text"}


@pytest.mark.parametrize("blocked", NAMES)
def test_a_file_that_cannot_be_replaced_keeps_the_old_set(tmp_path, blocked):
    folder = tmp_path / "set"
    stage(folder, "old", [name for name in NAMES if name != blocked])
    (folder / blocked).mkdir()
    before = texts(folder)
    with pytest.raises(OSError, match="directory"):
        stage(folder, "new")
    assert texts(folder) == before
    assert sorted(os.listdir(folder)) == list(NAMES)


@pytest.mark.parametrize("n_done", range(3))
def test_a_failing_rename_puts_back_what_was_replaced(folder, monkeypatch, n_done):
    (folder / "c").unlink()
    (folder / "extra").write_text("mine")
    before, replace, done = texts(folder), os.replace, []

    def failing(source, target):
        if staging.COMMITTED in str(source) and len(done) == n_done:
            raise OSError(1, "Operation not permitted")
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(staging.os, "replace", failing)
    with pytest.raises(OSError, match="not permitted"):
        stage(folder, "new")
    assert texts(folder) == before
    assert sorted(os.listdir(folder)) == ["a", "b", "extra"]


@pytest.mark.parametrize("n_done", range(4))
@pytest.mark.parametrize("reader", [finish_publication, lambda folder: stage(folder, "mine", ["d"])])
def test_a_kill_between_the_renames_is_brought_to_its_end_by_whoever_comes_next(folder, monkeypatch, n_done, reader):
    (folder / "values").write_text("old")
    replace, done = os.replace, []

    def killed(source, target):
        if len(done) == n_done:
            raise Killed
        done.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(staging.os, "replace", killed)
        if n_done < len(NAMES):
            with pytest.raises(Killed):
                stage(folder, "new", obsolete=("values",))
        else:
            stage(folder, "new", obsolete=("values",))
    reader(folder)
    found = texts(folder)
    found.pop("d", None)
    assert found == NEW
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(folder):
    (folder / ".etasim-dead").mkdir()
    (folder / ".etasim-dead" / "a").write_text("half")
    (folder / ".etasim-dead.txt").write_text("half")
    with staged_file(folder / "first") as first, staged_file(folder / "second") as second:
        assert {path.name for path in folder.glob(".etasim-*")} == {first.name, second.name}
        first.write_text("1")
        second.write_text("2")
    assert texts(folder) == OLD | {"first": "1", "second": "2"}


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    folder = tmp_path / "set"
    with staged_folder(folder) as temporary:
        with pytest.raises(InputError, match="another etasim is writing into it"):
            stage(folder, "other")
        (temporary / "a").write_text("first")
    assert texts(folder) == {"a": "first"}
    stage(folder, "other")
    assert texts(folder) == dict.fromkeys(NAMES, "other")


def test_folders_that_were_made_for_nothing_go_again(tmp_path):
    (tmp_path / "mine").mkdir()

    def fail():
        with staged_folder(tmp_path / "mine" / "x" / "y"), staged_file(tmp_path / "z" / "text"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert os.listdir(tmp_path) == ["mine"]
    assert os.listdir(tmp_path / "mine") == []


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data/text")
    with staged_file(tmp_path / "link") as temporary:
        assert temporary.parent == tmp_path / "data"
        temporary.write_text("text")
    assert (tmp_path / "link").is_symlink()
    assert texts(tmp_path / "data") == {"text": "text"}


def test_files_have_the_permissions_of_files(folder):
    umask = os.umask(0o027)
    try:
        stage(folder, "new")
        with staged_file(folder / "text") as temporary:
            temporary.write_text("text")
    finally:
        os.umask(umask)
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in (*NAMES, "text")} == {0o640}
