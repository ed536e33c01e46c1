"""Shared by all scenarios: the addresses of the org, and assertions."""

import os
from pathlib import Path
from urllib.parse import urlsplit

HTTP = os.environ["ORG_HTTP"]
HTTPS = os.environ["ORG_HTTPS"]
GRPCS = os.environ["ORG_GRPCS"]
CLIENT_ID = os.environ["ORG_CLIENT_ID"]
CLIENT_SECRET = os.environ["ORG_CLIENT_SECRET"]
USERNAME = os.environ["ORG_USERNAME"]
PASSWORD = os.environ["ORG_PASSWORD"]
SECURITY_TOKEN = os.environ["ORG_SECURITY_TOKEN"]
REFRESH_TOKEN = os.environ["ORG_REFRESH_TOKEN"]
KEY = Path(os.environ["ORG_KEY_FILE"])


def equal(actual, expected, what):
    """Asserts that two values are equal."""
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {actual!r}")


def holds(condition, what):
    """Asserts a condition."""
    if not condition:
        raise AssertionError(what)


def refused(kind, call, what):
    """Asserts that a call fails with this kind of exception, and returns the exception."""
    try:
        answer = call()
    except kind as error:
        return error
    raise AssertionError(f"{what}: expected {kind.__name__}, got {answer!r}")


def code(error):
    """Returns the errorCode of a simple-salesforce exception."""
    return error.content[0]["errorCode"]


def without_scheme(url):
    """Returns host and port of an address."""
    return urlsplit(url).netloc
