"""What it takes to do a run again, next to its spec, its program and its plan under the home.

But for the URLs of sources and sinks, the record names no path and no machine. The input files
with their sizes and versions are part of the plan; `input_files` lists them.
"""

import platform
from typing import Any, Final

from connectors.url import redact_url
from rayorch.code_hash import code_hash
from rayorch.home import RunPlan
from rayorch.program import Program, codes_of
from rayorch.spec import PipelineSpec
from rayorch.version import our_version, versions

LIBRARIES: Final = (
    "ray",
    "pyarrow",
    "deltalake",
    "duckdb",
    "pandas",
    "polars",
    "numpy",
    "fsspec",
    "obstore",
    "cloudpickle",
    "msgspec",
)
"""What a result may depend on, of what is ours or that a function is handed its rows by."""


def reproduce_record(spec: PipelineSpec, program: Program, pipeline_version: str) -> dict[str, Any]:
    """Return what a stranger needs to know to do the run again, as JSON values."""
    return {
        "pipeline": spec.name,
        "version": pipeline_version,
        "params": dict(spec.params),
        "code": {name: code_hash(code) for name, code in codes_of(program).items()},
        "sources": {
            stage.name: [redact_url(url) for url in stage.files.urls]
            for stage in program.stages
            if stage.exchange is None
        },
        "sinks": [redact_url(sink.url) for sink in program.sinks],
        "rayorch": our_version(),
        "python": {
            "implementation": platform.python_implementation(),
            "version": platform.python_version(),
        },
        "platform": {"system": platform.system(), "machine": platform.machine()},
        "libraries": versions(LIBRARIES),
    }


def input_files(plan: RunPlan) -> list[dict[str, Any]]:
    """Return every input file as the planner found it: url, size and version."""
    return [
        {"source": index, "url": url, "size_bytes": size_bytes, "version": number}
        for index, stage in enumerate(plan.stages)
        for url, size_bytes, number in stage.discovery.files
    ]
