// The Salesforce CLI: import and export of trees.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { json, login, sf } from './cli.mjs';

login();
const contact = (id, name) => ({ attributes: { type: 'Contact', referenceId: id }, LastName: name });
const account = (id, name, contacts) => ({
  attributes: { type: 'Account', referenceId: id },
  Name: name,
  External_Id__c: id,
  Contacts: { records: contacts },
});
const records = [account('a1', 'Oak', [contact('c1', 'Leaf'), contact('c2', 'Root')]), account('a2', 'Elm', [])];
delete records[1].Contacts;
writeFileSync('tree.json', JSON.stringify({ records }));
const imported = sf('data', 'import', 'tree', '--files', 'tree.json');
assert.deepEqual(imported.map((one) => one.refId).sort(), ['a1', 'a2', 'c1', 'c2']);

const soql = 'SELECT Name, Site, (SELECT LastName FROM Contacts ORDER BY LastName) FROM Account ORDER BY Name';
sf('data', 'export', 'tree', '--query', soql, '--output-dir', 'out', '--plan');
const plan = json('out/Account-Contact-plan.json');
assert.deepEqual(plan.map((step) => step.sobject), ['Account', 'Contact']);
const accounts = json('out/Account.json').records;
assert.deepEqual(accounts.map((one) => one.Name), ['Elm', 'Oak']);
const contacts = json('out/Contact.json').records;
assert.deepEqual(contacts.map((one) => [one.LastName, one.AccountId]), [
  ['Leaf', `@${accounts[1].attributes.referenceId}`],
  ['Root', `@${accounts[1].attributes.referenceId}`],
]);

// What was exported can be imported again.
const again = sf('data', 'import', 'tree', '--plan', 'out/Account-Contact-plan.json');
assert.equal(again.length, 4);
