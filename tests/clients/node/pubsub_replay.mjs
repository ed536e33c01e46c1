// salesforce-pubsub-api-client: events before the subscription.

import assert from 'node:assert/strict';
import { Callbacks, change, connected, leave } from './pubsub.mjs';

const topic = '/data/AccountChangeEvent';
const { client, connection } = await connected();
const accounts = connection.sobject('Account');
const ids = [];
for (const Name of ['One', 'Two', 'Three']) ids.push((await accounts.create({ Name })).id);

const first = new Callbacks();
client.subscribeFromEarliestEvent(topic, first.callback, 3);
const events = await first.events(3);
events.forEach((event, n) => change(event, { changeType: 'CREATE', recordIds: [ids[n]] }));
const replayIds = events.map((event) => event.replayId);
assert.ok(replayIds[0] < replayIds[1] && replayIds[1] < replayIds[2], 'oldest first');
await first.until('lastEvent');
assert.equal(first.all('event').at(-1).subscription.lastReplayId, replayIds[2]);

// Another subscription, strictly after the first event. The client sends back only eight of the
// ten bytes of a replay id.
const again = await connected();
const second = new Callbacks();
again.client.subscribeFromReplayId(topic, second.callback, 2, replayIds[0]);
const rest = await second.events(2);
assert.deepEqual(rest.map((event) => event.payload.ChangeEventHeader.recordIds[0]), ids.slice(1));
assert.deepEqual(rest.map((event) => event.replayId), replayIds.slice(1), 'an event keeps its replay id');

// After the last event nothing arrives until there is a new event.
const third = await connected();
const callbacks = new Callbacks();
third.client.subscribeFromReplayId(topic, callbacks.callback, 1, replayIds[2]);
await callbacks.until('grpcKeepAlive');
assert.deepEqual(callbacks.all('event'), []);
await accounts.update({ Id: ids[0], Name: 'One again' });
const [update] = await callbacks.events(1);
change(update, { changeType: 'UPDATE', recordIds: [ids[0]], changedFields: ['Name', 'LastModifiedDate'] });

// Every object of the org on one stream, each event with its own schema.
const contact = await connection.sobject('Contact').create({ LastName: 'Ito', FirstName: 'Aki' });
const all = await connected();
const mixed = new Callbacks();
all.client.subscribeFromReplayId('/data/ChangeEvents', mixed.callback, 2, replayIds[2]);
const [account, contactEvent] = await mixed.events(2);
assert.equal(account.payload.ChangeEventHeader.entityName, 'Account');
const { fields } = change(contactEvent, { entityName: 'Contact', changeType: 'CREATE', recordIds: [contact.id] });
assert.deepEqual([fields.Name.FirstName, fields.Name.LastName], ['Aki', 'Ito']);
assert.notEqual(account.schemaId, contactEvent.schemaId);

client.close();
leave();
