"""Implementations of the Store port, one module each; open them by `open_store`."""
