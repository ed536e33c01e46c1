// salesforce-pubsub-api-client: managed subscriptions, where the org remembers the position.
//
// The argument names the part. A second process plays the second, because only the end of the
// process ends the first one's stream.

import assert from 'node:assert/strict';
import { Heard, change, connected, leave } from './pubsub.mjs';

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

    const heard = new Heard();
    await client.subscribeWithManagedSubscription(NAME, heard.callback, 3);
    const events = await heard.events(3);
    assert.deepEqual(events.map(keyOf), ids, 'it begins at the earliest event');
    const [{ subscription }] = heard.all('event');
    assert.deepEqual([subscription.subscriptionId, subscription.isManaged], [id, true]);

    // The client tells nobody of the answer to a commit but by a keep-alive.
    const quiet = heard.all('grpcKeepAlive').length;
    assert.match(client.commitReplayId(id, events[1].replayId), /^[0-9a-f-]{36}$/);
    await heard.until('grpcKeepAlive', quiet + 1);

    const rival = await connected();
    const told = new Heard();
    await rival.client.subscribeWithManagedSubscription(id, told.callback, 1);
    const [error] = await told.until('error');
    const code = 'sfdc.platform.eventbus.grpc.managed.subscription.already.active';
    assert.deepEqual(error.metadata.get('error-code'), [code], 'one client at a time');
  },

  async second() {
    const { records } = await connection.query("SELECT Id FROM Account WHERE Name = 'Three'");
    const heard = new Heard();
    await client.subscribeWithManagedSubscription(NAME, heard.callback, 1);
    const [third] = await heard.events(1);
    change(third, { changeType: 'CREATE', recordIds: [records[0].Id] });

    const [{ subscription }] = heard.all('event');
    client.requestAdditionalManagedEvents(subscription.subscriptionId, 1);
    const four = await accounts.create({ Name: 'Four' });
    const [, late] = await heard.events(2);
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
    await assert.rejects(unknown, /Failed to retrieve managed event subscription/, 'one that is not there');
  },
};

await parts[process.argv[2]]();
leave();
