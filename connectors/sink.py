"""Write any dataset: open a sink, write attempts, publish them in one step.

sink = open_sink(spec)
writer = sink.open_writer(token, run=run)
writer.write(table)
output = writer.close()
sink.publish([output], output.schema_ipc, app_id=app, generation=1)
"""

from __future__ import annotations

import importlib
from typing import cast

from connectors.formats.files_sink import FilesSink
from connectors.outputs import OutputFile, Published, Sink, SinkOutput, SinkSpec, SinkWriter
from connectors.schema import merge_output_schemas

__all__ = [
    "OutputFile",
    "Published",
    "Sink",
    "SinkOutput",
    "SinkSpec",
    "SinkWriter",
    "merge_output_schemas",
    "open_sink",
]


def open_sink(spec: SinkSpec) -> Sink:
    """Return the sink of this format. Raises: UnknownFormatError, OptionError, BadUrlError."""
    if spec.format == "delta":
        # By name, as formats are: delta-rs is wanted by those who write Delta only.
        module = importlib.import_module("connectors.formats.delta")
        return cast("Sink", module.DeltaSink(spec))
    return FilesSink(spec)
