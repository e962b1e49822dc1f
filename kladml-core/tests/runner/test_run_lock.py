import json
import os

import pytest

from kladml.errors import TrainingError
from kladml.interfaces import RunAddress
from kladml.runner.run_lock import RunLock

ADDRESS = RunAddress.parse("digits@3")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "3"


def test_lock_is_free_again_after_use(folder):
    for _ in range(2):
        with RunLock(folder, ADDRESS):
            assert json.loads((folder / "holder.json").read_text())["pid"] == os.getpid()
        assert not (folder / "holder.json").exists()


def test_lock_is_taken_once_in_a_process(folder):
    with RunLock(folder, ADDRESS):
        with pytest.raises(TrainingError) as caught, RunLock(folder, ADDRESS):
            pass
        said = f"run default/default/digits@3 is being trained by process {os.getpid()} on "
        assert str(caught.value).startswith(said)
        # The refused one has not let go of it.
        with pytest.raises(TrainingError), RunLock(folder, ADDRESS):
            pass


def test_note_of_an_earlier_process_of_the_same_number_does_not_count(folder):
    folder.mkdir(parents=True)
    (folder / "holder.json").write_text(json.dumps({"process": f"{os.getpid()}-0123456789abcdef", "pid": os.getpid()}))
    with RunLock(folder, ADDRESS):
        pass


def test_note_that_is_no_note_does_not_matter(folder):
    folder.mkdir(parents=True)
    for text in ("", "[]", "{"):
        (folder / "holder.json").write_text(text)
        with RunLock(folder, ADDRESS):
            pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_process_neither_keeps_nor_breaks_the_lock(folder):
    ready, go = os.pipe()
    with RunLock(folder, ADDRESS):
        child = os.fork()
        if child == 0:  # as a worker that loads data: it outlives the one that has the lock
            os.close(go)
            os.read(ready, 1)
            os._exit(0)
    try:
        with RunLock(folder, ADDRESS):
            pass
    finally:
        os.close(go)
        os.waitpid(child, 0)
        os.close(ready)
