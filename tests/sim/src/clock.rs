//! Time and ids of a world: both come from its seed, never from the machine.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use syncline::ports::{Clock, IdSource};
use uuid::Uuid;

/// When every world begins: 2 March 2026, 8:00 UTC.
const START_MS: i64 = 1_772_438_400_000;

/// The time of a world. Clones are the same clock.
#[derive(Debug, Clone)]
pub(crate) struct WorldClock(Arc<AtomicI64>);

impl WorldClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START_MS)))
    }

    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for WorldClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Ids and jitter of one process.
pub(crate) struct WorldIds(Mutex<StdRng>);

impl WorldIds {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl IdSource for WorldIds {
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rng.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    fn jitter(&self, below: u64) -> u64 {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rng.random_range(0..below.max(1))
    }
}

/// Makes Postgres take time and ids from the world.
pub(crate) const SQL: &str = "
create schema sim;
create table sim.clock (at timestamptz not null);
insert into sim.clock values (to_timestamp(1772438400));
create sequence sim.ids;
grant usage on schema sim to public;
grant select on sim.clock to public;
grant usage on sequence sim.ids to public;
create or replace function syncline.clock() returns timestamptz language sql stable parallel safe
as $$ select at from sim.clock $$;
create or replace function syncline.wall_clock() returns timestamptz language sql volatile parallel safe
as $$ select at from sim.clock $$;
create or replace function syncline.new_id() returns uuid language sql volatile
as $$ select md5(nextval('sim.ids')::text)::uuid $$;
";
