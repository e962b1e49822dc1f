"""`kladml completion`: what makes a shell complete commands and names."""

from __future__ import annotations

import click

from kladml_cli.options import global_options

EPILOG = """\
Examples:

\b
  # bash, with the package bash-completion
  mkdir -p ~/.local/share/bash-completion/completions
  kladml completion bash \\
      > ~/.local/share/bash-completion/completions/kladml

\b
  # bash without it: a line in ~/.bashrc
  source <(kladml completion bash)

\b
  # zsh: a line in ~/.zshrc, after compinit
  source <(kladml completion zsh)

\b
  # fish
  kladml completion fish > ~/.config/fish/completions/kladml.fish

Then open a new shell.
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@global_options()
def completion(*, shell: str) -> None:
    """Print what lets a shell complete commands, options and names.

    Names are those of plugins, projects, families, experiments, runs, data sets, configurations and profiles, read
    from the workspace around the current folder. Completing writes nothing.
    """
    from kladml_cli.completion.shells import script

    click.echo(script(shell), nl=False)
