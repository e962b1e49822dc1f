"""A small network for rows of numbers. It is yours: change it, or write another one and name it in model.ref."""

import torch
from torch import nn

# A network this small is done before its work is shared out: one thread is as quick as several, and a busy
# machine does not slow it down. Leave this line out of a larger model.
torch.set_num_threads(1)


class Standardise(nn.Module):
    """Brings each input to mean 0 and deviation 1, as seen in training so far: columns have units of their own.

    Args:
        inputs: Numbers in one row.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.rows: torch.Tensor
        self.mean: torch.Tensor
        self.variance: torch.Tensor
        # Buffers are saved with the weights, and are not trained.
        self.register_buffer("rows", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("variance", torch.ones(inputs))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs of shape (rows, inputs) standardised."""
        if self.training:
            self._see(inputs.detach())
        # An input that never changes says nothing; dividing by its deviation of 0 would.
        changes = self.variance > 1e-12 * (1 + self.mean**2)
        return (inputs - self.mean) / torch.where(changes, self.variance, 1.0).sqrt()

    def _see(self, inputs: torch.Tensor) -> None:
        """Take a batch into mean and variance."""
        rows = self.rows + len(inputs)
        share = len(inputs) / rows
        change = inputs.mean(0) - self.mean
        within = inputs.var(0, correction=0) * share + self.variance * (1 - share)
        self.variance.copy_(within + change**2 * share * (1 - share))
        self.mean.copy_(self.mean + change * share)
        self.rows.copy_(rows)


class Network(nn.Module):
    """Two hidden layers.

    Args:
        inputs: Numbers in one row.
        outputs: How many classes, or how many numbers to predict.
        width: Size of the hidden layers.
        dropout: Share of the features that is hidden at random in training, against learning by heart.
        mean: Mean of the targets where they are numbers.
        deviation: Their standard deviation; with both, the layers learn numbers around 1.
        is_flat: Whether a single output has the shape (rows,) rather than (rows, 1).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 64,
        dropout: float = 0.1,
        mean: float = 0.0,
        deviation: float = 1.0,
        is_flat: bool = True,
    ) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.is_flat = is_flat and outputs == 1
        self.layers = nn.Sequential(
            Standardise(inputs),
            nn.Linear(inputs, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, outputs),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return scores of the classes, or predictions, for inputs of shape (rows, ...)."""
        found: torch.Tensor = self.layers(inputs.flatten(1).float()) * self.deviation + self.mean
        return found.squeeze(1) if self.is_flat else found
