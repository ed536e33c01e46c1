"""simple-salesforce: queries, pages, the recycle bin, describe, limits, composite."""

from datetime import datetime, timedelta, timezone

from simple_salesforce import format_soql
from simple_salesforce.exceptions import SalesforceMalformedRequest

import org
from org import equal, holds, refused
from session import connect

# The harness has created 4,100 accounts, numbered in Name; the last is in the recycle bin.
LIVE = 4099

sf = connect()

first = sf.query("SELECT Name FROM Account ORDER BY Name")
equal((first["totalSize"], first["done"], len(first["records"])), (LIVE, False, 2000), "first page")
second = sf.query_more(first["nextRecordsUrl"], identifier_is_url=True)
equal(second["records"][0]["Name"], "Account 2000", "the next page begins where the first ended")
locator = first["nextRecordsUrl"].rsplit("/", 1)[1]
equal(sf.query_more(locator)["records"], second["records"], "the same by its locator alone")

everything = sf.query_all("SELECT Name, Owner.Name FROM Account ORDER BY Name")
equal(everything["done"], True, "query_all ends")
names = [record["Name"] for record in everything["records"]]
equal(names, [f"Account {n:04}" for n in range(LIVE)], "query_all brings each record once, in order")
holds(everything["records"][0]["Owner"]["Name"], "the owner's name comes along")

lazily = sf.query_all_iter("SELECT Id FROM Account")
equal(len({record["Id"] for record in lazily}), LIVE, "query_all_iter brings each record once")

deleted = sf.query_all("SELECT Name, IsDeleted FROM Account WHERE IsDeleted = TRUE", include_deleted=True)
equal([record["Name"] for record in deleted["records"]], ["Account 4099"], "the recycle bin")
equal(sf.query("SELECT COUNT() FROM Account")["totalSize"], LIVE, "COUNT()")

odd = format_soql("SELECT Id FROM Account WHERE Name = {}", "O'Brien \\ Sons")
equal(sf.query(odd)["totalSize"], 0, "a quoted name")
sf.Account.create({"Name": "O'Brien \\ Sons"})
equal(sf.query(odd)["totalSize"], 1, "a quoted name finds its record")

error = refused(SalesforceMalformedRequest, lambda: sf.query("SELECT Nope__c FROM Account"), "no such column")
equal(org.code(error), "INVALID_FIELD", "no such column")
error = refused(SalesforceMalformedRequest, lambda: sf.query("SELECT Id FRM Account"), "no query")
equal(org.code(error), "MALFORMED_QUERY", "no query")

now = datetime.now(timezone.utc)
changed = sf.Account.updated(now - timedelta(days=1), now + timedelta(minutes=2))
equal(len(changed["ids"]), LIVE + 1, "getUpdated names what lives")
purged = sf.Account.deleted(now - timedelta(days=1), now + timedelta(minutes=2))
equal(len(purged["deletedRecords"]), 1, "getDeleted names what was deleted")

listed = {one["name"] for one in sf.describe()["sobjects"]}
holds({"Account", "Contact", "User"} <= listed, "describe lists the objects")
fields = {one["name"]: one for one in sf.Account.describe()["fields"]}
equal(fields["External_Id__c"]["externalId"], True, "describe knows external ids")
equal(sf.Account.metadata()["objectDescribe"]["name"], "Account", "basic information")
holds(sf.limits()["DailyApiRequests"]["Remaining"] > 0, "limits")

composite = sf.restful(
    "composite",
    method="POST",
    json={
        "allOrNone": True,
        "compositeRequest": [
            {
                "method": "POST",
                "url": "/services/data/v62.0/sobjects/Account",
                "referenceId": "parent",
                "body": {"Name": "Parent"},
            },
            {
                "method": "POST",
                "url": "/services/data/v62.0/sobjects/Contact",
                "referenceId": "child",
                "body": {"LastName": "Child", "AccountId": "@{parent.id}"},
            },
        ],
    },
)
equal([one["httpStatusCode"] for one in composite["compositeResponse"]], [201, 201], "composite")
