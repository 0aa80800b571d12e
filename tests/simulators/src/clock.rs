//! What time is it for this provider?
//!
//! Every time a simulator shows or compares comes from here: the machine's clock plus a settable offset. Rate limits and
//! delays are about real waiting and use the monotonic clock instead. See `server.rs` for the `Date` header.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Milliseconds since 1970 on the simulated clock.
pub(crate) type Millis = i64;

/// One second, in [`Millis`].
pub(crate) const SECOND: Millis = 1_000;
/// One minute, in [`Millis`].
pub(crate) const MINUTE: Millis = 60 * SECOND;
/// One day, in [`Millis`].
pub(crate) const DAY: Millis = 24 * 60 * MINUTE;

/// The provider's clock: real time plus an offset. Clones share the offset.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// The provider's time, cut to milliseconds.
    pub fn now(&self) -> Timestamp {
        timestamp(self.millis())
    }

    /// The provider's time in milliseconds since 1970.
    pub(crate) fn millis(&self) -> Millis {
        Timestamp::now().as_millisecond() + self.offset.load(Ordering::Relaxed)
    }

    /// Moves this clock to real time plus `seconds` (negative: behind).
    pub fn set_offset_seconds(&self, seconds: i64) {
        self.offset.store(seconds.saturating_mul(SECOND), Ordering::Relaxed);
    }

    /// How far this clock is ahead of real time, in seconds.
    pub fn offset_seconds(&self) -> i64 {
        self.offset.load(Ordering::Relaxed) / SECOND
    }
}

/// A [`Timestamp`] of `millis`; times outside jiff's range become its limits.
pub(crate) fn timestamp(millis: Millis) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// PingOne's form, for example `2022-05-04T12:33:09.853Z`.
pub(crate) fn iso_millis(millis: Millis) -> String {
    timestamp(millis).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Looker's form, for example `2021-11-09T16:11:29.000+00:00`.
pub(crate) fn iso_offset(millis: Millis) -> String {
    timestamp(millis).strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00").to_string()
}

/// The form of HTTP headers (RFC 9110, IMF-fixdate), for example `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(millis: Millis) -> String {
    timestamp(millis).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vendor_writes_a_time_in_its_own_form() {
        let millis = 1_651_667_589_853;
        assert_eq!(iso_millis(millis), "2022-05-04T12:33:09.853Z");
        assert_eq!(iso_offset(millis), "2022-05-04T12:33:09.853+00:00");
        assert_eq!(http_date(millis), "Wed, 04 May 2022 12:33:09 GMT");
    }

    #[test]
    fn a_clock_that_is_ahead_stays_ahead_in_every_clone() {
        let clock = Clock::default();
        let clone = clock.clone();
        clock.set_offset_seconds(3600);
        assert_eq!(clone.offset_seconds(), 3600);
        assert!(clone.now() > Timestamp::now());
    }
}
