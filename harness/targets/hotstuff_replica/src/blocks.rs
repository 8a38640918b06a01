//! Committed blocks as JSON, with the certificates that stand for them.

use std::time::Duration;

use hotstuff_rs::{
    block_tree::{
        accessors::public::{BlockTreeCamera, BlockTreeSnapshot},
        pluggables::KVGet,
    },
    hotstuff::types::PhaseCertificate,
    types::{
        block::Block,
        data_types::{BlockHeight, Datum},
    },
};
use serde_json::{json, Value};

use crate::{app, command, config::hex, pool::Pool, store::JournalledStore};

/// At most `limit` committed blocks from height `from` on. A block's certificate is what the next one is justified by,
/// so the newest committed block is told when one more is committed; its view is the certificate's.
pub fn committed<S: KVGet>(snapshot: &BlockTreeSnapshot<S>, from: u64, limit: u64) -> Vec<Value> {
    let at = |height: u64| -> Option<Block> {
        let hash = snapshot.block_at_height(BlockHeight::new(height)).ok()??;
        snapshot.block(&hash).ok()?
    };
    let mut out = vec![];
    let mut here = at(from);
    for height in from..from.saturating_add(limit) {
        let next = at(height + 1);
        let (Some(block), Some(child)) = (here, &next) else { break };
        let datum = snapshot.block_datum(&block.hash, 0);
        out.push(described(&block, datum.as_ref(), &child.justify));
        here = next;
    }
    out
}

/// The height of the newest committed block; None before the first.
pub fn height<S: KVGet>(snapshot: &BlockTreeSnapshot<S>) -> Option<u64> {
    let hash = snapshot.highest_committed_block().ok()??;
    Some(snapshot.block_height(&hash).ok()??.int())
}

/// Tell the pool of every block that is committed from now on; never returns.
pub fn follow(store: &JournalledStore, pool: &Pool) {
    let camera = BlockTreeCamera::new(store.clone());
    let (mut writes, mut next) = (0, height(&camera.snapshot()).map_or(0, |height| height + 1));
    loop {
        let mut results = vec![]; // gathered first: the snapshot's lock must be gone before the pool's is taken
        {
            let snapshot = camera.snapshot();
            while let Ok(Some(hash)) = snapshot.block_at_height(BlockHeight::new(next)) {
                let datum = snapshot.block_datum(&hash, 0);
                for command in datum.and_then(|datum| command::of_datum(&datum)).unwrap_or_default() {
                    let result = app::value(snapshot.committed_app_state(&app::result_key(&command.id)));
                    results.push((command, result));
                }
                next += 1;
            }
        }
        pool.committed(results);
        writes = store.wait_for_write(writes, Duration::from_secs(1));
    }
}

fn described(block: &Block, datum: Option<&Datum>, own: &PhaseCertificate) -> Value {
    let data = datum.map(|datum| String::from_utf8_lossy(datum.bytes()).into_owned());
    json!({
        "height": block.height.int(),
        "hash": hex(&block.hash.bytes()),
        "view": own.view.int(),
        "certificate": certificate(own),
        "justify": certificate(&block.justify),
        "data_hash": hex(&block.data_hash.bytes()),
        "data": data,
    })
}

/// Signatures stand in the order of the validators' public keys; null where one did not vote.
fn certificate(of: &PhaseCertificate) -> Value {
    let signatures: Vec<_> = of.signatures.iter().map(|s| s.as_ref().map(|s| hex(&s.bytes()))).collect();
    json!({
        "chain": of.chain_id.int(),
        "view": of.view.int(),
        "block": hex(&of.block.bytes()),
        "phase": format!("{:?}", of.phase).to_lowercase(),
        "signatures": signatures,
    })
}
