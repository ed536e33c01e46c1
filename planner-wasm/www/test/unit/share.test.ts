import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";
import { EXAMPLES, SAMPLE_CONFIG, firstExample } from "../../src/examples";
import { InputError } from "../../src/json";
import { pack, readAddress, unpack } from "../../src/share";

test("a link keeps any state as it was", async () => {
  for (const { record } of EXAMPLES) {
    const shared = { config: `${SAMPLE_CONFIG}# </script>\u2028 "\\" ${"\ud83d\ude00"}`, object: "Account", record };
    assert.deepEqual(await unpack(await pack(shared)), shared);
  }
});

test("a packed state needs no escape in an address", async () => {
  const state = await pack({ config: SAMPLE_CONFIG, object: "Account", record: firstExample().record });
  assert.match(state, /^[\w-]+$/);
  assert.equal(readAddress(`#view=policies&state=${state}`).state, state);
});

const packed = (bytes: string): string => deflateRawSync(bytes).toString("base64url");

for (const [what, state, says] of [
  ["text that is not base64", "***", /damaged/],
  ["bytes that are not deflated", "AAAA", /damaged/],
  ["text that is not JSON", packed("nothing"), /not JSON/],
  ["a list", packed("[]"), /JSON object/],
  ["a state without a configuration", packed('{"object":"A","record":{"external_id":"A"}}'), /^config: /],
  ["an invalid record", packed('{"config":"","object":"A","record":7}'), /JSON object/],
  ["a hundred megabytes in a hundred kilobytes", packed("x".repeat(100_000_000)), /more than this page can read/],
] as const) {
  test(`a link that holds ${what} is an error with a reason`, async () => {
    await assert.rejects(unpack(state), (error) => error instanceof InputError && says.test(error.message));
  });
}

test("an endless address is refused unread", () => {
  assert.throws(() => readAddress(`#state=${"A".repeat(1_000_000)}`), /too long/);
});

test("an unknown view is ignored", () => {
  assert.deepEqual(readAddress("#view=constructor&example=x"), { view: undefined, example: "x", state: undefined });
});
