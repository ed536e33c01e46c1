// What the Pub/Sub scenarios need: a connected client, and its callbacks as promises.

import assert from 'node:assert/strict';
import PubSubApiClient from 'salesforce-pubsub-api-client';
import { connect, given, org } from './org.mjs';

/** The client logs to the console unless it is told otherwise; its errors reach us by callback. */
const silent = { debug() {}, info() {}, warn() {}, error() {} };

// The client brings its own list of authorities and takes no other, so it has to trust blindly.
const endpoint = { pubSubEndpoint: new URL(given('ORG_GRPCS')).host, rejectUnauthorizedSsl: false };

/** Connects with these settings of authentication. */
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

/** Everything that a subscription says, in order, and a way to wait for some of it. */
export class Heard {
  #said = [];
  #waiting = [];

  /** The function to subscribe with. */
  callback = (subscription, type, data) => {
    this.#said.push({ type, data, subscription: { ...subscription } });
    this.#waiting = this.#waiting.filter((look) => !look());
  };

  all(type) {
    return this.#said.filter((one) => one.type === type);
  }

  /** Resolves with the data of the first `count` callbacks of a type. An unforeseen error ends it. */
  until(type, count = 1) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.all(type);
        const [error] = this.all('error');
        if (found.length >= count) resolve(found.slice(0, count).map((one) => one.data));
        else if (error) reject(error.data);
        else return false;
        return true;
      };
      if (!look()) this.#waiting.push(look);
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
  const said = { entityName, changeType, recordIds, changedFields, nulledFields };
  const wanted = { entityName: 'Account', changedFields: [], nulledFields: [], ...expected };
  assert.deepEqual(said, wanted, `header of ${JSON.stringify(recordIds)}`);
  return { header, fields };
}

/** Ends the scenario. Closing a client leaves its stream open, and that keeps Node running. */
export function leave() {
  process.exit(0);
}
