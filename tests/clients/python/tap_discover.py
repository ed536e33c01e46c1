"""tap-salesforce: discovery, by REST and by Bulk."""

import tap
from org import equal, holds


def of_field(stream, name):
    """Returns the catalog entry of a field."""
    (found,) = (
        one["metadata"] for one in stream["metadata"] if one["breadcrumb"] == ["properties", name]
    )
    return found


for api in ("REST", "BULK"):
    catalog = tap.discover(api)
    holds({"Account", "Contact", "User"} <= set(catalog), f"{api}: streams are the objects")
    account = catalog["Account"]
    (whole,) = (one["metadata"] for one in account["metadata"] if one["breadcrumb"] == [])
    equal(whole["table-key-properties"], ["Id"], f"{api}: key")
    equal(whole["valid-replication-keys"], ["SystemModstamp"], f"{api}: replication key")
    properties = account["schema"]["properties"]
    equal(properties["Name"], {"type": ["null", "string"]}, f"{api}: a string")
    equal(properties["AnnualRevenue"], {"type": ["null", "number"]}, f"{api}: a currency")
    equal(properties["NumberOfEmployees"], {"type": ["null", "integer"]}, f"{api}: an int")
    equal(properties["Active__c"], {"type": ["null", "boolean"]}, f"{api}: a checkbox")
    holds("anyOf" in properties["LastModifiedDate"], f"{api}: a datetime")
    equal(of_field(account, "Id")["inclusion"], "automatic", f"{api}: the key is always there")
    compound = {"REST": "available", "BULK": "unsupported"}[api]
    equal(of_field(account, "BillingAddress")["inclusion"], compound, f"{api}: a compound field")
