"""Processes that record with `LocalTracker` and are killed at random moments: how much acknowledged is lost.

    python benchmarks/tracker_faults.py [--kills N] [--openings N] [--damages N] [--seed N] [--folder FOLDER]

Kills: one process, then eight on one database, record as fast as they can or slower, and note each call on a mapped
file when it has returned. Each is killed (SIGKILL) at a random moment, and so is, half of the time, the process that
recovers what they left, up to three times. Then a new tracker opens, and the database is compared with the notes:
nothing acknowledged may be missing, nothing double, nothing there that was never recorded, every run marked as killed,
every table whole, and MLflow's own client reads a sample. Openings: eight processes open a missing database at once.
Damages: a byte of a killed run's segments is changed, or its file is cut there; everything before it must be kept, and
it must be said once. The exit status is 1 if anything is not so. Linux and macOS only.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "kladml-backends-local" / "tests"))

import tracker_lab as lab

PROCESSES = 8
_SAMPLES = 10
_SEGMENT_BYTES = 16 << 10
_CALLS = 1_500


def killed(folder: Path, template: Path, processes: int, kills: int, chance: random.Random) -> lab.Tally:
    """Kill processes until that many were killed, and return what was found."""
    total, rounds = lab.Tally(), 0
    while total.kills < kills:
        place = folder / f"kills-{processes}-{rounds}"
        found = lab.kill_round(lab.new_database(place, template), processes, chance)
        rounds += 1
        total += found
        _progress(f"{total.kills} of {kills} kills of {processes}", found.wrong)
        if not found.wrong and not found.lost:
            shutil.rmtree(place)
    return total


def read_by_mlflow(folder: Path, template: Path) -> list[str]:
    """Kill one process early a few times, and return where MLflow's own client reads something else."""
    wrong = []
    for number in range(_SAMPLES):
        database = lab.new_database(folder / f"sample-{number}", template)
        board = lab.Board(database.parent / "board", 1)
        process = lab.start("record", database, database.parent / "board", 0, 0.001, lab.SEGMENTS[0])
        while board.read(0)[1]["ten"] <= number:
            time.sleep(0.005)
        process.kill()
        recorded, recovered = lab.output(process), lab.output(lab.start("recover", database))
        if (recorded, recovered) != ((-signal.SIGKILL, ""), (0, "")):
            wrong.append(f"{recorded}, {recovered}")
        run_id, counts = board.read(0)
        board.close()
        status, metrics, points = lab.read_by_mlflow(database, str(run_id))
        step = round(metrics["one"] * 7)  # the value's inverse
        is_right = counts["one"] - 1 <= step <= counts["one"] and counts["ten"] <= points <= counts["ten"] + 1
        if status != "KILLED" or not is_right:
            wrong.append(f"{status}, {metrics['one']}, {points} of {counts}")
    return wrong


def opened(folder: Path, openings: int) -> list[str]:
    """Let processes open missing databases at once, and return what went wrong."""
    wrong = []
    for number in range(openings):
        place = folder / f"opened-{number}"
        place.mkdir()
        wrong += lab.open_missing(place, PROCESSES)
        _progress(f"{number + 1} of {openings} openings", wrong)
    return wrong


def damaged(folder: Path, template: Path, damages: int, chance: random.Random) -> list[str]:
    """Damage copies of a killed run, and return what is wrong after its recovery."""
    database = lab.new_database(folder / "waiting", template)
    lab.output(lab.start("wait", database, _SEGMENT_BYTES, _CALLS))
    wrong = []
    for number in range(damages):
        place = folder / f"damaged-{number}"
        wrong += lab.damaged_round(database, place, lab.any_damage(database, chance))
        shutil.rmtree(place)
    _progress(f"{damages} damages", wrong)
    return wrong


def _progress(text: str, wrong: list[str]) -> None:
    print("; ".join([text, *wrong]), file=sys.stderr, flush=True)


def main() -> int:
    """Do it all, print the tables, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200, help="how many processes are killed: half of them alone")
    parser.add_argument("--openings", type=int, default=5, help="how many databases eight processes open at once")
    parser.add_argument("--damages", type=int, default=300, help="how many segments are damaged")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31), help="of the random moments")
    parser.add_argument("--folder", type=Path, help="where the databases lie; what is wrong stays there")
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 - moments and bytes, no secrets
    print(f"seed {options.seed}", file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="tracker-faults-", dir=options.folder))
    template = lab.new_database(folder / "template")
    tallies = {count: killed(folder, template, count, options.kills // 2, chance) for count in (1, PROCESSES)}
    others = {
        f"runs of killed processes that MLflow's client reads ({_SAMPLES})": read_by_mlflow(folder, template),
        f"openings of a missing database by {PROCESSES} processes ({options.openings})": opened(
            folder, options.openings
        ),
        f"damaged segments ({options.damages})": damaged(folder, template, options.damages, chance),
    }
    print("| processes | kills | of them while recovering | points acknowledged | in the database | lost | wrong |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for processes, tally in tallies.items():
        print(
            f"| {processes} | {tally.kills} | {tally.recoveries} | {tally.acknowledged:,} | {tally.kept:,} "
            f"| {tally.lost} | {len(tally.wrong)} |"
        )
    print("\n| | wrong |\n| --- | --- |")
    for name, wrong in others.items():
        print(f"| {name} | {len(wrong)} |")
    problems = [text for tally in tallies.values() for text in tally.wrong]
    problems += [text for texts in others.values() for text in texts]
    for text in problems:
        print(text, file=sys.stderr)
    is_good = not problems and not any(tally.lost for tally in tallies.values())
    if is_good:
        shutil.rmtree(folder)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
