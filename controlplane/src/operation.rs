//! What the admin API can be asked for: the commands of the command line, each a line here. Their arguments, what these mean and
//! whether they are right is the command line's own knowledge; the API's description is made from it.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, CommandFactory};
use serde_json::{Map, Value, json};
use weir_shared::fault::Exit;

use crate::role::Role;

pub struct Operation {
    /// As at a prompt, and with slashes below `/v1/`.
    pub words: &'static [&'static str],
    pub needs: Role,
    pub changes: bool,
    /// It is about the folder that the caller sends along.
    pub folder: bool,
    pub tenant: Tenant,
    /// The argument that names a file of the caller's: what is in it is sent in its place.
    pub file: Option<&'static str>,
    /// Arguments that mean this machine's files or terminal.
    pub without: &'static [&'static str],
}

/// What of it somebody may do who is bound to a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tenant {
    /// Nothing: it is about everybody.
    All,
    /// With its own tenant in this argument.
    Named(&'static str),
    /// With keys of its own in this argument.
    OfKey(&'static str),
}

const fn read(words: &'static [&'static str], needs: Role) -> Operation {
    Operation { words, needs, changes: false, folder: false, tenant: Tenant::All, file: None, without: &[] }
}

const fn change(words: &'static [&'static str], needs: Role) -> Operation {
    Operation { changes: true, ..read(words, needs) }
}

/// A secret comes sealed: `set` and `rotate` seal it where they run. The keys that seal are made, put to use and forgotten where
/// the server runs; they are told by their ids and never leave it.
pub const ALL: &[Operation] = &[
    read(&["status"], Role::Viewer),
    Operation { without: &["last"], ..read(&["history"], Role::Viewer) },
    read(&["show"], Role::Viewer),
    read(&["diff"], Role::Viewer),
    Operation { without: &["to"], ..read(&["export"], Role::Viewer) },
    Operation { folder: true, ..read(&["check"], Role::Viewer) },
    Operation { folder: true, without: &["of", "journal"], ..read(&["plan"], Role::Viewer) },
    Operation { folder: true, ..change(&["apply"], Role::Operator) },
    change(&["rollback"], Role::Operator),
    Operation {
        tenant: Tenant::Named("tenant"),
        without: &["quiet", "count"],
        ..change(&["key", "create"], Role::Operator)
    },
    Operation { tenant: Tenant::Named("tenant"), ..read(&["key", "list"], Role::Viewer) },
    Operation { tenant: Tenant::OfKey("id"), ..read(&["key", "show"], Role::Viewer) },
    Operation { tenant: Tenant::OfKey("ids"), ..change(&["key", "revoke"], Role::Operator) },
    Operation { tenant: Tenant::OfKey("id"), without: &["quiet"], ..change(&["key", "rotate"], Role::Operator) },
    change(&["limit", "set"], Role::Operator),
    read(&["route", "list"], Role::Viewer),
    change(&["route", "drain"], Role::Operator),
    change(&["route", "shift"], Role::Operator),
    change(&["route", "restore"], Role::Operator),
    change(&["price", "set"], Role::Billing),
    change(&["model", "add"], Role::Operator),
    change(&["model", "alias"], Role::Operator),
    change(&["model", "retire"], Role::Operator),
    read(&["tenant", "list"], Role::Viewer),
    change(&["tenant", "set"], Role::Billing),
    change(&["tenant", "remove"], Role::Billing),
    read(&["vendor", "credential", "list"], Role::Viewer),
    change(&["vendor", "credential", "put"], Role::Admin),
    change(&["vendor", "credential", "revert"], Role::Admin),
    change(&["vendor", "credential", "remove"], Role::Admin),
    read(&["vendor", "kek", "list"], Role::Viewer),
    change(&["vendor", "kek", "add"], Role::Admin),
    change(&["vendor", "kek", "rotate"], Role::Admin),
    change(&["vendor", "kek", "forget"], Role::Admin),
    Operation { without: &["every", "once"], ..read(&["top"], Role::Viewer) },
    Operation { without: &["journal"], ..read(&["explain"], Role::Viewer) },
    Operation { without: &["journal", "csv"], ..read(&["usage"], Role::Billing) },
    Operation { without: &["journal"], ..read(&["usage", "verify"], Role::Viewer) },
    // What it removes is in no sum any more, so not for who only reads bills.
    Operation { without: &["journal"], ..change(&["usage", "prune"], Role::Admin) },
    Operation { folder: true, file: Some("file"), without: &["write"], ..read(&["catalog", "import"], Role::Viewer) },
    read(&["watch"], Role::Viewer),
    read(&["token", "list"], Role::Admin),
    Operation { without: &["certificate"], ..change(&["token", "create"], Role::Admin) },
    change(&["token", "revoke"], Role::Admin),
    read(&["audit"], Role::Admin),
];

/// What no server does, and why not.
pub const NOT_HERE: &[(&[&str], &str)] = &[
    (&["init"], "it writes a folder on the machine where it runs"),
    (&["completions"], "they are for the shell where it runs"),
    (&["serve"], "it is the server"),
    (&["vendor", "credential", "set"], "a secret is sealed where it is typed, and put there by `put`"),
    (&["vendor", "credential", "rotate"], "a secret is sealed where it is typed, and put there by `put`"),
    (
        &["store", "copy"],
        "a caller would choose where the server connects or writes to, with the server's rights; run it where both stores can be reached",
    ),
];

/// Why a server does not do this.
pub fn not_here(words: &[String]) -> Option<&'static str> {
    NOT_HERE.iter().find(|(not, _)| *not == words).map(|(_, why)| *why)
}

impl Operation {
    pub fn of_path(path: &str) -> Option<&'static Self> {
        let path = path.strip_prefix("/v1/")?;
        ALL.iter().find(|operation| operation.path() == path)
    }

    pub fn of_words(words: &[String]) -> Option<&'static Self> {
        ALL.iter().find(|operation| operation.words == words)
    }

    pub fn path(&self) -> String {
        self.words.join("/")
    }

    pub fn name(&self) -> String {
        self.words.join(" ")
    }

    /// What only looks is asked for with GET, unless a folder comes along.
    pub fn method(&self) -> &'static str {
        if self.changes || self.folder { "POST" } else { "GET" }
    }

    /// It does nothing but wait for news.
    pub fn waits(&self) -> bool {
        self.words == ["watch"]
    }

    fn command(&self) -> Command {
        let line = crate::Line::command();
        self.words
            .iter()
            .fold(line, |at, word| at.find_subcommand(word).cloned().unwrap_or_else(|| unreachable_word(word)))
    }

    /// The arguments that can be given, by their ids.
    pub fn arguments(&self) -> Vec<Arg> {
        let command = self.command();
        let own = command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set());
        let sent = |arg: &Arg| self.file.is_some_and(|file| arg.get_id() == file);
        own.filter(|arg| !self.without.contains(&arg.get_id().as_str()) && arg.get_id() != "help" && !sent(arg))
            .cloned()
            .collect()
    }

    /// As a command line; what is wrong, in words, when it cannot be one.
    pub fn line(&self, given: &Map<String, Value>) -> Result<Vec<OsString>, String> {
        let arguments = self.arguments();
        let name = |arg: &Arg| arg.get_id().as_str().to_owned();
        if let Some(unknown) = given.keys().find(|key| !arguments.iter().any(|arg| name(arg) == **key)) {
            let known: Vec<_> = arguments.iter().map(name).collect();
            return Err(format!("{unknown:?} is no argument of {}; there are: {}", self.name(), known.join(", ")));
        }
        let mut line: Vec<OsString> =
            std::iter::once("weirctl").chain(self.words.iter().copied()).map(Into::into).collect();
        let mut behind: Vec<OsString> = Vec::new();
        for arg in &arguments {
            let Some(value) = given.get(&name(arg)) else { continue };
            if is_switch(arg) {
                match value {
                    Value::Bool(true) => line.push(format!("--{}", long(arg)).into()),
                    Value::Bool(false) => {}
                    _ => return Err(format!("{:?} is true or false", name(arg))),
                }
                continue;
            }
            for text in texts(value).ok_or_else(|| format!("{:?} is text, or a list of texts", name(arg)))? {
                // Joined to its name, or behind a `--`: no value can be taken for an option.
                match arg.get_long() {
                    Some(long) => line.push(format!("--{long}={text}").into()),
                    None => behind.push(text.into()),
                }
            }
        }
        line.push("--".into());
        line.extend(behind);
        // What was sent stands for the file.
        line.extend(self.file.map(|_| OsString::from("-")));
        Ok(line)
    }
}

/// A test holds that every word of the table is a command.
fn unreachable_word(word: &'static str) -> Command {
    Command::new(clap::builder::Str::from(word))
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) || arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}

fn long(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

/// What an argument is given as: one text, or a list of them.
pub fn texts(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        one => Some(vec![text(one)?]),
    }
}

/// The status that an answer has in HTTP.
pub fn status(exit: Exit) -> u16 {
    match exit {
        Exit::Done | Exit::Changes => 200,
        Exit::Usage => 400,
        Exit::Missing => 404,
        Exit::Conflict | Exit::TakenBack => 409,
        Exit::Faults => 422,
        Exit::Failed => 500,
        Exit::Refused => 502,
        Exit::Store => 503,
        Exit::Waiting => 504,
    }
}

/// The description of the API, made from the table above and from what the command line says of itself.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for operation in ALL {
        let command = operation.command();
        let summary = command.get_about().map(ToString::to_string).unwrap_or_default();
        let text = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        let mut described = json!({
            "operationId": operation.words.join("_"), "summary": summary, "description": text,
            "tags": [operation.words[0]], "x-weir-role": operation.needs.name(), "responses": responses(),
        });
        let arguments = operation.arguments();
        if operation.method() == "GET" {
            described["parameters"] = arguments.iter().map(parameter).collect();
        } else {
            described["requestBody"] = body(operation, &arguments);
        }
        paths.insert(format!("/v1/{}", operation.path()), json!({operation.method().to_lowercase(): described}));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Weir's admin API", "version": env!("CARGO_PKG_VERSION"),
            "description": "The verbs of weirctl over HTTP. `accept: text/plain` answers as a person at a prompt would read it.",
        },
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "weirctl token create; or a client's certificate"}},
            "schemas": {"Failure": failure()},
        },
    })
}

fn schema(arg: &Arg) -> Value {
    let one = json!({"type": ["string", "integer"]});
    let mut schema = match (is_switch(arg), is_list(arg)) {
        (true, _) => json!({"type": "boolean"}),
        (false, true) => json!({"type": "array", "items": one}),
        (false, false) => one,
    };
    if let [default] = arg.get_default_values()
        && !is_switch(arg)
    {
        schema["default"] = default.to_string_lossy().into();
    }
    let choices: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !choices.is_empty() && !is_switch(arg) {
        schema["enum"] = choices.into();
    }
    schema["description"] = arg.get_help().map(ToString::to_string).unwrap_or_default().into();
    schema
}

fn parameter(arg: &Arg) -> Value {
    json!({
        "name": arg.get_id().as_str(), "in": "query", "required": arg.is_required_set(), "schema": schema(arg),
        "description": arg.get_help().map(ToString::to_string).unwrap_or_default(),
    })
}

fn body(operation: &Operation, arguments: &[Arg]) -> Value {
    let mut properties: Map<String, Value> =
        arguments.iter().map(|arg| (arg.get_id().to_string(), schema(arg))).collect();
    let mut required: Vec<_> =
        arguments.iter().filter(|arg| arg.is_required_set()).map(|arg| arg.get_id().to_string()).collect();
    if operation.folder {
        let files = json!({"type": "object", "additionalProperties": {"type": "string"}, "description": "The operator's folder: TOML by the files' names"});
        properties.insert("folder".into(), files);
        properties.insert("git".into(), json!({"type": "boolean", "description": "The folder is kept in git"}));
        required.push("folder".into());
    }
    if let Some(file) = operation.file {
        properties.insert(file.into(), json!({"type": "string", "description": "The text of the file"}));
        required.push(file.into());
    }
    let schema =
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    json!({"required": true, "content": {"application/json": {"schema": schema}}})
}

fn responses() -> Value {
    let mut responses = Map::new();
    let answer =
        json!({"application/json": {"schema": {"type": "object"}}, "text/plain": {"schema": {"type": "string"}}});
    responses.insert("200".into(), json!({"description": "What the command answers under --json", "content": answer}));
    let failed = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}});
    for (status, meaning) in
        [(401, "No token, or none that holds"), (403, "The token's role or tenant does not allow it")]
    {
        responses.insert(status.to_string(), json!({"description": meaning, "content": failed}));
    }
    for &exit in Exit::ALL.iter().filter(|exit| status(**exit) != 200) {
        let said = responses.get(&status(exit).to_string()).and_then(|known| known["description"].as_str());
        let description = said.map_or(exit.meaning().to_owned(), |said| format!("{said} Or: {}", exit.meaning()));
        responses.insert(status(exit).to_string(), json!({"description": description, "content": failed}));
    }
    responses.into()
}

fn failure() -> Value {
    let text = json!({"type": "string"});
    let error = json!({
        "type": "object", "required": ["exit", "name", "message", "next"],
        "properties": {"exit": {"type": "integer"}, "name": text, "message": text, "next": text},
    });
    json!({"type": "object", "required": ["error"], "properties": {"error": error}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn every_operation_is_a_command_and_its_arguments_are() {
        for operation in ALL {
            let command = operation.command();
            assert_eq!(command.get_name(), *operation.words.last().unwrap());
            assert!(command.get_about().is_some(), "{} is no command", operation.name());
            let known: Vec<_> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
            for name in operation.without {
                assert!(known.iter().any(|known| known == name), "{} has no {name}", operation.name());
            }
            for arg in operation.arguments() {
                assert!(arg.get_help().is_some() || arg.is_positional(), "{} {}", operation.name(), arg.get_id());
                assert!(is_switch(&arg) || arg.is_positional() || arg.get_long().is_some());
                assert_ne!(arg.get_id(), "folder", "the name is taken by what is sent along");
            }
            if let Some(file) = operation.file {
                assert!(
                    known.iter().any(|known| known == file) && operation.method() == "POST",
                    "{}",
                    operation.name()
                );
            }
            if let Tenant::Named(arg) | Tenant::OfKey(arg) = operation.tenant {
                assert!(operation.arguments().iter().any(|known| known.get_id() == arg), "{}", operation.name());
            }
        }
    }

    #[test]
    fn a_verb_is_here_or_it_is_said_why_not() {
        fn visit(command: &Command, words: &mut Vec<String>) {
            let own: Vec<_> = command.get_subcommands().filter(|inner| inner.get_name() != "help").collect();
            // `usage` does something by itself, too.
            let does = own.is_empty() || command.get_arguments().any(|arg| !arg.is_global_set());
            if !words.is_empty() && does {
                let here = Operation::of_words(words).is_some();
                assert_ne!(here, not_here(words).is_some(), "{words:?}");
            }
            for inner in own {
                words.push(inner.get_name().to_owned());
                visit(inner, words);
                words.pop();
            }
        }
        visit(&crate::Line::command(), &mut Vec::new());
    }

    #[test]
    fn no_value_is_taken_for_an_option() {
        let drain = Operation::of_path("/v1/route/drain").unwrap();
        let given = |json: Value| json.as_object().unwrap().clone();
        let line = drain.line(&given(json!({"what": "--state=/etc", "reason": "--json", "wait": true}))).unwrap();
        let line: Vec<_> = line.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(line, ["weirctl", "route", "drain", "--reason=--json", "--wait", "--", "--state=/etc"]);
        let parsed = crate::Line::try_parse_from(line).unwrap();
        assert_eq!(parsed.place.state, std::path::Path::new("./weir-state"));
        for wrong in
            [json!({"state": "/etc"}), json!({"wait": "yes"}), json!({"what": {"a": 1}}), json!({"author": "x"})]
        {
            assert!(drain.line(&given(wrong.clone())).is_err(), "{wrong}");
        }
        let plan = Operation::of_path("/v1/plan").unwrap();
        assert!(plan.line(&given(json!({"journal": "/etc"}))).is_err());
    }

    #[test]
    fn the_description_is_whole() {
        let described = openapi();
        assert_eq!(described["paths"].as_object().unwrap().len(), ALL.len());
        let create = &described["paths"]["/v1/key/create"]["post"];
        let properties = &create["requestBody"]["content"]["application/json"]["schema"]["properties"];
        assert_eq!((&properties["models"]["type"], &properties["wait"]["type"]), (&json!("array"), &json!("boolean")));
        assert!(described["paths"]["/v1/status"]["get"]["responses"]["503"].is_object());
    }
}
