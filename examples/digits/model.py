"""The model: a small convolutional network, written as any PyTorch module.

KladML needs one method of it, `training_step`. The loop around it, with its optimizer, checkpoints, early
stopping and logging, is KladML's and is set in `train.yaml`.
"""

import torch
from torch import nn
from torch.nn import functional

# A network this small is done before its work is shared out: one thread is as quick as several, and a busy
# machine does not slow it down. Leave this line out of a larger model.
torch.set_num_threads(1)


class DigitsNet(nn.Module):
    """Two convolutions and two linear layers, about 85,000 parameters.

    Args:
        channels: Channels of the first convolution; the second has twice as many. `model.args` sets it.
        dropout: Share of the features that is hidden at random in training, against learning by heart.
    """

    def __init__(self, channels: int = 32, dropout: float = 0.3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, kernel_size=3, padding=1),  # (samples, channels, 8, 8)
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (samples, 2 * channels, 4, 4)
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * channels * 4 * 4, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores of the ten digits, shape (samples, 10), for images of shape (samples, 1, 8, 8)."""
        scores: torch.Tensor = self.layers(images)
        return scores

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> dict[str, torch.Tensor]:
        """Return the loss of a batch, which KladML minimises, and any metrics to follow beside it.

        Without a `validation_step`, KladML calls this one for validation too, where its values are recorded as
        `val_loss` and `val_accuracy`.
        """
        images, labels = batch
        scores = self(images)
        return {
            "loss": functional.cross_entropy(scores, labels),
            "accuracy": (scores.argmax(dim=1) == labels).float().mean(),
        }
