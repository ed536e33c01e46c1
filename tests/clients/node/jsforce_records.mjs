// jsforce: one record at a time.

import assert from 'node:assert/strict';
import { bare, connect, refused } from './org.mjs';

const connection = await connect();
const accounts = connection.sobject('Account');

const created = await accounts.create({ Name: 'Acme', External_Id__c: 'js-1', Industry: 'Media' });
assert.deepEqual({ ...created, id: '' }, { id: '', success: true, errors: [] });
assert.match(created.id, /^001[A-Za-z0-9]{15}$/, 'an id has 18 characters');

const read = await accounts.retrieve(created.id);
assert.equal(read.attributes.type, 'Account');
assert.equal(read.Name, 'Acme');
assert.equal(read.IsDeleted, false);
assert.match(read.CreatedDate, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+0000$/);
const byShortId = await accounts.retrieve(created.id.slice(0, 15));
assert.equal(byShortId.Id, created.id, 'an id of 15 characters names the same record');

const updated = await accounts.update({ Id: created.id, Industry: null, BillingCity: 'Lyon' });
assert.deepEqual(updated, { id: created.id, success: true, errors: [] });
const reread = await connection.sobject('Account').retrieve(created.id);
assert.equal(reread.Industry, null, 'null clears a field');
assert.equal(reread.BillingCity, 'Lyon');
assert.equal(reread.Name, 'Acme', 'what is not named stays');

const second = await accounts.upsert({ External_Id__c: 'js 2 é', Name: 'Borg' }, 'External_Id__c');
assert.equal(second.created, true);
const again = await accounts.upsert({ External_Id__c: 'js 2 é', Name: 'Borg AG' }, 'External_Id__c');
assert.deepEqual(again, { id: second.id, success: true, errors: [], created: false });

const contact = await connection.sobject('Contact').create({ LastName: 'Ito', Account: { External_Id__c: 'js-1' } });
const [ito] = await connection.sobject('Contact').find({ Id: contact.id }, 'LastName, Account.Name').execute();
assert.equal(ito.Account.Name, 'Acme', 'a parent is named by its external id');

await refused(accounts.create({ Industry: 'Media' }), 'REQUIRED_FIELD_MISSING', 'an account without a name');
await refused(accounts.create({ Name: 'x', Nope__c: 1 }), 'INVALID_FIELD', 'a field that is not there');
await refused(accounts.create({ Name: 'x'.repeat(256) }), 'STRING_TOO_LONG', 'a name of 256 characters');
await refused(connection.sobject('Accout').create({ Name: 'x' }), 'NOT_FOUND', 'an object that is not there');
const twin = await refused(accounts.create({ Name: 'x', External_Id__c: 'js-1' }), 'DUPLICATE_VALUE', 'a second js-1');
assert.match(twin.message, new RegExp(created.id.slice(0, 15)), 'the message names the record in the way');

const gone = await accounts.delete(second.id);
assert.deepEqual(gone, { id: second.id, success: true, errors: [] });
await refused(accounts.delete(second.id), 'ENTITY_IS_DELETED', 'a second delete');

const limits = connection.limitInfo.apiUsage;
assert.ok(limits.used > 0 && limits.limit >= limits.used, 'each answer says how many calls were used');
assert.deepEqual(Object.keys(bare(ito)), ['LastName', 'Account']);
