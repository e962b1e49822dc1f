"""A private PostgreSQL server, as an unprivileged user and on this machine alone."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest


def lacks(message):
    if os.environ.get("KLADML_REQUIRE_SERVICES") == "1":
        pytest.fail(message)
    pytest.skip(message)


def program_of_postgresql(name):
    """Debian keeps the server's programs out of the path."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[-1:]), None)
    if found is None:
        lacks(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")
    return found


@contextmanager
def running_postgresql():
    """A PostgreSQL server; yields its port."""
    initdb, postgres = program_of_postgresql("initdb"), program_of_postgresql("postgres")
    if find_spec("psycopg") is None:
        lacks("psycopg is not installed (pip install 'kladml-backends-local[postgresql]')")
    # It refuses to run as root, and pytest's own folders are closed to others.
    other = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="kladml-pg-") as folder:
        if other:
            shutil.chown(folder, **other)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        initialize = [initdb, "--pgdata", f"{folder}/data", "--username", "kladml", "--auth", "trust", "--no-sync"]
        subprocess.run(initialize, check=True, capture_output=True, cwd=folder, **other)
        command = [postgres, "-D", f"{folder}/data", "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
        with Path(folder, "log.txt").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True, **other)
        try:
            wait_until_up(process, port, Path(folder, "log.txt"))
            yield port
        finally:
            process.send_signal(signal.SIGQUIT)  # without waiting for connections to end
            process.wait()


def wait_until_up(process, port, log):
    for _ in range(1200):
        if process.poll() is not None:
            break
        try:
            connect(port).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"postgres did not start: {log.read_text()}")


def connect(port, **options):
    import psycopg

    try:
        return psycopg.connect(
            host="127.0.0.1", port=port, user="kladml", dbname="postgres", autocommit=True, **options
        )
    except psycopg.OperationalError as error:  # also while it starts
        raise OSError(str(error)) from error


@pytest.fixture(scope="session")
def postgresql_port():
    with running_postgresql() as port:
        yield port


_numbers = count(1)


def new_database(port):
    name = f"team{next(_numbers)}"
    with connect(port) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://kladml@127.0.0.1:{port}/{name}"


@pytest.fixture
def postgresql_url(postgresql_port):
    """An empty database of the test's own."""
    return new_database(postgresql_port)


@pytest.fixture(scope="session")
def shared_postgresql_url(postgresql_port):
    """A database for tests that keep to projects of their own."""
    return new_database(postgresql_port)
