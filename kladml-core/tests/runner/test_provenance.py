"""What a run is tagged with."""

import subprocess

from kladml.runner.provenance import code_version


def git(folder, *arguments):
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        check=True,
        capture_output=True,
    )


def test_the_revision_says_whether_tracked_files_changed(tmp_path):
    assert code_version(tmp_path) == "unknown"
    git(tmp_path, "init")
    (tmp_path / "model.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    clean = code_version(tmp_path)
    assert len(clean) == 40
    (tmp_path / "untracked.txt").write_text("")
    assert code_version(tmp_path) == clean
    (tmp_path / "model.py").write_text("a = 2\n")
    assert code_version(tmp_path) == f"{clean}+dirty"
