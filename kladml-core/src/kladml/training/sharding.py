"""FSDP: each process keeps a part of every parameter, of its gradient and of the optimizer's state.

The parts are torch's own `fully_shard`: a unit's parameters are put together before its forward and backward pass,
and its gradients are averaged and taken apart again after each batch.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch.distributed import _composable_state
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from kladml.errors import ModelContractError, TrainingError
from kladml.training.finite import ShardedFiniteCheck
from kladml.training.ranks import peers_watched
from kladml.training.units import cannot_be_sharded, check_shardable, own_parameters, units_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from accelerate import Accelerator
    from torch import nn

    from kladml.config.schema import TrainingConfig
    from kladml.training.objective import StepModule
    from kladml.training.ranks import Ranks

_DEVICES = ("cpu", "cuda")


class Sharding:
    """The `Strategy` in which parameters are shared out among the processes, until `join` puts them together again.

    Gradients are averaged and taken apart after each batch, also inside a window, so that no process ever holds them
    whole.

    Args:
        step_module: The module; each process has the same one, and the main process's weights count.
        config: Names the classes of the units.
        ranks: The processes.
        accelerator: Says where to train, and prepares what is trained.

    Raises:
        TrainingError: There is one process only, or the device cannot do it.
        ModelContractError: The module cannot be sharded.
    """

    infers = False  # parameters that are put together for the first time in inference mode could never be trained

    def __init__(self, step_module: StepModule, config: TrainingConfig, ranks: Ranks, accelerator: Accelerator) -> None:
        device = accelerator.device
        _check(step_module, ranks, device)
        self.ranks = ranks
        self._accelerator = accelerator
        self._module: Any = cast("Any", step_module)
        self._owners = [
            (part, name, parameter)
            for part in step_module.modules()
            for name, parameter in part.named_parameters(recurse=False, remove_duplicate=False)
        ]
        self._devices = {id(parameter): parameter.device for _, _, parameter in self._owners}
        self._buffer_devices = {name: buffer.device for name, buffer in step_module.named_buffers()}
        self._attributes = {part: set(vars(part)) for part in step_module.modules()}
        units = units_of(step_module, config.fsdp_wrap)
        owned = own_parameters(step_module, units)
        check_shardable(owned)
        ranks.share([*step_module.parameters(), *step_module.buffers()])
        mesh = init_device_mesh(device.type, (ranks.world,))
        for unit in units:
            fully_shard(unit, mesh=mesh)
            for parameter in owned[unit].values():
                parameter.grad = None
                parameter.data = parameter.data.new_empty(0)  # the whole model may not fit on the device
        # Processes that leave out other parameters than the others would else wait for them, or mix them up.
        self._module.set_reduce_scatter_unused_params(reduce_scatter_unused_params=True)
        self._shards = {id(original): _of(part, name) for part, name, original in self._owners}

    def prepare(self, step_module: StepModule, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Let Accelerate prepare the module and its optimizer, which has been built from the shards.

        Raises:
            ModelContractError: The optimizer has parameters that are none.
        """
        shards = {id(shard) for shard in self._shards.values()}
        if any(id(parameter) not in shards for group in optimizer.param_groups for parameter in group["params"]):
            problem = "the optimizer has parameters that are not those of the sharded module"
            raise ModelContractError(
                problem, next_step="build it in configure_optimizers, from self.parameters(), each time that is called"
            )
        # What Accelerate calls evaluation mode is precision without a data-parallel wrapper.
        module = self._accelerator.prepare_model(step_module, device_placement=False, evaluation_mode=True)
        return module, self._accelerator.prepare_optimizer(optimizer, device_placement=False)

    def prove(self, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> None:
        """Check that all parts make up the whole, and that all processes step by the same rates.

        No two processes have the same weights, so that these cannot be compared.

        Raises:
            TrainingError: Something is missing, or a process has other settings of its optimizer.
        """
        del parameters  # those of the optimizer, and every part counts
        shards = list(self._shards.values())
        held = self.ranks.add([shard.to_local().numel() for shard in shards])
        if held != [shard.numel() for shard in shards]:
            problem = "after the first step, the parts that the processes hold do not make up the parameters"
            raise TrainingError(problem, next_step="leave the shapes of parameters alone while they are trained")
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        self.ranks.agree({"the optimizer's settings": groups})

    def context(self, module: Any, *, opens: bool, closes: bool) -> AbstractContextManager[Any]:
        """Return what a batch runs in: nothing, after all processes have the same buffers at the start of a window."""
        del module, closes
        if opens:
            self._share_buffers()
        return nullcontext()

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Validate with the main process's buffers, and let go of what was put together."""
        self._share_buffers()
        yield
        self._reshard()

    def _share_buffers(self) -> None:
        """Give all processes the main process's buffers, as a data-parallel wrapper does."""
        buffers = list(self._module.buffers())  # a module may put another tensor in the place of one
        if buffers:
            with peers_watched():
                torch_distributed: Any = dist
                group = torch_distributed.distributed_c10d._get_default_group()  # noqa: SLF001
                torch_distributed._broadcast_coalesced(group, buffers, 2**28, 0)  # noqa: SLF001 - as DDP does

    def _reshard(self) -> None:
        """Let go of what a forward pass without a backward pass has left put together."""
        for part in self._module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()

    def finite_check(
        self, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], device: torch.device, *, scaled: bool
    ) -> ShardedFiniteCheck:
        """Return a check that asks all processes at once."""
        del optimizer, device, scaled
        return ShardedFiniteCheck(parameters, self.ranks)

    def gradients(self, parameters: Sequence[nn.Parameter]) -> list[torch.Tensor]:
        """Return this process's parts of the gradients that there are."""
        return [self.local(parameter.grad) for parameter in parameters if parameter.grad is not None]

    def local(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a tensor, which shares its memory."""
        with torch.no_grad():
            part: torch.Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        return part

    def clip(self, parameters: Sequence[nn.Parameter], gradients: list[torch.Tensor], largest: float) -> torch.Tensor:
        """Scale the parts of gradients so that the norm of the whole is at most `largest`; return that norm."""
        del parameters
        norm = torch.nn.utils.get_total_norm(gradients).double().square()
        with peers_watched():
            dist.all_reduce(norm)
        norm = norm.sqrt()
        factor = torch.clamp(largest / (norm + 1e-6), max=1.0)
        torch._foreach_mul_(gradients, factor)
        return norm

    def weights(self, module: nn.Module) -> dict[str, Any]:
        """Return a module's state dict put together on the main process."""
        self._reshard()
        return self.whole(dict(module.state_dict()))

    def whole(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return tensors put together, on the CPU, on the main process; nothing on others, all of which call it."""
        found = {}
        for name, tensor in tensors.items():
            whole = _whole(tensor)
            if self.ranks.is_main:
                found[name] = whole.cpu() if isinstance(whole, torch.Tensor) else whole
        return found

    def load(self, module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
        """Load a state dict of whole tensors into a module whose parameters are sharded.

        Raises:
            RuntimeError: It is another module's.
        """
        self._reshard()
        now = module.state_dict()
        module.load_state_dict({name: part_like(value, now.get(name)) for name, value in weights.items()})

    def optimizer_state(self, state: dict[str, Any], parameters: Sequence[nn.Parameter]) -> dict[str, Any]:
        """Return an optimizer's state dict with this process's parts of what is as large as its parameter."""
        parts = {
            index: {name: part_like(value, parameters[int(index)]) for name, value in values.items()}
            for index, values in state["state"].items()
        }
        return {**state, "state": parts}

    def note_used(self, parameters: Iterable[nn.Parameter]) -> None:
        """Do nothing: what a batch leaves out counts as zero."""

    def explain(self, error: BaseException) -> TrainingError | None:
        """Return an error for what torch cannot do with shared out parameters."""
        return cannot_be_sharded(error)

    def join(self) -> None:
        """Put the parameters together, in the objects and on the devices where they were; every process calls it.

        The module is then what it was before: nothing of it is wrapped, and no hook is left.
        """
        self._reshard()
        for _, _, original in self._owners:
            shard = self._shards.pop(id(original), None)
            if shard is not None:
                original.data = _whole(shard).detach().to(self._devices[id(original)])
                original.requires_grad_(shard.requires_grad)
        for name, buffer in self._module.named_buffers():
            buffer.data = buffer.data.to(self._buffer_devices.get(name, buffer.device))
        for part, attributes in self._attributes.items():
            _strip(part, attributes)
        for part, name, original in self._owners:
            setattr(part, name, original)  # recurrent layers keep a list of theirs besides


def part_like(whole: Any, like: Any) -> Any:
    """Return this process's part of a whole tensor, shared out as another one of its shape is; else what was given."""
    if not (isinstance(like, DTensor) and isinstance(whole, torch.Tensor) and whole.shape == like.shape):
        return whole
    own = like.device_mesh.get_local_rank()
    parts = whole.chunk(like.device_mesh.size())
    part = parts[own] if own < len(parts) else whole[:0]
    return DTensor.from_local(
        part.contiguous().to(like.device),
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )


def _whole(tensor: Any) -> Any:
    """Return a tensor put together from its parts; all processes call it."""
    with peers_watched(), torch.no_grad():
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _check(step_module: StepModule, ranks: Ranks, device: torch.device) -> None:
    if ranks.world == 1:
        problem = "training.strategy is fsdp, which shares a model out among processes, and this is a single one"
        raise TrainingError(
            problem, next_step="train with 'kladml train --distributed --num-processes N', or set strategy to ddp"
        )
    if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        problem = f"training.strategy is fsdp, and torch {torch.__version__} cannot yet average what a step leaves out"
        raise TrainingError(problem, next_step="install torch 2.13 or newer, or set strategy to ddp")
    if device.type not in _DEVICES:
        problem = f"training.strategy is fsdp, and training would run on {device.type}"
        raise TrainingError(problem, next_step=f"choose one of the devices {', '.join(_DEVICES)}, or strategy ddp")
    if any(isinstance(parameter, DTensor) for parameter in step_module.parameters()):
        problem = f"{type(step_module.module).__name__} is sharded already, perhaps by a training that failed"
        raise ModelContractError(problem, next_step="build the module anew")


def _of(part: nn.Module, name: str) -> Any:
    return part._parameters[name]  # noqa: SLF001 - what FSDP itself writes to


def _strip(part: nn.Module, attributes: set[str]) -> None:
    """Take FSDP's class, hooks and attributes off a module."""
    if isinstance(part, FSDPModule):
        plain: Any = next(kind for kind in type(part).__mro__[1:] if not issubclass(kind, FSDPModule))
        part.__class__ = plain
        _composable_state._module_state_mapping.pop(part, None)  # noqa: SLF001 - else it could not be sharded again
    for name, value in list(vars(part).items()):
        if name.endswith("_hooks") and isinstance(value, dict):
            for number in [number for number, hook in value.items() if _is_of_fsdp(hook)]:
                del value[number]
        elif name not in attributes and name.startswith(("_is_fsdp", "_fsdp", "__composable_api")):
            delattr(part, name)


def _is_of_fsdp(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("torch.distributed.fsdp")
