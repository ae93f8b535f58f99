"""Who can get messages in a run."""

from collections.abc import Iterable

from shared.capability import Descriptor


def service_roles(services: Iterable[Descriptor]) -> set[str]:
    """The roles that these services can act in; each can act under its own name."""
    return {role for service in services for role in (service.name, *service.roles)}
