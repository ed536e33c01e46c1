//! Time and ids of a world: both come from its seed, never from the machine.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use syncline::ports::{Clock, IdSource};
use uuid::Uuid;

use crate::gate::Gates;

/// When every world begins: 2 March 2026, 8:00 UTC.
const START_MS: i64 = 1_772_438_400_000;

/// The time of a world. Clones are the same clock.
#[derive(Debug, Clone)]
pub(crate) struct WorldClock(Arc<AtomicI64>);

impl WorldClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START_MS)))
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// The clock of one process: its pauses end when the schedule lets it take a step.
pub(crate) struct ProcessClock {
    pub(crate) world: WorldClock,
    pub(crate) gates: Arc<Gates>,
}

#[async_trait]
impl Clock for ProcessClock {
    fn now_ms(&self) -> i64 {
        self.world.now_ms()
    }

    async fn wait(&self, pause: Duration) {
        self.gates.pass(|| format!("a pause of {pause:?}")).await;
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

/// Makes Postgres take time and ids from the world, and count what users write and what is captured.
pub(crate) const SQL: &str = "
create schema sim;
create table sim.clock (at timestamptz not null);
insert into sim.clock values (to_timestamp(1772438400));
create sequence sim.ids;
grant usage on schema sim to public;
grant select on sim.clock to public;
grant usage on sequence sim.ids to public;
create sequence sim.user_writes;
create sequence sim.captured;
grant usage on sequence sim.user_writes, sim.captured to public;
create function sim.count_captured() returns trigger language plpgsql
as $$ begin perform nextval('sim.captured'); return null; end $$;
create trigger captured after insert on syncline.sync_outbox for each row when (new.entered_at is null)
execute function sim.count_captured();
create table sim.had_row (of text not null, key text, unique nulls not distinct (of, key));
grant select, insert on sim.had_row to public;
create function sim.count_user_write() returns trigger language plpgsql
as $$ begin
    -- What a foreign key or a trigger writes counts as of users, too.
    if current_setting('application_name') = 'user' or pg_trigger_depth() > 1 then
        perform nextval('sim.user_writes');
    end if;
    if tg_level = 'ROW' and tg_op <> 'DELETE' then
        insert into sim.had_row values (tg_table_name, new.fax) on conflict do nothing;
    end if;
    return null;
end $$;
create or replace function syncline.clock() returns timestamptz language sql stable parallel safe
as $$ select at from sim.clock $$;
create or replace function syncline.wall_clock() returns timestamptz language sql volatile parallel safe
as $$ select at from sim.clock $$;
create or replace function syncline.new_id() returns uuid language sql volatile
as $$ select md5(nextval('sim.ids')::text)::uuid $$;
";
