"""What is logged while a run is under way says of which run it is."""

from __future__ import annotations

import threading

import pytest

from kladml.errors import TrackerError
from kladml.log import get_logger
from kladml.testing.fakes import MemoryTracker

log = get_logger("kladml.test")


def runs_of(caplog, text):
    return [getattr(record, "run", None) for record in caplog.records if text in record.getMessage()]


def test_every_message_of_a_run_has_its_address(backends, model_class, data, caplog):
    class Failing(MemoryTracker):
        def log_metric(self, key, value, step=None):
            problem = "no room"
            raise TrackerError(problem)

    caplog.set_level("INFO", "kladml")
    result = backends.runner(tracker=Failing()).run(model_class, data)
    address = str(result.address)
    assert runs_of(caplog, f"run {address} with ") == [address]
    assert set(runs_of(caplog, "no room")) == {address}
    log.warning("afterwards")
    assert runs_of(caplog, "afterwards") == [None]


def test_runs_one_after_the_other_and_inside_one_another_do_not_mix(backends, model_class, data, caplog):
    class Outer(model_class):
        def train(self, X_train, y_train=None):
            backends.runner(tracker=MemoryTracker()).run(model_class, data, experiment_name="inner")
            log.warning("back in the outer run")
            return super().train(X_train, y_train)

    caplog.set_level("INFO", "kladml")
    backends.runner().run(model_class, data, experiment_name="first")
    backends.runner().run(Outer, data, experiment_name="outer")
    begun = [record for record in caplog.records if " with " in record.getMessage()]
    assert [record.run.rpartition("/")[2] for record in begun] == ["first@1", "outer@1", "inner@1"]
    assert all(record.getMessage().startswith(f"run {record.run} with") for record in begun)
    assert runs_of(caplog, "back in the outer run") == ["default/default/outer@1"]


def test_failed_runs_say_it_to_the_end_and_not_longer(backends, model_class, data, caplog):
    class Broken(model_class):
        def train(self, X_train, y_train=None):
            raise ValueError

    class NoEnd(MemoryTracker):
        def end_run(self, status="FINISHED"):
            problem = "cannot end"
            raise TrackerError(problem)

    with pytest.raises(ValueError):
        backends.runner(tracker=NoEnd()).run(Broken, data)
    log.warning("afterwards")
    assert runs_of(caplog, "cannot end") == ["default/default/default@1"]
    assert runs_of(caplog, "afterwards") == [None]


def test_runs_in_threads_do_not_mix(backends, model_class, data, caplog):
    both = threading.Barrier(2)

    class Together(model_class):
        def train(self, X_train, y_train=None):
            both.wait(30)
            log.warning("training")
            both.wait(30)
            return super().train(X_train, y_train)

    def run(name):
        backends.runner(tracker=MemoryTracker(), publisher=None).run(Together, data, experiment_name=name)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(runs_of(caplog, "training")) == ["default/default/one@1", "default/default/two@1"]
