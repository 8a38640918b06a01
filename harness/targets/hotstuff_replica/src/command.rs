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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn executed(op: Value, held: &[(&str, Value)]) -> (Vec<(String, Value)>, Value) {
        let op: Op = serde_json::from_value(op).unwrap();
        execute(&op, |key| held.iter().find(|(name, _)| *name == key).map_or(Value::Null, |(_, value)| value.clone()))
    }

    #[test]
    fn a_compare_and_set_writes_only_over_what_it_expects() {
        let cas = json!({"f": "cas", "key": "x", "old": 1, "new": 2});
        assert_eq!(executed(cas.clone(), &[("x", json!(1))]), (vec![("x".into(), json!(2))], json!(true)));
        assert_eq!(executed(cas.clone(), &[("x", json!(3))]), (vec![], json!(false)));
        assert_eq!(executed(cas, &[]), (vec![], json!(false)));
    }

    #[test]
    fn a_transaction_reads_its_own_writes_and_what_was_there_before() {
        let txn = json!({"f": "txn", "ops": [
            ["r", "x", null], ["append", "x", 2], ["append", "x", 3], ["r", "x", null],
            ["w", "y", 5], ["r", "y", null], ["w", "y", 6], ["r", "z", null],
        ]});
        let (writes, result) = executed(txn, &[("x", json!([1]))]);
        let last = |key: &str| writes.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        assert_eq!((last("x"), last("y"), last("z")), (Some(json!([1, 2, 3])), Some(json!(6)), None));
        let expected = json!([
            ["r", "x", [1]],
            ["append", "x", 2],
            ["append", "x", 3],
            ["r", "x", [1, 2, 3]],
            ["w", "y", 5],
            ["r", "y", 5],
            ["w", "y", 6],
            ["r", "z", null],
        ]);
        assert_eq!(result, expected);
    }

    #[test]
    fn what_is_not_ours_is_no_commands() {
        let datum = |text: &str| Datum::new(text.as_bytes().to_vec());
        assert!(parse(&Data::new(vec![])).is_none());
        assert!(parse(&Data::new(vec![datum("[]"), datum("[]")])).is_none());
        assert!(parse(&Data::new(vec![datum("[{}]")])).is_none());
        assert_eq!(parse(&Data::new(vec![datum("[]")])), Some(vec![]));
        assert!(of_data(&Data::new(vec![datum("no JSON")])).is_empty());
    }
}
