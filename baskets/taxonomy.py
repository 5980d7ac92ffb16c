"""Our own sectors and groups, and how a source's label maps to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from baskets.data_files import read_toml
from baskets.errors import DataFileError

EMISSION_CLASSES = range(1, 6)


@dataclass(frozen=True, slots=True)
class Group:
    """A kind of business, finer than a sector."""

    key: str
    name: str
    sector: str
    emission_class: int
    """1 (least) to 5 (most) greenhouse gas per dollar of sales, typical for the group."""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Sectors, groups, and the source labels that lead to groups."""

    sectors: Mapping[str, str]
    """Sector key -> its name."""
    groups: Mapping[str, Group]
    labels: Mapping[str, str]
    """Source label -> group key."""

    def group_of(self, label: str) -> Group | None:
        """Return the group a source label belongs to, or None where we do not know the label."""
        key = self.labels.get(label)
        return None if key is None else self.groups[key]


def taxonomy_from(document: Mapping[str, Any]) -> Taxonomy:
    """Return the taxonomy that a parsed `taxonomy.toml` describes.

    Raises:
        DataFileError: If a group names no sector, a label no group, or a class is not 1 to 5.
    """
    sectors = {str(key): str(row["name"]) for key, row in document["sectors"].items()}
    groups: dict[str, Group] = {}
    for key, row in document["groups"].items():
        group = Group(str(key), str(row["name"]), str(row["sector"]), int(row["emission_class"]))
        if group.sector not in sectors:
            message = f"group {key} names the unknown sector {group.sector}"
            raise DataFileError(message)
        if group.emission_class not in EMISSION_CLASSES:
            message = f"group {key} has emission class {group.emission_class}"
            raise DataFileError(message)
        groups[group.key] = group
    labels = {str(label): str(group) for label, group in document["labels"].items()}
    for label, key in labels.items():
        if key not in groups:
            message = f"label {label!r} names the unknown group {key}"
            raise DataFileError(message)
    return Taxonomy(sectors, groups, labels)


@cache
def load_taxonomy() -> Taxonomy:
    """Return the taxonomy that ships with us, read once."""
    return taxonomy_from(read_toml("taxonomy.toml"))
