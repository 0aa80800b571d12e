//! What is remembered about one account, in 19 bytes with its key.

use jiff::Timestamp;

/// Why a provider refuses a write to one account for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The write is invalid for this account (validation, state).
    Rejected,
    /// We may not write to this account.
    Forbidden,
}

/// What was read together with a mark, and what only something later than counts as the owner's doing: the change time
/// where the provider shows one, else the last sign-in. Ordered by how little counts as later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Baseline {
    /// The provider said: never.
    Never,
    /// At this time, in milliseconds since 1970.
    At(u64),
    /// The answer did not tell.
    Unknown,
}

impl Baseline {
    /// The greatest time that is kept exactly; the year 10,889.
    const LATEST: u64 = (1 << 48) - 2;

    /// The baseline of a time that a provider gave.
    pub fn at(time: Timestamp) -> Self {
        Baseline::At(u64::try_from(time.as_millisecond()).unwrap_or(0).clamp(1, Self::LATEST))
    }

    /// Whether `time` is later. Nothing is later than a baseline that is unknown.
    pub fn is_before(self, time: Timestamp) -> bool {
        match self {
            Baseline::Unknown => false,
            Baseline::Never => true,
            Baseline::At(_) => self < Baseline::at(time),
        }
    }

    pub(super) fn encode(self) -> u64 {
        match self {
            Baseline::Unknown => Self::LATEST + 1,
            Baseline::Never => 0,
            Baseline::At(milliseconds) => milliseconds.clamp(1, Self::LATEST),
        }
    }

    pub(super) fn decode(raw: u64) -> Self {
        match raw {
            0 => Baseline::Never,
            raw if raw > Self::LATEST => Baseline::Unknown,
            raw => Baseline::At(raw),
        }
    }
}

/// How far an account has come. [`Entry::at`] is the time that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// About to be written to, or written to with an unclear answer; `at`: when the intent was recorded.
    Intended,
    /// A write was accepted, the mark has not been seen yet; `at`: when it was accepted.
    Sent,
    /// The mark was seen; `at`: when it was last seen (m).
    Marked {
        /// What was read together with the mark.
        baseline: Baseline,
    },
    /// Changed after a requirement; `at`: when, or where the provider shows no change time the m of the mark that went.
    Changed,
    /// Found changed without our doing; `at`: when it was changed.
    Compliant,
    /// The mark went without a change; `at`: when that was seen.
    Cleared {
        /// What was read together with the mark that went.
        baseline: Baseline,
    },
    /// The provider refuses the write for good; `at`: when it did.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Under which generation and reconcile token, see [`super::refusal_tag`].
        tag: u32,
    },
    /// Every permitted write was accepted and none had an effect; `at`: when that was found out.
    NotEffective,
}

/// What is remembered about one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How far it has come.
    pub state: State,
    /// A time of the provider's clock in seconds since 1970, see [`State`].
    pub at: u32,
    /// How many writes were accepted (0 to 3). 0 with a mark: somebody else set it.
    pub writes: u8,
    /// Whether its sessions were ended.
    pub revoked: bool,
}

impl Entry {
    /// An entry without writes and without ended sessions.
    pub fn new(state: State, at: Timestamp) -> Self {
        Self { state, at: seconds(at), writes: 0, revoked: false }
    }

    /// The same account in another state.
    pub fn with(self, state: State, at: Timestamp) -> Self {
        Self { state, at: seconds(at), ..self }
    }

    /// Whether [`Entry::at`] is at or after `cutoff`.
    pub fn since(&self, cutoff: Timestamp) -> bool {
        i64::from(self.at) >= cutoff.as_second()
    }

    /// Whether an intent is open.
    pub fn is_open(&self) -> bool {
        self.state == State::Intended
    }

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let (state, rest) = match self.state {
            State::Intended => (1, 0),
            State::Sent => (2, 0),
            State::Marked { baseline } => (3, baseline.encode()),
            State::Changed => (4, 0),
            State::Compliant => (5, 0),
            State::Cleared { baseline } => (6, baseline.encode()),
            State::Refused { refusal: Refusal::Rejected, tag } => (7, u64::from(tag)),
            State::Refused { refusal: Refusal::Forbidden, tag } => (8, u64::from(tag)),
            State::NotEffective => (9, 0),
        };
        let mut bytes = [0; Self::BYTES];
        bytes[0] = state + (self.writes.min(3) << 4) + (u8::from(self.revoked) << 6);
        bytes[1..5].copy_from_slice(&self.at.to_be_bytes());
        bytes[5..].copy_from_slice(&rest.to_be_bytes()[2..]);
        bytes
    }

    /// `None` where the bytes are no entry.
    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let mut at = [0; 4];
        at.copy_from_slice(&bytes[1..5]);
        let mut rest = [0; 8];
        rest[2..].copy_from_slice(&bytes[5..]);
        let rest = u64::from_be_bytes(rest);
        let tag = u32::try_from(rest);
        let state = match bytes[0] & 0x0f {
            1 => State::Intended,
            2 => State::Sent,
            3 => State::Marked { baseline: Baseline::decode(rest) },
            4 => State::Changed,
            5 => State::Compliant,
            6 => State::Cleared { baseline: Baseline::decode(rest) },
            7 => State::Refused { refusal: Refusal::Rejected, tag: tag.ok()? },
            8 => State::Refused { refusal: Refusal::Forbidden, tag: tag.ok()? },
            9 => State::NotEffective,
            _ => return None,
        };
        (bytes[0] & 0x80 == 0).then_some(Self {
            state,
            at: u32::from_be_bytes(at),
            writes: (bytes[0] >> 4) & 3,
            revoked: bytes[0] & 0x40 != 0,
        })
    }

    /// Bytes of an encoded entry without its key.
    pub(super) const BYTES: usize = 11;
}

/// Whole seconds since 1970, as entries keep them: good until 2106, and 1970 for anything before.
pub fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.as_second().max(0)).unwrap_or(u32::MAX)
}
