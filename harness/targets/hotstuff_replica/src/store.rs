//! The crate's key-value store: a map in memory and a journal on disk. A write is in the file before it is answered, so
//! a killed process loses nothing and a torn last record is cut off; the file is not synced, so a lost machine may.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use borsh::{BorshDeserialize, BorshSerialize};
use hotstuff_rs::{
    block_tree::pluggables::{KVGet, KVGetError, KVStore, Key, WriteBatch},
    types::{
        crypto_primitives::{CryptoHasher, Digest},
        data_types::{CryptoHash, Data},
    },
};

type Map = HashMap<Vec<u8>, Vec<u8>>;

/// A record: length (4 bytes), the first 8 bytes of the body's SHA-256, body.
const HEAD: usize = 12;

#[derive(Clone)]
pub struct JournalledStore(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    written: Condvar,
}

struct Inner {
    map: Map,
    journal: File,
    writes: u64,
    as_published: bool,
}

/// Changes in their order; a value of None deletes.
#[derive(BorshSerialize, BorshDeserialize)]
pub struct Batch(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl JournalledStore {
    /// `as_published`: read blocks as the crate's own default does, which loses their data (see `whole_data`).
    pub fn open(directory: &Path, as_published: bool) -> Result<Self, String> {
        let path = directory.join("journal");
        let wrong = |why: std::io::Error| format!("cannot use the journal {}: {why}", path.display());
        fs::create_dir_all(directory).map_err(wrong)?;
        let mut journal = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(wrong)?;
        let mut bytes = vec![];
        journal.read_to_end(&mut bytes).map_err(wrong)?;
        let (map, good) = recover(&bytes);
        journal.set_len(good as u64).map_err(wrong)?;
        let inner = Mutex::new(Inner { map, journal, writes: 0, as_published });
        Ok(Self(Arc::new(Shared { inner, written: Condvar::new() })))
    }

    pub fn is_empty(&self) -> bool {
        self.lock().map.is_empty()
    }

    /// Wait, but not longer than `longest`, until there were more writes than `seen`; how many there were.
    pub fn wait_for_write(&self, seen: u64, longest: Duration) -> u64 {
        let waited = self.0.written.wait_timeout_while(self.lock(), longest, |inner| inner.writes <= seen);
        waited.unwrap().0.writes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap()
    }
}

/// The map that the journal's whole records make, and how many bytes those are.
fn recover(bytes: &[u8]) -> (Map, usize) {
    let (mut map, mut at) = (Map::new(), 0);
    while let Some(head) = bytes.get(at..at + HEAD) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(body) = bytes.get(at + HEAD..at + HEAD + length) else { break };
        if checksum(body) != head[4..] {
            break;
        }
        let Ok(batch) = Batch::try_from_slice(body) else { break };
        apply(&mut map, batch);
        at += HEAD + length;
    }
    (map, at)
}

fn apply(map: &mut Map, batch: Batch) {
    for (key, value) in batch.0 {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let digest: [u8; 32] = CryptoHasher::digest(body).into();
    digest[..8].try_into().unwrap()
}

impl KVStore for JournalledStore {
    type WriteBatch = Batch;
    type Snapshot<'a> = Snapshot<'a>;

    fn write(&mut self, batch: Batch) {
        let body = batch.try_to_vec().expect("a batch is bytes");
        let head = [&(body.len() as u32).to_le_bytes()[..], &checksum(&body)[..]].concat();
        let mut inner = self.lock();
        inner.journal.write_all(&[head, body].concat()).expect("the journal takes no more");
        apply(&mut inner.map, batch);
        inner.writes += 1;
        self.0.written.notify_all();
    }

    fn clear(&mut self) {
        let mut inner = self.lock();
        inner.journal.set_len(0).expect("the journal cannot be emptied");
        inner.map.clear();
    }

    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot(self.lock())
    }
}

impl KVGet for JournalledStore {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.lock().map.get(key).cloned()
    }

    fn block_data(&self, block: &CryptoHash) -> Result<Option<Data>, KVGetError> {
        self.snapshot().block_data(block)
    }
}

impl WriteBatch for Batch {
    fn new() -> Self {
        Self(vec![])
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        self.0.push((key.to_vec(), Some(value.to_vec())));
    }

    fn delete(&mut self, key: &[u8]) {
        self.0.push((key.to_vec(), None));
    }
}

/// A consistent look: holds the lock as long as it lives.
pub struct Snapshot<'a>(MutexGuard<'a, Inner>);

impl KVGet for Snapshot<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.map.get(key).cloned()
    }

    fn block_data(&self, block: &CryptoHash) -> Result<Option<Data>, KVGetError> {
        if self.0.as_published {
            AsPublished(self).block_data(block)
        } else {
            whole_data(self, block)
        }
    }
}

/// What hotstuff_rs 0.4.0 makes of a store: its `block_data` exhausts an iterator to see whether something is missing,
/// then collects what is left of it, which is nothing. Every block is read back, and given to a replica that asks for
/// it, without data.
struct AsPublished<'a, G: KVGet>(&'a G);

impl<G: KVGet> KVGet for AsPublished<'_, G> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }
}

/// The same method as it is meant to be.
fn whole_data(store: &impl KVGet, block: &CryptoHash) -> Result<Option<Data>, KVGetError> {
    let Some(length) = store.block_data_len(block)? else { return Ok(None) };
    let missing = || KVGetError::ValueExpectedButNotFound { key: Key::BlockData { block: *block } };
    let data: Result<Vec<_>, _> =
        (0..length.int()).map(|index| store.block_datum(block, index).ok_or_else(missing)).collect();
    Ok(Some(Data::new(data?)))
}

#[cfg(test)]
mod tests {
    use hotstuff_rs::block_tree::variables;

    use super::*;
    use crate::cluster::Scratch;

    fn written(store: &mut JournalledStore, key: &[u8], value: Option<&[u8]>) {
        let mut batch = Batch::new();
        match value {
            Some(value) => batch.set(key, value),
            None => batch.delete(key),
        }
        store.write(batch);
    }

    fn held(place: &Path) -> (JournalledStore, Vec<Option<Vec<u8>>>) {
        let store = JournalledStore::open(place, false).unwrap();
        let found = [b"a", b"b"].map(|key| store.get(key)).to_vec();
        (store, found)
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let scratch = Scratch::new("restart");
        let (mut store, _) = held(&scratch.0);
        assert!(store.is_empty());
        written(&mut store, b"a", Some(b"1"));
        written(&mut store, b"b", Some(b"2"));
        written(&mut store, b"a", None);
        drop(store);
        assert_eq!(held(&scratch.0).1, [None, Some(b"2".to_vec())]);
    }

    #[test]
    fn killed_at_any_byte_it_has_what_was_whole_and_goes_on_from_there() {
        let scratch = Scratch::new("killed");
        let path = scratch.0.join("journal");
        let mut ends = vec![0];
        let (mut store, _) = held(&scratch.0);
        for number in 1..=3u8 {
            written(&mut store, b"a", Some(&[number; 5]));
            ends.push(fs::read(&path).unwrap().len());
        }
        drop(store);
        let bytes = fs::read(&path).unwrap();
        for end in 0..=bytes.len() {
            fs::write(&path, &bytes[..end]).unwrap();
            let whole = ends.iter().rposition(|whole| *whole <= end).unwrap();
            let first = (whole > 0).then(|| vec![whole as u8; 5]);
            let (mut store, found) = held(&scratch.0);
            assert_eq!(found, [first.clone(), None], "cut at byte {end}");
            assert_eq!(fs::read(&path).unwrap().len(), ends[whole], "the torn record is cut off");
            written(&mut store, b"b", Some(b"new"));
            drop(store);
            assert_eq!(held(&scratch.0).1, [first, Some(b"new".to_vec())], "cut at byte {end}, then written to");
        }
    }

    #[test]
    fn a_rotten_record_and_all_after_it_are_cut_off() {
        let scratch = Scratch::new("rotten");
        let path = scratch.0.join("journal");
        let (mut store, _) = held(&scratch.0);
        written(&mut store, b"a", Some(b"1"));
        let whole = fs::read(&path).unwrap().len();
        written(&mut store, b"a", Some(b"2"));
        drop(store);
        let bytes = fs::read(&path).unwrap();
        for at in whole..bytes.len() {
            let mut rotten = bytes.clone();
            rotten[at] ^= 1;
            let (map, good) = recover(&rotten);
            assert_eq!((map.get(&b"a"[..]), good), (Some(&b"1".to_vec()), whole), "byte {at} is not as it was written");
        }
    }

    #[test]
    fn a_block_is_read_back_with_its_data_and_as_published_without() {
        let (block, data) = (CryptoHash::new([7; 32]), [b"one".to_vec(), b"two".to_vec()]);
        for (as_published, expected) in [(false, &data[..]), (true, &[])] {
            let scratch = Scratch::new(if as_published { "published" } else { "whole" });
            let mut store = JournalledStore::open(&scratch.0, as_published).unwrap();
            assert!(store.block_data(&block).unwrap().is_none(), "it is not there yet");
            let at = |field: &[u8]| [&variables::BLOCKS[..], &block.bytes()[..], field].concat();
            written(&mut store, &at(&variables::BLOCK_DATA_LEN), Some(&2u32.to_le_bytes()));
            for (index, datum) in (0u32..).zip(&data) {
                written(&mut store, &at(&[&variables::BLOCK_DATA[..], &index.to_le_bytes()].concat()), Some(datum));
            }
            let found = store.block_data(&block).unwrap().unwrap();
            let found: Vec<_> = found.iter().map(|datum| datum.bytes().clone()).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_missing_piece_of_a_block_is_an_error() {
        let scratch = Scratch::new("missing-piece");
        let (mut store, _) = held(&scratch.0);
        let block = CryptoHash::new([7; 32]);
        let length = [&variables::BLOCKS[..], &block.bytes()[..], &variables::BLOCK_DATA_LEN].concat();
        written(&mut store, &length, Some(&1u32.to_le_bytes()));
        assert!(store.block_data(&block).is_err());
    }
}
