"""simple-salesforce: every operation of Bulk API 2.0, and its three sets of results."""

import csv
import io

from simple_salesforce.exceptions import SalesforceBulkV2LoadError, SalesforceOperationError

from org import equal, holds, refused
from session import connect

# Seconds that the client sleeps before it reads the state of a job.
WAIT = 0.02

sf = connect()
bulk = sf.bulk2.Account


def rows(text):
    """Reads a result, which the client returns as text."""
    return list(csv.DictReader(io.StringIO(text)))


def load(operation, records, **options):
    """Runs one ingest job and returns its id, how many rows it processed and how many failed."""
    (result,) = operation(records=records, wait=WAIT, **options)
    equal(result["numberRecordsTotal"], len(records), "the client counted its rows")
    return result["job_id"], result["numberRecordsProcessed"], result["numberRecordsFailed"]


odd = 'Two "quoted", lines\nof text; a ünit'
accounts = [
    {"External_Id__c": f"k-{n}", "Name": f"Account {n}", "Description": odd, "Industry": "Media"}
    for n in range(5)
]
accounts.append({"External_Id__c": "k-bad", "Name": "", "Description": "", "Industry": ""})
job, processed, failed = load(bulk.insert, accounts)
equal((processed, failed), (6, 1), "the count of processed rows includes those that failed")
done = rows(bulk.get_successful_records(job))
equal(sorted(row["External_Id__c"] for row in done), [f"k-{n}" for n in range(5)], "successes")
equal({row["sf__Created"] for row in done}, {"true"}, "inserted rows are created")
equal({row["Description"] for row in done}, {odd}, "what was uploaded comes back")
ids = {row["External_Id__c"]: row["sf__Id"] for row in done}
(bad,) = rows(bulk.get_failed_records(job))
equal((bad["External_Id__c"], bad["sf__Id"]), ("k-bad", ""), "the row that failed")
equal(
    bad["sf__Error"],
    "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --",
    "why it failed",
)
equal(rows(bulk.get_unprocessed_records(job)), [], "nothing was left over")
results = bulk.get_all_ingest_records(job)
equal([len(results["failedRecords"]), len(results["unprocessedRecords"])], [1, 0], "all three at once")

# An empty cell changes nothing, #N/A clears a field.
changes = [
    {"Id": ids["k-0"], "Industry": "", "Description": "#N/A"},
    {"Id": ids["k-1"], "Industry": "Energy", "Description": "#N/A"},
    {"Id": "001000000000000AAA", "Industry": "Energy", "Description": "x"},
]
job, processed, failed = load(bulk.update, changes)
equal((processed, failed), (3, 1), "an update of a record that is not there fails alone")
equal({row["sf__Created"] for row in rows(bulk.get_successful_records(job))}, {"false"}, "updates")
zero = sf.Account.get(ids["k-0"])
equal((zero["Industry"], zero["Description"]), ("Media", None), "empty cell and #N/A")

upserts = [
    {"External_Id__c": "k-1", "Name": "Account 1 again"},
    {"External_Id__c": "k-new", "Name": "New"},
]
job, processed, failed = load(bulk.upsert, upserts, external_id_field="External_Id__c")
equal((processed, failed), (2, 0), "an upsert")
created = {row["External_Id__c"]: row["sf__Created"] for row in rows(bulk.get_successful_records(job))}
equal(created, {"k-1": "false", "k-new": "true"}, "an upsert says what it created")

# Another delimiter and line ending, and parents named by their external id.
contacts = [
    {"LastName": "Ito", "Account.External_Id__c": "k-1"},
    {"LastName": "Lost", "Account.External_Id__c": "k-nowhere"},
]
job, processed, failed = load(sf.bulk2.Contact.insert, contacts, column_delimiter="TAB", line_ending="CRLF")
equal((processed, failed), (2, 1), "a child without its parent fails alone")
failures = sf.bulk2.Contact.get_failed_records(job)
holds("INVALID_FIELD:Foreign key external ID: k-nowhere not found for field External_Id__c in entity Account" in failures, failures)

# Several jobs for one call.
split = bulk.insert(
    records=[{"Name": f"Split {n}", "External_Id__c": f"s-{n}"} for n in range(4)],
    batch_size=2,
    concurrency=2,
    wait=WAIT,
)
equal([one["numberRecordsProcessed"] for one in split], [2, 2], "rows are split into jobs")

job, processed, failed = load(bulk.delete, [{"Id": ids["k-2"]}, {"Id": ids["k-3"]}])
equal((processed, failed), (2, 0), "deletes")
job, processed, failed = load(bulk.hard_delete, [{"Id": ids["k-4"]}])
equal((processed, failed), (1, 0), "hard deletes")

soql = "SELECT External_Id__c, Industry FROM Account WHERE External_Id__c LIKE 'k-%' ORDER BY External_Id__c"
pages = list(bulk.query(soql, max_records=2, wait=WAIT))
equal([len(rows(page)) for page in pages], [2, 1], "each page has its own header and its rows")
found = [(row["External_Id__c"], row["Industry"]) for page in pages for row in rows(page)]
equal(found, [("k-0", "Media"), ("k-1", "Energy"), ("k-new", "")], "what a query brings")
(bin_page,) = bulk.query_all("SELECT Id FROM Account WHERE IsDeleted = true", wait=WAIT)
equal({row["Id"] for row in rows(bin_page)}, {ids["k-2"], ids["k-3"]}, "a hard delete leaves no trace")
(file,) = bulk.download(soql, path=".", wait=WAIT)
equal(file["number_of_records"], 3, "a result as a file")

refusal = refused(SalesforceOperationError, lambda: load(bulk.insert, [{"Nope__c": "1"}]), "no such column")
holds("InvalidBatch : Field name not found : Nope__c" in str(refusal), str(refusal))
refused(SalesforceBulkV2LoadError, lambda: load(bulk.delete, [{"Name": "x"}]), "a delete without ids")
