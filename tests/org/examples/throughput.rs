//! How many records a second the org takes by collections, events included, without sockets.

use std::time::Instant;

use anyhow::Context as _;
use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{Org, Position, Request};

const CALLS: usize = 500;
const RECORDS: usize = 200;

fn main() -> anyhow::Result<()> {
    let mut org = Org::default();
    let token = org
        .open_session(INTEGRATION_USER)
        .context("the built-in user")?;
    let path = "/services/data/v62.0/composite/sobjects/Account/External_Id__c";
    for pass in ["created", "updated"] {
        let bodies: Vec<String> = (0..CALLS).map(|call| body(call, pass)).collect();
        let start = Instant::now();
        for body in bodies {
            let request = Request::new("PATCH", path)
                .bearer(&token)
                .body("application/json", body);
            let response = org.request(&request);
            anyhow::ensure!(response.status == 200, "status {}", response.status);
        }
        report(pass, start);
    }
    let start = Instant::now();
    let mut position = Position::Earliest;
    let mut read = 0;
    loop {
        let fetched = org.fetch("/data/ChangeEvents", &position, 100)?;
        if fetched.events.is_empty() {
            break;
        }
        read += fetched.events.len();
        position = Position::After(fetched.latest_replay_id);
    }
    anyhow::ensure!(read == 2 * CALLS * RECORDS, "{read} events");
    report("fetched twice", start);
    Ok(())
}

fn report(what: &str, start: Instant) {
    let records = (CALLS * RECORDS) as f64;
    println!(
        "{:.0} records/s {what}",
        records / start.elapsed().as_secs_f64()
    );
}

fn body(call: usize, pass: &str) -> String {
    let records: Vec<String> = (0..RECORDS)
        .map(|record| {
            let n = call * RECORDS + record;
            format!(
                r#"{{"attributes":{{"type":"Account"}},"External_Id__c":"ap-{n}","Name":"Airport {n} {pass}","Type":"Customer","Phone":"+1 555 {n}","BillingCity":"Leoti","BillingState":"Kansas","BillingCountry":"US","BillingLatitude":38.704022,"BillingLongitude":-101.473911,"Elevation__c":{n},"IATA__c":"LEO","Timezone__c":"America/Chicago"}}"#
            )
        })
        .collect();
    format!(r#"{{"allOrNone":false,"records":[{}]}}"#, records.join(","))
}
