//! Answers for callers of OpenAI's responses: a stream of items that open, grow and close, each event with the next number,
//! and the whole response at both ends. What is said in pieces is said again when it is done, so it is kept that long.

use weir_shared::fault::Code;
use weir_shared::usage::{Tier, Usage};

use super::write_items::{self as items, Frame, Status};
use super::{carried, freeform};
use crate::dialect::answer::{Answer, Whole};
use crate::dialect::call::{MediaKind, Proof};
use crate::dialect::compose::{number, quoted};
use crate::dialect::event::{Block, Citation, Event, Finish, Piece};
use crate::dialect::likely;
use crate::dialect::speech::{Heading, WriteEvents};
use crate::dialect::text::escape_json;

pub struct Writer<'h> {
    heading: &'h Heading<'h>,
    frame: Frame,
    sequence: u64,
    started: bool,
    over: bool,
    blocks: Vec<Open>,
    messages: Vec<Message>,
    /// Texts go on in the last message, while nothing else has begun.
    goes_on: bool,
    /// What is done, by its number; empty what is not.
    items: Vec<Vec<u8>>,
    /// Bytes that are kept.
    held: usize,
    finish: Option<Finish<'static>>,
    usage: Option<(Usage, Tier)>,
}

/// A block of the answer.
#[derive(Default)]
struct Open {
    kind: Kind,
    /// The item has been told.
    told: bool,
    index: u64,
    /// Of a text: which message, and which part of it.
    message: usize,
    part: usize,
    id: Vec<u8>,
    /// What each piece begins with.
    delta: Vec<u8>,
    /// All that was said: a text, arguments, Base64.
    text: Vec<u8>,
    /// Elements of a list.
    annotations: Vec<u8>,
    annotated: u64,
    /// Elements of a list: how likely the tokens were.
    likely: Vec<u8>,
    /// Citations of all the text that there will be.
    citations: Vec<Citation<'static>>,
    encrypted: Vec<u8>,
    /// Of a call: which. Of an image: its type.
    who: Vec<u8>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing of it can be shown.
    #[default]
    Silent,
    Text,
    Refusal,
    Reasoning,
    Call,
    /// A call of a tool that takes text: it is known when the arguments are whole.
    Freeform,
    Image,
}

struct Message {
    index: u64,
    id: Vec<u8>,
    /// Each part as it is when done.
    parts: Vec<Vec<u8>>,
    open: usize,
    done: bool,
}

/// More are no answer.
const BLOCKS_MAX: usize = 16 << 10;

/// More than this is not kept, and not said either: the answer is cut.
const HELD_BYTES_MAX: usize = 32 << 20;

impl<'h> Writer<'h> {
    pub fn new(heading: &'h Heading<'h>) -> Self {
        Self {
            heading,
            frame: Frame::new(heading),
            sequence: 0,
            started: false,
            over: false,
            blocks: Vec::with_capacity(8),
            messages: Vec::with_capacity(1),
            goes_on: false,
            items: Vec::with_capacity(8),
            held: 0,
            finish: None,
            usage: None,
        }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        for kind in ["response.created", "response.in_progress"] {
            self.begin(kind, out);
            out.extend_from_slice(b",\"response\":");
            self.frame.write(&Status::InProgress, b"", None, out);
            out.extend_from_slice(END);
        }
    }

    /// An event up to and with its number.
    fn begin(&mut self, kind: &str, out: &mut Vec<u8>) {
        begin(kind, out);
        out.extend_from_slice(b",\"sequence_number\":");
        number(out, self.sequence);
        self.sequence += 1;
    }

    /// An event about an item.
    fn about(&mut self, kind: &str, index: u64, fill: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        self.begin(kind, out);
        out.extend_from_slice(b",\"output_index\":");
        number(out, index);
        fill(out);
        out.extend_from_slice(END);
    }

    fn added(&mut self, index: u64, item: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        let fill = |out: &mut Vec<u8>| {
            out.extend_from_slice(b",\"item\":");
            item(out);
        };
        self.about("response.output_item.added", index, fill, out);
    }

    fn done(&mut self, index: u64, item: Vec<u8>, out: &mut Vec<u8>) {
        let fill = |out: &mut Vec<u8>| {
            out.extend_from_slice(b",\"item\":");
            out.extend_from_slice(&item);
        };
        self.about("response.output_item.done", index, fill, out);
        if let Some(place) = self.items.get_mut(index as usize) {
            *place = item;
        }
    }

    /// The number of a new item. Something else than text ends the message in front of it.
    fn next(&mut self, out: &mut Vec<u8>) -> u64 {
        self.start(out);
        self.goes_on = false;
        for place in 0..self.messages.len() {
            self.end_message(place, out);
        }
        self.items.push(Vec::new());
        self.items.len() as u64 - 1
    }

    fn open(&mut self, block: u32, choice: u32, kind: Block<'_>, out: &mut Vec<u8>) {
        let place = block as usize;
        if place >= BLOCKS_MAX {
            return;
        }
        if self.blocks.len() <= place {
            self.blocks.resize_with(place + 1, Open::default);
        }
        let mut open = Open::default();
        // There is one answer to a call.
        match kind {
            _ if choice != 0 => {}
            Block::Text => open.kind = Kind::Text,
            Block::Refusal => open.kind = Kind::Refusal,
            Block::Reasoning => open.kind = Kind::Reasoning,
            Block::ToolCall { id, name, proof } => {
                if let Some(proof) = proof {
                    self.proof_of_call(&proof, out);
                }
                let mut call_id = Vec::with_capacity(48);
                items::call_id(&id, self.heading, block, &mut call_id);
                items::who(&call_id, &name, self.heading, &mut open.who);
                open.kind = if freeform::is_one(self.heading.call, &name) { Kind::Freeform } else { Kind::Call };
                self.begin_call(&mut open, out);
            }
            Block::Media { kind: MediaKind::Image, mime } => {
                open.kind = Kind::Image;
                open.who.extend_from_slice(mime.raw());
            }
            Block::Media { .. } | Block::VendorTool { .. } => {}
        }
        self.blocks[place] = open;
    }

    /// A call's proof has an item to itself.
    fn proof_of_call(&mut self, proof: &Proof<'_>, out: &mut Vec<u8>) {
        let index = self.next(out);
        let item = proof_item(proof, self.heading, index);
        self.added(index, |out| out.extend_from_slice(&item), out);
        self.done(index, item, out);
    }

    fn begin_call(&mut self, open: &mut Open, out: &mut Vec<u8>) {
        open.told = true;
        open.index = self.next(out);
        if open.kind == Kind::Freeform {
            items::item_id("ctc", self.heading, open.index, &mut open.id);
            self.added(open.index, |out| items::freeform_call(&open.id, &open.who, "in_progress", b"", out), out);
            return;
        }
        items::item_id("fc", self.heading, open.index, &mut open.id);
        self.added(open.index, |out| items::function_call(&open.id, &open.who, "in_progress", b"", out), out);
        delta("response.function_call_arguments.delta", &open.id, open.index, None, &mut open.delta);
    }

    fn begin_text(&mut self, open: &mut Open, out: &mut Vec<u8>) {
        open.told = true;
        if !self.goes_on {
            let index = self.next(out);
            let mut id = Vec::with_capacity(48);
            items::item_id("msg", self.heading, index, &mut id);
            self.added(index, |out| items::message(&id, "in_progress", b"", out), out);
            self.messages.push(Message { index, id, parts: Vec::with_capacity(1), open: 0, done: false });
            self.goes_on = true;
        }
        open.message = self.messages.len() - 1;
        let Some(message) = self.messages.last_mut() else { return };
        message.open += 1;
        open.index = message.index;
        open.part = message.parts.len();
        open.id.extend_from_slice(&message.id);
        message.parts.push(Vec::new());
        let refused = open.kind == Kind::Refusal;
        let fill = |out: &mut Vec<u8>| {
            open.place(out);
            out.extend_from_slice(b",\"part\":");
            items::part(refused, b"", b"", b"", out);
        };
        self.about("response.content_part.added", open.index, fill, out);
        let kind = if refused { "response.refusal.delta" } else { "response.output_text.delta" };
        delta(kind, &open.id, open.index, Some(("content_index", open.part)), &mut open.delta);
        if !refused {
            open.delta.truncate(open.delta.len() - BEFORE_DELTA.len());
            open.delta.extend_from_slice(b",\"logprobs\":[]");
            open.delta.extend_from_slice(BEFORE_DELTA);
        }
    }

    fn begin_thought(&mut self, open: &mut Open, proof: Option<&Proof<'_>>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut open.told, true) {
            return;
        }
        open.index = self.next(out);
        items::thought_id(proof, self.heading, open.index, &mut open.id);
        self.added(open.index, |out| items::reasoning(&open.id, b"", b"", out), out);
    }

    fn begin_summary(&mut self, open: &mut Open, out: &mut Vec<u8>) {
        self.begin_thought(open, None, out);
        let fill = |out: &mut Vec<u8>| {
            open.summary_place(out);
            out.extend_from_slice(b",\"part\":");
            items::summary_part(b"", out);
        };
        self.about("response.reasoning_summary_part.added", open.index, fill, out);
        let place = Some(("summary_index", 0));
        delta("response.reasoning_summary_text.delta", &open.id, open.index, place, &mut open.delta);
    }

    fn piece(&mut self, block: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        let Some(open) = self.blocks.get_mut(block as usize) else { return };
        // A piece of something that has begun: nothing but a splice.
        let said = match (open.kind, &piece) {
            (Kind::Text | Kind::Refusal | Kind::Reasoning, Piece::Text(text)) => text.raw(),
            (Kind::Call, Piece::Arguments(text)) => text.raw(),
            _ => return self.other_piece(block, piece, out),
        };
        if said.is_empty() {
            return;
        }
        self.held += said.len();
        if self.held > HELD_BYTES_MAX {
            self.finish = Some(Finish::Length);
            return;
        }
        if open.delta.is_empty() {
            let mut begun = std::mem::take(open);
            match begun.kind {
                Kind::Reasoning => self.begin_summary(&mut begun, out),
                _ => self.begin_text(&mut begun, out),
            }
            self.blocks[block as usize] = begun;
        }
        let open = &mut self.blocks[block as usize];
        open.text.extend_from_slice(said);
        write_delta(&open.delta, said, self.sequence, out);
        self.sequence += 1;
    }

    /// What is rare, or comes once.
    fn other_piece(&mut self, block: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        let mut open = std::mem::take(&mut self.blocks[block as usize]);
        match (open.kind, piece) {
            (Kind::Call, Piece::ArgumentsObject(object)) if open.text.is_empty() => {
                self.held += object.len();
                if self.held <= HELD_BYTES_MAX {
                    escape_json(&mut open.text, object);
                    write_delta(&open.delta, &open.text, self.sequence, out);
                    self.sequence += 1;
                } else {
                    self.finish = Some(Finish::Length);
                }
            }
            (Kind::Freeform, Piece::Arguments(_) | Piece::ArgumentsObject(_)) if self.held > HELD_BYTES_MAX => {}
            (Kind::Freeform, Piece::Arguments(text)) => {
                self.held += text.raw().len();
                open.text.extend_from_slice(text.raw());
            }
            (Kind::Freeform, Piece::ArgumentsObject(object)) => {
                self.held += object.len();
                escape_json(&mut open.text, object);
            }
            (Kind::Reasoning, Piece::Proof(proof)) => {
                self.begin_thought(&mut open, Some(&proof), out);
                open.encrypted.clear();
                carried::write(&proof, &open.id, &mut open.encrypted);
                self.held += open.encrypted.len();
            }
            (Kind::Text, Piece::Citation(citation)) => {
                if citation.span.is_some() && open.told {
                    self.cite(&mut open, &citation, out);
                } else if open.citations.len() < BLOCKS_MAX {
                    open.citations.push(citation.into_owned());
                }
            }
            (Kind::Text, Piece::Likely(list)) if open.told => self.likely(&mut open, list, out),
            (Kind::Image, Piece::Data(data)) => {
                self.held += data.raw().len();
                if self.held > HELD_BYTES_MAX {
                    // Half a picture is none, and the answer is not whole.
                    open = Open::default();
                    self.finish = Some(Finish::Length);
                } else {
                    open.text.extend_from_slice(data.raw());
                }
            }
            _ => {}
        }
        self.blocks[block as usize] = open;
    }

    /// Behind the words that it is about: a piece without any.
    fn likely(&mut self, open: &mut Open, list: &[u8], out: &mut Vec<u8>) {
        let before = open.likely.len();
        self.held += list.len();
        if self.held > HELD_BYTES_MAX {
            return;
        }
        likely::append(list, &mut open.likely);
        let told = open.likely[before..].strip_prefix(b",").unwrap_or(&open.likely[before..]);
        let fill = |out: &mut Vec<u8>| {
            open.place(out);
            out.extend_from_slice(b",\"delta\":\"\",\"logprobs\":[");
            out.extend_from_slice(told);
            out.push(b']');
        };
        self.about("response.output_text.delta", open.index, fill, out);
    }

    fn cite(&mut self, open: &mut Open, citation: &Citation<'_>, out: &mut Vec<u8>) {
        let mut annotation = Vec::with_capacity(128);
        self.held += annotation.capacity();
        if self.held > HELD_BYTES_MAX || !items::annotation(citation, &open.text, &mut annotation) {
            return;
        }
        let fill = |out: &mut Vec<u8>| {
            open.place(out);
            out.extend_from_slice(b",\"annotation_index\":");
            number(out, open.annotated);
            out.extend_from_slice(b",\"annotation\":");
            out.extend_from_slice(&annotation);
        };
        self.about("response.output_text.annotation.added", open.index, fill, out);
        open.annotated += 1;
        listed(&mut open.annotations, &annotation);
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(mut open) = self.blocks.get_mut(block as usize).map(std::mem::take) else { return };
        match open.kind {
            Kind::Text | Kind::Refusal if open.told => self.close_text(&mut open, out),
            Kind::Reasoning if open.told => self.close_thought(&open, out),
            Kind::Call => {
                if open.text.is_empty() {
                    // Callers parse what there is.
                    open.text.extend_from_slice(b"{}");
                    write_delta(&open.delta, &open.text, self.sequence, out);
                    self.sequence += 1;
                }
                let fill = |out: &mut Vec<u8>| {
                    open.item(out);
                    out.extend_from_slice(b",\"arguments\":");
                    quoted(out, &open.text);
                    out.extend_from_slice(&open.who);
                };
                self.about("response.function_call_arguments.done", open.index, fill, out);
                let mut item = Vec::new();
                items::function_call(&open.id, &open.who, "completed", &open.text, &mut item);
                self.done(open.index, item, out);
            }
            Kind::Freeform => self.close_freeform(&open, out),
            Kind::Image if !open.text.is_empty() => {
                let index = self.next(out);
                items::item_id("ig", self.heading, index, &mut open.id);
                let (mut item, id) = (Vec::new(), &open.id);
                let begins = |out: &mut Vec<u8>| {
                    out.extend_from_slice(b"{\"id\":");
                    quoted(out, id);
                    out.extend_from_slice(
                        b",\"type\":\"image_generation_call\",\"status\":\"in_progress\",\"result\":null}",
                    );
                };
                self.added(index, begins, out);
                items::image(id, &open.who, &open.text, &mut item);
                self.done(index, item, out);
            }
            _ => {}
        }
    }

    fn close_freeform(&mut self, open: &Open, out: &mut Vec<u8>) {
        let input = freeform::input(&open.text);
        for (kind, member) in [("delta", &b",\"delta\":"[..]), ("done", b",\"input\":")] {
            let fill = |out: &mut Vec<u8>| {
                open.item(out);
                out.extend_from_slice(member);
                quoted(out, &input);
            };
            self.about(&format!("response.custom_tool_call_input.{kind}"), open.index, fill, out);
        }
        let mut item = Vec::new();
        items::freeform_call(&open.id, &open.who, "completed", &input, &mut item);
        self.done(open.index, item, out);
    }

    fn close_text(&mut self, open: &mut Open, out: &mut Vec<u8>) {
        for citation in std::mem::take(&mut open.citations) {
            self.cite(open, &citation, out);
        }
        let refused = open.kind == Kind::Refusal;
        let fill = |out: &mut Vec<u8>| {
            open.place(out);
            if refused {
                out.extend_from_slice(b",\"refusal\":");
            } else {
                out.extend_from_slice(b",\"logprobs\":[");
                out.extend_from_slice(&open.likely);
                out.extend_from_slice(b"],\"text\":");
            }
            quoted(out, &open.text);
        };
        let kind = if refused { "response.refusal.done" } else { "response.output_text.done" };
        self.about(kind, open.index, fill, out);
        let mut part = Vec::with_capacity(open.text.len() + 64);
        items::part(refused, &open.text, &open.annotations, &open.likely, &mut part);
        let fill = |out: &mut Vec<u8>| {
            open.place(out);
            out.extend_from_slice(b",\"part\":");
            out.extend_from_slice(&part);
        };
        self.about("response.content_part.done", open.index, fill, out);
        let is_last = open.message + 1 == self.messages.len();
        if let Some(message) = self.messages.get_mut(open.message) {
            message.open -= 1;
            if let Some(place) = message.parts.get_mut(open.part) {
                *place = part;
            }
        }
        if !(is_last && self.goes_on) {
            self.end_message(open.message, out);
        }
    }

    fn end_message(&mut self, place: usize, out: &mut Vec<u8>) {
        let Some(message) = self.messages.get_mut(place).filter(|message| !message.done && message.open == 0) else {
            return;
        };
        message.done = true;
        let (index, mut item) = (message.index, Vec::new());
        items::message(&message.id, "completed", &message.parts.join(&b','), &mut item);
        self.done(index, item, out);
    }

    fn close_thought(&mut self, open: &Open, out: &mut Vec<u8>) {
        if !open.delta.is_empty() {
            let fill = |out: &mut Vec<u8>| {
                open.summary_place(out);
                out.extend_from_slice(b",\"text\":");
                quoted(out, &open.text);
            };
            self.about("response.reasoning_summary_text.done", open.index, fill, out);
            let fill = |out: &mut Vec<u8>| {
                open.summary_place(out);
                out.extend_from_slice(b",\"part\":");
                items::summary_part(&open.text, out);
            };
            self.about("response.reasoning_summary_part.done", open.index, fill, out);
        }
        let mut item = Vec::new();
        items::reasoning(&open.id, &open.text, &open.encrypted, &mut item);
        self.done(open.index, item, out);
    }

    /// The last event of all.
    fn last(&mut self, status: &Status<'_>, out: &mut Vec<u8>) {
        let kind = match status.word() {
            "incomplete" => "response.incomplete",
            "failed" => "response.failed",
            _ => "response.completed",
        };
        self.begin(kind, out);
        out.extend_from_slice(b",\"response\":");
        let mut output = Vec::with_capacity(self.items.iter().map(|item| item.len() + 1).sum());
        for item in self.items.iter().filter(|item| !item.is_empty()) {
            listed(&mut output, item);
        }
        self.frame.write(status, &output, self.usage.as_ref().map(|(usage, tier)| (usage, *tier)), out);
        out.extend_from_slice(END);
    }
}

impl Open {
    fn item(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"item_id\":");
        quoted(out, &self.id);
    }

    fn place(&self, out: &mut Vec<u8>) {
        self.item(out);
        out.extend_from_slice(b",\"content_index\":");
        number(out, self.part as u64);
    }

    fn summary_place(&self, out: &mut Vec<u8>) {
        self.item(out);
        out.extend_from_slice(b",\"summary_index\":0");
    }
}

impl WriteEvents for Writer<'_> {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Piece { block, piece } => self.piece(block, piece, out),
            Event::Start { .. } => self.start(out),
            Event::Open { block, choice, kind } => self.open(block, choice, kind, out),
            Event::Close { block } => self.close(block, out),
            Event::Usage { usage, tier } => self.usage = Some((usage, tier)),
            Event::Finish { choice: 0, why } if self.held <= HELD_BYTES_MAX => self.finish = Some(why.into_owned()),
            Event::Finish { .. } | Event::UsageInvalid | Event::Failed { .. } => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.start(out);
        for block in 0..self.blocks.len() {
            self.close(block as u32, out);
        }
        for place in 0..self.messages.len() {
            self.end_message(place, out);
        }
        let finish = self.finish.take();
        self.last(&Status::Over(finish.as_ref()), out);
    }

    fn held(&self) -> usize {
        // A text stands in its part, in its item and in the response.
        3 * self.held
    }

    fn fail(&mut self, code: Code, message: &str, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            self.start(out);
            self.last(&Status::Failed { code: code.name(), message }, out);
        }
    }
}

const END: &[u8] = b"}\n\n";

fn begin(kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: {\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
}

const BEFORE_DELTA: &[u8] = b",\"delta\":\"";

/// What each piece of an item begins with.
fn delta(kind: &str, id: &[u8], index: u64, part: Option<(&str, usize)>, out: &mut Vec<u8>) {
    begin(kind, out);
    out.extend_from_slice(b",\"item_id\":");
    quoted(out, id);
    out.extend_from_slice(b",\"output_index\":");
    number(out, index);
    if let Some((name, part)) = part {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        number(out, part as u64);
    }
    out.extend_from_slice(BEFORE_DELTA);
}

fn write_delta(begins: &[u8], raw: &[u8], sequence: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(begins);
    out.extend_from_slice(raw);
    out.extend_from_slice(b"\",\"sequence_number\":");
    number(out, sequence);
    out.extend_from_slice(END);
}

fn listed(list: &mut Vec<u8>, element: &[u8]) {
    if !list.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(element);
}

fn proof_item(proof: &Proof<'_>, heading: &Heading<'_>, index: u64) -> Vec<u8> {
    let (mut id, mut encrypted, mut item) = (Vec::new(), Vec::new(), Vec::new());
    items::item_id("rs", heading, index, &mut id);
    carried::write_of_call(proof, &mut encrypted);
    items::reasoning(&id, b"", &encrypted, &mut item);
    item
}

pub fn write_answer(answer: &Answer, heading: &Heading<'_>, out: &mut Vec<u8>) {
    let choice = answer.choices.first();
    let mut output = Output { list: Vec::new(), count: 0, parts: Vec::new() };
    for (block, whole) in choice.iter().flat_map(|choice| &choice.blocks).enumerate() {
        output.take(whole, block as u32, heading);
    }
    output.end_message(heading);
    let usage = answer.usage.as_ref().map(|usage| (usage, answer.tier));
    let finish = choice.and_then(|choice| choice.finish.as_ref());
    Frame::new(heading).write(&Status::Over(finish), &output.list, usage, out);
}

/// The items of a whole answer.
struct Output {
    list: Vec<u8>,
    count: u64,
    /// Parts of the message that is being put together.
    parts: Vec<u8>,
}

impl Output {
    fn take(&mut self, whole: &Whole, block: u32, heading: &Heading<'_>) {
        let (mut id, mut item) = (Vec::new(), Vec::new());
        match &whole.kind {
            Block::Text | Block::Refusal if whole.text.is_empty() => {}
            Block::Text | Block::Refusal => {
                let (mut annotations, mut annotation) = (Vec::new(), Vec::new());
                // Those of all the text stand behind the others, as they do in a stream.
                let placed = whole.citations.iter().filter(|citation| citation.span.is_some());
                for citation in placed.chain(whole.citations.iter().filter(|citation| citation.span.is_none())) {
                    annotation.clear();
                    if items::annotation(citation, &whole.text, &mut annotation) {
                        listed(&mut annotations, &annotation);
                    }
                }
                let mut tokens = Vec::new();
                likely::append(&whole.likely(), &mut tokens);
                items::part(whole.kind == Block::Refusal, &whole.text, &annotations, &tokens, &mut item);
                listed(&mut self.parts, &item);
            }
            Block::Reasoning if whole.text.is_empty() && whole.proof.is_none() => {}
            Block::Reasoning => {
                self.end_message(heading);
                let mut encrypted = Vec::new();
                items::thought_id(whole.proof.as_ref(), heading, self.count, &mut id);
                if let Some(proof) = &whole.proof {
                    carried::write(proof, &id, &mut encrypted);
                }
                items::reasoning(&id, &whole.text, &encrypted, &mut item);
                self.add(&item);
            }
            Block::ToolCall { id: call_id, name, proof } => {
                self.end_message(heading);
                if let Some(proof) = proof.as_ref().or(whole.proof.as_ref()) {
                    self.add(&proof_item(proof, heading, self.count));
                }
                let (mut called, mut who, mut arguments) = (Vec::new(), Vec::new(), Vec::new());
                items::call_id(call_id, heading, block, &mut called);
                items::who(&called, name, heading, &mut who);
                match &whole.object {
                    Some(object) => escape_json(&mut arguments, object),
                    None if whole.text.is_empty() => arguments.extend_from_slice(b"{}"),
                    None => arguments.extend_from_slice(&whole.text),
                }
                if freeform::is_one(heading.call, name) {
                    items::item_id("ctc", heading, self.count, &mut id);
                    items::freeform_call(&id, &who, "completed", &freeform::input(&arguments), &mut item);
                } else {
                    items::item_id("fc", heading, self.count, &mut id);
                    items::function_call(&id, &who, "completed", &arguments, &mut item);
                }
                self.add(&item);
            }
            Block::Media { kind: MediaKind::Image, mime } if !whole.text.is_empty() => {
                self.end_message(heading);
                items::item_id("ig", heading, self.count, &mut id);
                items::image(&id, mime.raw(), &whole.text, &mut item);
                self.add(&item);
            }
            Block::Media { .. } | Block::VendorTool { .. } => {}
        }
    }

    fn add(&mut self, item: &[u8]) {
        listed(&mut self.list, item);
        self.count += 1;
    }

    fn end_message(&mut self, heading: &Heading<'_>) {
        if self.parts.is_empty() {
            return;
        }
        let (mut id, mut item) = (Vec::new(), Vec::new());
        items::item_id("msg", heading, self.count, &mut id);
        items::message(&id, "completed", &self.parts, &mut item);
        self.parts.clear();
        self.add(&item);
    }
}
