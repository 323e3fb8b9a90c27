//! What a caller wants, in no vendor's words.
//!
//! Everything borrows from the body that arrived. A reader puts each member of it somewhere: into one of these fields, or by
//! its path into [`Call::unmapped`]. Nothing is left out in silence.

use std::fmt::Display;

use super::text::{Arguments, Json, Text};

#[derive(Clone, Default, Debug)]
pub struct Call<'a> {
    /// In their order; instructions are turns of [`Role::System`], wherever they stood.
    pub turns: Vec<Turn<'a>>,
    pub tools: Vec<Tool<'a>>,
    /// Tools of these that their caller keeps in a namespace; elsewhere they have one name.
    pub spaces: Vec<Space<'a>>,
    /// Names of tools of these that take plain text with their caller; elsewhere it is their one argument, `input`.
    pub freeform: Vec<Text<'a>>,
    pub tool_choice: Option<ToolChoice<'a>>,
    pub parallel_tools: Option<bool>,
    pub format: Option<Format<'a>>,
    pub reasoning: Option<Reasoning>,
    pub stop: Vec<Text<'a>>,
    pub tokens_max: Option<u64>,
    /// How many answers are wanted; `None` is one.
    pub choices: Option<u64>,
    pub params: Params<'a>,
    pub stream: bool,
    /// A streaming caller of a language that tells usage on demand only, and who demanded it.
    pub usage_asked: bool,
    /// What the middle language has no word for: paths as the caller wrote them, like `messages[2].audio`.
    pub unmapped: Vec<String>,
    /// The same of what changes no answer: nobody is refused for it.
    pub hints: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    System,
    User,
    Assistant,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Turn<'a> {
    pub role: Role,
    /// A participant's name, where the language has one.
    pub name: Option<Text<'a>>,
    pub parts: Vec<Part<'a>>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Part<'a> {
    pub what: What<'a>,
    /// The prompt up to and with this part is worth keeping in the vendor's cache.
    pub cache: Option<CacheMark>,
}

impl<'a> From<What<'a>> for Part<'a> {
    fn from(what: What<'a>) -> Self {
        Self { what, cache: None }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub enum What<'a> {
    Text(Text<'a>),
    /// What the model said instead of an answer.
    Refusal(Text<'a>),
    Media(Media<'a>),
    Reasoning(Thought<'a>),
    ToolCall(ToolCall<'a>),
    ToolResult(ToolResult<'a>),
}

/// An image, a sound, a document: whatever is no text.
#[derive(Clone, PartialEq, Debug)]
pub struct Media<'a> {
    pub kind: MediaKind,
    pub source: Source<'a>,
    /// A file's name; some vendors want one.
    pub name: Option<Text<'a>>,
    /// `low`, `high`, `auto`: how closely an image is looked at.
    pub detail: Option<Text<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MediaKind {
    Image,
    Audio,
    Video,
    /// PDF and whatever else a vendor reads as a document.
    Document,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Source<'a> {
    /// Base64, and what it is: `image/png`. A data URL is taken apart into this.
    Data { mime: Text<'a>, base64: Text<'a> },
    /// Fetched by the vendor, never by us.
    Url { url: Text<'a>, mime: Option<Text<'a>> },
    /// An object that a vendor keeps: means nothing to another one.
    Id(Text<'a>),
    /// A document that is plain text.
    Text(Text<'a>),
}

/// What a model thought. A thought without proof is text for people; vendors take only their own proof back.
#[derive(Clone, PartialEq, Debug)]
pub struct Thought<'a> {
    pub text: Text<'a>,
    pub proof: Option<Proof<'a>>,
}

/// A signature or a sealed thought, and whose it is. Carried unchanged through any caller's language, see [`super::proof`].
#[derive(Clone, PartialEq, Debug)]
pub struct Proof<'a> {
    pub of: Tongue,
    pub data: Text<'a>,
    /// The whole thought is within `data`; there is no text to it.
    pub sealed: bool,
}

/// Our six languages, as the middle knows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Tongue {
    Chat,
    Responses,
    Messages,
    Generate,
    Cohere,
    Converse,
}

impl Tongue {
    pub const ALL: &[Self] =
        &[Self::Chat, Self::Responses, Self::Messages, Self::Generate, Self::Cohere, Self::Converse];

    /// One word without a dot; part of a wrapped proof, so it never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Generate => "generate",
            Self::Cohere => "cohere",
            Self::Converse => "converse",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tongue| tongue.name() == name)
    }

    /// The endpoint that generates, as its language writes it down.
    pub fn path(self, streams: bool) -> &'static str {
        match (self, streams) {
            (Self::Chat, _) => "chat/completions",
            (Self::Responses, _) => "responses",
            (Self::Messages, _) => "messages",
            (Self::Generate, false) => "models/{model}:generateContent",
            (Self::Generate, true) => "models/{model}:streamGenerateContent",
            (Self::Cohere, _) => "v2/chat",
            (Self::Converse, false) => "model/{model}/converse",
            (Self::Converse, true) => "model/{model}/converse-stream",
        }
    }

    /// What a vendor wants behind that path when it is to stream.
    pub fn stream_query(self) -> &'static [u8] {
        match self {
            Self::Generate => b"alt=sse",
            _ => b"",
        }
    }

    /// Header fields that a vendor of this language insists on.
    pub fn fields(self) -> &'static [u8] {
        match self {
            Self::Messages => b"anthropic-version: 2023-06-01\r\n",
            _ => b"",
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct ToolCall<'a> {
    pub id: Text<'a>,
    pub name: Text<'a>,
    pub arguments: Arguments<'a>,
    /// Gemini signs its calls.
    pub proof: Option<Proof<'a>>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ToolResult<'a> {
    pub id: Text<'a>,
    /// The tool's name; where the caller's language has none, the reader takes it from the call of this id.
    pub name: Option<Text<'a>>,
    pub content: Vec<Part<'a>>,
    pub failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheMark {
    FiveMinutes,
    OneHour,
}

/// A function that the caller runs. Tools that a vendor runs are named in `Call::unmapped` by languages that cannot mean
/// another vendor's.
#[derive(Clone, PartialEq, Debug)]
pub struct Tool<'a> {
    pub name: Text<'a>,
    pub description: Option<Text<'a>>,
    /// JSON schema of its arguments; `None` when it takes none.
    pub schema: Option<Json<'a>>,
    pub strict: Option<bool>,
    pub cache: Option<CacheMark>,
}

/// What a tool is called where names have two parts.
#[derive(Clone, PartialEq, Debug)]
pub struct Space<'a> {
    /// Its name among [`Call::tools`].
    pub flat: Text<'a>,
    pub space: Text<'a>,
    pub name: Text<'a>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum ToolChoice<'a> {
    Auto,
    None,
    /// Some tool, whichever.
    Required,
    Named(Text<'a>),
    /// One of these, `required` or not.
    Among {
        names: Vec<Text<'a>>,
        required: bool,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub enum Format<'a> {
    Text,
    /// Any JSON object.
    Json,
    Schema {
        name: Option<Text<'a>>,
        description: Option<Text<'a>>,
        schema: Json<'a>,
        strict: Option<bool>,
    },
}

/// How much thinking is wanted, and how much of it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reasoning {
    pub amount: Option<Amount>,
    /// Show what was thought: a summary, or the thoughts themselves.
    pub shown: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    Off,
    /// The model decides.
    Auto,
    Effort(Effort),
    /// At most so many tokens.
    Tokens(u64),
}

impl Amount {
    /// As a word; what names no amount is as much as is usual.
    pub fn effort(self) -> Effort {
        match self {
            Self::Effort(effort) => effort,
            Self::Tokens(tokens) => Effort::of_tokens(tokens),
            Self::Off | Self::Auto => Effort::Medium,
        }
    }

    /// As a budget.
    pub fn tokens(self) -> u64 {
        match self {
            Self::Tokens(tokens) => tokens,
            Self::Effort(_) | Self::Off | Self::Auto => self.effort().tokens(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effort {
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::Minimal, "minimal"),
        (Self::Low, "low"),
        (Self::Medium, "medium"),
        (Self::High, "high"),
        (Self::XHigh, "xhigh"),
        (Self::Max, "max"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(effort, _)| *effort == self).map_or("medium", |(_, name)| name)
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, said)| *said == name).map(|(effort, _)| *effort)
    }

    /// A budget in tokens, for vendors who count them: the figures that the ecosystem settled on.
    pub fn tokens(self) -> u64 {
        match self {
            Self::Minimal | Self::Low => 1_024,
            Self::Medium => 8_192,
            Self::High => 24_576,
            Self::XHigh | Self::Max => 32_768,
        }
    }

    /// The effort that a budget comes closest to.
    pub fn of_tokens(tokens: u64) -> Self {
        match tokens {
            0..=512 => Self::Minimal,
            513..=2_048 => Self::Low,
            2_049..=12_288 => Self::Medium,
            12_289..=28_672 => Self::High,
            _ => Self::XHigh,
        }
    }
}

/// Single values that go from one language to another by name.
///
/// Each language has a table of the ones it knows, by the path that it gives them; reading, writing and the page of fates all
/// walk that table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Param {
    Temperature,
    TopP,
    TopK,
    MinP,
    FrequencyPenalty,
    PresencePenalty,
    Seed,
    /// Who the caller's own user is, for the vendor's abuse watch.
    User,
    Metadata,
    ServiceTier,
    /// Requests that share this are sent where their prompt is cached.
    CacheKey,
    Verbosity,
    Logprobs,
    TopLogprobs,
    LogitBias,
    SafetySettings,
    Modalities,
}

impl Param {
    pub const ALL: &[Self] = &[
        Self::Temperature,
        Self::TopP,
        Self::TopK,
        Self::MinP,
        Self::FrequencyPenalty,
        Self::PresencePenalty,
        Self::Seed,
        Self::User,
        Self::Metadata,
        Self::ServiceTier,
        Self::CacheKey,
        Self::Verbosity,
        Self::Logprobs,
        Self::TopLogprobs,
        Self::LogitBias,
        Self::SafetySettings,
        Self::Modalities,
    ];
    pub const COUNT: usize = Self::ALL.len();
}

/// The values of [`Param`]s that the caller gave; `null` is not given.
#[derive(Clone, Default, Debug)]
pub struct Params<'a>([Option<Json<'a>>; Param::COUNT]);

impl<'a> Params<'a> {
    pub fn get(&self, param: Param) -> Option<&Json<'a>> {
        self.0[param as usize].as_ref()
    }

    pub fn set(&mut self, param: Param, value: Json<'a>) {
        self.0[param as usize] = (value.raw() != b"null").then_some(value);
    }

    pub fn take(&mut self, param: Param) -> Option<Json<'a>> {
        self.0[param as usize].take()
    }
}

/// What of a language's parameters has which path in its body: `&[(Param::TopP, "generationConfig.topP")]`.
pub type ParamTable = &'static [(Param, &'static str)];

impl<'a> Call<'a> {
    /// Notes a member that changes no answer, unless it says nothing.
    pub fn hint(&mut self, path: impl Display, value: &[u8]) {
        if !matches!(value, b"false" | b"\"\"" | b"[]" | b"{}") {
            self.hints.push(path.to_string());
        }
    }

    /// Who the caller's own user is, by the newer of two members. The older holds where both say something else.
    pub fn name_user(&mut self, member: &str, user: &'a [u8]) {
        match self.params.get(Param::User) {
            None => self.params.set(Param::User, Json::of(user)),
            Some(said) if said.raw() == user => {}
            Some(_) => self.hint(member, user),
        }
    }

    /// The instructions in front of the conversation, and those in its midst, in their order.
    pub fn instructions(&self) -> impl Iterator<Item = &Part<'a>> {
        self.turns.iter().filter(|turn| turn.role == Role::System).flat_map(|turn| &turn.parts)
    }

    /// Everything but instructions, neighbours of one role joined: the form that strict vendors ask for.
    pub fn conversation(&self) -> Vec<(Role, Vec<&Part<'a>>)> {
        let mut joined: Vec<(Role, Vec<&Part<'a>>)> = Vec::new();
        for turn in self.turns.iter().filter(|turn| turn.role != Role::System) {
            match joined.last_mut() {
                Some((role, parts)) if *role == turn.role => parts.extend(&turn.parts),
                _ => joined.push((turn.role, turn.parts.iter().collect())),
            }
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_role_are_joined_and_instructions_stand_apart() {
        let turn = |role, words: &'static str| Turn {
            role,
            name: None,
            parts: vec![What::Text(Text::of_raw(words.as_bytes())).into()],
        };
        let turns = vec![
            turn(Role::System, "be kind"),
            turn(Role::User, "a"),
            turn(Role::User, "b"),
            turn(Role::System, "be brief"),
            turn(Role::Assistant, "c"),
        ];
        let call = Call { turns, ..Call::default() };
        assert_eq!(call.instructions().count(), 2);
        let joined: Vec<_> = call.conversation().into_iter().map(|(role, parts)| (role, parts.len())).collect();
        assert_eq!(joined, [(Role::User, 2), (Role::Assistant, 1)]);
    }

    #[test]
    fn efforts_and_budgets_meet() {
        for (effort, name) in Effort::ALL {
            assert_eq!(Effort::parse(name), Some(*effort));
            if !matches!(effort, Effort::Minimal | Effort::Max) {
                assert_eq!(Effort::of_tokens(effort.tokens()), *effort);
            }
        }
    }
}
