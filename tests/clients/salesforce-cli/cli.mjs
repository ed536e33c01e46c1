// Shared by all scenarios: the Salesforce CLI as a program, and its login.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = dirname(fileURLToPath(import.meta.url));

/** Where npm installs a package. */
export const installed = (name) => join(folder, 'node_modules', name);

const program = join(installed('@salesforce/cli'), 'bin/run.js');

/** Maximum duration of a command in milliseconds. */
const TIME_MAX = 100_000;

/** Returns what the harness has set. */
export function given(name) {
  const value = process.env[name];
  assert.ok(value, `the harness sets ${name}`);
  return value;
}

/** Runs a command in a process of its own, as a person would. */
export function spawn(words, more = {}) {
  const env = { ...process.env, SF_DISABLE_TELEMETRY: 'true', SF_AUTOUPDATE_DISABLE: 'true', SF_TARGET_ORG: 'local' };
  return spawnSync(process.execPath, [program, ...words], {
    env: { ...env, ...more },
    encoding: 'utf8',
    timeout: TIME_MAX,
  });
}

/** Runs a command with `--json` and returns its result. */
export function sf(...words) {
  const ended = spawn([...words, '--json']);
  assert.equal(ended.status, 0, `sf ${words.join(' ')}: ${ended.stdout}${ended.stderr}`);
  return JSON.parse(ended.stdout).result;
}

/** Asserts that a command fails, and returns its error. */
export function refused(...words) {
  const ended = spawn([...words, '--json']);
  assert.notEqual(ended.status, 0, `sf ${words.join(' ')}: ${ended.stdout}`);
  return JSON.parse(ended.stdout);
}

/** Logs in by a signed assertion, under the alias `local`. */
export function login() {
  return sf(
    ...['org', 'login', 'jwt', '--alias', 'local', '--client-id', given('ORG_CLIENT_ID')],
    ...['--jwt-key-file', given('ORG_KEY_FILE'), '--username', given('ORG_USERNAME')],
    ...['--instance-url', given('ORG_HTTP')],
  );
}

/** Returns a file of this scenario as JSON. */
export const json = (path) => JSON.parse(readFileSync(path, 'utf8'));
