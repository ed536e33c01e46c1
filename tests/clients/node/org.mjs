// Shared by all scenarios: the addresses of the org, a logged-in connection, an expected refusal.

import assert from 'node:assert/strict';
import jsforce from 'jsforce';

/** Returns what the harness has set. */
export function given(name) {
  const value = process.env[name];
  assert.ok(value, `the harness sets ${name}`);
  return value;
}

export const org = {
  http: given('ORG_HTTP'),
  get https() {
    return given('ORG_HTTPS');
  },
  clientId: given('ORG_CLIENT_ID'),
  clientSecret: given('ORG_CLIENT_SECRET'),
  username: given('ORG_USERNAME'),
};

/** Logs in by client credentials, in plaintext unless the address says otherwise. */
export async function connect(address = org.http) {
  const connection = new jsforce.Connection({
    instanceUrl: address,
    version: '62.0',
    oauth2: { loginUrl: address, clientId: org.clientId, clientSecret: org.clientSecret },
    callOptions: { client: 'jsforce' },
  });
  await connection.authorize({ grant_type: 'client_credentials' });
  return connection;
}

/** Asserts that a promise is refused with this error code, and returns the error. */
export async function refused(promise, code, what) {
  try {
    const answer = await promise;
    assert.fail(`${what}: expected ${code}, got ${JSON.stringify(answer)}`);
  } catch (error) {
    if (error.code === 'ERR_ASSERTION') throw error;
    assert.equal(error.errorCode ?? error.name, code, `${what}: ${error.message}`);
    return error;
  }
}

/** Leaves out what Salesforce adds to each record it returns. */
export function bare(record) {
  const { attributes, ...fields } = record;
  return fields;
}
