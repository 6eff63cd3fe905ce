"""The stores behind the port of `connectors.store`, found by URL scheme."""
