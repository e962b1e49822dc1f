"""Options for training in several processes, named as those of `accelerate launch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kladml_cli.given_entries import entries_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kladml.training.launching.launch import Machines

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")

_PORTS = click.IntRange(1, 65_535)
_AT_LEAST_1 = click.IntRange(min=1)


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What the options say about the machines.

    Attributes:
        num_machines: How many there are.
        machine_rank: Number of this one, from 0.
        main_process_ip: Address of the first one.
        main_process_port: Port of the first one at which they meet.
    """

    num_machines: int
    machine_rank: int
    main_process_ip: str | None
    main_process_port: int

    def __post_init__(self) -> None:
        """Check that they fit together.

        Raises:
            click.UsageError: They do not.
        """
        if self.num_machines > 1 and self.main_process_ip is None:
            message = f"--num-machines {self.num_machines} needs --main-process-ip, the address of the first machine"
            raise click.UsageError(message)
        if self.machine_rank >= self.num_machines:
            message = f"--machine-rank {self.machine_rank} is none of the {self.num_machines} machines, counted from 0"
            raise click.UsageError(message)

    def to_launch(self) -> Machines:
        """Return the machines as `kladml.training.launching.launch` knows them."""
        from kladml.training.launching.launch import Machines

        address = self.main_process_ip or "localhost"
        return Machines(self.num_machines, self.machine_rank, address, self.main_process_port)


def distributed_options(command: Decorated) -> Decorated:
    """Add `--distributed`, `--num-processes` and the options that say which machines take part."""
    for option in (
        click.option(
            "--main-process-port",
            metavar="PORT",
            type=_PORTS,
            default=29_500,
            show_default=True,
            help="Port of the first machine at which the machines meet.",
        ),
        click.option("--main-process-ip", metavar="HOST", help="Address of the first of several machines."),
        click.option(
            "--machine-rank",
            metavar="N",
            type=click.IntRange(min=0),
            default=0,
            help="Number of this machine, from 0; the first one keeps the run.",
        ),
        click.option(
            "--num-machines",
            metavar="N",
            type=_AT_LEAST_1,
            default=1,
            help="Machines that train together; the command is given on each.",
        ),
        _setting("--num-processes", "training.num_processes", "Processes, on all machines together.", metavar="N"),
        _setting("--distributed", "training.distributed", "Train in several processes.", is_flag=True),
    ):
        command = option(command)
    return command


def _setting(
    flag: str, key: str, text: str, *, is_flag: bool = False, metavar: str | None = None
) -> Callable[[Decorated], Decorated]:
    """Return an option that sets a configuration key to a number, or to true."""

    def note(context: click.Context, _: click.Parameter, value: int | bool | None) -> None:  # noqa: FBT001 - click's signature
        if value:
            from kladml.interfaces import ConfigEntry

            entries_of(context).append(ConfigEntry(key, value, flag))

    more: dict[str, Any] = {"is_flag": True} if is_flag else {"type": _AT_LEAST_1, "metavar": metavar}
    return click.option(flag, expose_value=False, callback=note, help=text, **more)
