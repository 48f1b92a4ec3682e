//! The store of a world: the real store on a real SQLite file or PostgreSQL database ([`TestState`]), with one sink
//! that takes every message at once.

use crate::domain::{Coverage, DeliveryClass, Outcome, PollChange, Row, Seq, UnixMs, WalkId};
use crate::ingest::coverage::testbed::{Choices, Store};
use crate::store::tests::TestState;
use crate::store::{ClaimLimits, ForgottenUpTo, RetentionCutoffs, Settlement, SinkId, SinkSetup, Spool};

pub(super) struct StateStore {
    state: TestState,
    /// The opened state; `None` only for a moment during a restart.
    spool: Option<Box<Spool>>,
    sink: SinkId,
}

impl StateStore {
    pub(super) fn new() -> Self {
        let state = TestState::new();
        let mut spool = state.open();
        let sink = register_sink(&mut *spool);
        Self { state, spool: Some(spool), sink }
    }

    fn spool(&mut self) -> &mut Spool {
        &mut **self.spool.as_mut().unwrap()
    }

    /// Delivers all messages that wait in the queue of this class. Returns their ids in the order of delivery.
    fn deliver(&mut self, class: DeliveryClass, now: UnixMs) -> Vec<String> {
        let sink = self.sink;
        let all = ClaimLimits { rows: usize::MAX, bytes: usize::MAX, details: false };
        let claims = self.spool().claim_fresh(sink, class, all, &|_| false).unwrap();
        let mut settled = Vec::new();
        let mut ids = Vec::new();
        for claim in claims {
            assert_eq!(&*claim.raw, format!("{{\"id\":\"{}\"}}", claim.id), "the row changed on its way");
            settled.push(Settlement {
                sink,
                seq: claim.seq,
                attempts: 1,
                first_attempt: now,
                outcome: Outcome::Delivered { status: None },
                health: None,
            });
            ids.push(claim.id);
        }
        self.spool().settle(&settled, now).unwrap();
        ids
    }
}

impl Store for StateStore {
    fn known(&mut self, rows: &[Row]) -> Vec<Option<Seq>> {
        self.spool().known(&rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>()).unwrap()
    }

    fn commit(&mut self, changes: &[PollChange], now: UnixMs) -> Vec<Vec<String>> {
        self.spool().commit(changes, now).unwrap();
        assert_eq!(self.spool().release_orphaned_rows().unwrap(), 0, "a row is held by a gap that is not open");
        [DeliveryClass::Live, DeliveryClass::Backfill].map(|class| self.deliver(class, now)).into()
    }

    fn coverage(&mut self) -> Option<Coverage> {
        self.spool().load_coverage().unwrap()
    }

    fn held(&mut self, walk: WalkId) -> u64 {
        self.spool().count_held(walk).unwrap()
    }

    /// In one of ten restarts the file or database is closed and opened again. In the other nine it stays open.
    fn restart<C: Choices>(&mut self, choices: &mut C) {
        if choices.chance(0.1) {
            drop(self.spool.take());
            let mut spool = self.state.open();
            register_sink(&mut *spool);
            self.spool = Some(spool);
        }
        self.spool().release_orphaned_rows().unwrap();
    }

    fn forget(&mut self, delivered_before: UnixMs, watermark: UnixMs, keep_newest: u32) {
        let cutoffs = RetentionCutoffs { delivered: Some(delivered_before), dead: None };
        self.spool().remove_settled(cutoffs, Seq(0)).unwrap();
        let mut place = Some(ForgottenUpTo::START);
        while let Some(after) = place {
            place = self.spool().forget_ids(watermark, keep_newest, after).unwrap().next;
        }
    }
}

fn register_sink(spool: &mut Spool) -> SinkId {
    spool.register_sinks(&[SinkSetup::new("all")], UnixMs::MAX, UnixMs(0)).unwrap()[0].id
}
