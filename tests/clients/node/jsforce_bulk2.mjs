// jsforce: Bulk API 2.0.

import assert from 'node:assert/strict';
import { connect, refused } from './org.mjs';

const connection = await connect();
const { bulk2 } = connection;
bulk2.pollInterval = 20;
bulk2.pollTimeout = 30000;
const keys = (rows) => rows.map((one) => one.External_Id__c).sort();

// Rows as objects, one of them invalid; a comma, a quote and a line break in a value.
const odd = 'Two "quoted", lines\nof text';
const inserted = await bulk2.loadAndWaitForResults({
  object: 'Account',
  operation: 'insert',
  input: [
    { External_Id__c: 'b-1', Name: 'One', Description: odd },
    { External_Id__c: 'b-2', Name: 'Two', Description: null },
    { External_Id__c: 'b-3', Name: null, Description: null },
  ],
});
assert.deepEqual(keys(inserted.successfulResults), ['b-1', 'b-2']);
assert.deepEqual(keys(inserted.failedResults), ['b-3']);
assert.deepEqual(inserted.unprocessedRecords, []);
assert.match(inserted.failedResults[0].sf__Error, /^REQUIRED_FIELD_MISSING:.*:Name --$/);
assert.ok(inserted.successfulResults.every((one) => one.sf__Created === 'true' && /^001/.test(one.sf__Id)));
const one = inserted.successfulResults.find((row) => row.External_Id__c === 'b-1');
assert.equal(one.Description, odd, 'what was uploaded comes back');

// Rows as CSV text, step by step.
const job = bulk2.createJob({ object: 'Account', operation: 'upsert', externalIdFieldName: 'External_Id__c', lineEnding: 'LF' });
const opened = await job.open();
assert.equal(opened.state, 'Open');
assert.equal(typeof opened.apiVersion, 'number');
await job.uploadData('External_Id__c,Name,Industry\nb-1,One,Media\nb-4,Four,#N/A\n');
await job.close();
await job.poll();
const info = await job.check();
assert.equal(info.state, 'JobComplete');
assert.equal(info.numberRecordsProcessed, 2);
assert.equal(info.numberRecordsFailed, 0);
const upserted = await job.getSuccessfulResults();
assert.deepEqual(upserted.map((row) => [row.External_Id__c, row.sf__Created]).sort(), [['b-1', 'false'], ['b-4', 'true']]);

// #N/A clears a field; jsforce writes it for null.
const updated = await bulk2.loadAndWaitForResults({
  object: 'Account',
  operation: 'update',
  input: [{ Id: one.sf__Id, Description: null }],
});
assert.equal(updated.successfulResults.length, 1, JSON.stringify(updated));
const reread = await connection.sobject('Account').retrieve(one.sf__Id);
assert.deepEqual([reread.Description, reread.Industry], [null, 'Media']);

const four = upserted.find((row) => row.External_Id__c === 'b-4').sf__Id;
const deleted = await bulk2.loadAndWaitForResults({ object: 'Account', operation: 'delete', input: [{ Id: four }] });
assert.deepEqual(deleted.successfulResults.map((row) => row.sf__Id), [four]);
await refused(connection.sobject('Account').retrieve(four), 'ENTITY_IS_DELETED', 'a deleted account');

// One page only: with more pages this version of jsforce writes to a closed stream.
const stream = await bulk2.query('SELECT External_Id__c, Name FROM Account ORDER BY External_Id__c');
const rows = await stream.toArray();
assert.deepEqual(rows.map((row) => [row.External_Id__c, row.Name]), [['b-1', 'One'], ['b-2', 'Two']]);

const aborted = bulk2.createJob({ object: 'Account', operation: 'insert' });
await aborted.open();
await aborted.abort();
assert.equal((await aborted.check()).state, 'Aborted');
await aborted.delete();

const wrong = bulk2.createJob({ object: 'Account', operation: 'insert' });
await wrong.open();
await wrong.uploadData('Nope__c\n1\n');
await wrong.close();
await assert.rejects(wrong.poll(), /InvalidBatch : Field name not found : Nope__c/, 'a column that is not there');
