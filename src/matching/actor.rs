//! The actor of a change: a hostmatch process, a person or another program.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::values::string_values;

string_values!(ActorKind);

/// The kind of an actor. Every kind except `Person`, `Worker` and plain `sync` has the form `prefix:name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ActorKind {
    /// A worker: `worker`.
    Worker,
    /// The synchronisation with Cal.com: `sync`, or `sync:` and its purpose.
    Sync,
    /// The holder of an API token: `token:ci`.
    Token,
    /// The user who ran a command, and the computer: `cli:anna@office-3`.
    Cli,
    /// Any other name: of a person (`Anna`, `user:7`) or of the gateway.
    Person,
}

impl ActorKind {
    /// Returns whether the actor is a hostmatch process. A match may switch a mapping on again only if a
    /// hostmatch process switched it off.
    pub fn is_own_process(self) -> bool {
        match self {
            Self::Worker | Self::Sync => true,
            Self::Token | Self::Cli | Self::Person => false,
        }
    }
}

/// The actor of a change, in the form in which it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Actor(Cow<'static, str>);

impl Actor {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 255;

    /// The worker.
    pub const WORKER: Self = Self(Cow::Borrowed("worker"));

    /// Returns the actor for a command that this user runs on this computer.
    pub fn command_line(user: &str, host: &str) -> Self {
        Self(format!("{}:{user}@{host}", ActorKind::Cli.as_str()).into())
    }

    /// Returns the kind of the actor.
    pub fn kind(&self) -> ActorKind {
        let (prefix, name) =
            self.0.split_once(':').map_or((&*self.0, None), |(prefix, name)| (prefix, Some(name)));
        match (prefix.parse(), name) {
            (Ok(ActorKind::Worker), None) => ActorKind::Worker,
            (Ok(ActorKind::Sync), _) => ActorKind::Sync,
            (Ok(kind @ (ActorKind::Token | ActorKind::Cli)), Some(_)) => kind,
            _ => ActorKind::Person,
        }
    }

    /// Returns whether the actor is a hostmatch process.
    pub fn is_own_process(&self) -> bool {
        self.kind().is_own_process()
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Actor {
    fn from(name: &str) -> Self {
        Self(Cow::Owned(name.to_owned()))
    }
}

impl FromStr for Actor {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(name.into())
    }
}

impl AsRef<str> for Actor {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_determines_the_kind_and_is_kept_as_written() {
        for (name, kind) in [
            ("worker", ActorKind::Worker),
            ("sync", ActorKind::Sync),
            ("sync:calcom", ActorKind::Sync),
            ("token:ci", ActorKind::Token),
            ("cli:anna@office-3", ActorKind::Cli),
            ("user:7", ActorKind::Person),
            ("Anna", ActorKind::Person),
            ("gateway", ActorKind::Person),
            ("", ActorKind::Person),
            // Only the exact name means the worker.
            ("Worker", ActorKind::Person),
            ("worker:1", ActorKind::Person),
            ("workers", ActorKind::Person),
            ("cli", ActorKind::Person),
        ] {
            let actor = Actor::from(name);
            assert_eq!((actor.kind(), actor.as_str()), (kind, name));
            assert_eq!(actor.is_own_process(), matches!(kind, ActorKind::Worker | ActorKind::Sync), "{name}");
            assert_eq!(serde_json::to_value(&actor).unwrap(), name);
        }
        assert_eq!(Actor::command_line("anna", "office-3"), Actor::from("cli:anna@office-3"));
        assert_eq!(Actor::WORKER.as_str(), ActorKind::Worker.as_str());
    }
}
