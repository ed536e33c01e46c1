// jsforce: OAuth client credentials, identity, and an expired session.

import assert from 'node:assert/strict';
import jsforce from 'jsforce';
import { connect, org, refused } from './org.mjs';

const oauth2 = (changes) =>
  new jsforce.OAuth2({ loginUrl: org.http, clientId: org.clientId, clientSecret: org.clientSecret, ...changes });
const grant = { grant_type: 'client_credentials' };

const token = await oauth2().requestToken(grant);
assert.equal(token.token_type, 'Bearer');
assert.equal(token.instance_url, org.http, 'the instance is the org that was asked');
assert.match(token.access_token, /^00D[A-Za-z0-9]{12}!/, 'a token begins with the 15 characters of its org');

await refused(oauth2({ clientId: 'unknown' }).requestToken(grant), 'invalid_client_id', 'an unknown app');
await refused(oauth2({ clientSecret: 'wrong' }).requestToken(grant), 'invalid_client', 'a wrong secret');
await refused(oauth2().requestToken({ grant_type: 'guess' }), 'unsupported_grant_type', 'an unknown grant');

const connection = await connect();
const organization = connection.userInfo.organizationId;
assert.equal(organization.slice(0, 15), token.access_token.split('!')[0], 'the user belongs to the org of the token');
const identity = await connection.identity();
assert.equal(identity.username, org.username);
assert.equal(identity.organization_id, organization);
assert.equal(identity.user_id, connection.userInfo.id);

// jsforce refreshes once on a 401, here with a function of the application.
let refreshes = 0;
const revived = new jsforce.Connection({
  instanceUrl: org.http,
  accessToken: `${token.access_token.split('!')[0]}!dead`,
  version: '62.0',
  refreshFn: async (_connection, done) => {
    refreshes += 1;
    done(null, (await oauth2().requestToken(grant)).access_token);
  },
});
const answer = await revived.query('SELECT Id FROM User');
assert.equal(answer.totalSize, answer.records.length);
assert.equal(refreshes, 1, 'a dead token is replaced once');

const dead = new jsforce.Connection({ instanceUrl: org.http, accessToken: 'dead', version: '62.0' });
await refused(dead.query('SELECT Id FROM User'), 'INVALID_SESSION_ID', 'an expired token without a refresh');
