//! Random calls with the native answers. A few inputs are broken on purpose.

use planner_wasm::calls::{self, Problem};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value as Json, json};

/// An endless run of cases, the same for the same seed.
pub(crate) struct Cases {
    random: StdRng,
}

/// One call and its input.
pub(crate) struct Case {
    call: &'static str,
    input: String,
}

impl Cases {
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
        }
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.choose(&mut self.random).expect("there is a choice")
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn object(&mut self) -> Json {
        let mut object = json!({
            "object": "Account",
            "table": {"schema": "public", "table": "account"},
            "external_id": {"field": "Key__c", "column": "key"},
            "direction": self.pick(&["both", "both", "both", "to_postgres", "to_salesforce"]),
            "conflicts": self.pick(&["manual_review", "field_ownership", "last_writer_wins", "salesforce_wins", "postgres_wins"]),
            "seed": self.pick(&["refuse", "salesforce", "postgres"]),
            "deletes": {
                "mode": self.pick(&["propagate", "soft", "ignore"]),
                "on_edit": self.pick(&["manual", "delete_wins", "edit_wins"]),
            },
            "on_filter_exit": self.pick(&["keep", "soft_delete", "delete"]),
        });
        for name in FIELDS {
            let owner = self.pick(&["shared", "shared", "salesforce", "postgres"]);
            object["fields"][name] = json!({"column": name, "owner": owner});
        }
        object
    }

    fn value(&mut self) -> Json {
        let text = self.pick(&[
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1.50",
            "1.5",
            "12345678901234567.89",
            "1E3",
            "\"\"",
            "\"Ada\"",
            "\"Zoë 🎈\"",
            "\"a\\u0000b\"",
            "\"2026-05-01\"",
        ]);
        serde_json::from_str(text).expect("it is JSON")
    }

    fn fields(&mut self) -> Json {
        let mut fields = Map::new();
        for name in FIELDS {
            if self.chance(80) {
                fields.insert(name.to_owned(), self.value());
            }
        }
        if self.chance(80) {
            fields.insert("Key__c".to_owned(), json!(self.pick(&["K1", "k1", "K2"])));
        }
        Json::Object(fields)
    }

    /// Sides that mostly agree, so that three-way decisions happen.
    fn edited(&mut self, fields: &Json) -> Json {
        if self.chance(10) {
            return Json::Null;
        }
        let mut edited = fields.clone();
        for name in FIELDS {
            if self.chance(30) {
                edited[name] = self.value();
            }
        }
        edited
    }

    fn record(&mut self) -> Json {
        let base = self.fields();
        let mut record = json!({
            "object": self.object(),
            "external_id": "K1",
            "postgres": self.edited(&base),
            "salesforce": self.edited(&base),
            "changed_at_ms": {"postgres": self.random.random_range(0..6_000), "salesforce": 3_000},
            "clock_skew_ms": self.random.random_range(0..1_000),
        });
        if self.chance(50) {
            let time = self.random.random_range(0..6_000);
            record["edited"] = json!({
                "postgres": {"Name": {"at_ms": time}, "Phone": {"at_ms": 6_000 - time}},
                "salesforce": {"Name": {"at_ms": 3_000, "since_ms": time.min(2_000)}},
            });
        }
        if self.chance(80) {
            record["base"] = base;
        }
        if self.chance(10) {
            record["late_writes"] = json!(["Name"]);
        }
        if self.chance(10) {
            record["under_way"] = json!(["Phone"]);
        }
        if self.chance(10) {
            record["filtered_out"] = json!(true);
        }
        if self.chance(20) {
            let count = self.random.random_range(0..4);
            record["automation_overrides"] =
                json!({"Name": {"count": count, "sent": self.value(), "stored": self.value()}});
        }
        record
    }

    fn change(&mut self) -> Json {
        let base = self.fields();
        let tombstone = self.chance(10);
        let payload = if tombstone {
            Json::Null
        } else {
            self.edited(&base)
        };
        json!({
            "context": {
                "object": self.object(),
                "current_payload": self.edited(&base),
                "base_payload": if self.chance(70) { base } else { Json::Null },
                "batch_size": self.pick(&[1, 499, 500]),
                "urgent": self.chance(20),
                "has_dependencies": self.chance(20),
            },
            "envelope": {
                "key": {"tenant": "acme", "object": "Account", "external_id": self.pick(&["K1", "K1", "K1", " "])},
                "source": self.pick(&["salesforce", "postgres"]),
                "operation": "update",
                "cursor": self.pick(&["salesforce-replay-id:0x00ff", "postgres-lsn:1", "snapshot:x"]),
                "tombstone": tombstone,
                "payload": payload,
            },
        })
    }

    fn merge(&mut self) -> Json {
        let current = self.fields();
        json!({
            "object": self.object(),
            "source": self.pick(&["salesforce", "postgres"]),
            "incoming": self.edited(&current),
            "current": current,
        })
    }

    /// A batch large enough, now and then, for Bulk: its options, then a row a line.
    fn batch(&mut self) -> String {
        let mut object = self.object();
        let bulk_min = self.pick(&[2, 3, 500]);
        object["lanes"] =
            json!({"rest_max_batch_size": self.pick(&[0, 1, 2]), "bulk_min_batch_size": bulk_min});
        let count = self.random.random_range(0..4);
        let options = json!({"object": object, "graph": self.chance(50), "bulk": self.chance(50)});
        let rows = (0..count).map(|_| format!("\n{}", self.row()));
        let rows: String = rows.collect();
        format!("{options}{rows}")
    }

    fn row(&mut self) -> Json {
        let mut row = self.record();
        if let Some(members) = row.as_object_mut() {
            members.remove("object");
        }
        row["urgent"] = json!(self.chance(20));
        row["has_dependencies"] = json!(self.chance(20));
        if self.chance(5) {
            row["postgres"] = json!({"Name": [1]});
        }
        row
    }

    fn configuration(&mut self) -> String {
        let lines = [
            "[tenant.acme]",
            "salesforce = { login_url = \"https://a.my.salesforce.com\", client_id = \"c\", auth = \"client_credentials\", secret = \"env:S\" }",
            "postgres = { url = \"env:U\" }",
            "capture = \"poll\"",
            "[[tenant.acme.object]]",
            "object = \"Account\"",
            "table = \"account\"",
            "external_id = { field = \"Key__c\", column = \"key\" }",
            "seed = \"postgres\"",
            "[tenant.acme.object.fields]",
            "Name = { column = \"name\" }",
            "Phone = { column = \"phone\", owner = \"postgres\" }",
        ];
        let mut kept: Vec<&str> = Vec::new();
        for line in lines {
            if self.chance(95) {
                kept.push(line);
            }
        }
        let mut text = kept.join("\n");
        if self.chance(30) {
            let (from, to) = self.pick(&[
                ("column", "colum"),
                ("env:", "hunter2"),
                ("\"poll\"", "3"),
                ("Phone", "name"),
                ("=", ""),
            ]);
            text = text.replacen(from, to, 1);
        }
        text
    }

    fn broken(&mut self, mut text: String) -> String {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        if let Some(at) = places.choose(&mut self.random) {
            text.truncate(*at);
        }
        text
    }
}

const FIELDS: [&str; 3] = ["Name", "Phone", "Amount__c"];

impl Iterator for Cases {
    type Item = Case;

    fn next(&mut self) -> Option<Case> {
        let call = self.pick(&[
            "plan_record",
            "plan_record",
            "batch",
            "plan_change",
            "merge",
            "canonical_hash",
            "check_config",
        ]);
        let mut input = match call {
            "plan_record" => self.record().to_string(),
            "batch" => self.batch(),
            "plan_change" => self.change().to_string(),
            "merge" => self.merge().to_string(),
            "check_config" => self.configuration(),
            _ => self.fields().to_string(),
        };
        if self.chance(5) {
            input = self.broken(input);
        }
        Some(Case { call, input })
    }
}

impl Case {
    /// The case with the native answer, as one line of JSON.
    pub(crate) fn line(&self) -> String {
        let Self { call, input } = self;
        let answer: Result<String, Problem> = match *call {
            "plan_record" => calls::plan_record(input),
            "batch" => batch(input),
            "plan_change" => calls::plan_change(input),
            "merge" => calls::merge(input),
            "check_config" => calls::check_config(input),
            _ => calls::canonical_hash(input),
        };
        match answer {
            Ok(ok) => json!({"call": call, "input": input, "ok": ok}),
            Err(problem) => json!({"call": call, "input": input, "error": problem.to_json()}),
        }
        .to_string()
    }
}

/// Plans a batch in one chunk, and returns its rows and its summary.
fn batch(input: &str) -> Result<String, Problem> {
    let (options, lines) = input.split_once('\n').unwrap_or((input, ""));
    let mut batch = calls::Batch::begin(options)?;
    let rows = batch.plan(lines)?;
    Ok(format!("{rows}\n{}", batch.finish()))
}
