//! The crate's network: one TCP connection for each ordered pair of replicas, dialled by the sender, so that a proxy can
//! stand on each. A frame is a length (4 bytes) and a borsh-encoded `Frame`. Links are not authenticated: what a
//! sender says it is, it is; the signatures of votes and certificates are the crate's affair.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        mpsc::{self, Receiver, SyncSender, TrySendError},
        Arc, Mutex,
    },
    thread,
    time::Duration,
};

use borsh::{BorshDeserialize, BorshSerialize};
use hotstuff_rs::{
    block_tree::pluggables::KVGet,
    networking::{
        messages::{Message, ProgressMessage},
        network::Network,
    },
    pacemaker::messages::PacemakerMessage,
    types::{crypto_primitives::VerifyingKey, update_sets::ValidatorSetUpdates, validator_set::ValidatorSet},
};
use socket2::SockRef;

use crate::{command::Command, config::Config, pool::Pool, store::JournalledStore};

const FRAME_LIMIT: usize = 16 << 20;
const QUEUE: usize = 4096;
const DIAL: Duration = Duration::from_secs(1);
const REDIAL: Duration = Duration::from_millis(100);
/// Unacknowledged for so long: dial anew, for the kernel's own patience grows to minutes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(2);
/// Replicas advertise twice a second: a link that is silent for so long has lost its other end.
const SILENCE: Duration = Duration::from_secs(20);
/// How long `recv` waits for a message, so that the crate's poller rests.
const POLL: Duration = Duration::from_millis(20);

#[derive(BorshSerialize, BorshDeserialize)]
enum Frame {
    Hello {
        sender: String,
    },
    Consensus(Message),
    /// A client's command as JSON, passed on to every replica, for any may lead next.
    Command(Vec<u8>),
}

type Inbox = Receiver<(VerifyingKey, Message)>;

#[derive(Clone)]
pub struct Links {
    me: VerifyingKey,
    peers: HashMap<VerifyingKey, SyncSender<Arc<[u8]>>>,
    to_me: mpsc::Sender<(VerifyingKey, Message)>,
    inbox: Arc<Mutex<Inbox>>,
    store: JournalledStore,
    /// The highest view that what was received may have led to; the receiving thread's clone knows it.
    reached: u64,
}

impl Links {
    /// Listen, and dial every other replica for as long as the process lives.
    pub fn start(config: &Config, pool: Arc<Pool>, store: JournalledStore) -> Result<Self, String> {
        let listener = TcpListener::bind(config.listen)
            .map_err(|why| format!("cannot listen for replicas at {}: {why}", config.listen))?;
        let (to_me, inbox) = mpsc::channel();
        let mut keys = HashMap::new();
        let mut peers = HashMap::new();
        let mut me = None;
        for peer in &config.peers {
            let key = peer.key()?;
            if peer.name == config.me {
                me = Some(key);
                continue;
            }
            keys.insert(peer.name.clone(), key);
            let (queue, frames) = mpsc::sync_channel(QUEUE);
            let (hello, address) = (encoded(&Frame::Hello { sender: config.me.clone() }), peer.address);
            thread::spawn(move || send_all(&hello, address, &frames));
            peers.insert(key, queue);
        }
        let me = me.ok_or_else(|| format!("`peers` lacks `{}`", config.me))?;
        let deliver = to_me.clone();
        thread::spawn(move || accept_all(&listener, &Arc::new(keys), &deliver, &pool));
        Ok(Self { me, peers, to_me, inbox: Arc::new(Mutex::new(inbox)), store, reached: 0 })
    }

    /// Tell all other replicas of a client's command.
    pub fn pass_on(&self, command: &Command) {
        let frame = encoded(&Frame::Command(serde_json::to_vec(command).expect("commands are JSON")));
        self.peers.values().for_each(|queue| put(queue, &frame));
    }
}

impl Network for Links {
    fn init_validator_set(&mut self, _: ValidatorSet) {}

    fn update_validator_set(&mut self, _: ValidatorSetUpdates) {}

    fn broadcast(&mut self, message: Message) {
        let frame = encoded(&Frame::Consensus(message.clone()));
        self.peers.values().for_each(|queue| put(queue, &frame));
        let _ = self.to_me.send((self.me, message)); // the crate expects its own broadcasts back
    }

    fn send(&mut self, peer: VerifyingKey, message: Message) {
        match self.peers.get(&peer) {
            Some(queue) => put(queue, &encoded(&Frame::Consensus(message))),
            None if peer == self.me => drop(self.to_me.send((self.me, message))),
            None => {}
        }
    }

    fn recv(&mut self) -> Option<(VerifyingKey, Message)> {
        let (sender, mut message) = self.inbox.lock().unwrap().recv_timeout(POLL).ok()?;
        if !self.store.as_published() {
            self.without_old_certificate(&mut message);
        }
        Some((sender, message))
    }
}

impl Links {
    /// hotstuff_rs 0.4.0 panics ("Pacemaker failure! NonIncreasingViewError") when a vote for a time-out brings a
    /// timeout certificate that is newer than the newest this replica has, and yet older than the view it is in: as it
    /// is after every time that it was cut off while the others timed out. Such a certificate could move it only
    /// backwards, so it is taken off the vote (whose signature does not cover it).
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

fn encoded(frame: &Frame) -> Arc<[u8]> {
    let body = frame.try_to_vec().expect("a frame is bytes");
    [&(body.len() as u32).to_le_bytes()[..], &body[..]].concat().into()
}

fn put(queue: &SyncSender<Arc<[u8]>>, frame: &Arc<[u8]>) {
    if let Err(TrySendError::Disconnected(_)) = queue.try_send(Arc::clone(frame)) {
        panic!("a sender ended"); // full: the message is lost, as on any network
    }
}

/// One link's sender. What cannot be sent now is dropped: protocols of this kind repeat what matters.
fn send_all(hello: &[u8], address: SocketAddr, frames: &Receiver<Arc<[u8]>>) {
    loop {
        if let Ok(mut stream) = dial(address) {
            let mut sent = stream.write_all(hello);
            while sent.is_ok() {
                let Ok(frame) = frames.recv() else { return };
                sent = still_open(&stream).and_then(|()| stream.write_all(&frame));
            }
        }
        thread::sleep(REDIAL);
        while frames.try_recv().is_ok() {}
    }
}

fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DIAL)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(UNACKNOWLEDGED))?;
    SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(stream)
}

/// The other end never writes: readable means closed, which a first write would not tell.
fn still_open(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let looked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match looked {
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(why) => Err(why),
        Ok(_) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

fn accept_all(
    listener: &TcpListener,
    keys: &Arc<HashMap<String, VerifyingKey>>,
    deliver: &mpsc::Sender<(VerifyingKey, Message)>,
    pool: &Arc<Pool>,
) {
    for stream in listener.incoming().flatten() {
        let (keys, deliver, pool) = (Arc::clone(keys), deliver.clone(), Arc::clone(pool));
        thread::spawn(move || match read_all(stream, &keys, &deliver, &pool) {
            Err(why) if why.kind() != io::ErrorKind::UnexpectedEof => {
                eprintln!("hotstuff-replica: a link ended: {why}");
            }
            _ => {}
        });
    }
}

fn read_all(
    mut stream: TcpStream,
    keys: &HashMap<String, VerifyingKey>,
    deliver: &mpsc::Sender<(VerifyingKey, Message)>,
    pool: &Pool,
) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut sender = None;
    loop {
        match (read_frame(&mut stream)?, sender) {
            (Frame::Hello { sender: name }, _) => match keys.get(&name) {
                Some(key) => sender = Some(*key),
                None => return Err(io::Error::other(format!("{name:?} is no replica of this cluster"))),
            },
            (_, None) => return Err(io::Error::other("it began without a name")),
            (Frame::Consensus(message), Some(key)) => drop(deliver.send((key, message))),
            (Frame::Command(text), Some(_)) => {
                let command = serde_json::from_slice(&text).map_err(io::Error::other)?;
                pool.add(command, None);
            }
        }
    }
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Frame> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_LIMIT {
        return Err(io::Error::other(format!("a frame of {length} bytes")));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Frame::try_from_slice(&body)
}
