// jsforce: queries, pages, locators.

import assert from 'node:assert/strict';
import { connect, org, refused } from './org.mjs';

// The harness has created 4,100 accounts, numbered in Name; the last is in the recycle bin.
const LIVE = 4099;
const connection = await connect();
const numbers = 'SELECT Name, Owner.Name FROM Account ORDER BY Name';

const first = await connection.query(numbers);
assert.equal(first.totalSize, LIVE);
assert.equal(first.done, false);
assert.equal(first.records.length, 2000, 'a page has 2,000 records');
// jsforce adds the instance; the org answers with the path only.
assert.match(first.nextRecordsUrl.slice(org.http.length), /^\/services\/data\/v62\.0\/query\/.+-2000$/);
assert.equal(first.records[0].Name, 'Account 0000');
assert.ok(first.records[0].Owner.Name, "the owner's name comes along");

const second = await connection.queryMore(first.nextRecordsUrl);
assert.equal(second.records[0].Name, 'Account 2000', 'the next page begins where the first ended');
assert.equal(second.totalSize, LIVE);
const third = await connection.queryMore(second.nextRecordsUrl);
assert.equal(third.done, true);
assert.equal(third.nextRecordsUrl, undefined);
assert.equal(third.records.length, LIVE - 4000);
const repeated = await connection.queryMore(first.nextRecordsUrl);
assert.deepEqual(repeated.records, second.records, 'a page can be asked for again');

const fetched = await connection.query(numbers, { autoFetch: true, maxFetch: 10000 });
assert.equal(fetched.records.length, LIVE, 'autoFetch brings all pages');
assert.equal(new Set(fetched.records.map((one) => one.Name)).size, LIVE, 'none comes twice');

const streamed = await new Promise((resolve, reject) => {
  const names = [];
  connection
    .query('SELECT Name FROM Account WHERE Name >= \'Account 1500\' ORDER BY Name')
    .on('record', (record) => names.push(record.Name))
    .on('end', () => resolve(names))
    .on('error', reject)
    .run({ autoFetch: true, maxFetch: 10000 });
});
assert.equal(streamed.length, LIVE - 1500, 'each record is an event');
assert.equal(streamed.at(-1), 'Account 4098');

const small = await connection.query(numbers, { headers: { 'Sforce-Query-Options': 'batchSize=200' } });
assert.equal(small.records.length, 200, 'a smaller page on request');

const count = await connection.query('SELECT COUNT() FROM Account');
assert.equal(count.totalSize, LIVE);
assert.deepEqual(count.records, []);

const withDeleted = await connection.query('SELECT Id FROM Account WHERE IsDeleted = true', { scanAll: true });
assert.equal(withDeleted.totalSize, 1, 'scanAll sees the recycle bin');

const found = await connection
  .sobject('Account')
  .find({ Name: { $like: 'Account 00%' }, Industry: 'Media' }, ['Id', 'Name'])
  .sort({ Name: -1 })
  .limit(2)
  .execute();
assert.deepEqual(found.map((one) => one.Name), ['Account 0099', 'Account 0098']);

await refused(connection.query('SELECT Nope__c FROM Account'), 'INVALID_FIELD', 'a column that is not there');
await refused(connection.query('SELECT FROM'), 'MALFORMED_QUERY', 'no query');
await refused(connection.query('SELECT Id FROM Accout'), 'INVALID_TYPE', 'an object that is not there');
await refused(connection.queryMore('/services/data/v62.0/query/01gXX0000000001AAA-2000'), 'INVALID_QUERY_LOCATOR', 'an unknown locator');
