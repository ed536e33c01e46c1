"""CumulusCI: loads, upserts, extracts and deletes a data set, as its command line does.

The first run renews its session by a refresh token, the others log in by a signed assertion.
"""

import json
import os
import sqlite3
import subprocess
from pathlib import Path

import requests

import org
from org import equal, holds

#: The console script that the package installs.
PROGRAM = Path(os.environ["CLIENT_FOLDER"]) / "cci"

#: Maximum duration of a task in seconds.
TIME_MAX = 120

PROJECT = """\
minimum_cumulusci_version: "4.0.0"
project:
  name: acme
  package:
    name: acme
    api_version: "62.0"
  source_format: sfdx
"""

MAPPING = """\
Accounts:
  sf_object: Account
  table: accounts
  api: rest
  action: upsert
  update_key: External_Id__c
  fields:
    Name: name
    External_Id__c: key
    Industry: industry
Contacts:
  sf_object: Contact
  table: contacts
  api: bulk
  fields:
    LastName: last_name
    Email: email
  lookups:
    AccountId:
      table: accounts
      key_field: account_id
"""

ACCOUNTS = "CREATE TABLE accounts (id INTEGER PRIMARY KEY, name TEXT, key TEXT, industry TEXT);"
CONTACTS = "CREATE TABLE contacts (id INTEGER PRIMARY KEY, last_name TEXT, email TEXT, account_id INTEGER);"

FIRST = f"""\
BEGIN TRANSACTION;
{ACCOUNTS}
INSERT INTO accounts VALUES (1, 'First', 'cci-1', 'Media');
INSERT INTO accounts VALUES (2, 'Second, "quoted"', 'cci-2', NULL);
{CONTACTS}
INSERT INTO contacts VALUES (1, 'Ito', 'ito@acme.example', 1);
INSERT INTO contacts VALUES (2, 'Kim', 'kim@acme.example', 2);
COMMIT;
"""

SECOND = f"""\
BEGIN TRANSACTION;
{ACCOUNTS}
INSERT INTO accounts VALUES (1, 'First again', 'cci-1', 'Energy');
INSERT INTO accounts VALUES (2, 'Third', 'cci-3', NULL);
{CONTACTS}
COMMIT;
"""


def make_project():
    """Creates what CumulusCI looks for: a repository with its configuration."""
    Path("cumulusci.yml").write_text(PROJECT)
    Path("sfdx-project.json").write_text('{"packageDirectories": [{"path": "force-app", "default": true}]}')
    Path("mapping.yml").write_text(MAPPING)
    as_someone = ["-c", "user.name=acme", "-c", "user.email=acme@acme.example"]
    for words in (
        ["init", "--quiet"],
        ["remote", "add", "origin", "https://github.com/acme/acme.git"],
        ["add", "cumulusci.yml"],
        [*as_someone, "commit", "--quiet", "--message", "project"],
    ):
        subprocess.run(["git", *words], check=True)


def connected(**changes):
    """Returns an org as CumulusCI keeps it after a login."""
    form = {"grant_type": "refresh_token", "client_id": org.CLIENT_ID, "refresh_token": org.REFRESH_TOKEN}
    answer = requests.post(f"{org.HTTPS}/services/oauth2/token", data=form, timeout=30).json()
    kept = {key: answer[key] for key in ("access_token", "instance_url", "id")}
    return json.dumps({**kept, "username": org.USERNAME, **changes})


def run(task, *options, by_assertion=True):
    """Runs a task and returns what it printed."""
    environment = {
        **os.environ,
        "CUMULUSCI_KEYCHAIN_CLASS": "cumulusci.core.keychain.EnvironmentProjectKeychain",
    }
    if by_assertion:
        environment |= {"SFDX_CLIENT_ID": org.CLIENT_ID, "SFDX_HUB_KEY": org.KEY.read_text()}
        environment["CUMULUSCI_ORG_local"] = connected()
    else:
        app = {"client_id": org.CLIENT_ID, "client_secret": org.CLIENT_SECRET}
        environment["CUMULUSCI_ORG_local"] = connected(**app, refresh_token=org.REFRESH_TOKEN)
    command = [PROGRAM, "task", "run", task, "--org", "local", *options]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIME_MAX, check=False
    )
    equal(ended.returncode, 0, f"{task}: {ended.stdout}{ended.stderr}")
    return ended.stdout


def load(sql, **how):
    """Loads a data set."""
    Path("data.sql").write_text(sql)
    run("load_dataset", "--mapping", "mapping.yml", "--sql_path", "data.sql", **how)


make_project()
load(FIRST, by_assertion=False)
load(SECOND)

run("extract_dataset", "--mapping", "mapping.yml", "--sql_path", "extracted.sql")
extracted = sqlite3.connect(":memory:")
extracted.executescript(Path("extracted.sql").read_text())
accounts = extracted.execute("SELECT name, key, industry FROM accounts ORDER BY key").fetchall()
expected = [
    ("First again", "cci-1", "Energy"),
    ('Second, "quoted"', "cci-2", ""),
    ("Third", "cci-3", ""),
]
equal([tuple(cell or "" for cell in row) for row in accounts], expected, "extracted accounts")
contacts = extracted.execute("SELECT last_name FROM contacts ORDER BY last_name").fetchall()
equal(contacts, [("Ito",), ("Kim",)], "extracted contacts")
joined = extracted.execute(
    "SELECT a.key FROM contacts c JOIN accounts a ON a.id = c.account_id ORDER BY a.key"
).fetchall()
equal(joined, [("cci-1",), ("cci-2",)], "extracted parents")

printed = run("delete_data", "--objects", "Contact", "--where", "LastName = 'Kim'")
holds("Contact" in printed, "a deletion names its object")
