//! One model, with a vendor of its own: its scenario, its credentials, its price, as lines of the operator's folder.

/// The languages that vendors speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    Cohere,
    Bedrock,
}

impl Dialect {
    /// Those that every setup has a good model of.
    pub const ALL: &[Self] = &[Self::OpenAi, Self::Anthropic, Self::Gemini];

    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Cohere => "cohere",
            Self::Bedrock => "bedrock",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Anthropic => "v1",
            Self::Gemini => "v1beta",
            // Their paths carry their version, or have none.
            Self::Cohere | Self::Bedrock => "",
        }
    }
}

/// So that a cost is easy to read: a token of input is a thousand nano-dollars, cached five hundred, of output two thousand.
pub const PRICE: &str = "input = \"1\"\ncache_read = \"0.5\"\ncache_write_5m = \"1.25\"\noutput = \"2\"\n";

#[derive(Clone, Debug)]
pub struct Model {
    pub dialect: Dialect,
    /// The synthetic vendor's scenario.
    pub words: String,
    pub id: String,
    pub upstream: String,
    /// Instead of the scenario's address.
    pub base_url: Option<String>,
    /// Lines of the vendor's table, before its sub-tables.
    pub vendor: String,
    /// Lines of `[vendor.times]`.
    pub times: String,
    /// Name, secret, lines of the credential's table.
    pub credentials: Vec<(String, String, String)>,
    /// Lines of the model's table.
    pub model: String,
    pub price: String,
}

impl Model {
    pub fn new(dialect: Dialect, words: &str) -> Self {
        Self {
            dialect,
            words: words.into(),
            id: String::new(),
            upstream: "upstream-model".into(),
            base_url: None,
            vendor: String::new(),
            times: String::new(),
            credentials: vec![("main".into(), SECRET.into(), String::new())],
            model: String::new(),
            price: PRICE.into(),
        }
    }

    pub fn id(mut self, id: &str) -> Self {
        self.id = id.into();
        self
    }

    pub fn base_url(mut self, url: &str) -> Self {
        self.base_url = Some(url.into());
        self
    }

    pub fn vendor(mut self, lines: &str) -> Self {
        self.vendor += lines;
        self.vendor += "\n";
        self
    }

    pub fn times(mut self, lines: &str) -> Self {
        self.times += lines;
        self.times += "\n";
        self
    }

    pub fn credentials(mut self, credentials: &[(&str, &str, &str)]) -> Self {
        let own = |(name, secret, lines): &(&str, &str, &str)| ((*name).into(), (*secret).into(), (*lines).into());
        self.credentials = credentials.iter().map(own).collect();
        self
    }

    pub fn model(mut self, lines: &str) -> Self {
        self.model += lines;
        self.model += "\n";
        self
    }

    pub fn price(mut self, lines: &str) -> Self {
        self.price = lines.into();
        self
    }

    /// The variable that holds a credential's secret.
    pub fn variable(&self, credential: &str) -> String {
        format!("SECRET_{}_{credential}", self.id.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
    }

    pub fn toml(&self, vendors: &weirbench::provider::Handle) -> String {
        let (id, dialect) = (&self.id, self.dialect.name());
        let base = match &self.base_url {
            Some(url) => url.clone(),
            None => format!("{}/{}", vendors.url(&self.words), self.dialect.version()),
        };
        let mut text = format!("[[vendor]]\nname = \"vendor-{id}\"\ndialect = \"{dialect}\"\nbase_url = \"{base}\"\n");
        if !self.vendor.contains("internal") {
            text += "internal = true\n";
        }
        text += &self.vendor;
        if !self.times.is_empty() {
            text += &format!("[vendor.times]\n{}", self.times);
        }
        for (name, _, lines) in &self.credentials {
            let elsewhere = lines.contains("file =") || lines.contains("sealed =");
            let env = if elsewhere { String::new() } else { format!("env = \"{}\"\n", self.variable(name)) };
            text += &format!("[[vendor.credential]]\nname = \"{name}\"\n{env}{lines}\n");
        }
        text += &format!("[[model]]\nvendor = \"vendor-{id}\"\nid = \"{id}\"\nupstream = \"{}\"\n", self.upstream);
        text += &self.model;
        if !self.price.is_empty() {
            text += &format!("[model.price]\n{}", self.price);
        }
        text
    }
}

/// What vendors are paid with; no caller and no log may ever see it.
pub const SECRET: &str = "sk-vendor-secret-4711-do-not-show";
