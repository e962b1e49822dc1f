"""ConsolePublisher: the contract, plain lines, a terminal, and streams that are gone."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import pytest

from kladml.errors import PublisherError, WrongTypeError
from kladml.testing import PublisherContract
from kladml_backends_console import ConsolePublisher

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
COLOUR = "\x1b[36m"


class TestPlain(PublisherContract):
    @pytest.fixture
    def publisher(self):
        with ConsolePublisher("plain", seconds_between_lines=0) as publisher:
            yield publisher


class TestLive(PublisherContract):
    @pytest.fixture
    def publisher(self):
        with ConsolePublisher("live") as publisher:
            yield publisher


# Plain lines


def test_pipe_gets_plain_lines_on_standard_error(capsys, play):
    uris = {"run.json": "s3://ml/a/run.json"}
    with ConsolePublisher() as publisher:
        play(publisher, epochs=2, artifacts=uris)
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines() == [
        "default/default/digits@3: training for up to 2 epochs of 10 steps",
        "epoch 1/2 loss=1.0000 val_loss=2.0000 val_accuracy=0.9000 accuracy=0.5000 (11.0 s)",
        "epoch 2/2 loss=0.5000 val_loss=1.0000 val_accuracy=0.9000 accuracy=0.5000 (11.0 s)",
        "default/default/digits@3 FINISHED in 42.0 s",
        "  loss          0.5000",
        "  val_loss      1.0000",
        "  val_accuracy  0.9000",
        "  accuracy      0.5000",
        "  files  s3://ml/a",
        "         run.json",
        "  look   mlflow ui --backend-store-uri sqlite:///.kladml/mlflow.db",
    ]


def test_long_epochs_get_a_line_from_time_to_time(capsys, play):
    with ConsolePublisher(seconds_between_lines=4) as publisher:
        play(publisher, epochs=1, ends=False)
    assert capsys.readouterr().err.splitlines()[1:-1] == [
        "epoch 1/1 step 4/10 loss=0.5000",
        "epoch 1/1 step 8/10 loss=0.2500",
    ]


def test_run_without_training_loop_gets_a_summary_alone(capsys):
    with ConsolePublisher() as publisher:
        started = {"event": "run_started", "time": 1.0, "address": "a/b/c@1", "max_epochs": None}
        publisher.publish("kladml:a/b/c@1", {**started, "steps_per_epoch": None})
        publisher.publish("kladml:a/b/c@1", {"event": "run_ended", "time": 2.0, "status": "FINISHED", "seconds": 1.0})
    assert capsys.readouterr().err == "a/b/c@1 FINISHED in 1.0 s\n"


def test_dumb_terminal_gets_plain_lines(on_terminal, program):
    output = on_terminal(program("start(); step(1); epoch(1); end()"), TERM="dumb")
    assert "\x1b" not in output
    assert "epoch 1/3 loss=0.5000 val_loss=0.2500" in output


def test_second_run_on_the_same_publisher_starts_from_nothing(capsys, play):
    with ConsolePublisher() as publisher:
        play(publisher, epochs=2)
        capsys.readouterr()
        play(publisher, epochs=1)
    assert (
        "epoch 1/1 loss=1.0000 val_loss=2.0000 val_accuracy=0.9000 accuracy=0.5000 (11.0 s)" in capsys.readouterr().err
    )


# A terminal


def test_terminal_gets_a_bar_that_fits_and_a_line_for_each_epoch(on_terminal, frames, program):
    body = (
        "start()\n"
        "for n in range(1, 31):\n"
        "    step(n); time.sleep(0.11)\n"
        "    if n % 10 == 0: epoch(n // 10, loss=0.5, val_accuracy=0.75)\n"
        "end()"
    )
    output = on_terminal(program(body))
    drawn = frames(output)
    bars = [line for line in drawn if "left" in line]
    assert any(line.startswith("epoch 2/3") and " 5/10 " in line for line in bars)
    assert any("val_accuracy 0.7500" in line and "loss 0.0" in line for line in bars)
    assert max(map(len, drawn)) <= 80
    stays = re.compile(r"epoch (\d)/3  loss 0\.5000  val_accuracy 0\.7500  \d+\.\d s")
    assert [found[1] for line in drawn if (found := stays.fullmatch(line.strip()))] == ["1", "2", "3"]
    assert "default/default/digits@3 FINISHED in 1.5 s" in drawn
    assert COLOUR in output


def test_many_long_metrics_do_not_break_the_line(on_terminal, frames, program):
    metrics = "{f'val_a_very_long_name_of_a_metric_{i}': i / 7 for i in range(9)}"
    drawn = frames(on_terminal(program(f"start(); epoch(1, **{metrics}); step(11)")))
    assert max(map(len, drawn)) <= 80
    assert any("val_a_very_long_name_of_a_metric_0 0.0000" in line for line in drawn)


@pytest.mark.parametrize("columns", [20, 40, 200])
def test_bar_fits_narrow_and_wide_terminals(on_terminal, frames, program, columns):
    drawn = frames(on_terminal(program("start(); epoch(1); step(11); p.close()"), columns=columns))
    assert drawn
    assert max(map(len, drawn)) <= columns


def test_cursor_is_hidden_for_the_bar_and_shown_at_the_end(on_terminal, program):
    output = on_terminal(program("start(); step(1); end()"))
    assert output.count(HIDE_CURSOR) == 1
    assert output.index(HIDE_CURSOR) < output.rindex(SHOW_CURSOR)
    assert output.rindex(SHOW_CURSOR) < output.index("FINISHED")


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "RuntimeError('x')", "SystemExit(1)"])
def test_closing_after_an_exception_leaves_the_terminal_as_it_was(on_terminal, program, error):
    body = f"with p:\n    start(); step(1)\n    raise {error}"
    output = on_terminal(program(body))
    assert HIDE_CURSOR in output
    assert output.rindex(SHOW_CURSOR) > output.rindex(HIDE_CURSOR)


def test_what_the_program_prints_appears_above_the_bar(on_terminal, frames, program):
    body = (
        "start(); step(1); print('from stdout'); print('from stderr', file=sys.stderr); time.sleep(0.2); step(2); end()"
    )
    drawn = frames(on_terminal(program(body)))
    assert "from stdout" in [line.strip() for line in drawn]
    assert "from stderr" in [line.strip() for line in drawn]


def test_standard_output_that_goes_elsewhere_is_left_alone(on_terminal, program, tmp_path):
    with (tmp_path / "out.txt").open("wb") as file:
        output = on_terminal(program("start(); step(1); print('a result'); end()"), stdout=file)
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == "a result\n"
    assert "a result" not in output


def test_no_color_is_respected(on_terminal, program):
    output = on_terminal(program("start(); step(1); epoch(1); end()"), NO_COLOR="1")
    assert "FINISHED" in output
    assert not [code for code in ("\x1b[3", "\x1b[9", "\x1b[1;3") if code in output]


def test_markup_in_names_is_shown_as_it_is(on_terminal, frames, program):
    drawn = frames(on_terminal(program("start(); epoch(1, **{'[red]loss[/red] :smile:': 0.5})")))
    assert any("[red]loss[/red] :smile: 0.5000" in line for line in drawn)


def test_long_address_of_the_files_is_not_cut(on_terminal, program):
    uri = "s3://a-bucket/" + "/".join(["folder"] * 20)
    output = on_terminal(program(f"start(); end(artifacts={{'run.json': '{uri}/run.json'}})"))
    assert uri in output


@pytest.mark.parametrize(("status", "code"), [("FINISHED", "32"), ("FAILED", "31"), ("KILLED", "33")])
def test_status_has_its_colour(on_terminal, program, status, code):
    output = on_terminal(program(f"start(); end(status='{status}')"))
    assert f"\x1b[1;{code}m {status} " in output


# Streams that are gone, and messages that are none


@pytest.mark.parametrize("style", ["plain", "live"])
def test_closed_pipe_is_a_publisher_error_and_the_program_goes_on(program, style):
    body = (
        "from kladml.errors import PublisherError\n"
        "try: start(); epoch(1); end()\n"
        "except PublisherError as error: print('caught', error)\n"
        "try: p.close()\n"
        "except PublisherError: pass\n"
        "import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 2)"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program(body, f"'{style}'")],
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(writing)
    assert done.returncode == 0
    assert done.stdout.startswith("caught standard error takes no message")
    assert "kladml-backends-console" in done.stdout


def test_closed_standard_error_is_a_publisher_error(monkeypatch):
    closed = io.StringIO()
    closed.close()
    publisher = ConsolePublisher()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(PublisherError, match="no standard error to show the progress on"):
            publisher.check()
        with pytest.raises(PublisherError, match="takes no message 'run_ended'"):
            publisher.publish("kladml:a/b/c@1", {"event": "run_ended", "time": 1.0})


def test_message_without_its_fields_is_a_publisher_error():
    with (
        ConsolePublisher() as publisher,
        pytest.raises(PublisherError, match=r"a message 'step' lacks something.*'epoch'"),
    ):
        publisher.publish("kladml:a/b/c@1", {"event": "step", "time": 1.0})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"style": "loud"}, "style 'loud' is unknown"), ({"seconds_between_lines": -1}, "seconds_between_lines is -1")],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(WrongTypeError, match=message):
        ConsolePublisher(**arguments)
