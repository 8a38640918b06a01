//! Two defects of hotstuff_rs 0.4.0, mended from outside: on what goes into the crate and comes out of it. The third,
//! of blocks that are read back without data, is mended in `store.rs`. `as_published` leaves all of them in.
//!
//! 1. It panics ("Pacemaker failure! NonIncreasingViewError") when a vote for a time-out brings a timeout certificate
//!    that is newer than the newest this replica has, and yet older than the view it is in: as it is after every time
//!    that it was cut off while the others timed out. Such a certificate could move it only backwards, so it is taken
//!    off the vote (whose signature does not cover it).
//! 2. A replica asks for blocks only those who have committed at least as much as itself, and it is one of them. One that
//!    is a block ahead of all others and then misses another asks itself, for ever. What it asks itself is asked of the
//!    others (`standin.rs`), and the answer is given to it in its own name.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use hotstuff_rs::{
    block_sync::messages::BlockSyncMessage,
    block_tree::pluggables::KVGet,
    networking::{
        messages::{Message, ProgressMessage},
        network::Network,
    },
    pacemaker::messages::PacemakerMessage,
    types::{crypto_primitives::VerifyingKey, update_sets::ValidatorSetUpdates, validator_set::ValidatorSet},
};

use crate::{standin::StandIn, store::JournalledStore};

/// A network as the crate should have it.
#[derive(Clone)]
pub struct Mended<N> {
    inner: N,
    me: VerifyingKey,
    others: Vec<VerifyingKey>,
    store: JournalledStore,
    stand_in: Arc<Mutex<StandIn>>,
    /// The highest view that what was received may have led to; the receiving thread's clone knows it.
    reached: u64,
}

impl<N: Network> Mended<N> {
    /// `others`: whom the replica `me` may ask; who has none asks itself.
    pub fn new(inner: N, me: VerifyingKey, others: Vec<VerifyingKey>, store: JournalledStore) -> Self {
        Self { inner, me, others, store, stand_in: Arc::default(), reached: 0 }
    }

    fn without_old_certificate(&mut self, message: &mut Message) {
        let Message::ProgressMessage(ProgressMessage::PacemakerMessage(message)) = message else { return };
        match message {
            // What is delivered before is not handled yet, but will be when the vote is.
            PacemakerMessage::AdvanceView(_) => self.reached = self.reached.max(message.view().int() + 1),
            PacemakerMessage::TimeoutVote(vote) => {
                let entered = self.store.highest_view_entered().map_or(0, |view| view.int());
                self.reached = self.reached.max(entered);
                vote.highest_tc = vote.highest_tc.take().filter(|newest| newest.view.int() + 1 > self.reached);
            }
        }
    }
}

impl<N: Network> Network for Mended<N> {
    fn init_validator_set(&mut self, set: ValidatorSet) {
        self.inner.init_validator_set(set);
    }

    fn update_validator_set(&mut self, updates: ValidatorSetUpdates) {
        self.inner.update_validator_set(updates);
    }

    fn broadcast(&mut self, message: Message) {
        self.inner.broadcast(message);
    }

    fn send(&mut self, peer: VerifyingKey, message: Message) {
        let asks = matches!(message, Message::BlockSyncMessage(BlockSyncMessage::BlockSyncRequest(_)));
        if !asks || peer != self.me || self.others.is_empty() {
            return self.inner.send(peer, message);
        }
        self.stand_in.lock().unwrap().ask(&self.others, Instant::now());
        for other in &self.others {
            self.inner.send(*other, message.clone());
        }
    }

    fn recv(&mut self) -> Option<(VerifyingKey, Message)> {
        if let Some(answer) = self.stand_in.lock().unwrap().due(Instant::now()) {
            return Some((self.me, answer.into()));
        }
        let (sender, mut message) = self.inner.recv()?;
        self.without_old_certificate(&mut message);
        let Message::BlockSyncMessage(BlockSyncMessage::BlockSyncResponse(answer)) = message else {
            return Some((sender, message));
        };
        let known = |hash: &_| self.store.block_height(hash).is_ok_and(|height| height.is_some());
        let unasked = self.stand_in.lock().unwrap().hear(sender, answer, known)?;
        Some((sender, unasked.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use borsh::BorshDeserialize;
    use hotstuff_rs::{
        block_sync::messages::{BlockSyncRequest, BlockSyncResponse},
        hotstuff::types::PhaseCertificate,
        pacemaker::{
            messages::{ProgressCertificate, TimeoutVote},
            types::TimeoutCertificate,
        },
        types::data_types::{BlockHeight, ChainID, SignatureBytes, SignatureSet, ViewNumber},
    };

    use super::*;
    use crate::{
        cluster::{key, Scratch},
        CHAIN_ID,
    };

    /// A network that says what it was given, and gives what it was told.
    #[derive(Clone, Default)]
    struct Told {
        sent: Arc<Mutex<Vec<(VerifyingKey, Message)>>>,
        inbox: Arc<Mutex<VecDeque<(VerifyingKey, Message)>>>,
    }

    impl Network for Told {
        fn init_validator_set(&mut self, _: ValidatorSet) {}
        fn update_validator_set(&mut self, _: ValidatorSetUpdates) {}
        fn broadcast(&mut self, _: Message) {}
        fn send(&mut self, peer: VerifyingKey, message: Message) {
            self.sent.lock().unwrap().push((peer, message));
        }
        fn recv(&mut self) -> Option<(VerifyingKey, Message)> {
            self.inbox.lock().unwrap().pop_front()
        }
    }

    fn mended(others: u8, scratch: &Scratch) -> (Told, Mended<Told>) {
        let (told, others) = (Told::default(), (1..=others).map(|n| key(n).verifying_key()).collect());
        let store = JournalledStore::open(&scratch.0, false).unwrap();
        (told.clone(), Mended::new(told, key(0).verifying_key(), others, store))
    }

    fn request() -> Message {
        let chain_id = ChainID::new(CHAIN_ID);
        BlockSyncRequest { chain_id, start_height: BlockHeight::new(1), limit: 9 }.into()
    }

    fn response() -> Message {
        BlockSyncResponse { blocks: vec![], highest_pc: PhaseCertificate::genesis_pc() }.into()
    }

    fn certificate(view: u64) -> TimeoutCertificate {
        let signatures = SignatureSet::try_from_slice(&[0; 4]).unwrap();
        TimeoutCertificate { chain_id: ChainID::new(CHAIN_ID), view: ViewNumber::new(view), signatures }
    }

    fn vote(view: u64, newest: u64) -> Message {
        let signature = SignatureBytes::try_from_slice(&[0; 64]).unwrap();
        let (chain_id, view) = (ChainID::new(CHAIN_ID), ViewNumber::new(view));
        let vote = TimeoutVote { chain_id, view, signature, highest_tc: Some(certificate(newest)) };
        PacemakerMessage::TimeoutVote(vote).into()
    }

    fn newest(message: Option<(VerifyingKey, Message)>) -> Option<u64> {
        match message {
            Some((
                _,
                Message::ProgressMessage(ProgressMessage::PacemakerMessage(PacemakerMessage::TimeoutVote(v))),
            )) => v.highest_tc.map(|newest| newest.view.int()),
            _ => panic!("a vote for a time-out was to be delivered"),
        }
    }

    #[test]
    fn what_a_replica_asks_itself_is_asked_of_all_others_and_answered_in_its_name() {
        let scratch = Scratch::new("asks-itself");
        let (told, mut mended) = mended(3, &scratch);
        mended.send(key(0).verifying_key(), request());
        let asked: Vec<_> = told.sent.lock().unwrap().iter().map(|(peer, _)| *peer).collect();
        assert_eq!(asked, (1..=3).map(|n| key(n).verifying_key()).collect::<Vec<_>>());
        for number in 1..=3 {
            told.inbox.lock().unwrap().push_back((key(number).verifying_key(), response()));
        }
        let heard: Vec<_> = (0..4).filter_map(|_| mended.clone().recv()).map(|(sender, _)| sender).collect();
        assert_eq!(heard, [key(0).verifying_key()]);
    }

    #[test]
    fn what_a_replica_asks_another_goes_there_alone_and_so_does_what_it_answers_itself() {
        let scratch = Scratch::new("asks-another");
        let (told, mut mended) = mended(3, &scratch);
        mended.send(key(2).verifying_key(), request());
        mended.send(key(0).verifying_key(), response());
        let sent: Vec<_> = told.sent.lock().unwrap().iter().map(|(peer, _)| *peer).collect();
        assert_eq!(sent, [key(2).verifying_key(), key(0).verifying_key()]);
        told.inbox.lock().unwrap().push_back((key(2).verifying_key(), response()));
        assert_eq!(mended.recv().map(|(sender, _)| sender), Some(key(2).verifying_key()));
    }

    #[test]
    fn a_replica_that_is_alone_asks_itself() {
        let scratch = Scratch::new("alone");
        let (told, mut mended) = mended(0, &scratch);
        mended.send(key(0).verifying_key(), request());
        assert_eq!(told.sent.lock().unwrap()[0].0, key(0).verifying_key());
    }

    #[test]
    fn a_certificate_that_could_only_lead_back_is_taken_off_a_vote() {
        let scratch = Scratch::new("old-certificate");
        let (told, mut mended) = mended(3, &scratch);
        let from = key(1).verifying_key();
        let mut delivered = |message| {
            told.inbox.lock().unwrap().push_back((from, message));
            mended.recv()
        };
        assert_eq!(newest(delivered(vote(70, 66))), Some(66), "it is in no later view");
        let advance = PacemakerMessage::advance_view(ProgressCertificate::TimeoutCertificate(certificate(69)));
        delivered(advance.into());
        assert_eq!(newest(delivered(vote(70, 66))), None, "from view 70 it would lead to 67");
        assert_eq!(newest(delivered(vote(70, 69))), None, "from view 70 it would lead to 70");
        assert_eq!(newest(delivered(vote(71, 70))), Some(70));
    }
}
