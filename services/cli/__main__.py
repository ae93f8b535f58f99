"""The `waystation` command: a table of nouns, each in a module that is imported only when it is used."""

import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS = {
    "up": ("services.cli.up", "Start the mesh and keep it running."),
    "down": ("services.cli.down", "Stop the mesh that `up` started."),
    "demo": ("services.cli.demo", "A tour: a question, a crash, a review, a pause."),
    "ask": ("services.cli.ask", "Ask a question and watch its answer come."),
    "route": ("services.cli.route", "Say which service the router recommends for a question."),
    "ingest": ("services.cli.ingest", "Take files and folders into the retrieval index."),
    "search": ("services.cli.search", "Find passages in the index."),
    "services": ("services.cli.services", "List the services that are registered."),
    "workflows": ("services.cli.workflows", "List, show and check workflows."),
    "runs": ("services.cli.runs", "List, watch and steer runs."),
    "threads": ("services.cli.threads", "Show a conversation, and what of it the next run is told."),
    "guardian": ("services.cli.guardian", "Pause, resume, cancel and override runs, with a reason on record."),
    "audit": ("services.cli.audit", "Check the guardian's log."),
    "trace": ("services.cli.trace", "Draw what happened in a run on a time axis."),
    "obs": ("services.cli.obs", "Show and switch how much the mesh says of itself."),
    "backup": ("services.cli.backup", "Back up the agent's store, and restore it."),
    "models": ("services.cli.models", "Pull, list and verify model files."),
    "doctor": ("services.cli.doctor", "Check this machine, and say how to mend what is wrong."),
    "bench": ("services.cli.bench", "Measure, and print one table."),
}
"""Module and summary by command name. Each module has a Typer application called `app`."""


class LazyGroup(TyperGroup):
    """Lists its commands from the table, imports one when it is called, and reports foreseen errors in one line."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, summary) in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace the listed entry by the real command."""
        name, _, rest = super().resolve_command(ctx, args)
        if name is None:
            return None, None, rest
        module, summary = COMMANDS[name]
        command = typer.main.get_command(importlib.import_module(module).app)
        command.name, command.help = name, command.help or summary
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a foreseen error becomes a line (or a JSON document) and exit code 1."""
        words = [*ctx._protected_args, *ctx.args]
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not _report_foreseen(error, words):
                raise
            raise typer.Exit(1) from None


def _report_foreseen(error: Exception, words: list[str]) -> bool:
    from shared.errors import WaystationError

    if not isinstance(error, WaystationError):
        return False
    from services.cli.output import report

    options = words[: words.index("--")] if "--" in words else words
    report(error, is_json="--json" in options or "--events" in options)
    return True


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(f"waystation {version('waystation')}")
        raise typer.Exit


@app.callback()
def waystation(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Waystation, an agent mesh that never loses its place."""


def main() -> None:
    """Run the command of `sys.argv`."""
    app(prog_name="waystation")


if __name__ == "__main__":
    main()
