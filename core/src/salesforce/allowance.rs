//! The org's API requests of 24 hours, and the part of them that is left to its other users.

use std::sync::{Mutex, MutexGuard};

use crate::ports::salesforce::{API_RESERVE, ApiUsage, Disposition, SalesforceError};

/// What one process knows of the org's API requests, and how many of them it may use.
///
/// Salesforce counts the requests of all users of an org together and tells the sum with each answer. So one answer
/// is enough to know, whoever has used them. The sum may be some minutes old: our own calls since it last changed are
/// added.
pub(super) struct Allowance {
    /// Percent of the org's requests that are left to others.
    reserve_percent: u32,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// As the last answer counted them.
    told: Option<ApiUsage>,
    /// Our own calls since that count last changed.
    own: i64,
}

impl Allowance {
    pub(super) fn new(reserve_percent: u32) -> Self {
        Self {
            reserve_percent,
            known: Mutex::default(),
        }
    }

    /// Notes what an answer's `Sforce-Limit-Info` header says.
    pub(super) fn note(&self, header: &str) {
        let Some(told) = parse(header) else { return };
        let mut known = self.lock();
        if known.told != Some(told) {
            *known = Known {
                told: Some(told),
                own: 0,
            };
        }
    }

    /// Returns the requests used, as the last answer counted them.
    pub(super) fn usage(&self) -> Option<ApiUsage> {
        self.lock().told
    }

    /// Counts a call of ours. Fails, and counts none, if only reserved requests are left.
    pub(super) fn take(&self, what: &str) -> Result<(), SalesforceError> {
        self.require(what)?;
        self.lock().own += 1;
        Ok(())
    }

    /// Fails if only reserved requests are left.
    pub(super) fn require(&self, what: &str) -> Result<(), SalesforceError> {
        match self
            .estimate()
            .filter(|usage| usage.reaches_reserve(self.reserve_percent))
        {
            None => Ok(()),
            Some(ApiUsage { used, max }) => Err(SalesforceError {
                what: what.to_owned(),
                status: None,
                code: API_RESERVE.to_owned(),
                message: format!(
                    "{used} of the org's {max} API requests of 24 hours are used; the last {} % are left to its other \
                     users (budget.reserve)",
                    self.reserve_percent
                ),
                disposition: Disposition::WaitForQuota,
            }),
        }
    }

    /// Lets calls that would fail pass until the next answer, which tells how many requests are used by now.
    pub(super) fn ask_again(&self) {
        if self.require("asking").is_err() {
            *self.lock() = Known::default();
        }
    }

    fn estimate(&self) -> Option<ApiUsage> {
        let known = self.lock();
        known.told.map(|told| ApiUsage {
            used: told.used.saturating_add(known.own),
            ..told
        })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }
}

/// Returns the org's usage from a `Sforce-Limit-Info` header, which may also contain bursts and per-app counts.
fn parse(header: &str) -> Option<ApiUsage> {
    header.split([';', ',']).find_map(|part| {
        let (used, rest) = part.trim().strip_prefix("api-usage=")?.split_once('/')?;
        let max: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(ApiUsage {
            used: used.trim().parse().ok()?,
            max: max.parse().ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_every_header_form() {
        for (header, expected) in [
            ("api-usage=18/5000", Some((18, 5000))),
            (
                "api-usage=10018/100000; api-bursts=1/750",
                Some((10018, 100_000)),
            ),
            (
                "api-usage=25/5000; per-app-api-usage=17/250(appName=sample-app)",
                Some((25, 5000)),
            ),
            (
                "per-app-api-usage=17/250(appName=x); api-usage=25/5000",
                Some((25, 5000)),
            ),
            ("per-app-api-usage=17/250(appName=x)", None),
            ("api-usage=/", None),
            ("", None),
        ] {
            let usage = parse(header).map(|usage| (usage.used, usage.max));
            assert_eq!(usage, expected, "{header}");
        }
    }

    #[test]
    fn reserved_requests_are_not_used() {
        let allowance = Allowance::new(20);
        let passes = || allowance.require("a call").is_ok();
        assert!(passes(), "nothing is known yet");
        for (header, expected) in [
            ("api-usage=79/100", true),
            ("api-usage=80/100", false),
            ("api-usage=101/100", false),
            ("", false),
            ("api-usage=12/100", true),
            ("api-usage=0/0", true),
            ("api-usage=9223372036854775807/9223372036854775807", false),
        ] {
            allowance.note(header);
            assert_eq!(passes(), expected, "{header}");
        }
        allowance.ask_again();
        assert!(passes(), "the next answer tells");
        allowance.note("api-usage=80/100");
        assert!(!passes());
    }

    #[test]
    fn own_calls_since_an_old_count_are_added() {
        let allowance = Allowance::new(20);
        allowance.note("api-usage=70/100");
        for _ in 0..10 {
            allowance.take("a call").unwrap();
            allowance.note("api-usage=70/100");
        }
        assert_eq!(allowance.take("a call").unwrap_err().code, API_RESERVE);
        allowance.note("api-usage=75/100");
        assert!(allowance.take("a call").is_ok(), "it counts them now");
    }

    #[test]
    fn without_a_reserve_the_org_alone_refuses() {
        let allowance = Allowance::new(0);
        allowance.note("api-usage=100/100");
        assert!(allowance.require("a call").is_ok());
    }
}
