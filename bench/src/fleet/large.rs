//! A deployment with very many keys and models: the memory of a node, its start, and the command line's own time.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::{Rig, Row, SETTLED, model_table};
use crate::deployment::{Deployment, Node};
use crate::meter;

/// The deployment, and some of its keys.
pub struct Many {
    pub deployment: Deployment,
    /// Id and text.
    pub keys: Vec<(String, String)>,
}

pub fn measure(rig: &mut Rig<'_>) -> io::Result<Vec<Row>> {
    let (small, large) = ("one key and one model", rig.size());
    let core = Some(rig.options.node_core);
    let (mut empty, mut full, mut started, mut alone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let one = one(rig)?;
    rig.many()?;
    for round in 1..=ROUNDS {
        (rig.say)(&format!("large · start {round} of {ROUNDS}"));
        let (key, deployment) = &one;
        let node = deployment.node(&format!("one{round}"), 1, core)?;
        node.chat(key, "m0")?;
        std::thread::sleep(SETTLED);
        empty.push(meter::rss_kib(&[node.pid()]) as f64 / 1024.0);
        let Some(many) = &rig.many else { continue };
        let name = format!("many{round}");
        let node = many.deployment.node(&name, 1, core)?;
        started.push(first_answer(many, &node)?.as_secs_f64() * 1_000.0);
        std::thread::sleep(SETTLED);
        full.push(meter::rss_kib(&[node.pid()]) as f64 / 1024.0);
        drop(node);
        // The same node without its store: the last good revision is all that it has.
        let node = many.deployment.node_following(&name, 1, core, &rig.nowhere())?;
        alone.push(first_answer(many, &node)?.as_secs_f64() * 1_000.0);
    }
    let above = full.iter().zip(&empty).map(|(full, empty)| full - empty).collect();
    let mut rows = vec![
        Row::middle("large", format!("memory of a node with {large}, above one with {small}, MiB"), above, Some(64.0)),
        Row::middle("", "all of it, MiB".into(), full, None),
        Row::middle("", format!("from exec to the first 200 with {large}, ms"), started, Some(300.0)),
        Row::middle("", "the same without its store, from its own copy, ms".into(), alone, Some(300.0)),
    ];
    rows.extend(commands(rig)?);
    Ok(rows)
}

/// How long the command line's own work takes when there is so much.
fn commands(rig: &mut Rig<'_>) -> io::Result<Vec<Row>> {
    let (mut apply, mut create, mut revoke) = (Vec::new(), Vec::new(), Vec::new());
    let millis = |took: Duration| took.as_secs_f64() * 1_000.0;
    for round in 1..=ROUNDS {
        (rig.say)(&format!("large · commands {round} of {ROUNDS}"));
        let text = text(rig, round);
        let Some(many) = &rig.many else { continue };
        many.deployment.write(&text)?;
        apply.push(millis(many.deployment.ctl(&["apply"])?.1));
        let (made, took) = many.deployment.ctl(&["key", "create"])?;
        create.push(millis(took));
        let id = made["id"].as_str().unwrap_or_default();
        revoke.push(millis(many.deployment.ctl(&["key", "revoke", id])?.1));
    }
    let size = rig.size();
    let row = |words: &str, samples| Row::middle("", format!("`{words}` with {size}, ms"), samples, None);
    Ok(vec![row("apply", apply), row("key create", create), row("key revoke", revoke)])
}

fn first_answer(many: &Many, node: &Node) -> io::Result<Duration> {
    node.chat(&many.keys[0].1, "m0")?;
    Ok(node.born.elapsed())
}

fn one(rig: &Rig<'_>) -> io::Result<(String, Deployment)> {
    let deployment = rig.deployment("one")?;
    deployment.write(&(rig.vendor_table("v0") + &model_table("v0", "m0")))?;
    deployment.ctl(&["apply"])?;
    let (made, _) = deployment.ctl(&["key", "create"])?;
    Ok((made["key"].as_str().unwrap_or_default().to_owned(), deployment))
}

impl Rig<'_> {
    pub fn many(&mut self) -> io::Result<&Many> {
        if self.many.is_none() {
            let size = self.size();
            (self.say)(&format!("large · {size} are made"));
            let deployment = self.deployment("many")?;
            deployment.write(&text(self, 0))?;
            deployment.ctl(&["apply"])?;
            let count = self.options.keys.to_string();
            let (made, _) = deployment.ctl(&["key", "create", "--name", "k", "--count", &count])?;
            let word = |key: &Value, name: &str| key[name].as_str().unwrap_or_default().to_owned();
            let all = made["keys"].as_array().into_iter().flatten();
            let keys: Vec<_> = all.take(KEYS_USED).map(|key| (word(key, "id"), word(key, "key"))).collect();
            if keys.is_empty() {
                return Err(io::Error::other("no keys were made; ask for at least two"));
            }
            self.many = Some(Many { deployment, keys });
        }
        self.many.as_ref().ok_or_else(|| io::Error::other("it was just made"))
    }

    fn size(&self) -> String {
        format!("{} keys and {} models", self.options.keys, self.options.models)
    }

    /// A store that is not there.
    fn nowhere(&self) -> String {
        match &self.etcd {
            Some(_) => "etcd:http://127.0.0.1:1".into(),
            None => format!("folder:{}", self.folder.join("nowhere").display()),
        }
    }
}

/// The operator's folder at this change: its models are dealt out to ten vendors.
pub fn text(rig: &Rig<'_>, change: usize) -> String {
    let mut text = String::new();
    for vendor in 0..VENDORS {
        let name = format!("v{vendor}");
        text += &rig.vendor_table(&name);
        for number in (vendor..rig.options.models).step_by(VENDORS) {
            text += &model_table(&name, &format!("m{number}"));
        }
    }
    text + &format!("[alias]\nnumber-{change} = \"m0\"\n")
}

const VENDORS: usize = 10;
const ROUNDS: usize = 3;
const KEYS_USED: usize = 1_000;
