"""Scikit-learn estimators that keep the model contract, on real data."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from torch.utils.data import DataLoader, Dataset, TensorDataset

from kladml import MLTask
from kladml.config import TrainingConfig
from kladml.errors import DataError, ModelError
from kladml.models import RunContext
from kladml.models.sklearn_model import SklearnModel

DIGITS = load_digits(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)


def forest(**arguments):
    return SklearnModel(RandomForestClassifier(n_estimators=5, **arguments))


def halves(data):
    inputs, targets = data
    return inputs[::2], targets[::2], inputs[1::2], targets[1::2]


def test_a_classifier_reports_accuracy_and_f1():
    model = forest()
    metrics = model.train(*halves(DIGITS))
    assert set(metrics) == {"accuracy", "f1_macro", "val_accuracy", "val_f1_macro"}
    assert metrics["val_accuracy"] > 0.7
    assert model.ml_task is MLTask.CLASSIFICATION
    x_val, y_val = halves(DIGITS)[2:]
    assert metrics["val_accuracy"] == pytest.approx(np.mean(model.predict(x_val) == y_val))


def test_a_regressor_reports_its_errors():
    model = SklearnModel(LinearRegression())
    metrics = model.train(*halves(DIABETES))
    x_val, y_val = halves(DIABETES)[2:]
    assert metrics["val_mse"] == pytest.approx(np.mean((model.predict(x_val) - y_val) ** 2))
    assert {"r2", "mae", "val_r2"} <= set(metrics)
    assert model.ml_task is MLTask.REGRESSION


def test_a_clusterer_reports_its_own_score():
    model = SklearnModel(KMeans(n_clusters=3, n_init=1))
    assert set(model.train(DIABETES[0])) == {"score"}
    assert model.ml_task is MLTask.CLUSTERING


def test_the_seed_of_the_run_is_used_unless_the_estimator_has_one():
    predictions = []
    for _ in range(2):
        model = forest()
        model.run = RunContext(TrainingConfig(seed=7))
        model.train(*halves(DIGITS)[:2])
        predictions.append(model.estimator.predict_proba(DIGITS[0]))
    assert model.estimator.random_state == 7
    assert np.array_equal(*predictions)
    own = forest(random_state=1)
    own.train(*halves(DIGITS)[:2])
    assert own.estimator.random_state == 1


def test_what_is_saved_predicts_the_same(tmp_path):
    model = SklearnModel(make_pipeline(StandardScaler(), LogisticRegression()))
    model.train(*halves(DIGITS)[:2])
    model.save(str(tmp_path / "model"))
    assert [path.name for path in tmp_path.iterdir()] == ["model.skops"]
    other = forest()
    other.load(str(tmp_path / "model"))
    assert np.array_equal(other.predict(DIGITS[0]), model.predict(DIGITS[0]))


def test_a_forest_is_loaded_by_who_trusts_it(tmp_path):
    model = forest()
    model.train(*halves(DIGITS)[:2])
    model.save(str(tmp_path / "model"))
    other = forest()
    with pytest.raises(ModelError, match=r"load it with trusted=\['sklearn\.tree\._tree\.Tree'\]"):
        other.load(str(tmp_path / "model"))
    other.load(str(tmp_path / "model"), trusted=["sklearn.tree._tree.Tree"])
    assert np.array_equal(other.predict(DIGITS[0]), model.predict(DIGITS[0]))


def halve(values):
    return values / 2


def test_types_that_are_not_trusted_are_refused(tmp_path):
    model = SklearnModel(make_pipeline(FunctionTransformer(halve), LinearRegression()))
    model.train(*DIABETES)
    model.save(str(tmp_path / "model"))
    with pytest.raises(ModelError, match="holds types that are not trusted"):
        forest().load(str(tmp_path / "model"))


def test_absent_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        forest().load(str(tmp_path / "absent"))
    (tmp_path / "model.skops").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot be read"):
        forest().load(str(tmp_path / "model"))


class Rows(Dataset):
    def __len__(self):
        return len(DIGITS[0])

    def __getitem__(self, index):
        return torch.tensor(DIGITS[0][index]), int(DIGITS[1][index])


TENSORS = TensorDataset(torch.tensor(DIGITS[0]), torch.tensor(DIGITS[1]))


@pytest.mark.parametrize("data", [TENSORS, Rows(), DataLoader(TENSORS, batch_size=100)])
def test_a_dataset_or_loader_is_read_whole(data):
    model, reference = forest(random_state=0), forest(random_state=0)
    assert model.train(data) == reference.train(*DIGITS)
    assert np.array_equal(model.predict(DIGITS[0]), reference.predict(DIGITS[0]))


def test_a_dataset_without_targets_is_read_whole():
    model = SklearnModel(KMeans(n_clusters=2, n_init=1))
    model.train(DataLoader(torch.arange(8.0).reshape(4, 2), batch_size=3))
    assert model.estimator.cluster_centers_.shape == (2, 2)


class Points(Dataset):
    """Inputs without targets, of two features: what could be mistaken for a pair."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.tensor([float(index), -float(index)])


@pytest.mark.parametrize("data", [Points(), DataLoader(Points(), batch_size=2), DataLoader(Points(), batch_size=4)])
def test_two_features_are_not_taken_for_inputs_and_targets(data):
    model = SklearnModel(KMeans(n_clusters=2, n_init=1))
    model.train(data)
    assert model.estimator.n_features_in_ == 2
    assert len(model.predict(data)) == 6
    assert set(model.evaluate(data)) == {"score"}


@pytest.mark.parametrize("data", [DIGITS[0], DataLoader(Points(), batch_size=2)])
def test_a_classifier_without_targets_is_refused_in_training_and_in_evaluation(data):
    with pytest.raises(DataError, match="RandomForestClassifier needs targets"):
        forest().train(data)
    trained_model = forest()
    trained_model.train(*DIGITS)
    with pytest.raises(DataError, match="RandomForestClassifier needs targets"):
        trained_model.evaluate(data)


@pytest.mark.parametrize(
    "data", [7, DataLoader(TensorDataset(*[torch.zeros(4, 2)] * 3)), DataLoader(TENSORS, sampler=[])]
)
def test_data_that_an_estimator_cannot_use_is_refused(data):
    with pytest.raises(DataError, match="a scikit-learn estimator cannot use a"):
        forest().train(data)


def test_the_seed_of_the_run_reaches_every_part_of_a_pipeline():
    def fitted(seed):
        pipeline = make_pipeline(PCA(5, svd_solver="randomized"), SGDClassifier(), memory=None)
        pipeline.set_params(pca__random_state=3)
        model = SklearnModel(pipeline)
        model.run = RunContext(TrainingConfig(seed=seed))
        model.train(*DIGITS)
        return model.estimator

    one, same, other = fitted(7), fitted(7), fitted(8)
    assert one.get_params()["sgdclassifier__random_state"] == 7
    assert one.get_params()["pca__random_state"] == 3
    assert np.array_equal(one[-1].coef_, same[-1].coef_)
    assert not np.array_equal(one[-1].coef_, other[-1].coef_)


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (LogisticRegression(max_iter=1000), load_iris(return_X_y=True)),
        (SVC(), DIGITS),
        (GaussianNB(), DIGITS),
        (Ridge(), DIABETES),
        (KMeans(3, n_init=1), (DIABETES[0], None)),
        (make_pipeline(StandardScaler(), PCA(8), SVC()), DIGITS),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_of_estimator_comes_back_without_trusting_anything(tmp_path, estimator, data):
    model, other = SklearnModel(clone(estimator)), SklearnModel(clone(estimator))
    model.train(*data)
    model.save(str(tmp_path / "model"))
    other.load(str(tmp_path / "model"))
    assert np.array_equal(other.predict(data[0]), model.predict(data[0]))
    assert other.evaluate(*data) == model.evaluate(*data)
    assert other.ml_task is model.ml_task


class Unknown(LinearRegression):
    """A type of the user's own, which nothing vouches for."""


def test_a_type_of_the_users_own_is_refused_and_named(tmp_path):
    model = SklearnModel(Unknown())
    model.train(*DIABETES)
    model.save(str(tmp_path / "model"))
    before = forest()
    estimator = before.estimator
    with pytest.raises(ModelError, match="Unknown"):
        before.load(str(tmp_path / "model"))
    assert before.estimator is estimator


def test_a_pickle_under_the_name_of_a_model_is_refused_and_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    (tmp_path / "model.skops").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match="cannot be read"):
        forest().load(str(tmp_path / "model"))
    assert not (tmp_path / "executed").exists()


def test_a_dot_in_a_name_begins_no_ending(tmp_path):
    model = SklearnModel(LinearRegression())
    model.train(*DIABETES)
    for name in ("ridge-0.5", "ridge-0.7", "ridge.skops"):
        model.save(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ridge-0.5.skops", "ridge-0.7.skops", "ridge.skops"]
    model.load(str(tmp_path / "ridge-0.5"))
