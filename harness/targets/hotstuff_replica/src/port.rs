//! The clients' port, HTTP and JSON:
//!   POST /command {"id", "f", ...}   through consensus: 200 {"result"} when committed, 504 when it took too long
//!   GET /local?keys=K,K              this replica's own committed values, however old, of one moment: 200 {"results"}
//!   GET /status?from=H&limit=N       {"name", "view", "height", "blocks": [...]}

use std::{
    io::Read,
    sync::{mpsc, Arc},
    thread,
    time::Duration,
};

use hotstuff_rs::block_tree::accessors::public::BlockTreeCamera;
use serde_json::{json, Value};
use tiny_http::{Header, Method, Request, Response, Server};

use crate::{app, blocks, command::Command, links::Links, pool::Pool, store::JournalledStore};

const BODY_LIMIT: u64 = 1 << 20;
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Answer clients for as long as the process lives; one thread a request, for commands wait for their block.
pub fn serve(server: Server, me: &str, pool: Arc<Pool>, links: Links, store: JournalledStore) {
    let camera = Arc::new(BlockTreeCamera::new(store));
    for request in server.incoming_requests() {
        let (me, pool, links, camera) = (me.to_owned(), Arc::clone(&pool), links.clone(), Arc::clone(&camera));
        thread::spawn(move || answer(request, &me, &pool, &links, &camera));
    }
}

fn answer(mut request: Request, me: &str, pool: &Pool, links: &Links, camera: &BlockTreeCamera<JournalledStore>) {
    let url = request.url().to_owned();
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let (status, body) = match (request.method(), path) {
        (Method::Post, "/command") => command(&mut request, pool, links),
        (Method::Get, "/local") => {
            let snapshot = camera.snapshot();
            let value = |key| app::value(snapshot.committed_app_state(&app::register_key(key)));
            let values: Vec<_> = parameter(query, "keys").split(',').map(value).collect();
            (200, json!({ "results": values }))
        }
        (Method::Get, "/status") => {
            let number = |name, fallback| parameter(query, name).parse().unwrap_or(fallback);
            (200, state(me, number("from", 0), number("limit", 0), camera))
        }
        (method, path) => (404, json!({ "error": format!("there is no {method} {path}") })),
    };
    let header = Header::from_bytes("Content-Type", "application/json").expect("a header");
    let response = Response::from_string(body.to_string()).with_status_code(status).with_header(header);
    let _ = request.respond(response);
}

fn command(request: &mut Request, pool: &Pool, links: &Links) -> (u16, Value) {
    let mut body = String::new();
    let read = request.as_reader().take(BODY_LIMIT).read_to_string(&mut body);
    let parsed = read.map_err(|why| why.to_string());
    let command: Command = match parsed.and_then(|_| serde_json::from_str(&body).map_err(|why| why.to_string())) {
        Ok(command) => command,
        Err(why) => return (400, json!({ "error": why })),
    };
    let (client, answer) = mpsc::channel();
    pool.add(command.clone(), Some(client));
    links.pass_on(&command);
    match answer.recv_timeout(COMMIT_TIMEOUT) {
        Ok(result) => (200, json!({ "result": result })),
        Err(_) => {
            pool.leave(&command.id);
            (504, json!({ "error": format!("not committed within {} s", COMMIT_TIMEOUT.as_secs()) }))
        }
    }
}

fn state(me: &str, from: u64, limit: u64, camera: &BlockTreeCamera<JournalledStore>) -> Value {
    let snapshot = camera.snapshot();
    json!({
        "name": me,
        "view": snapshot.highest_view_entered().map(|view| view.int()).unwrap_or(0),
        "height": blocks::height(&snapshot),
        "blocks": blocks::committed(&snapshot, from, limit),
    })
}

/// A query parameter, percent-decoded only as far as keys need: they are plain words here.
fn parameter<'a>(query: &'a str, name: &str) -> &'a str {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
}
