//! What a replica is told at its start: a JSON file.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use hotstuff_rs::types::crypto_primitives::{SigningKey, VerifyingKey};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub me: String,
    /// 32 bytes, hexadecimal: the Ed25519 seed of this replica.
    pub secret: String,
    /// Where the other replicas reach this one (`address:port`).
    pub listen: SocketAddr,
    /// Where clients reach it.
    pub client: String,
    /// Directory of the journal.
    pub data: PathBuf,
    /// All replicas, this one too; `address` is where *this* replica dials that one.
    pub peers: Vec<Peer>,
    /// Time-out of a view in whole seconds (the crate knows no shorter one).
    pub view_time_s: u64,
    /// Views in an epoch: at its last view replicas do not go on alone but vote for a time-out.
    pub epoch_length: u32,
    /// A leader with nothing to propose waits this long; with something, `busy_ms` (0: at once).
    pub idle_ms: u64,
    pub busy_ms: u64,
    /// Leave in the crate's defects that we know and can mend from outside (`store.rs`, `links.rs`).
    #[serde(default)]
    pub as_published: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    pub name: String,
    /// 32 bytes, hexadecimal: its Ed25519 public key.
    pub public: String,
    pub address: SocketAddr,
}

impl Config {
    pub fn read(path: &Path) -> Result<Config, String> {
        let text = fs::read(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        let config: Config = serde_json::from_slice(&text).map_err(|why| format!("{}: {why}", path.display()))?;
        if !config.peers.iter().any(|peer| peer.name == config.me) {
            return Err(format!("{}: `peers` lacks `{}`, the replica itself", path.display(), config.me));
        }
        if config.view_time_s == 0 || config.epoch_length == 0 {
            return Err(format!("{}: `view_time_s` and `epoch_length` begin at 1", path.display()));
        }
        Ok(config)
    }

    pub fn signing_key(&self) -> Result<SigningKey, String> {
        Ok(SigningKey::from_bytes(&bytes(&self.secret, "secret")?))
    }
}

impl Peer {
    pub fn key(&self) -> Result<VerifyingKey, String> {
        VerifyingKey::from_bytes(&bytes(&self.public, "public")?)
            .map_err(|why| format!("the public key of {} is none: {why}", self.name))
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str, what: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("`{what}` must be 64 hexadecimal digits");
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
    }
    Ok(out)
}
