// Shared by the Pub/Sub scenarios: a connected client, and its callbacks as promises.

import assert from 'node:assert/strict';
import PubSubApiClient from 'salesforce-pubsub-api-client';
import { connect, given, org } from './org.mjs';

/** The client logs to the console by default. Its errors also arrive by callback. */
const silent = { debug() {}, info() {}, warn() {}, error() {} };

// The client has its own list of authorities that cannot be extended, so verification is off.
const endpoint = { pubSubEndpoint: new URL(given('ORG_GRPCS')).host, rejectUnauthorizedSsl: false };

/** Connects with these authentication settings. */
export async function connectedWith(authentication) {
  const client = new PubSubApiClient({ ...endpoint, ...authentication }, silent);
  await client.connect();
  return client;
}

/** Connects with the session of a jsforce connection, and returns both. */
export async function connected() {
  const connection = await connect(org.https);
  const client = await connectedWith({
    authType: 'user-supplied',
    accessToken: connection.accessToken,
    instanceUrl: connection.instanceUrl,
    organizationId: connection.userInfo.organizationId,
  });
  return { client, connection };
}

/** Records all callbacks of a subscription, in order, and can wait for some of them. */
export class Callbacks {
  #callbacks = [];
  #waiting = [];

  /** The function to subscribe with. */
  callback = (subscription, type, data) => {
    this.#callbacks.push({ type, data, subscription: { ...subscription } });
    this.#waiting = this.#waiting.filter((check) => !check());
  };

  all(type) {
    return this.#callbacks.filter((one) => one.type === type);
  }

  /** Resolves with the data of the first `count` callbacks of a type. Rejects at an error callback. */
  until(type, count = 1) {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = this.all(type);
        const [error] = this.all('error');
        if (found.length >= count) resolve(found.slice(0, count).map((one) => one.data));
        else if (error) reject(error.data);
        else return false;
        return true;
      };
      if (!check()) this.#waiting.push(check);
    });
  }

  /** Resolves with the payloads of the first `count` events. */
  async events(count) {
    return this.until('event', count);
  }
}

/** Asserts what a change event's header says, and returns its payload. */
export function change(event, expected) {
  const { ChangeEventHeader: header, ...fields } = event.payload;
  const { entityName, changeType, recordIds, changedFields, nulledFields } = header;
  const actual = { entityName, changeType, recordIds, changedFields, nulledFields };
  const wanted = { entityName: 'Account', changedFields: [], nulledFields: [], ...expected };
  assert.deepEqual(actual, wanted, `header of ${JSON.stringify(recordIds)}`);
  return { header, fields };
}

/** Ends the scenario. Closing a client leaves its stream open, and that keeps Node running. */
export function leave() {
  process.exit(0);
}
