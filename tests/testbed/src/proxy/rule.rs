//! Which calls does a rule mean, at which moment does it act, and what does it do?

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::future::BoxFuture;

use super::{Call, Gate};

/// The moment at which a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The call has come; the server knows nothing of it.
    Before,
    /// The server has answered; the caller knows nothing of it. For a watch: the first line has not come yet.
    AfterForward,
    /// The caller's socket has taken the whole answer; of a watch its beginning.
    AfterAnswer,
}

/// An answer in place of the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What a rule does to a call.
#[derive(Debug, Clone)]
pub enum Action {
    /// Nothing: the rule's hook is all.
    Pass,
    /// The connection is reset. After the answer: once the answer is through.
    Reset,
    /// This answer. The server has the call when the phase is `AfterForward`, else not.
    Answer(Answer),
    /// The server's answer ends after so many bytes of its body, although its length was announced, by a reset. `AfterForward` only.
    Truncate(usize),
    /// No answer, ever; the connection stays.
    BlackHole,
    /// The call goes on after this time.
    Delay(Duration),
    /// The call goes on when the gate is open.
    Hold(Gate),
    /// The connection is reset at once, and the server gets the call after this time, when its caller has given it up. `Before` only.
    ForwardLate(Duration),
}

/// What else happens when a rule acts; the call waits for it.
pub type Hook = Arc<dyn Fn(Call) -> BoxFuture<'static, ()> + Send + Sync>;
pub(super) type Choice = Arc<dyn Fn(&Call) -> bool + Send + Sync>;

/// Calls, a moment and an action.
#[derive(Clone)]
pub struct Rule {
    on: Choice,
    first: u64,
    times: Option<u64>,
    matched: u64,
    phase: Phase,
    pub(super) hook: Option<Hook>,
    pub(super) action: Action,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, times, phase, action, .. } = self;
        write!(f, "Rule(from {first}, {times:?} times, {phase:?}: {action:?})")
    }
}

impl Rule {
    /// Acts at every call, until narrowed down.
    pub fn new(phase: Phase, action: Action) -> Self {
        Self { on: Arc::new(|_| true), first: 1, times: None, matched: 0, phase, hook: None, action }
    }

    /// Only calls of this template.
    pub fn on(self, template: &str) -> Self {
        let template = template.to_owned();
        self.matching(move |call| call.template == template)
    }

    /// Only calls that `on` chooses.
    pub fn matching(self, on: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        let before = Arc::clone(&self.on);
        Self { on: Arc::new(move |call| before(call) && on(call)), ..self }
    }

    /// Only the `n`-th (from 1) of the chosen calls.
    pub fn nth(self, n: u64) -> Self {
        Self { first: n, times: Some(1), ..self }
    }

    /// Only the first `n` of the chosen calls.
    pub fn first(self, n: u64) -> Self {
        Self { first: 1, times: Some(n), ..self }
    }

    /// Does this as well, before the action.
    pub fn hook<F>(self, hook: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { hook: Some(Arc::new(move |call| Box::pin(hook(call)))), ..self }
    }

    pub(super) fn armed(self) -> Self {
        Self { matched: 0, ..self }
    }

    /// Whether it acts at this call. Counts the call; to be asked once for each call and phase.
    pub(super) fn strikes(&mut self, call: &Call, phase: Phase) -> bool {
        if phase != self.phase || !(self.on)(call) {
            return false;
        }
        self.matched += 1;
        self.matched >= self.first && self.times.is_none_or(|times| self.matched - self.first < times)
    }
}
