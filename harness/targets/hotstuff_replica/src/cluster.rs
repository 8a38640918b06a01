//! Test code: replicas of the crate in one process, on links whose every message a test may drop.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::{
        mpsc::{self, Receiver, Sender},
        Arc, Mutex,
    },
    time::{Duration, Instant},
};

use hotstuff_rs::{
    block_tree::{accessors::public::BlockTreeCamera, pluggables::KVGet},
    networking::{messages::Message, network::Network},
    replica::Replica,
    types::{
        crypto_primitives::{SigningKey, VerifyingKey},
        update_sets::ValidatorSetUpdates,
        validator_set::ValidatorSet,
    },
};

use crate::{
    blocks,
    config::{hex, Config, Peer},
    mends::Mended,
    pool::Pool,
    store::JournalledStore,
};

/// However slow the machine is: what has not come after so long will not.
const LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(5);

/// A directory below the system's temporary one, gone with this value.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hotstuff-replica-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The keys of the tests, by their number.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number + 1; 32])
}

/// May this message pass? (sender, receiver, message)
pub type Rule = Arc<dyn Fn(usize, usize, &Message) -> bool + Send + Sync>;
type Mail = (VerifyingKey, Message);

#[derive(Clone)]
pub struct Wire {
    me: usize,
    keys: Arc<Vec<VerifyingKey>>,
    doors: Arc<HashMap<VerifyingKey, Sender<Mail>>>,
    inbox: Arc<Mutex<Receiver<Mail>>>,
    rule: Rule,
}

impl Network for Wire {
    fn init_validator_set(&mut self, _: ValidatorSet) {}

    fn update_validator_set(&mut self, _: ValidatorSetUpdates) {}

    fn broadcast(&mut self, message: Message) {
        for key in self.keys.clone().iter() {
            self.send(*key, message.clone());
        }
    }

    fn send(&mut self, peer: VerifyingKey, message: Message) {
        let to = self.keys.iter().position(|key| *key == peer).expect("a replica of this cluster");
        if to == self.me || (self.rule)(self.me, to, &message) {
            let _ = self.doors[&peer].send((self.keys[self.me], message)); // who is gone hears nothing
        }
    }

    fn recv(&mut self) -> Option<Mail> {
        self.inbox.lock().unwrap().recv_timeout(POLL).ok()
    }
}

/// How far replicas are, read from their stores.
#[derive(Clone)]
pub struct Progress(Arc<Vec<JournalledStore>>);

impl Progress {
    /// Committed blocks.
    pub fn heights(&self) -> Vec<u64> {
        let height = |store: &JournalledStore| blocks::height(&BlockTreeCamera::new(store.clone()).snapshot());
        self.0.iter().map(|store| height(store).map_or(0, |height| height + 1)).collect()
    }

    pub fn views(&self) -> Vec<u64> {
        self.0.iter().map(|store| store.highest_view_entered().map_or(0, |view| view.int())).collect()
    }

    pub fn store(&self, number: usize) -> &JournalledStore {
        &self.0[number]
    }
}

/// Replicas that run until this value is gone.
pub struct Cluster {
    pub progress: Progress,
    pub pools: Vec<Arc<Pool>>,
    replicas: Vec<Replica<JournalledStore>>,
    _scratch: Scratch,
}

impl Cluster {
    /// `stand_in`: is what a replica asks itself asked of the others?
    pub fn start(name: &str, size: u8, stand_in: bool, rule: impl FnOnce(Progress) -> Rule) -> Self {
        let scratch = Scratch::new(name);
        let signing = ordered(size);
        let keys: Arc<Vec<_>> = Arc::new(signing.iter().map(SigningKey::verifying_key).collect());
        let stores = (0..size).map(|n| JournalledStore::open(&scratch.0.join(n.to_string()), false).unwrap());
        let progress = Progress(Arc::new(stores.collect()));
        let rule = rule(progress.clone());
        let (senders, inboxes): (Vec<_>, Vec<_>) = keys.iter().map(|_| mpsc::channel()).unzip();
        let doors = Arc::new(keys.iter().copied().zip(senders).collect::<HashMap<_, _>>());
        let mut cluster = Self { progress: progress.clone(), pools: vec![], replicas: vec![], _scratch: scratch };
        for (me, inbox) in inboxes.into_iter().enumerate() {
            let (keys, doors, rule) = (Arc::clone(&keys), Arc::clone(&doors), Arc::clone(&rule));
            let others = keys.iter().enumerate().filter(|(n, _)| stand_in && *n != me).map(|(_, key)| *key).collect();
            let wire = Wire { me, keys: Arc::clone(&keys), doors, inbox: Arc::new(Mutex::new(inbox)), rule };
            let (store, pool) = (progress.store(me).clone(), Arc::new(Pool::default()));
            let mended = Mended::new(wire, keys[me], others, store.clone());
            cluster.replicas.push(crate::replica(&config(me, &signing), mended, store, &pool).unwrap());
            cluster.pools.push(pool);
        }
        cluster
    }

    /// Wait until `done` holds; panics when it does not in five minutes.
    pub fn until(&self, what: &str, done: impl Fn(&Progress) -> bool) {
        let begun = Instant::now();
        while !done(&self.progress) {
            let (heights, views) = (self.progress.heights(), self.progress.views());
            assert!(begun.elapsed() < LIMIT, "{what}: not in {LIMIT:?}; heights {heights:?}, views {views:?}");
            std::thread::sleep(POLL);
        }
    }
}

/// Keys in the crate's order of leaders, which is that of the public keys.
fn ordered(size: u8) -> Vec<SigningKey> {
    let mut keys: Vec<_> = (0..size).map(key).collect();
    keys.sort_by_key(|key| key.verifying_key().to_bytes());
    keys
}

fn config(me: usize, keys: &[SigningKey]) -> Config {
    let nowhere = "127.0.0.1:0".parse().unwrap();
    let peer = |(n, key): (usize, &SigningKey)| Peer {
        name: format!("n{n}"),
        public: hex(&key.verifying_key().to_bytes()),
        address: nowhere,
    };
    Config {
        me: format!("n{me}"),
        secret: hex(&keys[me].to_bytes()),
        listen: nowhere,
        client: String::new(),
        data: PathBuf::new(),
        peers: keys.iter().enumerate().map(peer).collect(),
        view_time_s: 1,
        epoch_length: 1,
        idle_ms: 20,
        busy_ms: 5,
        as_published: false,
    }
}

mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use hotstuff_rs::{hotstuff::messages::HotStuffMessage, networking::messages::ProgressMessage};
    use serde_json::json;

    use super::*;
    use crate::app;

    const OPEN: u64 = 0;
    const CUT: u64 = 1; // + the number of who is cut off
    const HEALED: u64 = u64::MAX;

    /// Four replicas. The moment one proposes that has committed more than all others, it is cut off: it alone has the
    /// newest certificate, and the others go on with a block of which it never hears. A few views later it is back.
    fn one_ahead_that_missed_a_block(name: &str, stand_in: bool) -> Cluster {
        let state = Arc::new(AtomicU64::new(OPEN));
        let told = Arc::clone(&state);
        let cluster = Cluster::start(name, 4, stand_in, |progress| {
            Arc::new(move |from, to, message| {
                if state.load(SeqCst) == OPEN && proposes(message) && ahead(&progress.heights()) == Some(from) {
                    state.store(CUT + from as u64, SeqCst);
                }
                let cut = state.load(SeqCst);
                cut == OPEN || cut == HEALED || (CUT + from as u64 != cut && CUT + to as u64 != cut)
            })
        });
        cluster.until("one is ahead", |_| told.load(SeqCst) != OPEN);
        let gone = (told.load(SeqCst) - CUT) as usize;
        let then = cluster.progress.views()[gone];
        let others = move |progress: &Progress| {
            let views = progress.views().into_iter().enumerate();
            views.filter(|(n, _)| *n != gone).map(|(_, view)| view).min().unwrap()
        };
        cluster.until("the others go on", |progress| others(progress) > then + 7);
        told.store(HEALED, SeqCst);
        cluster
    }

    fn proposes(message: &Message) -> bool {
        matches!(message, Message::ProgressMessage(ProgressMessage::HotStuffMessage(HotStuffMessage::Proposal(_))))
    }

    /// Who has committed more than all others, once there are a few blocks.
    fn ahead(heights: &[u64]) -> Option<usize> {
        let highest = *heights.iter().max()?;
        let mut those = heights.iter().enumerate().filter(|(_, height)| **height == highest).map(|(n, _)| n);
        those.next().filter(|_| highest > 5 && those.next().is_none())
    }

    /// Where the others have not locked on what came later (a machine so slow that their views timed out) they take the
    /// newest certificate from the one that is back, and go on. So a few tries may be needed; one is nearly always enough.
    #[test]
    fn who_is_a_block_ahead_asks_itself_and_four_replicas_stand_still() {
        let stood = (0..5).any(|attempt| {
            let cluster = one_ahead_that_missed_a_block(&format!("standstill-{attempt}"), false);
            let (heights, views) = (cluster.progress.heights(), cluster.progress.views());
            let latest = *views.iter().max().unwrap();
            cluster.until("12 more views of all", |progress| progress.views().iter().all(|view| *view > latest + 12));
            ahead(&heights).is_some() && cluster.progress.heights() == heights
        });
        assert!(stood, "a replica that is ahead finds help without a stand-in: is it needed any more?");
    }

    #[test]
    fn with_a_stand_in_four_replicas_go_on_when_all_are_up_again() {
        let cluster = one_ahead_that_missed_a_block("goes-on", true);
        let highest = *cluster.progress.heights().iter().max().unwrap();
        cluster.until("ten more blocks of all", |progress| progress.heights().iter().all(|h| *h > highest + 10));
    }

    #[test]
    fn a_command_that_is_proposed_twice_is_executed_once() {
        let cluster = Cluster::start("once", 4, true, |_| Arc::new(|_, _, _| true));
        let append = |id: &str, element| {
            serde_json::from_value(json!({"id": id, "f": "txn", "ops": [["append", "1", element]]})).unwrap()
        };
        let list =
            |progress: &Progress, n: usize| app::value(progress.store(n).committed_app_state(&app::register_key("1")));
        for (element, id) in ["a", "b", "a", "c"].into_iter().enumerate() {
            // Nobody forgets it, so every leader has it to propose for as long as it is not committed.
            cluster.pools.iter().for_each(|pool| pool.add(append(id, element), None));
            let committed = |store: &JournalledStore| store.committed_app_state(&app::result_key(id)).is_some();
            cluster.until("it is committed", |progress| (0..4).all(|n| committed(progress.store(n))));
        }
        assert!((0..4).all(|n| list(&cluster.progress, n) == json!([0, 1, 3])));
    }
}
