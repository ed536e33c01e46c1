// jsforce: many records in one call.

import assert from 'node:assert/strict';
import { connect } from './org.mjs';

const connection = await connect();
const accounts = connection.sobject('Account');
const name = (n) => `Account ${String(n).padStart(3, '0')}`;
const rows = Array.from({ length: 250 }, (_, n) => ({ Name: name(n), External_Id__c: `c-${n}` }));

// More than 200 records need two calls.
const created = await accounts.create(rows, { allowRecursive: true });
assert.equal(created.length, 250, 'one answer for each record');
assert.ok(created.every((one) => one.success), 'all are created');
assert.equal(new Set(created.map((one) => one.id)).size, 250);

const mixed = await accounts.create([{ Name: 'Good' }, { Industry: 'Media' }, { Name: 'Good too' }]);
assert.deepEqual(mixed.map((one) => one.success), [true, false, true], 'answers come in the order of the request');
assert.equal(mixed[1].errors[0].statusCode, 'REQUIRED_FIELD_MISSING');
assert.deepEqual(mixed[1].errors[0].fields, ['Name']);

const none = await accounts.create([{ Name: 'Innocent' }, { Industry: 'Media' }], { allOrNone: true });
assert.deepEqual(none.map((one) => one.success), [false, false]);
assert.equal(none[0].errors[0].statusCode, 'ALL_OR_NONE_OPERATION_ROLLED_BACK');
assert.equal(none[1].errors[0].statusCode, 'REQUIRED_FIELD_MISSING');

const updated = await accounts.update(created.slice(0, 3).map((one) => ({ Id: one.id, Industry: 'Media' })));
assert.deepEqual(updated, created.slice(0, 3).map(({ id }) => ({ id, success: true, errors: [] })));

const upserted = await accounts.upsert(
  [
    { External_Id__c: 'c-0', Industry: 'Energy' },
    { External_Id__c: 'c-new', Name: 'New' },
    { External_Id__c: 'c-nameless' },
  ],
  'External_Id__c',
);
assert.deepEqual(upserted[0], { id: created[0].id, success: true, errors: [], created: false });
assert.equal(upserted[1].created, true);
assert.equal(upserted[2].success, false);

const read = await accounts.retrieve([created[0].id, created[249].id]);
assert.deepEqual(read.map((one) => one.Industry), ['Energy', null]);

const doomed = [created[1].id, created[2].id, upserted[1].id];
const deleted = await accounts.delete(doomed);
assert.deepEqual(deleted, doomed.map((id) => ({ id, success: true, errors: [] })));
const again = await accounts.delete(doomed.slice(0, 1));
assert.equal(again[0].success, false);
assert.equal(again[0].errors[0].statusCode, 'ENTITY_IS_DELETED');
