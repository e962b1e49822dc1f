"""Adding, finding and removing versions, whatever goes wrong meanwhile."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kladml.datasets import DatasetReference, DatasetStore, images
from kladml.datasets import store as store_module
from kladml.datasets.hashing import LARGE
from kladml.errors import DataError


def contents_of(store):
    return sorted(store.objects.digests()), sorted(store.objects.folder.glob("tmp/*"))


def test_a_version_is_found_by_its_number_and_the_latest_by_the_name(store, csv):
    path = csv("a,y", "1,0", "2,1")
    first, is_new = store.add("digits", path)
    assert (str(first.reference), is_new, first.source) == ("digits@1", True, str(path))
    path.write_text("a,y\n1,0\n2,1\n3,1\n")
    second, _ = store.add("digits", path)
    assert second.version == 2
    assert first.fingerprint != second.fingerprint
    assert store.get("digits") == store.get("digits@latest") == store.get("digits@2") == second
    assert store.get("digits@1") == first
    assert [file.path.read_text() for file in store.files_of(first.files)] == ["a,y\n1,0\n2,1\n"]
    assert store.names() == ["digits"]


def test_the_same_content_makes_no_version(store, csv):
    path = csv("a,y", "1,0")
    first, _ = store.add("digits", path)
    assert store.add("digits", path) == (first, False)
    second, is_new = store.add("digits", path, target="a")
    assert (second.version, second.schema.target, is_new) == (2, "a", True)
    assert second.fingerprint == first.fingerprint


def test_the_target_of_the_version_before_is_taken_over(store, csv):
    store.add("digits", csv("a,b", "1,0"), target="b")
    second, _ = store.add("digits", csv("a,b", "2,0"))
    assert second.schema.target == "b"


def test_unchanged_files_are_kept_once_and_read_only(store, tree):
    folder = tree({"a.bin": b"one", "deep/b.bin": b"two", "c.bin": b"one"})
    first, _ = store.add("blobs", folder)
    assert [file.name for file in first.files] == ["a.bin", "c.bin", "deep/b.bin"]
    assert len(contents_of(store)[0]) == 2
    (folder / "a.bin").write_bytes(b"three")
    store.add("blobs", folder)
    assert len(contents_of(store)[0]) == 3
    modes = {stat.S_IMODE(store.objects.path(digest).stat().st_mode) for digest in store.objects.digests()}
    assert modes == {0o444}


@pytest.mark.parametrize("place", [0, (1 << 16) + 1, LARGE])
def test_a_large_file_that_changed_in_one_byte_is_another_content(store, tree, place):
    content = bytearray(LARGE + 1)
    folder = tree({"a.bin": bytes(content)})
    first, _ = store.add("blobs", folder)
    assert store.add("blobs", folder) == (first, False)
    content[place] = 1
    (folder / "a.bin").write_bytes(content)
    second, is_new = store.add("blobs", folder)
    assert (second.version, is_new) == (2, True)
    assert store.files_of(second.files)[0].path.read_bytes() == content
    assert store.verify(first) == store.verify(second) == []


def test_changing_what_was_added_changes_no_version(store, tree):
    folder = tree({"a.bin": b"one"})
    first, _ = store.add("blobs", folder)
    (folder / "a.bin").write_bytes(b"two")
    assert store.files_of(first.files)[0].path.read_bytes() == b"one"
    assert store.verify(first) == []


def test_files_may_be_taken_by_hard_links(store, tree):
    folder = tree({"a.bin": b"one"})
    version, _ = store.add("blobs", folder, link=True)
    assert store.files_of(version.files)[0].path.samefile(folder / "a.bin")
    assert stat.S_IMODE((folder / "a.bin").stat().st_mode) == 0o444


@pytest.mark.parametrize("name", ["", "1a", "a/b", "a.b", "a b", "a\n", "..", "a@1", "x" * 101])
def test_a_name_that_can_be_none_is_refused(store, csv, name):
    with pytest.raises(DataError, match="cannot be the name of a data set"):
        store.add(name, csv("a,y", "1,0"))
    assert not store.state.exists()


def test_a_name_that_differs_only_in_case_is_refused(store, csv):
    store.add("digits", csv("a,y", "1,0"))
    with pytest.raises(DataError, match="differs only in case"):
        store.add("Digits", csv("a,y", "1,0"))


def test_a_folder_that_is_no_data_set_yet_is_named(tmp_path, csv):
    from kladml.datasets import DatasetStore

    store = DatasetStore(tmp_path / "place" / ".kladml")
    dropped = tmp_path / "place" / "data" / "datasets" / "digits"
    dropped.mkdir(parents=True)
    with pytest.raises(DataError, match="there are none yet"):
        store.get("digits")  # the folder is empty
    csv("a,y", "1,0").rename(dropped / "digits.csv")
    said = "data/datasets/digits is a folder, and no data set yet; 'kladml data sync digits' makes it one"
    with pytest.raises(DataError, match=said):
        store.get("digits")
    store.add("digits", dropped)
    assert str(store.get("digits").reference) == "digits@1"


def test_what_is_not_there_is_said_with_what_is_near(store, csv):
    with pytest.raises(DataError, match="there are none yet; 'kladml data add digits PATH'"):
        store.get("digits")
    store.add("digits", csv("a,y", "1,0"))
    with pytest.raises(DataError, match="there is no data set 'digit'; there is digits"):
        store.get("digit")
    with pytest.raises(DataError, match="digits@4 is no version of 'digits'; there is digits@1"):
        store.get("digits@4")


def test_a_number_is_not_given_again(store, csv):
    for row in range(3):
        store.add("digits", csv("a,y", f"{row},0"))
    kept = store.get("digits@1")
    assert [gone.version for gone in store.remove(DatasetReference("digits", 3))] == [3]
    with pytest.raises(DataError, match="digits@3 was removed on 20"):
        store.get("digits@3")
    assert store.get("digits").version == 2
    assert store.add("digits", csv("a,y", "9,0"))[0].version == 4
    store.remove(DatasetReference("digits"))
    assert contents_of(store) == ([], [])
    with pytest.raises(DataError, match="all versions of the data set 'digits' were removed"):
        store.get("digits")
    assert store.add("digits", csv("a,y", "1,0"))[0].version == 5
    assert kept.version == 1


def test_removing_keeps_what_others_need(store, tree):
    store.add("one", tree({"a": b"shared", "b": b"own"}))
    other, _ = store.add("other", tree({"a": b"shared"}, "second"))
    store.remove(DatasetReference("one", 1))
    assert contents_of(store)[0] == [other.files[0].digest]
    assert store.verify(other) == []


@pytest.mark.parametrize("change", ["content", "size", "gone"])
def test_files_that_changed_under_a_version_are_found(store, tree, change):
    version, _ = store.add("blobs", tree({"a.bin": b"one", "b.bin": b"two"}))
    store.seals(version).require(version, version.files)
    path = store.objects.path(version.files[1].digest)
    path.chmod(0o644)
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(b"TWO" if change == "content" else b"three")
    with pytest.raises(DataError, match=r"blobs@1 is not what was added: its file b.bin (has|is)"):
        store.seals(version).require(version, version.files)
    assert [entry.name for entry, _ in store.verify(version)] == ["b.bin"]
    store.seals(version).require(version, version.files[:1])


def test_adding_again_repairs_what_was_changed(store, tree):
    folder = tree({"a.bin": b"one"})
    version, _ = store.add("blobs", folder)
    path = store.objects.path(version.files[0].digest)
    path.chmod(0o644)
    path.write_bytes(b"two")
    assert store.add("blobs", folder) == (version, False)
    assert store.verify(version) == []
    store.seals(version).require(version, version.files)


def test_a_change_that_kept_size_and_time_is_found_by_verifying(store, tree):
    version, _ = store.add("blobs", tree({"a.bin": b"one"}))
    path = store.objects.path(version.files[0].digest)
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.seals(version).require(version, version.files)
    assert [what for _, what in store.verify(version)] == ["has another content"]


def test_a_copied_workspace_is_read_once_more_and_works(store, tree):
    version, _ = store.add("blobs", tree({"a.bin": b"one"}))
    os.utime(store.objects.path(version.files[0].digest), ns=(1, 1))
    store.seals(version).require(version, version.files)
    assert store.seals(version).check(version.files) == []


@pytest.mark.parametrize("content", ["{", "{}", '{"format": 1}', "[]"])
def test_a_damaged_manifest_is_named(store, csv, content):
    store.add("digits", csv("a,y", "1,0"))
    file = store.state / "datasets/digits/1.json"
    file.write_text(content)
    with pytest.raises(DataError, match=r"datasets/digits/1.json cannot be read"):
        store.get("digits")


def test_a_manifest_that_was_edited_is_refused(store, csv):
    store.add("digits", csv("a,y", "1,0"))
    file = store.state / "datasets/digits/1.json"
    content = json.loads(file.read_text())
    for change, said in (
        ({"format": 99}, "has the format 99"),
        ({"files": [{**content["files"][0], "name": "../../etc/passwd"}]}, "cannot be the name of a file"),
        ({"files": [{**content["files"][0], "size": 1}]}, "do not give its fingerprint"),
    ):
        file.write_text(json.dumps({**content, **change}))
        with pytest.raises(DataError, match=said):
            store.get("digits")


def test_what_cannot_be_described_is_not_kept(store, csv):
    with pytest.raises(DataError, match=r"data.csv:3 has 1 column instead of 2: column 'y' is missing"):
        store.add("digits", csv("a,y", "1,0", "2"))
    with pytest.raises(DataError, match="no column or array 'z'"):
        store.add("digits", csv("a,y", "1,0"), target="z")
    assert contents_of(store) == ([], [])
    assert store.names() == []


def test_an_image_that_is_not_whole_is_named_and_nothing_is_kept(store, tree, picture):
    size = (40, 30)
    whole = {f"cat/1.{kind.lower()}": picture(1, kind, size) for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")}
    folder = tree({**whole, "LICENSE": b"free"})
    first, _ = store.add("pets", folder)
    before = sorted(store.objects.digests())
    for name, content in whole.items():
        for broken in (content[: len(content) // 2], b"", b"no image at all"):
            (folder / name).write_bytes(broken)
            with pytest.raises(DataError, match=rf"the image {name} cannot be read: .*; replace it or leave it out"):
                store.add("pets", folder)
        (folder / name).write_bytes(content)
    assert (store.versions("pets"), sorted(store.objects.digests())) == ([first], before)


def test_without_pillow_it_is_said_that_images_are_not_checked(store, tree, monkeypatch, caplog, capsys):
    monkeypatch.setattr(images, "find_spec", lambda _: None)
    store.add("cats", tree({"cat/1.png": b"none"}))
    said = caplog.text + capsys.readouterr().err
    assert "the images of cats are not checked, as pillow is not installed; pip install 'kladml-core[data]'" in said
    store.add("texts", tree({"1.txt": b"none"}, "texts"))
    assert "of texts" not in caplog.text + capsys.readouterr().err


def test_images_with_something_behind_their_end_are_images(store, tree, picture):
    folder = tree({f"cat/1.{kind.lower()}": picture(1, kind) + b"more" for kind in ("PNG", "JPEG", "GIF")})
    assert store.add("pets", folder)[1]


def test_only_new_images_are_checked(store, tree, picture, shown):
    folder = tree({"cat/1.png": picture(1), "dog/2.png": picture(2)})
    store.add("pets", folder)
    (folder / "dog/3.png").write_bytes(picture(3))
    store.add("pets", folder, progress=shown)
    size = len(picture(3))
    assert shown.of("checking the images of pets") == (size, size)


def test_what_is_no_file_is_refused(store):
    with pytest.raises(DataError, match="/dev/null is no regular file and no folder; name a file"):
        store.add("nothing", Path(os.devnull))
    assert store.names() == []


def test_a_failed_addition_takes_nothing_of_others_away(store, tree):
    folder = tree({"a.csv": b"a,y\n1,0\n"})
    first, _ = store.add("one", folder)
    (folder / "b.csv").write_bytes(b"a,y\n1\n")
    with pytest.raises(DataError, match=r"b.csv:2"):
        store.add("two", folder)
    assert contents_of(store) == ([first.files[0].digest], [])
    assert store.verify(first) == []


def test_the_interrupt_of_an_addition_leaves_nothing(store, tree, monkeypatch):
    folder = tree({f"{number}.bin": os.urandom(100) for number in range(20)})

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "describe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.add("blobs", folder)
    assert contents_of(store) == ([], [])
    assert store.names() == []


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB, where that can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing(small_disk, tree):
    store = DatasetStore(small_disk / ".kladml")
    folder = tree({"a.bin": os.urandom(500_000)})
    first, _ = store.add("blobs", folder)
    (folder / "b.bin").write_bytes(os.urandom(3_000_000))
    for _ in range(2):
        with pytest.raises(DataError, match=r"cannot be added to 'blobs': No space left on device; nothing of it"):
            store.add("blobs", folder)
        assert contents_of(store) == ([first.files[0].digest], [])
        assert store.get("blobs") == first
    (folder / "b.bin").write_bytes(os.urandom(500_000))
    assert store.add("blobs", folder)[0].version == 2


LIMITED = """
import resource, signal, sys
from pathlib import Path
from kladml.datasets import DatasetStore
from kladml.errors import DataError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    DatasetStore(Path(sys.argv[1])).add("blobs", Path(sys.argv[2]))
except DataError as error:
    print(error)
"""


def test_a_file_that_may_not_grow_leaves_nothing(store, tree):
    folder = tree({"a.bin": os.urandom(1_000), "b.bin": os.urandom(1_000_000)})
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(store.state), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "cannot be added to 'blobs': File too large; nothing of it was kept" in done.stdout
    assert contents_of(store) == ([], [])
    assert store.names() == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


ADDING = """
import sys
from pathlib import Path
from kladml.datasets import DatasetStore
store = DatasetStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
store.add("blobs", Path(sys.argv[2]))
"""


def test_eight_processes_at_once_number_without_gaps(store, tmp_path):
    processes = []
    for number in range(8):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(bytes([number]) * 1000)
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", ADDING, str(store.state), str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        )
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * 8
    assert [manifest.version for manifest in store.versions("blobs")] == [*range(1, 9)]
    assert len(contents_of(store)[0]) == 8


KILLED = """
import os, signal, sys
from pathlib import Path
from kladml.datasets import DatasetStore
from kladml.datasets import store
def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
store.describe = die
DatasetStore(Path(sys.argv[1])).add("blobs", Path(sys.argv[2]))
"""


def test_what_a_killed_process_left_is_no_version_and_goes_away(store, tree):
    folder = tree({"a.bin": b"one"})
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.state), str(folder)],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == -signal.SIGKILL
    assert store.names() == []
    version, _ = store.add("other", tree({"b.bin": b"two"}, "second"))
    store.add("third", tree({"c.bin": b"three"}, "third"))
    store.remove(DatasetReference("third", 1))
    assert contents_of(store) == ([version.files[0].digest], [])
