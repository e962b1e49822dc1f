"""Runs trainings in real processes that may be killed; `rank_server.py` forks them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

JOBS = Path(__file__).with_name("jobs.py")
PATIENCE = 120  # seconds after which a process that has not ended is killed
QUIET = {"every_steps": 0, "every_epochs": 0}  # a configuration of checkpoints: the best ones and the last one


@dataclass(frozen=True)
class Ended:
    """How one process of a training ended.

    Attributes:
        code: Its exit status as the command line has it; that of a process which a signal killed is negative.
        error: Type of the exception that it ended with, or an empty text.
        problem: What that says.
        next_step: What that proposes.
        output: What it wrote to standard output and standard error.
    """

    code: int
    error: str
    problem: str
    next_step: str
    output: str


class Lab:
    """Trainings in processes of their own.

    Args:
        folder: Where they work.
        server: The process that forks them.
    """

    def __init__(self, folder, server):
        self.folder, self.server = Path(folder), server
        self.made = 0
        self.ends = {}

    def new(self, *, world=1, **job):
        """Return a training that has not begun; see jobs.py for what it may be."""
        self.made += 1
        return Training(self, self.folder / f"{self.made:04d}", job, world)

    def uninterrupted(self, *, world=1, **job):
        """Return the end of a training that nothing interrupts, and that saves as few checkpoints as possible."""
        key = json.dumps([world, job], sort_keys=True)
        if key not in self.ends:
            training = job.get("training", {})
            quiet = {**job, "training": {**training, "checkpoint": {**training.get("checkpoint", {}), **QUIET}}}
            self.ends[key] = self.new(world=world, **quiet).finish().end()
        return self.ends[key]

    def run(self, folder, job, world):
        """Train in so many processes, and return how each ended."""
        folder.mkdir(parents=True, exist_ok=True)
        said = [folder / f"rank-{rank}.json" for rank in range(world)]
        for path in said:
            path.unlink(missing_ok=True)
        request = {
            "world": world,
            "file": str(JOBS),
            "function": "run",
            "arguments": {"job": job, "folder": str(folder)},
            "folder": str(folder),
            "limit": PATIENCE,
            "environment": {"GLOO_SOCKET_IFNAME": "lo"},
        }
        print(json.dumps(request), file=self.server.stdin, flush=True)
        codes = json.loads(self.server.stdout.readline())
        return [_ended(code, path) for code, path in zip(codes, said, strict=True)]


def _ended(code, said):
    output = said.with_suffix(".log").read_text(errors="replace")
    content = _json(said) if said.exists() else {}
    if "error" in content:
        return Ended(code, content["error"], content["message"], "", output)
    failed = content.get("returned", {}).get("failed")
    return Ended(**failed, output=output) if failed else Ended(code, "", "", "", output)


class Training:
    """One training, from its beginning over any number of interruptions to its end."""

    def __init__(self, lab, folder, job, world):
        self.lab, self.folder, self.job, self.world = lab, folder, job, world

    @property
    def checkpoints(self):
        """The folders of the checkpoints, the oldest first."""
        manifests = self.folder.glob("checkpoints/step-*/MANIFEST.json")
        return [path.parent for path in sorted(manifests, key=lambda path: _json(path)["sequence"])]

    def live(self, *trouble, **changes):
        """Run it, from the newest checkpoint on if there is one, and return how each process ended.

        Args:
            *trouble: What goes wrong, as the arguments of `Trouble`.
            **changes: Of the job, for this time; also `world`, from now on.
        """
        self.world = changes.pop("world", self.world)
        job = {**self.job, "trouble": trouble, **changes}
        job["training"] = {**self.job.get("training", {}), **changes.get("training", {})}
        if self.checkpoints:
            job.setdefault("resume", str(self.folder / "checkpoints"))
        return self.lab.run(self.folder, job, self.world)

    def interrupt(self, *trouble, **changes):
        """Run it as `live` does; it has to end before its time. Return this training."""
        ended = self.live(*trouble, **changes)
        assert all(process.code for process in ended), f"{trouble} came too late"
        unforeseen = [process for process in ended if process.code > 0 and process.error != "TrainingStopped"]
        assert not unforeseen, unforeseen[0].output
        return self

    def finish(self, **changes):
        """Run it as `live` does, up to its end, which has to come. Return this training."""
        ended = self.live(**changes)
        assert not any(process.code for process in ended), "\n".join(process.output for process in ended)
        return self

    def told(self, rank=0):
        """Return what a process said at the end: see jobs.py."""
        return _json(self.folder / f"rank-{rank}.json")["returned"]

    def end(self):
        """Return everything about a finished training that another one can be compared with."""
        newest, told = self.checkpoints[-1], self.told()
        state = _json(newest / "state.json")
        for name in ("saved_at", "config", "identity", "versions"):
            del state[name]
        tensors = {path.name: _tensors(path) for path in newest.glob("*.safetensors")}
        best = told.pop("best")
        told["step of the best"] = _json(self.folder / "checkpoints" / best / "state.json")["step"] if best else None
        told["weights of the others"] = [self.told(rank)["weights"] for rank in range(1, self.world)]
        return {**tensors, "state": state, "told": told}


def differences(one, other, path=""):
    """Return where two ends differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [*one, *(name for name in other if name not in one)]
        pairs = [(name, one.get(name), other.get(name)) for name in names]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(index, *pair) for index, pair in enumerate(zip(one, other, strict=True))]
    else:
        both_nan = one != one and other != other  # noqa: PLR0124
        return [] if one == other or both_nan else [f"{path}: {str(one)[:60]} against {str(other)[:60]}"]
    return [found for name, *pair in pairs for found in differences(*pair, f"{path}/{name}")]


def _tensors(path):
    """Return type, shape and digest of each tensor in a safetensors file, by name."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    entries.pop("__metadata__", None)
    return {
        name: [entry["dtype"], entry["shape"], sha256(data[start:][slice(*entry["data_offsets"])]).hexdigest()]
        for name, entry in entries.items()
    }


def _json(path):
    return json.loads(path.read_text())
