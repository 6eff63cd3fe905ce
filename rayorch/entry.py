"""What a user calls beside a pipeline: to run one, and to read what runs have made visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from rayorch.api import Pipeline
    from rayorch.client import RunReport

    Option = str | int | bool


def run(  # noqa: PLR0913 - each is what a user may say.
    pipeline: Pipeline,
    *,
    home: str | None = None,
    executor: str | None = None,
    pools: str | None = None,
    autoscale: bool = False,
    tenant: str | None = None,
    priority: int | None = None,
    cheap: str | None = None,
    price_max: float | None = None,
) -> RunReport:
    """Run a pipeline to its end, showing progress, and return the report.

    Uses the Ray cluster that RAY_ADDRESS or `rayorch up` names, else starts an embedded Ray. With
    `pools`, a file of machines and their prices, each task goes where it is cheapest for the
    pipeline's objective; with `autoscale`, those that are not there are asked of the autoscaler.
    `tenant`, `priority`, `cheap` and `price_max` take the place of the pipeline's.
    Raises: SpecError, PoolsError, RunFailedError.
    """
    # Ray, the journal and the stores come with it: only a run should pay for their import.
    from rayorch.client import run as run_pipeline  # noqa: PLC0415

    standing = pipeline.spec().changed(tenant, priority, cheap, price_max)
    return run_pipeline(
        pipeline,
        home=home,
        executor=executor,
        pools=pools,
        autoscale=autoscale,
        standing=standing,
    )


def read(url: str, format: str | None = None, **options: Option) -> ds.Dataset:  # noqa: A002
    """Return what is visible at a URL as a pyarrow dataset: a Delta table, Parquet, other files.

    Raises: ConnectorError.
    """
    # pyarrow.dataset takes 0.1 s to import, for readers alone.
    from connectors.dataset import read_dataset  # noqa: PLC0415

    return read_dataset(url, format, **options)
