"""Bytes to Arrow and back: stores of objects, and the formats that are kept in them."""

from connectors.errors import ConnectorError
from connectors.store import ObjectInfo, OutputStream, Promises, Store, open_store

__all__ = ["ConnectorError", "ObjectInfo", "OutputStream", "Promises", "Store", "open_store"]
