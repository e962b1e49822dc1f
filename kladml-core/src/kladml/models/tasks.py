"""The kinds of machine-learning tasks."""

from enum import StrEnum


class MLTask(StrEnum):
    """What a model is for."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    CLUSTERING = "clustering"
    TIMESERIES_FORECASTING = "timeseries_forecasting"
    ANOMALY_DETECTION = "anomaly_detection"
    GENERATION = "generation"
    OTHER = "other"
