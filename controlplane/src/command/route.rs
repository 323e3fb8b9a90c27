//! `route`: what an operator changes by hand while traffic flows. It lies over the folder, survives `apply`, names its
//! author, and ends by itself.

use serde_json::{Value, json};
use weir_shared::draft::Draft;
use weir_shared::fault::Exit;
use weir_shared::keyspace::Pointer;
use weir_shared::overlay::{ByHand, DrainDraft, OverlayDraft, Part, ShiftDraft};
use weir_shared::snapshot::Snapshot;
use weir_shared::store::Store;

use crate::failure::Failure;
use crate::follow::{Wait, follow};
use crate::place::Place;
use crate::publish::{self, Base};
use crate::screen::Screen;
use crate::table::Table;
use crate::when;

#[derive(clap::Subcommand)]
pub enum Route {
    Drain(Drain),
    Shift(Shift),
    Restore(Restore),
    List(List),
}

/// Take a vendor, a credential or a model out of traffic
///
/// Calls go to the other candidates of their names; where there is none, they are refused with 503. What runs already
/// runs on. Every node obeys within a second.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl route drain openai --wait                    # all of a vendor
  weirctl route drain openai#main --for 2h             # one of its credentials
  weirctl route drain openai/gpt-4o --reason \"bad answers since 01:10\"")]
pub struct Drain {
    /// VENDOR, VENDOR#CREDENTIAL or VENDOR/MODEL
    #[arg(value_name = "WHAT")]
    what: String,

    #[command(flatten)]
    how: How,
}

/// Move a share of the traffic from one vendor or model to another
///
/// Of the calls that would go to FROM first, so many of a hundred go to TO first. Whoever may not use TO is not moved.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl route shift openai/gpt-4o azure/gpt-4o 30% --wait
  weirctl route shift openai azure 100% --for 6h       # every model that both have")]
pub struct Shift {
    /// VENDOR or VENDOR/MODEL
    #[arg(value_name = "FROM")]
    from: String,

    /// VENDOR or VENDOR/MODEL
    #[arg(value_name = "TO")]
    to: String,

    /// 1% to 100%
    #[arg(value_name = "PERCENT", value_parser = percent)]
    percent: u32,

    #[command(flatten)]
    how: How,
}

/// Undo what was drained or shifted
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl route restore openai --wait     # its drain, and shifts from or to it
  weirctl route restore --all")]
pub struct Restore {
    /// As it was named
    #[arg(value_name = "WHAT", required_unless_present = "all", conflicts_with = "all")]
    what: Option<String>,

    /// Everything that was changed by hand
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    wait: Wait,
}

/// Show what was changed by hand, by whom, and until when
#[derive(clap::Args)]
#[command(after_help = "Examples:
  weirctl route list
  weirctl route list --json")]
pub struct List {}

#[derive(clap::Args)]
struct How {
    /// It ends by itself after this; without it, when it is restored
    #[arg(long = "for", value_name = "TIME", value_parser = when::duration)]
    lasts: Option<std::time::Duration>,

    /// Why, for `weirctl route list` and `weirctl history`
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,

    #[command(flatten)]
    wait: Wait,
}

impl How {
    fn by(&self, author: &str) -> ByHand {
        let since = when::now();
        let until = self.lasts.map(|lasts| since + lasts.as_secs());
        ByHand { author: author.to_owned(), reason: self.reason.clone(), since, until }
    }
}

impl Route {
    pub fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        match self {
            Self::Drain(drain) => drain.run(place, screen),
            Self::Shift(shift) => shift.run(place, screen),
            Self::Restore(restore) => restore.run(place, screen),
            Self::List(list) => list.run(place, screen),
        }
    }
}

impl Drain {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let what = part(&self.what)?;
        let said = format!("drain {}", self.what);
        let author = place.stamp("").author;
        let change = |store: &dyn Store, base: &Base, overlay: &mut OverlayDraft| {
            exists(store, base, &what, &self.what)?;
            overlay.drains.retain(|drain| drain.what != self.what);
            overlay.drains.push(DrainDraft { what: self.what.clone(), by: self.how.by(&author) });
            Ok(())
        };
        changed(place, screen, &said, &self.how.reason, &self.how.wait, change)
    }
}

impl Shift {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let (from, to) = (part(&self.from)?, part(&self.to)?);
        for (part, text) in [(&from, &self.from), (&to, &self.to)] {
            if matches!(part, Part::Credential(..)) {
                let what = format!("{text} is a credential; traffic is shifted between vendors or models");
                return Err(Failure::new(Exit::Usage, what).next("drain the credential instead"));
            }
        }
        if self.from == self.to {
            let what = format!("{} is already where its traffic goes", self.from);
            return Err(Failure::new(Exit::Usage, what).next("name two different vendors or models"));
        }
        if matches!((&from, &to), (Part::Model(..), Part::Vendor(_))) {
            let what = format!("{} is a model and {} a vendor", self.from, self.to);
            return Err(Failure::new(Exit::Usage, what).next("name the model that takes the calls: VENDOR/MODEL"));
        }
        let said = format!("shift {}% from {} to {}", self.percent, self.from, self.to);
        let author = place.stamp("").author;
        let change = |store: &dyn Store, base: &Base, overlay: &mut OverlayDraft| {
            exists(store, base, &from, &self.from)?;
            exists(store, base, &to, &self.to)?;
            overlay.shifts.retain(|shift| (&shift.from, &shift.to) != (&self.from, &self.to));
            let (from, to) = (self.from.clone(), self.to.clone());
            overlay.shifts.push(ShiftDraft { from, to, percent: self.percent, by: self.how.by(&author) });
            Ok(())
        };
        changed(place, screen, &said, &self.how.reason, &self.how.wait, change)
    }
}

impl Restore {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let said = format!("restore {}", self.what.as_deref().unwrap_or("everything"));
        let change = |_: &dyn Store, _: &Base, overlay: &mut OverlayDraft| {
            let before = overlay.drains.len() + overlay.shifts.len();
            // A vendor's name stands for its credentials and models, too.
            let names = |text: &String| {
                let is = |what: &String| {
                    text == what || text.strip_prefix(what.as_str()).is_some_and(|rest| rest.starts_with(['/', '#']))
                };
                self.all || self.what.as_ref().is_some_and(is)
            };
            overlay.drains.retain(|drain| !names(&drain.what));
            overlay.shifts.retain(|shift| !names(&shift.from) && !names(&shift.to));
            if overlay.drains.len() + overlay.shifts.len() == before && !self.all {
                let what = format!("nothing of {} was changed by hand", self.what.as_deref().unwrap_or_default());
                return Err(Failure::new(Exit::Missing, what).next("`weirctl route list` shows what was"));
            }
            Ok(())
        };
        changed(place, screen, &said, "", &self.wait, change)
    }
}

impl List {
    fn run(&self, place: &Place, screen: &Screen) -> Result<Value, Failure> {
        let store = place.existing_store()?;
        let overlay = Base::read(&*store)?.overlay(&*store)?;
        let now = when::now();
        let mut table = Table::new(["what", "since", "until", "author", "reason"]);
        let drains = overlay.drains.iter().map(|drain| (format!("{} is drained", drain.what), &drain.by));
        let shifts = overlay
            .shifts
            .iter()
            .map(|shift| (format!("{}% of {} go to {}", shift.percent, shift.from, shift.to), &shift.by));
        for (what, by) in drains.chain(shifts) {
            let until = match by.until {
                None => "it is restored".to_owned(),
                Some(_) if !by.holds(now) => "over".to_owned(),
                Some(until) => when::stamp(until),
            };
            table.row([what, when::stamp(by.since), until, by.author.clone(), by.reason.clone()]);
        }
        match table.is_empty() {
            true => screen.say("nothing was changed by hand; traffic goes as the folder says"),
            false => screen.say(table.render(screen.paint)),
        }
        Ok(json!({ "drains": overlay.drains, "shifts": overlay.shifts }))
    }
}

fn changed(
    place: &Place,
    screen: &Screen,
    said: &str,
    reason: &str,
    wait: &Wait,
    mut change: impl FnMut(&dyn Store, &Base, &mut OverlayDraft) -> Result<(), Failure>,
) -> Result<Value, Failure> {
    let store = place.existing_store()?;
    let why = if reason.is_empty() { said.to_owned() } else { format!("{said}: {reason}") };
    let stamp = place.stamp(why);
    let ((), pointer) = publish::change_overlay(&*store, &stamp, |base, overlay| {
        // What is over goes with the next change, whoever makes it.
        overlay.tidy(when::now());
        change(&*store, base, overlay)
    })?;
    let nodes = match &pointer {
        Some(pointer) => told(&*store, pointer, said, wait, screen)?,
        None => {
            screen.say("nothing to change");
            Vec::new()
        }
    };
    Ok(json!({ "changed": pointer.is_some(), "revision": pointer.map(|pointer| pointer.revision), "nodes": nodes }))
}

fn told(
    store: &dyn Store,
    pointer: &Pointer,
    said: &str,
    wait: &Wait,
    screen: &Screen,
) -> Result<Vec<crate::follow::Verdict>, Failure> {
    screen.say(screen.paint.good(&format!("published revision {}: {said}", pointer.revision)));
    follow(store, pointer, wait, screen)
}

fn part(text: &str) -> Result<Part, Failure> {
    Part::parse(text).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{text:?} names no vendor, credential or model"))
            .next("write VENDOR, VENDOR#CREDENTIAL or VENDOR/MODEL")
    })
}

/// A mistyped name would do nothing, in silence, at one in the morning.
fn exists(store: &dyn Store, base: &Base, part: &Part, text: &str) -> Result<(), Failure> {
    let draft: Draft = base.draft(store)?;
    let snapshot = Snapshot::compile(base.revision(), &draft)
        .map_err(|faults| publish::with_faults("the store's revision cannot be read", &faults))?;
    if part.exists(&snapshot.catalog) {
        return Ok(());
    }
    let names = snapshot.catalog.vendors.iter().map(|vendor| vendor.name.to_string()).collect::<Vec<_>>();
    let near = crate::tree::nearest(text.split(['/', '#']).next().unwrap_or(text), names.iter().map(String::as_str));
    let next = match near {
        Some(near) => format!("did you mean {near}? `weirctl check --models` lists vendors and models"),
        None => "`weirctl check --models` lists vendors and models".to_owned(),
    };
    Err(Failure::new(Exit::Missing, format!("there is no {text} in revision {}", base.revision())).next(next))
}

fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|percent| (1..=100).contains(percent)).ok_or_else(|| "write 1% to 100%".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Deployment;

    const FOLDER: &str = "
[[vendor]]
name = \"one\"
dialect = \"openai\"
base_url = \"https://one.example/v1\"
[[vendor.credential]]
env = \"KEY\"
[[vendor]]
name = \"two\"
dialect = \"openai\"
base_url = \"https://two.example/v1\"
[[vendor.credential]]
env = \"KEY\"
[[model]]
vendor = \"one\"
id = \"gpt\"
free = true
[[model]]
vendor = \"two\"
id = \"gpt\"
free = true
[[route]]
name = \"assistant\"
[route.to]
order = [\"one/gpt\", { when = { tools = true }, model = \"two/gpt\" }]
";

    #[test]
    fn what_is_changed_by_hand_survives_apply_and_is_undone() {
        let deployment = Deployment::new("route");
        deployment.write("weir.toml", FOLDER);
        deployment.run(&["apply"]).unwrap();
        deployment.run(&["route", "drain", "one#main", "--reason", "429"]).unwrap();
        deployment.run(&["route", "shift", "one/gpt", "two/gpt", "30%", "--for", "1h"]).unwrap();
        deployment.write("more.toml", "[alias]\nfast = \"assistant\"\n");
        deployment.run(&["apply"]).unwrap();
        let listed = deployment.run(&["route", "list"]).unwrap();
        assert_eq!(listed["drains"][0]["what"], "one#main");
        assert_eq!((&listed["drains"][0]["reason"], &listed["drains"][0]["author"]), (&"429".into(), &"t".into()));
        assert_eq!(listed["shifts"][0]["percent"], 30);
        assert!(listed["shifts"][0]["until"].as_u64() > listed["shifts"][0]["since"].as_u64());
        let shown = deployment.show(&["route", "list"]);
        assert!(shown.contains("one#main is drained") && shown.contains("30% of one/gpt go to two/gpt"), "{shown}");
        deployment.run(&["route", "restore", "one#main"]).unwrap();
        deployment.run(&["route", "restore", "two/gpt"]).unwrap();
        let listed = deployment.run(&["route", "list"]).unwrap();
        assert_eq!(listed, serde_json::json!({ "drains": [], "shifts": [] }));
    }

    #[test]
    fn a_name_that_is_not_there_is_told() {
        let deployment = Deployment::new("route-missing");
        deployment.write("weir.toml", FOLDER);
        deployment.run(&["apply"]).unwrap();
        let failure = deployment.run(&["route", "drain", "on"]).unwrap_err();
        assert_eq!(failure.exit, weir_shared::fault::Exit::Missing, "{failure:?}");
        for words in [["route", "drain", "/x"].as_slice(), &["route", "shift", "one#main", "two", "5%"]] {
            assert_eq!(deployment.run(words).unwrap_err().exit, weir_shared::fault::Exit::Usage);
        }
        assert_eq!(deployment.run(&["route", "restore", "one"]).unwrap_err().exit, weir_shared::fault::Exit::Missing);
    }

    #[test]
    fn faults_of_a_route_have_their_lines() {
        let deployment = Deployment::new("route-faults");
        deployment.write("weir.toml", &FOLDER.replace("one/gpt\", {", "nobody/gpt\", {").replace("tools", "tolls"));
        let failure = deployment.run(&["check"]).unwrap_err();
        assert!(format!("{failure:?}").contains("tools"), "{failure:?}");
        deployment.write("weir.toml", &FOLDER.replace("one/gpt\", {", "nobody/gpt\", {"));
        let failure = deployment.run(&["check"]).unwrap_err();
        assert!(format!("{failure:?}").contains("nobody/gpt"), "{failure:?}");
    }
}
