// salesforce-pubsub-api-client: the errors of invalid requests.

import assert from 'node:assert/strict';
import { Callbacks, connected, leave } from './pubsub.mjs';

const topic = '/data/AccountChangeEvent';
const INVALID_ARGUMENT = 3;

/** Subscribes, and claims that the stream ends with this error. */
async function fails(subscribe, status, code, what) {
  const { client, connection } = await connected();
  const callbacks = new Callbacks();
  subscribe(client, callbacks.callback);
  const [error] = await callbacks.until('error');
  assert.equal(error.code, status, `${what}: ${error.message}`);
  assert.deepEqual(error.metadata.get('error-code'), [`sfdc.platform.eventbus.grpc.${code}`], what);
  assert.deepEqual(callbacks.all('event'), [], `${what}: no event`);
  client.close();
  return { connection, error };
}

await fails(
  (client, callback) => client.subscribeFromReplayId(topic, callback, 1, 123456789),
  INVALID_ARGUMENT,
  'subscription.fetch.replayid.corrupted',
  'a replay id that never was',
);

const unknown = await fails(
  (client, callback) => client.subscribe('/data/NopeChangeEvent', callback, 1),
  5,
  'topic.not.found',
  'a topic that is not there',
);
assert.match(unknown.error.message, /rpcId: [0-9a-f-]{36}$/, 'an error names its call');

// The client checks a count before it sends anything.
const { client } = await connected();
assert.throws(
  () => client.subscribe(topic, () => {}, 0),
  (error) => /greater than 1/.test(error.cause.message),
  'a request for no events',
);
leave();
