//! Commands: what clients ask for and blocks carry. The shape is the harness's own operation, so nothing is translated.

use hotstuff_rs::types::data_types::{Data, Datum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Given by the client, once: a command is executed at most once however often it is proposed.
    pub id: String,
    #[serde(flatten)]
    pub op: Op,
}

/// One atomic operation on registers and lists; absent keys read as null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "lowercase")]
pub enum Op {
    Read { key: String },
    Write { key: String, value: Value },
    Cas { key: String, old: Value, new: Value },
    Txn { ops: Vec<(String, String, Value)> },
}

/// The commands in a block; none where the data is not ours.
pub fn of_data(data: &Data) -> Vec<Command> {
    parse(data).unwrap_or_default()
}

pub fn parse(data: &Data) -> Option<Vec<Command>> {
    let [datum] = data.vec().as_slice() else { return None };
    of_datum(datum)
}

pub fn of_datum(datum: &Datum) -> Option<Vec<Command>> {
    serde_json::from_slice(datum.bytes()).ok()
}

/// Execute against `get`; the new values, and what the client is told.
pub fn execute(op: &Op, get: impl Fn(&str) -> Value) -> (Vec<(String, Value)>, Value) {
    match op {
        Op::Read { key } => (vec![], get(key)),
        Op::Write { key, value } => (vec![(key.clone(), value.clone())], Value::Null),
        Op::Cas { key, old, new } if get(key) == *old => (vec![(key.clone(), new.clone())], Value::Bool(true)),
        Op::Cas { .. } => (vec![], Value::Bool(false)),
        Op::Txn { ops } => transaction(ops, get),
    }
}

/// Micro-operations of Jepsen's transactions: ["r", key, null], ["w", key, value], ["append", key, element].
fn transaction(ops: &[(String, String, Value)], get: impl Fn(&str) -> Value) -> (Vec<(String, Value)>, Value) {
    let mut writes: Vec<(String, Value)> = vec![];
    let mut done = vec![];
    for (f, key, value) in ops {
        let written = writes.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.clone());
        let present = written.unwrap_or_else(|| get(key));
        let shown = match f.as_str() {
            "r" => present,
            "append" => {
                let mut list = present.as_array().cloned().unwrap_or_default();
                list.push(value.clone());
                writes.push((key.clone(), Value::Array(list)));
                value.clone()
            }
            _ => {
                writes.push((key.clone(), value.clone()));
                value.clone()
            }
        };
        done.push(serde_json::json!([f, key, shown]));
    }
    (writes, Value::Array(done))
}
