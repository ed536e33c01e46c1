"""simple-salesforce: loads and queries of Bulk API 1.0 with `bulk`."""

import simple_salesforce.bulk

from org import equal, holds, refused
from session import connect
from simple_salesforce.exceptions import SalesforceGeneralError

# The client sleeps for seconds before it reads the state of a batch. This only shortens the wait.
pause = simple_salesforce.bulk.sleep
simple_salesforce.bulk.sleep = lambda seconds: pause(0.02)

sf = connect()
bulk = sf.bulk.Account

accounts = [{"External_Id__c": f"o-{n}", "Name": f"Account {n}", "Industry": "Media"} for n in range(4)]
accounts.append({"External_Id__c": "o-bad", "Name": None})
results = bulk.insert(accounts, batch_size=2)
equal([one["success"] for one in results], [True] * 4 + [False], "rows keep their order over batches")
equal([one["created"] for one in results], [True] * 4 + [False], "what was created")
(error,) = results[4]["errors"]
equal(error["statusCode"], "REQUIRED_FIELD_MISSING", "why the last row failed")
equal(error["fields"], ["Name"], "where it failed")
ids = [one["id"] for one in results[:4]]

(changed, missing) = bulk.update(
    [{"Id": ids[0], "Industry": None}, {"Id": "001000000000000AAA", "Industry": "Energy"}], use_serial=True
)
equal((changed["success"], changed["created"]), (True, False), "an update")
equal(missing["success"], False, "an update of a record that is not there")
equal(sf.Account.get(ids[0])["Industry"], None, "null clears")

upserts = [{"External_Id__c": "o-1", "Name": "Again"}, {"External_Id__c": "o-new", "Name": "New"}]
results = bulk.upsert(upserts, "External_Id__c", batch_size="auto")
equal([one["created"] for one in results], [False, True], "an upsert says what it created")

children = [
    {"LastName": "Ito", "Account": {"External_Id__c": "o-1"}},
    {"LastName": "Lost", "Account": {"External_Id__c": "o-nowhere"}},
]
(found, lost) = sf.bulk.Contact.insert(children)
equal((found["success"], lost["success"]), (True, False), "a child without its parent fails alone")
holds("o-nowhere not found" in lost["errors"][0]["message"], lost)

detailed = bulk.update([{"Id": ids[1], "Name": "Detailed"}], include_detailed_results=True)
equal((detailed[0]["success"], detailed[0]["Name"]), (True, "Detailed"), "results with what was sent")

equal([one["success"] for one in bulk.delete([{"Id": ids[2]}])], [True], "a delete")
equal([one["success"] for one in bulk.hard_delete([{"Id": ids[3]}])], [True], "a hard delete")

soql = "SELECT External_Id__c FROM Account WHERE External_Id__c LIKE 'o-%' ORDER BY External_Id__c"
rows = bulk.query(soql)
equal([row["External_Id__c"] for row in rows], ["o-0", "o-1", "o-new"], "a query")
(page,) = list(bulk.query_all("SELECT Id FROM Account WHERE IsDeleted = true", lazy_operation=True))
equal([row["Id"] for row in page], [ids[2]], "deleted records, page by page")
refused(SalesforceGeneralError, lambda: bulk.query("SELECT Nope__c FROM Account"), "a column that is not there")
