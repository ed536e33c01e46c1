// Written from the Rust types by `SYNCLINE_WRITE_TYPES=1 cargo test -p planner-wasm --test declarations`.
// Do not edit: a test compares.

import type { ExactNumber, Json } from "./exact.js";

/** Whether both sides hold the record as one. */
export type Agreement = { "agreement": "stays" } | { "agreement": "begins", "after": Confirmation } | { "agreement": "ends", "after": Confirmation };

/** A way to Salesforce, as far as one envelope says. */
export type ApplyLane = "noop" | "conflict" | "rest" | "composite_graph" | "bulk";

/** The OAuth flows of a server without a person. */
export type AuthFlow = { "flow": "jwt",
  /** The Salesforce user name. */
  username: string,
} | { "flow": "client_credentials" };

/** Salesforce automation stored another value than the one we sent. */
export type AutomationOverride = {
  /** How often in a row. */
  count: number,
  /** The value we sent last. */
  sent: Value,
  /** The value that was stored instead. */
  stored: Value,
};

/** One step of the base. */
export type BaseAdvance = {
  /** The value both sides will hold. */
  value: Value,
  /** What must be confirmed first. */
  after: Confirmation,
};

/** The result of one row of a batch. */
export type BatchRow = { "outcome": "planned" } & PlannedRow | { "outcome": "refused" } & Problem;

/** A batch as a whole. */
export type BatchSummary = {
  /** Rows that were given. */
  rows: number,
  /** Rows that need neither a write nor a person. */
  settled: number,
  /** Rows with a conflict that waits for a person: in a field or in the whole record. Their other fields are written. */
  conflicting: number,
  /** The records of each lane that is used. */
  lanes: { [key in Lane]?: LaneLoad },
  /** Rows by the rule that decided about the record. */
  rules: { [key in Rule]?: number },
  /** Rows by what Postgres needs. */
  to_postgres: { [key in WriteKind]?: number },
  /** Rows by what Salesforce needs. */
  to_salesforce: { [key in WriteKind]?: number },
  /** API calls in all, an estimate. */
  calls: number,
  /** Bytes that go to Salesforce in all. */
  bytes: number,
  /** The lane of each row, in order. */
  routes: Array<Lane>,
};

/** How much of what an org allows in 24 hours may be used. */
export type BudgetConfig = {
  /** Percent of the API requests that are left to the org's other users. */
  reserve: number,
};

/** Something that each side may have one of. */
export type BySide<T> = {
  /** That of Postgres. */
  postgres?: T | null,
  /** That of Salesforce. */
  salesforce?: T | null,
};

/** How Salesforce's changes are captured. */
export type CaptureMode = "pubsub" | "relay" | "poll";

/** One observed change of one record. */
export type ChangeEnvelope = {
  /** Whose change it is. */
  key: SyncKey,
  /** The side it was observed on. */
  source: Side,
  /** What happened. */
  operation: ChangeOperation,
  /** Where it was seen. */
  cursor: SourceCursor,
  /** True when the record no longer exists on that side. */
  tombstone: boolean,
  /** The fields it carried, canonical JSON object; `null` for a tombstone. */
  payload: Json,
};

/** What happened to the record. */
export type ChangeOperation = "insert" | "update" | "delete" | "undelete" | "snapshot";

/** A column of a mapped table. Always quoted in SQL, so any name Postgres allows is allowed. */
export type ColumnName = string;

/** The whole of `syncline.toml`. */
export type Config = {
  /** Tenants by name. */
  tenants: { [key in TenantId]: TenantConfig },
};

/** A configuration that was checked. */
export type ConfigAnswer = {
  /** The configuration; null if there are mistakes. */
  config: Config | null,
  /** Its mistakes, by line. */
  mistakes: Array<Mistake>,
};

/** What must be confirmed before a base may move. */
export type Confirmation = "agreed" | "postgres" | "salesforce";

/** What decides when both sides changed a field without an owner to different values. */
export type ConflictPolicy = "manual_review" | "field_ownership" | "last_writer_wins" | "salesforce_wins" | "postgres_wins";

/** Whether a delete is written to the other side. */
export type DeleteMode = "propagate" | "soft" | "ignore";

/** What happens when one side deletes what the other side edited. */
export type DeleteOnEdit = "manual" | "delete_wins" | "edit_wins";

/** What happens to deletes. */
export type Deletes = {
  /** Whether a delete is written to the other side. */
  mode: DeleteMode,
  /** What happens when one side deletes what the other side edited. */
  on_edit: DeleteOnEdit,
  /** The timestamp column that [`DeleteMode::Soft`] fills instead of deleting the row. */
  column?: ColumnName | null,
  /** Deletes of an hour that need no approval, on either side; 0: no limit. Absent: the default. */
  max_per_hour?: number | null,
  /** The same of a day. Absent: three times those of an hour. */
  max_per_day?: number | null,
};

/** In which direction changes are written. */
export type Direction = "both" | "to_postgres" | "to_salesforce";

/** A value that a rule discarded. */
export type DiscardedValue = {
  /** The field. */
  field: FieldName,
  /** The side whose value was discarded. */
  side: Side,
  /** The discarded value. */
  value: Value,
  /** The rule. */
  rule: Rule,
  /** The times that were compared, if times were. */
  edited?: BySide<EditTime>,
};

/** Duplicate rules on our writes. */
export type DuplicateRules = "enforce" | "allow";

/** When a field was edited, milliseconds since the epoch, by the clock of its side. */
export type EditTime = {
  /** When; with `since_ms`, at the latest. */
  at_ms: number,
  /** The edit may have been made as early as this. */
  since_ms?: number | null,
};

/** Why the plan is what it is. */
export type Explanation = {
  /** The rule that decided about the record as a whole. */
  record: Rule,
  /** The rule that decided each field. */
  fields: { [key in FieldName]: Rule },
};

/** Field and column of the external id. */
export type ExternalId = {
  /** The Salesforce field, marked as external id and unique. */
  field: FieldName,
  /** The unique column. */
  column: ColumnName,
};

/** Where a fence is kept. */
export type FenceRef = string;

/** What two sides differ about. */
export type FieldConflict = {
  /** The field; none when one side deleted the record that the other edited. */
  field: FieldName | null,
  /** What both agreed on last. */
  base: Value | null,
  /** What Postgres holds; none when it deleted the record. In a conflict of the whole record:
   * what it edited, as canonical JSON text. */
  postgres: Value | null,
  /** What Salesforce holds, likewise. */
  salesforce: Value | null,
};

/** When the fields of each side were edited, where that is known and may matter. */
export type FieldEdits = {
  /** Those of the row. */
  postgres?: { [key in FieldName]: EditTime },
  /** Those of the Salesforce record. */
  salesforce?: { [key in FieldName]: EditTime },
};

/** Why one field's plan is what it is. */
export type FieldExplanation = {
  /** The rule that decided. */
  rule: Rule,
  /** The rule in plain words. */
  sentence: string,
  /** The last value both sides agreed on; null if there is no such value. */
  base: Value | null,
  /** What Postgres holds; null if it holds no value. */
  postgres: Value | null,
  /** What Salesforce holds; null if it holds no value. */
  salesforce: Value | null,
};

/** The API name of a Salesforce field. */
export type FieldName = string;

/** One mapped field. */
export type FieldSync = {
  /** The column. */
  column: ColumnName,
  /** Whose value stands. */
  owner: Owner,
  /** The object whose external id the column holds, for a lookup. */
  references?: ObjectName | null,
};

/** Where one record goes. */
export type Lane = "refused" | "noop" | "conflict" | "postgres" | "single" | "collections" | "composite_graph" | "bulk";

/** The records of one lane. */
export type LaneLoad = {
  /** Records. */
  records: number,
  /** API calls, as Salesforce counts them; an estimate. */
  calls: number,
  /** Bytes of the values, as JSON. */
  bytes: number,
};

/** The limits between the lanes, in records. */
export type LaneThresholds = {
  /** Most records of one round that go by single REST calls. */
  rest_max_batch_size: number,
  /** Fewest records that would go by Bulk, which the engine does not use yet. */
  bulk_min_batch_size: number,
};

/** What merging two payloads gave. */
export type MergeOutcome = { "outcome": "noop" } | { "outcome": "merged", "value": Json } | { "outcome": "conflict", "value": Array<string> };

/** One mistake. Never quotes the value of a key that should be the address of a secret. */
export type Mistake = {
  /** Line of the file, counted from 1. */
  line: number,
  /** The key, `tenant.acme.object.Account.fields.Name.owner`. */
  path: string,
  /** What is wrong. */
  problem: string,
  /** What to do about it. */
  fix: string,
};

/** The API name of a Salesforce object. */
export type ObjectName = string;

/** One mapped object with its table and its rules. */
export type ObjectSync = {
  /** The Salesforce object. */
  object: ObjectName,
  /** The table. */
  table: TableName,
  /** Field and column that hold the external id. */
  external_id: ExternalId,
  /** In which direction changes are written. */
  direction: Direction,
  /** What decides a conflict on a field without an owner. */
  conflicts: ConflictPolicy,
  /** What decides a field that has no base yet. */
  seed: Seed,
  /** What happens to deletes. */
  deletes: Deletes,
  /** The limits between the lanes. */
  lanes: LaneThresholds,
  /** SOQL filter; records outside it are not mapped. */
  filter: string | null,
  /** What happens in Postgres to a record that leaves the filter. */
  on_filter_exit: OnFilterExit,
  /** Assignment rules run on our writes. */
  auto_assign: boolean,
  /** Duplicate rules are enforced on our writes, or allowed to be saved over. */
  duplicate_rules: DuplicateRules,
  /** Mapped fields; the external id field is not among them. */
  fields: { [key in FieldName]: FieldSync },
};

/** What happens in Postgres to a record that leaves the filter. */
export type OnFilterExit = "keep" | "soft_delete" | "delete";

/** An edit in Salesforce that a write of ours replaced before it was seen. */
export type OverwrittenValue = {
  /** Its value. */
  value: Value,
  /** The base that it was made from; absent if there was none. */
  base?: Value | null,
  /** When it was made, as far as that is known. */
  edited?: EditTime | null,
};

/** Whose value stands for a field. */
export type Owner = "shared" | "salesforce" | "postgres";

/** What to do about one envelope. */
export type PlanDecision = {
  /** The lane. */
  lane: ApplyLane,
  /** What the other side is to hold, null for a delete; none for noop and conflict. */
  payload?: Json,
  /** Fields that wait for a person, sorted. */
  conflicts: Array<string>,
  /** Why, per field; empty where there was no base to compare with. */
  explanation: { [key in string]: Rule },
};

/** The plan of one row of a batch, in short. */
export type PlannedRow = {
  /** The external id the record is known by. */
  external_id: string,
  /** The rule that decided about the record as a whole. */
  rule: Rule,
  /** What the row in Postgres needs. */
  to_postgres: WriteKind,
  /** What the Salesforce record needs. */
  to_salesforce: WriteKind,
  /** Fields that wait for a person; null means the whole record. */
  conflicts: Array<FieldName | null>,
  /** Values that a rule discarded. */
  discarded: number,
  /** Bytes of the values that go to Salesforce, as JSON. */
  bytes: number,
};

/** What is known besides the envelope. */
export type PlannerContext = {
  /** The object's rules. */
  object: ObjectSync,
  /** What the other side holds; none if it lacks the record. */
  current_payload: Json | null,
  /** What both sides agreed on last; none if they never did. */
  base_payload: Json | null,
  /** Records that are sent in this round. */
  batch_size: number,
  /** A user waits for it. */
  urgent: boolean,
  /** It depends on records of this round, or they on it. */
  has_dependencies: boolean,
};

/** Where the database is. */
export type PostgresConfig = {
  /** Where the connection URL is kept. */
  url: SecretRef,
  /** Schema of the mapped tables, unless a table names its own. */
  schema: string,
  /** Prepared statements may be cached on the connection; off for transaction poolers. */
  statement_cache: boolean,
  /** Most connections of one instance. */
  connections_max: number,
};

/** Whether a side holds the record. */
export type Presence = "unseen" | "present" | "deleted" | "filtered_out" | "unreadable";

/** Why an input is invalid. */
export type Problem = {
  /** The member that is wrong, as `object.fields.Name.owner`; empty for the input as a whole. */
  path: string,
  /** What is wrong with it. */
  message: string,
  /** What to do about it. */
  fix: string,
};

/** What one record needs, why, and its lane. */
export type RecordAnswer = {
  /** Its lane if it is sent alone. */
  lane: Lane,
  /** Why, in words. */
  why: RecordExplanation,
  /** Fields of the record that its rules do not map. They are left alone. */
  unmapped: Array<FieldName>,
  /** The write to the row. */
  to_postgres: SideWrite,
  /** The write to the Salesforce record. */
  to_salesforce: SideWrite,
  /** How the base moves, per field, and after which confirmation. */
  base_advance: { [key in FieldName]: BaseAdvance },
  /** Whether both sides' agreement begins or ends, and after which confirmation. */
  agreement: Agreement,
  /** Fields that wait for a person. */
  conflicts: Array<FieldConflict>,
  /** Values that a policy or an owner discarded: logged, so that they can be restored. */
  discarded: Array<DiscardedValue>,
  /** Why, per field and for the record, in words. */
  explanation: Explanation,
};

/** Why a record's plan is as it is. */
export type RecordExplanation = {
  /** The rule that decided about the record as a whole. */
  rule: Rule,
  /** The rule in plain words. */
  sentence: string,
  /** It needs neither a write nor a person. */
  settled: boolean,
  /** The fields that something was decided about. */
  fields: { [key in FieldName]: FieldExplanation },
};

/** Everything but the rules that decides what one record needs next. */
export type RecordFacts = {
  /** The external id the record is known by. */
  external_id: string,
  /** Per field, the last value both sides agreed on; null for a record that never agreed. */
  base: { [key in FieldName]: Value } | null,
  /** Both sides have held the record and agreed, where that is not what the base says: by itself,
   * a record that has a base has agreed. */
  agreed?: boolean | null,
  /** The row's fields; null if there is no row. */
  postgres: { [key in FieldName]: Value } | null,
  /** The fields of a row that is marked as deleted. */
  soft_deleted?: { [key in FieldName]: Value } | null,
  /** The Salesforce record's fields; null if there is no record. */
  salesforce: { [key in FieldName]: Value } | null,
  /** The Salesforce record does not match the object's filter; its fields are ignored then. */
  filtered_out?: boolean,
  /** What a side that is null means, where it is not the usual: a record that agreed was deleted
   * there, any other was never seen there. */
  presence?: BySide<Presence>,
  /** When each side last changed, milliseconds since the epoch, by its own clock. */
  changed_at_ms?: BySide<number>,
  /** When each side edited its fields. A field for which that is not known on both sides is decided by the times
   * of the record. */
  edited?: FieldEdits,
  /** Fields of Salesforce that late writes changed: ours, abandoned before they landed. */
  late_writes?: Array<FieldName>,
  /** Fields that Salesforce automation changed back, and how often. */
  automation_overrides?: { [key in FieldName]: AutomationOverride },
  /** Edits in Salesforce that our writes replaced before they were seen, and that are not decided yet. */
  overwritten?: { [key in FieldName]: OverwrittenValue },
  /** Fields with a write to Salesforce under way. */
  under_way?: Array<FieldName>,
  /** What the write that is under way does; an update unless given. */
  under_way_action?: WriteAction | null,
  /** Milliseconds by which the two sides' clocks may differ beyond the fixed two seconds. */
  clock_skew_ms?: number,
};

/** A Postgres schema or table name, one part, unquoted. */
export type RelationName = string;

/** The rules, by name. Each has one sentence in plain words, see [`Rule::sentence`]. */
export type Rule = "equal" | "postgres_changed" | "salesforce_changed" | "both_changed" | "same_change" | "salesforce_owns" | "postgres_owns" | "conflict" | "salesforce_wins" | "postgres_wins" | "later_edit_wins" | "tie_goes_to_salesforce" | "seeded_from_salesforce" | "seeded_from_postgres" | "filled_in" | "created_in_postgres" | "created_in_salesforce" | "deleted_in_postgres" | "deleted_in_salesforce" | "deleted_on_both" | "delete_beats_edit" | "edit_beats_delete" | "delete_against_edit" | "deletes_ignored" | "direction_forbids" | "automation_override" | "late_write" | "write_under_way" | "not_seen" | "nothing_there" | "filtered_out" | "filter_exit" | "unreadable";

/** How to reach the org and log in to it. */
export type SalesforceConfig = {
  /** Login or My Domain URL. */
  login_url: string,
  /** Pub/Sub endpoint; the global one unless given. */
  pubsub_url: string,
  /** Consumer key. */
  client_id: string,
  /** OAuth flow. */
  auth: AuthFlow,
  /** Where the private key (PEM) or the client secret is. */
  secret: SecretRef,
};

/** Where a secret is kept. Its value never enters the configuration. */
export type SecretRef = string;

/** What decides a field that has no base yet and differs. */
export type Seed = "refuse" | "salesforce" | "postgres";

/** A side: where a change came from or where a write goes. */
export type Side = "salesforce" | "postgres";

/** A write to one side. */
export type SideWrite = { "write": "none" } | { "write": "create", "fields": { [key in FieldName]: Value } } | { "write": "update", "fields": { [key in FieldName]: Value } } | { "write": "delete" } | { "write": "soft_delete" };

/** A position in a source: opaque for Salesforce, a number for Postgres, a name for snapshots.
 *
 * ```
 * use syncline_planner::SourceCursor;
 * let cursor: SourceCursor = "salesforce-replay-id:0x00ff".parse().unwrap();
 * assert_eq!(cursor, SourceCursor::SalesforceReplayId(vec![0, 255]));
 * assert_eq!(cursor.to_string(), "salesforce-replay-id:0x00ff");
 * let decimal: SourceCursor = "salesforce-replay-id:258".parse().unwrap();
 * assert_eq!(decimal.to_string(), "salesforce-replay-id:0x0000000000000102");
 * ``` */
export type SourceCursor = string;

/** Tenant, object and external id: the identity a person would name a record by.
 *
 * Salesforce matches external ids without case (unless the field is case-sensitive) and trims
 * them, Postgres does not; so the key holds the id as given and the id as compared. Equality is on
 * the canonical one. */
export type SyncKey = { tenant: string, object: string, external_id: string };

/** A mapped table with its schema. */
export type TableName = {
  /** The schema of the table. */
  schema: RelationName,
  /** The table. */
  table: RelationName,
};

/** One tenant: one org, one set of tables. */
export type TenantConfig = {
  /** Its name. */
  tenant: TenantId,
  /** How to reach the org and log in to it. */
  salesforce: SalesforceConfig,
  /** How to reach the database. */
  postgres: PostgresConfig,
  /** REST API version, as `68.0`. */
  api_version: string,
  /** How Salesforce's changes are captured. */
  capture: CaptureMode,
  /** The counter outside the database by which two physical copies notice each other. */
  fence?: FenceRef,
  /** How much of the org's allowance may be used. */
  budget: BudgetConfig,
  /** Mapped objects, parents before children where the references allow it. */
  objects: Array<ObjectSync>,
  /** Hash of the tenant's configuration, stored with every decision. */
  config_hash: string,
};

/** A tenant: one Salesforce org and one set of tables. */
export type TenantId = string;

/** The canonical value of one field. As JSON it is null, a boolean, a number or a string. */
export type Value = null | boolean | number | ExactNumber | string;

/** What the write does to the Salesforce record. */
export type WriteAction = "create" | "update" | "delete";

/** What a write does. */
export type WriteKind = "none" | "create" | "update" | "delete" | "soft_delete";
