"""Where a model is written to: nothing that is not dtc's is overwritten, and an output is whole or the older one."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from test_load import model_with

from dtc.errors import ModelError
from dtc.graph import load_model, only_writer, save_model
from dtc.graph.output import check_output, check_space
from dtc.scratch import scratch_folder


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is written with external data."""
    monkeypatch.setattr("dtc.graph.save.EXTERNAL_DATA_ABOVE", 0)


def write(path: Path, number: float, *, force: bool = True) -> None:
    save_model(model_with(np.full((64, 64), number, np.float32)), path, force=force)


def held(path: Path) -> float:
    (value,) = load_model(path).graph.initializers.values()
    return float(value.const_value.numpy()[0, 0])


def test_a_file_that_users_call_the_data_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "m.onnx.data").write_bytes(b"precious")
    write(tmp_path / "m.onnx", 2)
    assert (tmp_path / "m.onnx.data").read_bytes() == b"precious"
    assert held(tmp_path / "m.onnx") == 2


def test_an_older_output_goes_with_its_data_and_only_after_the_new_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    write(path, 1)

    def killed(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(ModelError, match="No space left"):
            write(path, 2)
    assert held(path) == 1
    write(path, 2)
    assert held(path) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_data_that_was_left_by_a_kill_between_the_renames_goes_with_the_next_output(tmp_path: Path) -> None:
    path, stray = tmp_path / "m.onnx", tmp_path / "m.onnx.dtc-0123456789abcdef.data"
    stray.write_bytes(b"left")
    write(path, 1)
    assert not stray.exists()
    assert held(path) == 1


def test_a_copy_of_an_older_output_keeps_its_data(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx", 1)
    shutil.copy(tmp_path / "m.onnx", tmp_path / "copy.onnx")
    write(tmp_path / "m.onnx", 2)
    assert (held(tmp_path / "copy.onnx"), held(tmp_path / "m.onnx")) == (1, 2)


def test_an_output_without_external_data_takes_the_older_data_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "m.onnx", 1)
    monkeypatch.setattr("dtc.graph.save.EXTERNAL_DATA_ABOVE", 10**9)
    write(tmp_path / "m.onnx", 2)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_something_else_under_the_name_of_the_data_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx", 1)
    data = next(tmp_path.glob("*.data"))
    (tmp_path / "m.onnx").unlink()
    data.write_bytes(b"precious")
    with pytest.raises(ModelError, match=r"\.data: is in the way"):
        write(tmp_path / "m.onnx", 1)
    assert data.read_bytes() == b"precious"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none here")
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "symbolic link", "device"])
def test_only_regular_files_are_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.onnx"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        case "folder":
            path.mkdir()
        case "symbolic link":
            (tmp_path / "other").write_bytes(b"precious")
            path.symlink_to(tmp_path / "other")
        case _:
            path = Path("/dev/null")
    with pytest.raises(ModelError, match=kind):
        check_output(path, force=True)


def test_a_name_that_is_too_long_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="File name too long"):
        check_output(tmp_path / ("m" * 300), force=False)


def test_a_longest_name_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("m" * 250 + ".onnx")
    write(path, 3)
    assert held(path) == 3


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_not_writable_is_found_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ModelError, match="folder is not writable"):
        check_output(tmp_path / "m.onnx", force=False)


def test_a_full_disk_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="make room"):
        check_space(tmp_path / "m.onnx", 10**18)


def test_one_output_has_one_writer(tmp_path: Path) -> None:
    with only_writer(tmp_path / "m.onnx"):
        with pytest.raises(ModelError, match="another process is writing it"), only_writer(tmp_path / "m.onnx"):
            pass
        with only_writer(tmp_path / "n.onnx"):
            pass
    with only_writer(tmp_path / "m.onnx"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folders_of_processes_that_are_gone_are_removed(tmp_path: Path) -> None:
    left = tmp_path / ".dtc-1-left"
    left.mkdir()
    (left / "lock").touch()
    (left / "dense.onnx").write_bytes(b"copy")
    foreign = tmp_path / ".dtc-not-one-of-ours"
    foreign.write_bytes(b"a file")
    with scratch_folder(tmp_path) as first, scratch_folder(tmp_path) as second:
        assert first.is_dir()
        assert second.is_dir()
        assert not left.exists()
    assert list(tmp_path.iterdir()) == [foreign]
