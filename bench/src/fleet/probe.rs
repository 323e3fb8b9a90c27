//! One connection to each core of a node, so that it is known what every core answers.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;

use super::PATIENCE;
use crate::deployment::Node;
use crate::http::{self, Answer, Link};

/// A connection that lives on this core.
pub struct Probe {
    pub name: String,
    link: Link,
}

impl Probe {
    /// One for each core. The kernel deals connections out, so several may have to be opened.
    pub fn all(node: &Node, cores: usize, key: &str) -> io::Result<Vec<Probe>> {
        let mut found: BTreeMap<String, Probe> = BTreeMap::new();
        for _ in 0..TRIES_MAX {
            let mut link = Link::open(node.data, None, PATIENCE)?;
            let answer = ask(&mut link, key)?;
            if answer.status != 200 {
                return Err(io::Error::other(format!("{}: {} {}", node.name, answer.status, answer.text())));
            }
            let core = core_of(&answer, node.data)?;
            found.entry(core.clone()).or_insert_with(|| Probe { name: format!("{}/{core}", node.name), link });
            if found.len() == cores {
                return Ok(found.into_values().collect());
            }
        }
        Err(io::Error::other(format!("{}: {} of {cores} cores were reached", node.name, found.len())))
    }

    pub fn send(&mut self, key: &str) -> io::Result<()> {
        self.link.write_all(&request(key))
    }

    pub fn status(&mut self) -> io::Result<u16> {
        let answer = http::receive(&mut self.link);
        match answer.broken {
            None => Ok(answer.status),
            Some(why) => Err(io::Error::other(format!("{}: {why}", self.name))),
        }
    }
}

fn ask(link: &mut Link, key: &str) -> io::Result<Answer> {
    link.write_all(&request(key))?;
    Ok(http::receive(link))
}

fn request(key: &str) -> Vec<u8> {
    http::request("GET", "/v1/models", &[("authorization", &format!("Bearer {key}"))], b"")
}

/// A request's id names the core that gave it: of 32 hexadecimal digits the 19th and 20th.
fn core_of(answer: &Answer, from: SocketAddr) -> io::Result<String> {
    let id = answer.header("x-request-id").and_then(|id| id.strip_prefix("req_"));
    let core = id.and_then(|digits| digits.get(18..20));
    core.map(str::to_owned).ok_or_else(|| io::Error::other(format!("{from}: no core in its request id {id:?}")))
}

const TRIES_MAX: usize = 200;
