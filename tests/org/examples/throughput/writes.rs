//! Upserts of one record and of many, by several concurrent callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;

use crate::RECORDS;
use crate::airport;
use crate::target::Target;

/// Number of concurrent connections.
const CALLERS: usize = 8;

/// Makes this many calls with one record each.
pub(crate) async fn singles(org: &Target, calls: usize, pass: &'static str) -> anyhow::Result<()> {
    each(org, calls, move |n| {
        let path = format!("sobjects/Account/External_Id__c/s-{n}");
        (path, format!("{{{}}}", airport::members(n, pass)))
    })
    .await
}

/// Makes this many calls with [`RECORDS`] records each.
pub(crate) async fn collections(
    org: &Target,
    calls: usize,
    (pass, prefix): (&'static str, &'static str),
) -> anyhow::Result<()> {
    each(org, calls, move |call| {
        let path = "composite/sobjects/Account/External_Id__c".to_owned();
        let body = airport::collection(call * RECORDS, RECORDS, (pass, prefix));
        (path, body)
    })
    .await
}

/// Makes the calls 0 to `calls`, with the path and body from `made`.
async fn each(
    org: &Target,
    calls: usize,
    made: impl Fn(usize) -> (String, String) + Clone + Send + 'static,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let (org, next, made) = (org.clone(), Arc::clone(&next), made.clone());
        callers.push(tokio::spawn(async move {
            loop {
                let call = next.fetch_add(1, Ordering::Relaxed);
                if call >= calls {
                    return anyhow::Ok(());
                }
                let (path, body) = made(call);
                let answer = org.call(Method::PATCH, &path, body).await?;
                let refused = answer.body.contains("\"success\":false");
                anyhow::ensure!(!refused, "{path}: {}", answer.body);
            }
        }));
    }
    for caller in callers {
        caller.await??;
    }
    Ok(())
}
