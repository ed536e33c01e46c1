"""Runs tap-salesforce as a program, configured by files, with its messages on stdout."""

import json
import os
import subprocess
from pathlib import Path

import org

#: The console script that the package installs.
PROGRAM = Path(os.environ["CLIENT_FOLDER"]) / "tap-salesforce"

#: Maximum duration of a run in seconds, which ends a tap that waits for a job for ever.
TIME_MAX = 120


def run(api, *arguments):
    """Runs the tap to its end and returns what it wrote to stdout."""
    config = Path("config.json")
    config.write_text(
        json.dumps(
            {
                "client_id": org.CLIENT_ID,
                "client_secret": org.CLIENT_SECRET,
                "refresh_token": os.environ["ORG_REFRESH_TOKEN"],
                "start_date": "2020-01-01T00:00:00Z",
                "api_type": api,
                "select_fields_by_default": True,
            }
        )
    )
    command = [PROGRAM, "--config", config, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIME_MAX, check=False)
    org.equal(ended.returncode, 0, f"tap {' '.join(map(str, arguments))}: {ended.stderr}")
    return ended.stdout


def discover(api):
    """Returns the catalog, by stream."""
    catalog = json.loads(run(api, "--discover"))
    return {stream["tap_stream_id"]: stream for stream in catalog["streams"]}


def select(stream):
    """Selects a stream for a sync that continues where the last one ended."""
    for one in stream["metadata"]:
        if one["breadcrumb"] == []:
            one["metadata"] |= {
                "selected": True,
                "replication-method": "INCREMENTAL",
                "replication-key": "SystemModstamp",
            }
    return stream


class Synced:
    """The messages of a sync."""

    def __init__(self, text):
        self.messages = [json.loads(line) for line in text.splitlines()]

    def of(self, kind, stream=None):
        """Returns the messages of a kind, all or those of one stream."""
        return [
            one
            for one in self.messages
            if one["type"] == kind and (not stream or one["stream"] == stream)
        ]

    def records(self, stream):
        """Returns the records of a stream, by id."""
        return {one["record"]["Id"]: one["record"] for one in self.of("RECORD", stream)}

    @property
    def state(self):
        """Returns the position at which the next sync continues."""
        return self.of("STATE")[-1]["value"]


def sync(api, streams, state=None):
    """Syncs these streams."""
    Path("catalog.json").write_text(json.dumps({"streams": streams}))
    arguments = ["--properties", "catalog.json"]
    if state is not None:
        Path("state.json").write_text(json.dumps(state))
        arguments += ["--state", "state.json"]
    return Synced(run(api, *arguments))
