"""Reads a model's reply as it streams: keeps the refusal from the user, and markers that point to no passage."""

import re

NO_ANSWER = "NO ANSWER"
_UNDECIDED = 12
"""So many characters are held back until it is decided whether the reply is a refusal."""
_MARKER = re.compile(r" ?\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_OPEN_MARKER = re.compile(r" ?(?:\[[\d\s,]{0,16})?$")
_REFUSAL = re.compile(r"[\W_]*no[ _-]answer\b", re.IGNORECASE)


class Reply:
    """A reply to a prompt with passages numbered from 1 to `passages`."""

    def __init__(self, passages: int) -> None:
        self.text = ""
        """What may be shown so far."""
        self.cited: list[int] = []
        """The passages cited so far, in the order of their first mention."""
        self.is_refusal = False
        self._passages = passages
        self._held = ""
        self._is_decided = False

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what may be shown of it now."""
        self._held += piece
        if not self._is_decided:
            if len(self._held.lstrip()) < _UNDECIDED:
                return ""
            self._decide()
        if self.is_refusal:
            return ""
        split = _OPEN_MARKER.search(self._held)
        end = split.start() if split else len(self._held)
        ready, self._held = self._held[:end], self._held[end:]
        return self._show(ready)

    def finish(self) -> str:
        """The reply has ended; returns what was still held back."""
        if not self._is_decided:
            self._decide()
        ready, self._held = ("" if self.is_refusal else self._held), ""
        return self._show(ready.rstrip())

    def append(self, text: str) -> str:
        """Add words of our own to what is shown."""
        self.text += text
        return text

    def _decide(self) -> None:
        self._held = self._held.lstrip()
        self._is_decided = True
        self.is_refusal = bool(_REFUSAL.match(self._held)) or not self._held

    def _show(self, ready: str) -> str:
        shown = _MARKER.sub(self._marker, ready)
        self.text += shown
        return shown

    def _marker(self, match: re.Match[str]) -> str:
        numbers = [int(number) for number in re.findall(r"\d+", match[1])]
        known = [number for number in dict.fromkeys(numbers) if 1 <= number <= self._passages]
        self.cited += [number for number in known if number not in self.cited]
        space = " " if match[0].startswith(" ") and known else ""
        return space + "".join(f"[{number}]" for number in known)
