//! Where things are: the options that every command takes.

use std::path::PathBuf;
use std::time::Duration;

use weir_shared::fault::Exit;
use weir_shared::keyspace::Origin;
use weir_shared::store::{self, Store};

use crate::catalog::Catalog;
use crate::failure::Failure;
use crate::publish::Stamp;
use crate::when;

/// For the first answer of a store on another machine: somebody sits at the prompt.
pub const PATIENCE: Duration = Duration::from_secs(5);

#[derive(clap::Args, Clone, Debug)]
pub struct Place {
    /// The folder in which this deployment keeps its store, journals and secrets
    #[arg(
        long,
        global = true,
        env = "WEIR_STATE",
        default_value = "./weir-state",
        value_name = "DIR",
        help_heading = "Places"
    )]
    pub state: PathBuf,

    /// The store: folder:PATH or etcd:http://HOST:PORT[,…][/PREFIX] [default: folder:<state>/store]
    #[arg(
        long,
        global = true,
        env = "WEIR_STORE",
        hide_short_help = true,
        value_name = "ADDRESS",
        help_heading = "Places"
    )]
    pub store: Option<String>,

    /// The operator's folder of TOML files
    #[arg(
        long,
        global = true,
        env = "WEIR_FOLDER",
        default_value = "./weir.d",
        value_name = "DIR",
        help_heading = "Places"
    )]
    pub folder: PathBuf,

    /// A folder of vendors' files that come before the built-in catalog
    #[arg(
        long,
        global = true,
        env = "WEIR_CATALOG",
        hide_short_help = true,
        value_name = "DIR",
        help_heading = "Places"
    )]
    pub catalog: Option<PathBuf>,

    /// Who is said to have published [default: $USER]
    #[arg(
        long,
        global = true,
        env = "WEIR_AUTHOR",
        hide_short_help = true,
        value_name = "NAME",
        help_heading = "Places"
    )]
    pub author: Option<String>,

    /// What a caller of `weirctl serve` sent in the place of a folder on this machine.
    #[arg(skip)]
    pub sent: Option<Sent>,

    #[command(flatten)]
    pub server: Server,
}

/// A folder's files by their names, and where they are kept; and another file, for a command that is about one.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub files: Vec<(String, String)>,
    pub origin: Origin,
    pub file: Option<String>,
}

/// A `weirctl serve` that does what this command says, in place of this machine.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Server {
    /// Ask a `weirctl serve` to do it: https://HOST:PORT
    #[arg(
        long = "server",
        global = true,
        env = "WEIR_SERVER",
        hide_short_help = true,
        value_name = "URL",
        help_heading = "Places"
    )]
    pub url: Option<String>,

    /// A file with the token for it [default: $WEIR_TOKEN]
    #[arg(
        long,
        global = true,
        env = "WEIR_TOKEN_FILE",
        hide_short_help = true,
        value_name = "FILE",
        help_heading = "Places"
    )]
    pub token_file: Option<PathBuf>,

    /// PEM file of the CA that signed its certificate [default: the system's]
    #[arg(
        long,
        global = true,
        env = "WEIR_SERVER_CA",
        hide_short_help = true,
        value_name = "FILE",
        help_heading = "Places"
    )]
    pub server_ca: Option<PathBuf>,

    /// PEM file of a certificate that this command line shows it, in place of a token
    #[arg(
        long,
        global = true,
        env = "WEIR_CLIENT_CERT",
        hide_short_help = true,
        value_name = "FILE",
        requires = "client_key",
        help_heading = "Places"
    )]
    pub client_cert: Option<PathBuf>,

    /// PEM file of that certificate's key
    #[arg(
        long,
        global = true,
        env = "WEIR_CLIENT_KEY",
        hide_short_help = true,
        value_name = "FILE",
        requires = "client_cert",
        help_heading = "Places"
    )]
    pub client_key: Option<PathBuf>,
}

impl Place {
    /// The folder as people name it.
    pub fn folder_name(&self) -> String {
        let name = self.folder.strip_prefix(".").ok().filter(|rest| !rest.as_os_str().is_empty());
        name.unwrap_or(&self.folder).display().to_string()
    }

    /// Whether the folder, or one that it lies in, is a checkout.
    pub fn origin(&self) -> Origin {
        if let Some(sent) = &self.sent {
            return sent.origin;
        }
        let whole = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        if whole.ancestors().any(|folder| folder.join(".git").exists()) { Origin::Git } else { Origin::Folder }
    }

    pub fn store_address(&self) -> String {
        self.store.clone().unwrap_or_else(|| format!("folder:{}", self.state.join("store").display()))
    }

    /// For writers: a store that does not exist yet is made.
    pub fn store(&self) -> Result<Box<dyn Store>, Failure> {
        Ok(store::open(&self.store_address(), PATIENCE)?)
    }

    /// For readers: a mistyped path must not become an empty store.
    pub fn existing_store(&self) -> Result<Box<dyn Store>, Failure> {
        let address = self.store_address();
        if let Some(path) = address.strip_prefix("folder:")
            && !std::path::Path::new(path).is_dir()
        {
            let next = "publish the first revision with `weirctl apply`, or say where it is with --state or --store";
            return Err(Failure::new(Exit::Missing, format!("there is no store at {path}")).next(next));
        }
        self.store()
    }

    pub fn catalog(&self) -> Result<Catalog, Failure> {
        match &self.catalog {
            Some(folder) => Catalog::built_in().with_folder(folder),
            None => Ok(Catalog::built_in()),
        }
    }

    pub fn stamp(&self, reason: impl Into<String>) -> Stamp {
        let of_env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let author = self.author.clone().or_else(|| of_env("USER")).or_else(|| of_env("LOGNAME"));
        let author = author.unwrap_or_else(|| "unknown".into());
        Stamp { author, reason: reason.into(), time: when::now(), origin: None }
    }
}
