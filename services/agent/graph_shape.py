"""The shape of a graph, which a run's checkpoints rely on: a changed graph takes up no run that it would lose."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import get_type_hints

from services.agent.graph import Graph
from services.agent.state import STATE_VERSION
from shared.errors import GraphChanged


@dataclass(frozen=True)
class GraphShape:
    """Node names, state keys with their types, the version of the state, and what the nodes are."""

    nodes: tuple[str, ...]
    keys: Mapping[str, str]
    state_version: int = STATE_VERSION
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Of a document's steps; empty for a graph defined in Python, and in shapes that were stored without them."""

    @property
    def digest(self) -> str:
        """SHA-256 of the shape, lower-case hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The shape as it is stored."""
        parts = {"nodes": list(self.nodes), "keys": dict(self.keys), "state_version": self.state_version}
        kinds = {"kinds": dict(self.kinds)} if self.kinds else {}  # without any, the digest is what it always was
        return json.dumps(parts | kinds, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "GraphShape":
        """Read what `to_json` wrote."""
        parts = json.loads(text)
        return cls(tuple(parts["nodes"]), parts["keys"], parts["state_version"], parts.get("kinds", {}))


@dataclass(frozen=True)
class GraphMigration:
    """Lets runs of one shape go on with another: what was renamed, by old name."""

    from_digest: str
    to_digest: str
    nodes: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    def apply(self, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
        """The checkpoint under the new names. Its values and versions stay."""
        channels = {**self.keys, **{_branch(old): _branch(new) for old, new in self.nodes.items()}}

        def renamed(versions: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
            return {names.get(name, name): value for name, value in versions.items()}

        seen = {name: renamed(versions, channels) for name, versions in checkpoint["versions_seen"].items()}
        return {
            **checkpoint,
            "channel_values": renamed(checkpoint["channel_values"], channels),
            "channel_versions": renamed(checkpoint["channel_versions"], channels),
            "versions_seen": renamed(seen, self.nodes),
            "updated_channels": None,
        }


MIGRATIONS: Sequence[GraphMigration] = ()
"""One for each released change of a shipped graph that renames a node or a state key."""


def shape_of(graph: Graph, kinds: Mapping[str, str] | None = None) -> GraphShape:
    """The shape of a compiled graph, of steps of these kinds."""
    nodes = tuple(sorted(name for name in graph.nodes if not name.startswith("__")))
    hints = get_type_hints(graph.builder.state_schema)  # without reducers, whose text is another in each process
    return GraphShape(nodes, {key: str(hint) for key, hint in sorted(hints.items())}, kinds=kinds or {})


def find_migration(
    old: GraphShape, new: GraphShape, migrations: Sequence[GraphMigration] = MIGRATIONS
) -> GraphMigration | None:
    """The migration from `old` to `new`; None when nothing that a run relies on has changed.

    Raises `GraphChanged`, which says what is gone or changed, when there is none. What was added does no harm.
    """
    for migration in migrations:
        if (migration.from_digest, migration.to_digest) == (old.digest, new.digest):
            return migration
    changes = _changes(old, new)
    if changes:
        raise GraphChanged(
            f"The workflow changed under the run: {'; '.join(changes)}.",
            remedy="Start the version that the run began with, or register a migration; nothing of the run is lost.",
            from_digest=old.digest[:12],
            to_digest=new.digest[:12],
            changes="; ".join(changes),
        )
    return None


def _changes(old: GraphShape, new: GraphShape) -> list[str]:
    changes = [f"node {name} is gone" for name in old.nodes if name not in new.nodes]
    changes += [
        f"node {name} was a step of kind {kind} and is one of kind {new.kinds[name]}"
        for name, kind in old.kinds.items()
        if new.kinds.get(name, kind) != kind
    ]
    for key, hint in old.keys.items():
        if key not in new.keys:
            changes.append(f"state key {key} is gone")
        elif new.keys[key] != hint:
            changes.append(f"state key {key} was {hint} and is {new.keys[key]}")
    if old.state_version != new.state_version:
        changes.append(f"the state's version was {old.state_version} and is {new.state_version}")
    return changes


def _branch(node: str) -> str:
    """LangGraph's channel that triggers a node."""
    return f"branch:to:{node}"
