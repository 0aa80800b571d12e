//! When do calls that were begun together stop, because the tenant as a whole does not work?
//!
//! A part of a pass sends up to two seconds of calls at once. Without this a refused credential would be refused once for
//! each of them, and a silent server would be waited for by each in turn.

use std::sync::{Mutex, PoisonError};

use super::concerns_tenant;
use crate::provider::{ErrorKind, ProviderError};

/// Calls in a row without an answer that are an outage; one or two are what networks do.
const SILENT: u32 = 3;

/// Shared by calls that were begun together.
#[derive(Default)]
pub struct Fuse(Mutex<State>);

#[derive(Default)]
struct State {
    blown: Option<ProviderError>,
    silent: u32,
}

impl Fuse {
    /// Why nothing more is sent; `None` while the tenant works.
    pub fn blown(&self) -> Option<ProviderError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).blown.clone()
    }

    /// Makes a call, unless it is known that it would fail like those before it.
    pub async fn call<T>(&self, call: impl AsyncFnOnce() -> Result<T, ProviderError>) -> Result<T, ProviderError> {
        if let Some(error) = self.blown() {
            return Err(error);
        }
        let answer = call().await;
        self.saw(answer.as_ref().err());
        answer
    }

    /// Takes in how a call ended: what concerns the whole tenant stops the rest, silence only when it lasts.
    pub fn saw(&self, error: Option<&ProviderError>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            // It is known already; the words are those of the failure that showed it.
            Some(error) if error.held_back => {
                state.blown.get_or_insert_with(|| error.clone());
            }
            Some(error) if error.kind == ErrorKind::Unreachable || error.effect_unknown => {
                state.silent += 1;
                if state.silent >= SILENT {
                    state.blown.get_or_insert_with(|| ProviderError { effect_unknown: false, ..error.clone() });
                }
            }
            Some(error) if concerns_tenant(error) => {
                state.blown.get_or_insert_with(|| error.clone());
            }
            _ => state.silent = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> ProviderError {
        ProviderError::new(kind, "read", "x")
    }

    #[test]
    fn a_refused_credential_stops_the_rest_at_once_and_silence_only_when_it_lasts() {
        let fuse = Fuse::default();
        fuse.saw(Some(&error(ErrorKind::Unreachable)));
        fuse.saw(Some(&error(ErrorKind::Unreachable)));
        fuse.saw(None);
        fuse.saw(Some(&error(ErrorKind::Unreachable)));
        fuse.saw(Some(&error(ErrorKind::Forbidden)));
        assert!(fuse.blown().is_none(), "an answer ends a silence, be it about one account");
        (0..SILENT).for_each(|_| fuse.saw(Some(&error(ErrorKind::Unreachable))));
        assert_eq!(fuse.blown().map(|e| e.kind), Some(ErrorKind::Unreachable));
        let fuse = Fuse::default();
        fuse.saw(Some(&error(ErrorKind::AuthenticationFailed)));
        assert_eq!(fuse.blown().map(|e| e.kind), Some(ErrorKind::AuthenticationFailed));
    }

    #[test]
    fn what_was_held_back_stops_the_rest_at_once() {
        let fuse = Fuse::default();
        fuse.saw(Some(&ProviderError { held_back: true, ..error(ErrorKind::Unreachable) }));
        assert_eq!(fuse.blown().map(|e| e.kind), Some(ErrorKind::Unreachable));
    }

    #[test]
    fn writes_without_a_clear_answer_are_silence_whatever_came() {
        let fuse = Fuse::default();
        let unclear = ProviderError { effect_unknown: true, ..error(ErrorKind::ResponseInvalid) };
        (0..SILENT).for_each(|_| fuse.saw(Some(&unclear)));
        assert!(fuse.blown().is_some_and(|e| !e.effect_unknown), "what was not sent has no effect");
    }
}
