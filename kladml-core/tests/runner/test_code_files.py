"""The files that the references of a run name."""

import hashlib
import subprocess

from kladml.runner.code_files import digests, named_files, untracked


def test_files_of_code_are_found_where_references_are(tmp_path):
    beside, root = tmp_path / "beside", tmp_path / "root"
    for folder in (beside, root):
        folder.mkdir()
    (root / "model.py").write_text("a = 1\n")
    (root / "data.py").write_text("other\n")
    (beside / "data.py").write_text("b = 1\n")
    references = ("model.py:Net", "data.py:train", "data.py:val", "gone.py:x", "digits.npz", "package.module:Net", None)
    files = named_files([*references, object()], [beside, root])
    assert files == {"model.py": root / "model.py", "data.py": beside / "data.py"}
    assert digests(files)["data.py"] == hashlib.sha256(b"b = 1\n").hexdigest()
    (root / "model.py").unlink()
    assert list(digests(files)) == ["data.py"]


def test_what_git_does_not_track_is_said(tmp_path):
    subprocess.run(["git", "-C", str(tmp_path), "init"], check=True, capture_output=True)
    files = {name: tmp_path / name for name in ("model.py", "[m]odel.py")}
    for file in files.values():
        file.write_text("")
    subprocess.run(["git", "-C", str(tmp_path), "add", "model.py"], check=True, capture_output=True)
    assert untracked(files) == ["[m]odel.py"]
