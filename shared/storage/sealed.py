"""A value with its digest in front, so that a bit that flips on the disk is noticed when the value is read.

SQLite's own check does not look into values. The first byte, 0, is one that no protobuf message begins with (there is
no field 0), so messages that were stored before they were sealed still open.
"""

import hashlib

from shared.errors import StorageCorrupt

MARK = b"\0"
DIGEST_BYTES = 8


def seal(content: bytes) -> bytes:
    """The content as it is to be stored: mark, BLAKE2b digest, content."""
    return MARK + _digest(content) + content


def unseal(sealed: bytes, what: str) -> bytes:
    """The content again. Raises `StorageCorrupt`, which says that `what` is damaged."""
    if not sealed.startswith(MARK):
        return sealed
    digest, content = sealed[1 : 1 + DIGEST_BYTES], sealed[1 + DIGEST_BYTES :]
    if _digest(content) != digest:
        raise StorageCorrupt(
            f"{what} is not what was written.",
            remedy="`waystation backup restore` puts the newest backup back.",
            what=what,
        )
    return content


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
