"""The command line: one file a command; each parses, calls one function and prints."""

from dtc.cli.app import main

__all__ = ["main"]
