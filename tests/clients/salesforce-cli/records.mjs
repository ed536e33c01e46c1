// The Salesforce CLI: logins, single records, queries, plain REST.

import assert from 'node:assert/strict';
import { given, login, refused, sf, spawn } from './cli.mjs';

const session = login();
assert.equal(session.username, given('ORG_USERNAME'));
assert.equal(session.instanceUrl, given('ORG_HTTP'));
const shown = sf('org', 'display');
assert.equal(shown.connectedStatus, 'Connected');
assert.equal(shown.id, session.orgId);
// The token is only shown when asked for by name.
const { accessToken } = sf('org', 'auth', 'show-access-token');

const created = sf('data', 'create', 'record', '--sobject', 'Account', '--values', "Name='Acme Corp' External_Id__c=sf-1 NumberOfEmployees=7");
assert.equal(created.success, true);
const byKey = ['--sobject', 'Account', '--where', 'External_Id__c=sf-1'];
const record = sf('data', 'get', 'record', ...byKey);
assert.deepEqual([record.Id, record.Name, record.NumberOfEmployees], [created.id, 'Acme Corp', 7]);
sf('data', 'update', 'record', '--sobject', 'Account', '--record-id', created.id, '--values', "Industry='Media' Site=''");
assert.equal(sf('data', 'get', 'record', '--sobject', 'Account', '--record-id', created.id).Industry, 'Media');

const soql = 'SELECT Id, Name, Owner.Username, (SELECT LastName FROM Contacts) FROM Account';
const found = sf('data', 'query', '--query', soql);
assert.equal(found.totalSize, 1);
assert.equal(found.records[0].Owner.Username, given('ORG_USERNAME'));
assert.equal(found.records[0].Contacts, null);
// The table needs the org's description of the columns.
const table = spawn(['data', 'query', '--query', 'SELECT Industry, COUNT(Id) total FROM Account GROUP BY Industry', '--result-format', 'csv']);
assert.equal(table.stdout, 'Industry,total\nMedia,1\n', table.stderr);
assert.match(refused('data', 'query', '--query', 'SELECT Nope__c FROM Account').message, /No such column 'Nope__c'/);
assert.match(refused('data', 'create', 'record', '--sobject', 'Account', '--values', 'Site=a').message, /Required fields are missing: \[Name\]/);

const limits = JSON.parse(spawn(['api', 'request', 'rest', '/services/data/v62.0/limits']).stdout);
assert.ok(limits.DailyApiRequests.Remaining > 0, 'a plain call');
const body = JSON.stringify({ Description: 'by a plain call' });
const plain = spawn(['api', 'request', 'rest', `/services/data/v62.0/sobjects/Account/${created.id}`, '--method', 'PATCH', '--body', body]);
assert.equal(plain.status, 0, plain.stderr);

const other = spawn(['org', 'login', 'access-token', '--instance-url', given('ORG_HTTP'), '--no-prompt', '--alias', 'other', '--json'], {
  SF_ACCESS_TOKEN: accessToken,
});
assert.equal(other.status, 0, other.stdout);
assert.equal(JSON.parse(other.stdout).result.orgId, session.orgId, 'a login by an access token');
sf('data', 'create', 'record', '--target-org', 'other', '--sobject', 'Account', '--values', 'Name=Gone External_Id__c=sf-2');
sf('data', 'delete', 'record', '--sobject', 'Account', '--where', 'External_Id__c=sf-2');
assert.equal(refused('data', 'get', 'record', '--sobject', 'Account', '--where', 'External_Id__c=sf-2').name, 'DataRecordGetNoRecord');
