// salesforce-pubsub-api-client: managed subscriptions, where the org stores the position.
//
// The argument selects the part. Each part runs in its own process, because the client's stream
// ends only with its process.

import assert from 'node:assert/strict';
import { Callbacks, change, connected, leave } from './pubsub.mjs';

const NAME = 'Clients';
const { client, connection } = await connected();
const accounts = connection.sobject('Account');
const subscriptions = connection.tooling.sobject('ManagedEventSubscription');
const keyOf = (event) => event.payload.ChangeEventHeader.recordIds[0];

const parts = {
  async first() {
    const topicName = '/data/AccountChangeEvent';
    const Metadata = { label: NAME, topicName, defaultReplay: 'EARLIEST', errorRecoveryReplay: 'LATEST', state: 'RUN' };
    const { id } = await subscriptions.create({ FullName: NAME, Metadata });
    assert.match(id, /^18x/);
    const ids = [];
    for (const Name of ['One', 'Two', 'Three']) ids.push((await accounts.create({ Name })).id);

    const callbacks = new Callbacks();
    await client.subscribeWithManagedSubscription(NAME, callbacks.callback, 3);
    const events = await callbacks.events(3);
    assert.deepEqual(events.map(keyOf), ids, 'it starts at the earliest event');
    const [{ subscription }] = callbacks.all('event');
    assert.deepEqual([subscription.subscriptionId, subscription.isManaged], [id, true]);

    // The client reports the answer to a commit only as a keep-alive.
    const quiet = callbacks.all('grpcKeepAlive').length;
    assert.match(client.commitReplayId(id, events[1].replayId), /^[0-9a-f-]{36}$/);
    await callbacks.until('grpcKeepAlive', quiet + 1);

    const rival = await connected();
    const rivalCallbacks = new Callbacks();
    await rival.client.subscribeWithManagedSubscription(id, rivalCallbacks.callback, 1);
    const [error] = await rivalCallbacks.until('error');
    const code = 'sfdc.platform.eventbus.grpc.managed.subscription.already.active';
    assert.deepEqual(error.metadata.get('error-code'), [code], 'one client at a time');
  },

  async second() {
    const { records } = await connection.query("SELECT Id FROM Account WHERE Name = 'Three'");
    const callbacks = new Callbacks();
    await client.subscribeWithManagedSubscription(NAME, callbacks.callback, 1);
    const [third] = await callbacks.events(1);
    change(third, { changeType: 'CREATE', recordIds: [records[0].Id] });

    const [{ subscription }] = callbacks.all('event');
    client.requestAdditionalManagedEvents(subscription.subscriptionId, 1);
    const four = await accounts.create({ Name: 'Four' });
    const [, late] = await callbacks.events(2);
    change(late, { changeType: 'CREATE', recordIds: [four.id] });
  },

  async third() {
    const { records } = await connection.tooling.query(
      `SELECT Id, DeveloperName, Metadata FROM ManagedEventSubscription WHERE DeveloperName = '${NAME}'`,
    );
    await subscriptions.update({ Id: records[0].Id, Metadata: { ...records[0].Metadata, state: 'STOP' } });
    const stopped = client.subscribeWithManagedSubscription(NAME, () => {}, 1);
    await assert.rejects(stopped, /subscription is in STOP state/, 'a stopped subscription');
    const unknown = client.subscribeWithManagedSubscription('Nope', () => {}, 1);
    await assert.rejects(unknown, /Failed to retrieve managed event subscription/, 'an unknown subscription');
  },
};

await parts[process.argv[2]]();
leave();
