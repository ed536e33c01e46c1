//! The way to the org: in this process, through the gates.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use http::HeaderValue;
use salesforce_org::in_process::{BASE_URL, InProcess};
use salesforce_org::local;
use secrecy::SecretString;
use syncline::salesforce::{
    GrpcBody, GrpcFailure, HttpFailure, HttpSalesforce, Login, MemoryTokenStore, SalesforceOptions,
    Transport,
};

use crate::clock::WorldClock;
use crate::gate::{Fate, Gates};

/// Rows of one page of a scan: few, so that worlds of some records read several pages.
const PAGE_ROWS: usize = 5;

/// How a call fails that does not reach Salesforce.
pub(crate) const UNREACHABLE: &str = "Salesforce cannot be reached";

/// Where the way to the org leads. Clones are the same way.
#[derive(Clone)]
pub(crate) struct Route {
    ours: InProcess,
    other: InProcess,
    leads: Arc<Mutex<Leads>>,
}

/// Where a way leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leads {
    ToOurOrg,
    ToOtherOrg,
    Nowhere,
}

impl Route {
    /// Returns a way to our org, which can lead to the other one.
    pub(crate) fn to(ours: InProcess, other: InProcess) -> Self {
        Self {
            ours,
            other,
            leads: Arc::new(Mutex::new(Leads::ToOurOrg)),
        }
    }

    /// Lets both orgs say that nothing has happened, to whoever waits for events.
    pub(crate) fn keep_alive(&self) {
        self.ours.keep_alive();
        self.other.keep_alive();
    }

    /// Returns the other org.
    pub(crate) fn other(&self) -> &InProcess {
        &self.other
    }

    pub(crate) fn lead(&self, leads: Leads) {
        *self.leads.lock().unwrap_or_else(PoisonError::into_inner) = leads;
    }

    pub(crate) fn leads(&self) -> Leads {
        *self.leads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn org(&self) -> Option<&InProcess> {
        match self.leads() {
            Leads::ToOurOrg => Some(&self.ours),
            Leads::ToOtherOrg => Some(&self.other),
            Leads::Nowhere => None,
        }
    }
}

/// Sends the client's requests to the org.
struct GatedTransport {
    route: Route,
    gates: Arc<Gates>,
    clock: WorldClock,
}

/// Returns a client of the org whose calls wait at these gates.
pub(crate) fn client(route: &Route, gates: &Arc<Gates>, clock: &WorldClock) -> HttpSalesforce {
    let secret = SecretString::from(local::CLIENT_SECRET);
    let login = Login::ClientCredentials { secret };
    let options = SalesforceOptions {
        page_rows: PAGE_ROWS,
        ..SalesforceOptions::new(BASE_URL, local::CLIENT_ID, login, "62.0")
    };
    let transport = GatedTransport {
        route: route.clone(),
        gates: Arc::clone(gates),
        clock: clock.clone(),
    };
    HttpSalesforce::over(
        Arc::new(transport),
        options,
        Arc::new(MemoryTokenStore::default()),
    )
    .expect("the options of the local org are valid")
}

#[async_trait]
impl Transport for GatedTransport {
    async fn send(
        &self,
        request: http::Request<Bytes>,
        _timeout: Duration,
    ) -> Result<http::Response<Bytes>, HttpFailure> {
        let lost = || HttpFailure::broken("the connection closed without an answer");
        let label = || format!("{} {}", request.method(), request.uri().path());
        let fate = self.gates.pass(label).await;
        if fate == Fate::LoseCall {
            return Err(lost());
        }
        let Some(org) = self.route.org() else {
            return Err(HttpFailure::broken(UNREACHABLE));
        };
        let answer = org.send(request).await;
        if fate == Fate::LoseAnswer {
            return Err(lost());
        }
        let mut answer = answer.ok_or_else(lost)?;
        // The clock of the org is the world's, not the machine's.
        let now = DateTime::from_timestamp_millis(self.route.ours.with_org(|org| org.now_ms()));
        let now = now.unwrap_or_default().format("%a, %d %b %Y %H:%M:%S GMT");
        let now = HeaderValue::try_from(now.to_string()).map_err(|_| lost())?;
        answer.headers_mut().insert(http::header::DATE, now);
        Ok(answer)
    }

    async fn open(
        &self,
        request: http::Request<GrpcBody>,
    ) -> Result<http::Response<GrpcBody>, GrpcFailure> {
        let label = format!("rpc {}", request.uri().path());
        match self.gates.pass(|| label).await {
            Fate::Pass => match self.route.org() {
                Some(org) => Ok(org.open(request).await),
                None => Err(UNREACHABLE.into()),
            },
            Fate::LoseCall | Fate::LoseAnswer => {
                Err("the connection closed without an answer".into())
            }
        }
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}
