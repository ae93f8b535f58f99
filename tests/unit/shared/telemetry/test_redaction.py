"""Redaction: what is a secret, what is none, and where both may hide."""

import json
import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Forbidden, error_from_reason
from shared.telemetry.redaction import REDACTED, RedactingFilter, Redactor, hide, is_secret_name, redacted

SECRET = "canary-9f8e7d6c5b4a"

LEAKS = {
    "bearer": f"sent Bearer {SECRET} to it",
    "header": f"Authorization: Bearer {SECRET}",
    "basic": f"authorization: Basic {SECRET}",
    "python headers": f"{{'Authorization': 'Bearer {SECRET}'}}",
    "vendor key": f"key sk-{SECRET} was refused",
    "aws": "AKIA9F8E7D6C5B4A3210 is mine",
    "github": "ghp_9f8e7d6c5b4a9f8e7d6c5b4a",
    "jwt": "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\n9f8e7d6c5b4a\n-----END RSA PRIVATE KEY-----",
    "private key, cut": "-----BEGIN PRIVATE KEY-----\n9f8e7d6c5b4a",
    "url": f"postgres://bob:{SECRET}@db/x",
    "query": f"GET /x?api_key={SECRET}&page=2",
    "json": json.dumps({"password": SECRET}),
    "json, spaced value": json.dumps({"client_secret": f"two {SECRET}"}),
    "json, escaped quote": json.dumps({"password": f'a"{SECRET}'}),
    "json in json": json.dumps(json.dumps({"x-api-key": f"two {SECRET}"})),
    "json, cut": f'{{"access_token": "{SECRET}',
    "environment": f"AWS_SECRET_ACCESS_KEY={SECRET}",
    "yaml": f"db:\n  passwd: {SECRET}\n",
}
HARMLESS = (
    "max_tokens=512, input_tokens: 5",
    "page_token: String should have at most 500 characters",
    '{"token": null, "password": true}',
    "agent.route_recommendation",
    "0b6a9e16-3c1e-4ed9-9df0-7a1f12a4ab0f",
    "a task-force meets risk-averse people at http://h:80/a@b",
    "basic questions about bearers of secrets and their tokens",
    "",
)


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS)
def test_a_secret_is_taken_out(text: str) -> None:
    clean = Redactor().text(text)
    assert REDACTED in clean
    assert "9f8e7d6c5b4a" not in clean.lower() and "eyJ" not in clean
    assert Redactor().text(clean) == clean


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_json_stays_json() -> None:
    clean = Redactor().text(json.dumps({"n": 1, "api_key": f'a"b {SECRET}', "deep": {"password": SECRET}}))
    assert json.loads(clean) == {"n": 1, "api_key": REDACTED, "deep": {"password": REDACTED}}


@pytest.mark.parametrize("secret", ['with "quotes" and ünïcode', "plain/and?odd", "four"])
def test_the_value_of_a_setting_is_known_in_every_spelling(secret: str) -> None:
    known = Redactor([secret])
    for text in (secret, json.dumps({"x": secret}), f"x={secret} and {secret}"):
        assert json.dumps(secret)[1:-1] not in known.text(text) and secret not in known.text(text)


def test_a_setting_too_short_to_be_secret_takes_no_words_apart() -> None:
    assert Redactor(["a", ""]).text("a banana") == "a banana"


def test_names_decide_however_deep() -> None:
    values = {"api.token": SECRET, "deep": {"Password": [SECRET], "n": 1}, "list": [f"sk-{SECRET}", 2], "tokens": 3}
    clean = Redactor().attributes(values)
    assert clean == {
        "api.token": REDACTED,
        "deep": {"Password": REDACTED, "n": 1},
        "list": [REDACTED, 2],
        "tokens": 3,
    }


def test_counts_of_tokens_are_no_secrets() -> None:
    assert not any(is_secret_name(name) for name in ("gen_ai.usage.input_tokens", "max_tokens", "next_page_token"))
    assert is_secret_name("github_token") and is_secret_name("X-Api-Key") and is_secret_name("SECRET_KEY")


@given(st.text(max_size=200), st.text("abc", min_size=6, max_size=12))
def test_no_text_around_it_hides_a_secret(around: str, secret: str) -> None:
    assert secret not in Redactor([secret]).text(around + secret).replace(around, "")


def test_a_text_made_to_be_slow_is_not() -> None:
    text = 'password="' * 20_000 + "\\" * 200_000 + "token" * 40_000
    started = time.perf_counter()
    assert Redactor().text(text).startswith(f'password="{REDACTED}"')
    assert time.perf_counter() - started < 30  # the time does not explode with the length


def test_a_log_record_is_cleaned_with_its_arguments_exception_and_stack() -> None:
    try:
        raise ValueError(f"password={SECRET}")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "sent %s", (f"Bearer {SECRET}",), info)
    record.stack_info = f"token={SECRET}"
    assert RedactingFilter().filter(record) and RedactingFilter().filter(record)
    line = logging.Formatter().format(record)
    assert SECRET not in line and "ValueError" in line and line.count(REDACTED) == 4  # the traceback shows the line


def test_a_log_call_with_wrong_arguments_is_still_told() -> None:
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "%d of %d", ("one",), None)
    assert RedactingFilter().filter(record)
    assert record.getMessage() == "%d of %d ('one',)"


def test_an_error_tells_no_secret_that_its_cause_brought() -> None:
    hide(["from-settings"])
    try:
        error = Forbidden(f"Refused: Bearer {SECRET}", remedy="Not from-settings.", url=f"https://a:{SECRET}@b/")
        assert str(error) == f"Refused: {REDACTED} Not {REDACTED}."
        assert error.args == (error.message,) and SECRET not in str(error.metadata)
        foreign = error_from_reason("FORBIDDEN", f"password: {SECRET}", {"api_key": SECRET, "remedy": "from-settings"})
        assert SECRET not in f"{foreign} {foreign.metadata}" and "from-settings" not in str(foreign)
    finally:
        hide(())
    assert redacted("from-settings") == "from-settings"
