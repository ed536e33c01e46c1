"""aiosalesforce: logins, single records, query pages, batch and composite.

The client accepts only addresses of the form https://DOMAIN.my.salesforce.com; the harness routes
them to the org.
"""

import asyncio

import httpx
from aiosalesforce import Salesforce
from aiosalesforce.auth import ClientCredentialsFlow, JwtBearerFlow, SoapLogin
from aiosalesforce.exceptions import AuthenticationError, NotFoundError, SalesforceError

import org
from org import equal, holds

HOST = "https://acme.my.salesforce.com"


async def refused(kind, call, code, what):
    """Asserts that an awaited call fails with this kind of exception and this error code."""
    try:
        answer = await call
    except kind as error:
        equal(error.error_code, code, what)
        return error
    raise AssertionError(f"{what}: expected {kind.__name__}, got {answer!r}")


async def logins(http):
    """Logs in by all three flows, and with wrong credentials; returns the client of the first."""
    jwt = JwtBearerFlow(org.CLIENT_ID, org.USERNAME, org.KEY)
    soap = SoapLogin(org.USERNAME, org.PASSWORD, org.SECURITY_TOKEN)
    credentials = ClientCredentialsFlow(org.CLIENT_ID, org.CLIENT_SECRET)
    clients = [Salesforce(http, HOST, auth, version="62.0") for auth in (jwt, credentials, soap)]
    for client in clients:
        limits = await client.get_limits()
        holds(limits["DailyApiRequests"]["Remaining"] > 0, "limits are readable after a login")
    stranger = Salesforce(http, HOST, JwtBearerFlow(org.CLIENT_ID, "x@acme.example", org.KEY))
    await refused(AuthenticationError, stranger.get_limits(), "invalid_grant", "an unknown user")
    wrong = Salesforce(http, HOST, ClientCredentialsFlow(org.CLIENT_ID, "wrong"))
    await refused(AuthenticationError, wrong.get_limits(), "invalid_client", "a wrong secret")
    locked = Salesforce(http, HOST, SoapLogin(org.USERNAME, "wrong", ""), retry_policy=None)
    await refused(AuthenticationError, locked.get_limits(), "INVALID_LOGIN", "a wrong password")
    return clients[0]


async def single_records(sf):
    """Creates, reads, updates, upserts and deletes one record at a time."""
    one = await sf.sobject.create("Account", {"Name": "Acme", "External_Id__c": "aio-1"})
    await sf.sobject.update("Account", one, {"Industry": "Media", "Site": "a & b <c>"})
    record = await sf.sobject.get("Account", one, fields=["Id", "Industry", "Site"])
    equal({**record, "attributes": 0}, {"attributes": 0, "Id": one, "Industry": "Media", "Site": "a & b <c>"}, "fields")
    same = await sf.sobject.get("Account", "aio-1", external_id_field="External_Id__c")
    equal(same["Id"], one, "read by external id")
    for created in (True, False):
        fields = {"External_Id__c": "aio-2", "Name": "Borg"}
        answer = await sf.sobject.upsert("Account", "aio-2", "External_Id__c", fields)
        equal(answer.created, created, "an upsert says whether it created")
    await sf.sobject.delete("Account", "aio-2", external_id_field="External_Id__c")
    await refused(NotFoundError, sf.sobject.get("Account", answer.id), "ENTITY_IS_DELETED", "a deleted record")
    refusal = sf.sobject.create("Account", {"Nope__c": 1})
    await refused(SalesforceError, refusal, "INVALID_FIELD", "a field that is not there")
    return one


async def queries(sf):
    """Reads all pages of a query, with and without deleted records."""
    soql = "SELECT Id FROM Account WHERE Name LIKE 'Account %'"
    live = [record["Id"] async for record in sf.query(soql)]
    every = [record["Id"] async for record in sf.query(soql, include_all_records=True)]
    equal((len(set(live)), len(live), len(set(every))), (4_099, 4_099, 4_100), "records of all pages")


async def many_at_once(sf, one):
    """Sends several calls in one request."""
    async with sf.composite.batch() as batch:
        found = batch.query("SELECT Name FROM Account WHERE External_Id__c = 'aio-1'")
        contact = batch.sobject.create("Contact", {"LastName": "Ito", "AccountId": one})
        missing = batch.sobject.get("Account", "001000000000000AAA")
        batch.sobject.update("Account", one, {"Description": "batch"})
        upserted = batch.sobject.upsert("Account", "aio-3", "External_Id__c", {"Name": "Three"})
    equal(found.records[0]["Name"], "Acme", "a query in a batch")
    equal((missing.status_code, upserted.created), (404, True), "each part has its own answer")

    async with sf.composite(all_or_none=True) as composite:
        parent = composite.sobject.create("Account", {"Name": "Parent", "External_Id__c": "aio-4"})
        child = composite.sobject.create("Contact", {"LastName": "Kim", "AccountId": str(parent.reference.id)})
        names = composite.query("SELECT Name FROM Account WHERE External_Id__c = 'aio-4'")
    equal(len({parent.id, child.id, contact.id}), 3, "ids of three records")
    equal([record["Name"] for record in names.records], ["Parent"], "a query after a create")

    async with sf.composite(all_or_none=True) as composite:
        undone = composite.sobject.create("Account", {"Name": "Undone"})
        invalid = composite.sobject.create("Contact", {"AccountId": str(undone.reference.id)})
    equal(undone.response_body[0]["errorCode"], "PROCESSING_HALTED", "what was rolled back")
    equal(invalid.response_body[0]["errorCode"], "REQUIRED_FIELD_MISSING", "what was refused")


async def main():
    """Plays all of it."""
    async with httpx.AsyncClient() as http:
        sf = await logins(http)
        one = await single_records(sf)
        await queries(sf)
        await many_at_once(sf, one)


asyncio.run(main())
