"""Bytes to Arrow and back: stores, formats, sources and sinks. No Ray, no orchestrator."""
