// salesforce-pubsub-api-client: decoded events after the subscription.

import assert from 'node:assert/strict';
import { Callbacks, change, connected, leave } from './pubsub.mjs';

const { client, connection } = await connected();
const accounts = connection.sobject('Account');
const before = await accounts.create({ Name: 'Before' });

const callbacks = new Callbacks();
client.subscribe('/data/AccountChangeEvent', callbacks.callback, 4);
await callbacks.until('grpcKeepAlive');

const { id } = await accounts.create({ Name: 'Acme', Industry: 'Media', BillingCity: 'Lyon', AnnualRevenue: 5.5 });
await accounts.update({ Id: id, BillingCity: 'Paris', BillingStreet: 'Rue 1', Industry: null, NumberOfEmployees: 7 });
await accounts.update({ Id: id, Active__c: true });
await accounts.delete(id);
const [created, updated, checked, deleted] = await callbacks.events(4);

const creation = change(created, { changeType: 'CREATE', recordIds: [id] });
assert.notEqual(id, before.id);
assert.equal(creation.fields.Name, 'Acme');
assert.equal(creation.fields.Industry, 'Media');
assert.equal(creation.fields.AnnualRevenue, 5.5);
assert.equal(creation.fields.BillingAddress.City, 'Lyon', 'parts of an address stand inside it');
assert.equal(creation.fields.ParentId, null);
assert.match(creation.header.changeOrigin, /^com\/salesforce\/api\/rest\/62\.0;client=jsforce$/);
assert.equal(creation.header.commitUser, connection.userInfo.id);

const fields = ['Industry', 'NumberOfEmployees', 'LastModifiedDate', 'BillingAddress.Street', 'BillingAddress.City'];
const update = change(updated, { changeType: 'UPDATE', recordIds: [id], changedFields: fields, nulledFields: ['Industry'] });
assert.equal(update.fields.Name, null, 'what did not change is null');
assert.equal(update.fields.Industry, null, 'a cleared field is null too: only the header shows the difference');
assert.equal(update.fields.NumberOfEmployees, 7);
assert.deepEqual([update.fields.BillingAddress.City, update.fields.BillingAddress.Street], ['Paris', 'Rue 1']);
assert.equal(update.fields.BillingAddress.Country, null);

const check = change(checked, { changeType: 'UPDATE', recordIds: [id], changedFields: ['LastModifiedDate', 'Active__c'] });
assert.equal(check.fields.Active__c, true);
change(deleted, { changeType: 'DELETE', recordIds: [id] });

const headers = [creation.header, update.header, check.header];
assert.equal(new Set(headers.map((one) => one.transactionKey)).size, 3, 'three transactions');
assert.ok(BigInt(headers[0].commitNumber) < BigInt(headers[1].commitNumber), 'in the order of their commits');

// All requested events have arrived; more arrive only on request.
await callbacks.until('lastEvent');
client.requestAdditionalEvents('/data/AccountChangeEvent', 1);
const late = await accounts.create({ Name: 'Late' });
const more = await callbacks.events(5);
change(more[4], { changeType: 'CREATE', recordIds: [late.id] });
leave();
