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
    networking::{messages::Message, network::Network},
    types::{crypto_primitives::VerifyingKey, update_sets::ValidatorSetUpdates, validator_set::ValidatorSet},
};
use socket2::SockRef;

use crate::{command::Command, config::Config, pool::Pool};

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
}

impl Links {
    /// Listen, and dial every other replica for as long as the process lives.
    pub fn start(config: &Config, pool: Arc<Pool>) -> Result<Self, String> {
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
        Ok(Self { me, peers, to_me, inbox: Arc::new(Mutex::new(inbox)) })
    }

    pub fn me(&self) -> VerifyingKey {
        self.me
    }

    pub fn others(&self) -> Vec<VerifyingKey> {
        self.peers.keys().copied().collect()
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
        self.inbox.lock().unwrap().recv_timeout(POLL).ok()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::key;

    const LIMIT: Duration = Duration::from_secs(300);

    fn message() -> Message {
        use hotstuff_rs::{
            block_sync::messages::BlockSyncRequest,
            types::data_types::{BlockHeight, ChainID},
        };
        BlockSyncRequest { chain_id: ChainID::new(7), start_height: BlockHeight::new(3), limit: 9 }.into()
    }

    fn bytes(message: &Message) -> Vec<u8> {
        message.try_to_vec().unwrap()
    }

    fn hello(name: &str) -> Arc<[u8]> {
        encoded(&Frame::Hello { sender: name.into() })
    }

    /// A replica's receiving half, with `n1` for a peer; and a connection to it.
    fn listening() -> (TcpStream, Inbox, Arc<Pool>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let (deliver, inbox) = mpsc::channel();
        let (keys, pool) = (Arc::new(HashMap::from([("n1".into(), key(1).verifying_key())])), Arc::default());
        let told = Arc::clone(&pool);
        thread::spawn(move || accept_all(&listener, &keys, &deliver, &told));
        (stream, inbox, pool)
    }

    /// Was the connection closed from the other side? Nothing is ever written there.
    fn closed(stream: &mut TcpStream) -> bool {
        match stream.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(why) => why.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    #[test]
    fn what_a_known_replica_sends_is_delivered_in_its_name_and_commands_go_to_the_pool() {
        let (mut stream, inbox, pool) = listening();
        let command: Command = serde_json::from_value(json!({"id": "a", "f": "read", "key": "x"})).unwrap();
        stream.write_all(&hello("n1")).unwrap();
        stream.write_all(&encoded(&Frame::Command(serde_json::to_vec(&command).unwrap()))).unwrap();
        stream.write_all(&encoded(&Frame::Consensus(message()))).unwrap();
        let (sender, found) = inbox.recv_timeout(LIMIT).unwrap();
        assert_eq!((sender, bytes(&found)), (key(1).verifying_key(), bytes(&message())));
        assert_eq!(pool.wait_for(LIMIT, 9, |_| true), [command]);
    }

    #[test]
    fn a_stranger_a_nameless_one_and_a_frame_beyond_all_measure_end_the_link() {
        let nameless = encoded(&Frame::Consensus(message()));
        let huge: Arc<[u8]> = [&hello("n1")[..], &(FRAME_LIMIT as u32 + 1).to_le_bytes()[..]].concat().into();
        let no_frame: Arc<[u8]> = [&hello("n1")[..], &[1, 0, 0, 0, 99][..]].concat().into();
        for first in [hello("n9"), nameless, huge, no_frame] {
            let (mut stream, inbox, _) = listening();
            stream.write_all(&first).unwrap();
            assert!(closed(&mut stream));
            assert!(inbox.try_recv().is_err());
        }
    }

    #[test]
    fn a_link_that_was_closed_is_dialled_anew_and_begins_with_its_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (queue, frames) = mpsc::sync_channel(QUEUE);
        thread::spawn(move || send_all(&hello("n0"), address, &frames));
        let frame = encoded(&Frame::Consensus(message()));
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            assert!(matches!(read_frame(&mut stream).unwrap(), Frame::Hello { sender } if sender == "n0"));
            put(&queue, &frame);
            assert!(
                matches!(read_frame(&mut stream).unwrap(), Frame::Consensus(found) if bytes(&found) == bytes(&message()))
            );
            drop(stream);
            // What is sent into a closed link is lost, and tells the sender that it is closed.
            put(&queue, &frame);
        }
    }

    #[test]
    fn a_broadcast_comes_back_and_a_full_link_loses_what_does_not_fit() {
        let (to_me, inbox) = mpsc::channel();
        let (queue, frames) = mpsc::sync_channel(1);
        let (me, other) = (key(0).verifying_key(), key(1).verifying_key());
        let inbox = Arc::new(Mutex::new(inbox));
        let mut links = Links { me, peers: HashMap::from([(other, queue)]), to_me, inbox };
        links.broadcast(message());
        links.send(other, message());
        links.send(me, message());
        assert_eq!(frames.try_iter().count(), 1);
        for _ in 0..2 {
            let (sender, found) = links.recv().unwrap();
            assert_eq!((sender, bytes(&found)), (me, bytes(&message())));
        }
        assert!(links.recv().is_none());
    }
}
