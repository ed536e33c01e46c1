// salesforce-pubsub-api-client: what happened before we subscribed.

import assert from 'node:assert/strict';
import { Heard, change, connected, leave } from './pubsub.mjs';

const topic = '/data/AccountChangeEvent';
const { client, connection } = await connected();
const accounts = connection.sobject('Account');
const ids = [];
for (const Name of ['One', 'Two', 'Three']) ids.push((await accounts.create({ Name })).id);

const first = new Heard();
client.subscribeFromEarliestEvent(topic, first.callback, 3);
const events = await first.events(3);
events.forEach((event, n) => change(event, { changeType: 'CREATE', recordIds: [ids[n]] }));
const replayIds = events.map((event) => event.replayId);
assert.ok(replayIds[0] < replayIds[1] && replayIds[1] < replayIds[2], 'oldest first');
await first.until('lastEvent');
assert.equal(first.all('event').at(-1).subscription.lastReplayId, replayIds[2]);

// Another subscription, from strictly behind the first event. The client sends back only eight of
// the ten bytes of a replay id.
const again = await connected();
const second = new Heard();
again.client.subscribeFromReplayId(topic, second.callback, 2, replayIds[0]);
const rest = await second.events(2);
assert.deepEqual(rest.map((event) => event.payload.ChangeEventHeader.recordIds[0]), ids.slice(1));
assert.deepEqual(rest.map((event) => event.replayId), replayIds.slice(1), 'an event keeps its replay id');

// From the last event on there is nothing, until there is.
const third = await connected();
const heard = new Heard();
third.client.subscribeFromReplayId(topic, heard.callback, 1, replayIds[2]);
await heard.until('grpcKeepAlive');
assert.deepEqual(heard.all('event'), []);
await accounts.update({ Id: ids[0], Name: 'One again' });
const [update] = await heard.events(1);
change(update, { changeType: 'UPDATE', recordIds: [ids[0]], changedFields: ['Name', 'LastModifiedDate'] });

// Every object of the org on one stream, each event with its own schema.
const contact = await connection.sobject('Contact').create({ LastName: 'Ito', FirstName: 'Aki' });
const all = await connected();
const mixed = new Heard();
all.client.subscribeFromReplayId('/data/ChangeEvents', mixed.callback, 2, replayIds[2]);
const [account, person] = await mixed.events(2);
assert.equal(account.payload.ChangeEventHeader.entityName, 'Account');
const { fields } = change(person, { entityName: 'Contact', changeType: 'CREATE', recordIds: [contact.id] });
assert.deepEqual([fields.Name.FirstName, fields.Name.LastName], ['Aki', 'Ito']);
assert.notEqual(account.schemaId, person.schemaId);

client.close();
leave();
