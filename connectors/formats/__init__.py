"""The file formats that sources read and sinks write, found by scheme and format."""
