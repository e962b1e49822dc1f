"""`ExperimentRunner`: a run from the configuration to the stored files, in six steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml.errors import ModelReferenceError, StopRun
from kladml.interfaces import ConfigEntry, ExperimentAddress
from kladml.models import RunContext, build_model, call_evaluate, call_train, check_model_class, is_torch_module
from kladml.plugins import LifecycleHooks, PluginRegistry
from kladml.runner.configuration import ConfigArgument, arguments_as_entries, load_configuration, open_source
from kladml.runner.data import check_data, fingerprint, load_data
from kladml.runner.references import load_reference
from kladml.runner.result import RunResult
from kladml.runner.selection import DEFAULT, BackendSelector
from kladml.runner.session import Backends, RunSession
from kladml.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kladml.config import ResolvedConfig
    from kladml.models import BaseModel


class ExperimentRunner:
    """Runs experiments with the selected backends.

    ```python
    runner = ExperimentRunner(storage="s3", tracker=["local", "mlflow"])
    result = runner.run(model_class=MyModel, train_data=(X, y), experiment_name="my-experiment")
    print(result.run_id, result.metrics, result.artifacts)
    ```

    Each backend is an instance, a class, a name, or None to switch it off; what is not given is decided by
    the configuration, and at last by the defaults `local`, `local`, `console` and `sql` where they are
    installed.

    Args:
        config: The configuration source; `yaml` by default.
        storage: Where a run's files go.
        tracker: Where parameters and metrics go; a list for several.
        publisher: Who is told of the progress; a list for several.
        catalog: Who numbers the runs.
        workspace: The workspace; the one around the current folder, which is made if there is none.
        hooks: Objects with lifecycle hooks, besides those of installed plugins.
        registry: Where names are looked up; what is installed, by default.
        config_file: A YAML file of the run's own, over the source.
        profile: The profile to apply.
        overrides: Configuration entries over everything else.
    """

    def __init__(
        self,
        *,
        config: ConfigArgument = DEFAULT,
        storage: Any = DEFAULT,
        tracker: Any = DEFAULT,
        publisher: Any = DEFAULT,
        catalog: Any = DEFAULT,
        workspace: Workspace | None = None,
        hooks: Iterable[object] = (),
        registry: PluginRegistry | None = None,
        config_file: Path | None = None,
        profile: str | None = None,
        overrides: Iterable[ConfigEntry] = (),
    ) -> None:
        self._config = config
        self._arguments = {"storage": storage, "tracker": tracker, "publisher": publisher, "catalog": catalog}
        self._workspace = workspace
        self._hooks = tuple(hooks)
        self._registry = registry or PluginRegistry()
        self._config_file = config_file
        self._profile = profile
        self._overrides = tuple(overrides)

    def run(
        self,
        model_class: Any = None,
        train_data: Any = None,
        val_data: Any = None,
        experiment_name: str | None = None,
        *,
        run_name: str | None = None,
        loss: Any = None,
        model_args: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
    ) -> RunResult:
        """Run one experiment.

        Args:
            model_class: A `BaseModel`, `nn.Module` or scikit-learn estimator class; `model.ref` of the
                configuration by default.
            train_data: `(X, y)`, arrays, a `Dataset`, a `DataLoader`, or a reference as in `data.train`.
            val_data: Validation data in any of these forms.
            experiment_name: `experiment` or `project/family/experiment`.
            run_name: A name for people.
            loss: Loss of a bare `nn.Module`, as a function or a name.
            model_args: Arguments of the model class, over `model.args`.
            training: Keys of the section `training`, over the configuration.

        Returns:
            The run's identifier, address, metrics and artifacts.

        Raises:
            KladMLError: Something is wrong with configuration, plugins, backends, data or model; said before
                the first epoch where it can be known by then.
            BaseException: Whatever the model's own code raises, unchanged; the run is then marked FAILED, or
                KILLED on an interrupt or when a hook asked for it, and what was saved is kept.
        """
        workspace = self._workspace or Workspace.ensure()
        model_arguments = dict(model_args or {})
        arguments = arguments_as_entries(
            experiment_name=experiment_name,
            run_name=run_name,
            model_class=model_class,
            loss=loss,
            model_arguments=model_arguments,
            training=training,
        )
        config, source = self._load_configuration(workspace, arguments)
        model_class, loss = self._find_model(config, workspace, model_class, loss)
        train_data, val_data = self._find_data(config, workspace, train_data, val_data)
        backends = self._select_backends(config, workspace)
        try:
            backends.check()
            session = self._start_tracking(config, backends, workspace, train_data, source=source)
            try:
                session.start()
                model = self._build_model(session, model_class, model_arguments, loss)
                metrics = self._train(session, model, train_data, val_data)
                metrics |= self._evaluate(session, model, train_data, val_data)
                artifacts = self._save_artifacts(session, model, metrics)
            except BaseException as error:
                asked_for = isinstance(error, StopRun) or not isinstance(error, Exception)
                status = "KILLED" if asked_for else "FAILED"
                artifacts = {}
                try:
                    artifacts = session.keep_what_there_is(status, error)
                finally:  # also when a second interrupt cuts the storing short
                    session.end(status, {}, artifacts)
                raise
            how_to_view = session.end("FINISHED", metrics, artifacts)
        finally:
            backends.close()
        warnings = [*backends.trackers.warnings(), *backends.publishers.warnings()]
        return RunResult(session.run_id, session.address, "FINISHED", metrics, artifacts, how_to_view, warnings, model)

    def _load_configuration(self, workspace: Workspace, arguments: list[ConfigEntry]) -> tuple[ResolvedConfig, str]:
        """Step 1: resolve the layers, with the arguments of `run` on top; also say what the source is."""
        source, label = open_source(self._config, self._registry, workspace)
        try:
            config = load_configuration(
                source, file=self._config_file, overrides=[*self._overrides, *arguments], profile=self._profile
            )
        finally:
            if source is not None and source is not self._config:
                source.close()
        return config, label

    def _find_model(
        self, config: ResolvedConfig, workspace: Workspace, model_class: Any, loss: Any
    ) -> tuple[type[Any], Any]:
        """Import the model and its loss where they are references, and check the contract."""
        chosen = config.run.model
        if model_class is None:
            if chosen.ref is None:
                problem = "there is no model"
                raise ModelReferenceError(problem, next_step="set model.ref to file.py:Class or package.module:Class")
            model_class = load_reference(chosen.ref, self._folders(workspace), key="model.ref")
        loss = chosen.loss if loss is None else loss
        if isinstance(loss, str) and ":" in loss:
            loss = load_reference(loss, self._folders(workspace), key="model.loss")
        check_model_class(model_class, loss=loss)
        if is_torch_module(model_class):
            from kladml.training.accelerator import check_device

            check_device(config.run.training)
        return model_class, loss

    def _find_data(
        self, config: ResolvedConfig, workspace: Workspace, train_data: Any, val_data: Any
    ) -> tuple[Any, Any]:
        """Load data that is a reference, and check it."""
        chosen = config.run.data
        found = []
        for given, reference, key in ((train_data, chosen.train, "train"), (val_data, chosen.val, "val")):
            given = reference if given is None else given  # noqa: PLW2901 - the argument wins over the configuration
            if isinstance(given, str | Path):
                given = load_data(  # noqa: PLW2901
                    str(given),
                    self._folders(workspace),
                    key=f"data.{key}",
                    target=chosen.target,
                    arguments=chosen.args,
                )
            if key == "train" or given is not None:
                check_data(given, f"{key}_data")
            found.append(given)
        return found[0], found[1]

    def _select_backends(self, config: ResolvedConfig, workspace: Workspace) -> Backends:
        selector = BackendSelector(config, self._registry, workspace)
        return Backends.of({kind: selector.select(kind, argument) for kind, argument in self._arguments.items()})

    def _start_tracking(
        self, config: ResolvedConfig, backends: Backends, workspace: Workspace, train_data: Any, *, source: str
    ) -> RunSession:
        """Step 2: register the run on the trackers and in the catalog."""
        run = config.run
        experiment = ExperimentAddress(run.project, run.family, run.experiment)
        hooks = LifecycleHooks.installed(self._registry, self._hooks)
        code = self._folders(workspace)[0]
        return RunSession(
            config,
            backends,
            workspace=workspace,
            experiment=experiment,
            hooks=hooks,
            data_fingerprint=fingerprint(train_data),
            code=code,
            source=source,
        )

    @staticmethod
    def _build_model(session: RunSession, model_class: type[Any], arguments: dict[str, Any], loss: Any) -> BaseModel:
        """Step 3: seed, then build the model and connect it with the run."""
        from kladml.training.seeding import seed_everything

        config = session.config.run
        seed_everything(config.training.seed)
        context = RunContext(config.training, session.files.checkpoints, (session.events,), session.events.log_metrics)
        return build_model(model_class, {**config.model.args, **arguments}, context, loss=loss)

    @staticmethod
    def _train(session: RunSession, model: BaseModel, train_data: Any, val_data: Any) -> dict[str, float]:
        """Step 4: train, and log what the model returns and has not logged through its run."""
        metrics = call_train(model, train_data, val_data)
        session.events.log_final_metrics(metrics)
        return metrics

    @staticmethod
    def _evaluate(session: RunSession, model: BaseModel, train_data: Any, val_data: Any) -> dict[str, float]:
        """Step 5: evaluate on validation data as `eval_…`, or on the training data as `train_…`, and log."""
        data, prefix = (train_data, "train") if val_data is None else (val_data, "eval")
        metrics = {f"{prefix}_{name}": value for name, value in call_evaluate(model, data).items()}
        session.events.log_metrics(metrics, None)
        return metrics

    @staticmethod
    def _save_artifacts(session: RunSession, model: BaseModel, metrics: dict[str, float]) -> dict[str, str]:
        """Step 6: save weights, best checkpoint, configuration and record through the storage."""
        session.files.write_model(model)
        result = getattr(model, "result", None)
        session.files.write_checkpoint(getattr(result, "best_checkpoint", None))
        return session.store(metrics, "FINISHED")

    def _folders(self, workspace: Workspace) -> list[Path]:
        """Where relative references are looked for: beside the run's file, then in the workspace, then here."""
        beside = [self._config_file.resolve().parent] if self._config_file is not None else []
        return [*beside, workspace.root, Path.cwd()]
