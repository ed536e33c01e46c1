//! Reads the tenant's switches, and stores what was measured since the last time: how far the clocks of both sides are
//! apart, and how many API requests the org's users have used.

use crate::ports::job_store::{ClockSkew, Control};

use super::Job;
use super::error::Error;

impl Job<'_> {
    /// Reads the tenant's switches. The answer has the database's time, so the clocks of both sides are compared here.
    /// Fails if the connected database is not the tenant's.
    pub(crate) async fn control(&self) -> Result<Control, Error> {
        let asked_ms = self.now_ms();
        let control = self.store().control(self.id()).await?;
        // The clock may have been set back meanwhile.
        let round_trip_ms = self.now_ms().saturating_sub(asked_ms).max(0);
        self.tenant.require_database(&control)?;
        self.measure_skew(&control, round_trip_ms).await;
        self.store_usage(&control).await;
        Ok(control)
    }

    /// Stores how far the clocks are apart, if that has changed or is not known any more. A failure only leaves the
    /// last measurement in place, so it is logged and not returned.
    async fn measure_skew(&self, control: &Control, round_trip_ms: i64) {
        let (Some(salesforce), Some(database_ms)) =
            (self.salesforce().clock(), control.database_ms)
        else {
            return;
        };
        // The database's time is from some moment of the round trip, and has grown since.
        let half_ms = round_trip_ms / 2 + 1;
        let skew = ClockSkew::between(salesforce, database_ms.saturating_add(half_ms), half_ms);
        if !skew.replaces(control.clock_skew) {
            return;
        }
        if let Err(error) = self.store().note_clock_skew(self.id(), skew).await {
            tracing::warn!(tenant = %self.id(), %error, "the skew of the clocks cannot be stored now");
        }
    }
    /// Stores how many API requests are used, if that has changed enough to be seen.
    async fn store_usage(&self, control: &Control) {
        let changed = self
            .salesforce()
            .api_usage()
            .filter(|usage| usage.replaces(control.api_usage));
        let Some(usage) = changed else { return };
        if let Err(error) = self.store().note_api_usage(self.id(), usage).await {
            tracing::warn!(tenant = %self.id(), %error, "the API requests used cannot be stored now");
        }
    }
}
