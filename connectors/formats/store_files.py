"""A store, as the file system that pyarrow's datasets ask for. For reading only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow.fs as pafs

from connectors.errors import ObjectMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from connectors.store import Store


class StoreFiles(pafs.FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types
    """Files of several stores: a path is the number of the store, a slash, and the key."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = tuple(stores)

    def get_type_name(self) -> str:
        """Return the kind of file system."""
        return "rayorch-store"

    def normalize_path(self, path: str) -> str:
        """Return the path: keys have one spelling."""
        return path

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Open a file for random access. Raises: FileNotFoundError."""
        root, _, key = path.partition("/")
        try:
            return self._stores[int(root)].open_input(key)
        except ObjectMissingError as error:
            raise FileNotFoundError(path) from error

    open_input_stream = open_input_file

    def get_file_info(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        """Say what each path is."""
        found = []
        for path in paths:
            root, _, key = path.partition("/")
            info = self._stores[int(root)].head(key)
            if info is None:
                found.append(pafs.FileInfo(path, pafs.FileType.NotFound))
            else:
                found.append(pafs.FileInfo(path, pafs.FileType.File, size=info.size_bytes))
        return found

    def get_file_info_selector(self, selector: Any) -> NoReturn:  # noqa: ANN401 - pyarrow's port
        """Refuse: files are named by a listing, never searched for."""
        raise _refusal()

    def create_dir(self, path: str, recursive: bool) -> NoReturn:
        """Refuse: a dataset is written by a sink."""
        raise _refusal()

    def delete_dir(self, path: str) -> NoReturn:
        """Refuse, as create_dir."""
        raise _refusal()

    def delete_dir_contents(self, path: str, missing_dir_ok: bool) -> NoReturn:
        """Refuse, as create_dir."""
        raise _refusal()

    def delete_root_dir_contents(self) -> NoReturn:
        """Refuse, as create_dir."""
        raise _refusal()

    def delete_file(self, path: str) -> NoReturn:
        """Refuse, as create_dir."""
        raise _refusal()

    def move(self, src: str, dest: str) -> NoReturn:
        """Refuse, as create_dir."""
        raise _refusal()

    def copy_file(self, src: str, dest: str) -> NoReturn:
        """Refuse, as create_dir."""
        raise _refusal()

    def open_output_stream(self, path: str, metadata: Any) -> NoReturn:  # noqa: ANN401
        """Refuse, as create_dir."""
        raise _refusal()

    def open_append_stream(self, path: str, metadata: Any) -> NoReturn:  # noqa: ANN401
        """Refuse, as create_dir."""
        raise _refusal()


def _refusal() -> PermissionError:
    return PermissionError("these files are for reading")
