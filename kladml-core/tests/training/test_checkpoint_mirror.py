"""Checkpoints in a storage: complete or unseen, never in the training's way, and enough for an empty machine."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kladml.errors import CheckpointError, StorageError
from kladml.files.scratch import SCRATCH
from kladml.interfaces import StorageInterface
from kladml.testing.fakes import MemoryStorage
from kladml.testing.faults import failing
from kladml.training.checkpointing import mirror as checkpoint_mirror
from kladml.training.checkpointing import store as checkpoints
from kladml.training.checkpointing.mirror import CheckpointMirror, pull
from kladml.training.checkpointing.store import Checkpoint, CheckpointStore, SavedCheckpoint

BUCKET, PREFIX = "ml", "project/family/experiment/3/checkpoints"


class FolderStorage(StorageInterface):
    """The shortest honest storage: files in folders, and none of the capabilities."""

    def __init__(self, root):
        self.root = Path(root)

    def upload_file(self, local_path, bucket, key):
        target = self.root / bucket / key
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part")
        shutil.copyfile(local_path, partial)
        partial.replace(target)
        return target.as_uri()

    def download_file(self, bucket, key, local_path):
        try:
            shutil.copyfile(self.root / bucket / key, local_path)
        except OSError as error:
            raise StorageError(f"{key}: {error.strerror}") from error
        return str(local_path)

    def list_files(self, bucket, prefix=""):
        files = (path for path in (self.root / bucket).rglob("[!.]*") if path.is_file())
        return sorted(
            key for path in files if (key := path.relative_to(self.root / bucket).as_posix()).startswith(prefix)
        )


class RecordingStorage(MemoryStorage):
    """Notes the order of uploads, each of which waits while the gate is shut."""

    def __init__(self):
        super().__init__()
        self.uploads, self.gate, self.asked = [], threading.Event(), threading.Event()
        self.gate.set()

    def upload_file(self, local_path, bucket, key):
        self.asked.set()
        assert self.gate.wait(60)
        self.uploads.append(key.removeprefix(f"{PREFIX}/"))
        return super().upload_file(local_path, bucket, key)


def checkpoint(number):
    tensor = torch.full((3,), float(number))
    return Checkpoint({"weight": tensor}, {"0.momentum": tensor}, {"number": number}, [b"rank"])


def number_of(path):
    found = checkpoints.load(path)
    number = found.state["number"]
    assert found.model["weight"].tolist() == found.optimizer["0.momentum"].tolist() == [number] * 3
    assert found.ranks == [b"rank"]
    return number


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints", keep_last=2)


@pytest.fixture
def storage():
    return RecordingStorage()


@pytest.fixture
def mirror(storage):
    made = CheckpointMirror(storage, BUCKET, PREFIX, keep_last=2)
    yield made
    storage.gate.set()
    made.wait()
    made.close()


@pytest.fixture
def save(store, mirror):
    """Save and begin to upload."""

    def call(number, *, is_best=False, to=None):
        path = store.save(checkpoint(number), number, is_best=is_best)
        (to or mirror).upload_later(SavedCheckpoint(path, number, is_best))
        return path

    return call


def names_in(storage):
    return sorted({key.split("/")[-2] for key in storage.list_files(BUCKET, f"{PREFIX}/step-")})


def links_in(store):
    return [path for path in store.folder.iterdir() if path.name.startswith(".mirror-")]


# There and back


def test_an_empty_machine_gets_the_newest_and_the_best_checkpoint(save, mirror, storage, tmp_path):
    for number in range(1, 6):
        save(number, is_best=number == 2)
        mirror.wait()

    empty = tmp_path / "empty" / "checkpoints"
    path = pull(storage, BUCKET, PREFIX, empty)

    assert path == empty / "step-00000005"
    assert number_of(path) == 5
    pulled = CheckpointStore(empty)
    assert pulled.latest() == path
    assert number_of(pulled.best()) == 2
    assert {each.name for each in empty.iterdir()} == {"step-00000002", "step-00000005"}


def test_what_is_needed_for_a_moment_is_in_the_workspace(storage, store, save, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    state = tmp_path / ".kladml"
    mirror = CheckpointMirror(storage, BUCKET, PREFIX, state=state)
    save(1, is_best=True, to=mirror)
    mirror.wait()
    assert number_of(pull(storage, BUCKET, PREFIX, tmp_path / "empty", state)) == 1
    assert list((state / SCRATCH).iterdir()) == []
    with pytest.raises(OSError, match="absent"):
        pull(storage, BUCKET, PREFIX, tmp_path / "empty")  # without a workspace there is only the system's folder


def test_what_is_saved_after_pulling_is_newer_wherever_it_is_looked_for(save, mirror, storage, tmp_path):
    save(7)
    mirror.wait()
    second = CheckpointStore(tmp_path / "second")
    pull(storage, BUCKET, PREFIX, second.folder)
    path = second.save(checkpoint(3), 3)
    again = CheckpointMirror(storage, BUCKET, PREFIX)
    again.upload_later(SavedCheckpoint(path, 3, is_best=False))
    assert again.wait() == []

    assert number_of(second.latest()) == 3
    assert number_of(pull(storage, BUCKET, PREFIX, tmp_path / "third")) == 3


def test_files_go_first_the_manifest_follows_and_the_pointer_to_the_best_one_is_last(save, mirror, storage):
    save(1, is_best=True)
    assert mirror.wait() == []

    *files, manifest, pointer = storage.uploads
    assert sorted(files) == [
        f"step-00000001/{name}"
        for name in ("model.safetensors", "optimizer.safetensors", "rank-00000.safetensors", "state.json")
    ]
    assert (manifest, pointer) == ("step-00000001/MANIFEST.json", "best.json")


def test_a_storage_without_checkpoints_has_nothing_to_pull(storage, tmp_path):
    storage.files[BUCKET, f"{PREFIX}/best.json"] = b"{}"
    storage.files[BUCKET, f"{PREFIX}/step-x/MANIFEST.json"] = b"{}"
    storage.files[BUCKET, f"{PREFIX}-other/step-00000001/MANIFEST.json"] = b"{}"

    assert pull(storage, BUCKET, PREFIX, tmp_path / "empty") is None


def test_a_prefix_is_not_needed(store, storage, tmp_path):
    mirror = CheckpointMirror(storage, BUCKET, "")
    mirror.upload_later(SavedCheckpoint(store.save(checkpoint(1), 1), 1, is_best=False))
    mirror.wait()

    assert (BUCKET, "step-00000001/MANIFEST.json") in storage.files
    assert number_of(pull(storage, BUCKET, "", tmp_path / "empty")) == 1


def test_the_storage_keeps_as_many_as_asked_for_and_the_best_one(save, mirror, storage):
    for number in range(1, 7):
        save(number, is_best=number == 2)
        mirror.wait()

    assert names_in(storage) == ["step-00000002", "step-00000005", "step-00000006"]


def test_a_storage_that_cannot_delete_keeps_all(store, tmp_path, caplog):
    storage = FolderStorage(tmp_path / "storage")
    mirror = CheckpointMirror(storage, BUCKET, PREFIX, keep_last=1)
    with caplog.at_level(logging.WARNING, logger="kladml"):
        for number in range(1, 5):
            mirror.upload_later(SavedCheckpoint(store.save(checkpoint(number), number), number, is_best=False))
            mirror.wait()

    assert names_in(storage) == [f"step-0000000{number}" for number in range(1, 5)]
    assert number_of(pull(storage, BUCKET, PREFIX, tmp_path / "empty")) == 4
    assert caplog.messages == []


def test_a_checkpoint_that_is_here_and_whole_is_not_downloaded_and_a_damaged_one_is(save, mirror, storage, tmp_path):
    save(1)
    mirror.wait()
    here = pull(storage, BUCKET, PREFIX, tmp_path / "here")
    with failing(storage, "download_file", StorageError("the network is gone"), after=1):
        assert pull(storage, BUCKET, PREFIX, tmp_path / "here") == here

    (here / "model.safetensors").write_bytes(b"damaged")
    assert number_of(pull(storage, BUCKET, PREFIX, tmp_path / "here")) == 1


# What is incomplete or damaged in the storage


@pytest.mark.parametrize("uploads", range(5))
def test_an_upload_that_was_cut_off_is_not_seen_and_cleared_away_later(save, mirror, storage, tmp_path, uploads):
    save(1)
    mirror.wait()
    with failing(storage, "upload_file", ConnectionError("reset"), after=uploads):
        save(2)
        mirror.wait()
    mirror.close()
    assert number_of(pull(storage, BUCKET, PREFIX, tmp_path / "empty")) == 1

    later = CheckpointMirror(storage, BUCKET, PREFIX, keep_last=1)
    save(3, to=later)
    assert later.wait() == []
    assert names_in(storage) == ["step-00000003"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_storage_is_noticed_and_the_checkpoint_before_is_taken(
    tmp_path_factory, caplog, data, place, bit
):
    folder = tmp_path_factory.mktemp("flip")
    store, storage = CheckpointStore(folder / "store"), MemoryStorage()
    mirror = CheckpointMirror(storage, BUCKET, PREFIX)
    for number in (1, 2):
        mirror.upload_later(SavedCheckpoint(store.save(checkpoint(number), number), number, is_best=False))
        mirror.wait()
    key = data.draw(st.sampled_from(storage.list_files(BUCKET, f"{PREFIX}/step-00000002/")))
    content = bytearray(storage.files[BUCKET, key])
    content[int(place * len(content))] ^= 1 << bit
    storage.files[BUCKET, key] = bytes(content)
    caplog.clear()

    with caplog.at_level(logging.WARNING, logger="kladml"):
        number = number_of(pull(storage, BUCKET, PREFIX, folder / "empty"))

    if number == 2:  # white space of the manifest
        assert key.endswith("MANIFEST.json")
    else:
        assert number == 1
        assert f"{PREFIX}/step-00000002" in caplog.text
    assert not list((folder / "empty").glob(".tmp-*"))


def test_checkpoints_of_which_none_can_be_used_are_an_error_and_not_a_fresh_start(save, mirror, storage, tmp_path):
    for number in (1, 2):
        save(number)
        mirror.wait()
        storage.files[BUCKET, f"{PREFIX}/step-0000000{number}/model.safetensors"] = b"damaged"

    with pytest.raises(CheckpointError, match=r"none of the 2 checkpoints in ml/project/.* can be used"):
        pull(storage, BUCKET, PREFIX, tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_storage_that_cannot_list_says_so(storage, tmp_path):
    with failing(storage, "list_files", StorageError("the server is gone")), pytest.raises(StorageError, match="gone"):
        pull(storage, BUCKET, PREFIX, tmp_path / "empty")


def test_keys_that_would_leave_the_folder_are_no_checkpoints(save, mirror, storage, tmp_path):
    save(1)
    mirror.wait()
    for key in ("step-00000009/../../../MANIFEST.json", "step-00000009\\..\\MANIFEST.json", "step-..//MANIFEST.json"):
        storage.files[BUCKET, f"{PREFIX}/{key}"] = b"{}"

    assert number_of(pull(storage, BUCKET, PREFIX, tmp_path / "empty")) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name not in {"checkpoints", "empty"}] == []


# A storage that fails or is slow


def test_a_storage_that_fails_is_warned_about_and_tried_again_with_the_next_checkpoint(save, mirror, storage, caplog):
    with caplog.at_level(logging.WARNING, logger="kladml"):
        with failing(storage, "upload_file", StorageError("the server is gone")):
            path = save(1, is_best=True)
            (left,) = mirror.wait()
        assert left.path == path
        assert all("the server is gone" in message for message in caplog.messages[:-1])
        assert "training goes on, and the next checkpoint tries again" in caplog.messages[0]
        assert f"{path} is not in ml/{PREFIX}: it is on this disk only" in caplog.messages[-1]
        caplog.clear()
        save(2)
        assert mirror.wait() == []

    assert caplog.messages == []
    assert names_in(storage) == ["step-00000001", "step-00000002"]
    assert '"step-00000001"' in storage.files[BUCKET, f"{PREFIX}/best.json"].decode()


def test_a_storage_that_cannot_prune_has_the_checkpoint_all_the_same(save, mirror, storage, caplog):
    with caplog.at_level(logging.WARNING, logger="kladml"), failing(storage, "delete_file", StorageError("denied")):
        for number in range(1, 4):
            save(number)
            assert mirror.wait() == []

    assert "older checkpoints in ml/" in caplog.text
    assert "denied" in caplog.text
    assert names_in(storage) == ["step-00000001", "step-00000002", "step-00000003"]


def test_a_storage_that_hangs_holds_up_neither_saves_nor_the_end(save, mirror, storage, store, caplog, monkeypatch):
    monkeypatch.setattr(checkpoint_mirror, "_SLOW", 0.0)
    storage.gate.clear()
    with caplog.at_level(logging.WARNING, logger="kladml"):
        for number in range(1, 6):
            save(number, is_best=number in (1, 3))
            assert storage.asked.wait(60)
        assert [saved.step for saved in mirror.wait(timeout=0.05)] == [5, 3]

    slow = [message for message in caplog.messages if "has been going on for" in message]
    assert len(slow) == 1
    assert "step-00000001" in slow[0]
    assert "training goes on" in slow[0]
    assert len(links_in(store)) == 3
    storage.gate.set()
    assert mirror.wait() == []
    assert names_in(storage) == ["step-00000003", "step-00000005"]
    assert links_in(store) == []


def test_what_is_superseded_before_its_turn_is_left_out_and_what_was_pruned_here_is_whole_there(
    save, mirror, storage, store
):
    storage.gate.clear()
    save(1)
    assert storage.asked.wait(60)
    for number in range(2, 8):
        save(number, is_best=number == 3)
    assert not (store.folder / "step-00000001").exists()
    storage.gate.set()
    assert mirror.wait() == []

    uploaded = {key.split("/")[0] for key in storage.uploads}
    assert uploaded == {"step-00000001", "step-00000007", "step-00000003", "best.json"}
    assert names_in(storage) == ["step-00000003", "step-00000007"]
    assert links_in(store) == []


def test_without_hard_links_checkpoints_are_uploaded_from_where_they_are(save, mirror, storage, monkeypatch, tmp_path):
    def fail(*arguments):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    save(1)
    assert mirror.wait() == []

    assert number_of(pull(storage, BUCKET, PREFIX, tmp_path / "empty")) == 1


def test_a_checkpoint_that_is_gone_already_is_left_out(mirror, storage, store, caplog):
    mirror.upload_later(SavedCheckpoint(store.folder / "step-00000001", 1, is_best=False))

    assert mirror.wait() == []
    assert (storage.files, caplog.messages) == ({}, [])


def test_what_a_killed_process_linked_is_cleared_away(save, mirror, store):
    left = store.folder / ".mirror-0123" / "step-00000001"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"")

    save(2)
    mirror.wait()

    assert links_in(store) == []


def test_without_a_thread_for_it_an_upload_is_tried_again_later(save, mirror, storage, monkeypatch, caplog):
    def fail(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, logger="kladml"):
        patch.setattr(threading.Thread, "start", fail)
        save(1)
    assert "can't start new thread; the next one tries again" in caplog.text

    save(2)
    assert mirror.wait() == []
    assert names_in(storage) == ["step-00000002"]


def test_no_thread_is_left_between_checkpoints(save, mirror):
    save(1)
    mirror.wait()
    for thread in threading.enumerate():
        if thread.name == "kladml-checkpoint-mirror":
            thread.join(10)  # it has said that it is done, and is about to end
            assert not thread.is_alive()


def test_what_is_given_up_leaves_nothing_behind(save, mirror, storage, store):
    with failing(storage, "upload_file", StorageError("gone")):
        save(1)
        mirror.wait()
        assert len(links_in(store)) == 1
        mirror.close()

    assert links_in(store) == []
    assert mirror.wait() == []


PROGRAM = """
import sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from test_checkpoint_mirror import BUCKET, PREFIX, FolderStorage, checkpoint
from kladml.training.checkpointing.mirror import CheckpointMirror
from kladml.training.checkpointing.store import CheckpointStore, SavedCheckpoint
"""


def test_a_process_ends_although_the_storage_hangs(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM
            + textwrap.dedent(
                """
                class Hanging(FolderStorage):
                    def upload_file(self, *arguments):
                        threading.Event().wait()

                store = CheckpointStore(Path(sys.argv[2]))
                mirror = CheckpointMirror(Hanging("x"), BUCKET, PREFIX)
                mirror.upload_later(SavedCheckpoint(store.save(checkpoint(1), 1), 1, False))
                print([saved.step for saved in mirror.wait(0.1)])
                mirror.close()
                """
            ),
            str(Path(__file__).parent),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "[1]\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked, so that torch is imported once")
def test_after_any_kill_the_storage_has_a_checkpoint_that_loads(tmp_path):
    """A process saves and uploads back to back, and is killed at times that nobody chose."""
    program = PROGRAM + textwrap.dedent(
        """
        import json, os, random, signal
        from test_checkpoint_mirror import number_of, pull

        root, parent, uploaded = Path(sys.argv[2]), os.getpid(), [-1]
        storage = FolderStorage(root / "storage")

        def train():
            store = CheckpointStore(root / "checkpoints", keep_last=1)
            mirror = CheckpointMirror(storage, BUCKET, PREFIX, keep_last=1)
            begin = number_of(store.latest()) + 1 if store.latest() else 0
            for number in range(begin, 10**9):
                store.save_later(checkpoint(number), number, is_best=number % 3 == 0)
                for saved in store.finished():
                    mirror.upload_later(saved)
                    mirror.wait()
                    os.write(tell, b".")
                if os.getppid() != parent:
                    break

        for kill in range(int(sys.argv[3])):
            told, tell = os.pipe()
            child = os.fork()
            if child == 0:
                train()
                os._exit(1)
            os.close(tell)
            reached = uploaded[-1] + sum(len(os.read(told, 1)) for _ in range(3))
            time.sleep(random.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
            os.close(told)
            empty = root / f"empty-{kill}"
            uploaded.append(number_of(pull(storage, BUCKET, PREFIX, empty)))
            assert uploaded[-1] >= reached, (uploaded, reached)
            assert number_of(CheckpointStore(empty).best()) == uploaded[-1] // 3 * 3
        print(json.dumps(uploaded))
        """
    )
    kills = 200 if os.environ.get("KLADML_RELIABILITY") == "1" else 10
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path), str(kills)],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    uploaded = json.loads(done.stdout)
    assert len(uploaded) == kills + 1
    assert uploaded == sorted(set(uploaded))
