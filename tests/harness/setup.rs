//! What a gateway is started with: models, an operator's folder, options. `start` brings everything up.

use weirbench::provider::{self, Handle};

use crate::gateway::Gateway;
use crate::model::{Dialect, Model};
use crate::scratch::Scratch;

pub struct Setup {
    pub scratch: Scratch,
    pub vendor: Handle,
    pub models: Vec<Model>,
    /// More of the operator's folder: `[gateway]` and whatever else.
    pub folder: String,
    /// The store's address, where it is not the folder in the state folder.
    pub store: Option<String>,
    /// Variables of the gateway's, and of `weirctl`'s.
    pub env: Vec<(String, String)>,
    pub ctl_env: Vec<(String, String)>,
    pub options: Vec<String>,
    /// Runs in the shell that becomes the gateway: limits, traps.
    pub before: String,
    pub cores: usize,
}

/// For tests that let a vendor fail again and again and want to see each failure.
pub const NO_BREAKER: &str = "[gateway.breaker]\ncounts = []";

impl Setup {
    /// With one good model for each dialect: `good-openai`, `good-anthropic`, `good-gemini`.
    pub fn new(name: &str) -> Self {
        Self::beside(name, provider::Options { capture: true, ..provider::Options::default() })
    }

    /// With a vendor of the test's own making.
    pub fn beside(name: &str, options: provider::Options) -> Self {
        let vendor = provider::start(options).expect("the synthetic vendor starts");
        let mut setup = Self {
            scratch: Scratch::new(name),
            vendor,
            models: Vec::new(),
            folder: String::new(),
            store: None,
            env: Vec::new(),
            ctl_env: Vec::new(),
            options: Vec::new(),
            before: String::new(),
            cores: 2,
        };
        if setup.vendor.ca_pem.is_none() {
            for dialect in Dialect::ALL {
                let id = format!("good-{}", dialect.name());
                setup.add(Model::new(*dialect, "name=good,events=3").id(&id));
            }
        }
        setup
    }

    /// A model that its vendor serves like this. Returns its name.
    pub fn model(&mut self, dialect: Dialect, words: &str) -> String {
        self.add(Model::new(dialect, words))
    }

    pub fn add(&mut self, mut model: Model) -> String {
        if model.id.is_empty() {
            model.id = format!("m{}", self.models.len());
        }
        self.models.push(model);
        self.models[self.models.len() - 1].id.clone()
    }

    /// Lines of the operator's folder.
    pub fn folder(&mut self, lines: &str) -> &mut Self {
        self.folder += lines;
        self.folder += "\n";
        self
    }

    pub fn option(&mut self, name: &str, value: &str) -> &mut Self {
        self.options.extend([name.to_owned(), value.to_owned()]);
        self
    }

    pub fn toml(&self) -> String {
        let mut text = self.folder.clone();
        if !text.contains("[[tenant]]") {
            text += "[[tenant]]\nname = \"default\"\n";
        }
        for model in &self.models {
            text += "\n";
            text += &model.toml(&self.vendor);
        }
        text
    }

    pub fn start(self) -> Gateway {
        Gateway::start(self)
    }
}
