"""Each limit of a registration is refused by name."""

from collections.abc import Callable
from typing import Any

import pytest

from services.control.registry.limits import (
    check_address,
    check_descriptor,
    check_health,
    check_instance_id,
    check_kind,
)
from shared.errors import InvalidInput
from shared.pb import capability_v1, control_v1


@pytest.mark.parametrize(
    "field, value",
    [
        ("name", ""),
        ("name", "Rag"),
        ("name", "r" * 64),
        ("name", "<script>"),
        ("description", "d" * 1_001),
        ("tags", ["t"] * 17),
        ("tags", ["Upper"]),
        ("tags", [" "]),
        ("tags", ["t" * 64]),
        ("examples", ["e"] * 1_001),
        ("examples", ["e" * 501]),
        ("roles", [""]),
        ("version", "v" * 64),
        ("examples", ["e"] * 10_000),
        ("description", "a bell\x07"),
        ("description", "\x1b[31mred"),
        ("description", "abc\u202egnp"),
        ("description", "\x85"),
        ("tags", ["a\x00b"]),
        ("examples", ["fine", "\u2066odd"]),
        ("version", "1\x7f"),
        ("roles", ["a\x1f"]),
    ],
)
def test_a_descriptor_beyond_its_contract_names_the_field(field: str, value: Any) -> None:
    fields = {"name": "rag", field: value}
    with pytest.raises(InvalidInput) as caught:
        check_descriptor(capability_v1.Descriptor(**fields))
    assert caught.value.metadata["field"] == f"descriptor.{field}"


def test_the_largest_descriptor_passes() -> None:
    check_descriptor(
        capability_v1.Descriptor(
            name="r" * 63,
            description="d" * 1_000,
            tags=["t" * 63] * 16,
            examples=["e" * 500] * 1_000,
            version="1.0",
            roles=["coder"],
        )
    )


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "two\nlines\tand a tab", "می\u200cخواهم 👩\u200d🔬 [bold]"]
)
def test_markup_and_every_script_are_text(text: str) -> None:
    check_descriptor(capability_v1.Descriptor(name="rag", description=text, examples=[text]))


@pytest.mark.parametrize("message", ["m" * 1_001, "\x1b[2J"])
def test_a_health_message_is_bounded_text(message: str) -> None:
    with pytest.raises(InvalidInput, match=r"health\.message"):
        check_health(control_v1.Health(message=message))


@pytest.mark.parametrize(
    "check, value",
    [
        (check_address, ""),
        (check_address, "localhost"),
        (check_address, "localhost:0"),
        (check_address, "localhost:65536"),
        (check_address, "http://localhost:1"),
        (check_address, "unix:/tmp/x:1"),
        (check_address, "h" * 255 + ":1"),
        (check_instance_id, ""),
        (check_instance_id, "a\nb"),
        (check_instance_id, "i" * 129),
        (check_kind, "ui"),
    ],
)
def test_bad_addresses_ids_and_kinds_are_refused(check: Callable[[str], None], value: str) -> None:
    with pytest.raises(InvalidInput):
        check(value)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:65535", "rag.example-net:7420"])
def test_good_addresses_pass(address: str) -> None:
    check_address(address)
