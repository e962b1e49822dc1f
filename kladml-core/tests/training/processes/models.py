"""The models that are trained: small, random wherever a model can be, and each awkward in its own way."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn

FEATURES = 6


def noise():
    """Draw from every global generator, an odd number of times from those that draw in pairs."""
    drawn = random.random() + random.gauss(0, 1) + float(np.random.randn()) + float(torch.randn(()))  # noqa: NPY002, S311
    return 0.1 * drawn


def checksum(numbers):
    """Return a mean that only the right set of samples has."""
    return (numbers.to(torch.int64) * 2654435761 % 1000003).double().mean()


class Plain(nn.Module):
    """Batch normalisation, dropout, and a loss that depends on every generator."""

    def __init__(self, reach, log=None):
        super().__init__()
        self.net = self.layers()
        self.reach, self.log = reach, log

    def layers(self):
        return nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))

    def output(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, batch_idx):
        self.reach("forward")
        inputs, targets, numbers = batch
        if self.log is not None:
            self.log(numbers)
        output = _Backward.apply(self.output(inputs), self.reach)
        drawn = noise()
        loss = nn.functional.cross_entropy(output, targets) * (1 + 0.1 * drawn)
        return {"loss": loss, "drawn": drawn, "checksum": checksum(numbers)}

    def validation_step(self, batch, batch_idx):
        self.reach("validation")
        inputs, targets, _ = batch
        return {"loss": nn.functional.cross_entropy(self.output(inputs), targets), "drawn": noise()}


class _Backward(torch.autograd.Function):
    """The identity, which says when the backward pass comes by."""

    @staticmethod
    def forward(ctx, tensor, reach):
        ctx.reach = reach
        return tensor.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.reach("backward")
        return gradient, None


class Groups(Plain):
    """Its own optimizer: groups, frozen weights, weights that two layers share, and some that not every step uses."""

    def layers(self):
        first, shared, tied = (nn.Linear(FEATURES, FEATURES) for _ in range(3))
        tied.weight = shared.weight
        first.requires_grad_(requires_grad=False)
        self.sometimes = nn.Linear(FEATURES, FEATURES)
        return nn.Sequential(first, nn.Tanh(), shared, nn.Tanh(), tied, nn.Dropout(0.2), nn.Linear(FEATURES, 2))

    def output(self, inputs):
        return self.net(self.sometimes(inputs) if torch.rand(()) < 0.5 else inputs)

    def configure_optimizers(self):
        last = list(self.net[-1].parameters())
        known = {id(parameter) for parameter in last}
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        optimizer = torch.optim.Adam([{"params": others}, {"params": last, "lr": 0.1, "betas": (0.8, 0.9)}], lr=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=[0.02, 0.1], total_steps=60)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Centers(Plain):
    """A buffer that each batch moves and that the loss depends on, as a codebook's moving averages do."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.register_buffer("center", torch.zeros(FEATURES))

    def output(self, inputs):
        if self.training:
            self.center.mul_(0.7).add_(inputs.detach().mean(0), alpha=0.3)
        return self.net(inputs - self.center)


class ChannelsLast(Plain):
    """Convolutions whose weights, gradients and optimizer state lie in memory another way than usual."""

    def layers(self):
        return nn.Sequential(
            nn.Unflatten(1, (3, 1, 2)),
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Dropout2d(0.2),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Flatten(),
            nn.Linear(8, 2),
        ).to(memory_format=torch.channels_last)


class Sparse(Plain):
    """An embedding with sparse gradients."""

    def layers(self):
        return nn.Sequential(nn.EmbeddingBag(20, 5, sparse=True), nn.Dropout(0.2), nn.Linear(5, 2))

    def output(self, inputs):
        return self.net((inputs * 3).long().clamp(-9, 9) + 9)


class Tokens(Plain):
    """A loss that is the mean of another number of items in each batch."""

    def training_step(self, batch, batch_idx):
        return {**super().training_step(batch, batch_idx), "num_items": 1 + int(batch[2].sum()) % 7}


class Recurrent(Plain):
    """Memory that is written to and read in the order of the batches: a queue of features, and its end."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.register_buffer("queue", torch.zeros(5, FEATURES))
        self.register_buffer("end", torch.zeros((), dtype=torch.int64))
        self.register_buffer("full", torch.zeros(5, dtype=torch.bool))

    def output(self, inputs):
        seen = self.queue.mean(0).detach()
        if self.training:
            self.queue[self.end] = inputs.detach()[0]
            self.full[self.end] = True
            self.end.add_(1).remainder_(5)
        return self.net(inputs + 0.1 * seen * self.full.float().mean())


class Compiled(Plain):
    """A part compiled by torch, by its back end that needs no compiler."""

    def layers(self):
        return torch.compile(super().layers(), backend="eager")


MODELS = {
    "plain": Plain,
    "groups": Groups,
    "centers": Centers,
    "channels last": ChannelsLast,
    "sparse": Sparse,
    "tokens": Tokens,
    "recurrent": Recurrent,
    "compiled": Compiled,
}
