"""Plain values written as YAML that a person reads: blocks, short lists on one line."""

from __future__ import annotations

from typing import Any

import yaml

from dtc.recipe import scalars

_SHORT = 80


class _Dumper(yaml.SafeDumper):
    """Quotes every word that is something else in YAML 1.1 or 1.2, and never writes an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002
        super().increase_indent(flow, indentless=False)


def _list(dumper: _Dumper, items: list[Any]) -> yaml.Node:
    short = not any(isinstance(item, list | dict) for item in items) and len(str(items)) <= _SHORT
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)


def _word(dumper: _Dumper, text: str) -> yaml.Node:
    # Unquoted or in single quotes, PyYAML writes line breaks of Unicode such as U+0085 as they are.
    return dumper.represent_scalar(scalars.STR, text, style=None if text.isprintable() else '"')


_Dumper.yaml_implicit_resolvers = {
    start: [*yaml.SafeDumper.yaml_implicit_resolvers.get(start, []), *scalars.resolvers().get(start, [])]
    for start in {*yaml.SafeDumper.yaml_implicit_resolvers, *scalars.resolvers()}
}
_Dumper.add_representer(str, _word)
_Dumper.add_representer(list, _list)


def write(value: dict[str, Any]) -> str:
    """Return a value as YAML; the same value gives the same text."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True, default_flow_style=False
    )
    return text
