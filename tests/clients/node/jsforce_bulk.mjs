// jsforce: Bulk API 1.0 with `bulk`.

import assert from 'node:assert/strict';
import { connect } from './org.mjs';

const connection = await connect();
const { bulk } = connection;
bulk.pollInterval = 20;
bulk.pollTimeout = 30000;

const odd = 'Two "quoted", lines\nof text';
const inserted = await bulk.load('Account', 'insert', [
  { External_Id__c: 'o-1', Name: 'One', Description: odd },
  { External_Id__c: 'o-2', Name: 'Two', Description: null },
  { External_Id__c: 'o-3', Name: null, Description: null },
]);
assert.deepEqual(inserted.map((one) => [one.success, one.created]), [[true, true], [true, true], [false, false]]);
assert.match(inserted[2].errors[0], /^REQUIRED_FIELD_MISSING:.*:Name --$/);
const [one, two] = inserted.map(({ id }) => id);
assert.equal((await connection.sobject('Account').retrieve(one)).Description, odd);

// Step by step: a job, two batches, each with its own state and results.
const job = bulk.createJob('Account', 'upsert', { extIdField: 'External_Id__c', concurrencyMode: 'Serial' });
const opened = await job.open();
assert.equal(opened.state, 'Open');
assert.equal(opened.concurrencyMode, 'Serial');
const results = [];
for (const csv of ['External_Id__c,Name\no-1,One again\n', 'External_Id__c,Name\no-4,Four\n']) {
  const batch = job.createBatch();
  batch.on('queue', () => batch.poll(20, 30000));
  results.push(...(await batch.execute(csv)));
  assert.equal((await batch.check()).state, 'Completed');
}
assert.deepEqual(results.map(({ created }) => created), [false, true]);
assert.equal((await job.list()).length, 2);
const checked = await job.check();
assert.equal(checked.numberBatchesCompleted, '2');
assert.equal((await job.close()).state, 'Closed');

// #N/A clears a field; jsforce writes it for null.
await bulk.load('Account', 'update', [{ Id: one, Description: null }]);
assert.equal((await connection.sobject('Account').retrieve(one)).Description, null);
const deleted = await bulk.load('Account', 'delete', [{ Id: two }]);
assert.deepEqual(deleted.map(({ success }) => success), [true]);

const stream = await bulk.query('SELECT External_Id__c FROM Account ORDER BY External_Id__c');
const rows = await stream.toArray();
assert.deepEqual(rows.map((row) => row.External_Id__c), ['o-1', 'o-4']);

const aborted = bulk.createJob('Account', 'insert');
await aborted.open();
assert.equal((await aborted.abort()).state, 'Aborted');
await assert.rejects(
  async () => bulk.load('Account', 'insert', [{ Nope__c: '1' }]),
  /InvalidBatch : Field name not found : Nope__c/,
  'a column that is not there',
);
