"""aiosalesforce: Bulk API 2.0."""

import asyncio

import httpx
from aiosalesforce import Salesforce
from aiosalesforce.auth import ClientCredentialsFlow

import org
from org import equal

#: Seconds between two questions for the state of a job. The client's default is five.
POLLING = 0.05


async def load(sf, operation, rows, **more):
    """Runs a job and returns its only result."""
    jobs = sf.bulk_v2.ingest.perform_operation(
        operation, "Account", rows, polling_interval=POLLING, **more
    )
    (job,) = [job async for job in jobs]
    equal(job.job_info.state, "JobComplete", f"state of {operation}")
    return job


async def main():
    """Plays every operation."""
    async with httpx.AsyncClient() as http:
        auth = ClientCredentialsFlow(org.CLIENT_ID, org.CLIENT_SECRET)
        sf = Salesforce(http, "https://acme.my.salesforce.com", auth, version="62.0")
        rows = [{"Name": f"Bulk {n}", "External_Id__c": f"b-{n}", "AnnualRevenue": n} for n in range(3)]
        done = await load(sf, "insert", [*rows, {"Name": "", "External_Id__c": "b-x", "AnnualRevenue": 1}])
        equal(len(done.successful_results), 3, "inserted rows")
        (failed,) = done.failed_results
        equal(failed["sf__Error"].split(":")[0], "REQUIRED_FIELD_MISSING", "a row without a name")
        ids = {row["External_Id__c"]: row["sf__Id"] for row in done.successful_results}

        rows = [{"Id": ids["b-0"], "Description": 'two\nlines, "quoted"', "AnnualRevenue": "#N/A"}]
        done = await load(sf, "update", rows)
        (row,) = done.successful_results
        # The client drops line breaks of results; the org has stored this one.
        equal(row["Description"], 'twolines, "quoted"', "a result with a line break")
        rows = [{"External_Id__c": "b-1", "Name": "Renamed"}, {"External_Id__c": "b-9", "Name": "New"}]
        done = await load(sf, "upsert", rows, external_id_field="External_Id__c")
        equal([row["sf__Created"] for row in done.successful_results], ["false", "true"], "upserted rows")
        equal(len((await load(sf, "delete", [{"Id": ids["b-2"]}])).failed_results), 0, "deleted rows")

        job = await sf.bulk_v2.ingest.create_job("insert", "Account")
        equal((await sf.bulk_v2.ingest.abort_job(job.id)).state, "Aborted", "an aborted job")
        states = sorted([one.state async for one in sf.bulk_v2.ingest.list_jobs()])
        equal(states, ["Aborted", *["JobComplete"] * 4], "states of all jobs")
        await sf.bulk_v2.ingest.delete_job(job.id)
        equal(len([one async for one in sf.bulk_v2.ingest.list_jobs()]), 4, "a deleted job is in no list")


asyncio.run(main())
