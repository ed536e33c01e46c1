"""tap-salesforce: a first sync, and one that continues from its state. The argument selects the API."""

import sys

import tap
from org import equal

# The harness has created an account in the org, and deleted another one an hour before.
API = sys.argv[1]
NAME = 'Acme, "first"'

catalog = tap.discover(API)
streams = [tap.select(catalog["Account"]), tap.select(catalog["Contact"])]

first = tap.sync(API, streams)
equal([one["stream"] for one in first.of("SCHEMA")], ["Account", "Contact"], "a schema for each")
(schema,) = first.of("SCHEMA", "Account")
equal(schema["key_properties"], ["Id"], "key")
equal(schema["bookmark_properties"], ["SystemModstamp"], "bookmark")
accounts = first.records("Account")
by_name = {one["Name"]: one for one in accounts.values()}
equal(set(by_name), {NAME, "Gone"}, "what lives and what is in the recycle bin")
acme = by_name[NAME]
equal(acme["Description"], "Two lines\nof text; ünit", "a text with a line break")
equal((acme["AnnualRevenue"], acme["NumberOfEmployees"]), (1234.5, 7), "numbers")
equal((acme["Active__c"], acme["IsDeleted"], by_name["Gone"]["IsDeleted"]), (True, False, True), "booleans")
equal(acme["Industry"], None, "null")
equal(acme["Opened__c"], "2026-05-01T00:00:00.000000Z", "a date, as the tap writes it")
equal(first.records("Contact"), {}, "no contacts")

state = first.state
equal(state["current_stream"], None, "the sync ended")
mark = state["bookmarks"]["Account"]["SystemModstamp"]
newest = max(one["SystemModstamp"] for one in accounts.values())
equal(mark, newest, "the bookmark is the newest stamp")
equal(acme["SystemModstamp"], newest, "the account that lives came last")

again = tap.sync(API, streams, state)
equal(set(again.records("Account")), {acme["Id"]}, "a sync begins at its bookmark")
equal(again.state["bookmarks"]["Account"]["SystemModstamp"], mark, "the bookmark stays")
