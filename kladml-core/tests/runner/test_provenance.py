"""What a run is tagged with."""

import subprocess

from kladml.runner.provenance import code_diff, code_version


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


def test_the_diff_has_tracked_files_alone_and_no_secrets(tmp_path):
    git(tmp_path, "init")
    inner = tmp_path / "inner"
    inner.mkdir()
    for name in ("model.py", ".env", "inner/.env.local", "inner/server.key", "inner/my_secrets.yaml"):
        (tmp_path / name).write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    assert code_diff(tmp_path) is None
    for name in ("model.py", ".env", "inner/.env.local", "inner/server.key", "inner/my_secrets.yaml", "untracked.txt"):
        (tmp_path / name).write_text("password\n")
    diff = code_diff(inner).decode()
    assert [line for line in diff.splitlines() if line.startswith("+++")] == ["+++ b/model.py"]
    assert "+password" in diff


def test_a_large_diff_is_cut_off(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "data.csv").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    (tmp_path / "data.csv").write_text("1,2,3\n" * 400_000)
    diff = code_diff(tmp_path)
    assert len(diff) < (1 << 20) + 100
    assert diff.endswith(b"cut off here, after a mebibyte\n")


def test_no_repository_has_no_diff(tmp_path):
    assert code_diff(tmp_path) is None
