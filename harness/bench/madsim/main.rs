//! Workload A of the simulator's benchmark (harness/bench/sim.py) on madsim: every node sends its vote for a round to
//! every other; who has a quorum of them votes for the next. Arguments: nodes, messages. Prints how many arrived.

use madsim::{net::Endpoint, runtime::Runtime, time::sleep, Config};
use std::{
    collections::HashMap,
    env,
    net::SocketAddr,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc,
    },
    time::Duration,
};

const TAG: u64 = 1;

async fn vote(endpoint: &Endpoint, addresses: &[SocketAddr], me: usize, round: u64) {
    for (other, address) in addresses.iter().enumerate() {
        if other != me {
            endpoint.send_to(*address, TAG, &round.to_le_bytes()).await.expect("no link fails here");
        }
    }
}

async fn voter(addresses: Arc<Vec<SocketAddr>>, me: usize, quorum: usize, delivered: Arc<AtomicU64>) {
    let endpoint = Endpoint::bind(addresses[me]).await.expect("the address is free");
    sleep(Duration::from_secs(1)).await; // until everybody listens
    let mut round = 1;
    let mut votes = HashMap::from([(round, 1)]);
    let mut buffer = [0; 8];
    vote(&endpoint, &addresses, me, round).await;
    loop {
        endpoint.recv_from(TAG, &mut buffer).await.expect("no link fails here");
        delivered.fetch_add(1, Ordering::Relaxed);
        *votes.entry(u64::from_le_bytes(buffer)).or_insert(1) += 1;
        while votes.get(&round).copied().unwrap_or(1) >= quorum {
            votes.remove(&round);
            round += 1;
            vote(&endpoint, &addresses, me, round).await;
        }
    }
}

fn main() {
    let numbers: Vec<u64> = env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let (nodes, goal) = (numbers[0] as usize, numbers[1]);
    let mut config = Config::default();
    config.net.send_latency = Duration::from_millis(10)..Duration::from_millis(100);
    let runtime = Runtime::with_seed_and_config(1, config);
    let place = |i: usize| format!("10.0.{}.{}:1", i / 250, i % 250 + 1).parse().expect("an address");
    let addresses: Arc<Vec<SocketAddr>> = Arc::new((0..nodes).map(place).collect());
    let delivered = Arc::new(AtomicU64::new(0));
    for me in 0..nodes {
        let node = runtime.create_node().ip(addresses[me].ip()).build();
        node.spawn(voter(addresses.clone(), me, 2 * ((nodes - 1) / 3) + 1, delivered.clone()));
    }
    runtime.block_on(async move {
        while delivered.load(Ordering::Relaxed) < goal {
            sleep(Duration::from_millis(1)).await;
        }
        println!("{}", delivered.load(Ordering::Relaxed));
    });
}
