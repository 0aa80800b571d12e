//! When do calls that were begun together stop, because the tenant as a whole does not work?
//!
//! A part of a pass sends up to two seconds of calls at once. Without this a refused credential would be refused once for
//! each of them, and a silent server would be waited for by each in turn.

use std::sync::Mutex;

use tokio::time::Instant;

use crate::controller::locked;
use crate::provider::{ErrorKind, ProviderError};

/// Calls in a row without an answer that are an outage; one or two are what networks do.
const SILENT: u32 = 3;

/// Shared by calls that were begun together.
pub struct Fuse {
    state: Mutex<State>,
    deadline: Instant,
}

#[derive(Default)]
struct State {
    blown: Option<ProviderError>,
    silent: u32,
}

impl Fuse {
    /// For calls that are begun before `deadline` only: a tenant that is slow must not keep a slice from its end.
    pub fn until(deadline: Instant) -> Self {
        Self { state: Mutex::default(), deadline }
    }

    /// Whether it is too late to begin another call.
    pub fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Why nothing more is sent; `None` while the tenant works.
    pub fn blown(&self) -> Option<ProviderError> {
        locked(&self.state).blown.clone()
    }

    /// Makes a call, unless it is known that it would fail like those before it. `None` where it is too late to begin it.
    pub async fn call<T>(
        &self,
        call: impl AsyncFnOnce() -> Result<T, ProviderError>,
    ) -> Option<Result<T, ProviderError>> {
        if let Some(error) = self.blown() {
            return Some(Err(ProviderError { held_back: true, ..error }));
        }
        if self.is_late() {
            return None;
        }
        let answer = call().await;
        self.saw(answer.as_ref().err());
        Some(answer)
    }

    /// Takes in how a call ended: what concerns the whole tenant stops the rest, silence only when it lasts.
    pub fn saw(&self, error: Option<&ProviderError>) {
        let mut state = locked(&self.state);
        match error {
            // It is known already; the words are those of the failure that showed it.
            Some(error) if !error.is_an_answer() => {
                state.blown.get_or_insert_with(|| error.clone());
            }
            Some(error) if error.kind == ErrorKind::Unreachable || error.effect_unknown => {
                state.silent += 1;
                if state.silent >= SILENT {
                    state.blown.get_or_insert_with(|| ProviderError { effect_unknown: false, ..error.clone() });
                }
            }
            Some(error) if error.concerns_tenant() => {
                state.blown.get_or_insert_with(|| error.clone());
            }
            _ => state.silent = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn in_time() -> Fuse {
        Fuse::until(Instant::now() + Duration::from_secs(8))
    }

    fn error(kind: ErrorKind) -> ProviderError {
        ProviderError::new(kind, "read", "x")
    }

    #[test]
    fn a_refused_credential_stops_the_rest_at_once_and_silence_only_when_it_lasts() {
        let fuse = in_time();
        fuse.saw(Some(&error(ErrorKind::Unreachable)));
        fuse.saw(Some(&error(ErrorKind::Unreachable)));
        fuse.saw(None);
        fuse.saw(Some(&error(ErrorKind::Unreachable)));
        fuse.saw(Some(&error(ErrorKind::Forbidden)));
        assert!(fuse.blown().is_none(), "an answer ends a silence, be it about one account");
        (0..SILENT).for_each(|_| fuse.saw(Some(&error(ErrorKind::Unreachable))));
        assert_eq!(fuse.blown().map(|e| e.kind), Some(ErrorKind::Unreachable));
        let fuse = in_time();
        fuse.saw(Some(&error(ErrorKind::AuthenticationFailed)));
        assert_eq!(fuse.blown().map(|e| e.kind), Some(ErrorKind::AuthenticationFailed));
    }

    #[tokio::test(start_paused = true)]
    async fn no_call_is_begun_when_the_slice_is_over() {
        let fuse = in_time();
        assert!(fuse.call(async || Ok(1)).await.is_some());
        tokio::time::advance(Duration::from_secs(8)).await;
        assert!(fuse.call(async || Ok(1)).await.is_none());
        fuse.saw(Some(&error(ErrorKind::AuthenticationFailed)));
        assert!(matches!(fuse.call(async || Ok(1)).await, Some(Err(_))), "what stops the tenant is said all the same");
    }

    #[test]
    fn what_was_held_back_stops_the_rest_at_once() {
        let fuse = in_time();
        fuse.saw(Some(&ProviderError { held_back: true, ..error(ErrorKind::Unreachable) }));
        assert_eq!(fuse.blown().map(|e| e.kind), Some(ErrorKind::Unreachable));
    }

    #[test]
    fn writes_without_a_clear_answer_are_silence_whatever_came() {
        let fuse = in_time();
        let unclear = ProviderError { effect_unknown: true, ..error(ErrorKind::ResponseInvalid) };
        (0..SILENT).for_each(|_| fuse.saw(Some(&unclear)));
        assert!(fuse.blown().is_some_and(|e| !e.effect_unknown), "what was not sent has no effect");
    }
}
