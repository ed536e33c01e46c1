// The Salesforce CLI: Bulk API 2.0.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { login, sf, spawn } from './cli.mjs';

const WAIT = ['--wait', '1'];
login();

writeFileSync('insert.csv', 'Name,External_Id__c,Industry\nOne,b-1,Media\n"Two, ""quoted""",b-2,\nThree,b-3,Energy\n');
const imported = sf('data', 'import', 'bulk', '--sobject', 'Account', '--file', 'insert.csv', ...WAIT);
assert.deepEqual([imported.processedRecords, imported.successfulRecords, imported.failedRecords], [3, 3, 0]);

writeFileSync('upsert.csv', 'Name,External_Id__c,Industry\nOne again,b-1,#N/A\nFour,b-4,Media\n');
const upserted = sf('data', 'upsert', 'bulk', '--sobject', 'Account', '--external-id', 'External_Id__c', '--file', 'upsert.csv', ...WAIT);
const created = upserted.records.successfulResults.map((row) => row.sf__Created);
assert.deepEqual(created, ['false', 'true']);

const query = "SELECT Id, Name, External_Id__c, Industry FROM Account WHERE External_Id__c LIKE 'b-%' ORDER BY External_Id__c";
const exported = sf('data', 'export', 'bulk', '--query', query, '--output-file', 'out.csv', '--result-format', 'csv', ...WAIT);
assert.equal(exported.totalSize, 4);
const [header, ...rows] = readFileSync('out.csv', 'utf8').trim().split('\n');
assert.equal(header, '"Id","Name","External_Id__c","Industry"');
const idOf = (key) => rows.find((row) => row.includes(`"${key}"`)).split(',')[0].replaceAll('"', '');
assert.ok(rows[1].includes('"Two, ""quoted"""'), rows[1]);

writeFileSync('update.csv', `Id,Industry\n${idOf('b-2')},Retail\n0015g000000zzzzAAA,Media\n`);
const updated = spawn(['data', 'update', 'bulk', '--sobject', 'Account', '--file', 'update.csv', ...WAIT, '--json']);
const outcome = JSON.parse(updated.stdout);
assert.notEqual(updated.status, 0, 'a job with a failed row is an error');
assert.match(JSON.stringify(outcome), /failed/i);

writeFileSync('delete.csv', `Id\n${idOf('b-3')}\n`);
const deleted = sf('data', 'delete', 'bulk', '--sobject', 'Account', '--file', 'delete.csv', ...WAIT);
assert.equal(deleted.jobInfo.numberRecordsProcessed, 1);
assert.equal(deleted.jobInfo.numberRecordsFailed, 0);

writeFileSync('later.csv', 'Name,External_Id__c\nLater,b-5\n');
const started = sf('data', 'upsert', 'bulk', '--sobject', 'Account', '--external-id', 'External_Id__c', '--file', 'later.csv');
const resumed = sf('data', 'upsert', 'resume', '--job-id', started.jobInfo.id, ...WAIT);
assert.equal(resumed.jobInfo.state, 'JobComplete', 'another process waits for the job');
