//! Who runs this command, for the record.

use strum::VariantArray as _;

use super::{Exit, Failure, Global};
use crate::app::{Access, AppContext, Author};
use crate::event::CompanyId;
use crate::matching::{Actor, ActorKind};

/// The person, as `cli:user@host`.
pub(super) fn who() -> Actor {
    let unknown = || "unknown".to_owned();
    let user = whoami::username().unwrap_or_else(|_| unknown());
    let host = whoami::hostname().unwrap_or_else(|_| unknown());
    Actor::command_line(&user, &host)
}

/// Opens what the use cases of a command work with, does the work, and closes it. Fails when the database
/// cannot be reached or nobody can have such a name, and what the work gives.
pub(super) async fn with_context<T>(
    global: &Global,
    acting: Option<&Acting>,
    company: Option<CompanyId>,
    work: impl AsyncFnOnce(&AppContext) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let access = if acting.is_some() { Access::Write } else { Access::ReadOnly };
    let acting = acting.cloned().unwrap_or_default();
    let context = global.open(access, &acting, company.map(|company| company.0)).await?;
    let done = work(&context).await;
    context.close().await;
    done
}

/// Who decides
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Acting {
    /// Who decides, for the record (who is logged in here, unless given)
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

impl Acting {
    /// The person. Fails with [`Exit::Usage`] for a name that nobody can have.
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
