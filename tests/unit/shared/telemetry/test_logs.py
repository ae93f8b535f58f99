"""Logs: one JSON object a line, whatever the message holds."""

import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider

from shared.call_context import CallContext, serving
from shared.telemetry.logs import JsonFormatter, set_up_logging


@pytest.fixture
def restored() -> Iterator[None]:
    """Put the process's loggers back as they were."""
    names = ("services", "shared", "opentelemetry.exporter")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in names}
    root.handlers[:] = []  # or `force` would close what pytest listens with
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def entry(message: str, *args: object, exc_info: object = None) -> dict[str, object]:
    record = logging.LogRecord("services.rag", logging.INFO, "x.py", 1, message, args, exc_info)  # type: ignore[arg-type]
    record.created, record.msecs = 1_700_000_000.25, 250.0
    line = JsonFormatter("rag").format(record)
    assert "\n" not in line
    return json.loads(line)  # type: ignore[no-any-return]


def test_a_line_says_when_who_and_what() -> None:
    assert entry("took %d ms", 5) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "INFO",
        "service": "rag",
        "logger": "services.rag",
        "message": "took 5 ms",
    }


def test_ids_of_the_call_and_of_the_trace_are_on_it() -> None:
    call = CallContext()
    with serving(call), TracerProvider().get_tracer("test").start_as_current_span("hop") as span:
        logged = entry("hello")
    context = span.get_span_context()
    assert logged["correlation_id"] == call.correlation_id
    assert (logged["trace_id"], logged["span_id"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")


@pytest.mark.parametrize("message", ['{"a": 1}\nfake line', "nul \x00 and \x1b[31m", "grüße 你好", "half \ud800"])
def test_any_text_stays_on_one_line_and_comes_back(message: str) -> None:
    assert entry(message)["message"] == message


def test_an_exception_is_told_with_its_stack() -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        logged = entry("failed", exc_info=sys.exc_info())
    assert "KeyError: 'lost'" in str(logged["exception"])


@pytest.mark.usefixtures("restored")
def test_ours_are_heard_from_the_level_and_libraries_from_warning(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("rag", "INFO")
    logging.getLogger("services.rag").info("ours")
    logging.getLogger("services.rag").debug("too quiet")
    logging.getLogger("library").info("not heard")
    logging.getLogger("library").warning("theirs")
    logging.getLogger("opentelemetry.exporter.otlp").error("the collector is away")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["ours", "theirs"]


def test_what_ends_the_process_or_a_thread_is_a_line_without_secrets(
    restored: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    set_up_logging("rag", "INFO")

    def fail() -> None:
        raise RuntimeError("password=hunter2")

    try:
        fail()
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["level"] for line in lines] == ["CRITICAL", "ERROR"]
    assert all("password=[redacted]" in line["exception"] and "hunter2" not in str(line) for line in lines)


def test_a_line_names_the_run() -> None:
    with serving(CallContext(run_id="run-1")):
        assert entry("x")["run_id"] == "run-1"
    assert "run_id" not in entry("x")
