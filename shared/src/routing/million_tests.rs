//! A million random calls over random trees: what a record says of a choice makes the same choice again, and no choice leaves
//! what is allowed.

use serde_json::{Value, json};

use super::tests::{NAMES, compiled, key_of};
use super::*;
use crate::ledger::{Choice, FRAME_BYTES_MAX, HEADER_BYTES, Link, Record, Records, SegmentHeader};
use crate::snapshot::Snapshot;

/// Debug builds take half a minute for all of them on one core; the trees are spread over what there is.
const TREES: u64 = 200;
const CALLS: u64 = 5_000;

/// Numbers by chance, the same in each run.
struct Chance(u64);

impl Chance {
    fn up_to(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        dice(self.0, 77) % below
    }

    fn word(&mut self) -> u64 {
        self.up_to(u64::MAX)
    }

    fn tree(&mut self, depth: u64) -> Value {
        if depth == 0 || self.up_to(3) == 0 {
            return json!(format!("{}/one", NAMES[self.up_to(NAMES.len() as u64) as usize]));
        }
        let branches: Vec<Value> = (0..=self.up_to(3)).map(|_| self.branch(depth - 1)).collect();
        let way = ["order", "weight", "split", "least_cost", "least_latency", "least_busy", "cheapest_under", "sticky"];
        let way = way[self.up_to(way.len() as u64) as usize];
        let mut tree = json!({ way: branches });
        match way {
            "cheapest_under" => tree["latency"] = json!(format!("{}ms", 1 + self.up_to(2_000))),
            "sticky" => tree["by"] = json!(["key", "user"][self.up_to(2) as usize]),
            "split" => {
                for (place, branch) in tree[way].as_array_mut().into_iter().flatten().enumerate() {
                    if let Value::String(model) = branch {
                        *branch = json!({ "model": model });
                    }
                    branch["name"] = json!(format!("branch {place}"));
                }
            }
            _ => {}
        }
        tree
    }

    fn branch(&mut self, depth: u64) -> Value {
        let mut branch = self.tree(depth);
        if self.up_to(3) == 0 {
            if let Value::String(model) = branch {
                branch = json!({ "model": model });
            }
            branch["share"] = json!(self.up_to(100));
            if self.up_to(2) == 0 {
                branch["when"] = json!({ "tools": self.up_to(2) == 0 });
            }
        }
        branch
    }

    fn shape(&mut self) -> Shape {
        Shape {
            seed: self.word(),
            needs: (self.word() & 0x7f) as u16,
            prompt_tokens: (self.word() & 0x3_ffff) as u32,
            answer_tokens: self.up_to(4_096) as u32,
            conditions: self.word(),
            sticky: [self.word() & 0xff, self.word() & 1],
            reach: if self.up_to(4) == 0 { self.word() as u16 } else { u16::MAX },
            now_s: 1_700_000_000,
        }
    }

    fn vitals(&mut self) -> Vitals {
        std::array::from_fn(|_| Vital {
            grade: if self.up_to(2) == 0 { Grade::Passing } else { Grade::ALL[self.up_to(8) as usize] },
            pace: self.up_to(256) as u8,
            busy: self.up_to(256) as u8,
        })
    }
}

#[derive(PartialEq, Debug)]
struct Made {
    order: Vec<Candidate>,
    label: Option<String>,
    waiting: u16,
}

fn make(snapshot: &Snapshot, tenant: &str, shape: &Shape, vitals: &Vitals) -> Made {
    let key = key_of(snapshot, tenant);
    let way = Way::to(snapshot, "r", key);
    let eligible = Eligible::of(&way, snapshot, key, shape);
    let ranked = rank(&way, snapshot, &eligible, shape, vitals, &mut Unseen);
    let made = Made {
        order: ranked.each().collect(),
        label: ranked.label.map(|label| label.to_string()),
        waiting: ranked.waiting,
    };
    for candidate in &made.order {
        assert!(eligible.holds(candidate.at), "{candidate:?} is not allowed");
        let model = &snapshot.catalog.models[candidate.model as usize];
        let regions = &snapshot.vendor_of(model).regions;
        assert!(
            tenant != "europe" || regions.iter().all(|region| &**region == "eu"),
            "{candidate:?} leaves its region"
        );
        assert!(shape.reach & 1 << candidate.at != 0, "{candidate:?} does not speak the call's language");
        assert!(vitals[usize::from(candidate.at)].grade.takes_calls(), "{candidate:?} takes no calls");
    }
    made
}

/// As the journal keeps it.
struct Journal(Vec<u8>);

impl Journal {
    fn new() -> Self {
        let header =
            SegmentHeader { node: "n".into(), core: 0, created_ns: 1, first_sequence: 0, previous: Link::default() };
        let mut bytes = header.encode().to_vec();
        bytes.resize(HEADER_BYTES + FRAME_BYTES_MAX, 0);
        Self(bytes)
    }

    fn through(&mut self, choice: Choice<'_>) -> Choice<'static> {
        let candidates = choice.candidates;
        let record = Record { seed: choice.shape.seed, choice: Some(Box::new(choice)), ..Record::default() };
        record.encode(&Link::default(), &mut self.0[HEADER_BYTES..]).expect("it fits");
        let (_, mut records) = Records::open(&self.0).expect("a journal");
        let read = records.next().expect("a record").expect("a good one");
        let choice = read.choice.expect("its choice");
        assert_eq!(choice.candidates, candidates);
        Choice { asked: "r".into(), label: "", shape: choice.shape, vitals: choice.vitals, candidates }
    }
}

fn calls_of(tree: u64) {
    let mut chance = Chance(tree << 32);
    let snapshot = compiled(json!({ "order": [chance.tree(3), chance.tree(2)] }));
    let candidates = snapshot.catalog.route("r").expect("the route").places.len();
    let mut journal = Journal::new();
    for call in 0..CALLS {
        let (shape, mut vitals) = (chance.shape(), chance.vitals());
        vitals[candidates..].fill(Vital::default());
        let tenant = ["default", "europe"][chance.up_to(2) as usize];
        let made = make(&snapshot, tenant, &shape, &vitals);
        let told = Choice { asked: "r".into(), label: "", shape, vitals, candidates: candidates as u8 };
        let read = journal.through(told);
        let again = make(&snapshot, tenant, &read.shape, &read.vitals);
        assert_eq!(made, again, "tree {tree}, call {call}");
    }
}

#[test]
fn a_million_choices_are_made_again_from_their_records() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || (first..TREES).step_by(threads as usize).for_each(calls_of));
        }
    });
}
