"""A server that a command runs: how it ends, and that nothing of it remains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from kladml_cli.server_process import run_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")

# What it started writes its identifier once it would withstand SIGTERM, and goes on for ten minutes.
STUBBORN = """\
import os, signal, subprocess, sys, time
inner = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('pid.new', 'w').write(str("\
"os.getpid())); os.rename('pid.new', 'pid'); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", inner])
time.sleep(600)
"""
COMMAND = """\
import os, sys
from pathlib import Path
from kladml_cli.server_process import run_server
print(run_server([sys.executable, "server.py"], Path("log").absolute(), os.environ))
"""


def test_status_and_output_of_a_server_that_ends_by_itself(tmp_path):
    program = "import os, sys; print(os.getcwd(), os.environ['A'], flush=True); sys.exit('and an error')"
    log = tmp_path / "log"
    log.write_text("of another one")
    assert run_server([sys.executable, "-c", program], log, {**os.environ, "A": "b"}) == 1
    assert log.read_text() == f"{tmp_path} b\nand an error\n"


def test_handlers_of_signals_are_as_they_were(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    run_server([sys.executable, "-c", ""], tmp_path / "log", os.environ)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_what_is_no_program_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        run_server([str(tmp_path / "none")], tmp_path / "log", os.environ)


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not state.startswith("Z") and state != ""


@pytest.mark.parametrize(("again", "status"), [(False, 0), (True, 1)])
def test_what_withstands_is_killed_after_a_while_or_at_the_second_interrupt(tmp_path, again, status):
    (tmp_path / "server.py").write_text(STUBBORN)
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads
    )
    try:
        while not (tmp_path / "pid").exists():
            assert command.poll() is None
            time.sleep(0.05)
        pid = int((tmp_path / "pid").read_text())
        command.send_signal(signal.SIGINT)
        while again and command.poll() is None:
            time.sleep(0.5)
            command.send_signal(signal.SIGINT)
        output, errors = command.communicate(timeout=120)
    finally:
        command.kill()
        command.communicate()
    assert not is_there(pid)
    assert (output.strip() == "None", "KeyboardInterrupt" in errors) == (not again, again)
    assert (command.returncode == 0) == (status == 0)
