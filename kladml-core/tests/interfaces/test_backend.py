from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kladml.errors import CapabilityError
from kladml.interfaces import Backend, BackendContext

CONTEXT = BackendContext(workspace=Path("workspace"))


class Plain(Backend):
    def __init__(self, bucket, region="eu"):
        self.given = (bucket, region)
        self.closed = 0

    def close(self):
        self.closed += 1


@dataclass
class Settings:
    bucket: str
    region: str = "eu"
    tags: list[str] = field(default_factory=list)


class WithDataclass(Backend):
    settings_class = Settings

    def __init__(self, bucket, region, tags):
        self.given = (bucket, region, tags)


def test_mapping_of_settings_becomes_arguments():
    assert Plain.from_settings({"bucket": "ml"}, CONTEXT).given == ("ml", "eu")


def test_dataclass_of_settings_becomes_arguments():
    tags = ["a"]
    backend = WithDataclass.from_settings(Settings("ml", tags=tags), CONTEXT)
    assert backend.given == ("ml", "eu", ["a"])
    assert backend.given[2] is tags


def test_with_block_closes_also_after_an_error():
    backend = Plain("ml")
    with backend as entered:
        assert entered is backend
    with pytest.raises(ZeroDivisionError), backend:
        _ = 1 / 0
    assert backend.closed == 2


def test_backend_that_says_nothing_has_working_defaults():
    class Silent(Backend):
        pass

    backend = Silent.from_settings({}, CONTEXT)
    backend.check()
    backend.close()
    backend.close()
    assert (Silent.api_version, Silent.settings_class, Silent.capabilities) == (1, None, frozenset())


@pytest.mark.parametrize(("capabilities", "offered"), [(set(), "none"), ({"presign", "delete"}, "delete, presign")])
def test_missing_capability_names_the_class_the_capability_and_what_is_offered(capabilities, offered):
    class Limited(Backend):
        pass

    Limited.capabilities = frozenset(capabilities)
    error = Limited()._lacks("read", "read run '3' back")
    assert type(error) is CapabilityError
    assert str(error) == (
        f"Limited cannot read run '3' back: it does not offer the capability 'read' ({__name__}); "
        f"choose another backend (offered here: {offered})"
    )
