"""Making a run known to its trackers and its catalog, for the first time or again."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from kladml.errors import AddressError, CapabilityError, WorkspaceError
from kladml.interfaces import RunAddress
from kladml.log import get_logger
from kladml.runner.record import RunRecord

if TYPE_CHECKING:
    from kladml.interfaces import CatalogInterface, ExperimentAddress
    from kladml.runner.backends import Backends

log = get_logger(__name__)


def register(backends: Backends, experiment: ExperimentAddress, run_name: str | None) -> RunRecord:
    """Start a run on the trackers and give it its address.

    Raises:
        BackendError: No tracker, or not the catalog, can register it; those that did were told that it failed.
    """
    tracked = backends.trackers.start_run(flat_name(experiment), run_name)
    run_id = tracked or uuid.uuid4().hex
    try:
        if backends.catalog is None:
            address = RunAddress(experiment, _label(run_id))
        else:
            address = backends.catalog.backend.add_run(experiment, run_id, backends.names())
    except BaseException:
        backends.trackers.call("end_run", "FAILED", always=True)
        raise
    return RunRecord(str(address), run_id, backends=backends.names(), tracker_runs=backends.trackers.run_ids())


def register_again(backends: Backends, record: RunRecord, run_name: str | None) -> RunRecord:
    """Go on with a run on the trackers and in the catalog, under its address.

    A tracker that cannot starts a new run; a catalog that cannot goes on showing how the run ended. Both is said.

    Args:
        backends: The checked backends.
        record: The run as its folder has it.
        run_name: A name for people, where a tracker starts anew.

    Raises:
        BackendError: No tracker works, or the catalog fails.
        WorkspaceError: The catalog knows another run by this address.
    """
    address = RunAddress.parse(record.address)
    if backends.catalog is not None:
        _check_same_run(backends.catalog.backend, address, record)
    tracked = backends.trackers.start_run(flat_name(address.experiment), run_name, record.tracker_runs)
    run_id = tracked or record.run_id
    try:
        if backends.catalog is not None:
            backends.catalog.backend.resume_run(address, run_id, backends.names())
    except (CapabilityError, AddressError) as error:
        log.warning(f"{backends.catalog} does not show that run {address} goes on: {error.problem}")
    except BaseException:
        backends.trackers.call("end_run", "FAILED", always=True)
        raise
    # What a tracker had that is not selected this time stays known for the next.
    names = {name for name, _ in backends.trackers.run_ids()}
    others = [pair for pair in record.tracker_runs if pair[0] not in names]
    return RunRecord(
        record.address,
        run_id,
        started_at=record.started_at,
        backends=backends.names(),
        tracker_runs=[*backends.trackers.run_ids(), *others],
        copied_to=[name for name in record.copied_to if name not in names],
        earlier_ids=[known for known in (*record.earlier_ids, record.run_id) if known != run_id],
        resumed=record.resumed + 1,
    )


def _check_same_run(catalog: CatalogInterface, address: RunAddress, record: RunRecord) -> None:
    try:
        known = catalog.get_run(address)
    except AddressError:  # another machine began it
        return
    if known.run_id not in (record.run_id, *record.earlier_ids):
        problem = f"the catalog has another run {address}, '{known.run_id}', than the one to resume, '{record.run_id}'"
        raise WorkspaceError(problem, next_step="give the folder of its checkpoints, to start a new run from them")


def flat_name(experiment: ExperimentAddress) -> str:
    """Return the experiment's name for a tracker that has no hierarchy."""
    is_default = experiment.project == experiment.family == "default"
    return experiment.experiment if is_default else str(experiment)


def _label(run_id: str) -> str:
    """Return what stands for a run's number where no catalog gives one; any other text could collide or escape."""
    is_uuid = re.fullmatch(r"[0-9a-f]{32}", run_id.replace("-", "")) is not None
    return (run_id if is_uuid else uuid.uuid4().hex)[:8]
