"""Between two log steps the host never waits for a CUDA device, where the optimizer is a fused one.

Two witnesses that know nothing of each other: torch refuses what waits (`set_sync_debug_mode`), and a profiler sees
the calls of the CUDA runtime. The steps between two logs are watched whole, with the fetching and the transfer of the
batch after them. What has to wait is tried as well, or a blind witness would not be noticed. On the CPU, which is
made to judge values later, a wait is the reading of a tensor's value, so that the profiler's part is tried here, too.
"""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.autograd import DeviceType
from torch.nn import functional as F
from torch.profiler import ProfilerActivity

from kladml.training import TrainerCallback, finite, fitting

HAS_CUDA = torch.cuda.is_available()
# Drivers and kernels say this and that, and the mode that refuses waits says that it is a prototype.
pytestmark = pytest.mark.filterwarnings("default")

NEEDS_CUDA = pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)]
CASES = {
    "plain": {},
    "clipping": {"gradient_clipping": 0.5},
    "accumulation": {"gradient_accumulation_steps": 3},
    "bf16": {"mixed_precision": "bf16"},
    "all of them": {"gradient_clipping": 0.5, "gradient_accumulation_steps": 3, "mixed_precision": "bf16"},
}
LOG_EVERY, LOGS, BATCH = 5, 3, 4
WHOLE_STEPS = LOG_EVERY - 1
"""Steps in a window, which ends as the first batch of the next log step is computed: that step ends in a read."""


class Module(nn.Module):
    """Tells a watch when the first batch of a step that will be logged is computed; may read its loss itself."""

    def __init__(self, watch, accumulation, *, reads, brings):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Dropout(0.2), nn.Linear(32, 8))
        self.watch, self.accumulation, self.reads, self.seen = watch, accumulation, reads, 0
        if brings is not None:
            self.configure_optimizers = lambda: brings(self.parameters())

    def training_step(self, batch):
        steps, inside = divmod(self.seen, self.accumulation)
        if steps >= LOG_EVERY and steps % LOG_EVERY == WHOLE_STEPS and not inside:
            self.watch.end()
        self.seen += 1
        scores = self.net(batch[0])
        loss = F.cross_entropy(scores, batch[1]) * 0.1  # so small that fp16 skips no step, which would shift windows
        if self.reads:
            loss.item()
        return {"loss": loss, "accuracy": (scores.argmax(1) == batch[1]).float().mean()}


class Watch(TrainerCallback):
    """Watches from each log step but the last to the next one."""

    def __init__(self):
        self.windows = 0

    def on_step(self, epoch, step, loss, lr):
        if step < LOG_EVERY * LOGS:
            self.begin()

    def begin(self):
        raise NotImplementedError

    def end(self):
        self.windows += 1


class Refusal(Watch):
    """Lets torch raise where the host would wait for the device."""

    def begin(self):
        torch.cuda.set_sync_debug_mode("error")

    def end(self):
        super().end()
        torch.cuda.set_sync_debug_mode("default")


class Profile(Watch):
    """Counts waits for the device in each window, in `waits`, and what shows that it saw the steps, in `work`."""

    def __init__(self, device):
        super().__init__()
        self.on_cuda = device == "cuda"
        self.waits, self.work = [], []

    def begin(self):
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.on_cuda else [])]
        self.profile = torch.profiler.profile(activities=activities)
        self.profile.start()
        self.span = torch.profiler.record_function("between logs")
        self.span.__enter__()

    def end(self):
        super().end()
        self.span.__exit__(None, None, None)
        if self.on_cuda:
            torch.cuda.synchronize()  # what the device still has to do belongs to the window
        self.profile.stop()
        events = self.profile.events()
        on_host = [event for event in events if event.device_type == DeviceType.CPU]
        span = next(event.time_range for event in on_host if event.name == "between logs")
        # Starting and stopping a profile waits for the device, too: calls count by their time.
        inside = [event for event in on_host if span.start <= event.time_range.start < span.end]
        called = [event.name for event in inside if self.on_cuda or not in_fused_kernel(event)]
        if self.on_cuda:
            copied = [event.name for event in events if "Memcpy DtoH" in event.name]  # by the device, and perhaps later
            self.waits.append([name for name in called if "Synchronize" in name or name == "cudaMemcpy"] + copied)
            self.work.append(sum("LaunchKernel" in name for name in called))
        else:
            self.waits.append([name for name in called if name == "aten::_local_scalar_dense"])
            self.work.append(sum(name.startswith("aten::") for name in called))


def in_fused_kernel(event):
    """Tell whether an event is inside an optimizer's kernel: the CPU's AdamW reads its step counters there."""
    while event is not None:
        if event.name.startswith("aten::_fused_") and event.name.endswith("_"):
            return True
        event = event.cpu_parent
    return False


@pytest.fixture
def fit(trainer, monkeypatch):
    """Train under a watch."""

    def run(watch, device, *, reads=False, brings=None, **changes):
        if device == "cpu":
            judge_later(monkeypatch)
        elif changes.get("mixed_precision") == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            pytest.skip("needs a CUDA device that computes in bf16")
        accumulation = changes.get("gradient_accumulation_steps", 1)
        module = Module(watch, accumulation, reads=reads, brings=brings)
        random = torch.Generator().manual_seed(1)
        inputs = torch.randn(LOG_EVERY * LOGS * accumulation * BATCH, 16, generator=random)
        common = {"device": device, "max_epochs": 1, "batch_size": BATCH, "log_every": LOG_EVERY}
        result = trainer(callbacks=[watch], **common | changes).fit(module, (inputs, inputs[:, :8].argmax(1)))
        assert result.steps == LOG_EVERY * LOGS
        assert watch.windows == LOGS - 1
        return result

    yield run
    if HAS_CUDA:
        torch.cuda.set_sync_debug_mode("default")


def judge_later(monkeypatch):
    """Let the trainer treat the CPU as a device that it must not wait for, and give it fp16."""
    monkeypatch.setattr(finite, "_FUSED_ON", ("cpu",))
    built, made = fitting.Fitting.__init__, fitting.make_accelerator

    def build(self, *arguments, **options):
        built(self, *arguments, **options)
        self._reads_at_once = False

    def make(config):
        if config.mixed_precision != "fp16":
            return made(config)
        accelerator = Accelerator(cpu=True)
        accelerator.native_amp = True
        accelerator.state._mixed_precision = "fp16"
        accelerator.scaler = torch.amp.GradScaler("cpu")
        return accelerator

    monkeypatch.setattr(fitting.Fitting, "__init__", build)
    monkeypatch.setattr(fitting, "make_accelerator", make)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("case", CASES)
def test_a_profiler_sees_no_wait_between_log_steps(fit, device, optimizer, case):
    profile = Profile(device)
    fit(profile, device, optimizer=optimizer, **CASES[case])

    assert profile.waits == [[]] * (LOGS - 1)
    assert min(profile.work) >= 10 * WHOLE_STEPS, f"the profiler saw none of the steps' work: {profile.work}"


WAITING = {
    "a step that reads its loss": {"reads": True},
    "an optimizer that is not fused": {"brings": lambda parameters: torch.optim.SGD(parameters, lr=0.05)},
    "the scaler of fp16": {"mixed_precision": "fp16"},
}
"""What waits in each step: the documentation says so of the latter two."""


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", WAITING)
def test_a_profiler_sees_a_wait_in_each_step_that_has_one(fit, device, case):
    profile = Profile(device)
    fit(profile, device, **WAITING[case])

    assert min(map(len, profile.waits)) >= WHOLE_STEPS


@NEEDS_CUDA
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("case", CASES)
def test_torch_finds_nothing_to_refuse_between_log_steps(fit, optimizer, case):
    fit(Refusal(), "cuda", optimizer=optimizer, **CASES[case])


@NEEDS_CUDA
@pytest.mark.parametrize("case", WAITING)
def test_torch_refuses_a_wait_in_a_step_that_has_one(fit, case):
    with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
        fit(Refusal(), "cuda", **WAITING[case])
