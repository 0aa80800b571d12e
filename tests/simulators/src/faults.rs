//! What goes wrong, when, and how?
//!
//! [`Faults`] is the whole set of switches, plain data that can be set from Rust or sent as JSON. The order in which they act is in
//! `server.rs`: latency, rate limit, call faults "before", the vendor's own code, call faults "after".

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::directory::Lag;
use crate::play::Play;

/// All switches of a simulator; the default is a provider on a good day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Waiting time before each answer, in milliseconds.
    pub latency_ms: u64,
    /// Token bucket over all calls of the API (PingOne's token endpoint, another host, is outside).
    pub rate_limit: Option<RateLimit>,
    /// Reads show a write only after this.
    pub lag: Option<Lag>,
    /// Errors at chosen calls.
    pub calls: Vec<CallFault>,
    /// Lifetime of access tokens, in seconds, in place of the vendor's hour.
    pub token_lifetime_seconds: Option<u32>,
    /// Every credential is refused at the token endpoint (MonoCloud: every key).
    pub refuse_credentials: bool,
    /// The caller may do nothing.
    pub forbid_everything: bool,
    /// The caller may read and not write.
    pub read_only: bool,
    /// Ids of users on whom the caller's writes are forbidden.
    pub forbid_users: Vec<String>,
    /// How listings misbehave.
    pub paging: Paging,
    /// What the `Date` header says.
    pub date: DateHeader,
    /// PingOne: missing permission is told as 401 `INSUFFICIENT_PERMISSIONS` instead of 403.
    pub permission_as_401: bool,
    /// PingOne: the worker's role covers this population only; everybody else is invisible to it.
    pub population_scope: Option<String>,
    /// PingOne: listings leave out `enabled` and `account`. Looker: users are shown without their credentials, whatever
    /// fields are asked for.
    pub sparse_rows: bool,
    /// PingOne: `eq` holds for identical values only, as the vendor's page on filters words it; else case does not matter.
    pub exact_eq: bool,
    /// Looker: what is forbidden is answered with 404.
    pub forbidden_as_not_found: bool,
    /// Looker: Google Cloud core denies all password and credential calls.
    pub core_denies_credentials: bool,
    /// Looker: how many administrative calls, counted from the start, are allowed; each further one gets 429.
    pub administrative_allowance: Option<u64>,
    /// MonoCloud: the plan has no session calls (402).
    pub plan_without_sessions: bool,
}

/// A token bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests per second.
    pub per_second: f64,
    /// Size of the bucket, which starts full.
    pub burst: u32,
    /// What a 429 says about waiting.
    #[serde(default)]
    pub retry_after: RetryAfter,
}

/// The `Retry-After` header of a 429.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// Whole seconds until the bucket holds a request again, at least 1.
    #[default]
    Honest,
    /// No header.
    Absent,
    /// These seconds.
    Seconds(u64),
    /// An HTTP date so many seconds from the provider's now; it may lie in the past.
    HttpDate(i64),
    /// This text, whatever it is.
    Raw(String),
}

/// The `Date` header of each answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateHeader {
    /// The provider's clock.
    #[default]
    Clock,
    /// Left out.
    Absent,
    /// This text.
    Raw(String),
}

/// How listings misbehave. What has no meaning for a vendor's kind of paging does nothing there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paging {
    /// Never more rows than this on a page, whatever was asked for.
    pub max_rows: Option<u32>,
    /// Every second page is empty, although there are more (PingOne, MonoCloud).
    pub empty_pages: bool,
    /// The link to the next page leads to the same page (PingOne); past the end the last page comes again (Looker, MonoCloud).
    pub looping: bool,
    /// After the end, empty pages with ever new links follow (PingOne), or `has_next` stays true (MonoCloud).
    pub endless: bool,
    /// Origin of the links to other pages, in place of the simulator's own.
    pub next_origin: Option<String>,
    /// Added to each total that is shown.
    pub total_off_by: i64,
    /// Each page begins with the last row of the page before.
    pub repeated_rows: bool,
    /// Users with an equal sort value change places from call to call.
    pub unstable_ties: bool,
    /// Which headers about paging are sent (Looker, MonoCloud).
    pub headers: PagingHeaders,
    /// Cursors are refused once they are older than this many seconds (PingOne).
    pub cursor_lifetime_seconds: Option<u32>,
}

/// Headers about paging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PagingHeaders {
    /// Looker `Link` and `X-Total-Count`; MonoCloud `x-pagination`.
    #[default]
    All,
    /// Looker: only `Link`.
    LinkOnly,
    /// Looker: only `X-Total-Count`.
    TotalOnly,
    /// None.
    None,
}

/// An error at a chosen call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallFault {
    /// Method and path template, for example `POST /api/users/{user}/password/force_reset`; `*` for every call, `GET *` for every
    /// call with that method.
    pub on: String,
    /// Only calls about the user with this id.
    #[serde(default)]
    pub user: Option<String>,
    /// The first matching call that is hit, from 1.
    #[serde(default = "one")]
    pub nth: u32,
    /// How many matching calls in a row are hit; `None` for all from then on.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// Before or after the call takes effect.
    pub when: When,
    /// What the caller gets.
    pub action: Action,
}

fn one() -> u32 {
    1
}

fn once() -> Option<u32> {
    Some(1)
}

impl CallFault {
    /// One hit, at the `nth` call (from 1) that matches `on`.
    pub fn new(on: &str, nth: u32, when: When, action: Action) -> CallFault {
        CallFault { on: on.to_owned(), user: None, nth, times: Some(1), when, action }
    }

    /// A hit at each call that matches `on`.
    pub fn always(on: &str, when: When, action: Action) -> CallFault {
        CallFault { times: None, ..CallFault::new(on, 1, when, action) }
    }

    /// The same fault for calls about one user only.
    pub fn for_user(self, id: &str) -> CallFault {
        CallFault { user: Some(id.to_owned()), ..self }
    }

    fn matches(&self, call: &str, user: Option<&str>) -> bool {
        let on = self.on.strip_suffix('*').map_or(call == self.on, |prefix| call.starts_with(prefix));
        on && self.user.as_deref().is_none_or(|wanted| user == Some(wanted))
    }
}

/// The moment at which a call fault acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The call has no effect.
    Before,
    /// The call took effect; only its answer is replaced or lost.
    After,
}

/// What the caller gets in place of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// This status with the vendor's usual error body.
    Status(u16),
    /// This answer.
    Answer {
        /// HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: String,
        /// Body.
        body: String,
        /// Further headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// The connection is reset (RST) without an answer.
    Reset,
    /// No answer until the caller gives up, or for so many milliseconds, and then the connection is reset.
    Hang {
        /// `None`: until the caller gives up.
        #[serde(default)]
        milliseconds: Option<u64>,
    },
    /// The answer, with this JSON merged into its object, or into each row of a list (RFC 7396: `null` takes a member away). For
    /// values that the documents do not know.
    Merge(serde_json::Value),
    /// The answer; at that moment somebody acts, before or after the call takes effect. For races between a read and a write.
    Play {
        /// The user's id.
        user: String,
        /// What happens.
        play: Play,
    },
    /// The answer, late by so many milliseconds.
    Delay {
        /// How late.
        milliseconds: u64,
    },
    /// The first half of the body, as a complete HTTP answer.
    TruncatedJson,
    /// Half of the body that `Content-Length` announces, then the connection ends.
    CutShort,
    /// The body arrives one byte at a time.
    SlowBody {
        /// Pause before each byte.
        milliseconds: u64,
    },
    /// A login page with status 200, as a captive portal or a firewall shows it.
    Html,
    /// 200 with a valid JSON array of empty objects, of this size.
    Oversized {
        /// Size of the body.
        bytes: u64,
    },
    /// 200 with arrays nested this deep.
    Nested {
        /// How deep.
        depth: u32,
    },
    /// 200 with an empty body.
    Empty,
    /// A redirect.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Where to, absolute.
        location: String,
    },
}

impl Action {
    /// Whether the vendor's own code always runs, whatever the moment.
    pub(crate) fn keeps_answer(&self) -> bool {
        matches!(self, Action::Delay { .. } | Action::SlowBody { .. } | Action::Merge(_) | Action::Play { .. })
    }

    /// A short name, for the ledger.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Status(_) => "status",
            Action::Answer { .. } => "answer",
            Action::Reset => "reset",
            Action::Hang { .. } => "hang",
            Action::Merge(_) => "merge",
            Action::Play { .. } => "play",
            Action::Delay { .. } => "delay",
            Action::TruncatedJson => "truncated_json",
            Action::CutShort => "cut_short",
            Action::SlowBody { .. } => "slow_body",
            Action::Html => "html",
            Action::Oversized { .. } => "oversized",
            Action::Nested { .. } => "nested",
            Action::Empty => "empty",
            Action::Redirect { .. } => "redirect",
        }
    }
}

/// The switches, with what they have to remember.
#[derive(Debug, Default)]
pub(crate) struct ActiveFaults {
    pub faults: Faults,
    matched: Vec<u32>,
    bucket: Option<Bucket>,
}

impl ActiveFaults {
    /// Replaces the switches. Counting starts anew; the bucket starts full unless its limit stayed the same.
    pub fn set(&mut self, faults: Faults) {
        if self.faults.rate_limit != faults.rate_limit {
            self.bucket = faults.rate_limit.as_ref().map(Bucket::full);
        }
        self.matched = vec![0; faults.calls.len()];
        self.faults = faults;
    }

    /// Takes a request out of the bucket; the seconds until there is one, if there is none.
    pub fn throttle(&mut self) -> Result<(), f64> {
        match (&mut self.bucket, &self.faults.rate_limit) {
            (Some(bucket), Some(limit)) => bucket.take(limit),
            _ => Ok(()),
        }
    }

    /// The action that hits this call, if any. Counts the call for every fault that it matches.
    pub fn strike(&mut self, call: &str, user: Option<&str>) -> Option<(When, Action)> {
        let mut struck = None;
        for (fault, matched) in self.faults.calls.iter().zip(&mut self.matched) {
            if !fault.matches(call, user) {
                continue;
            }
            *matched = matched.saturating_add(1);
            let hit = *matched >= fault.nth && fault.times.is_none_or(|times| *matched - fault.nth < times);
            if hit && struck.is_none() {
                struck = Some((fault.when, fault.action.clone()));
            }
        }
        struck
    }
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(limit: &RateLimit) -> Bucket {
        Bucket { tokens: f64::from(limit.burst), filled: Instant::now() }
    }

    fn take(&mut self, limit: &RateLimit) -> Result<(), f64> {
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f64() * limit.per_second;
        self.tokens = (self.tokens + gained).min(f64::from(limit.burst));
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err((1.0 - self.tokens) / limit.per_second.max(1e-9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_fault_hits_the_calls_it_was_set_for_and_no_other() {
        let mut active = ActiveFaults::default();
        let fault = CallFault { times: Some(2), ..CallFault::new("GET /a", 2, When::After, Action::Reset) };
        active.set(Faults { calls: vec![fault], ..Faults::default() });
        let hits: Vec<bool> = (0..5).map(|_| active.strike("GET /a", None).is_some()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(active.strike("GET /b", None).is_none());
    }

    #[test]
    fn a_call_fault_for_one_user_leaves_the_others_alone() {
        let mut active = ActiveFaults::default();
        let fault = CallFault::always("POST *", When::Before, Action::Status(503)).for_user("7");
        active.set(Faults { calls: vec![fault], ..Faults::default() });
        assert!(active.strike("POST /x", Some("8")).is_none());
        assert_eq!(active.strike("POST /x", Some("7")), Some((When::Before, Action::Status(503))));
        assert!(active.strike("GET /x", Some("7")).is_none());
    }

    #[test]
    fn an_empty_bucket_says_how_long_until_the_next_request() {
        let mut active = ActiveFaults::default();
        let rate_limit = Some(RateLimit { per_second: 0.5, burst: 2, retry_after: RetryAfter::Honest });
        active.set(Faults { rate_limit, ..Faults::default() });
        assert!(active.throttle().is_ok() && active.throttle().is_ok());
        let wait = active.throttle().expect_err("two were allowed");
        assert!(wait > 1.0 && wait <= 2.0, "{wait}");
    }

    #[test]
    fn switches_can_be_sent_as_json_and_a_misspelt_one_is_refused() {
        let faults: Faults = serde_json::from_str(
            r#"{"latency_ms": 5, "lag": {"reads": 2}, "calls": [{"on": "*", "when": "after", "action": "reset"}]}"#,
        )
        .expect("valid switches");
        assert_eq!(faults.calls[0], CallFault::new("*", 1, When::After, Action::Reset));
        assert!(serde_json::from_str::<Faults>(r#"{"latency": 5}"#).is_err());
    }
}
