//! What is said on the command line about nodes and users.
//!
//! Invariant: what is not understood is nothing; a password is never an argument, where everybody on the
//! machine could read it.

use std::io::{self, Read as _};
use std::path::Path;

use super::{CommandError, NodeCommand};
use crate::secret::Secret;

/// One call of the program, with the file of its configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation<'a> {
    /// `--config FILE`
    pub config: &'a str,
    words: Vec<&'a str>,
    password_file: Option<&'a str>,
    parents: Vec<&'a str>,
    /// `--single-level`, `--raw`, `--users`, `--domains`
    flags: Vec<&'a str>,
    in_domain: Option<&'a str>,
}

/// The words that each command has: its own, and what it may be given.
const COMMANDS: [(&str, &str, usize, &[&str]); 7] = [
    ("user", "add", 1, &["--password-file", "--parent"]),
    ("user", "password", 1, &["--password-file"]),
    ("user", "remove", 1, &[]),
    ("node", "get", 1, &["--single-level", "--raw"]),
    ("node", "put", 1, &["--single-level"]),
    ("node", "list", 0, &["--users", "--domains", "--in-domain"]),
    ("node", "remove", 1, &[]),
];

impl<'a> Invocation<'a> {
    /// Reads the arguments; nothing, if they are not understood.
    pub fn parse(arguments: &[&'a str], config: &'a str) -> Option<Self> {
        let (first, rest) = arguments.split_first()?;
        let (second, mut rest) = rest.split_first()?;
        let known = |(one, two, ..): &&(&str, &str, usize, &[&str])| one == first && two == second;
        let (.., names, options) = COMMANDS.iter().find(known)?;
        let mut said = Self {
            config,
            words: vec![first, second],
            password_file: None,
            parents: Vec::new(),
            flags: Vec::new(),
            in_domain: None,
        };
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            if !word.starts_with("--") {
                said.words.push(word);
                continue;
            }
            if *word != "--config" && !options.contains(word) {
                return None;
            }
            if matches!(*word, "--single-level" | "--raw" | "--users" | "--domains") {
                said.flags.push(word);
                continue;
            }
            let (value, after) = rest.split_first()?;
            rest = after;
            match *word {
                "--config" => said.config = value,
                "--password-file" => said.password_file = Some(value),
                "--parent" => said.parents.push(value),
                _ => said.in_domain = Some(value),
            }
        }
        (said.words.len() == names.saturating_add(2)).then_some(said)
    }

    /// The command, with the password or the body that it needs.
    pub(super) fn command(&self) -> Result<NodeCommand, CommandError> {
        let id = || self.words.get(2).copied().unwrap_or_default().to_owned();
        let plain = |flag: &&str| flag.trim_start_matches('-').to_owned();
        Ok(match self.words.as_slice() {
            ["user", "add", ..] => {
                let parents = self.parents.iter().map(ToString::to_string);
                NodeCommand::AddUser(id(), self.password()?, parents.collect())
            }
            ["user", "password", ..] => NodeCommand::SetPassword(id(), self.password()?),
            ["user", ..] => NodeCommand::RemoveUser(id()),
            ["node", "get", ..] => NodeCommand::Get(id(), self.flags.iter().map(plain).collect()),
            ["node", "put", ..] => NodeCommand::Put(id(), body()?, !self.flags.is_empty()),
            ["node", "list", ..] => {
                let parent = self
                    .in_domain
                    .map(|id| ("in-domain".to_owned(), id.to_owned()));
                let kinds = self.flags.iter().map(|flag| (plain(flag), String::new()));
                NodeCommand::List(kinds.chain(parent).collect())
            }
            _ => NodeCommand::Remove(id()),
        })
    }

    /// From the file, up to its first line's end, or asked for twice without echo.
    fn password(&self) -> Result<Secret, CommandError> {
        if let Some(file) = self.password_file {
            let text = std::fs::read(Path::new(file))
                .map_err(|error| CommandError::Input(format!("`{file}`: {error}")))?;
            let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next();
            return Ok(Secret::new(line.unwrap_or_default()));
        }
        let ask = |prompt| rpassword::prompt_password(prompt).map_err(|error| failed(&error));
        let password = Secret::new(ask("Password: ")?);
        let again = Secret::new(ask("Again: ")?);
        match password.matches(again.expose()) {
            true => Ok(password),
            false => Err(CommandError::Input("the two passwords differ".to_owned())),
        }
    }
}

/// What is sent to `node put`.
fn body() -> Result<Vec<u8>, CommandError> {
    let mut body = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut body);
    read.map_err(|error| failed(&error))?;
    Ok(body)
}

fn failed(error: &io::Error) -> CommandError {
    CommandError::Input(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::Invocation;

    fn parse<'a>(line: &'a str) -> Option<Invocation<'a>> {
        let words: Vec<&str> = line.split(' ').collect();
        Invocation::parse(&words, "couchwarden.toml")
    }

    #[test]
    fn commands_are_understood_or_not() {
        let add =
            parse("user add --parent a --parent b phone --password-file f --config c").unwrap();
        assert_eq!((add.config, add.password_file), ("c", Some("f")));
        assert_eq!(add.parents, ["a", "b"]);
        for line in [
            "user password phone",
            "node list --users",
            "node get n --raw --single-level",
        ] {
            assert!(parse(line).is_some(), "{line}");
        }
        for line in [
            "user",
            "user add",
            "user add a b",
            "user add a --raw",
            "node list --in-domain",
            "node drop n",
        ] {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
