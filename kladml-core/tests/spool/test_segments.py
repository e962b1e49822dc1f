"""Where segments lie: on the disk, and in memory where that takes none."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import subprocess

import pytest

from kladml.spool.events import Tags
from kladml.spool.folder import Position, SpoolFolder
from kladml.spool.reader import SpoolReader
from kladml.spool.records import SegmentReader
from kladml.spool.segments import MEMORY_SEGMENTS, SegmentPool, segment_numbers, segment_path
from kladml.spool.writer import SpoolWriter


def steps(points):
    return [step for _, _, _, step in points]


def record(writer, numbers):
    for step in numbers:
        writer.record("loss", 0.5, step, 0)


def drain(reader, writer, pool, folder):
    """Read everything, and give segments back as a drain does."""
    found = []
    while len(batch := reader.read(50)):
        found += steps(batch.points)
    for number in reader.left:
        writer.forget(number)
        if segment_path(folder, number).exists():
            pool.take_back(segment_path(folder, number))
    reader.left.clear()
    return found


@pytest.fixture
def refusing(monkeypatch):
    """A disk that can be made full and empty again."""
    reserve = os.posix_fallocate
    full = []

    def fallocate(descriptor, offset, size):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    return full


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 64 KiB, where one can be made."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        is_there = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        is_there = False
    if not is_there:
        pytest.skip("needs a file system of its own")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_numbers_are_those_of_segments_alone(tmp_path):
    for name in ("00000010.seg", "00000002.seg", "x.seg", "position", "00000003.spare-1234", ".seg"):
        (tmp_path / name).touch()
    assert segment_numbers(tmp_path) == [2, 10]
    assert segment_numbers(tmp_path / "absent") == []


def test_space_is_reserved_before_anything_is_recorded(tmp_path):
    SegmentPool(tmp_path, 1 << 16).make(1)
    status = segment_path(tmp_path, 1).stat()
    assert (status.st_size, status.st_blocks * 512 >= 1 << 16) == (1 << 16, True)


def test_delivered_segments_are_used_again_and_show_nothing_of_before(tmp_path):
    pool = SegmentPool(tmp_path, 4096)
    folder = SpoolFolder(tmp_path)
    writer = SpoolWriter(pool)
    reader = SpoolReader(folder, Position(), writer)
    found, most = [], 0
    for start in range(0, 2000, 50):
        record(writer, range(start, start + 50))
        found += drain(reader, writer, pool, tmp_path)
        most = max(most, len(list(tmp_path.iterdir())))
    assert found == list(range(2000))
    assert most <= 5
    for spare in tmp_path.glob("*.spare-*"):
        assert not spare.read_bytes().strip(b"\0")
    again = pool.make(writer._made + 1)
    assert len(SegmentReader(again.buffer).read(10)) == 0
    assert not bytes(again.buffer)[28:].strip(b"\0")
    again.close()
    writer.close()
    reader.close()
    pool.close()
    assert list(tmp_path.glob("*.spare-*")) == []


def test_spares_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "00000001.spare-12345678").write_bytes(b"x" * 100)
    SegmentPool(tmp_path, 4096)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_said_once_and_records_in_memory_are_delivered(small_disk, said):
    pool = SegmentPool(small_disk, 16_384)
    writer = SpoolWriter(pool)
    record(writer, range(3500))
    assert writer.lost == 0
    assert writer.segments_in_memory() != []
    (warning,) = said()
    assert warning == (
        f"{small_disk} takes no more records (No space left on device); they are kept in memory until they are "
        "delivered, and are lost if this process is killed before"
    )
    reader = SpoolReader(SpoolFolder(small_disk), Position(), writer)
    found = drain(reader, writer, pool, small_disk)
    record(writer, range(3500, 5000))
    assert found + drain(reader, writer, pool, small_disk) == list(range(5000))
    assert len(said()) == 1
    writer.close()
    reader.close()


def test_records_go_back_to_the_disk_when_there_is_space_again(refusing, folder, said):
    pool = SegmentPool(folder.path, 2048)
    writer = SpoolWriter(pool)
    reader = SpoolReader(folder, Position(), writer)
    found = []
    for start in range(0, 1000, 100):
        if start % 300 == 0:
            refusing.append(True)
        elif start % 300 == 100:
            refusing.clear()
        record(writer, range(start, start + 100))
        if start % 400 == 0:
            found += drain(reader, writer, pool, folder.path)
    assert writer._segment.path is None or writer._segment.path.exists()
    found += drain(reader, writer, pool, folder.path)
    assert found == list(range(1000))
    assert writer.lost == 0
    assert len(said()) == 1
    writer.close()


def test_order_is_kept_when_memory_and_disk_take_turns_and_all_is_read_at_the_end(refusing, folder):
    writer = SpoolWriter(SegmentPool(folder.path, 1024))
    for start in range(0, 200, 25):
        (refusing.clear if (start // 25) % 2 else lambda: refusing.append(True))()
        record(writer, range(start, start + 25))
        writer.record_event(Tags({"a": "x" * 500}))
    reader = SpoolReader(folder, Position(), writer)
    found = []
    while len(batch := reader.read(1)):
        found += steps(batch.points)
    assert found == list(range(200))
    writer.close()
    reader.close()


def test_memory_is_bounded_and_what_is_lost_is_counted_and_said_once(refusing, folder, said):
    refusing.append(True)
    writer = SpoolWriter(SegmentPool(folder.path, 2048))
    record(writer, range(3000))
    assert len(writer.segments_in_memory()) == MEMORY_SEGMENTS
    reader = SpoolReader(folder, Position(), writer)
    found = []
    while len(batch := reader.read(50)):
        found += steps(batch.points)
    assert len(found) + writer.lost == 3000
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (0, 2999)
    assert len(said()) == 2
    assert said()[1] == "there is no place left for the records of this run, on disk or in memory: some are lost"
    writer.close()


def test_folder_that_cannot_be_made(tmp_path, said):
    (tmp_path / "file").touch()
    folder = SpoolFolder(tmp_path / "file" / "run")
    writer = SpoolWriter(SegmentPool(folder.path, 2048))
    record(writer, range(100))
    reader = SpoolReader(folder, Position(), writer)
    found = []
    while len(batch := reader.read(50)):
        found += steps(batch.points)
    assert found == list(range(100))
    assert len(said()) == 1
    writer.close()


def test_file_that_may_not_grow(run_program, tmp_path):
    """RLIMIT_FSIZE refuses as a quota does."""
    out = run_program(
        """
import resource, signal, sys
from pathlib import Path
from kladml.spool.drain import count_left
from kladml.spool.folder import SpoolFolder
from kladml.spool.segments import SegmentPool
from kladml.spool.writer import SpoolWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
folder = SpoolFolder(Path(sys.argv[1]))
writer = SpoolWriter(SegmentPool(folder.path, 4096))
for step in range(500):
    writer.record("loss", 0.5, step)
print(count_left(folder, writer), len(writer.segments_in_memory()), folder.numbers())
""",
        tmp_path,
    )
    left, in_memory, numbers = out.split(maxsplit=2)
    assert (left, int(in_memory) > 1, numbers.strip()) == ("500", True, "[]")


@pytest.fixture
def maps_nothing(monkeypatch):
    """A network file system that has no shared mappings."""

    class Refused(mmap.mmap):
        def __new__(cls, *_, **__):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(mmap, "mmap", Refused)


def test_file_system_that_maps_nothing_is_written_call_by_call(maps_nothing, folder, said, read_all):
    pool = SegmentPool(folder.path, 2048)
    writer = SpoolWriter(pool)
    for step in range(200):
        writer.record("loss", 0.5, step, 0)
        if step % 40 == 0:
            assert steps(read_all()[0]) == list(range(step + 1))  # another process sees it
    reader = SpoolReader(folder, Position(), writer)
    found = drain(reader, writer, pool, folder.path)
    for step in range(200, 300):
        writer.record_all({"loss": 0.5, "accuracy": 1.0}, step, 0)
        found += drain(reader, writer, pool, folder.path)[::2]
    assert found == list(range(300))
    writer.close()
    assert said() == []


def test_disk_that_fails_while_it_is_written_call_by_call(maps_nothing, monkeypatch, folder, said):
    """A server of files that goes away: training goes on."""
    writer = SpoolWriter(SegmentPool(folder.path, 2048))
    reader = SpoolReader(folder, Position(), writer)
    record(writer, range(20))
    found = steps(reader.read(10).points)

    def fail(*_):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        patch.setattr(os, "posix_fallocate", fail)
        record(writer, range(20, 150))
    record(writer, range(150, 300))
    while len(batch := reader.read(50)):
        found += steps(batch.points)
    assert found == list(range(300))
    assert len(said()) == 1
    assert "Stale file handle" in said()[0]
    writer.close()
    assert folder.numbers()


def test_interrupt_in_the_middle_of_writing_leaves_no_hole(maps_nothing, monkeypatch, folder, read_all):
    writer = SpoolWriter(SegmentPool(folder.path, 4096))
    pwrite, calls = os.pwrite, []

    def interrupted(descriptor, data, offset):
        calls.append(offset)
        if len(calls) % 25 == 0:
            raise KeyboardInterrupt
        return pwrite(descriptor, data[: max(1, len(data) // 2)], offset)

    monkeypatch.setattr(os, "pwrite", interrupted)
    done = []
    for step in range(60):
        try:
            writer.record("loss", 0.5, step, 0)
        except KeyboardInterrupt:
            continue
        done.append(step)
    monkeypatch.setattr(os, "pwrite", pwrite)
    writer.close()
    found = steps(read_all()[0])
    assert [step for step in done if step not in found] == []
    assert found == sorted(set(found))
    assert len(done) > 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_is_recorded_is_on_the_disk_when_the_process_is_killed(run_program, folder, read_all, said):
    program = """
import os, signal, sys
from pathlib import Path
from kladml.spool.segments import SegmentPool
from kladml.spool.writer import SpoolWriter
writer = SpoolWriter(SegmentPool(Path(sys.argv[1]), 4096))
for step in range(1000):
    writer.record("loss", 0.5, step, 0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    run_program(program, folder.path, code=-signal.SIGKILL)
    assert steps(read_all()[0]) == list(range(1000))
    assert said() == []
