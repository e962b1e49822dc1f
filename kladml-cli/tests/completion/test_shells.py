"""Real shells complete lines on a terminal, and insert what they are told as one word."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from kladml_cli.completion.shells import script

LINES = {
    "kladml runs sho": "kladml runs show ",
    "kladml runs show dig": "kladml runs show digits@",
    "kladml runs show digits@be": "kladml runs show digits@best ",
    "kladml runs show vision/cnn/tw": "kladml runs show vision/cnn/twin@",
    "kladml train --storage=l": "kladml train --storage=local ",
    "kladml train --set training.optimizer.l": "kladml train --set training.optimizer.lr=",
    "kladml train --set training.strategy=f": "kladml train --set training.strategy=fsdp ",
    "kladml family create vis": "kladml family create vision/",
    "kladml runs copy @1 --to storage=local,t": "kladml runs copy @1 --to storage=local,tracker=",
    # Names with spaces, and files with worse.
    "kladml runs show my": "kladml runs show my\\ exp@",
    "kladml runs show my\\ exp@2": "kladml runs show my\\ exp@2 ",
    'kladml runs show "my exp@be': 'kladml runs show "my exp@best" ',
    "kladml train it": "kladml train it\\'s\\ \\$5.yaml ",
    "kladml train --data fo": "kladml train --data folder/",
}
IN_QUOTES = {
    "bash": ("kladml runs show 'my e", "kladml runs show 'my exp@'"),
    "zsh": ("kladml runs show 'my e", "kladml runs show 'my exp@"),
    "fish": ("kladml runs show 'my e", "kladml runs show 'my exp@"),
}


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_a_shell_completes(terminal, name):
    shell = terminal(name)
    typed, completed = IN_QUOTES[name]
    wanted = LINES | {typed: completed}
    assert {line: shell.complete(line) for line in wanted} == wanted


def test_bash_completes_by_the_function_alone(names, command):
    """As it is called without a terminal: with the words of the line, of which `@` separates two."""
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("bash is not installed")
    program = """\
source "$1"
COMP_LINE='kladml runs show digits@1' COMP_POINT=${#COMP_LINE} COMP_WORDS=(kladml runs show digits @1) COMP_CWORD=4
COMP_POINT=${#COMP_LINE}
_kladml_complete kladml @1 digits
printf '%s\\n' "${COMPREPLY[@]}"
"""
    (names / "complete.bash").write_text(script("bash"))
    environment = {**os.environ, "PATH": f"{command}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [shell, "-c", program, "bash", "complete.bash"], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout.split(), done.stderr) == (["@12", "@11", "@10", "@1"], "")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_command_prints_the_script(kladml, name):
    outcome = kladml("completion", name)
    assert (outcome.status, outcome.output, outcome.errors) == (0, script(name), "")
    assert f"_KLADML_COMPLETE={name}_complete" in outcome.output
