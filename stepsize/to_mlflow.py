"""Jobs as runs of MLflow, which a second export goes on with where one ended."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stepsize.errors import StepsizeError
from stepsize.exporting import Group, blocks, groups, hyperparameters, instants, results, tags

if TYPE_CHECKING:
    from stepsize.client import Client
    from stepsize.series import Series
    from stepsize.values import Job

METRICS, PARAMS, LONGEST = 1000, 100, 6000
"""What one request may carry, and a parameter: MLflow's own limits."""

JOB, NEXT, ENDED = "stepsize.job", "stepsize.next.", "stepsize.ended"
"""Tags of a run: of which job it is, which rows it has, whether it has the job's end."""

STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


def export(client: Client, job: Job, uri: str, *, experiment: str = "stepsize") -> str:
    """Writes a job as a run of an experiment, which is made if needed; the id of the run.

    The run that an earlier export began is gone on with. Rows sent twice, where one was
    interrupted, have the same times: a tracking server with a database keeps them once.

    Raises:
        StepsizeError: mlflow is not installed, or the server at `uri` refused.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that it imports
            from mlflow import MlflowClient  # noqa: PLC0415 - an extra, and heavy
            from mlflow.exceptions import MlflowException  # noqa: PLC0415 - same
    except ImportError as error:
        raise StepsizeError("export to mlflow needs it: pip install 'stepsize[mlflow]'") from error
    try:
        mlflow = MlflowClient(tracking_uri=uri)
        run = _run(mlflow, job, experiment)
        _log(client, job, mlflow, run)
    except MlflowException as error:
        raise StepsizeError(f"MLflow at {uri} refused: {error.message}") from error
    run_id: str = run.info.run_id
    return run_id


def _run(mlflow: Any, job: Job, experiment: str) -> Any:
    """The run of the job, with its settings."""
    from mlflow.entities import Param, RunTag  # noqa: PLC0415 - an extra

    found = mlflow.get_experiment_by_name(experiment)
    where = found.experiment_id if found else mlflow.create_experiment(experiment)
    runs = mlflow.search_runs([where], f"tags.`{JOB}` = '{job.id}'", max_results=1)
    if runs:
        return runs[0]
    began, _ = instants(job)
    run = mlflow.create_run(
        where, start_time=round(began * 1000), tags={JOB: job.id}, run_name=job.name or job.id
    )
    params = [Param(name, str(value)[:LONGEST]) for name, value in hyperparameters(job).items()]
    labels = [RunTag(name, value) for name, value in tags(job).items()]
    for start in range(0, max(len(params), 1), PARAMS):
        mlflow.log_batch(
            run.info.run_id, params=params[start : start + PARAMS], tags=labels[:PARAMS]
        )
    return run


def _log(client: Client, job: Job, mlflow: Any, run: Any) -> None:
    from mlflow.entities import Metric, RunTag  # noqa: PLC0415 - an extra

    began, each = instants(job)
    known = run.data.tags
    found = groups(client, job)
    for group in found:
        prefix = _prefix(group, found)
        start = int(known.get(NEXT + group.key, 0))
        for rows in blocks(client, job, group, start=start):
            for part, following in _parts(rows, METRICS // len(group.names)):
                metrics = [
                    Metric(prefix + name, value, round(1000 * (began + each * step)), int(step))
                    for name in group.names
                    for step, value in zip(part["iteration"], part[name], strict=True)
                ]
                done = RunTag(NEXT + group.key, str(following))
                mlflow.log_batch(run.info.run_id, metrics=metrics, tags=[done])
    if job.finished and known.get(ENDED) != job.state:
        last = round(1000 * (began + each * job.progress.iteration))
        ended = [
            Metric(f"result/{name}", value, last, job.progress.iteration)
            for name, value in results(job).items()
        ]
        mlflow.log_batch(run.info.run_id, metrics=ended, tags=[RunTag(ENDED, job.state)])
        mlflow.set_terminated(run.info.run_id, STATUS[job.state], end_time=last)


def _prefix(group: Group, found: list[Group]) -> str:
    """Of several repeats each has its own metrics."""
    return f"repeat {group.repeat + 1}/" if any(each.repeat for each in found) else ""


def _parts(rows: Series, size: int) -> Iterator[tuple[dict[str, list[float]], int]]:
    """Rows in requests, each with the iteration that comes after it."""
    for start in range(0, len(rows), size):
        part = {
            name: values[start : start + size].tolist() for name, values in rows.columns.items()
        }
        yield part, int(part["iteration"][-1]) + 1
