"""Every check of the monorepo, one session each; `nox -l` lists them, `nox` alone runs the default ones.

Dependencies are read from the pyproject files and pinned by constraints.txt. Sessions that need no installed
distribution (lint, imports) stay small; `alone` proves each distribution from its built wheel, without the
source tree within reach.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
CONSTRAINTS = ROOT / "constraints.txt"
DISTRIBUTIONS = [
    "kladml-core",
    "kladml-backends-local",
    "kladml-backends-console",
    "kladml-backends-aws",
    "kladml-backends-mlflow",
    "kladml-backends-redis",
    "kladml-cli",
]
# The main job's distributions.
COMMAND = ["kladml-core", "kladml-backends-local", "kladml-backends-console", "kladml-cli"]

# What `lock` does not let float.
HELD = [
    "torch==2.13.0",  # a CPU build; newer ones would fetch gigabytes of CUDA packages
    # Accelerate needs the hub's client; newer ones would bring click into every installation of the core.
    "huggingface-hub<1",
]

# One more than CI has cores: tests of processes and servers wait as much as they compute. A worker that has nothing
# left to do takes over from the others, so that no long module is left for the end.
THREE_AT_A_TIME = ["-n", "3", "--dist", "worksteal"]

META = nox.project.load_toml(ROOT / "pyproject.toml")
PROJECTS = {name: nox.project.load_toml(ROOT / name / "pyproject.toml") for name in DISTRIBUTIONS}
PYTHONS = nox.project.python_versions(META)
PYTHON = PYTHONS[0]

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"  # sessions call the pip inside their environment
nox.options.sessions = [
    "lint",
    "imports",
    "types",
    "docs",
    "wheels",
    *[f"alone-{PYTHON}({name})" for name in DISTRIBUTIONS],
    # Last, because what crosses distributions says little while one of them fails alone.
    f"tests-{PYTHON}",
]


def group(name: str, *, of: str | None = None) -> tuple[str, ...]:
    """The requirements of a dependency group of the root, or of one distribution."""
    return nox.project.dependency_groups(PROJECTS[of] if of else META, name)


def requirements(distribution: str) -> list[str]:
    """What a distribution declares, with every extra, and without the monorepo's own distributions."""
    project = PROJECTS[distribution]["project"]
    extras = project.get("optional-dependencies", {}).values()
    declared = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return [line for line in declared if not line.startswith("kladml")]


def closure(distribution: str) -> list[str]:
    """A distribution and those of the monorepo that it depends on, dependencies first."""
    names: list[str] = []
    for line in PROJECTS[distribution]["project"]["dependencies"]:
        name = line.partition("==")[0]
        if name in PROJECTS:
            names += [each for each in closure(name) if each not in names]
    return [*names, distribution]


def install(session: nox.Session, *args: str) -> None:
    """Install under the constraints; bytecode is left to the first import, which halves the time."""
    # Images of containers often forbid it. Every process of the tests would then compile torch for itself.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    # As many processes compute as there are processors; threads of each would wait for one another.
    session.env.setdefault("OMP_NUM_THREADS", "1")
    session.install("--no-compile", "--constraint", str(CONSTRAINTS), *args)


def install_editable(session: nox.Session, distributions: list[str], *others: str) -> None:
    """Install distributions of the tree in place, with every extra of theirs."""
    # With the build backend at hand there is no isolated environment to fill for each of them.
    install(session, "hatchling", "editables")
    paths = []
    for name in distributions:
        extras = ",".join(PROJECTS[name]["project"].get("optional-dependencies", {}))
        paths += ["--editable", f"./{name}[{extras}]" if extras else f"./{name}"]
    install(session, "--no-build-isolation", *paths, *others)


@functools.cache
def wheelhouse() -> Path:
    """The folder of this run's wheels, one for all of its sessions."""
    folder = Path(tempfile.mkdtemp(prefix="kladml-wheels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def built_wheels(session: nox.Session, distributions: list[str]) -> list[str]:
    """The wheels of these distributions, in the same order; each is built once in a run of nox."""

    def built(name: str) -> list[str]:
        return [str(path) for path in wheelhouse().glob(f"{name.replace('-', '_')}-*.whl")]

    missing = [f"./{name}" for name in distributions if not built(name)]
    if missing:
        session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(wheelhouse()), *missing)
    return [path for name in distributions for path in built(name)]


@nox.session(python=PYTHON)
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    install(session, *group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session(python=PYTHON)
def imports(session: nox.Session) -> None:
    """import-linter: the arrows of the design."""
    install(session, *group("imports"))
    # The graph is read from the sources: nothing has to be installed.
    session.env["PYTHONPATH"] = os.pathsep.join(str(ROOT / name / "src") for name in DISTRIBUTIONS)
    session.run("lint-imports", "--no-cache", *session.posargs)


@nox.session(python=PYTHON)
def types(session: nox.Session) -> None:
    """Mypy, strict, on every src."""
    install(session, *group("types"), *{line for name in DISTRIBUTIONS for line in requirements(name)})
    session.run("mypy", *session.posargs)


@nox.session(python=PYTHON)
def docs(session: nox.Session) -> None:
    """MkDocs with warnings as errors; `nox -s docs -- serve` serves the pages instead."""
    install(session, *group("docs"))  # signatures and docstrings are read from the sources
    session.env["NO_MKDOCS_2_WARNING"] = "1"  # Material advertises its successor
    if session.posargs:
        session.run("mkdocs", *session.posargs)
    else:
        session.run("mkdocs", "build", "--strict", "--site-dir", str(Path(session.create_tmp(), "site")))


@nox.session(python=PYTHON)
def wheels(session: nox.Session) -> None:
    """Build every wheel and sdist and check contents, metadata and what an install brings along."""
    install(session, *group("wheels"))
    session.run("pytest", "tests/packaging", *session.posargs)


@nox.session(python=PYTHONS)
@nox.parametrize("distribution", [nox.param(name, id=name) for name in DISTRIBUTIONS])
def alone(session: nox.Session, distribution: str) -> None:
    """A distribution's own tests, against its wheel and its declared dependencies alone, three at a time."""
    test_alone(session, distribution, *THREE_AT_A_TIME)


@nox.session(python=PYTHON)
@nox.parametrize("distribution", [nox.param(name, id=name) for name in DISTRIBUTIONS])
def coverage(session: nox.Session, distribution: str) -> None:
    """What a distribution's own tests cover; tracing takes half as long again, so that `alone` does without."""
    package = "kladml" if distribution == "kladml-core" else distribution.replace("-", "_")
    test_alone(
        session, distribution, f"--cov={package}", f"--cov-config={ROOT / 'pyproject.toml'}", "--cov-report=term"
    )


def test_alone(session: nox.Session, distribution: str, *options: str) -> None:
    """Run a distribution's own tests far from the tree, with pytest's `options`."""
    if not (ROOT / distribution / "tests").is_dir():
        session.error(f"{distribution} has no tests folder")
    ours = closure(distribution)
    # A reused environment (`nox -r`) holds the last run's wheels under the same version.
    session.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", *ours, silent=True)
    install(session, *built_wheels(session, ours), *group("test", of=distribution), *group("alone"))
    session.run("python", "-m", "pip", "check")
    with tempfile.TemporaryDirectory(prefix=f"{distribution}-") as folder:
        # A copy, far from the tree: neither src/ nor another distribution can be imported by accident.
        shutil.copytree(ROOT / distribution / "tests", Path(folder, "tests"))
        config = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", folder, "-p", "no:cacheprovider"]
        with session.chdir(folder):
            session.run("pytest", *config, *options, "tests", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """What crosses distributions: the programs, the main job, examples and docs, with everything installed in place.

    Each distribution's own tests are run by `alone`; `nox -s tests -- kladml-core/tests` runs them here.
    """
    needs = {line for name in DISTRIBUTIONS for line in group("test", of=name)}
    install_editable(session, DISTRIBUTIONS, *needs, *group("test"), *group("alone"))
    session.run("pytest", *(session.posargs or [*THREE_AT_A_TIME, "tests", "--ignore=tests/packaging"]))


@nox.session(python=PYTHON)
@nox.parametrize("distribution", [nox.param(name, id=name) for name in DISTRIBUTIONS])
def lowest(session: nox.Session, distribution: str) -> None:
    """A distribution's own tests with the lowest versions that it and the core declare (torch excepted)."""
    ours = closure(distribution)
    declared = {line for name in ours for line in requirements(name) if not line.startswith("torch")}
    floors = [line.partition(",")[0].replace(">=", "==") for line in declared]
    # What only the tests need is whatever goes with these: mlflow 3.10 with mlflow-skinny 3.10.
    needs = [re.split("[=<>]", line)[0] for line in group("test", of=distribution) if line not in declared]
    session.install("--no-compile", HELD[0], *floors, *built_wheels(session, ours), *needs)
    session.run("pytest", "-c", str(ROOT / "pyproject.toml"), f"{distribution}/tests", *session.posargs)


@nox.session(python=PYTHON)
def startup(session: nox.Session) -> None:
    """The CPU time of `kladml --help` beside a bare `import click`."""
    install_editable(session, COMMAND)
    session.run("python", "benchmarks/startup.py", *session.posargs)


@nox.session(python=PYTHON)
def bench_runs(session: nox.Session) -> None:
    """The CPU time of commands about runs in a workspace with 10,000 of them."""
    install_editable(session, COMMAND)
    session.run("python", "benchmarks/runs.py", *session.posargs)


@nox.session(python=PYTHON)
def bench_data(session: nox.Session) -> None:
    """What adding files to a data set costs beside b2sum and cp; `nox -s bench_data -- --gigabytes 5` for more."""
    install(session, "./kladml-core")
    session.run("python", "benchmarks/datasets.py", *session.posargs)


@nox.session(python=PYTHON)
def bench_ui(session: nox.Session) -> None:
    """The CPU time until `kladml ui` has painted a workspace with 10,000 runs."""
    install_editable(session, COMMAND, "textual")
    session.run("python", "benchmarks/ui.py", *session.posargs)


@nox.session(python=PYTHON)
def bench_trainer(session: nox.Session) -> None:
    """The trainer's cost per step beside a raw PyTorch loop and its peers; prints the tables."""
    folder = "benchmarks/trainer"
    ours = ["kladml-core", "kladml-backends-local", "kladml-backends-console", "kladml-backends-redis"]
    install(session, "-r", f"{folder}/requirements.txt", *[f"./{name}" for name in ours])
    # Its import name is ours, so it gets a folder of its own.
    older = Path(session.create_tmp(), "older")
    install(session, "--no-deps", "--upgrade", "--target", str(older), "-r", f"{folder}/requirements-older.txt")
    env = {"OMP_NUM_THREADS": "1", "OLDER_KLADML": str(older)}
    session.run("python", f"{folder}/report.py", *session.posargs, env=env)


@nox.session(python=PYTHON)
def bench_checkpoints(session: nox.Session) -> None:
    """How long a checkpoint blocks training, beside a copy of the same memory and other writers."""
    install(session, "./kladml-core")
    session.run("python", "benchmarks/trainer_checkpoints.py", *session.posargs)


@nox.session(python=PYTHON)
def bench_tracker(session: nox.Session) -> None:
    """What a logged metric costs beside other trackers, which get environments of their own; prints the tables."""
    install(session, "./kladml-core", "./kladml-backends-local")
    session.run("python", "benchmarks/tracker/report.py", *session.posargs)


@nox.session(python=PYTHON)
def reliability(session: nox.Session) -> None:
    """Kills, signals and faults in numbers that CI has no time for: a thousand kills, every kill point, every fault."""
    needs = {line for name in COMMAND for line in group("test", of=name)}
    install_editable(session, COMMAND, *needs, *group("test"))
    env = {"KLADML_RELIABILITY": "1", "OMP_NUM_THREADS": "1"}
    folders = [
        "kladml-core/tests/datasets",
        "kladml-core/tests/training",
        "kladml-core/tests/runner",
        "kladml-cli/tests/commands",
    ]
    session.run("pytest", *folders, "tests/test_distributed_train.py", env=env)
    session.run("python", "benchmarks/reliability.py", *session.posargs, env=env)


@nox.session(python=PYTHON)
def tracker_faults(session: nox.Session) -> None:
    """Processes that record runs, killed two hundred times, and segments damaged: how much is lost."""
    needs = group("test", of="kladml-backends-local")
    install_editable(session, ["kladml-core", "kladml-backends-local"], *needs, *group("test"))
    session.run("pytest", "kladml-backends-local/tests/test_tracker_faults.py")
    session.run("python", "benchmarks/tracker_faults.py", *session.posargs)


@nox.session(python=PYTHON, reuse_venv=False)
def lock(session: nox.Session) -> None:
    """Resolve everything anew and write constraints.txt."""
    ours = {line for name in DISTRIBUTIONS for line in (*requirements(name), *group("test", of=name))}
    session.install("--no-compile", *HELD, *group("dev"), *ours)
    frozen = session.run("python", "-m", "pip", "freeze", silent=True) or ""
    # A local version (torch's +cpu) names a build, not a release: whichever build is offered will do.
    pins = [line.partition("+")[0] for line in frozen.splitlines() if "==" in line]
    head = CONSTRAINTS.read_text(encoding="utf-8").splitlines() if CONSTRAINTS.exists() else []
    comment = [line for line in head if line.startswith("#")]
    CONSTRAINTS.write_text("\n".join([*comment, *pins, ""]), encoding="utf-8")
