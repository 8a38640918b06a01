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
