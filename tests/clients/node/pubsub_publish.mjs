// salesforce-pubsub-api-client: platform events, published and received.

import assert from 'node:assert/strict';
import { Callbacks, connected, leave } from './pubsub.mjs';

const topic = '/event/Sync_Marker__e';
const { client, connection } = await connected();
const payload = (key) => ({
  CreatedDate: Date.now(),
  CreatedById: connection.userInfo.id,
  Key__c: { string: key },
  At__c: null,
});

const callbacks = new Callbacks();
client.subscribe(topic, callbacks.callback, 3);
await callbacks.until('grpcKeepAlive');

const published = await client.publish(topic, payload('k-1'), 'mine');
assert.equal(published.correlationKey, 'mine', 'the key that we gave comes back');
assert.ok(published.replayId > 0);

const answered = new Promise((resolve) => {
  const events = ['k-2', 'k-3'].map((key) => ({ id: `id of ${key}`, payload: payload(key) }));
  client.publishBatch(topic, events, (_info, type, data) => {
    if (type === 'publishResponse') resolve(data.results);
  });
});
const keys = (await answered).map((one) => one.correlationKey);
assert.deepEqual(keys, ['id of k-2', 'id of k-3'], 'each event of a batch is answered');

const events = await callbacks.events(3);
assert.deepEqual(events.map((event) => event.payload.Key__c), ['k-1', 'k-2', 'k-3']);
assert.equal(events[0].replayId, published.replayId, 'an event has the replay id that its publisher got');
assert.equal(events[0].payload.CreatedById, connection.userInfo.id);

const byRest = await connection.sobject('Sync_Marker__e').create({ Key__c: 'k-4' });
assert.equal(byRest.success, true);
client.requestAdditionalEvents(topic, 1);
const more = await callbacks.events(4);
assert.equal(more[3].payload.Key__c, 'k-4', 'an event published by REST');

const refused = client.publish('/data/AccountChangeEvent', payload('k-5'));
await assert.rejects(refused, 'change events cannot be published');
leave();
