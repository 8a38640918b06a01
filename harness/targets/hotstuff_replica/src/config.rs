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
    /// Leave in the crate's defects that we know and can mend from outside (`store.rs`, `mends.rs`).
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

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use super::*;
    use crate::cluster::{key, Scratch};

    fn document() -> Value {
        let public = hex(&key(0).verifying_key().to_bytes());
        json!({
            "me": "n0", "secret": hex(&key(0).to_bytes()), "listen": "127.0.0.1:1", "client": "127.0.0.1:2", "data": "d",
            "peers": [{"name": "n0", "public": public, "address": "127.0.0.1:1"}],
            "view_time_s": 1, "epoch_length": 1, "idle_ms": 0, "busy_ms": 0,
        })
    }

    fn read(name: &str, document: &Value) -> Result<Config, String> {
        let scratch = Scratch::new(name);
        let path = scratch.0.join("replica.json");
        fs::write(&path, document.to_string()).unwrap();
        Config::read(&path)
    }

    #[test]
    fn a_configuration_is_read_with_its_keys() {
        let config = read("config", &document()).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(config.signing_key().unwrap().to_bytes(), key(0).to_bytes());
        assert_eq!(config.peers[0].key().unwrap(), key(0).verifying_key());
        assert!(!config.as_published);
    }

    #[test]
    fn a_wrong_one_is_refused_with_the_reason() {
        let wrong = [
            ("me", json!("n9"), "lacks `n9`"),
            ("view_time_s", json!(0), "begin at 1"),
            ("epoch_length", json!(0), "begin at 1"),
            ("colour", json!("red"), "colour"),
        ];
        for (name, value, says) in wrong {
            let mut document = document();
            document[name] = value;
            let why = read(name, &document).err().expect(name);
            assert!(why.contains(says), "{why}");
        }
        assert!(Config::read(Path::new("nowhere.json")).err().unwrap().contains("nowhere.json"));
    }

    #[test]
    fn a_key_is_sixty_four_hexadecimal_digits() {
        for text in ["", "ab", &"g".repeat(64), &"é".repeat(32)] {
            assert!(bytes(text, "secret").is_err_and(|why| why.contains("`secret`")), "{text}");
        }
        assert_eq!(bytes(&"0f".repeat(32), "secret"), Ok([15; 32]));
    }
}
