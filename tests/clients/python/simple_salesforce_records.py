"""simple-salesforce: create, read, update, upsert, delete one record."""

import re

from simple_salesforce.exceptions import (
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceResourceNotFound,
)

import org
from org import equal, holds, refused
from session import connect

sf = connect()

created = sf.Account.create({"Name": "Acme", "External_Id__c": "py-1", "Industry": "Media"})
equal({**created, "id": ""}, {"id": "", "success": True, "errors": []}, "answer to a create")
acme = created["id"]
equal(len(acme), 18, "length of an id")

record = sf.Account.get(acme)
equal(record["attributes"]["type"], "Account", "type of a record")
equal(record["Name"], "Acme", "name of the record")
equal(record["Id"], sf.Account.get(acme[:15])["Id"], "a 15-character id names the same record")
holds(
    re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+0000", record["LastModifiedDate"]),
    f"a stamp in UTC, seconds: {record['LastModifiedDate']}",
)
equal(sf.Account.get_by_custom_id("External_Id__c", "py-1")["Id"], acme, "read by external id")

equal(sf.Account.update(acme, {"Industry": None, "BillingCity": "Lyon"}), 204, "status of an update")
record = sf.Account.get(acme)
equal((record["Industry"], record["BillingCity"]), (None, "Lyon"), "null clears, the rest stays")

key = "External_Id__c/py 2 é"
equal(sf.Account.upsert(key, {"Name": "Borg"}), 201, "status of an upsert that inserts")
equal(sf.Account.upsert(key, {"Name": "Borg AG"}), 200, "status of an upsert that updates")
equal(connect(version="45.0").Account.upsert(key, {"Site": "a"}), 204, "the same before v46.0")
answer = sf.Account.upsert(key, {"Name": "Borg AG"}, raw_response=True).json()
equal(answer["created"], False, "an upsert says whether it created")

ito = sf.Contact.create({"LastName": "Ito", "Account": {"External_Id__c": "py-1"}})["id"]
equal(sf.Contact.get(ito)["AccountId"], acme, "a parent is named by its external id")


def malformed(call, expected, what):
    """Asserts that a call is refused with 400 and this code."""
    error = refused(SalesforceMalformedRequest, call, what)
    equal(org.code(error), expected, what)
    return error


malformed(lambda: sf.Account.create({"Site": "a"}), "REQUIRED_FIELD_MISSING", "no name")
malformed(lambda: sf.Account.create({"Name": "x", "Nope__c": 1}), "INVALID_FIELD", "no such field")
malformed(lambda: sf.Account.create({"Name": "x" * 256}), "STRING_TOO_LONG", "256 characters")
malformed(lambda: sf.Account.update(acme, {"Id": acme}), "INVALID_FIELD", "an id in the body")
twin = {"Name": "x", "External_Id__c": "py-1"}
malformed(lambda: sf.Account.create(twin), "DUPLICATE_VALUE", "an external id twice")
missing = refused(
    SalesforceResourceNotFound,
    lambda: sf.Account.upsert("Nope__c/1", {"Name": "x"}),
    "an external id field that is not there",
)
equal(org.code(missing), "NOT_FOUND", "an external id field that is not there")

# Legacy_Id__c is an external id that is not unique.
for name in ("Twin A", "Twin B"):
    sf.Contact.create({"LastName": name, "Legacy_Id__c": "twin"})
many = refused(
    SalesforceMoreThanOneRecord,
    lambda: sf.Contact.upsert("Legacy_Id__c/twin", {"FirstName": "x"}),
    "an external id that names two",
)
equal(len(many.content), 2, "300 lists both records")
holds(all(url.startswith("/services/data/v62.0/sobjects/Contact/003") for url in many.content), "as paths")

equal(sf.Account.delete(acme), 204, "status of a delete")
gone = refused(SalesforceResourceNotFound, lambda: sf.Account.get(acme), "a deleted record")
equal(org.code(gone), "ENTITY_IS_DELETED", "code of a deleted record")

sf.limits()
holds(sf.api_usage["api-usage"].used > 0, "each answer says how many calls were used")
