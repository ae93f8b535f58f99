"""What a thread remembers: the newest turns whole, older ones as a line each, the oldest not at all.

It is decided when a run has answered, stored with its last checkpoint, and never taken back: a turn that became a line
stays one, and one that was dropped is in the list of runs only.
"""

from collections.abc import Sequence

from services.agent.state import Turn

BYTES_PER_TOKEN = 4
"""An estimate: what a tokenizer makes of English prose. Code and other scripts take more tokens."""
KEPT_SHARE = 0.75
"""Of the budget, what turns that are kept whole may fill; the rest is for lines."""
MAX_LINE_CHARS = 100
"""Of each side of a turn that became a line."""


def remember(conversation: Sequence[Turn], run_id: str, query: str, answer: str, budget_tokens: int) -> list[Turn]:
    """The conversation with one more turn, oldest first, within `budget_tokens`.

    The newest turn is always kept; of its own words and the answer's at most a quarter of the budget each.
    """
    share = budget_tokens * BYTES_PER_TOKEN // 4
    new = Turn(run_id=run_id, query=cut(query, share), answer=cut(answer, share), treatment="kept", summary="")
    remembered, used = [new], _size(new)
    may_keep = True
    for turn in reversed(conversation):
        may_keep = may_keep and is_kept(turn) and used + _size(turn) <= KEPT_SHARE * budget_tokens
        treated = turn if may_keep else _summarized(turn)
        used += _size(treated)
        if used > budget_tokens:
            break
        remembered.append(treated)
    return remembered[::-1]


def is_kept(turn: Turn) -> bool:
    """Whether the turn is remembered in its own words."""
    return turn.get("treatment", "kept") == "kept"


def told(turn: Turn, max_chars: int) -> str:
    """The turn in one piece; of each side at most `max_chars` when it is kept."""
    return f"{turn['query'][:max_chars]} -> {turn['answer'][:max_chars]}" if is_kept(turn) else turn["summary"]


def tokens(text: str) -> int:
    """About how many tokens a model makes of the text."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def cut(text: str, max_bytes: int) -> str:
    """The beginning of the text, marked when something is missing."""
    if len(text.encode()) <= max_bytes:
        return text
    return text.encode()[: max(0, max_bytes - 3)].decode(errors="ignore") + "…"


def _summarized(turn: Turn) -> Turn:
    if not is_kept(turn):
        return turn
    summary = f"{_line(turn['query'])} -> {_line(turn['answer'])}"
    return Turn(run_id=turn.get("run_id", ""), query="", answer="", treatment="summarized", summary=summary)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_LINE_CHARS else line[: MAX_LINE_CHARS - 1].rstrip() + "…"


def _size(turn: Turn) -> int:
    return sum(map(tokens, (turn["query"], turn["answer"], turn.get("summary", ""))))
