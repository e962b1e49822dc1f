"""Layers, types, origins, suggestions and secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml.config import from_overrides, read_environment, read_yaml, resolve, schema_keys
from kladml.config.schema import RunConfig
from kladml.errors import ConfigError, UnknownKeyError, WrongTypeError
from kladml.interfaces import ConfigEntry

USERS_BLOCK = """\
training:
  max_epochs: 100
  batch_size: 64
  mixed_precision: "fp16"       # no | fp16 | bf16
  gradient_accumulation_steps: 4
  gradient_clipping: 1.0

  early_stopping:
    enabled: true
    patience: 10
"""


def from_text(folder, text):
    path = folder / "kladml.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


def overridden(*overrides):
    return resolve(overrides=from_overrides(overrides))


def test_the_users_block_is_accepted_word_for_word(tmp_path):
    training = resolve(from_text(tmp_path, USERS_BLOCK)).run.training
    assert (training.max_epochs, training.batch_size, training.mixed_precision) == (100, 64, "fp16")
    assert (training.gradient_accumulation_steps, training.gradient_clipping) == (4, 1.0)
    assert (training.early_stopping.enabled, training.early_stopping.patience) == (True, 10)


def test_an_unquoted_no_is_the_precision_no(tmp_path):
    assert resolve(from_text(tmp_path, "training: {mixed_precision: no}")).run.training.mixed_precision == "no"


def test_later_layers_win_and_origins_follow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = from_text(tmp_path, "training: {max_epochs: 1, batch_size: 2, seed: 3, num_workers: 4}\n")
    files.append(ConfigEntry("training.batch_size", 20, "run.yaml:1"))
    environment = read_environment({"KLADML_TRAINING__SEED": "30"})
    config = resolve(files, environment, from_overrides(["training.num_workers=40"]))
    shown = {row.key: (row.value, row.origin) for row in config.rows()}
    assert shown["training.max_epochs"] == (1, "kladml.yaml:1")
    assert shown["training.batch_size"] == (20, "run.yaml:1")
    assert shown["training.seed"] == (30, "$KLADML_TRAINING__SEED")
    assert shown["training.num_workers"] == (40, "--set")
    assert shown["training.device"] == ("auto", "default")


def test_a_profile_stands_between_files_and_environment(tmp_path):
    text = "storage: local\nrun_name: file\nprofiles:\n  prod: {storage: {use: s3}, run_name: prod}\n"
    files = from_text(tmp_path, text)
    config = resolve(files, read_environment({"KLADML_RUN_NAME": "env"}), profile="prod")
    assert config.selected("storage") == ["s3"]
    assert config.run.run_name == "env"
    assert resolve(files).selected("storage") == ["local"]


def test_an_unknown_profile_is_refused_with_those_there_are(tmp_path):
    files = from_text(tmp_path, "profiles: {prod: {run_name: a}, test: {run_name: b}}")
    with pytest.raises(UnknownKeyError, match=r"no profile 'pord' \(defined: prod, test\)"):
        resolve(files, profile="pord")


def test_text_of_variables_takes_the_type_of_its_key():
    config = resolve(
        environment=read_environment(
            {
                "KLADML_RUN_NAME": "007",
                "KLADML_TRAINING__GRADIENT_CLIPPING": "none",
                "KLADML_TRAINING__EARLY_STOPPING__ENABLED": "true",
                "KLADML_MODEL__ARGS__WIDTH": "8",
            }
        )
    ).run
    assert config.run_name == "007"
    assert config.training.gradient_clipping is None
    assert config.training.early_stopping.enabled is True
    assert config.model.args == {"width": 8}


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("training.max_epoch=1", "training.max_epochs"),
        ("trainig.max_epochs=1", "training.max_epochs"),
        ("training.early_stoping.patience=1", "training.early_stopping.patience"),
        ("storag.use=s3", "storage.use"),
        ("storage.us=s3", "storage.use"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_nearest_right_one(override, nearest):
    with pytest.raises(UnknownKeyError, match=f"--set: unknown key .*; did you mean {nearest}"):
        overridden(override)


def test_a_misspelt_variable_is_refused_with_the_nearest_right_variable():
    environment = read_environment({"KLADML_TRAINING_MAX_EPOCHS": "3"})
    with pytest.raises(UnknownKeyError, match=r"did you mean \$KLADML_TRAINING__MAX_EPOCHS\?"):
        resolve(environment=environment)


def test_a_misspelt_key_in_a_file_is_refused_with_file_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = from_text(tmp_path, "training:\n  max_epochs: 1\n  batchsize: 2\n")
    with pytest.raises(UnknownKeyError, match=r"kladml\.yaml:3: unknown key training\.batchsize; did you mean"):
        resolve(files)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("training.max_epochs=ten", "must be int, not 'ten'"),
        ("training.max_epochs=0", "must be at least 1, not 0"),
        ("training.max_epochs=2.5", "must be int, not 2.5"),
        ("training.batch_size=true", "must be int, not True"),
        ("training.mixed_precision=fp17", "must be one of no, fp16, bf16, not 'fp17'"),
        ("training.early_stopping.enabled=maybe", "must be true or false"),
        ("training.gradient_clipping=-1", "must be at least 0"),
        ("training=3", "is a section, not a value"),
        ("model.args=3", "must be mapping"),
        ("training.optimizer.lr=nan", "must be at least 0"),
        ("run_name=\x1b[31mred", r"run_name must be one line without control characters, not '\\x1b\[31mred'"),
        ("run_name=two\nlines", "must be one line without control characters"),
        ("run_name=half a pair \ud800", "must be one line without control characters"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(override, complaint):
    with pytest.raises(WrongTypeError, match=complaint):
        overridden(override)


def test_a_name_for_people_may_be_in_any_script():
    assert overridden("run_name=naïve 模型 🚀 — 2e").run.run_name == "naïve 模型 🚀 — 2e"


def test_interpolation_is_refused():
    with pytest.raises(ConfigError, match="without interpolation"):
        overridden("run_name=${oc.env:HOME}")


@pytest.mark.parametrize(
    "key", ["storage.s3.secret_key", "tracker.mlflow.password", "storage.s3.aws_secret_access_key"]
)
def test_a_secret_in_a_flag_or_file_is_refused_without_showing_it(key):
    with pytest.raises(ConfigError, match="is a secret") as caught:
        overridden(f"{key}=hunter2")
    assert "hunter2" not in str(caught.value)


def test_secrets_and_urls_with_passwords_are_masked_wherever_values_are_shown():
    config = resolve(
        environment=read_environment({"KLADML_STORAGE__S3__SECRET_KEY": "hunter2"}),
        overrides=from_overrides(
            ["model.args.api_key=hunter2", "publisher.redis.url=redis://me:hunter2@host/0", "model.args.token_dim=7"]
        ),
    )
    assert "hunter2" not in repr(config.rows())
    assert "hunter2" not in repr(config.as_dict())
    assert config.as_dict()["model"]["args"]["token_dim"] == 7
    assert config.as_dict()["publisher"]["redis"]["url"] == "redis://***@host/0"


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("tracker=local", ["local"]),
        ("tracker.use=[local, mlflow]", ["local", "mlflow"]),
        ("tracker=none", []),
        ("tracker.use=null", []),
    ],
)
def test_a_section_selects_names(override, names):
    assert overridden(override).selected("tracker") == names


def test_nothing_said_is_not_the_same_as_none():
    assert resolve().selected("tracker") is None


def test_a_section_with_all_its_keys_commented_out_says_nothing(tmp_path):
    files = from_text(tmp_path, "storage:\n  # use: s3\ntraining:\n  early_stopping:\n    # enabled: true\n")
    assert resolve(files).run == resolve().run
    assert resolve(files).selected("storage") is None


def test_a_selection_of_something_else_is_refused():
    with pytest.raises(WrongTypeError, match="must be a name or a list of names"):
        overridden("tracker.use=[1]").selected("tracker")


def test_a_block_is_found_under_its_name_with_underscores_too():
    config = resolve(environment=read_environment({"KLADML_STORAGE__MY_STORE__ROOT": "x"}))
    assert [entry.key for entry in config.settings("storage", "my-store")] == ["storage.my-store.root"]


def test_a_value_for_a_whole_mapping_replaces_what_lower_layers_put_into_it(tmp_path):
    files = from_text(tmp_path, "model: {args: {layers: [1, 2]}}")
    assert resolve(files, overrides=from_overrides(["model.args.layers=[3]"])).run.model.args == {"layers": [3]}


def test_the_stored_form_resolves_to_the_same_configuration():
    config = overridden("training.max_epochs=7", "model.args.width=3", "storage=s3", "storage.s3.bucket=ml")
    from kladml.config import flatten

    again = resolve(list(flatten(config.as_dict(), "config.yaml")))
    assert again.run == config.run
    assert again.selected("storage") == ["s3"]


@given(st.sampled_from(sorted(schema_keys(RunConfig))), st.text(max_size=30))
def test_any_text_for_any_key_is_a_value_or_a_configuration_error(key, text):
    try:
        overridden(f"{key}={text}")
    except ConfigError as error:
        assert key in str(error)  # noqa: PT017 - both outcomes are right


def test_every_key_is_documented():
    for key in schema_keys(RunConfig).values():
        assert key.doc.endswith("."), key.key
