"""Values with their digest."""

import pytest

from shared.errors import StorageCorrupt
from shared.pb import agent_v1
from shared.storage.sealed import DIGEST_BYTES, seal, unseal


@pytest.mark.parametrize("content", [b"", b"x", bytes(1_000)])
def test_what_was_sealed_opens(content: bytes) -> None:
    assert unseal(seal(content), "It") == content


def test_any_flipped_bit_behind_the_mark_is_noticed() -> None:
    sealed = seal(b"an event")
    for position in range(8, 8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(StorageCorrupt, match="Event 3 is not what was written"):
            unseal(bytes(flipped), "Event 3")


def test_a_value_that_was_cut_is_noticed() -> None:
    for length in range(1, 1 + DIGEST_BYTES + 3):
        with pytest.raises(StorageCorrupt):
            unseal(seal(b"text")[:length], "It")


def test_a_message_stored_before_sealing_opens() -> None:
    message = agent_v1.Run(run_id="r").SerializeToString()
    assert unseal(message, "It") == message
