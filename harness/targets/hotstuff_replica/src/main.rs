//! One replica of HotStuff-rs (the crate `hotstuff_rs`, unmodified) as a process: TCP links, a store that survives
//! kill -9, a register application and an HTTP port for clients. `hotstuff-replica CONFIG.json`; see `config.rs`.

mod app;
mod blocks;
#[cfg(test)]
mod cluster;
mod command;
mod config;
mod links;
mod mends;
mod pool;
mod port;
mod standin;
mod store;

use std::{path::Path, sync::Arc, time::Duration};

use hotstuff_rs::{
    networking::network::Network,
    replica::{Configuration, Replica, ReplicaSpec},
    types::{
        data_types::{BufferSize, ChainID, EpochLength, Power},
        update_sets::{AppStateUpdates, ValidatorSetUpdates},
        validator_set::{ValidatorSet, ValidatorSetState},
    },
};

use crate::{app::Registers, config::Config, links::Links, mends::Mended, pool::Pool, store::JournalledStore};

/// The chain's identity; part of what every vote signs.
pub const CHAIN_ID: u64 = 7;

/// Two threads of the crate poll and "yield" in between: ten threads that never sleep on one machine with five
/// replicas. std's `yield_now` calls this symbol; ours rests for a millisecond instead. The crate stays as it is.
#[no_mangle]
pub extern "C" fn sched_yield() -> libc::c_int {
    let rest = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    unsafe { libc::nanosleep(&rest, std::ptr::null_mut()) };
    0
}

fn main() {
    // The crate panics in one of its threads when it is at its wits' end; half a replica would look like a live one.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::exit(101);
    }));
    let path = std::env::args().nth(1).unwrap_or_else(|| fail("usage: hotstuff-replica CONFIG.json"));
    let config = Config::read(Path::new(&path)).unwrap_or_else(|why| fail(&why));
    run(config).unwrap_or_else(|why| fail(&why));
}

fn fail(why: &str) -> ! {
    eprintln!("hotstuff-replica: {why}");
    std::process::exit(2)
}

fn run(config: Config) -> Result<(), String> {
    let store = JournalledStore::open(&config.data, config.as_published)?;
    let pool = Arc::new(Pool::default());
    let links = Links::start(&config, Arc::clone(&pool))?;
    let server = tiny_http::Server::http(config.client.as_str())
        .map_err(|why| format!("cannot listen for clients at {}: {why}", config.client))?;
    let replica = if config.as_published {
        replica(&config, links.clone(), store.clone(), &pool)?
    } else {
        let mended = Mended::new(links.clone(), links.me(), links.others(), store.clone());
        replica(&config, mended, store.clone(), &pool)?
    };
    let (followed, told) = (store.clone(), Arc::clone(&pool));
    std::thread::spawn(move || blocks::follow(&followed, &told));
    eprintln!("hotstuff-replica {}: peers at {}, clients at {}", config.me, config.listen, config.client);
    port::serve(server, &config.me, pool, links, store);
    drop(replica);
    Ok(())
}

/// The crate's replica, started; an empty store is given its first contents. No event handlers: with one, the crate
/// starts an event bus that never sleeps and now and then loses an event.
fn replica<N: Network + 'static>(
    config: &Config,
    network: N,
    store: JournalledStore,
    pool: &Arc<Pool>,
) -> Result<Replica<JournalledStore>, String> {
    if store.is_empty() {
        let mut members = ValidatorSetUpdates::new();
        for peer in &config.peers {
            members.insert(peer.key()?, Power::new(1));
        }
        let mut set = ValidatorSet::new();
        set.apply_updates(&members);
        let state = ValidatorSetState::new(set, ValidatorSet::new(), None, true);
        Replica::initialize(store.clone(), AppStateUpdates::new(), state);
    }
    let app = Registers::new(Arc::clone(pool), config.idle_ms, config.busy_ms);
    let spec = ReplicaSpec::builder().app(app).network(network).kv_store(store).configuration(parameters(config)?);
    Ok(spec.build().start())
}

fn parameters(config: &Config) -> Result<Configuration, String> {
    Ok(Configuration::builder()
        .me(config.signing_key()?)
        .chain_id(ChainID::new(CHAIN_ID))
        .block_sync_request_limit(64)
        .block_sync_server_advertise_time(Duration::from_millis(500))
        .block_sync_response_timeout(Duration::from_secs(1))
        .block_sync_blacklist_expiry_time(Duration::from_secs(1))
        .block_sync_trigger_min_view_difference(2)
        .block_sync_trigger_timeout(Duration::from_secs(1))
        .progress_msg_buffer_capacity(BufferSize::new(16 << 20))
        .epoch_length(EpochLength::new(config.epoch_length))
        .max_view_time(Duration::from_secs(config.view_time_s)) // the crate drops what is below a second
        .log_events(false)
        .build())
}
