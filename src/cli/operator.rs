//! Who runs this command, for the record.

use strum::VariantArray as _;

use super::exit::Exit;
use super::failure::Failure;
use crate::app::Author;
use crate::matching::{Actor, ActorKind};

/// The person, as `cli:user@host`.
pub(super) fn who() -> Actor {
    let unknown = || "unknown".to_owned();
    let user = whoami::username().unwrap_or_else(|_| unknown());
    let host = whoami::hostname().unwrap_or_else(|_| unknown());
    Actor::command_line(&user, &host)
}

/// Who decides
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Acting {
    /// Who decides, for the record (who is logged in here, unless given)
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

impl Acting {
    /// The person.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a name that nobody can have.
    pub(super) fn author(&self) -> Result<Author, Failure> {
        let name = self.actor.clone().unwrap_or_else(|| who().to_string());
        Author::new(&name).ok_or_else(|| {
            let machines = ActorKind::VARIANTS.iter().copied().filter(|kind| kind.is_machine());
            let machines = machines.map(ActorKind::as_str).collect::<Vec<_>>().join(", ");
            let most = Actor::MAX_CHARS;
            let text = format!(
                "--actor wants a name of 1 to {most} characters, and not a machine's own ({machines})"
            );
            Failure::new(Exit::Usage, text)
        })
    }
}
