// salesforce-pubsub-api-client: the ways to log in that need no password.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { given, org } from './org.mjs';
import { Heard, connectedWith, leave } from './pubsub.mjs';

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
  const heard = new Heard();
  client.subscribe('/data/AccountChangeEvent', heard.callback, 1);
  await heard.until('grpcKeepAlive');
  assert.deepEqual(heard.all('event'), [], `${authType}: nothing has happened yet`);
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
const heard = new Heard();
stranger.subscribe('/data/AccountChangeEvent', heard.callback, 1);
const [error] = await heard.until('error');
assert.equal(error.code, 16, 'a dead token is UNAUTHENTICATED');
assert.deepEqual(error.metadata.get('error-code'), ['sfdc.platform.eventbus.grpc.service.auth.error']);
leave();
