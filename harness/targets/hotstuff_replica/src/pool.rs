//! Commands that wait to be proposed, and clients that wait for a command to be committed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{mpsc::Sender, Condvar, Mutex},
    time::Duration,
};

use serde_json::Value;

use crate::command::Command;

#[derive(Default)]
pub struct Pool {
    inner: Mutex<Inner>,
    arrived: Condvar,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Command>,
    clients: HashMap<String, Sender<Value>>,
}

impl Pool {
    /// Hold a command until it is committed; with `client`, tell it then what came of it.
    pub fn add(&self, command: Command, client: Option<Sender<Value>>) {
        let mut inner = self.inner.lock().unwrap();
        if let Some(client) = client {
            inner.clients.insert(command.id.clone(), client);
        }
        if !inner.queue.iter().any(|held| held.id == command.id) {
            inner.queue.push_back(command);
        }
        self.arrived.notify_all();
    }

    /// At most `limit` commands for which `fresh` holds, oldest first; waits up to `wait` while there is none.
    /// `fresh` reads the store under our lock: nobody may come here who holds the store's.
    pub fn wait_for(&self, wait: Duration, limit: usize, fresh: impl Fn(&Command) -> bool) -> Vec<Command> {
        let some = |inner: &Inner| inner.queue.iter().any(&fresh);
        let inner = self.inner.lock().unwrap();
        let (inner, _) = self.arrived.wait_timeout_while(inner, wait, |inner| !some(inner)).unwrap();
        inner.queue.iter().filter(|command| fresh(command)).take(limit).cloned().collect()
    }

    /// A block with these commands is committed, with these results: forget them and answer their clients.
    pub fn committed(&self, results: Vec<(Command, Value)>) {
        let mut inner = self.inner.lock().unwrap();
        for (command, result) in results {
            inner.queue.retain(|held| held.id != command.id);
            if let Some(client) = inner.clients.remove(&command.id) {
                let _ = client.send(result);
            }
        }
    }

    /// The client went away; its command stays, for it may be in a block already.
    pub fn leave(&self, id: &str) {
        self.inner.lock().unwrap().clients.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{mpsc, Arc};

    use serde_json::json;

    use super::*;

    fn command(id: &str) -> Command {
        serde_json::from_value(json!({"id": id, "f": "read", "key": "x"})).unwrap()
    }

    fn waiting(pool: &Pool) -> Vec<String> {
        pool.wait_for(Duration::ZERO, 9, |_| true).into_iter().map(|command| command.id).collect()
    }

    #[test]
    fn a_command_waits_once_and_until_it_is_committed() {
        let pool = Pool::default();
        for id in ["a", "b", "a"] {
            pool.add(command(id), None);
        }
        assert_eq!(waiting(&pool), ["a", "b"]);
        assert_eq!(waiting(&pool), ["a", "b"], "to be proposed is not to be committed");
        assert_eq!(pool.wait_for(Duration::ZERO, 1, |held| held.id != "a"), [command("b")]);
        pool.committed(vec![(command("a"), Value::Null)]);
        assert_eq!(waiting(&pool), ["b"]);
    }

    #[test]
    fn a_client_hears_of_its_own_command_and_one_that_left_of_nothing() {
        let pool = Pool::default();
        let clients: Vec<_> = ["a", "b"]
            .map(|id| {
                let (client, answers) = mpsc::channel();
                pool.add(command(id), Some(client));
                answers
            })
            .into();
        pool.leave("b");
        pool.committed(vec![(command("a"), json!(1)), (command("b"), json!(2))]);
        assert_eq!(clients[0].try_recv(), Ok(json!(1)));
        assert_eq!(clients[1].try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn a_leader_that_waits_is_woken_by_a_command() {
        let pool = Arc::new(Pool::default());
        let leader = Arc::clone(&pool);
        let woken = std::thread::spawn(move || leader.wait_for(Duration::from_secs(300), 9, |_| true));
        pool.add(command("a"), None);
        assert_eq!(woken.join().unwrap(), [command("a")]);
    }
}
