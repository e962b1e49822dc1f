from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from kladml.interfaces import Backend, Setting, settings_of

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class S3Settings:
    bucket: str = field(metadata={"doc": "Where a run's files go."})
    key_id: str | None = field(default=None, metadata={"secret": True})
    timeout: Optional[float] = 3.0  # noqa: UP045 - the older spelling is still written
    tags: list[str] = field(default_factory=lambda: ["a"])
    ready: bool = field(init=False, default=False)


class WithDataclass(Backend):
    settings_class = S3Settings


def test_dataclass_gives_names_types_defaults_docs_and_secrets():
    assert settings_of(WithDataclass) == [
        Setting("bucket", "str", MISSING, doc="Where a run's files go."),
        Setting("key_id", "str | None", None, secret=True),
        Setting("timeout", "Optional[float]", 3.0),
        Setting("tags", "list[str]", ["a"]),
    ]


def test_only_a_setting_without_default_is_required():
    assert [setting.name for setting in settings_of(WithDataclass) if setting.required] == ["bucket"]


def test_type_that_exists_for_type_checkers_only_is_named_as_written():
    @dataclass
    class Settings:
        price: Decimal = None
        bucket: str = "ml"

    class Priced(Backend):
        settings_class = Settings

    assert [setting.type_name for setting in settings_of(Priced)] == ["Decimal", "str"]


def test_init_parameters_are_the_settings_of_a_class_without_dataclass():
    class Plain(Backend):
        def __init__(self, bucket, region: str = "eu", *rest: int, retries: int | None = None, **options: Any):
            self.given = bucket, region, rest, retries, options

    assert settings_of(Plain) == [
        Setting("bucket", "any", MISSING),
        Setting("region", "str", "eu"),
        Setting("retries", "int | None", None),
    ]


def test_inherited_init_counts():
    class Parent(Backend):
        def __init__(self, path: str = "data"):
            self.path = path

    class Child(Parent):
        pass

    assert settings_of(Child) == [Setting("path", "str", "data")]


def test_class_without_init_has_no_settings():
    class Plain(Backend):
        pass

    assert settings_of(Plain) == []
