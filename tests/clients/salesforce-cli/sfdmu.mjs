// sfdmu, a plugin of the Salesforce CLI: from CSV files to the org, and back.
//
// This version finds orgs with a command that the CLI no longer has, so the session is in its file.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { given, installed, login, sf, spawn } from './cli.mjs';

login();
const linked = spawn(['plugins', 'link', installed('sfdmu'), '--no-install']);
assert.equal(linked.status, 0, linked.stderr);
const { accessToken } = sf('org', 'auth', 'show-access-token');

const account = { query: 'SELECT Id, Name, External_Id__c, Industry FROM Account', operation: 'Upsert', externalId: 'External_Id__c' };
const contact = { query: 'SELECT Id, LastName, Email, AccountId FROM Contact', operation: 'Upsert', externalId: 'Email' };

/** Runs sfdmu on a folder with these settings. */
function migrate(folder, from, to, settings) {
  const orgs = [{ name: 'local', instanceUrl: given('ORG_HTTP'), accessToken }];
  writeFileSync(`${folder}/export.json`, JSON.stringify({ objects: [account, contact], orgs, apiVersion: '62.0', ...settings }));
  const ended = spawn(['sfdmu', 'run', '--sourceusername', from, '--targetusername', to, '--path', folder, '--noprompt']);
  assert.equal(ended.status, 0, `${ended.stdout}${ended.stderr}`);
}

/** Writes the files that are moved to the org. */
function write(folder, accounts, contacts) {
  mkdirSync(folder);
  writeFileSync(`${folder}/Account.csv`, `External_Id__c,Name,Industry\n${accounts.join('\n')}\n`);
  writeFileSync(`${folder}/Contact.csv`, `Email,LastName,Account.External_Id__c\n${contacts.join('\n')}\n`);
}

write('rest', ['m-1,"Moved, one",Media', 'm-2,Moved two,'], ['ito@acme.example,Ito,m-1', 'kim@acme.example,Kim,m-2']);
migrate('rest', 'csvfile', 'local', {});

write('bulk1', ['m-1,"Moved, one",Energy', 'm-3,Moved three,'], ['lee@acme.example,Lee,m-3']);
migrate('bulk1', 'csvfile', 'local', { bulkThreshold: 0, bulkApiVersion: '1.0' });

write('bulk2', ['m-2,Moved two,Retail', 'm-4,Moved four,'], ['kim@acme.example,Kim,m-4']);
migrate('bulk2', 'csvfile', 'local', { bulkThreshold: 0, bulkApiVersion: '2.0' });

mkdirSync('back');
migrate('back', 'local', 'csvfile', {});
const lines = (path) => readFileSync(path, 'utf8').trim().split('\n').length - 1;
assert.deepEqual([lines('back/Account.csv'), lines('back/Contact.csv')], [4, 3], 'rows that came back');
