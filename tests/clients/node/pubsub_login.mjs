// salesforce-pubsub-api-client: logins without a password.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { given, org } from './org.mjs';
import { Callbacks, connectedWith, leave } from './pubsub.mjs';

const oauth = { loginUrl: org.https, clientId: org.clientId };
const ways = {
  'oauth-client-credentials': { ...oauth, clientSecret: org.clientSecret },
  'oauth-jwt-bearer': {
    ...oauth,
    username: org.username,
    privateKey: readFileSync(given('ORG_KEY_FILE')),
  },
};

for (const [authType, settings] of Object.entries(ways)) {
  const client = await connectedWith({ authType, ...settings });
  const callbacks = new Callbacks();
  client.subscribe('/data/AccountChangeEvent', callbacks.callback, 1);
  await callbacks.until('grpcKeepAlive');
  assert.deepEqual(callbacks.all('event'), [], `${authType}: nothing has happened yet`);
}

await assert.rejects(
  connectedWith({ authType: 'oauth-client-credentials', ...oauth, clientSecret: 'wrong' }),
  (error) => /HTTP 400 - .*invalid_client/.test(error.cause.message),
  'a wrong secret',
);

const stranger = await connectedWith({
  authType: 'user-supplied',
  accessToken: '00D5g00000Ab1cd!dead',
  instanceUrl: org.https,
  organizationId: '00D5g00000Ab1cd',
});
const callbacks = new Callbacks();
stranger.subscribe('/data/AccountChangeEvent', callbacks.callback, 1);
const [error] = await callbacks.until('error');
assert.equal(error.code, 16, 'a dead token is UNAUTHENTICATED');
assert.deepEqual(error.metadata.get('error-code'), ['sfdc.platform.eventbus.grpc.service.auth.error']);
leave();
