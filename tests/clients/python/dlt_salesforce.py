"""dlt's Salesforce source, as the package ingestr ships it: a first load, and one that continues.

The destination is a folder of JSON lines.
"""

import gzip
import json
import os
from pathlib import Path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt  # noqa: E402
from ingestr.src.salesforce import salesforce_source  # noqa: E402
from simple_salesforce import Salesforce  # noqa: E402

import org  # noqa: E402
from org import equal, holds  # noqa: E402

LOADED = Path("loaded").absolute()

# The harness has created an account in the org, and deleted another one an hour before.
NAME = 'Acme, "first"'


def source():
    """Logs in by SOAP at login.salesforce.com, which the harness routes to the org."""
    given = {"username": org.USERNAME, "password": org.PASSWORD, "token": org.SECURITY_TOKEN}
    everything = salesforce_source(**given, domain="login", custom_object="RecordType")
    # The source names this key `id`, which no record has.
    everything.account.apply_hints(primary_key="Id")
    return everything


def rows(table):
    """Returns what was loaded into a table."""
    found = []
    for file in sorted((LOADED / "acme" / table).glob("*.jsonl*")):
        data = file.read_bytes()
        text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        found += [json.loads(line) for line in text.decode().splitlines()]
    return found


def load(*resources):
    """Loads these resources."""
    pipeline = dlt.pipeline(
        "acme",
        destination=dlt.destinations.filesystem(bucket_url=LOADED.as_uri()),
        dataset_name="acme",
        pipelines_dir=str(Path("pipelines").absolute()),
    )
    info = pipeline.run(source().with_resources(*resources), loader_file_format="jsonl")
    info.raise_on_failed_jobs()


load("account", "contact", "user", "custom")
accounts = {one["name"]: one for one in rows("account")}
equal(set(accounts), {NAME, "Gone"}, "what lives and what is in the recycle bin")
equal(accounts["Gone"]["is_deleted"], True, "a deleted record")
acme = accounts[NAME]
equal((acme["name"], acme["description"]), (NAME, "Two lines\nof text; ünit"), "texts")
equal((acme["annual_revenue"], acme["number_of_employees"]), (1234.5, 7), "numbers")
equal((acme["active__c"], acme["is_deleted"]), (True, False), "booleans")
equal(acme["opened__c"][:10], "2026-05-01", "a date")
equal(rows("contact"), [], "no contacts")
holds(org.USERNAME in [user["username"] for user in rows("user")], "the user who logged in")

session = Salesforce(org.USERNAME, org.PASSWORD, org.SECURITY_TOKEN, version="62.0")
session.Account.create({"Name": "Second"})
load("account")
names = [one["name"] for one in rows("account")]
equal(names.count("Second"), 1, "a new account is loaded")
equal(names.count(NAME), 1, "what is known is not loaded again")
