"""Settings of a selected backend against what its class declares."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kladml.config import backend_settings, from_overrides, read_environment, resolve
from kladml.errors import ConfigError, MissingSettingError, UnknownKeyError, WrongTypeError
from kladml.testing.fakes import MemoryStorage


@dataclass
class Settings:
    bucket: str = field(metadata={"doc": "Bucket of the runs."})
    retries: int = field(default=3, metadata={"doc": "Attempts."})


@dataclass(frozen=True, slots=True)
class Limits:
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class FrozenSettings:
    bucket: str
    limits: Limits = field(default_factory=Limits)


class WithFrozen(MemoryStorage):
    settings_class = FrozenSettings


class WithDataclass(MemoryStorage):
    settings_class = Settings


class WithParameters(MemoryStorage):
    def __init__(self, bucket: str, retries: int = 3) -> None:
        super().__init__()


def settings(cls, *overrides):
    return backend_settings(resolve(overrides=from_overrides(overrides)), "storage", "x", cls, "acme 1.0")


def test_a_dataclass_is_filled_and_typed():
    assert settings(WithDataclass, "storage.x.bucket=007", "storage.x.retries=5") == Settings("007", 5)


def test_frozen_dataclasses_are_filled_like_any_other():
    filled = settings(WithFrozen, "storage.x.bucket=ml", "storage.x.limits.seconds=2")
    assert filled == FrozenSettings("ml", Limits(2.0))


def test_init_parameters_are_settings_too():
    assert settings(WithParameters, "storage.x.bucket=ml") == {"bucket": "ml"}


@pytest.mark.parametrize("cls", [WithDataclass, WithParameters])
def test_a_missing_setting_is_named_with_its_owner_and_how_to_give_it(cls):
    with pytest.raises(MissingSettingError, match=r"storage\.x\.bucket .*is missing \(acme 1\.0\)"):
        settings(cls)


@pytest.mark.parametrize("cls", [WithDataclass, WithParameters])
def test_a_misspelt_setting_is_refused_with_the_nearest(cls):
    with pytest.raises(UnknownKeyError, match=r"storage\.x\.buckett .*did you mean storage\.x\.bucket\?"):
        settings(cls, "storage.x.bucket=a", "storage.x.buckett=b")


def test_a_wrong_type_is_refused_with_its_meaning():
    with pytest.raises(WrongTypeError, match=r"storage\.x\.retries must be int, not 'many'.*Attempts"):
        settings(WithDataclass, "storage.x.bucket=a", "storage.x.retries=many")


@dataclass
class SecretSettings:
    licence: str | None = field(default=None, metadata={"doc": "The licence.", "secret": True})
    pin: int = field(default=0, metadata={"doc": "A number.", "secret": True})


class WithSecret(MemoryStorage):
    settings_class = SecretSettings


def test_a_setting_that_is_declared_secret_is_refused_in_a_file_or_flag():
    with pytest.raises(ConfigError, match=r"storage\.x\.licence is a secret") as caught:
        settings(WithSecret, "storage.x.licence=hunter2")
    assert "hunter2" not in str(caught.value)


def test_a_setting_that_is_declared_secret_is_masked_in_what_is_stored():
    config = resolve(environment=read_environment({"KLADML_STORAGE__X__LICENCE": "hunter2"}))
    assert backend_settings(config, "storage", "x", WithSecret).licence == "hunter2"
    assert "hunter2" not in repr(config.as_dict())
    assert "hunter2" not in repr(config.rows())


def test_a_secret_of_the_wrong_type_is_not_shown():
    config = resolve(environment=read_environment({"KLADML_STORAGE__X__PIN": "hunter2"}))
    with pytest.raises(WrongTypeError, match=r"storage\.x\.pin must be int;") as caught:
        backend_settings(config, "storage", "x", WithSecret)
    assert "hunter2" not in str(caught.value)


def test_a_secret_of_a_plugin_with_a_hyphen_is_masked_too():
    config = resolve(environment=read_environment({"KLADML_STORAGE__MY_X__LICENCE": "hunter2"}))
    assert backend_settings(config, "storage", "my-x", WithSecret).licence == "hunter2"
    assert "hunter2" not in repr(config.as_dict())


def test_blocks_of_other_backends_are_not_looked_at():
    assert settings(WithDataclass, "storage.x.bucket=a", "storage.other.nonsense=b").bucket == "a"
