//! The tenant's outage: its org cannot be used, by no fault of a record.
//!
//! A refused sign-in, a spent quota, maintenance or a retired API version concern every record alike. The tenant
//! waits, with waits of its own; whoever needs the org next tries it again, at the latest the sweep.

use crate::planner::policy::org_wait_ms;
use crate::ports::job_store::{NewOutage, Outage};
use crate::ports::salesforce::{API_RESERVE, Disposition, SalesforceError, StreamEnd};

use super::Job;
use super::error::Error;

/// Different waits that are kept for one outage; the last one stays.
const WAITS_KEPT: u32 = 20;

/// What work needs of the org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrgNeed {
    /// API calls.
    Calls,
    /// Change events.
    Events,
}

impl Job<'_> {
    /// Fails while the org is not to be tried again yet. A spent quota does not stop change events.
    async fn require_org(&self, needs: OrgNeed) -> Result<(), Error> {
        let control = self.control().await?;
        let outage = self.outage_now(control.outage).await?;
        let stops = |outage: &Outage| needs == OrgNeed::Calls || !outage.quota;
        match outage.filter(Outage::holds).filter(stops) {
            None => Ok(()),
            Some(outage) => Err(Error::OrgUnavailable {
                tenant: self.id().clone(),
                code: outage.code,
                since: outage.since,
            }),
        }
    }

    /// Returns the tenant's outage as it is now. Whether requests are free again is asked by one call of its own: work
    /// may need many before the first answer.
    pub(crate) async fn outage_now(&self, known: Option<Outage>) -> Result<Option<Outage>, Error> {
        match known {
            Some(outage) if outage.code == API_RESERVE && !outage.holds() => self.try_org().await,
            known => Ok(known),
        }
    }

    /// Does work that needs the org, unless it is not to be tried again yet. A failure that concerns the tenant
    /// becomes its outage.
    pub(crate) async fn with_org<T>(
        &self,
        needs: OrgNeed,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.require_org(needs).await?;
        let done = work.await;
        if let Err(Error::Salesforce(error) | Error::Stream(StreamEnd::Refused(error))) = &done {
            self.note_failure(error).await;
        }
        if done.is_err() {
            self.tenant.reload_soon();
        }
        done
    }

    /// Records the failure as the tenant's outage if it concerns the tenant.
    pub(crate) async fn note_failure(&self, error: &SalesforceError) -> Option<Outage> {
        if !error.disposition.concerns_tenant() {
            return None;
        }
        self.note_outage(&error.code, &error.message, error.disposition)
            .await
    }

    /// Records the tenant's outage, and returns it. An outage that cannot be recorded is found again by the next
    /// call of the org, so that failure is logged and not returned.
    pub(crate) async fn note_outage(
        &self,
        code: &str,
        message: &str,
        disposition: Disposition,
    ) -> Option<Outage> {
        let jitter = self.shared.ids.jitter(u64::MAX);
        let outage = NewOutage {
            code: code.to_owned(),
            message: message.to_owned(),
            quota: disposition == Disposition::WaitForQuota,
            waits_ms: (0..WAITS_KEPT)
                .map(|before| org_wait_ms(disposition, before, jitter))
                .collect(),
        };
        match self.store().note_outage(self.id(), &outage).await {
            Ok(outage) => {
                tracing::error!(
                    tenant = %self.id(), code, message,
                    tries = outage.tries, retry_in_ms = outage.retry_in_ms,
                    "the org cannot be used; no record is blamed, the tenant waits and tries again by itself"
                );
                Some(outage)
            }
            Err(error) => {
                tracing::warn!(tenant = %self.id(), %error, "an outage cannot be recorded now");
                None
            }
        }
    }

    /// Ends the tenant's outage: the org has answered. It goes on if the answer shows that only reserved requests are
    /// left.
    async fn end_outage(&self) -> Result<Option<Outage>, Error> {
        if let Err(reserved) = self.salesforce().require_allowance() {
            return Ok(self.note_failure(&reserved).await);
        }
        if self.store().end_outage(self.id()).await? {
            tracing::info!(tenant = %self.id(), "the org can be used again");
        }
        Ok(None)
    }

    /// Like [`Job::end_outage`]; an outage that cannot be ended now ends with the next answer.
    pub(crate) async fn end_outage_or_log(&self) {
        if let Err(error) = self.end_outage().await {
            tracing::warn!(tenant = %self.id(), %error, "an outage cannot be ended now");
        }
    }

    /// Tries the org once if it has an outage and its wait is over, so that an outage ends even if no record has
    /// work.
    pub(crate) async fn probe_org(&self) -> Result<(), Error> {
        let control = self.control().await?;
        if control.outage.is_some_and(|outage| !outage.holds()) {
            self.try_org().await?;
        }
        Ok(())
    }

    /// Makes one call, which ends the outage or prolongs it. Returns the outage that is left.
    async fn try_org(&self) -> Result<Option<Outage>, Error> {
        self.salesforce().ask_usage_again();
        match self.salesforce().probe().await {
            Ok(()) => self.end_outage().await,
            Err(error) => {
                // Whatever fails now, the org cannot be used yet.
                let disposition = match error.disposition.concerns_tenant() {
                    true => error.disposition,
                    false => Disposition::WaitForOrg,
                };
                Ok(self
                    .note_outage(&error.code, &error.message, disposition)
                    .await)
            }
        }
    }
}
