"""What is refused before any work."""

import os

import pytest
from test_report_staging import mount, ordinary_user  # noqa: F401

from etasim.config import InputError
from etasim.core.provenance import files_noted, note_read
from etasim.report.outputs import check_output_folder, check_outputs


def refused(*targets, read=()):
    """Messages of the refusal."""
    with pytest.raises(InputError) as caught:
        check_outputs(targets, read)
    return [str(problem) for problem in caught.value.problems]


def test_targets_that_can_be_written_leave_nothing_behind(tmp_path):
    (tmp_path / "there").write_text("mine")
    check_outputs([("--out", tmp_path / "new" / "deep" / "file"), ("--listing", tmp_path / "there")])
    assert os.listdir(tmp_path) == ["there"]
    assert (tmp_path / "there").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_refused(mount):  # noqa: F811
    with ordinary_user():
        check_output_folder(mount)
        check_output_folder(mount / "new")
        with pytest.raises(InputError, match="other: --out: cannot be written: Permission denied"):
            check_output_folder(mount.with_name("other"))
        assert refused(("-o", mount.with_name("x")))[0].endswith("-o: cannot be written: Permission denied")


def test_a_file_of_another_user_in_a_folder_for_all_is_refused(mount):  # noqa: F811
    """Of such a folder, as /tmp is one, everybody may create files and nobody replace those of others. Only root can set this up."""
    if os.geteuid() == 0:
        os.chown(mount, 0, 0)
    os.chmod(mount, 0o1777)
    (mount / "file").write_text("")
    if os.geteuid() == 0:
        with ordinary_user():
            assert refused(("-o", mount / "file")) == [f"{mount / 'file'}: -o: cannot be replaced: Operation not permitted"]
    else:
        check_outputs([("-o", mount / "file")])


def test_folders_devices_and_pipes_are_no_files(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    found = refused(("-o", tmp_path / "folder"), ("--listing", tmp_path / "pipe"), ("--report", os.devnull))
    assert found == [
        f"{tmp_path / 'folder'}: -o: is a folder; a file is to be written there",
        f"{tmp_path / 'pipe'}: --listing: is not a regular file, which could be replaced",
        f"{os.devnull}: --report: is not a regular file, which could be replaced",
    ]


@pytest.mark.parametrize("alias", ["itself", "link", "hard link", "another spelling"])
def test_a_file_that_is_read_is_not_written(tmp_path, alias):
    file, other = tmp_path / "input", tmp_path / "other"
    file.write_text("mine")
    if alias == "link":
        other.symlink_to(file)
    elif alias == "hard link":
        os.link(file, other)
    else:
        other = file if alias == "itself" else tmp_path / ".." / tmp_path.name / "input"
    message = f"{other}: -o: would be overwritten, but the command reads it; choose another place"
    assert refused(("-o", other), read=[file]) == [message]
    with files_noted():
        note_read(file)
        assert refused(("-o", other)) == [message]
    check_outputs([("-o", other)])


def test_what_was_read_before_is_forgotten(tmp_path):
    (tmp_path / "input").write_text("mine")
    with files_noted() as outer:
        with files_noted():
            note_read(tmp_path / "input")
        assert outer == []
        check_outputs([("-o", tmp_path / "input")])


def test_two_outputs_have_two_places(tmp_path):
    (tmp_path / "link").symlink_to("file")
    first, second = ("--listing", tmp_path / "link"), ("--timeline", tmp_path / "file")
    assert refused(first, second) == [f"{tmp_path / 'file'}: --timeline: is written by --listing too; choose another place"]
    found = refused(("--out", tmp_path / "set" / "a"), ("--listing", tmp_path / "set"))
    assert found == [f"{tmp_path / 'set'}: --listing: is a folder of --out; choose another place"]


def test_a_path_below_a_file_is_refused_once(tmp_path):
    (tmp_path / "file").write_text("mine")
    found = refused(("--out", tmp_path / "file" / "a"), ("--out", tmp_path / "file" / "b"))
    assert found == [f"{tmp_path / 'file'}: --out: is a file; a folder is expected"]
