"""`ExperimentRunner`: a run from the configuration to the stored files, in six steps."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml.datasets.progress import silent
from kladml.errors import StopRun
from kladml.log import log_of_run
from kladml.plugins import LifecycleHooks, PluginRegistry
from kladml.runner.backends import Backends
from kladml.runner.configuration import ConfigArgument, arguments_as_entries, load_configuration, open_source
from kladml.runner.followers import announce, follow
from kladml.runner.preparation import Given, Prepared, experiment_of, prepare
from kladml.runner.provenance import CONFIG_FILE, config_file_tag
from kladml.runner.result import RunResult
from kladml.runner.resume import ResumePoint, ResumeSearch
from kladml.runner.selection import DEFAULT, BackendSelector
from kladml.runner.session import RunSession
from kladml.runner.steps import train_and_evaluate
from kladml.runner.stored_configuration import StoredConfiguration
from kladml.runner.stored_runs import StoredRuns
from kladml.runner.team import Team
from kladml.training.launching.rank_folder import own_rank
from kladml.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kladml.config import ResolvedConfig
    from kladml.datasets.progress import Progress
    from kladml.interfaces import ConfigEntry


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
        code: Folder in which references to code and data are looked for first; that of `config_file` by default.
        tags: What the trackers are told of the run besides what it was made from.
        progress: Shows how far the data sets are that are read before a run begins; nothing does by default.
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
        code: Path | None = None,
        tags: Mapping[str, str] | None = None,
        progress: Progress = silent,
    ) -> None:
        self._config = config
        self._arguments = {"storage": storage, "tracker": tracker, "publisher": publisher, "catalog": catalog}
        self._workspace = workspace
        self._hooks = tuple(hooks)
        self._registry = registry or PluginRegistry()
        self._config_file = config_file
        self._profile = profile
        self._overrides = tuple(overrides)
        self._code = code
        self._tags = dict(tags or {})
        self._progress = progress

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
        resume: str | Path | None = None,
        allow_world_change: bool = False,
    ) -> RunResult:
        """Run one experiment, or go on with a run.

        Where a launcher started several processes, all of them call this alike. The first one registers the run,
        writes and tells; the others train with it and return its metrics.

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
            resume: What to go on from: a run by its address (`project/family/experiment@n`, or `@n` of this
                experiment) or as `latest` of this experiment, which keeps its address and its records; or, by the
                path of a checkpoint or of a folder of them, a state from which a new run begins. A run that goes
                on has the configuration that was stored with it, unless this runner was given another.
            allow_world_change: Whether it may go on with another number of processes.

        Returns:
            The run's identifier, address, metrics and artifacts.

        Raises:
            KladMLError: Something is wrong with configuration, plugins, backends, data or model, or with what is
                to be resumed; said before the first epoch where it can be known by then.
            TrainingStopped: A signal asked for the end; the run is then marked KILLED and can be resumed.
            BaseException: Whatever the model's own code raises, unchanged; the run is then marked FAILED, or
                KILLED on an interrupt or when a hook asked for it, and what was saved is kept.
        """
        given = Given(model_class, dict(model_args or {}), loss, train_data, val_data)
        arguments = arguments_as_entries(
            experiment_name=experiment_name,
            run_name=run_name,
            model_class=model_class,
            loss=loss,
            model_arguments=given.model_args,
            training=training,
        )
        workspace = self._workspace or _own_workspace()
        config, source = self._load_configuration(workspace, arguments)
        team = Team.join(config.run.training)
        with log_of_run(), ExitStack() as locks:
            try:
                point = stored = None
                if resume is not None:
                    point = self._find_point(resume, workspace, config, locks) if team.is_main else None
                    stored = StoredConfiguration.of(point, team)
                    if stored is not None and experiment_name is not None:
                        stored.check_experiment(experiment_of(config))
                    config, source = self._load_configuration(workspace, arguments, stored)
                    team = Team.join(config.run.training)
                team.bind_to_log()
                folders = self._folders(workspace, stored)
                prepared = prepare(
                    config, source, given, folders, workspace=workspace, processes=team.size, progress=self._progress
                )
                team.check_same_data(prepared.data_fingerprint, prepared.val_fingerprint)
                if not team.is_main:
                    return follow(prepared, team)
                return self._lead(
                    prepared, team, workspace, point=point, locks=locks, allow_world_change=allow_world_change
                )
            except BaseException:
                team.leave()
                raise

    def _lead(
        self,
        prepared: Prepared,
        team: Team,
        workspace: Workspace,
        *,
        point: ResumePoint | None,
        locks: ExitStack,
        allow_world_change: bool,
    ) -> RunResult:
        """Run as the process that has the backends."""
        if point is not None:
            point.check(prepared, team.size, allow_world_change=allow_world_change)
        tags = dict(self._tags)
        if self._config_file is not None:
            tags[CONFIG_FILE] = config_file_tag(self._config_file, workspace.root)
        hooks = LifecycleHooks.installed(self._registry, self._hooks)
        backends = self._select_backends(prepared.config, workspace)
        try:
            backends.check()
            session = RunSession(
                prepared, backends, workspace=workspace, hooks=hooks, point=point, locks=locks, tags=tags
            )
            try:
                session.start()
                context = session.context(allow_world_change=allow_world_change)
                announce(session, context, team)
                model, metrics = train_and_evaluate(prepared, context, session.events)
                artifacts = session.save(model, metrics)
            except BaseException as error:
                team.leave()  # before anything is stored, which may take long
                asked_for = isinstance(error, StopRun) or not isinstance(error, Exception)
                status = "KILLED" if asked_for else "FAILED"
                artifacts = {}
                try:
                    artifacts = session.save_what_there_is(status, error)
                finally:  # also when a second interrupt cuts the storing short
                    session.end(status, {}, artifacts)
                session.say_how_to_go_on(error)
                raise
            how_to_view = session.end("FINISHED", metrics, artifacts)
        finally:
            backends.close()
        warnings = [*backends.trackers.warnings(), *backends.publishers.warnings()]
        return RunResult(session.run_id, session.address, "FINISHED", metrics, artifacts, how_to_view, warnings, model)

    def _load_configuration(
        self, workspace: Workspace, arguments: list[ConfigEntry], stored: StoredConfiguration | None = None
    ) -> tuple[ResolvedConfig, str]:
        """Resolve the layers, with the arguments of `run` on top; also say what the source is."""
        source, label = open_source(self._config, self._registry, workspace)
        takes_stored = (
            stored is not None and self._config_file is None and (self._config is None or self._config is DEFAULT)
        )
        try:
            config = load_configuration(
                source,
                stored=stored.entries if stored is not None and takes_stored else None,
                file=self._config_file,
                overrides=[*self._overrides, *arguments, *(stored.address if stored is not None else ())],
                profile=self._profile,
            )
        finally:
            if source is not None and source is not self._config:
                source.close()
        return config, f"run {stored.name}" if stored is not None and takes_stored else label

    def _find_point(
        self, resume: str | Path, workspace: Workspace, config: ResolvedConfig, locks: ExitStack
    ) -> ResumePoint:
        """Find what a run goes on from, in the workspace or in the selected storage."""

        @contextmanager
        def open_storage() -> Iterator[StoredRuns | None]:
            selector = BackendSelector(config, self._registry, workspace)
            storage = next(iter(selector.select("storage", self._arguments["storage"])), None)
            if storage is None:
                yield None
                return
            try:
                bucket = config.run.artifacts.bucket or storage.backend.default_bucket
                yield StoredRuns(storage.backend, bucket, workspace.state)
            finally:
                if not storage.borrowed:
                    storage.backend.close()

        return ResumeSearch(workspace.state / "runs", experiment_of(config), open_storage).find(resume, locks)

    def _select_backends(self, config: ResolvedConfig, workspace: Workspace) -> Backends:
        selector = BackendSelector(config, self._registry, workspace)
        return Backends.of({kind: selector.select(kind, argument) for kind, argument in self._arguments.items()})

    def _folders(self, workspace: Workspace, stored: StoredConfiguration | None) -> list[Path]:
        """Where relative references are looked for: beside the run's file, then in the workspace, then here."""
        if self._code is not None:
            beside = [self._code]
        elif self._config_file is not None:
            beside = [self._config_file.resolve().parent]
        else:
            beside = [Path(stored.code)] if stored is not None and stored.code is not None else []
        return [*beside, workspace.root, Path.cwd()]


def _own_workspace() -> Workspace:
    """Return the workspace around the current folder, which the main process makes if there is none."""
    return Workspace.ensure() if own_rank() == 0 else Workspace.around() or Workspace(Path.cwd())
