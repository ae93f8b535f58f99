"""`waystation audit`: whether the guardian's log is what was written."""

import typer
from rich.text import Text

from services.cli.guardian import call
from services.cli.output import JsonOption, as_dict, out, print_failure, print_json
from shared.pb import agent_v1

VERIFY_TIMEOUT_S = 600.0

app = typer.Typer(no_args_is_help=True)


@app.callback()
def audit() -> None:
    """The guardian's audit log."""


@app.command()
def verify(is_json: JsonOption = False) -> None:
    """Compute the log's hash chain anew; exit code 1 when an entry does not fit."""
    response = call(lambda guardian: guardian.VerifyAudit(agent_v1.VerifyAuditRequest(), timeout=VERIFY_TIMEOUT_S))
    if is_json:
        print_json(as_dict(response))
    elif response.is_intact:
        head = f", head {response.head_sha256[:16]}…" if response.head_sha256 else ""
        out().print(Text(f"{response.entry_count} entries, all as they were written{head}."))
    else:
        print_failure(
            f"Entry {response.first_broken_entry} is not what was written: changed, or gone.",
            "`waystation backup list` has older copies; the entries before it can be relied on.",
        )
    if not response.is_intact:
        raise typer.Exit(1)
