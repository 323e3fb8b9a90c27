//! The way to etcd: a thread that keeps the connections, a deadline on every call, and errors that say who must act.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Error};

use super::address::Address;
use crate::store::StoreError;

#[derive(Clone)]
pub struct Link {
    client: Client,
    handle: tokio::runtime::Handle,
    names: Arc<str>,
    tries: u32,
    // Dropping the last of it ends the thread.
    _end: Arc<tokio::sync::oneshot::Sender<()>>,
}

/// Longer than an election, shorter than anybody wants to look at a prompt.
pub const CALL: Duration = Duration::from_secs(5);

/// Calls that need not wait for each other. Each may bring two pieces of a value.
const AT_ONCE: usize = 8;

/// Between two tries of one call.
const PAUSE: Duration = Duration::from_millis(30);

impl Link {
    pub fn open(address: Address, patience: Duration) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Unavailable(format!("no thread for etcd: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        // Whoever calls is a thread that waits; what keeps connections alive meanwhile is this one.
        let keep = move || drop(runtime.block_on(ended));
        std::thread::Builder::new().name("weir-etcd".into()).spawn(keep).map_err(failed)?;
        let names = address.endpoints.join(", ");
        let tries = 3 + 2 * address.endpoints.len() as u32;
        let connect = Client::connect(address.endpoints, Some(address.options));
        let client = handle.block_on(async { tokio::time::timeout(patience, connect).await });
        match client {
            Ok(Ok(client)) => Ok(Self { client, handle, names: names.into(), tries, _end: Arc::new(end) }),
            Ok(Err(error)) => Err(explain(&names, &error)),
            Err(_) => Err(silent(&names, patience)),
        }
    }

    /// One call. What a connection's end leaves open is said again, so that `make` must bear being done twice.
    pub fn call<T, F>(&self, make: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.call_within(CALL, make)
    }

    /// One call that is said once, for whoever has to know what became of it.
    pub fn once<T, F>(&self, make: impl FnOnce(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.answer(CALL, self.within(CALL, make(self.client.clone())))
    }

    pub fn call_within<T, F>(&self, patience: Duration, make: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let tries = tried(self.client.clone(), self.tries, make);
        self.answer(patience, self.within(patience, tries))
    }

    /// The same call for each of these, some at a time; the answers are in their order.
    pub fn each<A, T, F>(
        &self,
        all: &[A],
        make: impl Fn(Client, A) -> F + Clone + Send + 'static,
    ) -> Result<Vec<T>, StoreError>
    where
        A: Clone + Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let mut answers = Vec::with_capacity(all.len());
        for some in all.chunks(AT_ONCE) {
            let begin = |one: &A| {
                let (make, one) = (make.clone(), one.clone());
                self.handle.spawn(tried(self.client.clone(), self.tries, move |client| make(client, one.clone())))
            };
            let calls: Vec<_> = some.iter().map(begin).collect();
            let joined = async {
                let mut came = Vec::with_capacity(calls.len());
                for call in calls {
                    came.push(call.await.map_err(|error| Error::IoError(std::io::Error::other(error)))??);
                }
                Ok(came)
            };
            answers.extend(self.answer(CALL, self.within(CALL, joined))?);
        }
        Ok(answers)
    }

    fn answer<T>(&self, patience: Duration, came: Option<Result<T, Error>>) -> Result<T, StoreError> {
        match came {
            Some(Ok(said)) => Ok(said),
            Some(Err(error)) => Err(explain(&self.names, &error)),
            None => Err(silent(&self.names, patience)),
        }
    }

    /// `None` when the time is up.
    pub fn within<T>(&self, most: Duration, what: impl Future<Output = T>) -> Option<T> {
        self.handle.block_on(async { tokio::time::timeout(most, what).await.ok() })
    }

    pub fn explain(&self, error: &Error) -> StoreError {
        explain(&self.names, error)
    }
}

async fn tried<T, F>(client: Client, mut left: u32, make: impl Fn(Client) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match make(client.clone()).await {
            // One of several endpoints may be down; the next try goes to another.
            Err(error) if is_passing(&error) && left > 1 => {
                left -= 1;
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

/// gRPC's own numbers.
mod code {
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const NOT_FOUND: i32 = 5;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const UNAVAILABLE: i32 = 14;
    pub const UNAUTHENTICATED: i32 = 16;
}

fn is_passing(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => status.code() as i32 == code::UNAVAILABLE,
        Error::TransportError(_) | Error::IoError(_) => true,
        _ => false,
    }
}

/// The lease under a page is no longer there.
pub fn is_lease_gone(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.code() as i32 == code::NOT_FOUND)
}

fn silent(names: &str, patience: Duration) -> StoreError {
    StoreError::Unavailable(format!("etcd at {names} does not answer within {} ms", patience.as_millis()))
}

fn explain(names: &str, error: &Error) -> StoreError {
    let Error::GRpcStatus(status) = error else {
        return StoreError::Unavailable(format!("etcd at {names}: {}", whole(error.to_string(), error)));
    };
    let said = status.message();
    let refused = |advice: &str| StoreError::Refused(format!("etcd at {names} refuses: {said}; {advice}"));
    match status.code() as i32 {
        code::UNAUTHENTICATED => refused("check WEIR_ETCD_USER and WEIR_ETCD_PASSWORD, or the client's certificate"),
        code::INVALID_ARGUMENT if said.contains("authentication") || said.contains("user name") => {
            refused("set WEIR_ETCD_USER and WEIR_ETCD_PASSWORD to a user of this etcd")
        }
        code::PERMISSION_DENIED => refused("its user lacks a role for this; deploy/README.md has the commands"),
        code::RESOURCE_EXHAUSTED if said.contains("space") => {
            refused("its quota is full: compact and defragment it, then `etcdctl alarm disarm`")
        }
        code::INVALID_ARGUMENT if said.contains("too large") => {
            refused("raise its --max-request-bytes to 1572864 or more")
        }
        _ => StoreError::Unavailable(format!("etcd at {names}: {}", whole(said.to_owned(), status))),
    }
}

/// Down to the cause: "transport error" alone helps nobody.
fn whole(mut text: String, error: &dyn std::error::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
