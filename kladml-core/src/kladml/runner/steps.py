"""The steps of a run that every process of it takes: build the model, train it, evaluate it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.models import build_model, call_evaluate, call_train

if TYPE_CHECKING:
    from kladml.models import BaseModel, RunContext
    from kladml.runner.events import RunEvents
    from kladml.runner.preparation import Prepared


def train_and_evaluate(
    prepared: Prepared, context: RunContext, events: RunEvents | None = None
) -> tuple[BaseModel, dict[str, float]]:
    """Build a model, train it, and evaluate it on validation data as `eval_…`, or on the training data as `train_…`.

    Args:
        prepared: What the run is made of.
        context: The run, for the model.
        events: What metrics are told to that the model returns; None to tell nobody.

    Returns:
        The trained model, and the metrics of training and evaluation.
    """
    from kladml.training.seeding import seed_everything

    seed_everything(prepared.config.run.training.seed)
    model = build_model(prepared.model_class, prepared.model_args, context, loss=prepared.loss)
    metrics = call_train(model, prepared.train_data, prepared.val_data)
    if events is not None:
        events.log_final_metrics(metrics)
    data, prefix = (
        (prepared.train_data, "train") if prepared.val_data is None else (prepared.val_data, "eval")
    )  # fmt: skip
    evaluated = {f"{prefix}_{name}": value for name, value in call_evaluate(model, data).items()}
    if events is not None:
        events.log_metrics(evaluated, None)
    return model, metrics | evaluated
