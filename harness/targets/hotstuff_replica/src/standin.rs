//! Whom a replica asks that would ask only itself (see `mends.rs`): the others, and who of them is heard.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use hotstuff_rs::{
    block_sync::messages::BlockSyncResponse,
    types::{crypto_primitives::VerifyingKey, data_types::CryptoHash},
};

/// So long we wait for the rest once one has answered with nothing new. The crate waits for a second in all, and its
/// protocol rests meanwhile.
const PATIENCE: Duration = Duration::from_millis(300);

/// One question to all others at a time: the crate asks the next one when the last was answered, or given up.
#[derive(Default)]
pub struct StandIn(Option<Question>);

struct Question {
    silent: HashSet<VerifyingKey>,
    until: Instant,
    answer: Option<BlockSyncResponse>,
    /// The answer has a block that the asker lacks.
    news: bool,
}

impl StandIn {
    /// These are asked in place of the replica itself.
    pub fn ask(&mut self, others: &[VerifyingKey], now: Instant) {
        let silent = others.iter().copied().collect();
        self.0 = Some(Question { silent, until: now + PATIENCE, answer: None, news: false });
    }

    /// An answer came in; `known` says which blocks the asker has. It is given back where nobody waits for it: the
    /// replica may have asked this one by itself.
    pub fn hear(
        &mut self,
        from: VerifyingKey,
        answer: BlockSyncResponse,
        known: impl Fn(&CryptoHash) -> bool,
    ) -> Option<BlockSyncResponse> {
        let Some(question) = self.0.as_mut().filter(|question| question.silent.contains(&from)) else {
            return Some(answer);
        };
        question.silent.remove(&from);
        if !question.news {
            question.news = answer.blocks.iter().any(|block| !known(&block.hash));
            question.answer = Some(answer);
        }
        None
    }

    /// What the asker is to be told now, if anything: the first answer with news, or one without when all have answered
    /// or patience is over.
    pub fn due(&mut self, now: Instant) -> Option<BlockSyncResponse> {
        let question = self.0.as_ref()?;
        let enough = question.news || question.silent.is_empty() || now >= question.until;
        if question.answer.is_none() || !enough {
            return None;
        }
        self.0.take()?.answer
    }
}

#[cfg(test)]
mod tests {
    use hotstuff_rs::{
        hotstuff::types::PhaseCertificate,
        types::{
            block::Block,
            data_types::{BlockHeight, Data},
        },
    };

    use super::*;
    use crate::cluster::key;

    fn answer(heights: &[u64]) -> BlockSyncResponse {
        let block = |height: &u64| {
            let height = BlockHeight::new(*height);
            Block::new(height, PhaseCertificate::genesis_pc(), CryptoHash::new([0; 32]), Data::new(vec![]))
        };
        BlockSyncResponse { blocks: heights.iter().map(block).collect(), highest_pc: PhaseCertificate::genesis_pc() }
    }

    fn heights(answer: Option<BlockSyncResponse>) -> Option<Vec<u64>> {
        answer.map(|answer| answer.blocks.iter().map(|block| block.height.int()).collect())
    }

    fn others() -> Vec<VerifyingKey> {
        (1..4).map(|number| key(number).verifying_key()).collect()
    }

    #[test]
    fn the_first_answer_with_a_block_that_is_lacked_is_told_at_once() {
        let (mut stand_in, others, now) = (StandIn::default(), others(), Instant::now());
        let has: Vec<_> = answer(&[1, 2]).blocks.iter().map(|block| block.hash).collect();
        stand_in.ask(&others, now);
        assert!(stand_in.due(now).is_none());
        assert!(stand_in.hear(others[0], answer(&[1, 2]), |hash| has.contains(hash)).is_none());
        assert!(stand_in.due(now).is_none(), "the others may know more");
        assert!(stand_in.hear(others[1], answer(&[1, 2, 3]), |hash| has.contains(hash)).is_none());
        assert!(stand_in.hear(others[2], answer(&[]), |hash| has.contains(hash)).is_none());
        assert_eq!(heights(stand_in.due(now)), Some(vec![1, 2, 3]));
        assert!(stand_in.due(now + PATIENCE).is_none(), "it is told once");
    }

    #[test]
    fn that_there_is_nothing_new_is_told_when_all_have_said_so() {
        let (mut stand_in, others, now) = (StandIn::default(), others(), Instant::now());
        stand_in.ask(&others, now);
        for other in &others {
            assert!(stand_in.due(now).is_none());
            assert!(stand_in.hear(*other, answer(&[1]), |_| true).is_none());
        }
        assert_eq!(heights(stand_in.due(now)), Some(vec![1]));
    }

    #[test]
    fn who_is_silent_is_not_waited_for_for_ever_and_silence_of_all_is_no_answer() {
        let (mut stand_in, others, now) = (StandIn::default(), others(), Instant::now());
        stand_in.ask(&others, now);
        assert!(stand_in.due(now + PATIENCE).is_none());
        assert!(stand_in.hear(others[0], answer(&[1]), |_| true).is_none());
        assert!(stand_in.due(now).is_none());
        assert_eq!(heights(stand_in.due(now + PATIENCE)), Some(vec![1]));
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_given_back() {
        let (mut stand_in, others, now) = (StandIn::default(), others(), Instant::now());
        assert!(stand_in.hear(others[0], answer(&[1]), |_| false).is_some());
        stand_in.ask(&others[..2], now);
        assert!(stand_in.hear(others[2], answer(&[1]), |_| false).is_some(), "it was not asked");
        assert!(stand_in.hear(others[0], answer(&[1]), |_| true).is_none());
        assert!(stand_in.hear(others[0], answer(&[2]), |_| false).is_some(), "it has answered already");
    }
}
