"""LangGraph's control of one run, with a request to stop that can be taken back until it takes effect."""

from langgraph.runtime import RunControl


class Brake(RunControl):
    """Stops a run at its next step boundary, for a reason."""

    def __init__(self) -> None:
        super().__init__()
        self._reason: str | None = None
        self._is_taken = False

    def request_drain(self, reason: str = "shutdown") -> None:
        """Stop at the next boundary."""
        self._reason = reason

    def withdraw(self, reason: str) -> bool:
        """Go on after all; False when this is not the reason to stop, or the run stops already."""
        is_mine = self._reason == reason and not self._is_taken
        if is_mine:
            self._reason = None
        return is_mine

    @property
    def drain_requested(self) -> bool:
        """Whether to stop; the graph that asks does so then, although it takes a moment."""
        self._is_taken = self._reason is not None
        return self._is_taken

    @property
    def drain_reason(self) -> str | None:
        """Why to stop."""
        return self._reason
