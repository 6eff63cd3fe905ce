"""The sink of every format that is plain files: published by a manifest."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from connectors.formats.files import store_options
from connectors.formats.outputs import FilesWriter, manifest_name
from connectors.formats.registry import file_format_of
from connectors.manifest import Manifest, publish_manifest
from connectors.outputs import Published
from connectors.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from connectors.outputs import OutputFile, SinkOutput, SinkSpec

DATA = "_data/"


class FilesSink:
    """Files under `_data/<run>/`, made visible by a manifest."""

    def __init__(self, spec: SinkSpec) -> None:
        self._spec = spec
        self._format = file_format_of(spec.url, spec.format)
        self._store = open_store(spec.url, store_options(spec.options))

    def open_writer(self, token: str, *, run: str) -> FilesWriter:
        """Start an attempt's output."""
        return FilesWriter(
            self._store,
            self._format,
            sink=self._spec.index,
            name_of=manifest_name(f"{DATA}{run}/", token, self._format.suffixes[0]),
            partition_by=self._spec.partition_by,
            options=self._spec.options,
            owner=self._spec.name,
        )

    def publish(
        self,
        outputs: Iterable[SinkOutput],
        schema_ipc: bytes,
        *,
        app_id: str,
        generation: int,
        run: str = "",
    ) -> Published:
        """Create the manifest that names the outputs, unless it is there."""
        spec = self._spec
        files = tuple(chain.from_iterable(output.files for output in outputs))
        manifest = publish_manifest(
            self._store,
            Manifest(
                number=0,
                format=spec.format,
                mode=spec.mode,
                run=run,
                app_id=app_id,
                generation=generation,
                schema_ipc=schema_ipc,
                partition_by=spec.partition_by,
                files=files,
            ),
        )
        how_to_read = f"rayorch.read({quoted(spec.url)}).to_table()"
        return published(files, str(manifest.number), how_to_read)

    def sweep(self, run: str, keep: set[str], *, unfinished_before_s: float = 0.0) -> int:
        """Delete the run's files that `keep` does not name, and what dead writers left."""
        return sweep(self._store, f"{DATA}{run}/", keep, unfinished_before_s)

    def sweep_unfinished(self, run: str, before_s: float) -> int:
        """Remove what the run's dead writers left half-written."""
        return self._store.sweep_unfinished(f"{DATA}{run}/", before_s)


def quoted(text: str) -> str:
    """Return a Python literal, in double quotes where that needs no escapes."""
    return repr(text) if '"' in text or "\\" in text else f'"{text}"'


def published(files: Sequence[OutputFile], version: str, how_to_read: str) -> Published:
    """Say what these files have become part of."""
    return Published(
        version=version,
        files=len(files),
        rows=sum(file.rows for file in files),
        size_bytes=sum(file.size_bytes for file in files),
        how_to_read=how_to_read,
    )


def sweep(store: Store, prefix: str, keep: set[str], unfinished_before_s: float) -> int:
    """Delete what is under the prefix and not in `keep`; say how many objects that was."""
    orphans = [info.key for info in store.list(prefix) if info.key not in keep]
    store.delete(orphans)
    return len(orphans) + store.sweep_unfinished(prefix, unfinished_before_s)
