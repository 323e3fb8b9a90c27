//! `explain`: why a request went where it went. The choice is made again by the function that made it, from what the record
//! holds and the revision that it was made under.

use serde_json::{Value, json};
use weir_shared::draft::Draft;
use weir_shared::fault::Exit;
use weir_shared::ledger::{Attempt, Record};
use weir_shared::routing::{Eligible, Seen, Way, Witness, rank};
use weir_shared::snapshot::Snapshot;

use crate::failure::Failure;
use crate::journal;
use crate::place::Place;
use crate::publish::{self, Base};
use crate::screen::Screen;
use crate::table::Table;
use crate::when;

/// Say why a request went where it went
///
/// Reads the request's record, compiles the revision that it was served under, and makes the same choice again: each
/// candidate of the name with why it was taken or passed over, and then what was really done.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl explain req_01a223a825f04179fe0000007cd79296     # x-request-id of the answer
  weirctl explain req_… --json | jq '.candidates'")]
pub struct Explain {
    /// As `x-request-id`, the log line and the record have it
    #[arg(value_name = "REQUEST_ID")]
    id: String,

    /// The folder of the journals [default: <state>/journal]
    #[arg(long, value_name = "DIR")]
    journal: Option<std::path::PathBuf>,
}

/// What of a record an explanation needs, so that the journal need not stay in memory.
struct Told {
    revision: u64,
    time: u64,
    key: String,
    model: String,
    vendor: String,
    choice: Option<(String, String, weir_shared::routing::Shape, weir_shared::routing::Vitals)>,
    attempts: Vec<(String, String, u16, &'static str, u32)>,
    /// The request that this one is a copy of.
    mirror_of: Option<String>,
    /// Its copies.
    mirrors: Vec<String>,
}

impl Told {
    fn of(record: &Record<'_>) -> Self {
        let attempt =
            |a: &Attempt<'_>| (a.vendor.to_owned(), a.credential.to_owned(), a.status, a.outcome.name(), a.micros);
        let choice = record.choice.as_ref();
        Self {
            revision: record.revision,
            time: record.time_ns / 1_000_000_000,
            key: record.key.as_str().to_owned(),
            model: record.model.to_owned(),
            vendor: record.vendor.to_owned(),
            choice: choice.map(|c| (c.asked.clone().into_owned(), c.label.to_owned(), c.shape, c.vitals)),
            attempts: record.attempts.iter().map(attempt).collect(),
            mirror_of: record.mirror_of.map(|id| id.to_string()),
            mirrors: Vec::new(),
        }
    }
}

/// Whose own the credential was that carried an attempt.
fn owner<'d>(draft: &'d Draft, vendor: &str, credential: &str) -> Option<&'d str> {
    let vendor = draft.vendors.iter().find(|known| known.is.name == vendor)?;
    let credential = vendor.is.credentials.iter().find(|known| known.name == credential)?;
    credential.tenant.as_deref()
}

/// What was found out about each candidate, in the order in which it was looked at.
#[derive(Default)]
struct Notes(Vec<(u8, Seen)>);

impl Witness for Notes {
    fn saw(&mut self, at: u8, what: Seen) {
        self.0.push((at, what));
    }
}

impl Explain {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let folder = self.journal.clone().unwrap_or_else(|| place.state.join("journal"));
        let told = find(&folder, self.id.trim())?;
        let store = place.existing_store()?;
        let base = Base::of_revision(&*store, told.revision)?;
        let draft = Draft { keys: base.keys(&*store)?, overlay: base.overlay(&*store)?, ..base.draft(&*store)? };
        let snapshot = Snapshot::compile(told.revision, &draft)
            .map_err(|faults| publish::with_faults("the revision cannot be read any more", &faults))?;
        screen.say(format!(
            "{} at {}, revision {}, key {}",
            screen.paint.bold(self.id.trim()),
            when::stamp(told.time),
            told.revision,
            told.key
        ));
        for by_hand in draft.overlay.words(told.time) {
            screen.say(format!("{} {}", screen.paint.odd("by hand:"), crate::table::harmless(&by_hand)));
        }
        if let Some(original) = &told.mirror_of {
            screen.say(format!(
                "a copy of {original}, for its route's mirror: its answer reached nobody, its cost is the operator's"
            ));
        }
        for copy in &told.mirrors {
            screen.say(format!("mirrored: {copy} is a copy of it"));
        }
        let choice = match &told.choice {
            None => {
                screen.say(format!("one candidate, {}/{}: there was nothing to choose", told.vendor, told.model));
                Value::Null
            }
            Some(choice) => again(&snapshot, &told, choice, screen)?,
        };
        let mut table = Table::new([">attempt", "vendor", "credential", ">status", "outcome", ">ms"]);
        for (place, (vendor, credential, status, outcome, micros)) in told.attempts.iter().enumerate() {
            let status = if *status == 0 { "no answer".to_owned() } else { status.to_string() };
            let ms = format!("{}.{}", micros / 1_000, micros % 1_000 / 100);
            let whose = match owner(&draft, vendor, credential) {
                Some(tenant) => format!("{credential} ({tenant}'s own)"),
                None => credential.clone(),
            };
            table.row([(place + 1).to_string(), vendor.clone(), whose, status, (*outcome).into(), ms]);
        }
        screen.say(table.render(screen.paint));
        let attempts = told.attempts.iter().map(|(vendor, credential, status, outcome, micros)| {
            json!({
                "vendor": vendor, "credential": credential, "tenant": owner(&draft, vendor, credential), "status": status,
                "outcome": outcome, "micros": micros,
            })
        });
        Ok(json!({
            "id": self.id.trim(), "revision": told.revision, "key": told.key, "vendor": told.vendor, "model": told.model,
            "by_hand": draft.overlay.words(told.time), "choice": choice,
            "mirror_of": told.mirror_of, "mirrors": told.mirrors, "attempts": attempts.collect::<Vec<_>>(),
        }))
    }
}

fn find(folder: &std::path::Path, id: &str) -> Result<Told, Failure> {
    let (mut found, mut mirrors) = (None, Vec::new());
    for segment in journal::segments(folder)?.iter().rev() {
        segment.read(|record| {
            if record.id.to_string() == id {
                found = Some(Told::of(record));
            } else if record.mirror_of.is_some_and(|original| original.to_string() == id) {
                mirrors.push(record.id.to_string());
            }
        })?;
        if let Some(found) = found.take() {
            return Ok(Told { mirrors, ..found });
        }
    }
    let next = "a request that was refused before a vendor was asked (404, no_eligible_vendor, upstream_drained, upstream_unavailable …) \
                has a log line and no record; with journals elsewhere, name them with --journal";
    Err(Failure::new(Exit::Missing, format!("no record of {id} in {}", folder.display())).next(next))
}

fn again(
    snapshot: &Snapshot,
    told: &Told,
    (asked, label, shape, vitals): &(String, String, weir_shared::routing::Shape, weir_shared::routing::Vitals),
    screen: &Screen,
) -> Result<Value, Failure> {
    let key = snapshot.keys().find(|key| key.id.as_str() == told.key).ok_or_else(|| {
        Failure::new(Exit::Missing, format!("key {} is not in revision {} any more", told.key, told.revision))
    })?;
    let way = Way::to(snapshot, asked, key);
    let eligible = Eligible::of(&way, snapshot, key, shape);
    let mut notes = Notes::default();
    let ranked = rank(&way, snapshot, &eligible, shape, vitals, &mut notes);
    let name = |at: u8| {
        let model = &snapshot.catalog.models[way.places()[usize::from(at)] as usize];
        format!("{}/{}", snapshot.vendor_of(model).name, model.id)
    };
    let what = if way.route.is_some() { "the route" } else { "the name" };
    let drawn = if label.is_empty() { String::new() } else { format!(", drawn for {label:?}") };
    screen.say(format!("{what} {asked:?} has {} candidates{drawn}:", way.places().len()));
    let order: Vec<u8> = ranked.each().map(|candidate| candidate.at).collect();
    let mut table = Table::new([">", "candidate", "why", "health", "first event"]);
    let mut candidates = Vec::new();
    let seen = |at: u8| notes.0.iter().find(|(place, _)| *place == at).map(|(_, seen)| *seen);
    let all = order.iter().copied().chain((0..way.places().len() as u8).filter(|at| !order.contains(at)));
    for at in all {
        let rank = order.iter().position(|place| *place == at).map(|place| place + 1);
        let why = match seen(at) {
            Some(Seen::Unfit(unfit)) => format!("passed over: {}", unfit.name()),
            Some(Seen::Graded(grade)) => format!("passed over: {}", grade.name()),
            Some(Seen::Ranked) => "in order".to_owned(),
            None => "its branch is not for this call".to_owned(),
        };
        let vital = &vitals[usize::from(at)];
        let pace = match vital.pace {
            0 => "unknown".to_owned(),
            pace => format!("about {} ms", weir_shared::health::Pace::micros(pace) / 1_000),
        };
        let place = rank.map_or_else(|| "–".to_owned(), |rank| rank.to_string());
        table.row([place, name(at), why.clone(), vital.grade.name().to_owned(), pace]);
        candidates.push(json!({"candidate": name(at), "rank": rank, "why": why, "health": vital.grade.name()}));
    }
    screen.say(table.render(screen.paint));
    Ok(json!({
        "asked": asked, "label": label, "candidates": candidates, "prompt_tokens": shape.prompt_tokens,
        "order": order.into_iter().map(name).collect::<Vec<_>>(),
    }))
}
