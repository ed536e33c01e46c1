// jsforce: describe, limits and versions.

import assert from 'node:assert/strict';
import { connect, org, refused } from './org.mjs';

const connection = await connect();

const versions = await connection.request('/services/data');
assert.ok(versions.some((one) => one.version === '62.0' && one.url === '/services/data/v62.0'));
const resources = await connection.request('/services/data/v62.0');
assert.equal(resources.sobjects, '/services/data/v62.0/sobjects');

const all = await connection.describeGlobal();
assert.equal(all.maxBatchSize, 200);
const listed = all.sobjects.find((one) => one.name === 'Contact');
assert.deepEqual([listed.keyPrefix, listed.custom, listed.createable], ['003', false, true]);

const account = await connection.describe('Account');
const field = (name) => account.fields.find((one) => one.name === name);
assert.deepEqual([field('Name').type, field('Name').length, field('Name').nillable], ['string', 255, false]);
assert.deepEqual([field('Id').type, field('Id').createable, field('Id').idLookup], ['id', false, true]);
assert.deepEqual([field('External_Id__c').externalId, field('External_Id__c').unique], [true, true]);
assert.deepEqual(field('ParentId').referenceTo, ['Account']);
assert.equal(field('BillingCity').compoundFieldName, 'BillingAddress');
assert.equal(field('BillingAddress').type, 'address');
assert.ok(field('Industry').picklistValues.some((one) => one.value === 'Media' && one.active));
assert.ok(account.childRelationships.some((one) => one.childSObject === 'Contact' && one.relationshipName === 'Contacts'));
assert.ok(account.recordTypeInfos.some((one) => one.master), 'each object has its master record type');

const cached = await connection.describe$('Account');
assert.equal(cached.name, 'Account');
const sobject = await connection.sobject('Account').describe();
assert.equal(sobject.fields.length, account.fields.length);

await refused(connection.describe('Accout'), 'NOT_FOUND', 'an object that is not there');

const limits = await connection.limits();
assert.ok(limits.DailyApiRequests.Max >= limits.DailyApiRequests.Remaining);
assert.equal((await connection.identity()).username, org.username);
