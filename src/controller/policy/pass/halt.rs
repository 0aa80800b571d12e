//! How far did a slice come, or why did it end early?

use tokio::time::Instant;

use crate::controller::ledger_store::WriteError;
use crate::plan::failure::Stop;
use crate::provider::{ErrorKind, ProviderError};

/// How far a slice came.
pub enum Progress {
    /// The deadline came first.
    More,
    /// Nothing can be done before then.
    Wait(Instant),
    /// Everybody was looked at.
    Complete,
    /// The listing kept changing; the next pass begins anew.
    Moved,
}

/// Why a slice ended early.
pub enum Halt {
    /// Writing was stopped: suspended, edited or deleted.
    Stopped,
    /// The tenant as a whole does not work.
    Tenant(ProviderError),
    /// The API server says something else than the watches have brought.
    Stale,
    /// Somebody else wrote the ledger.
    Fenced,
    /// The API server did not take the ledger.
    Ledger(kube::Error),
    /// A human has to act.
    Stop(Stop),
}

impl Halt {
    /// Why the rest is not sent after a write that was not.
    pub(super) fn of_write(error: ProviderError) -> Self {
        if error.kind == ErrorKind::Stopped { Halt::Stopped } else { Halt::Tenant(error) }
    }
}

impl From<WriteError> for Halt {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Fenced => Halt::Fenced,
            WriteError::Api(error) => Halt::Ledger(error),
        }
    }
}
