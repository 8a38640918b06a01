//! The replicated application: registers (and lists) under string keys, each command executed at most once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hotstuff_rs::{
    app::{App, ProduceBlockRequest, ProduceBlockResponse, ValidateBlockRequest, ValidateBlockResponse},
    block_tree::accessors::app::AppBlockTreeView,
    types::{
        crypto_primitives::{CryptoHasher, Digest},
        data_types::{CryptoHash, Data, Datum},
        update_sets::AppStateUpdates,
    },
};
use serde_json::Value;

use crate::{
    command::{self, Command},
    pool::Pool,
    store::JournalledStore,
};

type View<'a> = AppBlockTreeView<'a, JournalledStore>;

/// A block commits when three more stand on it: so long after a command the leaders keep their pace.
const CHAIN: usize = 4;
const COMMANDS_PER_BLOCK: usize = 256;

pub fn register_key(key: &str) -> Vec<u8> {
    [b"register/", key.as_bytes()].concat()
}

pub fn result_key(id: &str) -> Vec<u8> {
    [b"result/", id.as_bytes()].concat()
}

pub struct Registers {
    pool: Arc<Pool>,
    idle: Duration,
    busy: Duration,
}

impl Registers {
    pub fn new(pool: Arc<Pool>, idle_ms: u64, busy_ms: u64) -> Self {
        Self { pool, idle: Duration::from_millis(idle_ms), busy: Duration::from_millis(busy_ms) }
    }
}

impl App<JournalledStore> for Registers {
    fn produce_block(&mut self, request: ProduceBlockRequest<JournalledStore>) -> ProduceBlockResponse {
        let tree = request.block_tree();
        let fresh = |command: &Command| tree.app_state(&result_key(&command.id)).is_none();
        std::thread::sleep(self.busy);
        let wait = if pending(tree, request.parent_block()) { Duration::ZERO } else { self.idle };
        let commands = self.pool.wait_for(wait, COMMANDS_PER_BLOCK, fresh);
        let bytes = serde_json::to_vec(&commands).expect("commands are JSON");
        ProduceBlockResponse {
            data_hash: digest(&bytes),
            app_state_updates: updates(|key| tree.app_state(key), &commands),
            data: Data::new(vec![Datum::new(bytes)]),
            validator_set_updates: None,
        }
    }

    fn validate_block(&mut self, request: ValidateBlockRequest<JournalledStore>) -> ValidateBlockResponse {
        let block = request.proposed_block();
        let Some(commands) = command::parse(&block.data) else { return ValidateBlockResponse::Invalid };
        if block.data_hash != digest(block.data.vec()[0].bytes()) {
            return ValidateBlockResponse::Invalid;
        }
        let tree = request.block_tree();
        let app_state_updates = updates(|key| tree.app_state(key), &commands);
        ValidateBlockResponse::Valid { app_state_updates, validator_set_updates: None }
    }

    fn validate_block_for_sync(&mut self, request: ValidateBlockRequest<JournalledStore>) -> ValidateBlockResponse {
        self.validate_block(request)
    }
}

/// Does one of the blocks that are not committed yet carry a command that somebody waits for?
fn pending(tree: &View, parent: Option<CryptoHash>) -> bool {
    let mut next = parent;
    for _ in 0..CHAIN {
        let Some(block) = next.and_then(|hash| tree.block(&hash).ok().flatten()) else { return false };
        if !command::of_data(&block.data).is_empty() {
            return true;
        }
        next = (!block.justify.is_genesis_pc()).then_some(block.justify.block);
    }
    false
}

/// What the commands change in `state`. A repeated id changes nothing: its first result stands.
fn updates(state: impl Fn(&[u8]) -> Option<Vec<u8>>, commands: &[Command]) -> Option<AppStateUpdates> {
    let mut changed: HashMap<Vec<u8>, Value> = HashMap::new();
    for command in commands {
        let key = result_key(&command.id);
        if changed.contains_key(&key) || state(&key).is_some() {
            continue;
        }
        let get = |name: &str| {
            let key = register_key(name);
            changed.get(&key).cloned().unwrap_or_else(|| value(state(&key)))
        };
        let (writes, result) = command::execute(&command.op, get);
        changed.extend(writes.into_iter().map(|(name, value)| (register_key(&name), value)));
        changed.insert(key, result);
    }
    if changed.is_empty() {
        return None;
    }
    let mut out = AppStateUpdates::new();
    for (key, value) in changed {
        out.insert(key, value.to_string().into_bytes());
    }
    Some(out)
}

/// A stored value; null where there is none.
pub fn value(stored: Option<Vec<u8>>) -> Value {
    stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(Value::Null)
}

fn digest(bytes: &[u8]) -> CryptoHash {
    CryptoHash::new(CryptoHasher::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type State = HashMap<Vec<u8>, Vec<u8>>;

    fn commands(of: Value) -> Vec<Command> {
        serde_json::from_value(of).unwrap()
    }

    /// The state after a block with these commands.
    fn after(mut state: State, block: Value) -> State {
        let changes = updates(|key| state.get(key).cloned(), &commands(block));
        for (key, value) in changes.iter().flat_map(|changes| changes.inserts()) {
            state.insert(key.clone(), value.clone());
        }
        state
    }

    fn read(state: &State, key: Vec<u8>) -> Value {
        value(state.get(&key).cloned())
    }

    #[test]
    fn commands_of_one_block_see_each_other_in_their_order() {
        let state = after(
            State::new(),
            json!([
                {"id": "a", "f": "write", "key": "x", "value": 1},
                {"id": "b", "f": "cas", "key": "x", "old": 1, "new": 2},
                {"id": "c", "f": "cas", "key": "x", "old": 1, "new": 3},
                {"id": "d", "f": "read", "key": "x"},
            ]),
        );
        assert_eq!(read(&state, register_key("x")), json!(2));
        let results: Vec<_> = ["a", "b", "c", "d"].iter().map(|id| read(&state, result_key(id))).collect();
        assert_eq!(results, [Value::Null, json!(true), json!(false), json!(2)]);
    }

    #[test]
    fn a_command_is_executed_once_in_one_block_and_over_blocks_and_its_first_result_stands() {
        let append =
            |id: &str, element| json!({"id": id, "f": "txn", "ops": [["append", "x", element], ["r", "x", null]]});
        let first = after(State::new(), json!([append("a", 1), append("a", 1), append("b", 2)]));
        assert_eq!(read(&first, register_key("x")), json!([1, 2]));
        let second = after(first.clone(), json!([append("b", 2), append("a", 1)]));
        assert!(second == first);
        let third = after(second, json!([append("c", 3), append("a", 1)]));
        assert_eq!(read(&third, register_key("x")), json!([1, 2, 3]));
        assert_eq!(read(&third, result_key("a")), json!([["append", "x", 1], ["r", "x", [1]]]));
    }

    #[test]
    fn a_block_that_changes_nothing_says_so() {
        assert!(updates(|_| None, &[]).is_none());
        let state = after(State::new(), json!([{"id": "a", "f": "write", "key": "x", "value": 1}]));
        let again = commands(json!([{"id": "a", "f": "write", "key": "x", "value": 2}]));
        assert!(updates(|key| state.get(key).cloned(), &again).is_none());
    }
}
